#!/usr/bin/env python3
"""Holds the documents to what they say: every relative link leads somewhere, every test that is
named exists, and every block of commands runs, in the order given.

    scripts/check_docs.py                    # all documents that git knows
    scripts/check_docs.py docs/loadtest.md   # one of them

Needs python3, bash and release binaries of roostd and roost-load (ROOST_BIN, target/release). As
root everything runs in a network namespace of its own, so no port is in use.

A document's blocks (no language, sh, bash or console) run in one shell, in a scratch directory with
links to what the repository holds. `cargo` works in the repository. Loads are made small: at most
200 connections, low rates, a second for each --time and --hold and for phases of scenarios. A line that starts
the daemon runs in the background until the document's end; the next line waits until it listens.
A comment before a block, unseen by readers, says what is otherwise:

    <!-- check: skip needs root and a million sockets -->
    <!-- check: uses docs/comparison.md -->    (variables: the blocks of that document run before)
    <!-- check: daemon --set KEY=VALUE -->     (the daemon that the reader has, with these options)

A skipped block must give its reason, and the programs and files it names are looked for all the same.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(os.environ.get("ROOST_BIN", ROOT / "target/release")).resolve()
BLOCK_S = 300
# Steps of .ci/run themselves.
OTHERS = {"cargo test --workspace": "the step `tests`", "cargo build --release": "the step `build`",
          "cargo build --locked --release": "the step `build`"}
SHELLS = {"", "sh", "bash", "console"}


class Block:
    def __init__(self, file, line, language, text, directive):
        self.file, self.line, self.language, self.text, self.directive = file, line, language, text, directive

    def place(self):
        return f"{self.file}:{self.line}"


def read_blocks(file):
    """The fenced blocks of a document."""
    blocks, open_at, language, kept, directive = [], None, "", [], None
    for number, line in enumerate((ROOT / file).read_text().splitlines(), 1):
        fence = re.match(r"\s*```+(.*)$", line)
        if fence and open_at is None:
            open_at, language, kept = number, fence[1].strip(), []
        elif fence:
            blocks.append(Block(file, open_at, language, "\n".join(kept), directive))
            open_at = directive = None
        elif open_at is not None:
            kept.append(line)
        elif found := re.match(r"\s*<!-- check: (.*?) *-->\s*$", line):
            directive = found[1]
        elif line.strip():
            directive = None
    return blocks


def prose_of(file):
    """The document without its blocks, line by line; blocks leave empty lines."""
    inside, lines = False, []
    for line in (ROOT / file).read_text().splitlines():
        fence = re.match(r"\s*```", line)
        lines.append("" if fence or inside else line)
        inside ^= bool(fence)
    return lines


# Links and names.

def slugs(file):
    """The anchors that GitHub gives a document's titles."""
    found = {}
    for line in prose_of(file):
        if title := re.match(r"#+ +(.*)", line):
            text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title[1]).lower()
            slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
            count = found.get(slug, 0)
            found[slug] = count + 1
            if count:
                found[f"{slug}-{count}"] = 1
    return found


def check_links(file):
    mistakes = []
    for number, line in enumerate(prose_of(file), 1):
        for text, target in re.findall(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)", line):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            whole = (ROOT / file).parent / path if path else ROOT / file
            place = f"{file}:{number}: {target}"
            if not whole.exists():
                mistakes.append(f"{place}: there is no such file")
            elif anchor and whole.suffix == ".md" and anchor not in slugs(os.path.relpath(whole, ROOT)):
                mistakes.append(f"{place}: the document has no such title")
            elif whole.suffix == ".rs" and re.fullmatch(r"[a-z0-9_]+", text):
                if not re.search(rf"\b(fn|mod) {text}\b|^\s*{text}:? |\b{text},", whole.read_text(), re.M):
                    mistakes.append(f"{place}: it has no test {text}")
            elif whole.suffix in (".mjs", ".py") and whole.is_file() and " " in text:
                if text not in whole.read_text():
                    mistakes.append(f"{place}: it has no test \"{text}\"")
    return mistakes


def check_cargo(file):
    """Targets and filters of `cargo test` and `cargo run`, wherever they stand."""
    mistakes = []
    for number, line in enumerate((ROOT / file).read_text().splitlines(), 1):
        for command in re.findall(r"cargo (?:test|run)\b[^`|&;]*", line):
            if not (package := re.search(r"-p (\S+)", command)):
                continue
            home = ROOT / "loadtest" if package[1] == "roost-load" else ROOT / "crates" / package[1]
            place = f"{file}:{number}: {command.strip()}"
            if not home.is_dir():
                mistakes.append(f"{place}: there is no package {package[1]}")
                continue
            for kind, folder in (("test", "tests"), ("example", "examples"), ("bin", "src/bin")):
                if (name := re.search(rf"--{kind} ([\w-]+)", command)) and not any(
                        (home / folder / f).exists() for f in (f"{name[1]}.rs", f"{name[1]}/main.rs")):
                    mistakes.append(f"{place}: {home.relative_to(ROOT)} has no {kind} {name[1]}")
            if command.startswith("cargo test"):
                mistakes += [f"{place}: no test has {word} in its name"
                             for word in filters(command) if not has_test(home, word)]
    return mistakes


