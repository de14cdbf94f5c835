#!/usr/bin/env python3
"""What a call through WAMP's dealer costs the daemon beside two publishes: a row in Markdown a case.

    cargo build --release
    scripts/call_cost.py [ROOSTD] [--driver epoll|io_uring] [--reactors N]

Caller and callee are on different reactors. A call is CALL, INVOCATION, YIELD and RESULT; two
publishes are one from the caller's session to the callee's and one back, by 16 pairs of topics in
turn, so that their homes are everywhere. Both carry a text of 125 bytes, one at a time and 16 at a
time. CPU time is that of the process (its CPU-time clock); rounds of both take
turns, and printed are medians. Loopback only. Python 3.9 or later, its standard library only.
"""

import argparse
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WITH_PARENT = [str(ROOT / "scripts/with-parent"), str(os.getpid())]
TEXT = "x" * 125
TOPICS = 16
MESSAGES = 4000
ROUNDS = 9


class Daemon:
    def __init__(self, options):
        self.directory = tempfile.TemporaryDirectory()
        self.admin = self.directory.name + "/admin.sock"
        command = [*WITH_PARENT, options.roostd, "run", "--listen", "127.0.0.1:0", "--driver", options.driver,
                   "--reactors", str(options.reactors), "--set", "log.level=warn", "--set", "limits.ping_interval=0s",
                   "--set", f"admin.socket={self.admin}"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        banner = ""
        while not (found := re.search(r"^ +address +\S+?:(\d+)", banner, re.M)):
            line = self.process.stdout.readline()
            if not line:
                sys.exit("the daemon has ended:\n" + banner)
            banner += line
        self.port = int(found[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.communicate()
        self.directory.cleanup()

    def cpu_ns(self):
        return time.clock_gettime_ns(~self.process.pid << 3 | 2)  # clock_getcpuclockid(3)

    def connections(self):
        """The names of all connections: `r1-7.2` is on reactor 1."""
        with socket.socket(socket.AF_UNIX) as admin:
            admin.connect(self.admin)
            admin.sendall(b"GET /connections HTTP/1.0\r\n\r\n")  # the answer ends with the connection
            with admin.makefile("rb") as answer:
                lines = answer.read().partition(b"\r\n\r\n")[2].splitlines()
        return {json.loads(line)["connection"] for line in lines if line}


class Session:
    """A WAMP session that reads what it needs and no more."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb", buffering=1 << 16)
        self.socket.sendall(b"GET /wamp HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                            b"Sec-WebSocket-Protocol: wamp.2.json\r\n\r\n")
        while self.file.readline() != b"\r\n":
            pass
        self.requests = 0
        self.id = self.ask([1, "realm1", {"roles": {"caller": {}, "callee": {}, "publisher": {}, "subscriber": {}}}])[1]

    def request(self):
        self.requests += 1
        return self.requests

    def send(self, *messages):
        out = bytearray()
        for message in messages:
            text = json.dumps(message, separators=(",", ":")).encode()
            out += bytes([0x81, 0x80 | len(text)]) if len(text) < 126 else bytes([0x81, 0xFE]) + len(text).to_bytes(2, "big")
            out += bytes(4) + text  # masked with zeros
        self.socket.sendall(out)

    def receive(self):
        length = self.file.read(2)[1]
        if length == 126:
            length = int.from_bytes(self.file.read(2), "big")
        return json.loads(self.file.read(length))

    def ask(self, message):
        self.send(message)
        return self.receive()


def calls(caller, callee, count, window):
    for _ in range(count // window):
        caller.send(*([48, caller.request(), {}, "bench.echo", [TEXT]] for _ in range(window)))
        invocations = [callee.receive() for _ in range(window)]
        callee.send(*([70, invocation[1], {}, invocation[4]] for invocation in invocations))
        for _ in range(window):
            assert caller.receive()[0] == 50


def publishes(caller, callee, count, window):
    for turn in range(count // window):
        topic = turn % TOPICS
        for one, other, way in ((caller, callee, "there"), (callee, caller, "back")):
            one.send(*([16, one.request(), {}, f"bench.{way}.{topic}", [TEXT]] for _ in range(window)))
            for _ in range(window):
                assert other.receive()[0] == 36


def apart(daemon):
    """Two sessions on different reactors."""
    by_reactor = {}
    while len(by_reactor) < 2:
        before = daemon.connections()
        session = Session(daemon.port)
        (name,) = daemon.connections() - before
        by_reactor.setdefault(name.split("-")[0], session)
    return list(by_reactor.values())[:2]


def microseconds(daemon, run, sessions, window):
    """CPU time of one round trip."""
    before = daemon.cpu_ns()
    run(*sessions, MESSAGES, window)
    return (daemon.cpu_ns() - before) / MESSAGES / 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("roostd", nargs="?", default=str(ROOT / "target/release/roostd"))
    parser.add_argument("--driver", default="epoll", choices=["epoll", "io_uring"])
    parser.add_argument("--reactors", type=int, default=2)
    options = parser.parse_args()
    with Daemon(options) as daemon:
        caller, callee = sessions = apart(daemon)
        assert callee.ask([64, callee.request(), {}, "bench.echo"])[0] == 65
        for session, way in ((callee, "there"), (caller, "back")):
            for topic in range(TOPICS):
                assert session.ask([32, session.request(), {}, f"bench.{way}.{topic}"])[0] == 33
        for window in (1, 16):
            rounds = []
            for number in range(ROUNDS + 1):
                pair = [microseconds(daemon, run, sessions, window) for run in (calls, publishes)]
                if number > 0:  # the first warms up
                    rounds.append(pair)
            call, two = (statistics.median(pair[at] for pair in rounds) for at in (0, 1))
            ratios = sorted(pair[0] / pair[1] for pair in rounds)
            print(f"| {options.driver}, {options.reactors} reactors, {window} at a time | {call:.1f} µs | {two:.1f} µs "
                  f"| {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) |", flush=True)


if __name__ == "__main__":
    main()
