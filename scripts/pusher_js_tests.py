#!/usr/bin/env python3
"""pusher-js' own integration tests against the daemon, in Node, in Chromium and in a worker of it, as a table.

    git clone https://github.com/pusher/pusher-js JS
    npm install --prefix TOOLS --ignore-scripts webpack@5 webpack-merge@5 ts-loader@9 source-map-loader@1 typescript@5 \\
        jasmine@4 tweetnacl@1 @stablelib/base64@2 @stablelib/utf8@1 buffer@6 faye-websocket@0.11 isomorphic-fetch@3 \\
        xmlhttprequest@1
    scripts/pusher_js_tests.py target/debug/roostd --js JS --tools TOOLS [--where node web worker] [--driver epoll]

The tests connect to Pusher's hosts at ports 80 and 443, so all of it runs in a network namespace of its own, with an
/etc/hosts that leads these hosts to it (unshare, mount and ip, of util-linux and iproute2). They are bundled and run from
a copy in which one thing is other: in a browser the transports over HTTP are left out, which Roost does not serve.
The server with `/auth` and `/send` that they want at ports 3000 and 3001 is in this script. openssl makes the certificate.

Exit status 1 when a test fails.
"""

import argparse
import base64
import hashlib
import hmac
import http.server
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request

RUN_S = 560
API_PORT = 8001
# By port of the tests' server: application, its key, the prefix of its channels. The keys are the tests'.
APPS = {3000: ("mt1", "c49a449b916bb4246729", ""), 3001: ("eu", "cb7d5e50f5669e5c9ae6", "eu:")}
SECRET = b"a-secret-of-the-tests"
HOSTS = ["ws-mt1.pusher.com", "ws-eu.pusher.com", "sockjs-mt1.pusher.com", "sockjs-eu.pusher.com", "js.pusher.com"]
WHERE = ["node", "web", "worker"]
ONLY_WS = ("config.forceTLS && config.transport === \"ws\"", "config.transport === \"ws\"")

CONFIG = """
[[listener]]
address = "127.0.0.1:80"
demo_page = true
[[listener]]
name = "tls"
address = "127.0.0.1:443"
[listener.tls]
certificate = "{directory}/cert.pem"
key = "{directory}/key.pem"
[pusher]
enabled = true
client_events_per_second_max = 100
[channels]
presence_linger = "0s"
[api]
listen = ["127.0.0.1:{api}"]
[[api.key]]
name = "tests"
sha256 = "{digest}"
allow = ["read"]
"""
APP = """
[[pusher.app]]
id = "{0}"
key = "{1}"
secret_file = "{directory}/secret"
prefix = "{2}"
"""
WEBPACK = """
const shared = require('./webpack/config.shared');
const webpack = require('webpack');
const where = process.argv[2];
const globals = { node: 'global', web: 'window', worker: 'self' };
const helpers = 'spec/javascripts/helpers';
const mocks = { node: 'node/mock-dom-dependencies', worker: 'worker/mock-dom-dependencies' }[where];
const alias = mocks
  ? { pusher_integration: 'core/pusher.js', integration: 'node/integration', 'dom/dependencies': mocks, 'dom/dependency_loader': mocks }
  : { integration: 'web/integration' };
webpack({
  ...shared,
  mode: 'development',
  devtool: false,
  optimization: { minimize: false },
  target: where === 'node' ? 'node' : where === 'web' ? 'web' : 'webworker',
  entry: `./spec/javascripts/integration/index.${where}`,
  output: { path: process.argv[3], filename: 'bundle.js', globalObject: 'this' },
  resolve: {
    ...shared.resolve,
    modules: [`src/runtimes/${where}`, helpers, 'src', 'src/runtimes', 'node_modules', ...(mocks ? [] : [`${helpers}/web`])],
    alias,
  },
  module: { rules: [{ test: /\\.ts$/, loader: 'ts-loader', options: { transpileOnly: true } }] },
  externals: { testenv: `'${where}'` },
  plugins: shared.plugins.concat(new webpack.DefinePlugin({
    ...(where === 'node' ? {} : { global: globals[where] }),
    RUNTIME: JSON.stringify(where),
    'process.env.MINIMAL_INTEGRATION_TESTS': 'true',
  })),
}, (error, stats) => {
  if (error || stats.hasErrors()) {
    console.error(error || stats.toString({ all: false, errors: true }));
    process.exit(1);
  }
});
"""
# What runs jasmine: in Node, in a page, in its worker.
BOOT = """
const global_ = typeof window === 'undefined' ? (typeof self === 'undefined' ? global : self) : window;
const library = typeof require === 'undefined' ? jasmineRequire : require('jasmine-core');
const jasmine_ = typeof require === 'undefined' ? library.core(library) : library.boot(library);
const env = jasmine_.getEnv();
if (typeof require === 'undefined') Object.assign(global_, { jasmine: jasmine_ }, jasmineRequire.interface(jasmine_, env));
env.configure({ random: false });
const results = [];
env.addReporter({
  specDone: ({ fullName, status, failedExpectations }) =>
    results.push({ name: fullName, status, words: failedExpectations.map(({ message }) => message).join('; ') }),
  jasmineDone: () => fetch('http://localhost:3000/report', { method: 'POST', body: JSON.stringify(results) }),
});
"""


