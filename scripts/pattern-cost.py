#!/usr/bin/env python3
"""Counts the instructions of a publication beside many patterns that it does not match.

Usage: pattern-cost.py [PATTERNS]

Builds the example `patterns` of roost-hub and runs it under valgrind's callgrind with N and with 2N
publications; the difference, divided by N, is a publication. Printed for each kind of patterns, with
PATTERNS (100,000) and with none: to a channel with a subscriber, and to one of 5,000 names without. Only
the hub is counted: what a connection and its dialect add to both sides of a ratio is left out.
"""

import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PUBLICATIONS = 20_000


def run(program, *arguments):
    """The instructions of a whole run, and what it printed."""
    with tempfile.TemporaryDirectory() as directory:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={directory}/out", program]
        done = subprocess.run(command + [str(a) for a in arguments], capture_output=True, text=True, check=True)
    return int(re.search(r"Collected : (\d+)", done.stderr).group(1)), done.stdout.strip()


def publication(program, kind, patterns, what, names):
    once, printed = run(program, kind, patterns, what, names, PUBLICATIONS)
    twice, _ = run(program, kind, patterns, what, names, 2 * PUBLICATIONS)
    return (twice - once) / PUBLICATIONS, printed


def main():
    patterns = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    subprocess.run(["cargo", "build", "-q", "--release", "-p", "roost-hub", "--example", "patterns"], cwd=ROOT, check=True)
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
    program = os.path.join(target, "release", "examples", "patterns")
    cases = [("live", 1000), ("bare", 5000)]
    none = [publication(program, "prefix", 0, *case)[0] for case in cases]
    print(f"no pattern: {', '.join(f'{what} {names}: {n:.0f}' for (what, names), n in zip(cases, none))}")
    for kind in ["prefix", "components", "tokens", "levels", "arrangements"]:
        for (what, names), before in zip(cases, none):
            after, printed = publication(program, kind, patterns, what, names)
            print(f"{patterns} {kind}, {what} {names}: {after:.0f}, {after / before:.2f} of none; {printed}", flush=True)


if __name__ == "__main__":
    main()
