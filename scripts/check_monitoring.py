#!/usr/bin/env python3
"""Holds /metrics, the alerts and the Grafana board to each other.

    scripts/check_monitoring.py

promtool finds no mistake in the daemon's /metrics, nor in the alerts; their tests pass; each metric that
deploy/prometheus or deploy/grafana names is in /metrics with the labels that it is used by, and each
counter of docs/counters.md is there too.

Needs python3, promtool (Debian package prometheus), and a release binary of roostd (ROOST_BIN,
target/release).
"""

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROOSTD = Path(os.environ.get("ROOST_BIN", ROOT / "target/release")) / "roostd"
WITH_PARENT = [str(ROOT / "scripts/with-parent"), str(os.getpid())]
ALERTS = "deploy/prometheus/alerts.yml"
BOARD = "deploy/grafana/roost.json"
DEADLINE_S = 30
METRIC = re.compile(r"\broost_[a-z0-9_]+")
OF_HISTOGRAM = re.compile(r"_(bucket|sum|count)$")


def get_metrics(path):
    connection = http.client.HTTPConnection("roost", timeout=DEADLINE_S)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(DEADLINE_S)
    connection.sock.connect(str(path))
    connection.request("GET", "/metrics")
    return connection.getresponse().read().decode()


def metrics():
    """What /metrics says of a daemon with a namespace and a listener with TLS."""
    with tempfile.TemporaryDirectory(prefix="roost-metrics-") as directory:
        path, key, certificate = (Path(directory) / name for name in ("admin.sock", "key.pem", "cert.pem"))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
                        "-days", "30", "-keyout", key, "-out", certificate],
                       check=True, stderr=subprocess.DEVNULL)
        config = Path(directory) / "roost.toml"
        config.write_text(f'[listener]\naddress = "127.0.0.1:0"\n[listener.tls]\ncertificate = "{certificate}"\n'
                          f'key = "{key}"\n[admin]\nsocket = "{path}"\n[[namespace]]\nname = "chat"\n')
        daemon = subprocess.Popen(WITH_PARENT + [str(ROOSTD), "run", "--config", str(config), "--set", "log.level=warn"],
                                  stdout=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + DEADLINE_S
            while not path.exists():
                if daemon.poll() is not None or time.monotonic() > deadline:
                    sys.exit("the daemon does not open its admin socket")
                time.sleep(0.02)
            return get_metrics(path)
        finally:
            daemon.terminate()
            daemon.wait(DEADLINE_S)


def promtool(*arguments, text=None):
    done = subprocess.run(["promtool", *arguments], cwd=ROOT, input=text, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    said = done.stdout.strip()
    return [f"promtool {' '.join(arguments)}: {said}"] if done.returncode else []


def counters():
    """The names of /metrics by docs/counters.md."""
    text = (ROOT / "docs/counters.md").read_text()
    for part in text.split("\n## ")[1:]:
        prefix = "roost_namespace_" if "namespace" in part.split("\n")[0] else "roost_"
        for name in re.findall(r"^\| `(\w+)` \| (?:counter|gauge) ", part, re.M):
            yield prefix + name


def expressions():
    """Each expression, and where it stands."""
    for expr in re.findall(r"^ +expr: (.*)$", (ROOT / ALERTS).read_text(), re.M):
        yield ALERTS, expr
    board = json.loads((ROOT / BOARD).read_text())
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            yield f"{BOARD}: {panel['title']}", target["expr"]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            yield f"{BOARD}: ${variable['name']}", variable["query"]["query"]


def board_mistakes():
    """Panels with one number, without data, or one over another."""
    panels, places, mistakes = json.loads((ROOT / BOARD).read_text())["panels"], {}, []
    numbers = [panel["id"] for panel in panels]
    if len(set(numbers)) != len(numbers):
        mistakes.append(f"{BOARD}: two panels have one id")
    for panel in panels:
        if panel["type"] != "row" and not panel.get("targets"):
            mistakes.append(f"{BOARD}: {panel['title']} shows nothing")
        at = panel["gridPos"]
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                if x >= 24 or places.setdefault((x, y), panel["id"]) != panel["id"]:
                    mistakes.append(f"{BOARD}: {panel['title']} lies over another panel, or outside")
    return sorted(set(mistakes))


def main():
    text = metrics()
    there = set(re.findall(r"^# TYPE (\S+) ", text, re.M))
    mistakes = promtool("check", "metrics", text=text) + promtool("check", "rules", ALERTS)
    mistakes += promtool("test", "rules", "deploy/prometheus/alerts_test.yml") + board_mistakes()
    known = set(counters())
    mistakes += [f"docs/counters.md: {name} is not in /metrics" for name in sorted(known - there)]
    used = 0
    for place, expr in expressions():
        names = METRIC.findall(expr)
        used += len(names)
        mistakes += [f"{place}: /metrics has no {name}" for name in names
                     if name not in there and OF_HISTOGRAM.sub("", name) not in there]
        # A sum by a label, or a label in braces, that the metric lacks shows nothing.
        lists = re.findall(r"by \(([\w, ]+)\)", expr)
        labels = {label for labels in lists for label in labels.split(", ")} - {"instance"}
        for name in names:
            mistakes += [f"{place}: {name} has no label {label}" for label in labels
                         if f"\n{name}{{{label}=" not in text]
    for mistake in mistakes:
        print(mistake)
    print(f"{len(there)} metrics, {used} uses of them, {len(mistakes)} mistakes")
    sys.exit(bool(mistakes))


if __name__ == "__main__":
    main()
