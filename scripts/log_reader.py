#!/usr/bin/env python3
"""What a log that is not read costs clients: a table in Markdown.

    cargo build --release -p roostd -p roost-load
    scripts/log_reader.py --port 8080 > docs/results/log-reader.md

Starts the daemon once for each level, format and state of its standard error: read, reader gone
(a closed pipe), stalled (a pipe that is not read), disk full (/dev/full). Each time 10,000 clients are
under the traffic of loadtest/scenarios/log-reader.toml, while requests that are refused fill the
log (at level debug 40 lines a second of up to 7 KB). Asked of each: no client was dropped, each
message came, the p99 of echoes divided by that with the log read is at most 1.5, lines lost are
counted, SIGTERM ends the daemon with status 0.

The four states of a level and format are measured in rounds, each time in another order, so that
what the machine does beside it meets all of them. Two ratios are given: of the medians of the
rounds, and of the least, for work beside only adds to a latency. A state counts as slower where both
are above 1.5; then all four are measured in further rounds, ROUNDS_MAX at most. At level off nothing
is logged: what the ratios are there is the machine's noise.

Python 3.9 or later, its standard library only. Ends whatever it starts. About half an hour.
"""

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WITH_PARENT = str(ROOT / "scripts/with-parent")
LEVELS = ["off", "error", "warn", "info", "debug", "trace"]
FORMATS = ["text", "json"]
LOGS = ["read", "gone", "stalled", "full"]
SCENARIO = ROOT / "loadtest/scenarios/log-reader.toml"
RATIO_MAX = 1.5
ROUNDS = 3
ROUNDS_MAX = 12
PHASES = ["traffic", "churn"]


class Daemon:
    """A running roostd, its log in the state asked for."""

    def __init__(self, options, level, format_, log):
        self.reader = None
        self.files = []
        stderr = self.open_log(log)
        command = [
            WITH_PARENT, str(os.getpid()), options.roostd, "--listen", f"127.0.0.1:{options.port}",
            "--set", f"log.level={level}", "--set", f"log.format={format_}",
            "--set", "listener.allowed_origins=[]", "--set", "server.drain_timeout=5s",
            "--set", f"admin.listen=127.0.0.1:{options.port + 1}",
        ]
        if options.driver:
            command += ["--driver", options.driver]
        self.child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr)
        os.close(stderr)
        self.port = options.port
        self.wait_until_it_listens()

    def open_log(self, log):
        if log == "full":
            return os.open("/dev/full", os.O_WRONLY)
        read, write = os.pipe()
        if log == "gone":
            os.close(read)
        elif log == "stalled":
            self.files.append(read)
        else:
            # A process of its own: a thread here would be late when this program is busy.
            self.reader = subprocess.Popen([WITH_PARENT, str(os.getpid()), "cat"], stdin=read, stdout=subprocess.DEVNULL)
            os.close(read)
        return write

    def wait_until_it_listens(self):
        until = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError as error:
                if self.child.poll() is not None or time.monotonic() > until:
                    self.kill()
                    raise SystemExit(f"roostd does not listen on port {self.port}: {error}")
                time.sleep(0.02)

    def count(self, name):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port + 1}/stats", timeout=10) as answer:
            return json.load(answer)[name]

    def stop(self):
        """SIGTERM; the exit status."""
        self.child.send_signal(signal.SIGTERM)
        try:
            return self.child.wait(20)
        finally:
            self.kill()

    def kill(self):
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        for file in self.files:
            os.close(file)
        self.files = []
        if self.reader:
            self.reader.wait()  # its pipe has ended with the daemon
            self.reader = None


