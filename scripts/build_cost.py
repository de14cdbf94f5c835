#!/usr/bin/env python3
"""Builds commits from nothing and prints what that costs, as a table.

    scripts/build_cost.py 8c2cd78 HEAD          # cargo build --release of each, one after the other

Of each commit a clone is made in a temporary directory and built there with `cargo build --locked
--release`. Crates are fetched before. CPU time is that of cargo and all that it starts; ratios are to
the first commit. Time moves with what else the machine does: run it on a quiet one.

Python 3.9 or later, its standard library only.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def built(revision):
    """Seconds of CPU time, seconds, crates and bytes of the daemon of one build."""
    with tempfile.TemporaryDirectory(prefix='build-cost.') as directory:
        clone = Path(directory, 'clone')
        git = ['git', 'clone', '--quiet', '--no-checkout', str(ROOT), str(clone)]
        subprocess.run(git, check=True)
        subprocess.run(['git', '-C', str(clone), 'checkout', '--quiet', revision], check=True)
        environment = {name: value for name, value in os.environ.items()
                       if not name.startswith(('CARGO_PROFILE_', 'CARGO_TARGET_', 'RUSTFLAGS'))}
        run = {'cwd': clone, 'env': environment, 'check': True, 'stderr': subprocess.PIPE, 'text': True}
        subprocess.run(['cargo', 'fetch', '--locked'], **run)
        before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        printed = subprocess.run(['cargo', 'build', '--locked', '--release'], **run).stderr
        took, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        crates = printed.count('Compiling ')
        return cpu, took, crates, Path(clone, 'target/release/roostd').stat().st_size


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('revisions', nargs='+', help='commits, the one to compare with first')
    revisions = parser.parse_args().revisions
    print('| commit | crates | CPU time | ratio | time | roostd |')
    print('|---|--:|--:|--:|--:|--:|', flush=True)
    first = None
    for revision in revisions:
        named = ['git', '-C', str(ROOT), 'rev-parse', '--short=8', '--verify', revision + '^{commit}']
        name = subprocess.run(named, check=True, capture_output=True, text=True).stdout.strip()
        try:
            cpu, took, crates, size = built(name)
        except subprocess.CalledProcessError as error:
            sys.exit(f'{name} was not built:\n{error.stderr}')
        first = first or cpu
        print(f'| {name} | {crates} | {cpu:.0f} s | {cpu / first:.2f} | {took:.0f} s '
              f'| {size / 1e6:.1f} MB |', flush=True)


if __name__ == '__main__':
    main()
