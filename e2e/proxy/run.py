#!/usr/bin/env python3
"""Roost behind nginx, HAProxy and Caddy, each with its configuration of docs/proxy.md.

    e2e/proxy/install.sh DIR          # Debian's packages, unpacked; starts no service
    e2e/proxy/run.py [--programs DIR] [nginx] [haproxy] [caddy]

Needs python3, openssl, and root for ports below 1024 (--port and the four after it).
ROOSTD names the daemon (target/release/roostd).

The configuration is taken from the document; only addresses, files of certificates and times are
replaced, each of which must be there. For each proxy a client over TLS: the echo, a message through
a channel, the health path, 426 without an upgrade; what the proxy tells of the client, and that the client
it names is the one that is limited; a connection
that stays quiet for longer than the proxy's timeout with pings, and one without.
"""

import argparse
import base64
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
WITH_PARENT = [str(ROOT / "scripts/with-parent"), str(os.getpid())]
HOST = "chat.example.org"
DEADLINE_S = 30
TIMEOUT_S = 3  # the proxies' for quiet connections
PING_S = 1


class Proxy:
    def __init__(self, name, language, fixed, times, cuts_quiet):
        self.name, self.language, self.fixed, self.times, self.cuts_quiet = name, language, fixed, times, cuts_quiet

    def configuration(self, port, upstream, work, health, announces=False):
        text = (ROOT / "docs/proxy.md").read_text()
        text = re.search(rf"```{self.language}\n(.*?)```", text, re.S)[1]
        values = {"PORT": port, "UPSTREAM": upstream, "WORK": work}
        for old, new in self.fixed + self.times:
            if old not in text:
                sys.exit(f"docs/proxy.md, {self.name}: {old!r} is not there to be replaced")
            for name, value in values.items():
                new = new.replace(name, str(value))
            text = text.replace(old, new)
        if announces:
            text = re.sub(r"(server roost1 \S+) check", r"\1 send-proxy-v2 check check-send-proxy", text)
        return text.replace("/health", health)

    def command(self, program, file):
        return {"nginx": [program, "-c", file, "-e", "stderr", "-g", "daemon off;"],
                "haproxy": [program, "-f", file],
                "caddy": [program, "run", "--adapter", "caddyfile", "--config", file]}[self.name]


SECONDS = f"{TIMEOUT_S}s"
PROXIES = [
    Proxy("nginx", "nginx",
          [("user www-data;\n", ""), ("/run/nginx.pid", "WORK/nginx.pid"), ("worker_rlimit_nofile 200000;", ""),
           ("worker_connections 100000", "worker_connections 500"), ("/var/log/nginx/error.log", "stderr"),
           ("access_log off;", "access_log off; client_body_temp_path WORK/a; proxy_temp_path WORK/b; "
            "fastcgi_temp_path WORK/c; uwsgi_temp_path WORK/d; scgi_temp_path WORK/e;"),
           ("127.0.0.1:8080", "UPSTREAM"), ("listen 443 ssl", "listen 127.0.0.1:PORT ssl"),
           ("/etc/ssl/chat.example.org/fullchain.pem", "WORK/cert.pem"),
           ("/etc/ssl/chat.example.org/privkey.pem", "WORK/key.pem")],
          [("proxy_read_timeout 60s", f"proxy_read_timeout {SECONDS}")], True),
    Proxy("haproxy", "haproxy",
          [("maxconn 100000", "maxconn 500"), ("bind :443", "bind 127.0.0.1:PORT"),
           ("/etc/haproxy/chat.example.org.pem", "WORK/both.pem"), ("127.0.0.1:8080", "UPSTREAM"),
           ("inter 2s", "inter 200ms")],
          [("timeout tunnel 60s", f"timeout tunnel {SECONDS}")], True),
    Proxy("caddy", "caddyfile",
          [(f"{HOST} {{\n", f"{{\n\tadmin off\n\tauto_https disable_redirects\n}}\nhttps://{HOST}:PORT {{\n"
            "\tbind 127.0.0.1\n\ttls WORK/cert.pem WORK/key.pem\n"),
           ("127.0.0.1:8080", "UPSTREAM"), ("health_interval 2s", "health_interval 200ms")],
          [], False),
]


class Process:
    """A child of ours, ended on the way out, whatever happens; with this process, too."""

    def __init__(self, command, log, **more):
        self.log = log
        with open(log, "wb") as out:
            self.child = subprocess.Popen(WITH_PARENT + [str(part) for part in command], stdin=subprocess.DEVNULL,
                                          stdout=out, stderr=subprocess.STDOUT, **more)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.terminate()
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()

    def said(self):
        return Path(self.log).read_text(errors="replace")

    def until(self, what, condition):
        deadline = time.monotonic() + DEADLINE_S
        while not (value := condition()):
            if self.child.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{what}: not in time\n{self.said()[-3000:]}")
            time.sleep(0.05)
        return value


