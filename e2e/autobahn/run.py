#!/usr/bin/env python3
"""The Autobahn TestSuite against a daemon that this script starts, group by group.

    python3 e2e/autobahn/run.py --driver epoll --groups fast
    python3 e2e/autobahn/run.py --driver epoll --groups all
    python3 e2e/autobahn/run.py --driver io_uring --groups all --summary docs/autobahn.md
    python3 e2e/autobahn/run.py --driver epoll --tls --groups all
    python3 e2e/autobahn/run.py --driver epoll --groups 12.1,13.1 --set deflate.takeover_bytes_max=64MiB

Needs kosoku (requirements.txt), which runs Autobahn's own case files; --tls also openssl, for a
certificate. Reports go to OUT/DRIVER/GROUP, with TLS to OUT/DRIVER_tls/GROUP, a page and a JSON file a case. The last line counts the cases; the exit
status is 1 unless all that were asked for ran and are OK or informational. kosoku has no TLS: relay.py
does it for it, and what it finds wrong with TLS fails the run too.

kosoku's exit status says nothing of Non-Strict and Unimplemented, so its index.json is read. Each
group has its own kosoku, so that one which does not end costs its group alone.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

from relay import TlsRelay

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# Children end with this process, also when that is killed.
WITH_PARENT = [ROOT / "scripts/with-parent", str(os.getpid())]

# Cases in each group: 517 in all. A group that reports fewer was not run in full.
FAST = {"1": 16, "2": 11, "3": 7, "4": 10, "5": 20, "6": 145, "7": 37, "10": 1}
LIMITS = {"9": 54}
DEFLATE = {f"12.{n}": 18 for n in range(1, 6)} | {f"13.{n}": 18 for n in range(1, 8)}
ALL = FAST | LIMITS | DEFLATE
TITLES = {
    "1": "framing",
    "2": "pings and pongs",
    "3": "reserved bits",
    "4": "opcodes",
    "5": "fragmentation",
    "6": "UTF-8",
    "7": "closing",
    "9": "limits and performance",
    "10": "automatic fragmentation",
    "12": "permessage-deflate, different data",
    "13": "permessage-deflate, different parameters",
}

TLS_SUFFIX = "_tls"
START_S = 30
STOP_S = 15

# What a case can come to, from good to bad, and how it is counted.
OK, INFORMATIONAL, NON_STRICT, FAILED, UNIMPLEMENTED = "OK", "informational", "non-strict", "failed", "unimplemented"
SEVERITY = [OK, INFORMATIONAL, NON_STRICT, UNIMPLEMENTED, FAILED]
VERDICTS = {
    "OK": OK,
    "INFORMATIONAL": INFORMATIONAL,
    "NON-STRICT": NON_STRICT,
    "UNIMPLEMENTED": UNIMPLEMENTED,
}  # all else, such as FAILED, WRONG CODE, UNCLEAN and ERROR, is a failure


def main():
    options = arguments()
    out = options.out / (options.driver + TLS_SUFFIX * options.tls)
    out.mkdir(parents=True, exist_ok=True)
    pair = make_certificate(out) if options.tls else None
    with Daemon(options, pair) as daemon:
        print(f"{out.name}: daemon at {daemon.address}", flush=True)
        with TlsRelay(daemon.address, pair[0]) if options.tls else nullcontext(daemon) as server:
            for group in options.groups:
                run_group(options, server.address, group, out / group)
    print(f"the daemon ended with status {daemon.status}")
    tls_faults = server.faults if options.tls else []
    if options.tls:
        print(f"{server.connections} connections over TLS, {len(tls_faults)} with a fault of TLS")
    for fault in sorted(set(tls_faults)):
        print(f"  TLS, {tls_faults.count(fault)} times: {fault}")

    verdicts, missing = {}, []
    for group in options.groups:
        found, absent = read_group(out, group)
        verdicts |= found
        missing += absent
    for case, (verdict, why) in verdicts.items():
        if verdict not in (OK, INFORMATIONAL):
            print(f"  {case}: {why}")
    for what in missing:
        print(f"  {what}")
    if options.summary:
        options.summary.write_text(summary(options.out))
    print(count_line(verdicts))
    good = all(verdict in (OK, INFORMATIONAL) for verdict, _ in verdicts.values())
    sys.exit(0 if good and not missing and not tls_faults and daemon.status == 0 else 1)


def arguments():
    parser = argparse.ArgumentParser(description="Run the Autobahn TestSuite against Roost.")
    parser.add_argument("--roostd", type=Path, default=ROOT / "target/release/roostd", help="the daemon to start")
    parser.add_argument("--driver", choices=["epoll", "io_uring"], required=True)
    parser.add_argument("--tls", action="store_true", help="over TLS, with a certificate made for the run")
    parser.add_argument("--groups", type=groups, default=list(FAST), help="fast (seconds), all, or a list such as 9,12.1")
    parser.add_argument("--out", type=Path, default=ROOT / "target/e2e/autobahn", help="where the reports go")
    parser.add_argument("--summary", type=Path, help="write a table of every report found in OUT to this file")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the daemon for this run")
    parser.add_argument("--kosoku", default=beside_python("kosoku"), help="the suite's runner")
    parser.add_argument("--parallel", type=int, default=2, help="cases at once")
    parser.add_argument("--group-timeout-s", type=int, default=3600, help="after this a group is given up")
    options = parser.parse_args()
    if not options.roostd.is_file():
        parser.error(f"{options.roostd} is not there: cargo build --release")
    if not options.kosoku:
        parser.error(f"kosoku is not there: pip install -r {HERE / 'requirements.txt'}")
    return options


def groups(text):
    """`fast`, `all` or names with commas → names, each known."""
    named = {"fast": list(FAST), "all": list(ALL)}.get(text, text.split(","))
    for name in named:
        if name not in ALL:
            raise argparse.ArgumentTypeError(f"no group {name}; there are {', '.join(ALL)}")
    return named


def beside_python(program):
    """A program of this interpreter's environment, or of the PATH."""
    beside = Path(sys.executable).with_name(program)
    return str(beside) if beside.is_file() else shutil.which(program)


