#!/usr/bin/env python3
"""Runs of loadtest/million.sh beside each other: one column a run, as Markdown.

    sudo ROOST_MILLION_OUT=/var/tmp/one loadtest/million.sh 1000000 common     # and others elsewhere
    scripts/million_table.py /var/tmp/one /var/tmp/two > docs/results/million.md

Each directory has the files of one or more runs that hold connections (common, own, wamp, wss). Measures nothing. Python 3.9
or later, its standard library only.
"""

import json
import sys
from pathlib import Path

MIB, GIB = 2**20, 2**30
HELD = ["common", "own", "wamp", "wss"]


def phase(run, name):
    return next((phase for phase in run["phases"] if phase["name"] == name), None)


def opened(run):
    """How many are held, and after how many seconds of opening."""
    phases = [phase for phase in run["phases"] if phase["name"].startswith("open ")]
    return phases[-1]["held"], sum(phase["seconds"] for phase in phases), phases[-1]


def mib(count):
    return f"{count / MIB:.1f} MiB"


def hold(run):
    return phase(run, "hold")


def per_delivery(part):
    received = part["received"]
    return f"{received:,} in {part['seconds']:.1f} s, {part['server_cpu_seconds'] * 1e6 / received:.2f} µs each"


def wrong(run):
    """Everything that failed or was not received once."""
    kinds = ["lost", "doubled", "reordered", "corrupt", "misrouted"]
    return sum(part["failed"] + part["lost"] + sum(part["deliveries"][kind] for kind in kinds) for part in run["phases"])


def publish(run):
    part = phase(run, "publish to all") or phase(run, "publish in 1,000 channels")
    return part and per_delivery(part)


def five(run):
    part = phase(run, "publish to all, 5 times")
    return part and per_delivery(part)


def reconnected(run):
    part = phase(run, "drop 10 %, reconnect")
    return part and f"{part['dropped']:,} in {part['seconds']:.1f} s"


def counters(run):
    back = run["after"]["counters"]
    same = sum(before == after for _, before, after in back) if isinstance(back, list) else None
    return "all" if same == len(back) else f"{same} of {len(back)}"


def peak(run):
    held = opened(run)[2]
    clients = max((sample["client_pss_bytes"] or 0 for sample in run["samples"]), default=0)
    return f"{(held['server']['pss_bytes'] + held['kernel']['slab_grown_bytes'] + clients) / GIB:.1f} GiB"


ROWS = [
    ("held", lambda run: f"{opened(run)[0]:,}"),
    ("failed, lost, doubled, out of order", wrong),
    ("opened in", lambda run: f"{opened(run)[1]:.0f} s"),
    ("server's memory per connection (slope of PSS)", lambda run: f"{run['slope']['bytes_per_connection']:.1f} B"),
    ("server's memory with all of them", lambda run: mib(opened(run)[2]["server"]["pss_bytes"])),
    ("slab per connection, both ends", lambda run: f"{opened(run)[2]['kernel']['slab_grown_bytes'] / opened(run)[0]:,.0f} B"),
    ("server's CPU time a connection and second, pings every 25 s",
     lambda run: f"{hold(run)['server_cpu_seconds'] * 1e6 / hold(run)['seconds'] / hold(run)['held']:.3f} µs"),
    ("one publish: deliveries, server's CPU time", publish),
    ("five publishes at once", five),
    ("10 % dropped, all back", reconnected),
    ("all closed in", lambda run: f"{phase(run, 'close')['seconds']:.0f} s"),
    ("counters back where they were", counters),
    ("memory after that (after the warm-up; before the first)", lambda run: "{} ({}; {})".format(
        mib(run["after"]["server"]["pss_bytes"]), mib(phase(run, "warm-up: close")["server"]["pss_bytes"]),
        mib(run["server_before"]["pss_bytes"]))),
    ("server, harness and slab together", peak),
    ("time", lambda run: f"{run['samples'][-1]['s'] / 60:.1f} min"),
]


def main():
    if not sys.argv[1:]:
        sys.exit(__doc__)
    runs = []
    for name in HELD:
        for directory in sys.argv[1:]:
            file = Path(directory) / f"million-{name}.json"
            if file.exists():
                runs.append((name, json.loads(file.read_text())))
    if not runs:
        sys.exit(f"no runs in {', '.join(sys.argv[1:])}")
    machine = runs[0][1]["machine"]
    command = "sudo ROOST_MILLION_OUT=DIRECTORY loadtest/million.sh 1000000 common own wss; scripts/million_table.py DIRECTORY"
    print("# A million connections\n\n<!-- check: skip needs root and a million sockets -->\n```\n" + command + "\n```")
    print(f"{machine['cores']} cores, {machine['memory_bytes'] / GIB:.0f} GiB, Linux {machine['kernel'].split('-')[0]}, both ends on the machine. "
          "[loadtest.md](../loadtest.md#a-million) says what a run does.\n")
    print("| what | " + " | ".join(name for name, _ in runs) + " |\n|---|" + "---:|" * len(runs))
    for what, figure in ROWS:
        print(f"| {what} | " + " | ".join(("" if (found := figure(run)) is None else str(found)) for _, run in runs) + " |")


if __name__ == "__main__":
    main()
