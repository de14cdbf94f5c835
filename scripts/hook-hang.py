#!/usr/bin/env python3
"""Measures what connected clients notice of an application that hangs: the p99 of their round trips
while so many clients connect and each asks a hook that is not answered, by that of the same clients
while nothing connects.

    scripts/hook-hang.py                          # 5,000 connects, 60 s
    scripts/hook-hang.py --connects 500 --seconds 10

Needs python3 and a roostd (ROOSTD, target/release/roostd). Everything is on loopback. The clients that
measure run in a process of their own. The application and the clients that connect stand for other machines:
they get the CPU time that daemon and measuring clients leave (SCHED_IDLE). A third run in which the application
answers at once shows what is the storm's. The three alternate in --rounds, and medians are compared. Of the
daemon's threads it shows the CPU time and for how long they were ready and waited for a CPU
(/proc/PID/task/TID/schedstat): what the daemon cannot help.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEAD = ("GET {path} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n")
CONFIG = """[server]
reactors = 2
connections_max = 20000
[echo]
enabled = true
[auth]
in_flight_max = 10000
[[hook]]
events = ["connect"]
url = "http://127.0.0.1:{port}/"
headers = ["x-known"]
timeout = "3s"
[listener]
address = "127.0.0.1:0"
[limits]
handshakes_in_flight_max = 20000
"""


async def connect(port, path, more=""):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HEAD.format(path=path, more=more).encode())
    head = await reader.readuntil(b"\r\n\r\n")
    return reader, writer, int(head[9:12])


async def application(state):
    """Answers those with the header at once, the others as `state` says."""
    async def serve(reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n")
                              if line.lower().startswith(b"content-length"))
                await reader.readexactly(length)
                state["asked"] += 1
                if b"x-known" not in head.lower() and state["hangs"]:
                    await reader.read()  # until it is given up
                    break
                body = b'{"result":{"user":""}}'
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()
    return await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1024)


async def probe(port, connections, seconds):
    """Round trips of echoed messages, each connection ten a second; prints their times."""
    times = []

    async def one(n):
        reader, writer, status = await connect(port, "/echo", "X-Known: 1\r\n")
        assert status == 101, status
        print("open", flush=True)
        await asyncio.sleep(2 + 0.1 * n / connections)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            begin = time.monotonic()
            writer.write(b"\x81\x85\0\0\0\0hello")
            await reader.readexactly(7)
            times.append(time.monotonic() - begin)
            await asyncio.sleep(0.1)
    await asyncio.gather(*(one(n) for n in range(connections)))
    times.sort()
    print(json.dumps({"count": len(times), "p50": times[len(times) // 2],
                      "p99": times[len(times) * 99 // 100], "max": times[-1]}))


async def storm(port, connects, seconds):
    """So many connects, spread over the time; returns their statuses."""
    statuses = {}

    async def one():
        try:
            _, writer, status = await connect(port, "/echo")
            writer.close()
        except (OSError, asyncio.IncompleteReadError):
            status = 0
        statuses[status] = statuses.get(status, 0) + 1
    tasks = []
    begin = time.monotonic()
    for n in range(connects):
        await asyncio.sleep(max(0, begin + seconds * n / connects - time.monotonic()))
        tasks.append(asyncio.create_task(one()))
    await asyncio.gather(*tasks)
    return statuses


def times_of_threads(pid):
    """Nanoseconds on a CPU, and ready without one, by thread's name."""
    times = {}
    for thread in Path(f"/proc/{pid}/task").iterdir():
        name = (thread / "comm").read_text().strip()
        if name == "control" or name.startswith("reactor"):
            ran, waited, _ = map(int, (thread / "schedstat").read_text().split())
            times[name.split("-")[0]] = [a + b for a, b in zip(times.get(name.split("-")[0], [0, 0]), [ran, waited])]
    return times


async def until_answered(port):
    """Waits until the hook is called again that was left alone for a while."""
    deadline = time.monotonic() + 90
    while True:
        _, writer, status = await connect(port, "/echo", "X-Known: 1\r\n")
        writer.close()
        if status == 101:
            return
        assert time.monotonic() < deadline, status
        await asyncio.sleep(0.5)


def as_usual():
    """For what is measured: it gets CPU time as other processes do."""
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


async def measure(port, options, connects):
    command = [sys.executable, __file__, "--probe", str(port), "--seconds", str(options.seconds)]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, preexec_fn=as_usual)
    for _ in range(CLIENTS):
        assert (await process.stdout.readline()).strip() == b"open"
    await asyncio.sleep(2)
    statuses = await storm(port, connects, options.seconds * 0.9)
    found = json.loads(await process.stdout.readline())
    await process.wait()
    return found, statuses


async def main(options):
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    state = {"hangs": False, "asked": 0}
    server = await application(state)
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory) / "roost.toml"
        config.write_text(CONFIG.format(port=server.sockets[0].getsockname()[1]))
        roostd = os.environ.get("ROOSTD", ROOT / "target/release/roostd")
        daemon = await asyncio.create_subprocess_exec(
            roostd, "--config", config, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, preexec_fn=as_usual)
        try:
            port = None
            while port is None:
                line = (await daemon.stdout.readline()).decode()
                assert line, "roostd has ended"
                if "127.0.0.1:" in line:
                    port = int(line.split("127.0.0.1:")[1].split("/")[0].split()[0].rstrip(",)"))
            runs = {"undisturbed": [], "answered": [], "hangs": []}
            for _ in range(options.rounds):
                for name in runs:
                    await until_answered(port)
                    state["hangs"], state["asked"] = name == "hangs", 0
                    before, begin = times_of_threads(daemon.pid), time.monotonic()
                    connects = 0 if name == "undisturbed" else options.connects
                    found, statuses = await measure(port, options, connects)
                    after, took = times_of_threads(daemon.pid), time.monotonic() - begin
                    runs[name].append(found["p99"])
                    times = ", ".join(f"{key} {found[key] * 1000:.2f} ms" for key in ("p50", "p99", "max"))
                    print(f"{name}: {found['count']} round trips, {times}; "
                          f"connects {statuses}, questions {state['asked']}")
                    for thread in sorted(after):
                        ran, waited = (100e-9 * (b - a) / took for a, b in zip(before[thread], after[thread]))
                        print(f"    {thread}: {ran:.2f} % of a CPU, {waited:.2f} % ready without one", flush=True)
        finally:
            daemon.terminate()
            await daemon.wait()
    server.close()
    for name, times in runs.items():
        print(f"{name}: p99 of the rounds", ", ".join(f"{time * 1000:.2f}" for time in times), "ms")
    base, answered, hangs = (statistics.median(runs[name]) for name in ("undisturbed", "answered", "hangs"))
    print(f"p99, medians: answered / undisturbed {answered / base:.2f}, hangs / undisturbed {hangs / base:.2f}, "
          f"hangs / answered {hangs / answered:.2f}")


# Clients that measure.
CLIENTS = 20

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connects", type=int, default=5000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--probe", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.probe:
        asyncio.run(probe(options.probe, CLIENTS, options.seconds))
    else:
        asyncio.run(main(options))