class Flood(threading.Thread):
    """Requests that are refused, with an origin of 7 KB that the log repeats at level debug."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.address = ("127.0.0.1", port)
        self.ended = threading.Event()
        origin = "https://" + "x" * 7000
        self.request = (
            "GET /echo HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            f"Origin: {origin}\r\n\r\n").encode()

    def ask(self):
        with socket.create_connection(self.address, 10) as client:
            client.sendall(self.request)
            while client.recv(4096):
                pass

    def run(self):
        # A queue of 1 MiB and what is with the thread that writes are full before it is measured.
        for _ in range(400):
            self.ask()
        while not self.ended.wait(0.1):
            self.ask()


def measure(options, level, format_, log):
    """One run: its figures."""
    daemon = Daemon(options, level, format_, log)
    try:
        flood = Flood(options.port)
        flood.start()
        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            load = subprocess.run(
                [WITH_PARENT, str(os.getpid()), options.roost_load, "mixed", str(SCENARIO), f"ws://127.0.0.1:{options.port}",
                 "--quiet", "--memory-wait", "0s", "--json", file.name],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, text=True)
            try:
                document = json.load(open(file.name))
            except ValueError:
                raise SystemExit(f"roost-load: {load.stdout}")
        flood.ended.set()
        flood.join()
        lost = daemon.count("log_lines_dropped_total")
        status = daemon.stop()
    finally:
        daemon.kill()
    phases = {phase["name"]: phase for phase in document["phases"]}
    return {
        "p99": {name: p99_of(phases[name]["latencies"]["echo"]) for name in PHASES},
        "held": phases["traffic"]["held"],
        "problems": document["problems"],
        "lost": lost,
        "status": status,
    }


def p99_of(summary):
    """In milliseconds."""
    for percentile, value in summary["percentiles"]:
        if percentile == 99.0:
            return value / 1e6
    raise SystemExit(f"no p99 in {summary}")


def typical(runs, phase):
    """Median and least."""
    times = [run["p99"][phase] for run in runs]
    return statistics.median(times), min(times)


def ratios(runs, undisturbed):
    """Of the medians and of the least, for each phase."""
    return {phase: tuple(one / other for one, other in zip(typical(runs, phase), typical(undisturbed, phase)))
            for phase in PHASES}


def measure_rounds(options, level, format_):
    """The runs of each state of the log."""
    by_log = {log: [] for log in LOGS}
    for number in range(ROUNDS_MAX):
        turned = number % len(LOGS)
        for log in LOGS[turned:] + LOGS[:turned]:
            by_log[log].append(measure(options, level, format_, log))
        worst = max(min(both) for runs in by_log.values() for both in ratios(runs, by_log["read"]).values())
        if number + 1 >= ROUNDS and worst <= RATIO_MAX:
            break
    return by_log


def row(level, format_, log, runs, undisturbed):
    """The cells, and what was wrong."""
    wrong = []
    for run in runs:
        wrong += run["problems"]
        if run["status"] != 0:
            wrong.append(f"exit status {run['status']}")
    lost = round(statistics.median(run["lost"] for run in runs))
    by_phase = ratios(runs, undisturbed)
    if log != "read":
        wrong += [f"{name}: slower" for name, both in by_phase.items() if min(both) > RATIO_MAX]
        if level in ("debug", "trace") and any(run["lost"] == 0 for run in runs):
            wrong.append("no lost line was counted")
    elif any(run["lost"] > 0 for run in runs):
        wrong.append("lines lost though they were read")
    cells = [level, format_, log, str(min(run["held"] for run in runs))]
    for phase in PHASES:
        cells.append("{:.2f}, {:.2f}".format(*typical(runs, phase)))
        cells.append("1" if log == "read" else "{:.2f}, {:.2f}".format(*by_phase[phase]))
    cells += [str(lost), str(len(runs)), "; ".join(wrong) or "ok"]
    return cells, wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=8080, help="of clients; the next is the counters'")
    parser.add_argument("--driver", default=None, help="auto, epoll or io_uring")
    parser.add_argument("--roostd", default=str(ROOT / "target/release/roostd"))
    parser.add_argument("--roost-load", default=str(ROOT / "target/release/roost-load"))
    parser.add_argument("--levels", nargs="*", default=LEVELS, choices=LEVELS)
    parser.add_argument("--formats", nargs="*", default=FORMATS, choices=FORMATS)
    options = parser.parse_args()

    print("# A log that is not read\n")
    print(__doc__.split("\n\n", 1)[1].rsplit("\n\n", 1)[0] + "\n")
    print("p99 of echoes in milliseconds, median and least of the rounds, and both divided by those with the log read; "
          "with a fixed set of clients (traffic) and while a tenth of the clients come anew (churn).\n")
    print("| level | format | log | clients | p99 traffic | ratio | p99 churn | ratio | lines lost "
          "| rounds | |")
    print("|---|---|---|---:|---:|---:|---:|---:|---:|---:|---|", flush=True)
    failures = 0
    for level in options.levels:
        for format_ in options.formats:
            by_log = measure_rounds(options, level, format_)
            for log, runs in by_log.items():
                cells, wrong = row(level, format_, log, runs, by_log["read"])
                failures += bool(wrong)
                print("| " + " | ".join(cells) + " |", flush=True)
    print(f"\n{failures} rows are not as they should be.")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
