#!/usr/bin/env python3
"""Reloads a daemon's configuration again and again while `roost-load fanout` holds connections on it,
publishes to them, and checks every delivery.

Usage: reloads.py ROOSTD ROOST_LOAD [--driver epoll|io_uring] [--connections 10000] [--reloads 100]
       [--rate 20]

Each reload changes limits, rates, origins, the log's level, and namespaces, of which one is added or
removed; it moves a listener to another port and adds or removes a unix socket, and a client comes by each
that is new and stays. Every second reload puts another certificate at a listener with TLS, and every tenth
has a mistake, or an address that is taken, and has to be refused. At the end: no connection was dropped,
no message lost (roost-load's exit status; the clients of listeners that are no more get a publication
each), no reload refused that was good. Needs openssl and 2 x CONNECTIONS open files. Loopback only.
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
{listeners}[log]
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


def moving(directory, number, ports, is_taken):
    address = f"127.0.0.1:{ports[-1 if is_taken else number % 2]}"
    text = f"[[listener]]\nname = \"moves\"\naddress = \"{address}\"\n"
    if number % 3 == 0:
        text += f"[[listener]]\naddress = \"unix:{directory}/clients.sock\"\n"
    return text


def write(directory, args, ports, number, is_bad):
    names = ["stays"] + [f"n{at}" for at in range(number % 3, number % 3 + 4)]
    text = CONFIG.format(
        driver=args.driver, directory=directory, port=ports[2], number=number + 1,
        listeners=moving(directory, number, ports, is_bad and number % 20 == 0),
        certificate="ab"[number % 2], level=["info", "warn"][number % 2],
        message=65536 + number, idle=1 + number % 5, outbox=100_000 + number,
        rate=(1_000_000, 0)[number % 2],
        namespaces="".join(f"[[namespace]]\nname = \"{name}\"\noutbox_messages_max = {number}\n"
                           for name in names),
        mistake="[limits]\nno_such_key = 1\n" if is_bad and number % 20 else "")
    path = f"{directory}/roost.toml"
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(text)
    os.rename(path + ".new", path)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def open_websocket(address):
    client = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    client.settimeout(30)
    client.connect(address)
    client.sendall(b"GET /raw/moves HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n"
                   b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                   b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = client.recv(1)
        if not byte:
            sys.exit(f"{address}: closed in the handshake")
        head += byte
    if not head.startswith(b"HTTP/1.1 101 "):
        sys.exit(f"{address}: {head!r}")
    return client


PONG = b"\x8a\x80\0\0\0\0"  # RFC 6455 section 5.5.3: one may come unasked


def received_by(clients, directory):
    """How many of those clients get a publication, all that the pings have left in front of it."""
    admin = Admin(f"{directory}/admin.sock")
    admin.request("POST", "/publish?channel=moves", body=b"the last one")
    admin.getresponse().read()
    got = 0
    for client in clients:
        bytes_ = b""
        while b"the last one" not in bytes_:
            more = client.recv(4096)
            if not more:
                break
            bytes_ += more
        got += b"the last one" in bytes_
    return got


def counts(directory):
    return json.loads(ask(directory, "GET", "/stats")[1])


def wait_for(condition, what, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"waited in vain: {what}")
        time.sleep(0.1)


def reload_often(directory, args, ports):
    """The longest reload, in seconds, and the clients that came by listeners that were moved since."""
    longest = 0.0
    clients = []
    for number in range(1, args.reloads + 1):
        is_bad = number % 10 == 0
        write(directory, args, ports, number, is_bad)
        begun = time.monotonic()
        status, body = ask(directory, "POST", "/reload")
        longest = max(longest, time.monotonic() - begun)
        if (status == 422) != is_bad:
            sys.exit(f"reload {number}: {status} {body}")
        if is_bad and "roost.toml:" not in body:
            sys.exit(f"reload {number}: no place in {body}")
        if not is_bad:
            clients.append(open_websocket(("127.0.0.1", ports[number % 2])))
            if number % 3 == 0:
                clients.append(open_websocket(f"{directory}/clients.sock"))
        for client in clients:
            client.sendall(PONG)  # a sign of life: they read nothing until the end
        time.sleep(PAUSE_S)  # so that messages pass between two of them
    return longest, clients


def run(directory, args):
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    ports = [free_port(), free_port(), free_port(), taken.getsockname()[1]]
    sign(directory, "a")
    sign(directory, "b")
    write(directory, args, ports, 0, False)
    daemon = subprocess.Popen([args.roostd, "run", "--config", f"{directory}/roost.toml"],
                              stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: os.path.exists(f"{directory}/admin.sock"), "the daemon starts", 20)
        load = subprocess.Popen([args.roost_load, "fanout", f"ws://127.0.0.1:{ports[2]}/raw/{{channel}}",
                                 "--subscribers", str(args.connections), "--channels", "100",
                                 "--publishers", "4", "--rate", str(args.rate),
                                 "--time", args.time, "--force"])
        wait_for(lambda: counts(directory)["websockets_open"] >= args.connections, "they connect")
        wait_for(lambda: counts(directory)["deliveries_total"] > args.connections, "messages arrive")
        longest, clients = reload_often(directory, args, ports)
        got = received_by(clients, directory)
        after = counts(directory)
        lost = load.wait()
        print(f"{args.driver}: {args.reloads} reloads, {after['reloads_failed_total']} refused for "
              f"their mistake, the longest {longest * 1000:.0f} ms; "
              f"{after['websockets_open']} connections stayed, "
              f"{after['abnormal_closes_total']} were dropped, "
              f"{after['deliveries_total']} deliveries until then; roost-load ended with {lost}; "
              f"{got} of {len(clients)} clients of listeners that moved got the last publication")
        good = lost == 0 and got == len(clients) and after["abnormal_closes_total"] == 0
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
