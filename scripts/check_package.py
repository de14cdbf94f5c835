#!/usr/bin/env python3
"""The Debian package in a clean root: made and checked by lintian, installed, used by the lines of
docs/packages.md, upgraded, removed and purged.

    scripts/check_package.py [--root TAR]

Needs root, release binaries of roostd, roostctl and roost-load, and Debian's lintian, mmdebstrap and
dpkg-dev. The root is Debian 12's essential packages, by mmdebstrap, kept as target/debian/root.tar for
the next run. Everything runs in network and mount namespaces of its own. There is no systemd in it: what
systemctl would do, this does by the installed unit (directories, user, environment, ExecStartPre,
readiness, SIGTERM).
"""

import argparse
import base64
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "target/debian"
DEADLINE_S = 60
USER = 61184  # systemd's first for DynamicUser=
UNIT = "lib/systemd/system/roost.service"
WANTED = "etc/systemd/system/multi-user.target.wants/roost.service"


def run(*command, check=True, **more):
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          stdin=subprocess.DEVNULL, **more)
    if check and done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: status {done.returncode}\n{done.stdout}")
    return done


def until(what, look):
    deadline = time.monotonic() + DEADLINE_S
    while not (found := look()):
        if time.monotonic() > deadline:
            sys.exit(f"not within {DEADLINE_S} s: {what}")
        time.sleep(0.02)
    return found


class Service:
    """systemctl for one unit, as far as a root without systemd needs it."""

    def __init__(self, root):
        self.root, self.process, self.is_stopping = root, None, False
        self.ready = None  # systemd's end of the readiness protocol

    def unit(self, key):
        return re.findall(rf"^{key}=(.*)$", (self.root / UNIT).read_text(), re.M)

    def directory(self, key, above, mode_key):
        path = self.root / above / self.unit(key)[0]
        path.mkdir(parents=True, exist_ok=True)
        os.chown(path, USER, USER)
        path.chmod(int(self.unit(mode_key)[0], 8))
        return f"/{above}/{self.unit(key)[0]}"

    def command(self, key):
        return ["chroot", f"--userspec={USER}:{USER}", str(self.root), *self.unit(key)[0].split()]

    def start(self):
        environment = dict(pair.split("=", 1) for pair in self.unit("Environment"))
        environment |= {"PATH": "/usr/sbin:/usr/bin", "NOTIFY_SOCKET": "/run/notify",
                        "RUNTIME_DIRECTORY": self.directory("RuntimeDirectory", "run", "RuntimeDirectoryMode"),
                        "STATE_DIRECTORY": self.directory("StateDirectory", "var/lib", "StateDirectoryMode")}
        self.is_stopping = False
        self.ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        path = self.root / "run/notify"
        path.unlink(missing_ok=True)
        self.ready.bind(str(path))
        os.chmod(path, 0o666)
        self.ready.settimeout(DEADLINE_S)
        run(*self.command("ExecStartPre"), env=environment)
        self.process = subprocess.Popen(["setpriv", "--no-new-privs", *self.command("ExecStart")], env=environment)
        while b"READY=1" not in self.ready.recv(4096):
            pass

    def ask_to_stop(self):
        self.is_stopping = True
        self.process.send_signal(getattr(signal, self.unit("KillSignal")[0]))

    def stop(self):
        """The process ends with status 0."""
        if not self.is_stopping:
            self.ask_to_stop()
        status = self.process.wait(DEADLINE_S)
        if status != 0:
            sys.exit(f"the service ended with status {status}")


