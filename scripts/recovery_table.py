#!/usr/bin/env python3
"""Runs of loadtest/recovery.sh beside each other: one column a run, as Markdown.

    sudo ROOST_RECOVERY_OUT=/var/tmp/recovery loadtest/recovery.sh
    scripts/recovery_table.py /var/tmp/recovery > docs/results/recovery.md

Measures nothing. Status 1 if a message was lost without being told, doubled or out of order, or a run misses the bar. Python
3.9 or later, its standard library only.
"""

import json
import statistics
import sys
from pathlib import Path

RATIO_MAX = 1.5
WRONG = ["lost", "doubled", "reordered", "corrupt", "misrouted"]
INTRODUCTION = """\
All subscribers of one channel lose their connections, two seconds of messages are published, and all come back at once with
the position they had. [history.md](../history.md) says what recovery promises, [loadtest.md](../loadtest.md#recovery) what
the figures mean. CPU time is the daemon's, user and system, the median over the rounds."""


def heading(run):
    """Such as `15000 × sse, epoll`."""
    return f"{run['settings']['group subscribers'].split(',')[0]}, {run['settings']['driver']}"


def returns(run):
    return [phase for phase in run["phases"] if phase["name"].endswith("return and recover")]


def missed(run):
    """Messages that were published in a round while the subscribers were away."""
    phases = [phase for phase in run["phases"] if phase["name"].endswith("messages go on")]
    return f"{statistics.median(phase['sent'] for phase in phases):,.0f}"


def wrong(run):
    return sum(part["failed"] + part["lost"] + sum(part["deliveries"][kind] for kind in WRONG) for part in run["phases"])


def seconds(values):
    return f"{statistics.median(values):.3f} s ({min(values):.3f} to {max(values):.3f})" if values else "not measured"


def ratio(run):
    """The CPU time of recovery, without that of coming back, as a multiple of the publish."""
    recovery = run["recovery"]
    parts = [recovery[name] for name in ("cpu_seconds", "nothing_missed_cpu_seconds", "publish_cpu_seconds")]
    if not all(parts):
        return None
    recovered, back, publish = map(statistics.median, parts)
    return (recovered - back) / publish


def shown_ratio(run):
    value = ratio(run)
    if value is None:
        return "not measured"
    return f"{value:.2f} × ({'pass' if value <= RATIO_MAX else '**FAIL**'})"


ROWS = [
    ("rounds", lambda run: len(returns(run))),
    ("messages missed in a round, over all channels", missed),
    ("connections recovered, messages", lambda run: f"{run['recovery']['connections']:,}, {run['recovery']['messages']:,}"),
    ("told of a loss", lambda run: f"{run['recovery']['told']:,}"),
    ("failed, lost, doubled, out of order", lambda run: f"{wrong(run):,}"),
    ("from the return until the last had all", lambda run: seconds(run["recovery"]["all_back_seconds"])),
    ("CPU time, back to what was missed", lambda run: seconds(run["recovery"]["cpu_seconds"])),
    ("CPU time, back to nothing missed", lambda run: seconds(run["recovery"]["nothing_missed_cpu_seconds"])),
    ("CPU time, one publish of the same bytes to all", lambda run: seconds(run["recovery"]["publish_cpu_seconds"])),
    (f"recovery as a multiple of the publish; at most {RATIO_MAX}", shown_ratio),
]


def main():
    if not sys.argv[1:]:
        sys.exit(__doc__)
    files = [file for directory in sys.argv[1:] for file in sorted(Path(directory).glob("recovery-*.json"))]
    runs = [json.loads(file.read_text()) for file in files]
    if not runs:
        sys.exit(f"no runs in {', '.join(sys.argv[1:])}")
    command = "sudo ROOST_RECOVERY_OUT=DIRECTORY loadtest/recovery.sh; scripts/recovery_table.py DIRECTORY"
    print(f"# Recovery\n\n<!-- check: skip needs root and minutes -->\n```\n{command}\n```\n{INTRODUCTION}\n")
    machine = runs[0]["machine"]
    print(f"{machine['cores']} cores, {machine['memory_bytes'] / 2**30:.0f} GiB, Linux {machine['kernel'].split('-')[0]}, both ends on the machine.\n")
    print("| | " + " | ".join(heading(run) for run in runs) + " |")
    print("|---|" + "---:|" * len(runs))
    for name, of in ROWS:
        print(f"| {name} | " + " | ".join(str(of(run)) for run in runs) + " |")
    problems = [f"{file.name}: {problem}" for file, run in zip(files, runs) for problem in run["problems"]]
    for problem in problems:
        print(f"\n**{problem}**")
    missed_bar = any((ratio(run) or 0) > RATIO_MAX for run in runs)
    sys.exit(1 if problems or missed_bar or any(map(wrong, runs)) else 0)


if __name__ == "__main__":
    main()
