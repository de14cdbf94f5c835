#!/usr/bin/env python3
"""Counts the instructions the daemon spends on a WAMP PUBLISH, beside many patterns and without.

Usage: pattern_publish.py ROOSTD [PATTERNS]

As instructions.py does it: a release roostd with one reactor under callgrind, user space only. One
session publishes acknowledged, one at a time, on 5,000 topics that have no subscriber; another has
subscribed to PATTERNS (100,000) wildcard patterns of as many components, none of which matches, and
registered as many procedures. Printed per PUBLISH, PUBLISHED included, and divided by the same in a
daemon without patterns and procedures.
"""

import json
import shutil
import socket
import sys
import tempfile

from instructions import Daemon, open_websocket, slope

ROUNDS = 2_000
NAMES = 5_000
AT_ONCE = 100


class Session:
    """A WAMP session that waits for each answer, or for those of many requests."""

    def __init__(self, port):
        self.sock = open_websocket(port, "/wamp", "wamp.2.json")
        self.buffer = b""
        self.request = 0
        roles = {"publisher": {}, "subscriber": {}, "callee": {}}
        self.ask([1, "realm1", {"roles": roles}], 2)

    def send(self, message):
        payload = json.dumps(message, separators=(",", ":")).encode()
        length = bytes([0x80 | len(payload)]) if len(payload) <= 125 else b"\xfe" + len(payload).to_bytes(2, "big")
        self.sock.sendall(b"\x81" + length + bytes(4) + payload)

    def read(self, count):
        while len(self.buffer) < count:
            piece = self.sock.recv(65536)
            assert piece, "closed by the daemon"
            self.buffer += piece
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def receive(self):
        head = self.read(2)
        length = head[1] if head[1] < 126 else int.from_bytes(self.read(2), "big")
        return json.loads(self.read(length))

    def ask(self, message, code):
        self.send(message)
        answer = self.receive()
        assert answer[0] == code, answer

    def ask_all(self, messages, code):
        for message in messages:
            self.send(message)
        for _ in messages:
            answer = self.receive()
            assert answer[0] == code, answer

    def publish(self):
        self.request += 1
        topic = f"com.example.room.{self.request % NAMES:06}"
        self.ask([16, self.request, {"acknowledge": True}, topic, ["x" * 40]], 17)


def measure(roostd, patterns):
    directory = tempfile.mkdtemp(prefix="roost-patterns.")
    settings = [f"limits.{name}_per_connection_max={max(patterns, 1)}" for name in ("subscriptions", "registrations")]
    daemon = Daemon(roostd, "epoll", directory, settings)
    try:
        other = Session(daemon.port)
        for first in range(0, patterns, AT_ONCE):
            numbers = range(first, min(first + AT_ONCE, patterns))
            other.ask_all([[32, 1 + n, {"match": "wildcard"}, f"com..device.{n:06}"] for n in numbers], 33)
            other.ask_all([[64, 1 + n, {}, f"com.example.{n:06}"] for n in numbers], 65)
        session = Session(daemon.port)
        return slope(daemon, ROUNDS, session.publish)["PROGRAM TOTALS"]
    finally:
        daemon.stop()
        shutil.rmtree(directory)


def main():
    roostd = sys.argv[1]
    patterns = int(sys.argv[2]) if len(sys.argv) > 2 else 100_000
    none = measure(roostd, 0)
    beside = measure(roostd, patterns)
    print(f"a PUBLISH: {none:,.0f} instructions; beside {patterns:,} wildcard patterns and as many procedures:"
          f" {beside:,.0f}, {beside / none:.2f} of that")


if __name__ == "__main__":
    socket.setdefaulttimeout(600)
    main()
