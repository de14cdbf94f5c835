// Starts the daemon for a suite and stops it; knows nothing of browsers or protocols.
//
//   ROOSTD         the binary (default: target/release/roostd)
//   ROOST_CONFIG   its configuration (default: config/roost.dev.toml)
//   ROOST_DRIVER   epoll | io_uring (default: what the configuration says)

import { spawn } from "node:child_process";
import { once } from "node:events";
import http from "node:http";
import { tmpdir } from "node:os";
import { resolve } from "node:path";

const root = resolve(import.meta.dirname, "..");
const binary = process.env.ROOSTD ?? resolve(root, "target/release/roostd");
export const withParent = resolve(root, "scripts/with-parent"); // the daemon ends with this process, also when that is killed
const config = process.env.ROOST_CONFIG ?? resolve(root, "config/roost.dev.toml");

export const driver = process.env.ROOST_DRIVER ?? null;

/** Where suites leave what a person may look at. */
export const outputDirectory = process.env.E2E_OUT ?? resolve(root, "target/e2e", driver ?? "default");

/** Those above 1023 to which browsers, and Node's fetch, do not connect (Fetch Standard, "port blocking"). */
const BLOCKED_PORTS = new Set([
  1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
]);

const START_MS = 10_000;
const STOP_MS = 15_000;

let started = 0;
const adminSocket = () => `${tmpdir()}/roost-e2e-${process.pid}-${++started}.sock`;
const running = new Set();
process.on("exit", () => running.forEach((child) => child.kill("SIGKILL")));

/** `promise`, or an Error naming `what` after `ms`. */
export async function within(ms, what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Asks `condition` until it gives something true, and returns that. */
export async function until(what, condition, ms = 10_000) {
  const deadline = Date.now() + ms;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`${what}: not within ${ms} ms`);
    await new Promise((done) => setTimeout(done, 20));
  }
}

/** A server of a suite's own, of HTTP or TCP, listens: the kernel chooses its port, but none that browsers block. Gives the port. */
export async function listen(server) {
  for (;;) {
    await once(server.listen(0, "127.0.0.1"), "listening");
    const { port } = server.address();
    if (!BLOCKED_PORTS.has(port)) return port;
    await new Promise((closed) => server.close(closed));
  }
}

/**
 * A daemon that has said where it listens; with port 0 the kernel chooses, none that browsers block. `set` has further keys as
 * `--set` takes them; `file` another configuration; `tls` a directory for a certificate that the daemon makes for itself;
 * `admin` the path of the admin socket.
 */
export async function startDaemon({ port = 0, set = [], file = config, tls = null, admin = adminSocket() } = {}) {
  const args = ["run", "--config", file, tls ? "--listen-tls" : "--listen", `127.0.0.1:${port}`];
  if (tls) args.push("--self-signed");
  args.push(...set.flatMap((pair) => ["--set", pair]));
  args.push("--set", `admin.socket=${admin}`);
  if (driver) args.push("--driver", driver);
  const child = spawn(withParent, [String(process.pid), binary, ...args], {
    cwd: root,
    stdio: ["ignore", "pipe", "pipe"],
    env: tls ? { ...process.env, XDG_STATE_HOME: tls } : process.env,
  });
  running.add(child);
  const exited = new Promise((done, failed) => {
    child.once("error", failed);
    child.once("exit", (code, signal) => {
      running.delete(child);
      done({ code, signal });
    });
  });
  exited.catch(() => {}); // a caller that waits for it gets the error

  let output = "";
  const said = (pattern) =>
    until(`the daemon's line ${pattern}`, () => {
      if (child.exitCode !== null || child.signalCode !== null) throw new Error(`the daemon ended at its start:\n${output}`);
      return pattern.exec(output);
    }, START_MS);
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => {
      output += text;
    });
  }
  await Promise.race([once(child, "spawn"), exited]);
  const [, host, bound] = await said(/https?:\/\/(127\.0\.0\.1):(\d+)\//).catch((error) => {
    child.kill("SIGKILL");
    throw error;
  });
  return {
    http: `${tls ? "https" : "http"}://${host}:${bound}`,
    ws: `${tls ? "wss" : "ws"}://${host}:${bound}`,
    host,
    port: Number(bound),
    admin,
    pid: child.pid,
    exited,
    output: () => output,
    /** The counters, from the admin listener: the response with its `body`. */
    stats: () =>
      within(5_000, "GET /stats", new Promise((done, failed) => {
        const request = http.get({ socketPath: admin, path: "/stats", agent: false }, async (response) => {
          let body = "";
          for await (const part of response.setEncoding("utf8")) body += part;
          done({ status: response.statusCode, headers: response.headers, body });
        });
        request.on("error", failed);
      })),
    signal: (name) => child.kill(name),
    /** SIGINT, and how it ended: `{ code, signal }`. Kills what does not end. */
    async stop() {
      if (child.exitCode === null && child.signalCode === null) child.kill("SIGINT");
      try {
        return await within(STOP_MS, "the daemon's end", exited);
      } catch (error) {
        child.kill("SIGKILL");
        throw new Error(`${error.message}\n${output}`);
      }
    },
  };
}
