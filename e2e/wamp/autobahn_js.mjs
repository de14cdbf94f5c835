// autobahn-js' own test suite against the daemon, in a network namespace of its own, for the suite wants
// a router at ws://127.0.0.1:8080/ws. Most of its tests compare what they saw, line by line, with a
// transcript that stands beside them.
//
//   git clone --depth 1 https://github.com/crossbario/autobahn-js DIR
//   npm install --prefix DIR/packages/autobahn
//   node autobahn_js.mjs --suite DIR [--write] [PART OF A FILE'S NAME]
//
// Once with one reactor and once with three. --write makes docs/results/autobahn-js.md. Exit status 1 when a
// test fails, unless it is one of ORDERED with three reactors.
// Needs unshare and ip (util-linux, iproute2), and the right to make a namespace.

import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { driver, startDaemon, withParent } from "../daemon.mjs";

/** Files that need no router, or one that is not asked for. */
const OUTSIDE = {
  "test_basic_async": "uses no router",
  "test_basic_sync": "uses no router",
  "test_binary": "wants a router of its own at port 8090",
  "test_rawsocket_protocol": "RawSocket, not WebSocket",
  "test_rawsocket_transport": "RawSocket, not WebSocket",
  "test_sealedbox": "uses no router",
  "test_util_is_object": "uses no router",
};
/** Files that want events of one publisher on different topics in their order, which several reactors do not
 * promise (docs/wamp.md). */
const ORDERED = ["test_pubsub_prefix_sub", "test_pubsub_wildcard_sub"];
const ORDERED_WHY = "wants the order of one publisher's events on different topics, which only one reactor promises";
const REACTORS = [1, 3];
const SUITE_MS = 300_000;
const PORT = 8080;

const { values: options, positionals: [part = ""] } = parseArgs({
  allowPositionals: true,
  options: { suite: { type: "string" }, write: { type: "boolean", default: false } },
});
const suite = options.suite && resolve(options.suite, "packages/autobahn");
if (!suite || !existsSync(join(suite, "test/testutil.js")) || !existsSync(join(suite, "node_modules/vitest"))) {
  console.error("--suite DIR: a copy of crossbario/autobahn-js, with npm install done in packages/autobahn");
  process.exit(2);
}

/** A command's exit status, and what it printed. */
function run(command, args, more = {}) {
  return new Promise((done, failed) => {
    const child = spawn(withParent, [String(process.pid), command, ...args], { stdio: ["ignore", "pipe", "pipe"], ...more });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => (output += text));
    const timer = setTimeout(() => child.kill("SIGKILL"), SUITE_MS);
    child.once("error", failed);
    child.once("exit", (code) => {
      clearTimeout(timer);
      done({ code, output });
    });
  });
}

/** This program once more, where port 8080 is free. */
async function inNamespace() {
  const again = `ip link set lo up && exec "$0" "$@"`;
  const child = spawn("unshare", ["--map-root-user", "--net", "--", "sh", "-c", again, process.execPath, ...process.argv.slice(1)], {
    stdio: "inherit",
    env: { ...process.env, ROOST_OWN_NETWORK: "1" },
  });
  const [code] = await new Promise((done, failed) => {
    child.once("error", failed);
    child.once("exit", (...how) => done(how));
  });
  process.exit(code ?? 1);
}

/** Each test with its result, as vitest reports them. */
async function runSuite(scratch) {
  const config = join(scratch, "vitest.config.mjs");
  const report = join(scratch, "report.json");
  const test = {
    include: ["test/**/*.vitest.js"],
    exclude: Object.keys(OUTSIDE).map((name) => `test/${name}.vitest.js`),
    setupFiles: ["test/vitest.setup.js"],
    globals: true,
    fileParallelism: false, // they share topics
    pool: "forks",
    testTimeout: 60_000,
  };
  writeFileSync(config, `export default ${JSON.stringify({ test })};\n`);
  // Node 20 has the browser's WebSocket behind a flag.
  const flags = Number(process.versions.node.split(".")[0]) < 22 ? "--experimental-websocket" : "";
  const { output } = await run(process.execPath, [
    join(suite, "node_modules/vitest/vitest.mjs"), "run", ...(part ? [part] : []), "--root", suite, "--config", config,
    "--reporter=json", `--outputFile=${report}`,
  ], { cwd: suite, env: { ...process.env, NODE_OPTIONS: flags } });
  if (!existsSync(report)) throw new Error(`vitest has made no report:\n${output}`);
  const { testResults } = JSON.parse(readFileSync(report, "utf8"));
  return testResults.flatMap(({ name, assertionResults, message }) => {
    const file = basename(name, ".vitest.js");
    if (assertionResults.length === 0) return [{ file, test: "", status: "failed", why: message }];
    return assertionResults.map((one) => ({ file, test: one.title, status: one.status, why: one.failureMessages.join(" ") }));
  });
}

