#!/usr/bin/env python3
"""Counts the instructions the daemon spends on a message, with valgrind's callgrind.

Usage: instructions.py ROOSTD {echo|fanout|handshake} {epoll|io_uring} [--tls] [--out DIR]

A release roostd with one reactor runs under callgrind; this program is its only client. After a
warm-up it counts N rounds, then 2N rounds in the same process, and reports the difference divided
by N: what does not grow with the rounds falls out. User space only: the kernel is not counted.

`echo`:   each of 100 connections (and, as a second row, one alone) sends a text of 125 bytes and
          waits for it. Per message.
`fanout`: a raw publisher sends a text of 125 bytes, 500 raw subscribers receive it, one at a time;
          as a second row eight at a time. Per delivery.
`handshake`: a client of TLS 1.3 connects, full handshake, and leaves. Per connection, and what of it is
          rustls' own: the share that it would take in memory.

The daemon is stopped (SIGSTOP) while the 100 connections send, so that one wait finds all their
messages: how many it finds otherwise is the scheduler's choice, and moved that row by 4 % from run to
run. What an iteration costs by itself is in the row of one connection.
"""

import argparse
import os
import re
import select
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time

WITH_PARENT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "with-parent")
PAYLOAD = b"x" * 125
MASK = b"\x21\x43\x65\x07"


def client_frame(payload):
    """A masked text frame (RFC 6455 section 5.2) of at most 125 bytes."""
    assert len(payload) <= 125
    masked = bytes(byte ^ MASK[i % 4] for i, byte in enumerate(payload))
    return bytes([0x81, 0x80 | len(payload)]) + MASK + masked


FRAME = client_frame(PAYLOAD)
ANSWER_BYTES = 2 + len(PAYLOAD)


