#!/usr/bin/env python3
"""Stops the daemon's process (SIGSTOP) for 1 to 60 s at random moments, while a thousand clients answer
its pings, and counts those that it cut.

Usage: pauses.py ROOSTD [--driver epoll|io_uring] [--clients 1000] [--pauses 8] [--seed N]

Ping interval and handshake timeout are 2 s, the ping timeout 3 s; a client answers a ping after 0 to
1.5 s, also while the daemon stands still. In each pause 20 new clients finish a request of which they had sent half before. The lengths are
spread evenly over the logarithm, and the longest is 60 s. `own lag` is how late this program itself was
at most with an answer: beyond 1.5 s, cuts are its own. Loopback only. Prints one line a pause and a row
for docs/results/pauses.md; the exit status is 1 if a client was cut or refused.
"""

import argparse
import heapq
import os
import random
import resource
import selectors
import signal
import socket
import subprocess
import sys
import time

REQUEST = (b"GET /echo HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
PING, PONG = b"\x89\x00", b"\x8a\x80\x00\x00\x00\x00"
TEXT, ECHO = b"\x81\x81\x00\x00\x00\x00x", b"\x81\x01x"
ANSWER_S_MAX = 1.5
OPENING = 20


class Daemon:
    def __init__(self, args):
        command = [args.roostd, "run", "--listen", "127.0.0.1:0", "--driver", args.driver]
        for setting in ("echo.enabled=true", "limits.ping_interval=2s", "limits.ping_timeout=3s",
                        "limits.handshake_timeout=2s", "log.level=warn"):
            command += ["--set", setting]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        text=True)
        said = ""
        while "address" not in said:
            line = self.process.stdout.readline()
            if not line:
                sys.exit(f"the daemon did not start:\n{said}")
            said += line
        where = said[said.index("address"):].split()[1]
        self.address = (where.rsplit(":", 1)[0], int(where.rsplit(":", 1)[1]))

    def end(self):
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()


class Clients:
    """All clients, on one selector; each reads what comes and answers pings after a while."""

    def __init__(self, address, chance):
        self.address, self.chance = address, chance
        self.selector = selectors.DefaultSelector()
        self.pongs = []
        self.open, self.echoes, self.pings = 0, 0, 0
        self.refused, self.cut = [], []
        self.lag, self.turned = 0.0, time.monotonic()

    def connect(self, first):
        sock = socket.create_connection(self.address)
        sock.setblocking(False)
        sock.send(first)
        self.selector.register(sock, selectors.EVENT_READ, {"opened": False, "bytes": b""})
        return sock

    def run(self, seconds, until=lambda: False):
        end = time.monotonic() + seconds
        while time.monotonic() < end and not until():
            for key, _ in self.selector.select(0.01):
                self.read(key.fileobj, key.data)
            now = time.monotonic()
            self.lag, self.turned = max(self.lag, now - self.turned), now
            while self.pongs and self.pongs[0][0] <= time.monotonic():
                self.send(heapq.heappop(self.pongs)[2], PONG)

    def send(self, sock, data):
        try:
            if sock.fileno() >= 0:
                sock.send(data)
        except OSError as error:
            self.lose(sock, error)

    def read(self, sock, state):
        try:
            data = sock.recv(65536)
        except BlockingIOError:
            return
        except OSError as error:
            return self.lose(sock, error)
        if not data:
            return self.lose(sock, "FIN")
        state["bytes"] += data
        if not state["opened"]:
            if b"\r\n\r\n" not in state["bytes"]:
                return
            head, state["bytes"] = state["bytes"].split(b"\r\n\r\n", 1)
            if b" 101 " not in head:
                self.refused.append(head.split(b"\r\n")[0].decode())
                self.selector.unregister(sock)
                return sock.close()
            state["opened"] = True
            self.open += 1
        # Nothing else comes: no frame of another kind is cut in the middle.
        self.echoes += state["bytes"].count(ECHO)
        for _ in range(state["bytes"].count(PING)):
            self.pings += 1
            at = time.monotonic() + self.chance.uniform(0, ANSWER_S_MAX)
            heapq.heappush(self.pongs, (at, self.pings, sock))
        state["bytes"] = state["bytes"][-1:] if state["bytes"][-1:] in (b"\x89", b"\x81") else b""

    def lose(self, sock, why):
        self.selector.unregister(sock)
        sock.close()
        self.cut.append(str(why))

    def all(self):
        return [key.fileobj for key in self.selector.get_map().values()]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("roostd")
    parser.add_argument("--driver", default="epoll", choices=["epoll", "io_uring"])
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--pauses", type=int, default=8)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "little"))
    args = parser.parse_args()
    print(f"seed {args.seed}", flush=True)
    chance = random.Random(args.seed)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    steps = max(args.pauses - 1, 1)
    lengths = [60 ** ((step + chance.random() * (step < steps)) / (steps + 0.0001))
               for step in range(args.pauses)]
    lengths = [min(length, 60.0) for length in lengths]
    chance.shuffle(lengths)

    daemon = Daemon(args)
    try:
        clients = Clients(daemon.address, chance)
        for _ in range(args.clients):
            clients.connect(REQUEST)
        clients.run(30, lambda: clients.open == args.clients)
        for length in lengths:
            clients.run(chance.uniform(2, 5))
            half = len(REQUEST) // 2
            opening = [clients.connect(REQUEST[:half]) for _ in range(OPENING)]
            clients.run(0.3)
            before = len(clients.cut), len(clients.refused)
            daemon.process.send_signal(signal.SIGSTOP)
            clients.run(length / 2)
            for sock in opening:
                clients.send(sock, REQUEST[half:])
            clients.run(length / 2)
            daemon.process.send_signal(signal.SIGCONT)
            clients.run(5)
            cut, refused = len(clients.cut) - before[0], len(clients.refused) - before[1]
            print(f"{length:6.2f} s: {cut} cut, {refused} refused, {before[0]} cut before", flush=True)
        clients.echoes = 0
        for sock in clients.all():
            clients.send(sock, TEXT)
        held = len(clients.all())
        clients.run(30, lambda: clients.echoes >= held)
        total = args.clients + OPENING * len(lengths)
        print(f"why: {sorted(set(clients.cut + clients.refused))}")
        print("| driver | seed | pauses | longest | clients | pings | cut | refused | answer at the end | own lag |")
        print(f"| {args.driver} | {args.seed} | {len(lengths)} | {max(lengths):.0f} s | {total} | "
              f"{clients.pings} | {len(clients.cut)} | {len(clients.refused)} | {clients.echoes} | {clients.lag:.1f} s |")
        sys.exit(bool(clients.cut or clients.refused or clients.echoes != total))
    finally:
        daemon.end()


if __name__ == "__main__":
    main()
