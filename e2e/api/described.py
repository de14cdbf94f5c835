#!/usr/bin/env python3
"""Holds a daemon against docs/openapi.json: schemathesis makes requests as the file describes them, and some
that it does not allow, and checks that the answers are described too.

    described.py ROOSTD [OPTION...]        needs schemathesis; options are those of `st run`

Requests are made from a seed, which schemathesis.toml fixes: `--seed N` makes others, `--max-examples N` more.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from stock_cent import start

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def main():
    roostd, *options = sys.argv[1:]
    daemon, _, api, key = start(roostd)
    try:
        with tempfile.TemporaryDirectory() as directory:  # it leaves a folder where it is started
            program = Path(sys.executable).with_name("st").absolute()
            command = [program, "--config-file", HERE / "schemathesis.toml", "run", ROOT / "docs/openapi.json",
                       "--url", api, "--header", f"Authorization: Bearer {key}", "--no-color", *options]
            more = {"SCHEMATHESIS_HOOKS": "ndjson", "PYTHONPATH": str(HERE)}
            sys.exit(subprocess.run(command, cwd=directory, env=os.environ | more, check=False).returncode)
    finally:
        daemon.terminate()
        daemon.wait(30)


if __name__ == "__main__":
    main()
