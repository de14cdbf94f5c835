// Gives PyPI's autobahn a daemon to talk to; the cases are in stock_python.py.
//
//   PYTHON   an interpreter with requirements.txt installed (default: python3)

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { describe, test } from "node:test";
import { driver, startDaemon, within, withParent } from "../daemon.mjs";

describe(`PyPI autobahn, driver ${driver ?? "by default"}`, { timeout: 120_000 }, () => {
  test("joins, subscribes, publishes, and talks with raw clients", async () => {
    const daemon = await startDaemon();
    const child = spawn(withParent, [String(process.pid), process.env.PYTHON ?? "python3", "-m", "unittest", "-v", "stock_python"], {
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
  });
});
