#!/usr/bin/env python3
"""Reloads a daemon's configuration again and again while `roost-load fanout` holds connections on it,
publishes to them, and checks every delivery.

Usage: reloads.py ROOSTD ROOST_LOAD [--driver epoll|io_uring] [--connections 10000] [--reloads 100]
       [--rate 20]

Each reload changes limits, rates, origins, the log's level, and namespaces, of which one is added or
removed; every second one puts another certificate at a listener with TLS, and every tenth has a mistake and has to be
refused. At the end: no connection was dropped, no message lost (roost-load's exit status), no reload
refused that was good. Needs openssl and 2 x CONNECTIONS open files. Loopback only.
"""

import argparse
import http.client
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time

CONFIG = """\
[server]
reactors = 2
driver = "{driver}"
[admin]
socket = "{directory}/admin.sock"
[[listener]]
name = "plain"
address = "127.0.0.1:{port}"
allowed_origins = ["https://a{number}.example"]
[[listener]]
name = "tls"
address = "127.0.0.1:0"
tls = {{ certificate = "{certificate}.pem", key = "{certificate}.key" }}
[log]
level = "{level}"
[limits]
message_bytes_max = {message}
idle_timeout = "{idle}h"
patterns_max = {number}
[channels]
outbox_messages_max = {outbox}
publish_messages_per_second_max = {rate}
{namespaces}{mistake}"""


PAUSE_S = 0.3


class Admin(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=30)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


def ask(directory, method, target):
    admin = Admin(f"{directory}/admin.sock")
    admin.request(method, target)
    answer = admin.getresponse()
    body = answer.read().decode()
    admin.close()
    return answer.status, body


def sign(directory, name):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-days", "40", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost", "-keyout", f"{directory}/{name}.key",
                    "-out", f"{directory}/{name}.pem"], check=True, capture_output=True)


def write(directory, args, port, number, is_bad):
    names = ["stays"] + [f"n{at}" for at in range(number % 3, number % 3 + 4)]
    text = CONFIG.format(
        driver=args.driver, directory=directory, port=port, number=number + 1,
        certificate="ab"[number % 2], level=["info", "warn"][number % 2],
        message=65536 + number, idle=1 + number % 5, outbox=100_000 + number,
        rate=(1_000_000, 0)[number % 2],
        namespaces="".join(f"[[namespace]]\nname = \"{name}\"\noutbox_messages_max = {number}\n"
                           for name in names),
        mistake="[limits]\nno_such_key = 1\n" if is_bad else "")
    path = f"{directory}/roost.toml"
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(text)
    os.rename(path + ".new", path)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def counts(directory):
    return json.loads(ask(directory, "GET", "/stats")[1])


def wait_for(condition, what, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"waited in vain: {what}")
        time.sleep(0.1)


def reload_often(directory, args, port):
    """The longest reload, in seconds."""
    longest = 0.0
    for number in range(1, args.reloads + 1):
        is_bad = number % 10 == 0
        write(directory, args, port, number, is_bad)
        begun = time.monotonic()
        status, body = ask(directory, "POST", "/reload")
        longest = max(longest, time.monotonic() - begun)
        if (status == 422) != is_bad:
            sys.exit(f"reload {number}: {status} {body}")
        if is_bad and "roost.toml:" not in body:
            sys.exit(f"reload {number}: no place in {body}")
        time.sleep(PAUSE_S)  # so that messages pass between two of them
    return longest


def run(directory, args):
    port = free_port()
    sign(directory, "a")
    sign(directory, "b")
    write(directory, args, port, 0, False)
    daemon = subprocess.Popen([args.roostd, "run", "--config", f"{directory}/roost.toml"],
                              stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: os.path.exists(f"{directory}/admin.sock"), "the daemon starts", 20)
        load = subprocess.Popen([args.roost_load, "fanout", f"ws://127.0.0.1:{port}/raw/{{channel}}",
                                 "--subscribers", str(args.connections), "--channels", "100",
                                 "--publishers", "4", "--rate", str(args.rate),
                                 "--time", args.time, "--force"])
        wait_for(lambda: counts(directory)["websockets_open"] >= args.connections, "they connect")
        wait_for(lambda: counts(directory)["deliveries_total"] > args.connections, "messages arrive")
        longest = reload_often(directory, args, port)
        after = counts(directory)
        lost = load.wait()
        print(f"{args.driver}: {args.reloads} reloads, {after['reloads_failed_total']} refused for "
              f"their mistake, the longest {longest * 1000:.0f} ms; "
              f"{after['websockets_open']} connections stayed, "
              f"{after['abnormal_closes_total']} were dropped, "
              f"{after['deliveries_total']} deliveries until then; roost-load ended with {lost}")
        good = lost == 0 and after["abnormal_closes_total"] == 0
        return good and after["websockets_open"] >= args.connections
    finally:
        daemon.kill()
        daemon.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("roostd")
    parser.add_argument("roost_load")
    parser.add_argument("--driver", default="epoll", choices=["epoll", "io_uring"])
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--reloads", type=int, default=100)
    parser.add_argument("--rate", type=int, default=20)
    parser.add_argument("--time", default="60s")
    args = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as directory:
        sys.exit(0 if run(directory, args) else 1)


if __name__ == "__main__":
    main()