def filters(command):
    words, takes = [], False
    for word in command.split()[2:]:
        if takes:
            takes = False
        elif word in ("-p", "--test", "--example", "--skip", "--test-threads", "#"):
            takes = True
        elif re.fullmatch(r"[a-z_][\w:]*", word):
            words.append(word)
    return words


def has_test(home, word):
    last = word.split("::")[-1]
    paths = [path for part in ("src", "tests") for path in (home / part).rglob("*.rs")]
    return any(last in path.stem or path.parent.name == last or re.search(rf"\bfn \w*{last}", path.read_text())
               for path in paths)


# Commands.

def smaller(text):
    """The same commands with little load, the repository's configuration as the installed one, and
    sockets in the scratch directory."""
    text = text.replace("/etc/roost/roost.toml", "config/roost.toml")
    text = re.sub(r"(?<![\w.])/(run/roost|tmp)/", '"$PWD"/', text)
    text = re.sub(r"(--(?:time|hold) )\d+m?s", r"\g<1>1s", text)
    text = re.sub(r"(-n |--connections )(\d+)", lambda m: m[1] + str(min(int(m[2]), 200)), text)
    # A load is at fault that sends later than one interval: a second, that a busy machine keeps it.
    text = re.sub(r"(--rate )(\d+)", lambda m: m[1] + str(max(int(m[2]) // 50, 1)), text)
    steps = lambda m: m[1] + ",".join(str(max(int(n) // 100, 1)) for n in m[2].split(","))
    text = re.sub(r"(--steps )([\d,]+)", steps, text)
    text = re.sub(r"(roost-load +storm\b)(?!.*--time)", r"\1 --time 1s", text)
    return re.sub(r"(roost-load +(?:idle|echo|fanout|storm|mixed)\b)", r"\1 --memory-wait 0s", text)


DAEMON = re.compile(r"(?:\S*/)?roostd (?:run\b|--set\b|--config\b|--listen\b)|cargo run --release(?!.* (?:-p|--bin|--example) )")


def commands(block):
    """The block's commands: lines joined where they go on, without prompts and outputs."""
    lines = block.text.splitlines()
    if block.language == "console":
        lines = [line[2:] for line in lines if line.startswith("$ ")]
    joined, kept = "", []
    for line in lines:
        joined += line
        if line.endswith("\\"):
            joined = joined[:-1] + " "
            continue
        kept.append(joined)
        joined = ""
    return kept


def script_of(blocks):
    out = [PRELUDE]
    for block in blocks:
        out.append(f"printf '%s\\n' '--- {block.place()}'")
        if (block.directive or "").startswith("daemon "):
            out.append(smaller(f"start_daemon roostd run {block.directive.removeprefix('daemon ')}"))
        for line in commands(block):
            plain = re.sub(r"\s+#.*$", "", line).strip()
            if plain in OTHERS:
                continue
            line = smaller(line)
            if DAEMON.match(plain):
                line = re.sub(r"\s+#.*$", "", line).rstrip().removesuffix("&").rstrip()
                out.append(f"start_daemon {line}")
            else:
                out.append(line)
    return "\n".join(out) + "\n"


# `$!` is the daemon's process, as the documents have it. A second daemon takes the first one's place.
PRELUDE = """\
set -eE
daemon=
trap 'echo "failed: $BASH_COMMAND"' ERR
curl() { command curl --silent --show-error --fail-with-body "$@"; }
stop_daemon() { [ -z "$daemon" ] || { kill "$daemon" && wait "$daemon" || true; daemon=; }; }
trap stop_daemon EXIT
start_daemon() {
    stop_daemon
    : >daemon.log # what the last one said is not this one's
    "$REPOSITORY/scripts/with-parent" $$ "$@" >daemon.log 2>&1 </dev/null &
    daemon=$!
    for _ in $(seq 600); do
        if grep -q 'ready' daemon.log; then
            KEY=$(grep -oE 'roost_[0-9a-f]{32}' daemon.log | head -n 1) || true
            return 0
        fi
        kill -0 "$daemon" 2>/dev/null || break
        sleep 0.1
    done
    cat daemon.log
    false
}
"""


def scratch_directory(into):
    """Links to all that the repository holds, scenarios with short phases, and programs on a PATH."""
    for entry in ROOT.iterdir():
        if entry.name not in ("loadtest", "target"):
            (into / entry.name).symlink_to(entry)
    (into / "target").mkdir()
    (into / "target/release").symlink_to(BIN)
    (into / "loadtest/scenarios").mkdir(parents=True)
    for entry in (ROOT / "loadtest").iterdir():
        if entry.name != "scenarios":
            (into / "loadtest" / entry.name).symlink_to(entry)
    for scenario in (ROOT / "loadtest/scenarios").iterdir():
        text = re.sub(r'^time = "\d+m?s"', 'time = "1s"', scenario.read_text(), flags=re.M)
        text = re.sub(r"^count = \d{3,}", "count = 60", text, flags=re.M)
        text = re.sub(r"\brate = (\d+)(?:\.\d+)?", lambda m: f"rate = {max(int(m[1]) // 10, 1)}", text)
        # Of a second's traffic no memory can be judged.
        text = re.sub(r"^memory_within = .*", "memory_within = 10.0", text, flags=re.M)
        (into / "loadtest/scenarios" / scenario.name).write_text(text)
    programs = into / ".bin"
    programs.mkdir()
    for name in ("roostd", "roost-load"):
        (programs / name).symlink_to(BIN / name)
    cargo = programs / "cargo"
    cargo.write_text(f'#!/bin/sh\ncd "{ROOT}" && exec "{shutil.which("cargo")}" "$@"\n')
    cargo.chmod(0o755)
    return programs


def run(blocks):
    """Runs blocks in one shell; returns what went wrong."""
    with tempfile.TemporaryDirectory(prefix="roost-docs-") as scratch:
        programs = scratch_directory(Path(scratch))
        environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "REPOSITORY": str(ROOT),
                       "CARGO_NET_OFFLINE": "true"}
        shell = subprocess.Popen(
            [ROOT / "scripts/with-parent", str(os.getpid()), "bash", "-c", script_of(blocks)], cwd=scratch,
            env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", start_new_session=True)
        try:
            said, _ = shell.communicate(timeout=BLOCK_S)
        except subprocess.TimeoutExpired:
            os.killpg(shell.pid, signal.SIGKILL)
            said, _ = shell.communicate()
            said += f"not over after {BLOCK_S} s\n"
        finally:
            if shell.poll() is None:
                os.killpg(shell.pid, signal.SIGKILL)
                shell.wait()
        if shell.returncode == 0:
            return []
        log = Path(scratch, "daemon.log")
        daemon = f"\nthe daemon said:\n{log.read_text(errors='replace')[-2000:]}" if log.exists() else ""
        return [f"commands of {blocks[0].file}: status {shell.returncode}\n{said[-4000:]}{daemon}"]


def check_named_files(block):
    """Programs and files of the repository that a skipped block names."""
    tops = {entry.name for entry in ROOT.iterdir()} - {"target"}
    words = re.findall(r"(?<![\w/.$-])([\w.-]+/[\w./-]+)(?![\w./$-])", re.sub(r"#.*", "", block.text))
    return [f"{block.place()}: there is no {word}" for word in words
            if word.split("/")[0] in tops and not (ROOT / word).exists() and ".installed" not in word]


def check_commands(file, ran):
    blocks, mistakes = [], []
    for block in read_blocks(file):
        if block.language not in SHELLS:
            continue
        directive, _, rest = (block.directive or "").partition(" ")
        if directive == "skip":
            if not rest:
                mistakes.append(f"{block.place()}: skipped without a reason")
            mistakes += check_named_files(block)
            print(f"  {block.place()}: not run: {rest}")
            continue
        if directive == "uses":
            blocks += [other for other in read_blocks(rest) if not (other.directive or "").startswith("skip")]
        elif directive not in ("", "daemon"):
            mistakes.append(f"{block.place()}: check: {directive}: skip, uses or daemon was expected")
        blocks.append(block)
    if blocks:
        began = time.monotonic()
        mistakes += run(blocks)
        ran.append(len(blocks))
        print(f"  {file}: {len(blocks)} blocks, {time.monotonic() - began:.1f} s")
    return mistakes


def enter_namespace():
    """Again in a network namespace of its own, where that is permitted."""
    if os.environ.get("ROOST_DOCS_NAMESPACE") or os.geteuid() != 0:
        return
    inner = 'ip link set lo up && exec "$0" "$@"'
    if subprocess.run(["unshare", "--net", "ip", "link", "set", "lo", "up"], capture_output=True).returncode != 0:
        print("no network namespace here: ports are the machine's own")
        return
    os.environ["ROOST_DOCS_NAMESPACE"] = "1"
    os.execvp("unshare", ["unshare", "--net", "sh", "-c", inner, sys.executable, *sys.argv])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--links-only", action="store_true", help="links and names alone: needs no binaries")
    parser.add_argument("files", nargs="*")
    options = parser.parse_args()
    if not options.links_only:
        for name in ("roostd", "roost-load"):
            if not (BIN / name).exists():
                sys.exit(f"{BIN / name} is missing: cargo build --release -p roostd -p roost-load")
        enter_namespace()
    os.chdir(ROOT)
    files = options.files or subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        check=True, capture_output=True, text=True).stdout.split()
    mistakes, ran = [], []
    for file in files:
        mistakes += check_links(file) + check_cargo(file)
        if not options.links_only:
            mistakes += check_commands(file, ran)
    for mistake in mistakes:
        print(mistake)
    print(f"{len(files)} documents, {sum(ran)} blocks run, {len(mistakes)} mistakes")
    sys.exit(bool(mistakes))


if __name__ == "__main__":
    main()