def make_certificate(directory):
    """Certificate and key for 127.0.0.1, made anew."""
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=autobahn", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


class Daemon:
    """A daemon of our own on a port that it chose; ended on the way out, whatever happened."""

    def __init__(self, options, pair):
        self.command = [options.roostd, "run", "--config", HERE / "roost.toml", "--driver", options.driver]
        self.command += [part for setting in options.set for part in ("--set", setting)]
        if pair:
            self.command += ["--listen-tls", "127.0.0.1:0", "--tls-certificate", pair[0], "--tls-key", pair[1]]
        self.address = None
        self.status = None

    def __enter__(self):
        self.log = tempfile.TemporaryFile(mode="w+", errors="replace")
        self.child = subprocess.Popen(WITH_PARENT + self.command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + START_S
        while not self.address:
            said = self.said()
            ready = re.search(r"ready address=(\S+)", said)
            if ready:
                self.address = ready[1]
            elif self.child.poll() is not None or time.monotonic() > deadline:
                self.stop()
                sys.exit(f"the daemon did not start:\n{said}")
            else:
                time.sleep(0.05)
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGINT)
        try:
            self.status = self.child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.status = self.child.wait()
        if self.status != 0:
            print(self.said())

    def said(self):
        self.log.seek(0)
        return self.log.read()


def run_group(options, address, group, out):
    """One kosoku for one group; reports of earlier runs are removed."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    command = [options.kosoku, "-p", str(options.parallel), "-o", out, "-i", f"{group}.*", f"ws://{address}/echo"]
    began = time.monotonic()
    with open(out / "kosoku.log", "w") as log:
        child = subprocess.Popen(WITH_PARENT + command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        try:
            child.wait(options.group_timeout_s)
            end = ""
        except subprocess.TimeoutExpired:
            end = ", given up"
        finally:
            child.kill()
            child.wait()
    print(f"  group {group}: {time.monotonic() - began:.0f} s{end}", flush=True)


def read_group(out, group):
    """`{case: (verdict, why)}` of a group's report, and what is missing in it, in words."""
    index = out / group / "index.json"
    if not index.is_file():
        return {}, [f"{group}.*: no report"]
    verdicts = {}
    for cases in json.loads(index.read_text()).values():
        for case, result in cases.items():
            behaviors = (result["behavior"], result["behaviorClose"])
            verdict = max((VERDICTS.get(behavior, FAILED) for behavior in behaviors), key=SEVERITY.index)
            why = "{}, close {}".format(*behaviors)
            if verdict == FAILED:
                report = json.loads((out / group / result["reportfile"]).read_text())
                why += f": {report.get('result')} / {report.get('resultClose')}"
            verdicts[case] = (verdict, why)
    lacking = ALL[group] - len(verdicts)
    return verdicts, [f"{group}.*: {lacking} cases not reported"] if lacking else []