def sign(text):
    return hmac.new(SECRET, text.encode(), hashlib.sha256).hexdigest()


class Tests:
    """What the tests' servers share: the files of a page, and where the results go."""

    def __init__(self, directory):
        self.directory = directory
        self.results = None
        self.is_done = threading.Event()

    def report(self, body):
        self.results = json.loads(body)
        self.is_done.set()


def server(port, tests):
    app, key, _ = APPS[port]

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def answer(self, body, content="text/javascript", status=200):
            body = body.encode()
            self.send_response(status)
            for name, value in {"Content-Type": content, "Content-Length": len(body), "Access-Control-Allow-Origin": "*",
                                "Access-Control-Allow-Headers": "Accepts,Content-Type"}.items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(body)

        def do_OPTIONS(self):
            self.answer("")

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            if self.path == "/report":
                tests.report(body)
                return self.answer("")
            return self.answer(json.dumps(authorized(key, urllib.parse.parse_qs(body))), "application/json")

        def do_GET(self):
            url = urllib.parse.urlsplit(self.path)
            query = urllib.parse.parse_qs(url.query)
            plain = {name: values[0] for name, values in query.items()}
            last = url.path.rsplit("/", 1)[1]
            if url.path == "/auth":
                return self.answer(f"{plain['callback']}({json.dumps(authorized(key, query))})")
            if url.path.startswith("/v2/send/"):
                said = {name: base64.b64decode(value).decode() for name, value in plain.items()}
                trigger(app, key, said["channel"], said["event"], said["data"])
                return self.answer(f"Pusher.Integration.ScriptReceivers[{last}](null, {{}});")
            if url.path.startswith("/v2/jsonp/echo/"):
                said = {name: decoded(value) for name, value in plain.items()}
                return self.answer(f"Pusher.ScriptReceivers[{last}](null, {json.dumps(said)});")
            if url.path == "/v2/script_request/echo":
                receiver = plain.pop("receiver")
                return self.answer(f"{receiver}(null, {json.dumps(plain)});")
            if url.path.startswith("/jsonp/"):
                return self.answer("", status=int(url.path.split("/")[2]))
            path = os.path.join(tests.directory, last or "index.html")
            if not os.path.exists(path):
                return self.answer("", status=404)
            with open(path) as file:
                return self.answer(file.read(), "text/html" if path.endswith(".html") else "text/javascript")

    made = http.server.ThreadingHTTPServer(("localhost", port), Handler)
    threading.Thread(target=made.serve_forever, daemon=True).start()


def authorized(key, query):
    socket, channel = query["socket_id"][0], query["channel_name"][0]
    info = {"name": f"Integration {socket}", "email": f"integration-{socket}@example.com"}
    data = json.dumps({"user_id": socket, "user_info": info})
    return {"auth": f"{key}:{sign(f'{socket}:{channel}:{data}')}", "channel_data": data}


def decoded(value):
    text = base64.b64decode(value).decode()
    try:
        return json.loads(text)
    except ValueError:
        return text


def trigger(app, key, channel, event, data):
    body = json.dumps({"name": event, "channel": channel, "data": data}).encode()
    query = (f"auth_key={key}&auth_timestamp={int(time.time())}&auth_version=1.0"
             f"&body_md5={hashlib.md5(body).hexdigest()}")
    signature = sign(f"POST\n/apps/{app}/events\n{query}")
    url = f"http://127.0.0.1:{API_PORT}/apps/{app}/events?{query}&auth_signature={signature}"
    urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": "application/json"}), timeout=10).read()


def start(binary, driver, directory):
    with open(os.path.join(directory, "secret"), "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        file.write(SECRET)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", "/CN=pusher.com", "-addext", "subjectAltName=DNS:*.pusher.com", "-keyout", "key.pem", "-out",
                    "cert.pem"], cwd=directory, check=True, stderr=subprocess.DEVNULL)
    config = os.path.join(directory, "roost.toml")
    with open(config, "w") as file:
        digest = hashlib.sha256(b"unused").hexdigest()
        file.write(CONFIG.format(directory=directory, api=API_PORT, digest=digest))
        file.writelines(APP.format(*app, directory=directory) for app in APPS.values())
    log = open(os.path.join(directory, "roostd.log"), "w")
    command = [binary, "run", "--config", config, "--set", f"admin.socket={directory}/admin.sock"]
    daemon = subprocess.Popen(command + (["--driver", driver] if driver else []), stdout=log, stderr=log)
    for _ in range(200):
        try:
            urllib.request.urlopen("http://127.0.0.1:80/health", timeout=1).read()
            return daemon
        except OSError:
            if daemon.poll() is not None:
                break
            time.sleep(0.05)
    raise SystemExit("the daemon does not run:\n" + open(log.name).read())