class Client:
    """A WebSocket, as a page would open it."""

    def __init__(self, path):
        self.socket = socket.create_connection(("127.0.0.1", 8080), DEADLINE_S)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall((f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUpgrade: websocket\r\nConnection: "
                             f"Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n").encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.take(1)
        if b" 101 " not in head.split(b"\r\n")[0]:
            sys.exit(f"{path}: {head.decode()}")

    def take(self, count):
        taken = b""
        while len(taken) < count:
            more = self.socket.recv(count - len(taken))
            if not more:
                sys.exit("the connection ended without a close frame")
            taken += more
        return taken

    def send(self, payload):
        short = len(payload) < 1 << 16
        length = struct.pack("!BBH" if short else "!BBQ", 0x82, 0xFE if short else 0xFF, len(payload))
        self.socket.sendall(length + bytes(4) + payload)  # a mask of zeros is a mask

    def closed(self):
        """Close code and reason that the server has sent; they are short."""
        opcode, length = self.take(2)
        payload = self.take(length)
        if opcode != 0x88:
            sys.exit(f"a frame {opcode:#x} came, and no close frame")
        return struct.unpack("!H", payload[:2])[0], payload[2:].decode()

    def receives(self, length):
        """Whether the next message has that length."""
        if length < 1 << 16:
            wanted = struct.pack("!BBH", 0x82, 126, length)
        else:
            wanted = struct.pack("!BBQ", 0x82, 127, length)
        return self.take(len(wanted)) == wanted and self.take(length) == bytes(length)


def in_root(root, line, check=True):
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    done = run("chroot", str(root), "/bin/sh", "-ec", line, check=check, env=environment)
    print(f"$ {line}\n{done.stdout}", end="")
    return done.stdout


def evening_lines():
    text = (ROOT / "docs/packages.md").read_text()
    part = text.split("## First evening\n", 1)[1].split("\n## ", 1)[0]
    for block in re.findall(r"```\w*\n(.*?)```", part, re.S):
        for line in block.splitlines():
            yield re.sub(r"\s+# .*$", "", re.sub(r"^sudo ", "", line.strip()))


def expect(what, holds):
    if not holds:
        sys.exit(f"not so: {what}")
    print(f"  so it is: {what}")


def first_evening(root, service, package):
    """Each line of the section, and what it is to bring about."""
    client, shown, done = None, "", []
    for line in filter(None, evening_lines()):
        verb = " ".join(line.split()[:2])
        done.append(verb)
        if verb == "apt install":  # there is no apt in the root: dpkg is what it calls
            in_root(root, f"dpkg --install /{package.name}")
            expect("the unit is enabled", (root / WANTED).is_symlink())
            service.start()  # as postinst does where systemd runs
            client = Client("/raw/lobby")
            other = Client("/raw/lobby")
            other.send(bytes(100_000))
            expect("a message of 100,000 bytes is delivered", client.receives(100_000))
            other.socket.close()
        elif verb == "systemctl is-active":
            expect("the service runs", service.process.poll() is None)
        elif verb == "roostctl conns":
            shown = until("one client is listed", lambda: one_client(in_root(root, line)))
        elif verb == "roostctl kick":
            in_root(root, line.replace("r0-0.1", shown))
            expect("the client is told code and reason", client.closed() == (1000, "good evening"))
        elif verb == "roostctl reload":
            client, other = Client("/raw/lobby"), Client("/raw/lobby")
            expect("the reload names what has changed", "limits.message_bytes_max" in in_root(root, line))
            other.send(bytes(60_000))
            expect("clients stay connected", client.receives(60_000))
            other.send(bytes(100_000))
            expect("a message of 100,000 bytes is too much now", other.closed()[0] == 1009)
            client.socket.close()
        else:
            in_root(root, line)
    wanted = ["apt install", "systemctl is-active", "roostctl conns", "roostctl kick", "sed -i",
              "roostd check-config", "roostctl reload"]
    expect("the section has " + ", ".join(wanted), wanted == [verb for verb in done if verb in wanted])


def one_client(listing):
    """The name of the one connection that is listed; the other has ended, or is about to."""
    rows = [line for line in listing.splitlines() if re.match(r"r\d+-\d+\.\d+ ", line)]
    return rows[0].split()[0] if len(rows) == 1 and "127.0.0.1" in rows[0] else None


def upgrade_and_remove(root, service, package):
    config = root / "etc/roost/roost.toml"
    own = config.read_text()
    process = service.process.pid
    (root / WANTED).unlink()  # as systemctl disable
    in_root(root, f"dpkg --install /{package.name}")
    expect("the upgrade keeps the administrator's configuration", config.read_text() == own)
    expect("the daemon goes on through the upgrade", service.process.poll() is None and service.process.pid == process)
    expect("a unit that was switched off stays off", not (root / WANTED).is_symlink())
    service.stop()
    service.start()
    service.stop()
    in_root(root, "dpkg --remove roost")
    expect("the configuration outlives the programs", config.read_text() == own and not (root / UNIT).exists())
    in_root(root, "dpkg --purge roost")


def files(root):
    """What there is, but for what is mounted, and records of packages."""
    records = re.compile(r"var/lib/(dpkg|systemd)|var/log|run/")
    found = set()
    for directory, below, names in os.walk(root):
        if Path(directory) == root:
            below[:] = [name for name in below if name not in ("proc", "dev")]
        inside = (os.path.relpath(os.path.join(directory, name), root) for name in below + names)
        found |= {name for name in inside if not records.match(name)}
    return found


def build():
    environment = dict(os.environ)
    pages = ROOT / "target/debug/examples/pages"  # cargo test has built it
    if pages.exists():
        environment["ROOST_PAGES"] = str(pages)
    return ROOT / run("deploy/debian/build", str(OUT), cwd=ROOT, env=environment).stdout.splitlines()[-1]


def next_revision(package):
    """The same with a higher version, not compressed: to upgrade to."""
    with tempfile.TemporaryDirectory() as directory:
        run("dpkg-deb", "--raw-extract", str(package), f"{directory}/package")
        control = Path(directory) / "package/DEBIAN/control"
        control.write_text(control.read_text().replace("-0roost1\n", "-0roost2\n"))
        upgrade = package.with_name(package.name.replace("-0roost1_", "-0roost2_"))
        run("dpkg-deb", "--root-owner-group", "-Znone", "--build", f"{directory}/package", str(upgrade))
    return upgrade


def make_root(tar):
    if not tar.exists():
        tar.parent.mkdir(parents=True, exist_ok=True)
        run("mmdebstrap", "--variant=essential", "bookworm", f"{tar}.part.tar", "http://deb.debian.org/debian")
        os.rename(f"{tar}.part.tar", tar)


def check_in(root, packages):
    for directory in ("proc", "dev"):
        run("mount", "--rbind", f"/{directory}", str(root / directory))
    run("ip", "link", "set", "lo", "up")
    before = files(root)
    service = Service(root)
    try:
        first_evening(root, service, packages[0])
        in_root(root, "roostctl --version; roost-load --version; test -s /usr/share/man/man1/roostd.1.gz")
        upgrade_and_remove(root, service, packages[1])
    finally:
        if service.process:  # a wish to end with its parent would not outlive the change of user
            service.process.kill()
    left = files(root) - before
    expect(f"nothing is left ({', '.join(sorted(left)) or 'no file'})", not left)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", type=Path, default=OUT / "root.tar", help="the root's tar archive, made if it is missing")
    parser.add_argument("--inside", nargs=3, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        check_in(options.inside[0], options.inside[1:])
        return
    package = build()
    packages = [package, next_revision(package)]
    lintian = run("lintian", "--allow-root", "--fail-on", "error,warning", str(packages[0]), check=False)
    print(f"lintian: {lintian.stdout or 'nothing to say'}")
    if lintian.returncode != 0:
        sys.exit(1)
    make_root(options.root)
    with tempfile.TemporaryDirectory(prefix="roost-root-") as directory:
        root = Path(directory) / "root"
        root.mkdir()
        run("tar", "-x", "-f", str(options.root), "-C", str(root), "--exclude=./dev/*")
        for package in packages:
            run("cp", str(package), str(root))
        inside = [sys.executable, __file__, "--inside", root, *packages]
        done = subprocess.run(["unshare", "--mount", "--net", *map(str, inside)], stdin=subprocess.DEVNULL)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
