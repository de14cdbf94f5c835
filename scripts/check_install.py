#!/usr/bin/env python3
"""Installs as docs/operating.md says, by its own lines, into a directory that stands for /, and
looks at what is there then: the unit starts a binary that was installed, its documentation exists,
systemd finds no mistake in it and lets it see as little as before.

    scripts/check_install.py

Needs python3 and systemd's programs (Debian package systemd); nothing is started, and nothing
outside the directory is written.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXPOSURE_MAX = 1.1


def install_blocks():
    text = (ROOT / "docs/operating.md").read_text()
    part = text.split("## Install\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"```\w*\n(.*?)```", part, re.S)


def into(root, line):
    """The line with the machine's directories under `root`, as its owner may run it."""
    line = re.sub(r"^sudo ", "", line)
    if line.startswith("sysctl --system"):  # the machine's own settings are left alone
        return f"sysctl --dry-run -p {root}/etc/sysctl.d/90-roost.conf"
    if line.startswith("systemctl "):
        return re.sub(r"^systemctl (\w+)(?: --now)?", rf"systemctl --root={root} \1", line)
    line = re.sub(r"(?<=\s)/(?=(?:usr|etc)/)", f"{root}/", line)
    return re.sub(r"^roostd ", f"{root}/usr/local/bin/roostd ", line)


def run(command, root, **more):
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, **more)
    print(f"$ {command.replace(str(root), 'ROOT')}\n{done.stdout}", end="")
    return done


def check(root):
    mistakes = []
    for block in install_blocks():
        for line in filter(None, map(str.strip, block.splitlines())):
            command = into(root, line)
            if str(root) not in command and not command.startswith("cargo build "):
                sys.exit(f"not run, for it would leave the directory: {line}")
            if run(command, root).returncode != 0:
                mistakes.append(f"docs/operating.md: {line}: failed")
    unit = root / "etc/systemd/system/roost.service"
    if not unit.exists():
        return mistakes + ["no unit was installed as /etc/systemd/system/roost.service"]
    text = unit.read_text()
    for path in re.findall(r"^Exec\w+=[-+!:@]*(\S+)", text, re.M):
        # /bin is the system's; what these lines install is under /usr/local.
        if not os.access(f"{'' if path.startswith('/bin/') else root}{path}", os.X_OK):
            mistakes.append(f"roost.service starts {path}, which was not installed")
    for path in re.findall(r"file://(\S+)", text):
        if not os.path.exists(f"{root}{path}"):
            mistakes.append(f"roost.service: Documentation={path} was not installed")
    wanted = root / "etc/systemd/system/multi-user.target.wants/roost.service"
    if not wanted.is_symlink():
        mistakes.append("the unit is not enabled")
    return mistakes + check_unit(root, text)


def check_unit(root, text):
    """What systemd says of the unit, with programs and documents where they are here."""
    mistakes = []
    moved = root / "moved/roost.service"
    moved.parent.mkdir()
    moved.write_text(re.sub(r"(?<=[=\s/])/usr/local/", f"{root}/usr/local/", text))
    verified = run(f"systemd-analyze verify --man=no {moved}", root)
    if verified.returncode != 0 or "roost.service" in verified.stdout:
        mistakes.append("systemd-analyze verify finds mistakes")
    secure = run(f"systemd-analyze security --offline=true --no-pager {moved} | tail -n 1", root)
    level = re.search(r"exposure level for roost.service: ([\d.]+)", secure.stdout)
    if not level or float(level[1]) > EXPOSURE_MAX:
        mistakes.append(f"the unit's exposure is to be at most {EXPOSURE_MAX}")
    return mistakes


def main():
    with tempfile.TemporaryDirectory(prefix="roost-install-") as directory:
        mistakes = check(Path(directory))
    for mistake in mistakes:
        print(mistake)
    print(f"{len(mistakes)} mistakes")
    sys.exit(bool(mistakes))


if __name__ == "__main__":
    main()