def bundle(copy, where, directory):
    with open(os.path.join(copy, "roost.webpack.js"), "w") as file:
        file.write(WEBPACK)
    subprocess.run(["node", "roost.webpack.js", where, directory], cwd=copy, check=True)
    boot = {"node": BOOT + "\nrequire(process.argv[2] + '/bundle.js');\nenv.execute();\n",
            "web": BOOT, "worker": "importScripts('/jasmine.js');\n" + BOOT + "importScripts('/bundle.js');\nenv.execute();\n"}
    name = os.path.join(copy if where == "node" else directory, "boot.js")
    with open(name, "w") as file:
        file.write(boot[where])
    if where != "node":
        shutil.copy(os.path.join(copy, "node_modules/jasmine-core/lib/jasmine-core/jasmine.js"), directory)
        page = {"web": "<script src=/jasmine.js></script><script src=/boot.js></script><script src=/bundle.js></script>"
                       "<script>env.execute()</script>",
                "worker": "<script>new Worker('/boot.js')</script>"}
        with open(os.path.join(directory, "index.html"), "w") as file:
            file.write(f"<!doctype html><body>{page[where]}")
    return name


def run(copy, where, tests):
    boot = bundle(copy, where, tests.directory)
    tests.is_done.clear()
    tests.results = []
    if where == "node":
        command = ["node", boot, tests.directory]
    else:
        profile = os.path.join(tests.directory, "profile")
        command = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
                   "--ignore-certificate-errors", f"--user-data-dir={profile}", "http://localhost:3000/"]
    environment = {**os.environ, "NODE_TLS_REJECT_UNAUTHORIZED": "0"}
    child = subprocess.Popen(command, cwd=copy, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + RUN_S
    while not tests.is_done.wait(1) and child.poll() is None and time.monotonic() < deadline:
        pass
    child.kill()
    child.wait()
    return tests.results


def in_namespace(arguments):
    with tempfile.NamedTemporaryFile("w") as hosts:
        hosts.write("127.0.0.1 localhost " + " ".join(HOSTS) + "\n")
        hosts.flush()
        again = f'ip link set lo up && mount --bind {hosts.name} /etc/hosts && exec "$0" "$@"'
        command = ["unshare", "--net", "--mount", "sh", "-c", again, sys.executable, *arguments]
        return subprocess.call(command, env={**os.environ, "ROOST_IN_NAMESPACE": "1"})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("roostd")
    parser.add_argument("--js", required=True, help="a clone of pusher-js' repository")
    parser.add_argument("--tools", required=True, help="where npm has installed what the tests use")
    parser.add_argument("--where", nargs="*", choices=WHERE, default=WHERE)
    parser.add_argument("--driver")
    parser.add_argument("--verbose", action="store_true", help="say why tests fail")
    options = parser.parse_args()
    if not os.environ.get("ROOST_IN_NAMESPACE"):
        sys.exit(in_namespace(sys.argv))
    table, is_wrong = [], False
    with tempfile.TemporaryDirectory(prefix="roost-pusher-js-") as directory:
        copy, served = os.path.join(directory, "js"), os.path.join(directory, "served")
        os.mkdir(served)
        shutil.copytree(options.js, copy, ignore=shutil.ignore_patterns("dist", "node_modules", ".git"))
        os.symlink(os.path.join(os.path.abspath(options.tools), "node_modules"), os.path.join(copy, "node_modules"))
        index = os.path.join(copy, "spec/javascripts/integration/index.web.js")
        with open(index) as file:
            text = file.read()
        if text.count(ONLY_WS[0]) != 1:
            raise SystemExit(f"{index} is not as expected")
        with open(index, "w") as file:
            file.write(text.replace(*ONLY_WS))
        tests = Tests(served)
        for port in APPS:
            server(port, tests)
        daemon = start(os.path.abspath(options.roostd), options.driver, directory)
        try:
            for where in options.where:
                results = run(copy, where, tests)
                failed = [one for one in results if one["status"] != "passed"]
                is_wrong |= bool(failed) or not results
                names = "; ".join(one["name"] for one in failed) or ("–" if results else "they did not end")
                table.append(f"| {where} | {len(results) - len(failed)} | {len(failed)} | {names} |")
                if options.verbose:
                    for one in failed:
                        print(f"{where}: {one['name']}\n    {one['words'][:1000]}", file=sys.stderr)
        finally:
            daemon.kill()
            daemon.wait(timeout=30)
    print("| where | pass | fail | which fail |\n|---|---|---|---|")
    print("\n".join(table))
    sys.exit(1 if is_wrong else 0)


if __name__ == "__main__":
    main()
