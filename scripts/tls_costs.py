#!/usr/bin/env python3
"""What TLS costs the daemon, each figure beside the same without TLS in one run: a table in Markdown.

    cargo build --release -p roostd -p roost-load
    cargo build --release -p roost-tls --example tls_cost
    scripts/tls_costs.py > docs/results/tls.md             # or some of the cases, by name

Cases:
  quiet       8,000 quiet connections that are pinged every second, which is the rate of pings of
              200,000 with 25 s: the daemon's CPU time for a ping and its pong.
  echo        100 connections, each with one message of 125 bytes, 1 KiB and 16 KiB in flight: CPU
              time per message, divided by that without TLS and two of the bare AEAD (AES-256-GCM; one to open,
              one to seal; the key made for each, and ready).
  bun         the same echoes by Bun (`--bun PATH`, from npm) over TLS, in turns with Roost: Bun's CPU time
              per message divided by Roost's.
  handshakes  full handshakes (ECDSA P-256, X25519, TLS 1.3), of clients that stay: CPU time of rustls in
              memory divided by what one takes more than a plain connection; user space, and with what
              the kernel does for the four packets more.
  storm       19,000 handshakes (fewer where fewer files may be open) beside 1,000 echoing connections: p99 of their echoes, divided by
              that without the storm.

The daemon has one reactor and core 0 to itself, the clients share core 1, and the storm's run only
when nothing else there runs (SCHED_IDLE). CPU time is that of all the daemon's threads, by the
process's CPU-time clock. With and without take turns, ROUNDS times; printed are medians of the rounds.
Loopback only; every run is bounded in time. Python 3.9 or later, its standard library only.
"""

import argparse
import json
import os
import re
import resource
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WITH_PARENT = [str(ROOT / "scripts/with-parent"), str(os.getpid())]
SIZES = [125, 1024, 16384]
QUIET, QUIET_S = 8000, 15
HANDSHAKES = 4000
STORM = 19000


class Daemon:
    """A running roostd with one reactor on core 0, plain or with a certificate that it makes."""

    def __init__(self, options, driver, tls, *more):
        self.directory = tempfile.TemporaryDirectory()
        self.admin = self.directory.name + "/admin.sock"
        listen = ["--listen-tls", "127.0.0.1:0", "--self-signed"] if tls else ["--listen", "127.0.0.1:0"]
        command = [*WITH_PARENT, "taskset", "-c", "0", options.roostd, "run", *listen, "--driver", driver,
                   "--reactors", "1", "--set", "log.level=warn", "--set", "echo.enabled=true",
                   "--set", f"admin.socket={self.admin}",
                   "--set", "limits.handshake_timeout=60s", *more]
        environment = {**os.environ, "XDG_STATE_HOME": self.directory.name}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
        banner = ""
        while not (found := re.search(r"^ +address +(\S+)", banner, re.M)):
            line = self.process.stdout.readline()
            if not line:
                sys.exit("the daemon has ended:\n" + banner)
            banner += line
        self.url = f"{'wss' if tls else 'ws'}://{found[1]}"
        until = time.monotonic() + 10
        while not os.path.exists(self.admin) and time.monotonic() < until:
            time.sleep(0.02)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.communicate()
        self.directory.cleanup()

    def cpu_ns(self):
        """CPU time of all its threads, those that have ended too, in user space and in the kernel."""
        clock = ~self.process.pid << 3 | 2  # clock_getcpuclockid(3)
        return time.clock_gettime_ns(clock)

    def user_ns(self):
        ticks = int(Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[11])
        return ticks * 1e9 / os.sysconf("SC_CLK_TCK")

    def count(self, name):
        # HTTP/1.0: the answer ends with the connection.
        with socket.socket(socket.AF_UNIX) as admin:
            admin.connect(self.admin)
            admin.sendall(b"GET /stats HTTP/1.0\r\n\r\n")
            with admin.makefile("rb") as answer:
                return json.loads(answer.read().partition(b"\r\n\r\n")[2])[name]

    def wait_for(self, name, least, seconds=120):
        until = time.monotonic() + seconds
        while self.count(name) < least:
            if time.monotonic() > until:
                sys.exit(f"{name} is {self.count(name)} and not {least} after {seconds} s")
            time.sleep(0.05)