def count_line(verdicts):
    counts = Counter(verdict for verdict, _ in verdicts.values())
    parts = [f"{counts[verdict]} {verdict}" for verdict in (OK, INFORMATIONAL, NON_STRICT, FAILED, UNIMPLEMENTED)]
    return f"{len(verdicts)} cases: " + ", ".join(parts)


def summary(out):
    """The table of docs/autobahn.md: a row a group, a column a driver, of what OUT holds."""
    drivers = [driver + tls for tls in ("", TLS_SUFFIX) for driver in ("epoll", "io_uring")]
    drivers = [driver for driver in drivers if (out / driver).is_dir()]
    titles = [driver.replace(TLS_SUFFIX, ", TLS") for driver in drivers]
    lines = ["| group | asks about | cases | " + " | ".join(titles) + " |", "|---|---|--:|" + "---|" * len(drivers)]
    notes = {}
    totals = {driver: {} for driver in drivers}
    for group, size in ALL.items():
        cells = []
        for driver, title in zip(drivers, titles):
            verdicts, missing = read_group(out / driver, group)
            totals[driver] |= verdicts
            found = missing + [f"{case}: {why}" for case, (verdict, why) in verdicts.items() if verdict != OK]
            for what in found:
                notes.setdefault(what, []).append(title)
            cells.append(cell(verdicts))
        lines.append(f"| {group}.* | {TITLES[group.split('.')[0]]} | {size} | " + " | ".join(cells) + " |")
    lines.append(f"| all | | {sum(ALL.values())} | " + " | ".join(f"**{cell(totals[driver])}**" for driver in drivers) + " |")
    where = lambda of: "everywhere" if len(of) == len(titles) else ", ".join(of)
    notes = [f"- {what} ({where(of)})" for what, of in notes.items()] or ["nothing"]
    return PREFACE + "\n".join(lines + ["", "What is not OK, or was not run:", ""] + notes) + "\n"


def cell(verdicts):
    counts = Counter(verdict for verdict, _ in verdicts.values())
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in SEVERITY if counts[verdict]) or "not run"


PREFACE = """\
# The Autobahn TestSuite

The cases of the Autobahn TestSuite (RFC 6455 and RFC 7692) against Roost's `/echo`. This page is written by
the last command:

<!-- check: skip the steps autobahn_* run it -->
```
pip install -r e2e/autobahn/requirements.txt
python3 e2e/autobahn/run.py --driver epoll --groups all
python3 e2e/autobahn/run.py --driver io_uring --groups all
python3 e2e/autobahn/run.py --driver epoll --tls --groups all
python3 e2e/autobahn/run.py --driver io_uring --tls --groups all --summary docs/autobahn.md
```

TLS goes through OpenSSL (`e2e/autobahn/relay.py`); a broken record, or an end without close_notify, fails
the run.

The daemon's configuration is `e2e/autobahn/roost.toml`: messages of 16 MiB are allowed, as group 9
wants, and permessage-deflate compresses every message: an uncompressed text, which RFC 7692 §6 allows,
ends kosoku 0.1.0's cases of groups 12 and 13 with `Strings must be encoded before hashing`. A case counts
as OK only if its close is, too. Groups 12 and 13 send 1,000 messages a case, of 16 B to 128 KiB; a case has
60 to 480 s.

With `--set deflate.takeover_bytes_max=64MiB` the cases of groups 12 and 13 that do not decline context
takeover get it, in both directions: 216 OK on epoll, 216 OK on io_uring.

"""


if __name__ == "__main__":
    main()
