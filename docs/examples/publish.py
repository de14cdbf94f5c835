"""Publishes five JSON messages, one a second.

pip install websockets
python3 publish.py [ws://127.0.0.1:8080/raw/chat]
"""

import json
import sys
import time

from websockets.sync.client import connect

url = sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8080/raw/chat"

with connect(url) as socket:  # closes with code 1000 at the end, after everything was sent
    for n in range(1, 6):
        socket.send(json.dumps({"from": "python", "text": f"message {n}"}))
        time.sleep(1)
