// Gives PyPI's centrifuge-python a daemon to talk to; the cases are in stock_python.py.
//
//   PYTHON   an interpreter with requirements.txt installed (default: python3)

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { driver, startDaemon, within, withParent } from "../daemon.mjs";
import { CONFIG } from "./peers.mjs";

describe(`PyPI centrifuge-python, driver ${driver ?? "by default"}`, { timeout: 240_000 }, () => {
  test("connects, subscribes, publishes, and talks with raw clients", async () => {
    const directory = await mkdtemp(join(tmpdir(), "roost-centrifugo-"));
    const file = join(directory, "roost.toml");
    await writeFile(file, CONFIG);
    const daemon = await startDaemon({ file });
    const child = spawn(withParent, [String(process.pid), process.env.PYTHON ?? "python3", "-m", "unittest", "-v", "stock_python"], {
      cwd: import.meta.dirname,
      env: { ...process.env, ROOST_URL: daemon.ws, PYTHONDONTWRITEBYTECODE: "1" },
      stdio: ["ignore", "inherit", "inherit"],
    });
    try {
      const status = await within(150_000, "the Python suite", new Promise((done, failed) => {
        child.on("error", failed);
        child.on("exit", done);
      }));
      assert.equal(status, 0, "unittest's exit status");
    } finally {
      child.kill("SIGKILL");
      assert.deepEqual(await daemon.stop(), { code: 0, signal: null });
      await rm(directory, { recursive: true });
    }
  });
});