class Load:
    """A running roost-load on core 1."""

    def __init__(self, options, daemon, mode, *more, low=False):
        self.file = tempfile.NamedTemporaryFile(suffix=".json")
        command = [*WITH_PARENT, "taskset", "-c", "1", *(["chrt", "--idle", "0"] if low else []), options.roost_load, mode,
                   daemon.url, "--insecure", "--quiet", "--json", self.file.name, *map(str, more)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def result(self):
        said, _ = self.process.communicate(timeout=180)
        if self.process.returncode != 0:
            sys.exit(f"roost-load: status {self.process.returncode}\n{said}")
        return json.load(open(self.file.name))

    def stop(self):
        self.process.terminate()
        self.process.communicate()


def quiet(options, driver, tls):
    """CPU time per connection and ping interval, in µs."""
    with Daemon(options, driver, tls, "--set", "limits.ping_interval=1s") as daemon:
        load = Load(options, daemon, "idle", "-n", QUIET, "--hold", "60s", "--connect-timeout", "60s")
        daemon.wait_for("websockets_open", QUIET)
        time.sleep(3)
        pings, cpu = daemon.count("pongs_received_total"), daemon.cpu_ns()
        time.sleep(QUIET_S)
        pings, cpu = daemon.count("pongs_received_total") - pings, daemon.cpu_ns() - cpu
        load.stop()
        return cpu / pings / 1000


def echo(options, driver, tls, size):
    """CPU time per message, in µs."""
    return echo_by(options, Daemon(options, driver, tls), size)


def echo_by(options, server, size):
    with server as daemon:
        load = Load(options, daemon, "echo", "-n", 100, "-m", 1, "--size", size, "--time", "4s", "--warm-up", "1s")
        daemon.wait_for("binary_messages_received_total", 100)
        time.sleep(1)
        messages, cpu = daemon.count("binary_messages_received_total"), daemon.cpu_ns()
        time.sleep(2.5)
        messages, cpu = daemon.count("binary_messages_received_total") - messages, daemon.cpu_ns() - cpu
        load.result()
        return cpu / messages / 1000


class Bun:
    """Bun's WebSocket server over TLS, on core 0, with a certificate that roostd makes."""

    SCRIPT = """
        let messages = 0;
        const server = Bun.serve({
            port: 0, hostname: "127.0.0.1",
            tls: { cert: Bun.file(process.argv[2]), key: Bun.file(process.argv[2]) }, // one file has both
            fetch(request, server) {
                return server.upgrade(request) ? undefined : new Response(String(messages));
            },
            websocket: { message(socket, message) { messages++; socket.send(message); } },
        });
        console.log(server.port);
    """

    def __init__(self, options):
        self.directory = tempfile.TemporaryDirectory()
        with Daemon(options, "epoll", True) as daemon:
            pair = next(Path(daemon.directory.name).rglob("localhost.pem"))
            Path(self.directory.name, pair.name).write_bytes(pair.read_bytes())
        script = Path(self.directory.name, "echo.js")
        script.write_text(self.SCRIPT)
        command = [*WITH_PARENT, "taskset", "-c", "0", options.bun, str(script), f"{self.directory.name}/{pair.name}"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        port = self.process.stdout.readline().strip()
        if not port:
            sys.exit("Bun has ended")
        self.url = f"wss://127.0.0.1:{port}"

    __enter__, __exit__, cpu_ns = Daemon.__enter__, Daemon.__exit__, Daemon.cpu_ns

    def count(self, _):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with urllib.request.urlopen(self.url.replace("wss", "https"), context=context) as answer:
            return int(answer.read())

    wait_for = Daemon.wait_for


def opened(options, driver, tls):
    """CPU time per connection that is opened, in µs: of user space, and in all."""
    with Daemon(options, driver, tls, "--set", "limits.ping_interval=0s") as daemon:
        user, cpu = daemon.user_ns(), daemon.cpu_ns()
        load = Load(options, daemon, "idle", "-n", HANDSHAKES, "--hold", "30s", "--connect-timeout", "60s")
        daemon.wait_for("websockets_open", HANDSHAKES)
        user, cpu = daemon.user_ns() - user, daemon.cpu_ns() - cpu
        load.stop()
        return user / HANDSHAKES / 1000, cpu / HANDSHAKES / 1000


def storm(options, driver, disturbed):
    """p99 of the echoes of 1,000 connections, in ms."""
    with Daemon(options, driver, True) as daemon:
        probe = Load(options, daemon, "echo", "-n", 1000, "--rate", 1000, "--time", "12s", "--warm-up", "2s",
                     "--connect-timeout", "60s")
        daemon.wait_for("websockets_open", 1000)
        time.sleep(2)
        beside = None
        if disturbed:
            beside = Load(options, daemon, "idle", "-n", options.storm, "--hold", "60s", "--connects-in-flight", 1024,
                          "--connect-timeout", "60s", low=True)
        phases = probe.result()["phases"]
        made = daemon.count("tls_handshakes_total") - 1000
        if beside:
            beside.stop()
        latency = next(phase["latencies"]["echo"] for phase in reversed(phases) if "echo" in phase["latencies"])
        p99 = next(ns for percent, ns in latency["percentiles"] if percent >= 99) / 1e6
        return p99, made


def turns(rounds, one, other):
    """Medians of both, which take turns, and of their ratios within a round."""
    pairs = [(one(), other()) for _ in range(rounds)]
    ratios = sorted(b / a for a, b in pairs)
    return (statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs),
            statistics.median(ratios), ratios[0], ratios[-1])


def row(what, driver, without, with_, ratio, bar):
    print(f"| {what} | {driver} | {without} | {with_} | {ratio} | {bar} |", flush=True)


def cost(options, *arguments):
    command = ["taskset", "-c", "0", options.cost, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def ns_of(text):
    number, unit = re.match(r"([\d.]+)(ns|µs|ms)", text).groups()
    return float(number) * {"ns": 1, "µs": 1e3, "ms": 1e6}[unit]


def bare(options):
    """In nanoseconds: for each size the bare AEAD with its key ready and made."""
    found = re.findall(r"(\d+) B: bare AEAD (\S+), with its key made (\S+);", cost(options))
    return {int(size): (ns_of(ready), ns_of(made)) for size, ready, made in found}


def handshakes(options, driver):
    """Medians over the rounds, for user space and in all: of rustls in memory, of a plain connection's opening, of one with
    TLS; and of the ratios within a round."""
    rounds = []
    for _ in range(options.rounds):
        plain, tls = (opened(options, driver, tls) for tls in (False, True))
        rustls = ns_of(re.search(r"rustls alone (\S+)", cost(options, "handshakes"))[1]) / 1000
        rounds.append([(rustls, a, b, rustls / (b - a)) for a, b in zip(plain, tls)])
    columns = [list(zip(*(part[kind] for part in rounds))) for kind in (0, 1)]
    return [[statistics.median(column) for column in kind] + [min(kind[3]), max(kind[3])] for kind in columns]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", nargs="*", help="quiet, echo, bun, handshakes, storm; without, all but bun")
    parser.add_argument("--roostd", default=str(ROOT / "target/release/roostd"))
    parser.add_argument("--roost-load", default=str(ROOT / "target/release/roost-load"))
    parser.add_argument("--cost", default=str(ROOT / "target/release/examples/tls_cost"))
    parser.add_argument("--bun", help="the program, as npm's package bun installs it")
    parser.add_argument("--driver", action="append", choices=["epoll", "io_uring"])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    cases = options.case or ["quiet", "echo", "handshakes", "storm"]
    if unknown := set(cases) - {"quiet", "echo", "bun", "handshakes", "storm"}:
        parser.error(f"no case {', '.join(sorted(unknown))}")
    if "bun" in cases and not options.bun:
        parser.error("the case bun needs --bun PATH")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    options.storm = min(STORM, hard - 1500)
    head, _, rest = __doc__.partition("\n\n")
    print(f"# What TLS costs\n\n<!-- check: skip a measurement of minutes -->\n{rest.split('Cases:')[0].rstrip()}\n")
    print(f"Medians of {options.rounds} rounds; in parentheses the least and the greatest ratio of a round. Where these lie "
          "far apart the machine was lent to others meanwhile, and the row says nothing.\n")
    print("| what | driver | without | with TLS | ratio | bar |\n|---|---|--:|--:|--:|--:|")
    measured = bare(options) if "echo" in cases else None
    for driver in options.driver or ["epoll", "io_uring"]:
        measure(options, driver, cases, measured)


def measure(options, driver, cases, measured):
    span = lambda low, high: f"({low:.2f} to {high:.2f})"
    if "quiet" in cases:
        a, b, ratio, low, high = turns(options.rounds, *(lambda tls=tls: quiet(options, driver, tls) for tls in (False, True)))
        row("quiet: CPU time per ping", driver, f"{a:.2f} µs", f"{b:.2f} µs", f"{ratio:.2f} {span(low, high)}", "1.2")
    for size in SIZES if "echo" in cases else []:
        a, b, ratio, low, high = turns(options.rounds, *(lambda tls=tls: echo(options, driver, tls, size) for tls in (False, True)))
        ready, made = (2 * ns / 1000 for ns in measured[size])
        row(f"echo of {size} bytes: CPU time per message", driver, f"{a:.2f} µs", f"{b:.2f} µs",
            f"{ratio:.2f} {span(low, high)}", "")
        row("the same ÷ (without + bare AEAD, key ready)", driver, f"{a + ready:.2f} µs", f"{b:.2f} µs", f"{b / (a + ready):.2f}", "1.10")
        row("the same ÷ (without + bare AEAD, key made)", driver, f"{a + made:.2f} µs", f"{b:.2f} µs", f"{b / (a + made):.2f}", "")
    for size in SIZES if "bun" in cases else []:
        a, b, ratio, low, high = turns(options.rounds, lambda: echo(options, driver, True, size), lambda: echo_by(options, Bun(options), size))
        row(f"echo of {size} bytes over TLS: Roost, Bun", driver, f"{a:.2f} µs", f"{b:.2f} µs", f"{ratio:.2f} {span(low, high)}", "≥ 1.2")
    if "handshakes" in cases:
        for where, bar, figures in zip(["in user space", "and in the kernel"], ["0.9", ""], handshakes(options, driver)):
            rustls, a, b, ratio, low, high = figures
            row(f"CPU time per connection opened, {where}", driver, f"{a:.0f} µs", f"{b:.0f} µs", f"{b / a:.2f}", "")
            row("rustls in memory ÷ what TLS adds to that", driver, f"{rustls:.0f} µs", f"{b - a:.0f} µs",
                f"{ratio:.2f} {span(low, high)}", bar)
    if "storm" in cases:
        made = []
        calm = lambda: storm(options, driver, False)[0]
        def stormy():
            p99, count = storm(options, driver, True)
            made.append(count)
            return p99
        a, b, ratio, low, high = turns(options.rounds, calm, stormy)
        row(f"storm: p99 of echoes beside {statistics.median(made):.0f} handshakes", driver, f"{a:.2f} ms", f"{b:.2f} ms",
            f"{ratio:.2f} {span(low, high)}", "2")


if __name__ == "__main__":
    main()
