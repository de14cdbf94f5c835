#!/usr/bin/env python3
"""The own tests of Centrifugo's client libraries against the daemon, as a table for docs/results.

    git clone https://github.com/centrifugal/centrifuge-js JS
    npm install --prefix JS --ignore-scripts --legacy-peer-deps
    git clone https://github.com/centrifugal/centrifuge-python PY
    python3 -m venv VENV && VENV/bin/pip install websockets protobuf
    scripts/centrifuge_clients.py target/release/roostd --js JS --python PY VENV/bin/python [--driver epoll]

The tests want a server at localhost:8000, so all of it runs in a network namespace of its own (unshare and ip, of
util-linux and iproute2). They run from copies beside the originals in which three things are other:

- Tokens are signed with a secret of 32 bytes: theirs has 6, which Roost refuses (RFC 7518, section 3.2).
- The HTTP API is at port 8001, for Roost has it on a listener of its own.
- centrifuge-python's tests go through JSON and Protobuf in turn; a copy is left with one of them, so that each counts
  by itself. In Protobuf only those run that do so.

Exit status 1 when a test fails that is not named in WANTING, or one of those passes.
"""

import argparse
import base64
import hashlib
import hmac
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request

SECRET = b"a-secret-of-thirty-two-bytes-or-more"
API_KEY = "test-api-key"
PORT, API_PORT = 8000, 8001
SUITE_S = 240
TEST_S = 40
# By a beginning of the test's name: what there is not, and one that passes by itself (docs/results).
WANTING = ["map: ", "map delta: ", "TestServerSideSubscriptions."]

# The client, configuration of channels, and whether it is the run in Protobuf of one that has two.
RUNS = [
    ("centrifuge-js", "", False),
    ("centrifuge-python", 'join_leave = "all"\n', False),
    ("centrifuge-python", 'join_leave = "all"\n', True),
]

COMMON = """
[centrifugo]
enabled = true
personal_channels = true
[auth.jwt]
hmac_secrets_file = "{secrets}"
expiry = "optional"
subject = "optional"
[api]
listen = ["127.0.0.1:{api}"]
[[api.key]]
name = "tests"
sha256 = "{key}"
allow = ["publish", "read", "history", "presence"]
[channels]
history_messages_max = 100
history_lifetime = "5m"
presence = "members"
presence_read = "anyone"
delta = "fossil"
{channels}
[[namespace]]
name = "recovery"
history_messages_max = 100
history_lifetime = "5m"
[[namespace]]
name = "smallhistory"
history_messages_max = 2
history_lifetime = "5m"
"""


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed_again(token):
    """A token with the same claims, of a longer secret."""
    head, claims, _ = token.split(".")
    signature = hmac.new(SECRET, f"{head}.{claims}".encode(), hashlib.sha256).digest()
    return f"{head}.{claims}.{b64url(signature)}"


def js_copy(text):
    text = re.sub(r"eyJ[\w-]+\.eyJ[\w-]+\.[\w-]+", lambda found: signed_again(found[0]), text)
    return text.replace(f"localhost:{PORT}/api", f"localhost:{API_PORT}/api")


def python_copy(text, is_protobuf):
    text = text.replace('hmac_secret = "secret"', f"hmac_secret = {SECRET.decode()!r}")
    return text.replace("for use_protobuf in (False, True)", f"for use_protobuf in ({is_protobuf},)")