class Client:
    """A WebSocket over TLS, or one HTTP request over it."""

    def __init__(self, port, work, path, upgrade=True, source="127.0.0.1", **headers):
        context = ssl.create_default_context(cafile=work / "cert.pem")
        context.set_alpn_protocols(["http/1.1"])
        plain = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S, source_address=(source, 0))
        self.socket = context.wrap_socket(plain, server_hostname=HOST)
        lines = [f"GET {path} HTTP/1.1", f"Host: {HOST}:{port}", f"Origin: https://{HOST}:{port}",
                 *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
        if upgrade:
            key = base64.b64encode(os.urandom(16)).decode()
            lines += ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
                      f"Sec-WebSocket-Key: {key}"]
        self.socket.sendall("\r\n".join(lines + ["", ""]).encode())
        self.rest = b""
        while b"\r\n\r\n" not in self.rest:
            part = self.socket.recv(4096)
            if not part:
                break
            self.rest += part
        head, _, self.rest = self.rest.partition(b"\r\n\r\n")
        self.head = head.decode("latin-1")

    def status(self):
        return int(self.head.split(" ")[1]) if self.head.startswith("HTTP/1.1 ") else 0

    def send(self, opcode, payload):
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
        self.socket.sendall(bytes([0x80 | opcode, 0x80 | len(payload)]) + mask + masked)

    def take(self, count):
        while len(self.rest) < count:
            part = self.socket.recv(4096)
            if not part:
                raise EOFError("the connection has ended")
            self.rest += part
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken

    def receive(self):
        """The next message; pings are answered on the way. EOFError at the end."""
        while True:
            first, length = self.take(2)
            payload = self.take(length)
            if first & 15 != 9:
                return first & 15, payload
            self.send(10, payload)

    def expect(self, payload):
        assert self.receive() == (1, payload), f"{payload} was expected"

    def quiet(self, seconds):
        """Sends nothing but pongs for so long. Returns whether the connection was still there."""
        until = time.monotonic() + seconds
        try:
            while (left := until - time.monotonic()) > 0:
                self.socket.settimeout(left)
                first, length = self.take(2)
                payload = self.take(length)
                if first & 15 != 9:
                    return False
                self.send(10, payload)
        except TimeoutError:
            pass
        except (EOFError, ConnectionError, ssl.SSLError):
            return False
        finally:
            self.socket.settimeout(DEADLINE_S)
        return True

    def close(self):
        self.socket.close()


def daemon(work, ping, *more):
    binary = os.environ.get("ROOSTD", ROOT / "target/release/roostd")
    return Process([binary, "run", "--config", ROOT / "config/roost.dev.toml", "--listen", "127.0.0.1:0",
                    "--set", f"limits.ping_interval={ping}", "--set", "log.level=info", *more], work / "roostd.log")


def start_proxy(proxy, program, environment, port, upstream, work, health, announces=False):
    file = work / f"{proxy.name}.conf"
    file.write_text(proxy.configuration(port, upstream, work, health, announces))
    command = proxy.command(program, file)
    return Process(command, work / f"{proxy.name}.log", cwd=work, env=environment)


def announced(port, work, options, start):
    """HAProxy says whose connections it forwards: two of one address are let in, and no third."""
    limits = ["--set", "limits.connections_per_address_max=2", "--set", "server.reactors=1"]
    with daemon(work, "25s", "--set", "listener.proxy_protocol=required", *limits) as roost:
        address = roost.until("the daemon's address", lambda: re.search(r"ready address=(\S+)", roost.said()))[1]
        with start(address) as front:
            # Health checks come from the proxy itself, and count to the socket's address.
            front.until("the health path answers 200", lambda: answers(port, work, options.health, 200))
            clients = [Client(port, work, "/echo", source=source) for source in ("127.0.0.8", "127.0.0.8", "127.0.0.9")]
            for client in clients:
                assert client.status() == 101, client.head
                client.send(1, b"hello")
                client.expect(b"hello")
            assert Client(port, work, "/echo", source="127.0.0.8").status() in (0, 502, 503), "a third of one address is let in"
            for client in clients:
                client.close()


def named(port, work, options, start):
    """The proxy says in a header whose requests it forwards: two of one address are let in, and no third, whatever
    its client says itself."""
    keys = ["limits.connections_per_address_max=2", "server.reactors=1", "listener.forwarded=x-forwarded-for",
            'listener.forwarded_from=["127.0.0.1"]']
    with daemon(work, "25s", *(part for key in keys for part in ("--set", key))) as roost:
        address = roost.until("the daemon's address", lambda: re.search(r"ready address=(\S+)", roost.said()))[1]
        with start(address) as front:
            front.until("the health path answers 200", lambda: answers(port, work, options.health, 200))
            lie = lambda source, last: Client(port, work, "/echo", source=source, X_Forwarded_For=f"192.0.2.{last}")
            clients = [lie("127.0.0.8", 1), lie("127.0.0.8", 2), lie("127.0.0.9", 3)]
            for client in clients:
                assert client.status() == 101, client.head
                client.send(1, b"hello")
                client.expect(b"hello")
            third = lie("127.0.0.8", 4)
            assert third.status() == 429, f"a third of one address: {third.head}"
            for client in clients:
                client.close()


def answers(port, work, path, status, **more):
    try:
        client = Client(port, work, path, upgrade=False, Connection="close", **more)
    except OSError:
        return False
    client.close()
    return client.status() == status


