#!/usr/bin/env python3
"""What clients notice of somebody who lists all connections: 100 clients exchange messages while
`roostctl conns --all` goes on, again and again, over very many connections; the ratio of their p99
to that without it. The bar is 1.3. And what a scrape of /metrics costs the daemon, of CPU time; the
bar is 20 ms. Prints a table.

    scripts/conns_cost.py ROOSTD ROOSTCTL ROOST_LOAD [--connections 10000] [--rounds 3]
                          [--driver epoll|io_uring] [--filter user=x] [--seconds 10]
    scripts/conns_cost.py … --beside PID SOCKET URL        a daemon that holds them already

Loopback only; every run is bounded in time. A million connections: `loadtest/million.sh 1000000 conns`.
"""

import argparse
import http.client
import json
import os
import re
import socket as socket_module
import statistics
import subprocess
import sys
import tempfile
import threading
import time

WITH_PARENT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "with-parent")


def start(command, **more):
    return subprocess.Popen([WITH_PARENT, str(os.getpid()), *map(str, command)], text=True, **more)


def daemon(args, socket):
    process = start([args.roostd, "run", "--listen", "127.0.0.1:0", "--driver", args.driver,
                     "--set", f"admin.socket={socket}", "--set", "limits.connections_per_address_max=0"],
                    stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    said = ""
    while not (found := re.search(r"^  address +(\S+)", said, re.M)):
        line = process.stdout.readline()
        if not line:
            sys.exit(f"the daemon has ended at its start:\n{said}")
        said += line
    threading.Thread(target=process.stdout.read, daemon=True).start()
    return process, f"ws://{found[1]}"


def count(args, socket, name):
    asked = subprocess.run([args.roostctl, "--socket", socket, "top", "--json"], text=True,
                           capture_output=True, check=True)
    return json.loads(asked.stdout)[name]


def hold(args, url, socket):
    """Quiet connections, once all are there."""
    clients = start([args.roost_load, "idle", f"{url}/raw/{{channel}}", "-n", args.connections, "--quiet",
                     "--hold", "3600s", "--connects-in-flight", 64],
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 600
    while count(args, socket, "websockets") < args.connections:
        if clients.poll() is not None or time.monotonic() > until:
            sys.exit("the quiet connections do not come")
        time.sleep(1)
    return clients


def exchange(args, url):
    """p99 of 100 clients' echoes, in ms."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        command = [args.roost_load, "echo", f"{url}/echo", "-n", 100, "--rate", 10, "--time", f"{args.seconds}s",
                   "--warm-up", "2s", "--quiet", "--json", file.name]
        done = subprocess.run([WITH_PARENT, str(os.getpid()), *map(str, command)], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
        if done.returncode != 0:
            sys.exit(done.stdout)
        result = json.load(open(file.name))
    for phase in reversed(result["phases"]):
        for latency in phase["latencies"].values():
            if latency["count"]:
                return next(ns for percent, ns in latency["percentiles"] if percent >= 99) / 1e6
    sys.exit("nothing was measured")


def scrape_cost(pid, socket):
    """Milliseconds of the daemon's CPU time for a scrape, and its size in bytes."""
    before, size = cpu_s(pid), 0
    for _ in range(SCRAPES):
        connection = http.client.HTTPConnection("roost", timeout=30)
        connection.sock = socket_module.socket(socket_module.AF_UNIX)
        connection.sock.connect(socket)
        connection.request("GET", "/metrics")
        size = len(connection.getresponse().read())
        connection.close()
    return (cpu_s(pid) - before) / SCRAPES * 1e3, size


def cpu_s(pid):
    """Of the process so far. with-parent has become it."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Lists:
    """Lists all connections, one list behind the other."""

    def __init__(self, args, socket):
        self.command = [args.roostctl, "--socket", socket, "conns", "--all", "--json"]
        if args.filter:
            name, value = args.filter.split("=", 1)
            self.command += [f"--{name}", value]
        self.expected = 0 if args.filter else args.connections
        self.lists, self.seconds, self.is_over = 0, 0.0, False
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.is_over:
            begun = time.monotonic()
            with subprocess.Popen(self.command, stdout=subprocess.PIPE) as process:
                counted = subprocess.run(["nice", "-n", "19", "wc", "-l"], stdin=process.stdout,
                                         stdout=subprocess.PIPE, check=True)
            if process.returncode != 0:
                sys.exit("roostctl has failed")
            listed = int(counted.stdout)
            self.seconds += time.monotonic() - begun
            self.lists += 1
            if listed < self.expected:
                sys.exit(f"a list has {listed} of {self.expected} connections")

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_over = True
        self.thread.join()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("roostd")
    parser.add_argument("roostctl")
    parser.add_argument("roost_load")
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--driver", default="auto")
    parser.add_argument("--seconds", type=int, default=10, help="of an exchange")
    parser.add_argument("--beside", nargs=3, metavar=("PID", "SOCKET", "URL"),
                        help="a daemon with --connections that others hold")
    parser.add_argument("--filter", help="list those of it only, such as user=x: all are looked at")
    args = parser.parse_args()
    if args.beside:
        pid, socket, url = args.beside
        measure(args, int(pid), socket, url)
        return
    with tempfile.TemporaryDirectory() as directory:
        socket = f"{directory}/admin.sock"
        server, url = daemon(args, socket)
        clients = None
        try:
            clients = hold(args, url, socket)
            measure(args, server.pid, socket, url)
        finally:
            for process in filter(None, [clients, server]):
                process.terminate()
                process.wait(60)


def measure(args, pid, socket, url):
    ratios = []
    print("| round | p99 undisturbed | p99 beside lists | ratio | lists, each |\n|--:|--:|--:|--:|--:|")
    for number in range(args.rounds):
        without = exchange(args, url)
        with Lists(args, socket) as lists:
            beside = exchange(args, url)
        ratios.append(beside / without)
        print(f"| {number + 1} | {without:.2f} ms | {beside:.2f} ms | {ratios[-1]:.2f} "
              f"| {lists.lists}, {lists.seconds / lists.lists:.2f} s |", flush=True)
    cost, size = scrape_cost(pid, socket)
    print(f"\n{args.connections} connections: median {statistics.median(ratios):.2f} "
          f"({min(ratios):.2f} to {max(ratios):.2f}). A scrape of /metrics ({size} bytes) takes "
          f"{cost:.2f} ms of CPU time, of {SCRAPES}.")


SCRAPES = 100

if __name__ == "__main__":
    main()