def start(binary, driver, directory, channels):
    secrets = os.path.join(directory, "jwt.secrets")
    with open(secrets, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        file.write(f"tests {SECRET.decode()}\n")
    config = os.path.join(directory, "roost.toml")
    key = hashlib.sha256(API_KEY.encode()).hexdigest()
    with open(config, "w") as file:
        file.write(COMMON.format(secrets=secrets, api=API_PORT, key=key, channels=channels))
    command = [binary, "run", "--config", config, "--listen", f"127.0.0.1:{PORT}",
               "--set", f"admin.socket={directory}/admin.sock"]
    log = open(os.path.join(directory, "roostd.log"), "w")
    daemon = subprocess.Popen(command + (["--driver", driver] if driver else []), stdout=log, stderr=log)
    for _ in range(200):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health", timeout=1).read()
            return daemon
        except OSError:
            if daemon.poll() is not None:
                break
            time.sleep(0.05)
    raise SystemExit("the daemon does not run:\n" + open(log.name).read())


def stop(daemon):
    daemon.kill()  # nothing of it is asked for any more
    daemon.wait(timeout=30)


def run_js(directory, suite):
    """(file, name, passed, words) of each test that ran."""
    copies = []
    for name in ("centrifuge", "centrifuge.protobuf", "recovery", "getstate", "delta"):
        with open(os.path.join(suite, "src", f"{name}.test.ts")) as file:
            text = js_copy(file.read())
        copies.append(os.path.join(suite, "src", f"roost_{name}.test.ts"))
        with open(copies[-1], "w") as file:
            file.write(text)
    report = os.path.join(directory, "jest.json")
    command = ["node", "node_modules/.bin/jest", "--runInBand", "--forceExit", "--json", "--outputFile", report,
               "src/roost_"]
    environment = {**os.environ}
    if int(subprocess.check_output(["node", "--version"], text=True)[1:].split(".")[0]) < 22:
        environment["NODE_OPTIONS"] = ""
    try:
        subprocess.run(command, cwd=suite, env=environment, timeout=SUITE_S, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        raise SystemExit("centrifuge-js' tests do not end") from None
    finally:
        for copy in copies:
            os.remove(copy)
    results = []
    for file in json.load(open(report))["testResults"]:
        name = re.search(r"roost_([\w.]+)\.test", file["name"])[1]
        for test in file["assertionResults"]:
            if test["status"] != "pending":
                words = " ".join(test["failureMessages"])
                results.append((name, test["fullName"], test["status"] == "passed", words))
    return results


def run_python(directory, suite, python, is_protobuf):
    copy = os.path.join(suite, "tests", "test_roost.py")
    with open(os.path.join(suite, "tests", "test_client.py")) as file:
        text = python_copy(file.read(), is_protobuf)
    with open(copy, "w") as file:
        file.write(text)
    program = (
        "import inspect, json, signal, unittest\n"
        "def give_up(*_): raise TimeoutError('it does not end')\n"
        "signal.signal(signal.SIGALRM, give_up)\n"
        "class Result(unittest.TextTestResult):\n"
        "    said = {}\n"
        "    def startTest(self, test):\n"
        "        super().startTest(test); self.said[test.id()] = 'did not end'; note()\n"
        f"        signal.alarm({TEST_S})\n"
        "    def addSuccess(self, test): super().addSuccess(test); self.said[test.id()] = ''; note()\n"
        "    def addFailure(self, test, error): super().addFailure(test, error); self.said[test.id()] = self.failures[-1][1]\n"
        "    def addError(self, test, error): super().addError(test, error); self.said[test.id()] = self.errors[-1][1]\n"
        "    def addSubTest(self, test, part, error):\n"
        "        super().addSubTest(test, part, error)\n"
        "        if error: self.said[test.id()] = str(error[1]) or repr(error[1])\n"
        f"def note(): json.dump(Result.said, open({os.path.join(directory, 'python.json')!r}, 'w'))\n"
        "def each(suite):\n"
        "    for test in suite:\n"
        "        yield from each(test) if isinstance(test, unittest.TestSuite) else [test]\n"
        "def goes_through_both(test):\n"
        "    return 'for use_protobuf in' in inspect.getsource(getattr(test, test._testMethodName))\n"
        "suite = unittest.defaultTestLoader.loadTestsFromName('tests.test_roost')\n"
        f"suite = unittest.TestSuite(test for test in each(suite) if not {is_protobuf} or goes_through_both(test))\n"
        "unittest.TextTestRunner(resultclass=Result, stream=open('/dev/null', 'w')).run(suite)\n"
        "note()\n"
    )
    try:
        subprocess.run([python, "-c", program], cwd=suite, timeout=SUITE_S, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        pass  # what has been said until then stands
    finally:
        os.remove(copy)
    said = json.load(open(os.path.join(directory, "python.json")))
    encoding = "Protobuf" if is_protobuf else "JSON"
    return [(encoding, name.split(".", 2)[2], not words, words) for name, words in said.items()]


def group(client, file, name):
    if client == "centrifuge-js" and file.startswith("centrifuge"):
        found = re.match(r"(websocket|http_stream|sse)(?: \(Protobuf\))?: ", name)
        return f"`{file}.test.ts`, {found[1] if found else 'without a server'}"
    if client == "centrifuge-js":
        is_stream = not name.startswith(("map", "shared"))
        return f"`{file}.test.ts`" + ("" if is_stream else ", maps")
    return f"`tests/test_client.py`, {file}"


def in_namespace(arguments):
    again = 'ip link set lo up && exec "$0" "$@"'
    command = ["unshare", "--net", "sh", "-c", again, sys.executable, *arguments]
    return subprocess.call(command, env={**os.environ, "ROOST_IN_NAMESPACE": "1"})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("roostd")
    parser.add_argument("--js")
    parser.add_argument("--python", nargs=2, metavar=("SUITE", "PYTHON"))
    parser.add_argument("--driver")
    parser.add_argument("--verbose", action="store_true", help="say why tests fail")
    options = parser.parse_args()
    if not os.environ.get("ROOST_IN_NAMESPACE"):
        sys.exit(in_namespace(sys.argv))
    runs = []
    with tempfile.TemporaryDirectory() as directory:
        for client, channels, is_protobuf in RUNS:
            wanted = options.js if client == "centrifuge-js" else options.python
            if not wanted:
                continue
            daemon = start(os.path.abspath(options.roostd), options.driver, directory, channels)
            try:
                results = (run_js(directory, os.path.abspath(options.js)) if client == "centrifuge-js"
                           else run_python(directory, os.path.abspath(options.python[0]),
                                           os.path.abspath(options.python[1]), is_protobuf))
            finally:
                stop(daemon)
            runs += [(client, *result) for result in results]
    sums = {}
    wrong = 0
    for client, file, name, passed, words in runs:
        entry = sums.setdefault((client, group(client, file, name)), [0, 0, []])
        entry[0 if passed else 1] += 1
        if not passed:
            entry[2].append(name)
            if options.verbose:
                print(f"{client} {name}\n    {words[:1500]}", file=sys.stderr)
        is_wanting = any(name.startswith(known) for known in WANTING)
        wrong += passed == is_wanting
    print("| client | tests | pass | fail | which fail |\n|---|---|---|---|---|")
    for (client, tests), (passed, failed, names) in sums.items():
        print(f"| {client} | {tests} | {passed} | {failed} | {'; '.join(sorted(names)) or '–'} |")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