def through(proxy, port, work, options, start):
    """The cases that need a daemon with pings, and one without."""
    with daemon(work, f"{PING_S}s") as roost:
        address = roost.until("the daemon's address", lambda: re.search(r"ready address=(\S+)", roost.said()))[1]
        with start(address) as front:
            front.until("the health path answers 200", lambda: answers(port, work, options.health, 200))
            echo = Client(port, work, "/echo")
            assert echo.status() == 101, echo.head
            echo.send(1, b"hello")
            echo.expect(b"hello")
            one, other = Client(port, work, "/raw/lobby"), Client(port, work, "/raw/lobby")
            one.send(1, b"to all")
            other.expect(b"to all")
            assert answers(port, work, "/echo", 426), "a request without an upgrade gets 426"
            assert echo.quiet(TIMEOUT_S * 2), f"pings every {PING_S} s keep a connection beyond {TIMEOUT_S} s"
            echo.send(1, b"still here")
            echo.expect(b"still here")
            for client in (echo, one, other):
                client.close()
    with daemon(work, "0s") as roost:
        address = roost.until("the daemon's address", lambda: re.search(r"ready address=(\S+)", roost.said()))[1]
        with start(address) as front:
            front.until("the health path answers 200", lambda: answers(port, work, options.health, 200))
            silent = Client(port, work, "/echo")
            stays = silent.quiet(TIMEOUT_S * 2)
            assert stays != proxy.cuts_quiet, f"without pings the connection {'stays' if stays else 'is cut'}"
            silent.close()


def what_is_told(port, work, start):
    """What the proxy sends to the server behind it."""
    heads = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                head = connection.recv(65536).decode("latin-1")
                heads.append(head)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    threading.Thread(target=serve, daemon=True).start()
    with listener, start("127.0.0.1:%d" % listener.getsockname()[1]) as front:
        front.until("the proxy forwards", lambda: answers(port, work, "/first", 200))
        Client(port, work, "/told", X_Forwarded_For="192.0.2.66", X_Forwarded_Proto="gopher").close()
        head = front.until("a request", lambda: next((h for h in heads if h.startswith("GET /told ")), None))
    fields = [tuple(line.split(": ", 1)) for line in head.split("\r\n")[1:] if ": " in line]
    values = lambda name: [value for field, value in fields if field.lower() == name]
    for name, value in (("upgrade", "websocket"), ("connection", "upgrade"), ("host", f"{HOST}:{port}"),
                        ("origin", f"https://{HOST}:{port}"), ("x-forwarded-for", "127.0.0.1"),
                        ("x-forwarded-proto", "https")):
        found = [found if name in ("host", "origin") else found.lower() for found in values(name)]
        assert found == [value], f"{name}: {found}, expected {value}\n{head}"


def find(program, programs):
    """A program and the environment that it runs in."""
    if programs:
        for part in ("usr/sbin", "usr/bin"):
            if (path := programs / part / program).is_file():
                libraries = ":".join(str(entry) for entry in programs.glob("usr/lib/*-linux-gnu"))
                return path, {**os.environ, "LD_LIBRARY_PATH": libraries}
    return shutil.which(program), dict(os.environ)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=Path, help="where Debian's packages were unpacked")
    parser.add_argument("--port", type=int, default=650, help="the first of three")
    parser.add_argument("--health", default="/health", help="the daemon's listener.health_path")
    parser.add_argument("proxies", nargs="*", choices=[[], *(proxy.name for proxy in PROXIES)])
    options = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory(prefix="roost-proxy-") as directory:
        work = Path(directory)
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-keyout", work / "key.pem", "-out", work / "cert.pem", "-days", "2", "-subj", f"/CN={HOST}",
                        "-addext", f"subjectAltName=DNS:{HOST}"], check=True, capture_output=True)
        (work / "both.pem").write_text((work / "cert.pem").read_text() + (work / "key.pem").read_text())
        for at, proxy in enumerate(PROXIES):
            if options.proxies and proxy.name not in options.proxies:
                continue
            program, environment = find(proxy.name, options.programs and options.programs.resolve())
            if not program:
                sys.exit(f"{proxy.name} is not installed: e2e/proxy/install.sh DIR, then --programs DIR")
            environment |= {"HOME": directory, "XDG_DATA_HOME": directory, "XDG_CONFIG_HOME": directory}
            port = options.port + at
            start = lambda upstream, *more: start_proxy(proxy, program, environment, port, upstream, work, options.health, *more)
            began = time.monotonic()
            try:
                what_is_told(port, work, start)
                through(proxy, port, work, options, start)
                named(port, work, options, start)
                if proxy.name == "haproxy":
                    announced(port, work, options, lambda upstream: start(upstream, True))
                print(f"{proxy.name}: ok, {time.monotonic() - began:.1f} s")
            except (AssertionError, OSError, EOFError) as error:
                failed += 1
                log = work / f"{proxy.name}.log"
                print(f"{proxy.name}: FAILED: {error}\n{log.read_text(errors='replace')[-2000:] if log.exists() else ''}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
