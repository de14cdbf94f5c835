// Gives PyPI's autobahn a daemon to talk to; the cases are in stock_python.py, stock_logins.py and stock_meta.py.
//
//   PYTHON   an interpreter with requirements.txt installed (default: python3)

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { driver, startDaemon, within, withParent } from "../daemon.mjs";

/** Runs a module's cases against a daemon, which is stopped behind them. */
async function run(module, daemon) {
  const child = spawn(withParent, [String(process.pid), process.env.PYTHON ?? "python3", "-m", "unittest", "-v", module], {
    cwd: import.meta.dirname,
    env: { ...process.env, ROOST_URL: daemon.ws, PYTHONDONTWRITEBYTECODE: "1" },
    stdio: ["ignore", "inherit", "inherit"],
  });
  try {
    const status = await within(90_000, "the Python suite", new Promise((done, failed) => {
      child.on("error", failed);
      child.on("exit", done);
    }));
    assert.equal(status, 0, "unittest's exit status");
  } finally {
    child.kill("SIGKILL");
    assert.deepEqual(await daemon.stop(), { code: 0, signal: null });
  }
}

const LOGINS = `
[listener]
demo_page = true # the start block then has a URL, which startDaemon waits for

[auth.jwt]
hmac_secrets_file = "tokens"
leeway = "0s"

[wamp]
realms = ["realm1"]

[[wamp.user]]
authid = "alice"
realm = "realm1"
role = "staff"
ticket_file = "secret"
secret_file = "secret"
public_keys = ["PUBLIC_KEY"]

[[wamp.user]]
authid = "salted"
realm = "realm1"
role = "staff"
secret_file = "secret"
salt = "aBc+fx0NAVAx2iTmm0zd4g=="

[[wamp.permission]]
realm = "realm1"
role = "staff"
uri = "com.example."
match = "prefix"
allow = ["*"]

[channels]
subscribe = "granted"
publish = "granted"
call = "granted"
register = "granted"
`;

const REALMS = `
[listener]
demo_page = true # the start block then has a URL, which startDaemon waits for

[wamp]
realms = []

[[wamp.realm]]
name = "realm1"

[[wamp.realm]]
name = "acme"
prefix = "acme:."

[[namespace]]
name = "kept"
history_messages_max = 10
`;

describe(`PyPI autobahn, driver ${driver ?? "by default"}`, { timeout: 240_000 }, () => {
  test("joins, subscribes, publishes, and talks with raw clients", async () => {
    await run("stock_python", await startDaemon());
  });

  test("asks what there is in its realm", async () => {
    const directory = await mkdtemp(join(tmpdir(), "roost-meta-"));
    try {
      const file = join(directory, "roost.toml");
      await writeFile(file, REALMS);
      await run("stock_meta", await startDaemon({ file }));
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  test("logs in by each method", async () => {
    const directory = await mkdtemp(join(tmpdir(), "roost-logins-"));
    try {
      const file = join(directory, "roost.toml");
      await writeFile(join(directory, "secret"), "correct horse\n", { mode: 0o600 });
      await writeFile(join(directory, "tokens"), `one ${TOKEN_SECRET}\n`, { mode: 0o600 });
      await writeFile(file, LOGINS.replace("PUBLIC_KEY", PUBLIC_KEY));
      const daemon = await startDaemon({ file });
      await run("stock_logins", daemon);
      assert.ok(!daemon.output().includes("correct horse"), "no secret is logged");
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});

/** Of the tokens in stock_logins.py. */
const TOKEN_SECRET = "Q2c1m8vX4tR7yK0pZ3wH6uJ9sD5fG1hL-stock";
/** Of the private key in stock_logins.py. */
const PUBLIC_KEY = "1adfc8bfe1d35616e64dffbd900096f23b066f914c8c2ffbb66f6075b96e116d";