class Daemon:
    """roostd under callgrind. Counters are set to zero and dumped through vgdb: under io_uring
    valgrind lets no other thread run while a reactor waits, so the daemon cannot be asked."""

    def __init__(self, roostd, driver, directory, settings=(), tls=False):
        self.directory = directory
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        command = [
            WITH_PARENT, str(os.getpid()), "valgrind", "--tool=callgrind", "--dump-line=yes", "--separate-threads=no",
            f"--callgrind-out-file={directory}/profile", roostd, "run",
            *(["--self-signed", "--listen-tls"] if tls else ["--listen"]), f"127.0.0.1:{self.port}", "--driver", driver, "--reactors", "1",
            "--set", "log.level=warn", "--set", "echo.enabled=true",
            "--set", "limits.ping_interval=0s",
            *(word for setting in settings for word in ("--set", setting)),
        ]
        self.log = open(f"{directory}/log", "wb")
        where = {"XDG_STATE_HOME": directory} # of the certificate it makes
        self.process = subprocess.Popen(command, stdout=self.log, stderr=subprocess.STDOUT, env={**os.environ, **where})
        self.dumps = 0
        deadline = time.monotonic() + 120
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    sys.exit(f"roostd does not listen:\n{open(self.log.name).read()}")
                time.sleep(0.1)

    def vgdb(self, command):
        subprocess.run(["vgdb", f"--pid={self.process.pid}", command], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)

    def zero(self):
        self.vgdb("zero")

    def dump(self, *options):
        """Returns {function: instructions} since the last zero."""
        self.vgdb("dump")
        self.dumps += 1
        path = f"{self.directory}/profile.{self.dumps}"
        text = subprocess.run(
            ["callgrind_annotate", "--threshold=100", "--auto=no", *options, path],
            check=True, capture_output=True, text=True).stdout
        costs = {}
        for line in text.splitlines():
            found = re.match(r"\s*([\d,]+) \(\s*[\d.]+%\)\s+(.*)", line)
            if found:
                name = found.group(2)
                costs[name] = costs.get(name, 0) + int(found.group(1).replace(",", ""))
        return costs

    def stop(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.log.close()


def open_websocket(port, path, protocol=None, tls=False):
    sock = socket.create_connection(("127.0.0.1", port), timeout=60)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        sock = context.wrap_socket(sock)
    sock.sendall((f"GET {path} HTTP/1.1\r\nHost: roost\r\nUpgrade: websocket\r\n"
                  "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                  "Sec-WebSocket-Version: 13\r\n"
                  + (f"Sec-WebSocket-Protocol: {protocol}\r\n" if protocol else "") + "\r\n").encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        piece = sock.recv(1)
        assert piece, "closed in the handshake"
        head += piece
    assert head.startswith(b"HTTP/1.1 101"), head
    return sock


def receive(sock, count):
    left = count
    while left:
        piece = sock.recv(left)
        assert piece, "closed by the daemon"
        left -= len(piece)


def echo_round(daemon, socks):
    if len(socks) > 1:
        daemon.process.send_signal(signal.SIGSTOP)
    for sock in socks:
        sock.sendall(FRAME)
    if len(socks) > 1:
        daemon.process.send_signal(signal.SIGCONT)
    for sock in socks:
        receive(sock, ANSWER_BYTES)


def fanout_round(publisher, subscribers, batch):
    publisher.sendall(FRAME * batch)
    for sock in subscribers:
        receive(sock, ANSWER_BYTES * batch)


def slope(daemon, rounds, run_round, *options):
    """Runs `rounds` and twice as many rounds; returns {function: instructions per round}. With the options of
    callgrind_annotate."""
    for _ in range(max(rounds // 10, 3)):
        run_round()
    profiles = []
    for n in (rounds, 2 * rounds):
        time.sleep(0.5)
        daemon.zero()
        for _ in range(n):
            run_round()
        time.sleep(0.5)  # let the last turn end
        profiles.append(daemon.dump(*options))
    once, twice = profiles
    names = once.keys() | twice.keys()
    return {name: (twice.get(name, 0) - once.get(name, 0)) / rounds for name in names}


def parts(name):
    """Splits callgrind's `file:function [object]` into function and file."""
    name = re.sub(r" \[[^\]]*\]$", "", name)
    where, _, function = name.partition(":")
    function = re.sub(r"::h[0-9a-f]{16}\b", "", function or where)
    return re.sub(r"'\d+$", "", function), os.path.basename(where)


def report(title, costs, per_round, unit):
    total = costs.pop("PROGRAM TOTALS") / per_round
    functions = {}
    for name, cost in costs.items():
        function, file = parts(name)
        files = functions.setdefault(function, {})
        files[file] = files.get(file, 0) + cost / per_round
    # The frames below a reactor's loop were entered before the counters were set to zero, and are
    # shown with all that they call.
    rows = [(sum(files.values()), function, files) for function, files in functions.items()
            if sum(files.values()) < 0.99 * total]
    print(f"\n### {title}: {total:,.0f} instructions per {unit}\n")
    print(f"| instructions per {unit} | function | most of it from |\n|---:|---|---|")
    for cost, function, files in sorted(rows, reverse=True, key=lambda row: row[0])[:TOP]:
        most = sorted(files.items(), key=lambda item: -item[1])[:3]
        most = ", ".join(f"{file} {part:,.0f}" for file, part in most if part >= 0.5)
        print(f"| {cost:,.1f} | `{function}` | {most} |")
    sys.stdout.flush()


def handshake(port, context):
    with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
        context.wrap_socket(sock).close()


def report_handshake(driver, costs):
    """Of functions with all that they call."""
    total = costs["PROGRAM TOTALS"]
    print(f"\n### a full handshake, {driver}: {total:,.0f} instructions per connection\n")
    print("| instructions | with all that it calls | share |\n|---:|---|---:|")
    for name, pattern in HANDSHAKE_PARTS.items():
        cost = max((cost for function, cost in costs.items() if re.search(pattern, function)), default=0)
        print(f"| {cost:,.0f} | {name} | {cost / total:.3f} |")


# What is counted of a handshake, and the function that does it.
HANDSHAKE_PARTS = {
    "the handshake": r"roost_tls::handshake::Handshake::feed",
    "of it, rustls'": r"rustls::conn::unbuffered::.*process_tls_records",
    "of it, the keys of records": r"roost_tls::rest::Rest::establish",
    "of it, rustls' own keys, which they are compared with": r"ExpectTraffic as .*::ext",
}
TOP = int(os.environ.get("TOP", "10"))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("roostd")
    parser.add_argument("what", choices=["echo", "fanout", "handshake"])
    parser.add_argument("driver", choices=["epoll", "io_uring"])
    parser.add_argument("--tls", action="store_true", help="the echo over TLS, with a certificate that roostd makes")
    parser.add_argument("--out", help="keep the profiles in this directory")
    args = parser.parse_args()
    if args.tls and args.what != "echo":
        parser.error("--tls is of echo")
    directory = args.out or tempfile.mkdtemp(prefix="roost-instructions.")
    os.makedirs(directory, exist_ok=True)
    daemon = Daemon(args.roostd, args.driver, directory, tls=args.tls or args.what == "handshake")
    try:
        if args.what == "echo":
            title = f"echo{' over TLS' if args.tls else ''}, {args.driver}"
            socks = [open_websocket(daemon.port, "/echo", tls=args.tls) for _ in range(100)]
            costs = slope(daemon, 50, lambda: echo_round(daemon, socks))
            report(f"{title}, 100 connections", costs, len(socks), "message")
            costs = slope(daemon, 1000, lambda: echo_round(daemon, socks[:1]))
            report(f"{title}, one connection", costs, 1, "message")
        elif args.what == "handshake":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.minimum_version = ssl.TLSVersion.TLSv1_3
            costs = slope(daemon, 100, lambda: handshake(daemon.port, context), "--inclusive=yes")
            report_handshake(args.driver, costs)
        else:
            publisher = open_websocket(daemon.port, "/raw/news")
            socks = [open_websocket(daemon.port, "/raw/news") for _ in range(500)]
            for batch in (1, 8):
                costs = slope(daemon, 20, lambda: fanout_round(publisher, socks, batch))
                title = f"fan-out, {args.driver}, 500 subscribers, {batch} at a time"
                report(title, costs, len(socks) * batch, "delivery")
    finally:
        daemon.stop()


if __name__ == "__main__":
    main()
