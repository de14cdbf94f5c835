"""Prints what is published to a channel, and connects again when the connection ends.

pip install websockets
python3 listen.py [ws://127.0.0.1:8080/raw/chat]
"""

import asyncio
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

url = sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8080/raw/chat"


async def main():
    async for socket in connect(url):  # the next one after each end, with back-off
        print("connected", flush=True)
        try:
            async for message in socket:  # text is str, binary is bytes
                print(message, flush=True)
        except ConnectionClosed:
            pass
        print(f"closed, code {socket.close_code} {socket.close_reason}", flush=True)


asyncio.run(main())