/** Transcripts that there are: a file without one makes it, and compares with nothing. */
function transcripts() {
  return new Set(readdirSync(join(suite, "test")).filter((name) => name.endsWith(".txt")));
}

/** Whether a test file compares with a transcript that was there before. */
function isCompared(file, before) {
  const names = [...readFileSync(join(suite, `test/${file}.vitest.js`), "utf8").matchAll(/Testlog\(\s*['"]test\/([\w.]+)['"]/g)];
  return names.every(([, name]) => before.has(name));
}

/** What passes with so many reactors. */
function summary(results, reactors) {
  const own = results.filter((one) => one.reactors === reactors);
  const passed = own.filter(({ status }) => status === "passed").length;
  return `${reactors === 1 ? "One reactor" : `${reactors} reactors`}: ${passed} of ${own.length} tests pass.`;
}

function table(results, before) {
  const rows = results.filter(({ reactors }) => reactors === REACTORS[0]).map(({ file, test }) => {
    const each = REACTORS.map((reactors) => results.find((one) => one.reactors === reactors && one.file === file && one.test === test));
    const failed = each.find((one) => one.status !== "passed");
    const reason = () => (ORDERED.includes(file) ? ORDERED_WHY : failed.why.split("\n")[0].replaceAll("|", "\\|"));
    const note = failed ? reason() : isCompared(file, before) ? "" : "the suite has no transcript to compare with";
    return `| \`${file}\` | ${test} | ${each.map(({ status }) => status).join(" | ")} | ${note} |\n`;
  });
  return `| file | test | ${REACTORS.map((count) => (count === 1 ? "1 reactor" : `${count} reactors`)).join(" | ")} | |\n|---|---|---|---|---|\n${rows.join("")}`;
}

if (!process.env.ROOST_OWN_NETWORK) await inNamespace();
const scratch = mkdtempSync(join(tmpdir(), "roost-autobahn-js-"));
const before = transcripts();
const results = [];
try {
  for (const reactors of REACTORS) {
    const daemon = await startDaemon({ port: PORT, set: [`server.reactors=${reactors}`] });
    try {
      results.push(...(await runSuite(scratch)).map((one) => ({ ...one, reactors })));
    } finally {
      await daemon.stop();
      for (const name of transcripts()) if (!before.has(name)) rmSync(join(suite, "test", name));
    }
    console.log(summary(results, reactors));
  }
  results.sort((a, b) => a.file.localeCompare(b.file, "en"));
  for (const { file, test, reactors, status, why } of results) {
    if (status !== "passed") console.log(`${file}: ${test}, with ${reactors} reactors: ${why}`);
  }
  if (options.write) {
    const { version } = JSON.parse(readFileSync(join(suite, "package.json"), "utf8"));
    const left = Object.entries(OUTSIDE).map(([name, why]) => `\`${name}\` (${why})`).join(", ");
    writeFileSync(resolve(import.meta.dirname, "../../docs/results/autobahn-js.md"), `# autobahn-js' own tests

<!-- check: skip by hand: the suite is not part of the project -->
\`\`\`
node e2e/wamp/autobahn_js.mjs --suite DIR --write
\`\`\`
The test suite of autobahn-js ${version}, as it stands in its repository, against Roost${driver ? `, driver ${driver}` : ""}, Node ${process.versions.node}. Left out: ${left}. ${REACTORS.map((count) => summary(results, count)).join(" ")}

${table(results, before)}
Where the suite has no transcript it writes one. By hand, with one that Crossbar 26.10.1 had written: the same lines, in another order between sessions.
`);
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
const isExpected = ({ file, reactors, status }) => status === "passed" || (reactors > 1 && ORDERED.includes(file));
process.exitCode = results.length > 0 && results.every(isExpected) ? 0 : 1;
