#!/usr/bin/env python3
"""What one user of the daemon notices of another: latencies beside large fan-outs, floods and
subscribers that never read, each as a ratio to the same without them.

Usage: latency.py ROOSTD ROOST_LOAD [--driver epoll|io_uring] [--rounds N] [CASE...]

Cases:
  large    10 subscribers of a channel with 100 messages a second, while a channel with 15,000
           subscribers gets a message every 500 ms. Without: those 15,000 are there and quiet.
  flood    the same 10 subscribers, while one publisher floods another channel of 10 as fast as it
           is delivered, 64 messages under way.
  stalled     4,000 subscribers with 20 messages a second of 1,000 bytes, while 1,000 more subscribers
           of the channel never read. In a network namespace of its own (needs root), where sockets
           buffer 16 KiB and not megabytes: what is not read waits in the daemon's outboxes, 64 KiB
           each, from which the oldest are dropped. Prints what waits there and what was dropped,
           the daemon's memory and the bound it has stated.
  capacity p99.9 / p50 of 500 subscribers at 70 % of what the daemon delivers at most.

Each case runs without and with, in turn, ROUNDS times (3); printed are the medians of the rounds,
and the ratio with its least and greatest value within a round. It is the daemon's delay that is asked
for and not the scheduler's: the daemon has one reactor and core 0 to itself, all clients share core 1,
and those that make the disturbance run only when nothing else runs (SCHED_IDLE). Loopback only; every run is bounded in
time.
"""

import argparse
import base64
import json
import os
import re
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time

WITH_PARENT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "with-parent")


class Daemon:
    def __init__(self, args, *more):
        self.directory = tempfile.TemporaryDirectory()
        self.admin = self.directory.name + "/admin.sock"
        command = [WITH_PARENT, str(os.getpid()), "taskset", "-c", "0", args.roostd, "run", "--listen", "127.0.0.1:0",
                   "--driver", args.driver, "--reactors", "1", "--set", "log.level=warn",
                   "--set", f"admin.socket={self.admin}", *more]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        text=True)
        self.banner = ""
        while "address" not in self.banner:
            line = self.process.stdout.readline()
            if not line:
                sys.exit("the daemon has ended:\n" + self.banner)
            self.banner += line
        self.address = re.search(r"address +(\S+)", self.banner)[1]
        while not re.search(r"^ +config ", self.banner, re.M):
            self.banner += self.process.stdout.readline()

    def url(self):
        return f"ws://{self.address}/raw/{{channel}}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.directory.cleanup()

    def pss(self):
        with open(f"/proc/{self.process.pid}/smaps_rollup") as rollup:
            return int(re.search(r"^Pss: +(\d+)", rollup.read(), re.M)[1]) * 1024


def load(args, daemon, *options, low=False, prefix="", wait=True):
    """Runs roost-load; its JSON when waited for."""
    file = tempfile.NamedTemporaryFile(suffix=".json")
    command = [args.roost_load, "fanout", daemon.url().replace("{channel}", prefix + "{channel}"),
               "--quiet", "--json", file.name, *map(str, options)]
    command = [WITH_PARENT, str(os.getpid()), "taskset", "-c", "1",
               *(["chrt", "--idle", "0"] if low else []), *command]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    process.results = file
    if not wait:
        return process
    said, _ = process.communicate(timeout=120)
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)}:\n{said}")
    return json.load(open(file.name))


def percentiles(result):
    """p50, p99 and p99.9 of the delivery latency in ms, of the last phase that has one."""
    for phase in reversed(result["phases"]):
        latency = phase["latencies"].get("delivery")
        if latency and latency["count"]:
            points = latency["percentiles"]
            at = lambda p: next(ns for percent, ns in points if percent >= p) / 1e6
            return at(50), at(99), at(99.9)
    sys.exit("no delivery was measured")


