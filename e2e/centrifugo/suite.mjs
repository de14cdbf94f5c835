// centrifuge-js' own tests of the WebSocket transport against the daemon, in a network namespace of its own, for
// they want a server at ws://localhost:8000.
//
//   git clone --depth 1 https://github.com/centrifugal/centrifuge-js DIR
//   npm install --prefix DIR --ignore-scripts --legacy-peer-deps
//   node suite.mjs --suite DIR
//
// Exit status 1 when a test fails that is not one of WANTING, or one of those passes.
// Needs unshare and ip (util-linux, iproute2), and the right to make a namespace.

import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { startDaemon, withParent } from "../daemon.mjs";

/** What these ask for is not there yet. */
const WANTING = [
  /presence/, // presence and presence_stats
  /subscribe and unsubscribe loop/, // the same
  /with token|many subs|subscription getToken error|subscription getData error/, // subscription tokens
  /connection getToken error/, // its token has no sub, and its secret is too short
];
const PORT = 8000;
const SUITE_MS = 300_000;
const CONFIG = `
[[listener]]
demo_page = true
[centrifugo]
enabled = true
`;

const { values: options } = parseArgs({ options: { suite: { type: "string" } } });
const suite = options.suite && resolve(options.suite);
if (!suite || !existsSync(join(suite, "src/centrifuge.test.ts")) || !existsSync(join(suite, "node_modules/jest"))) {
  console.error("--suite DIR: a copy of centrifugal/centrifuge-js, with npm install done there");
  process.exit(2);
}
if (!process.env.ROOST_IN_NAMESPACE) {
  const again = `ip link set lo up && exec "$0" "$@"`;
  const child = spawn("unshare", ["--net", "sh", "-c", again, process.execPath, ...process.argv.slice(1)], {
    stdio: "inherit",
    env: { ...process.env, ROOST_IN_NAMESPACE: "1" },
  });
  process.exit(await new Promise((done) => child.once("exit", (code) => done(code ?? 1))));
}

const directory = mkdtempSync(join(tmpdir(), "roost-centrifuge-js-"));
writeFileSync(join(directory, "roost.toml"), CONFIG);
const daemon = await startDaemon({ port: PORT, file: join(directory, "roost.toml") });
const report = join(directory, "report.json");
const args = [withParent, String(process.pid), process.execPath, join(suite, "node_modules/.bin/jest"), "src/centrifuge.test.ts",
  "-t", "websocket", "--json", "--outputFile", report, "--forceExit"];
const child = spawn(args[0], args.slice(1), { cwd: suite, stdio: ["ignore", "ignore", "inherit"] });
const timer = setTimeout(() => child.kill("SIGKILL"), SUITE_MS);
await new Promise((done) => child.once("exit", done));
clearTimeout(timer);
await daemon.stop();

const { testResults } = JSON.parse(readFileSync(report));
rmSync(directory, { recursive: true });
let wrong = 0;
const counts = { passed: 0, wanting: 0 };
for (const { fullName, status, failureMessages } of testResults.flatMap((file) => file.assertionResults)) {
  if (status === "pending") continue; // another transport's
  const isWanting = WANTING.some((name) => name.test(fullName));
  const isAsSaid = (status === "passed") !== isWanting;
  console.log(`${isAsSaid ? "ok  " : "BAD "} ${status} ${fullName}`);
  counts[status === "passed" ? "passed" : "wanting"] += 1;
  if (isAsSaid) continue;
  wrong += 1;
  console.log(failureMessages.join("\n"));
}
console.log(`${counts.passed} passed, ${counts.wanting} ask for what there is not`);
process.exit(wrong > 0 || counts.passed === 0 ? 1 : 0);
