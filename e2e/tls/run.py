#!/usr/bin/env python3
"""TLS with the clients that people really use, and with records that none of them sends.

    python3 e2e/tls/run.py                      # all cases, on epoll
    python3 e2e/tls/run.py --driver io_uring
    python3 e2e/tls/run.py openssl              # those with this in their name

Needs openssl and curl; Node, and for the page Chromium with `npm ci --prefix e2e/browser`; for records
that are malformed requirements.txt. ROOSTD names the daemon (target/release/roostd), CHROMIUM the
browser. Starts one daemon with a plain listener, one with TLS and one that wants client certificates,
on ports that the kernel chooses. The exit status is 1 when a case fails.
"""

import argparse
import hashlib
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import malformed

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# Children end with this process, also when that is killed.
WITH_PARENT = [str(ROOT / "scripts/with-parent"), str(os.getpid())]
DEADLINE_S = 30
KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 §1.3
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
# A record of TLS 1.3 with a ClientHello, as far as a server looks at it.
HELLO = bytes([22, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3]) + bytes(506)

CONFIG = """
[[listener]]
name = "plain"
address = "127.0.0.1:0"
demo_page = true

[[listener]]
name = "tls"
address = "127.0.0.1:0"
demo_page = true
tls = { certificate = "server.pem", key = "server.key" }

[[listener]]
name = "clients"
address = "127.0.0.1:0"
tls = { certificate = "server.pem", key = "server.key", client_auth = "required", client_ca = "ca.pem" }

[admin]
socket = "@WORK@/admin.sock"

[echo]
enabled = true
"""


def until(what, condition, process=None):
    deadline = time.monotonic() + DEADLINE_S
    while not (value := condition()):
        over = process is not None and process.poll() is not None
        assert not over and time.monotonic() < deadline, f"{what}: not in time"
        time.sleep(0.02)
    return value