def raw_client(daemon, channel, receive_buffer=None):
    """A subscriber that reads its 101 and nothing else."""
    host, port = daemon.address.rsplit(":", 1)
    client = socket.socket()
    if receive_buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    client.connect((host, int(port)))
    key = base64.b64encode(os.urandom(16)).decode()
    client.sendall((f"GET /raw/{channel} HTTP/1.1\r\nHost: {daemon.address}\r\nUpgrade: websocket\r\n"
                    f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                    f"Sec-WebSocket-Key: {key}\r\n\r\n").encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += client.recv(1)
    assert b" 101 " in answer, answer
    return client


MODEST = ["-n", 10, "--rate", 100, "--time", "6s", "--warm-up", "1s"]


def large(args, disturbed):
    with Daemon(args) as daemon:
        # The clients are there in both halves; only the publishing differs.
        clients = load(args, daemon, "-n", 15000, "--rate", 2 if disturbed else 0.05, "--time", "16s",
                     "--warm-up", "4s", "--connects-in-flight", 64, low=True, prefix="clients-",
                     wait=False)
        time.sleep(6)
        measured = percentiles(load(args, daemon, *MODEST))
        clients.terminate()
        clients.communicate()
        return measured


def flood(args, disturbed):
    with Daemon(args) as daemon:
        other = None
        if disturbed:
            other = load(args, daemon, "-n", 10, "--window", 64, "--time", "10s", low=True,
                         prefix="flood-", wait=False)
            time.sleep(1.5)
        measured = percentiles(load(args, daemon, *MODEST))
        if other:
            other.terminate()
            other.communicate()
        return measured


def stats(daemon):
    # HTTP/1.0: the answer ends with the connection.
    with socket.socket(socket.AF_UNIX) as admin:
        admin.connect(daemon.admin)
        admin.sendall(b"GET /stats HTTP/1.0\r\n\r\n")
        with admin.makefile("rb") as answer:
            return json.loads(answer.read().partition(b"\r\n\r\n")[2])


def stalled(args, disturbed):
    with Daemon(args, "--set", "limits.buffered_bytes_max=64MiB",
                "--set", "channels.slow_consumer=drop_oldest",
                "--set", "channels.outbox_bytes_max=64KiB",
                "--set", "server.connections_max=10000", "--set", "limits.channels_max=1000",
                "--set", "limits.subscriptions_per_connection_max=1") as daemon:
        # roost-load's only channel has a name of its own; the stalled must subscribe to the same.
        clients = [raw_client(daemon, "stalled-load", 4096) for _ in range(1000 if disturbed else 0)]
        before = daemon.pss()
        most = [before]
        waiting = [0]
        process = load(args, daemon, "-n", 4000, "--rate", 20, "--size", 1000, "--time", "12s",
                       "--connects-in-flight", 64, prefix="stalled-", wait=False)
        while process.poll() is None:
            time.sleep(0.1)
            most.append(daemon.pss())
            waiting.append(stats(daemon)["outbox_bytes"])
            if len(most) > 900:
                process.terminate()
        said = process.stdout.read()
        if process.returncode != 0:
            sys.exit(said)
        measured = percentiles(json.load(open(process.results.name)))
        for client in clients:
            client.close()
        if disturbed:
            bound = re.search(r"memory +at most (\S+ \S+)", daemon.banner)[1]
            dropped = stats(daemon)["default_namespace"]["dropped_oldest_total"]
            print(f"    memory: {max(most) / 2**20:.1f} MiB at most, {bound} stated; in outboxes "
                  f"{max(waiting) / 2**20:.1f} MiB at most; {dropped} messages dropped")
        return measured


def capacity(args, disturbed):
    """Without: at 70 % of capacity; the ratio is of p99.9 to p50 there."""
    with Daemon(args) as daemon:
        full = load(args, daemon, "-n", 500, "--time", "4s")
        phase = next(p for p in reversed(full["phases"]) if p["deliveries"]["received"])
        rate = phase["deliveries"]["received"] / phase["traffic_seconds"] / 500
        p50, p99, p999 = percentiles(
            load(args, daemon, "-n", 500, "--rate", round(rate * 0.7, 1), "--time", "8s"))
        print(f"    {rate:.0f} messages a second at most; at 70 %: p50 {p50:.2f} ms, "
              f"p99 {p99:.2f} ms, p99.9 {p999:.2f} ms, p99.9 / p50 = {p999 / p50:.1f}")
        return p50, p99, p999


CASES = {"large": large, "flood": flood, "stalled": stalled}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("roostd")
    parser.add_argument("roost_load")
    parser.add_argument("case", nargs="*", default=[])
    parser.add_argument("--driver", default="epoll", choices=["epoll", "io_uring"])
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_intermixed_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    cases = args.case or [*CASES, "capacity"]
    if "stalled" in cases and not os.environ.get("ROOST_LATENCY_NAMESPACE"):
        os.environ["ROOST_LATENCY_NAMESPACE"] = "1"
        narrow = ("ip link set lo up && sysctl -qw net.ipv4.tcp_wmem='4096 16384 16384' "
                  "&& exec \"$0\" \"$@\"")
        os.execvp("unshare", ["unshare", "--net", "sh", "-c", narrow, sys.executable, *sys.argv])
    for case in cases:
        print(f"{case}, {args.driver}")
        if case == "capacity":
            for _ in range(args.rounds):
                capacity(args, False)
            continue
        rounds = [(CASES[case](args, False), CASES[case](args, True)) for _ in range(args.rounds)]
        for at, name in enumerate(["p50", "p99", "p99.9"]):
            without = statistics.median(r[0][at] for r in rounds)
            beside = statistics.median(r[1][at] for r in rounds)
            ratios = [r[1][at] / r[0][at] for r in rounds]
            print(f"    {name:6} {without:8.2f} ms without, {beside:8.2f} ms with; "
                  f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}), "
                  f"{statistics.median(r[1][at] - r[0][at] for r in rounds):+.2f} ms")


main()
