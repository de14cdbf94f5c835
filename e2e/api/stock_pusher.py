#!/usr/bin/env python3
"""Pusher's stock server libraries (PyPI pusher 3.x, npm pusher 5.x) against a daemon: what they publish
arrives, what they ask is answered, and the webhooks are as they check them.

    stock_pusher.py ROOSTD      needs pusher>=3.3,<4 and websockets, and npm ci in this directory
"""

import asyncio
import http.server
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time

import pusher
import websockets
from pusher.errors import PusherBadAuth, PusherBadRequest

sys.path.insert(0, os.path.dirname(__file__))
from stock_cent import start

ID, KEY, SECRET = "3", "278d425bdf160c739803", "7ad3773142a6692b25b8"
HERE = os.path.dirname(os.path.abspath(__file__))


def webhooks():
    """An application that takes webhooks; its port, and where they come."""
    taken = queue.Queue()

    class Application(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            taken.put((self.headers["X-Pusher-Key"], self.headers["X-Pusher-Signature"], body.decode()))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Application)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1], taken


def next_webhook(client, taken):
    """The next one, if the library takes it for its own server's."""
    key, signature, body = taken.get(timeout=60)
    checked = client.validate_webhook(key, signature, body)
    assert checked, body
    assert client.validate_webhook(key, signature, body + " ") is None
    return checked


def refused(error, request, *arguments, **more):
    try:
        request(*arguments, **more)
    except error as found:
        return str(found)
    raise AssertionError("it is not refused")


async def check_python(client, host, socket):
    async def hears(text):
        assert await asyncio.wait_for(socket.recv(), 30) == text

    assert client.trigger("heard", "from-python", {"n": 1}) == {}
    await hears('{"n": 1}')
    assert client.trigger(["heard", "empty"], "from-python", "text", socket_id="123.456") == {}
    await hears("text")
    batch = [{"channel": "heard", "name": "n", "data": {"n": n}} for n in (2, 3)]
    assert client.trigger_batch(batch) == {}
    await hears('{"n": 2}')
    await hears('{"n": 3}')
    heard = {"occupied": True, "subscription_count": 1}
    assert client.channels_info("hea") == {"channels": {"heard": heard}}
    assert client.channels_info("hea", ["subscription_count"]) == {"channels": {"heard": heard}}
    assert client.channel_info("heard", ["subscription_count"]) == {"occupied": True, "subscription_count": 1}
    assert client.channel_info("empty") == {"occupied": False, "subscription_count": 0}
    assert client.users_info("presence-none") == {"users": []}
    assert client.terminate_user_connections("ann") == {}
    wrong = pusher.Pusher(ID, KEY, "another secret", ssl=False, **host)
    assert "auth_signature" in refused(PusherBadAuth, wrong.trigger, "heard", "n", {})
    refused(PusherBadRequest, client.channel_info, "heard", ["user_count"])
    assert client.send_to_user("ann", "n", {"for": "ann"}) == {}


async def check_node(socket, host):
    told = await asyncio.create_subprocess_exec(
        "node", os.path.join(HERE, "stock_pusher.mjs"), host["host"], str(host["port"]), ID, KEY, SECRET)
    for text in ('{"n":1}', "text", '{"n":2}', '{"n":3}'):
        assert await asyncio.wait_for(socket.recv(), 60) == text
    assert await asyncio.wait_for(told.wait(), 60) == 0


async def check(client, host, address, taken):
    async with websockets.connect(f"ws://{address}/raw/heard") as socket:
        first = next_webhook(client, taken)
        assert first["events"] == [{"name": "channel_occupied", "channel": "heard"}], first
        assert abs(first["time_ms"] / 1000 - time.time()) < 600
        await check_python(client, host, socket)
        await check_node(socket, host)
    last = next_webhook(client, taken)
    assert last["events"] == [{"name": "channel_vacated", "channel": "heard"}], last


def main():
    port, taken = webhooks()
    with tempfile.TemporaryDirectory() as directory:
        secret = os.path.join(directory, "secret")
        with open(secret, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(SECRET + "\n")
        config = os.path.join(directory, "roost.toml")
        with open(config, "w") as file:
            file.write(f"""
[api]
development_key = true
[events]
linger = "10ms"
[[pusher.app]]
id = {json.dumps(ID)}
key = {json.dumps(KEY)}
secret_file = {json.dumps(secret)}
webhook_url = "http://127.0.0.1:{port}/webhooks"
""")
        daemon, address, api, _ = start(sys.argv[1], "--config", config)
        try:
            host, _, port = api.removeprefix("http://").partition(":")
            host = {"host": host, "port": int(port)}
            client = pusher.Pusher(ID, KEY, SECRET, ssl=False, **host)
            asyncio.run(check(client, host, address, taken))
        finally:
            daemon.terminate()
            daemon.wait(30)
    print("pusher for Python and for Node: all is as they expect")


if __name__ == "__main__":
    main()