class Daemon:
    """A daemon of our own with three listeners; ended on the way out, whatever happened."""

    def __init__(self, work, driver):
        self.work, self.log = work, work / "roostd.log"
        (work / "roost.toml").write_text(CONFIG.replace("@WORK@", str(work)))
        binary = os.environ.get("ROOSTD", ROOT / "target/release/roostd")
        self.command = [str(binary), "run", "--config", str(work / "roost.toml"), "--driver", driver]

    def __enter__(self):
        with open(self.log, "wb") as log:
            self.child = subprocess.Popen(WITH_PARENT + self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        ready = until("the daemon", lambda: re.search(r'ready address="?([^"\n]*?)"? driver=', self.said()), self.child)
        ports = [int(port) for port in re.findall(r":(\d+)", ready[1])]
        self.plain, self.tls, self.clients = ports
        return self

    def __exit__(self, *_):
        self.child.send_signal(signal.SIGINT)
        try:
            self.status = self.child.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.status = self.child.wait()

    def said(self):
        return re.sub(r"\x1b\[[0-9;]*m", "", self.log.read_text(errors="replace"))

    def count(self, name):
        """A metric, as Prometheus reads it, over all its labels."""
        command = ["curl", "-sS", "--unix-socket", str(self.work / "admin.sock"), "http://localhost/metrics"]
        text = subprocess.run(command, check=True, capture_output=True, text=True, timeout=DEADLINE_S).stdout
        values = re.findall(rf"^roost_{name}(?:{{[^}}]*}})? (\S+)$", text, re.M)
        assert values, f"no metric {name}"
        return sum(float(value) for value in values)

    def reload(self, says):
        before = self.said().count(says)
        self.child.send_signal(signal.SIGHUP)
        until(f"a reload that says {says!r}", lambda: self.said().count(says) > before, self.child)


class Certificates:
    """An authority, and what it signs: ECDSA with P-256."""

    def __init__(self, work):
        self.work = work
        self.openssl("req", "-x509", *self.new_key("ca"), "-days", "2", "-subj", "/CN=e2e", "-out", "ca.pem")
        self.sign("server", "DNS:localhost,IP:127.0.0.1")
        self.sign("client", "DNS:client")

    def sign(self, name, names):
        (self.work / "ext").write_text(f"subjectAltName={names}\n")
        self.openssl("req", *self.new_key(name), "-subj", f"/CN={name}", "-out", "request.pem")
        self.openssl("x509", "-req", "-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                     "-days", "2", "-extfile", "ext", "-out", f"{name}.pem")

    def new_key(self, name):
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key"]

    def openssl(self, *command):
        subprocess.run(["openssl", *command], check=True, capture_output=True, cwd=self.work)


class SClient:
    """openssl s_client, whose commands are given on its input."""

    def __init__(self, port, work, *more):
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", "ca.pem", "-verify_return_error", *more]
        self.log = work / "s_client.log"
        with open(self.log, "wb") as log:
            self.child = subprocess.Popen(WITH_PARENT + command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, cwd=work)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.kill()
        self.child.wait()

    def said(self):
        return self.log.read_bytes()

    def give(self, data):
        self.child.stdin.write(data)
        self.child.stdin.flush()

    def expect(self, text, times=1):
        try:
            until(f"{text!r}, {times} times", lambda: self.said().count(text) >= times)
        except AssertionError as error:
            raise AssertionError(f"{error}; s_client said\n{self.said()[-1500:].decode(errors='replace')}") from None


class WebSocket:
    """A WebSocket on a stream that is there already, by RFC 6455 as this script reads it."""

    def __init__(self, stream, path="/echo"):
        self.stream, self.rest = stream, b""
        stream.sendall(upgrade(path))
        head = self.take_until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ") and ACCEPT.encode() in head, head

    def echo(self, text):
        self.stream.sendall(frame(text))
        assert self.take(2 + len(text)) == bytes([0x81, len(text)]) + text

    def take(self, count):
        while len(self.rest) < count:
            part = self.stream.recv(65536)
            assert part, "the connection has ended"
            self.rest += part
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken

    def take_until(self, end):
        while end not in self.rest:
            part = self.stream.recv(65536)
            assert part, f"the connection has ended after {self.rest}"
            self.rest += part
        return self.take(self.rest.index(end) + len(end))


def upgrade(path):
    return (f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n").encode()


def frame(text):
    """A text, masked with zeros: what it says can be looked for."""
    return bytes([0x81, 0x80 | len(text)]) + bytes(4) + text


def connect(port, work, version=None, client=False):
    """Python's ssl, which trusts the authority alone."""
    context = ssl.create_default_context(cafile=work / "ca.pem")
    if version:
        context.minimum_version = context.maximum_version = version
    if client:
        context.load_cert_chain(work / "client.pem", work / "client.key")
    plain = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)
    return context.wrap_socket(plain, server_hostname="localhost")


# ── The cases: functions of a daemon and its directory ──


def openssl_changes_keys_in_mid_session(daemon, work):
    with SClient(daemon.tls, work, "-tls1_3") as client:
        client.expect(b"Verify return code: 0 (ok)")
        client.give(upgrade("/echo"))
        client.expect(ACCEPT.encode())
        for number, command in enumerate([b"k", b"K", b"K", b"k", b"K"] * 4):
            client.give(command + b"\n")
            client.expect(b"KEYUPDATE", number + 1)
            text = b"message %d after a key update" % number
            client.give(frame(text))
            client.expect(text)
    assert daemon.count("tls_faults_total") == 0


def openssl_speaks_tls_1_2(daemon, work):
    for suite in ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"):
        with SClient(daemon.tls, work, "-tls1_2", "-cipher", suite) as client:
            client.expect(b"Verify return code: 0 (ok)")
            client.give(upgrade("/echo"))
            client.expect(ACCEPT.encode())
            client.give(frame(b"in the suite"))
            client.expect(b"in the suite")
            client.expect(f"Cipher is {suite}".encode())


def openssl_speaks_every_suite_of_tls_1_3(daemon, work):
    for suite in ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"):
        with SClient(daemon.tls, work, "-tls1_3", "-ciphersuites", suite) as client:
            client.expect(f"Cipher is {suite}".encode())
            client.give(upgrade("/echo"))
            client.expect(ACCEPT.encode())


def openssl_is_refused_what_is_old(daemon, work):
    for options in (["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], ["-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0"],
                    ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"], ["-alpn", "h2"]):
        with SClient(daemon.tls, work, *options) as client:
            until("the end", lambda: client.child.poll() is not None)
            assert b"alert" in client.said(), client.said()


def openssl_resumes(daemon, work):
    before = daemon.count("tls_handshakes_resumed_total")
    with SClient(daemon.tls, work, "-tls1_2", "-reconnect") as client:
        client.expect(b"Reused, TLSv1.2", 5)
    until("five resumptions", lambda: daemon.count("tls_handshakes_resumed_total") >= before + 5)
    for version in ("-tls1_2", "-tls1_3"):
        session = work / f"session{version}"
        with SClient(daemon.tls, work, version, "-sess_out", str(session)) as client:
            client.expect(b"Verify return code: 0 (ok)")
            client.give(upgrade("/echo"))
            client.expect(ACCEPT.encode())
            until("a session", session.exists)
        with SClient(daemon.tls, work, version, "-sess_in", str(session)) as client:
            client.expect(b"Reused, TLSv1.")
            client.give(upgrade("/echo"))
            client.expect(ACCEPT.encode())


def client_certificates_are_required(daemon, work):
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        stream = connect(daemon.clients, work, version, client=True)
        WebSocket(stream).echo(b"with a certificate")
        try:
            # TLS 1.3 tells the client with the first read.
            connect(daemon.clients, work, version).recv(1)
        except ssl.SSLError as error:
            assert "REQUIRED" in error.reason or "HANDSHAKE_FAILURE" in error.reason, error
        else:
            raise AssertionError("served without a certificate")


def curl_keeps_its_connection_and_upgrades(daemon, work):
    url = f"https://localhost:{daemon.tls}"
    command = ["curl", "-sS", "-v", "--http1.1", "--cacert", "ca.pem", "--max-time", str(DEADLINE_S)]
    run = lambda *more: subprocess.run(command + list(more), cwd=work, capture_output=True, text=True, timeout=2 * DEADLINE_S)
    two = run(f"{url}/health", f"{url}/")
    assert two.returncode == 0 and two.stderr.count("SSL connection using") == 1, two.stderr
    assert "Re-using existing connection" in two.stderr and "<title>Roost</title>" in two.stdout, two.stderr
    # curl waits for what comes behind the 101 until its time is over.
    command[-1] = "2"
    headers = [part for line in upgrade("/echo").decode().split("\r\n")[2:-2] for part in ("-H", line)]
    answer = run(*headers, f"{url}/echo")
    assert "101 Switching Protocols" in answer.stderr and ACCEPT in answer.stderr, answer.stderr
    refused = subprocess.run(["curl", "-sS", f"{url}/health"], capture_output=True, text=True, timeout=DEADLINE_S)
    assert refused.returncode == 60, "without the authority curl trusts the certificate"


def python_speaks_both_versions_and_resumes(daemon, work):
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        stream = connect(daemon.tls, work, version)
        client = WebSocket(stream)
        for size in (0, 1, 125):
            client.echo(b"x" * size)
        again = socket.create_connection(("127.0.0.1", daemon.tls), timeout=DEADLINE_S)
        again = stream.context.wrap_socket(again, server_hostname="localhost", session=stream.session)
        WebSocket(again).echo(b"again")
        assert again.session_reused, f"{version}: not resumed"
        stream.sendall(bytes([0x88, 0x82]) + bytes(4) + (1000).to_bytes(2, "big"))
        assert client.take(4) == bytes([0x88, 2]) + (1000).to_bytes(2, "big")
        # close_notify, then FIN: without the first this would be an SSLEOFError.
        stream.suppress_ragged_eofs = False
        assert stream.recv(1) == b""


def node_opens_a_websocket(daemon, work):
    environment = {**os.environ, "NODE_EXTRA_CA_CERTS": str(work / "ca.pem")}
    command = ["node", str(HERE / "client.mjs"), f"https://localhost:{daemon.tls}/echo"]
    run = subprocess.run(WITH_PARENT + command, env=environment, capture_output=True, text=True, timeout=DEADLINE_S)
    assert run.returncode == 0, run.stdout + run.stderr


def chromium_shows_the_page(daemon, work):
    command = ["node", str(HERE / "page.mjs"), f"https://localhost:{daemon.tls}/"]
    environment = {**os.environ, "HOME": str(work)}
    run = subprocess.run(WITH_PARENT + command, env=environment, capture_output=True, text=True, timeout=2 * DEADLINE_S)
    assert run.returncode == 0, run.stdout + run.stderr


def tls_on_the_plain_port_gets_a_hint(daemon, work):
    before = daemon.count("tls_on_plain_total")
    assert b"without TLS" in ask(daemon.plain, HELLO) or b"ws://" in ask(daemon.plain, HELLO), ask(daemon.plain, HELLO)
    until("the count", lambda: daemon.count("tls_on_plain_total") > before)


def plain_on_the_tls_port_gets_a_hint(daemon, work):
    before = daemon.count("plain_on_tls_total")
    answer = ask(daemon.tls, upgrade("/echo"))
    assert answer.startswith(b"HTTP/1.1 400 ") and b"wss://" in answer, answer
    until("the count", lambda: daemon.count("plain_on_tls_total") == before + 1)


def ask(port, data):
    """All that comes back until the end."""
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as stream:
        stream.sendall(data)
        answer = b""
        while part := stream.recv(65536):
            answer += part
        return answer


def a_reload_gives_new_connections_the_new_certificate(daemon, work):
    held = WebSocket(connect(daemon.tls, work))
    old = digest(held.stream)
    Certificates.sign(daemon.certificates, "server", "DNS:localhost,IP:127.0.0.1")
    daemon.reload("reloaded: certificates are those that are in the files now")
    new = WebSocket(connect(daemon.tls, work))
    assert digest(new.stream) != old, "the certificate is still the old one"
    # A pair that does not fit: what was served goes on, and the metric says so.
    failed = daemon.count("tls_reloads_failed_total")
    shutil.copy(work / "client.key", work / "server.key")
    daemon.reload("not reloaded: nothing has changed")
    assert daemon.count("tls_reloads_failed_total") > failed
    newest = WebSocket(connect(daemon.tls, work))
    assert digest(newest.stream) == digest(new.stream)
    for client in (held, new, newest):
        client.echo(b"still here")
    Certificates.sign(daemon.certificates, "server", "DNS:localhost,IP:127.0.0.1")
    daemon.reload("reloaded: certificates are those that are in the files now")


def digest(stream):
    return hashlib.sha256(stream.getpeercert(binary_form=True)).hexdigest()


def malformed_records_end_in_the_right_alert(daemon, work):
    malformed.ask_all(daemon.tls)
    WebSocket(connect(daemon.tls, work)).echo(b"it lives")


CASES = [
    openssl_changes_keys_in_mid_session,
    openssl_speaks_tls_1_2,
    openssl_speaks_every_suite_of_tls_1_3,
    openssl_is_refused_what_is_old,
    openssl_resumes,
    client_certificates_are_required,
    curl_keeps_its_connection_and_upgrades,
    python_speaks_both_versions_and_resumes,
    node_opens_a_websocket,
    chromium_shows_the_page,
    tls_on_the_plain_port_gets_a_hint,
    plain_on_the_tls_port_gets_a_hint,
    a_reload_gives_new_connections_the_new_certificate,
    malformed_records_end_in_the_right_alert,
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--driver", choices=["epoll", "io_uring"], default="epoll")
    parser.add_argument("filter", nargs="?", default="", help="only the cases with this in their name")
    options = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory(prefix="roost-tls-") as directory:
        work = Path(directory)
        certificates = Certificates(work)
        with Daemon(work, options.driver) as daemon:
            daemon.certificates = certificates
            for case in CASES:
                if options.filter not in case.__name__:
                    continue
                began = time.monotonic()
                try:
                    case(daemon, work)
                    verdict = "ok"
                except (AssertionError, OSError, subprocess.SubprocessError) as error:
                    failed += 1
                    verdict = f"FAILED: {error!r}"
                print(f"{case.__name__}: {verdict}, {time.monotonic() - began:.1f} s", flush=True)
        if failed or daemon.status != 0:
            print(f"the daemon ended with {daemon.status} and said last\n{daemon.said()[-3000:]}")
    sys.exit(bool(failed or daemon.status))


if __name__ == "__main__":
    main()
