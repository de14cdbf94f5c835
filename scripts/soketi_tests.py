#!/usr/bin/env python3
"""soketi's own tests against the daemon, as a table for docs/results.

    git clone https://github.com/soketi/soketi SOKETI
    npm install --prefix TOOLS --ignore-scripts async@3 axios@0.27 pusher@5.1.0-beta pusher-js@7.4 express@4 \\
        body-parser@1 jest@26 jest-circus@26 ts-jest@26 typescript@4.8 tcp-port-used@1 uuid@8
    scripts/soketi_tests.py target/debug/roostd --soketi SOKETI --tools TOOLS [--driver epoll] [--only NAME]

The tests start soketi inside their own process. Here they run from a copy, with the modules of scripts/soketi/ in place
of soketi's sources: `server.ts` starts a roostd with a configuration made of a case's options, and answers what a case
asks of the server's tables by the HTTP API. No test is other; in `tests/utils.ts` two things are:

- The HTTP API is at port 6003, for Roost has it on a listener of its own.
- npm's `pusher` is that of `pusher.ts`, which says why.

They want ports 6001 and 3001, so all of it runs in a network namespace of its own (unshare and ip, of util-linux and
iproute2). curl is used as well.

Exit status 1 when a test fails that is not named in WANTING or RACES, or one of WANTING passes.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

API_PORT = 6003
RUN_S = 1200
FILES = ["encrypted-private", "http-api", "presence", "private", "public", "webhooks", "ws"]
# What there is not, with its reason (docs/results/soketi.md).
WANTING = {
    "usage endpoint": "of soketi's own metrics server",
    "broadcast to user": "of a user whose id is a number",
    "lambda webhooks": "webhooks by AWS Lambda",
    "sqs batching": "a queue of AWS's; skipped by soketi too where that is not its driver",
}
# Those that pass or not by what comes first, within a millisecond or two.
RACES = {"client events for presence channels": "a race of the case's own"}
JEST = {
    "transform": {"^.+\\.ts$": "ts-jest"},
    "moduleFileExtensions": ["ts", "js", "json", "node"],
    "testEnvironment": "node",
    "testTimeout": 20_000,
    "testRunner": "jest-circus/runner",
    "globals": {"ts-jest": {"isolatedModules": True, "tsconfig": {
        "allowSyntheticDefaultImports": True, "esModuleInterop": True, "module": "commonjs", "target": "es2019"}}},
}


def prepare(directory, soketi, tools):
    """A directory with the tests, what stands in for soketi, and jest's configuration."""
    shutil.copytree(os.path.join(soketi, "tests"), os.path.join(directory, "tests"))
    utils = os.path.join(directory, "tests", "utils.ts")
    with open(utils) as file:
        text = file.read()
    for pattern, instead in ((r"(secret = 'app-secret', port = )6001", rf"\g<1>{API_PORT}"),
                             (r"require\('pusher'\)", "require('../src/pusher')")):
        text, changed = re.subn(pattern, instead, text)
        if changed != 1:
            raise SystemExit(f"{utils} is not as expected: {pattern}")
    with open(utils, "w") as file:
        file.write(text)
    here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "soketi")
    shutil.copytree(here, os.path.join(directory, "src"))
    os.symlink(os.path.join(os.path.abspath(tools), "node_modules"), os.path.join(directory, "node_modules"))
    with open(os.path.join(directory, "jest.config.json"), "w") as file:
        json.dump(JEST, file)


def run(directory, options):
    """What jest says of each test: (file, test's entry)."""
    report = os.path.join(directory, "report.json")
    command = ["node", "node_modules/jest/bin/jest.js", "--config", "jest.config.json", "--runInBand", "--forceExit",
               "--json", "--outputFile", report]
    if options.only:
        command += ["--testNamePattern", options.only]
    command += [rf"tests/{name}\.test" for name in options.files or FILES]
    environment = {**os.environ, "ROOSTD": os.path.abspath(options.roostd), "ROOST_DRIVER": options.driver or "",
                   "ROOST_API_PORT": str(API_PORT)}
    quiet = None if options.verbose else subprocess.DEVNULL
    subprocess.run(command, cwd=directory, env=environment, timeout=RUN_S, stdout=subprocess.DEVNULL, stderr=quiet)
    for file in json.load(open(report))["testResults"]:
        name = re.search(r"([\w-]+)\.test", file["name"])[1]
        for test in file["assertionResults"]:
            yield name, test


def in_namespace(arguments):
    again = 'ip link set lo up && exec "$0" "$@"'
    command = ["unshare", "--net", "sh", "-c", again, sys.executable, *arguments]
    return subprocess.call(command, env={**os.environ, "ROOST_IN_NAMESPACE": "1"})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("roostd")
    parser.add_argument("--soketi", required=True, help="a clone of soketi's repository")
    parser.add_argument("--tools", required=True, help="where npm has installed what the tests use")
    parser.add_argument("--driver")
    parser.add_argument("--only", help="a pattern of tests' names")
    parser.add_argument("--files", nargs="*", help=f"some of: {' '.join(FILES)}")
    parser.add_argument("--verbose", action="store_true", help="say why tests fail")
    options = parser.parse_args()
    if not os.environ.get("ROOST_IN_NAMESPACE"):
        sys.exit(in_namespace(sys.argv))
    sums, wrong = {}, []
    with tempfile.TemporaryDirectory(prefix="roost-soketi-tests-") as directory:
        prepare(directory, options.soketi, options.tools)
        for file, test in run(directory, options):
            passed, failed, names = sums.setdefault(file, ([], [], []))
            name, is_passed = test["title"], test["status"] == "passed"
            if options.only and test["status"] == "pending":
                continue  # not chosen
            (passed if is_passed else failed).append(name)
            if name not in RACES and is_passed == (name in WANTING):
                wrong.append(f"{file}: {name}")
    print("| file | tests | pass | fail | which fail |\n|---|---|---|---|---|")
    for file, (passed, failed, _) in sums.items():
        known = {**WANTING, **RACES}
        which = "; ".join(f"{name} ({known[name]})" if name in known else name for name in failed)
        print(f"| `{file}.test.ts` | {len(passed) + len(failed)} | {len(passed)} | {len(failed)} | {which or '–'} |")
    count = [sum(len(one[at]) for one in sums.values()) for at in (0, 1)]
    print(f"| all | {sum(count)} | {count[0]} | {count[1]} | |")
    for name in wrong:
        print(f"not as expected: {name}", file=sys.stderr)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
