// The web platform tests of WebSocket that need an echo handler and nothing else of their server, in
// Chromium, against the daemon's /echo: over ws and, where a file has that variant, over wss.
//
//   git clone --depth 1 --filter=blob:none --sparse https://github.com/web-platform-tests/wpt DIR
//   git -C DIR sparse-checkout set websockets resources common interfaces
//   npm ci --prefix ../browser
//   node run.mjs --wpt DIR [--write] [PART OF A FILE'S NAME]
//
// --write makes docs/results/wpt.md. Exit status 1 when a test fails that CHROMIUM_FAILS does not name.

import { createServer } from "node:http";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, extname, join, relative, resolve } from "node:path";
import { parseArgs } from "node:util";
import { CHROMIUM, FLAGS, chromium } from "../browser/chromium.mjs";
import { driver, listen, startDaemon, within } from "../daemon.mjs";

/** Files that Chromium fails whatever the server: npm's ws in the daemon's place has the same failures. */
const CHROMIUM_FAILS = {
  "websockets/Create-protocols-repeated-case-insensitive.any.js": "Chromium takes `echo` and `eCho` for two subprotocols",
  "websockets/Create-url-with-space.any.js": "Chromium percent-encodes the space in the URL",
  "websockets/unload-a-document/002.html": "Chromium keeps no page that another has opened in its back/forward cache",
  "websockets/unload-a-document/004.html": "Chromium keeps no frame in its back/forward cache",
};
const PAGES = 3; // at once
const FILE_MS = 90_000; // a file marked as long has 60 s of its own
const HOST = "127.0.0.1";
const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8" };
const REPORT = `self.outcome = new Promise((done) => add_completion_callback((tests, harness) => done({
  harness: { status: harness.status, message: harness.message },
  tests: tests.map(({ name, status, message }) => ({ name, status, message })) })));`;

const { values: options, positionals: [part = ""] } = parseArgs({
  allowPositionals: true,
  options: { wpt: { type: "string" }, write: { type: "boolean", default: false } },
});
if (!options.wpt || !existsSync(join(options.wpt, "websockets/handlers"))) {
  console.error("--wpt DIR: a folder with websockets/, resources/ and common/ of web-platform-tests/wpt");
  process.exit(2);
}
const wpt = resolve(options.wpt);
const read = (path) => readFileSync(join(wpt, path), "utf8");

/** Paths of the files to run: those that name /echo, themselves or in a page of theirs, and no other handler. */
function files() {
  const handlers = readdirSync(join(wpt, "websockets/handlers")).map((name) => name.replace(/_wsh\.py$/, "")).filter((name) => name !== "echo");
  const other = new RegExp(`/(${handlers.join("|")})\\b(?!-)|\\.py\\b`);
  const all = readdirSync(join(wpt, "websockets"), { recursive: true }).map((name) => `websockets/${name}`).sort();
  return all.filter((path) => {
    if (/\/(handlers|stream|resources|support)\/|tentative|\.https\./.test(path) || !/\.(any|window|worker)\.js$|\.html$/.test(path)) return false;
    const text = read(path);
    if (path.endsWith(".html") && !text.includes("testharness.js")) return false; // a page that tests open
    const pages = [...text.matchAll(/[\w./-]+\.html/g)].map(([name]) => join(dirname(path), name)).filter((name) => existsSync(join(wpt, name)));
    const whole = [path, ...pages].map(read).join("\n");
    return /\/echo\b(?![-_])|CreateWebSocket|CreateInsecure/.test(whole) && !other.test(whole) && path.includes(part);
  });
}

/** A page around a script, as WPT's own server makes it: X.any.html of X.any.js. */
function wrapped(path) {
  const script = path.replace(/\.html$/, ".js");
  if (script.endsWith(".worker.js")) return `<!doctype html>${HARNESS}<script>fetch_tests_from_worker(new Worker("/${script}" + location.search));</script>`;
  const meta = [...read(script).matchAll(/^\/\/ META: (\w+)=(.*)$/gm)];
  const long = meta.some(([, key, value]) => key === "timeout" && value === "long") ? '<meta name="timeout" content="long">' : "";
  const scripts = meta.filter(([, key]) => key === "script").map(([, , src]) => `<script src="${src}"></script>`);
  return `<!doctype html>${long}<script>self.GLOBAL = { isWindow: () => true, isWorker: () => false, isShadowRealm: () => false };</script>
${HARNESS}${scripts.join("")}<div id="log"></div><script src="/${script}"></script>`;
}
const HARNESS = '<script src="/resources/testharness.js"></script><script src="/resources/testharnessreport.js"></script>';

/** Serves the folder; in files called .sub. {{host}}, {{ports[ws][0]}} and their like are filled in. */
async function serve(ports) {
  const known = (whole, name, first) => ({ host: HOST, domains: HOST, hosts: "localhost", ports: ports[first] ?? ports.http })[name] ?? whole;
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url, "http://h").pathname).slice(1);
    const file = resolve(wpt, path);
    let body;
    if (path === "resources/testharnessreport.js") body = REPORT;
    else if (!relative(wpt, file).startsWith("..") && existsSync(file) && extname(file)) body = readFileSync(file);
    else if (/\.(any|window|worker)\.html$/.test(path)) body = wrapped(path);
    if (path.includes(".sub.") && body) body = body.toString().replace(/\{\{(\w+)(?:\[(\w+)\])?[^}]*\}\}/g, known);
    response.writeHead(body === undefined ? 404 : 200, { "content-type": TYPES[extname(path)] ?? "application/octet-stream" });
    response.end(body);
  });
  ports.http = await listen(server);
  return server;
}

/** Runs a file and says how many tests passed, how many failed, and why. */
async function run(context, base, path, scheme) {
  const page = await context.newPage();
  try {
    await page.goto(`${base}/${path.replace(/\.js$/, ".html")}?${scheme === "wss" ? "wss" : "default"}`);
    const { harness, tests } = await within(FILE_MS, path, page.evaluate(() => self.outcome));
    const failed = tests.filter(({ status }) => status !== 0).map(({ name, message }) => ({ name, why: message ?? "no result" }));
    if (harness.status !== 0 && failed.length === 0) failed.push({ name: "the harness", why: harness.message ?? "timeout" });
    return { path, scheme, passed: tests.length - tests.filter(({ status }) => status !== 0).length, failed };
  } catch (error) {
    return { path, scheme, passed: 0, failed: [{ name: "the file", why: error.message }] };
  } finally {
    await page.close();
  }
}

const isAsExpected = ({ path, failed }) => failed.length === 0 || path in CHROMIUM_FAILS;

function table(results) {
  const cell = (text) => text.replace(/\s+/g, " ").replace(/[|<>]/g, "\\$&");
  const rows = [...new Set(results.map(({ path }) => path))].map((path) => {
    const of = (scheme) => results.find((one) => one.path === path && one.scheme === scheme);
    const counts = ["ws", "wss"].map((scheme) => (of(scheme) ? `${of(scheme).passed} / ${of(scheme).failed.length}` : "–"));
    const why = new Set(results.filter((one) => one.path === path).flatMap(({ failed }) => failed.map(({ name, why }) => CHROMIUM_FAILS[path] ?? `${name}: ${why}`)));
    return `| \`${path.replace("websockets/", "")}\` | ${counts.join(" | ")} | ${cell([...why].join("; "))} |\n`;
  });
  return `| file | ws | wss | why |\n|---|---:|---:|---|\n${rows.join("")}`;
}

function summary(results) {
  return ["ws", "wss"].map((scheme) => {
    const own = results.filter((one) => one.scheme === scheme);
    const passed = own.reduce((sum, one) => sum + one.passed, 0);
    const failed = own.reduce((sum, one) => sum + one.failed.length, 0);
    return `${scheme}: ${own.filter((one) => one.failed.length === 0).length} of ${own.length} files, ${passed} of ${passed + failed} tests.`;
  }).join(" ");
}

const profile = mkdtempSync(join(tmpdir(), "roost-wpt-"));
const set = ["echo.enabled=true", "echo.subprotocol=echo", "echo.goodbye=Goodbye"];
const [plain, secure] = await Promise.all([startDaemon({ set }), startDaemon({ set, tls: profile })]);
const ports = { ws: plain.port, wss: secure.port };
const server = await serve(ports);
const context = await chromium.launchPersistentContext(profile, {
  executablePath: CHROMIUM,
  args: [...FLAGS, "--ignore-certificate-errors"],
});
const results = [];
try {
  const paths = files();
  const hasWss = (path) => /variant(=|" content=")\?wss/.test(read(path));
  const work = ["ws", "wss"].flatMap((scheme) => paths.filter((path) => scheme === "ws" || hasWss(path)).map((path) => [path, scheme]));
  await Promise.all(Array.from({ length: PAGES }, async () => {
    for (let next; (next = work.shift());) {
      const result = await run(context, `http://${HOST}:${ports.http}`, ...next);
      results.push(result);
      for (const { name, why } of result.failed) console.log(`${result.scheme} ${result.path}: ${name}: ${why}`);
    }
  }));
  console.log(summary(results));
  if (options.write) {
    results.sort((a, b) => a.path.localeCompare(b.path, "en"));
    writeFileSync(resolve(import.meta.dirname, "../../docs/results/wpt.md"), `# Web platform tests

<!-- check: skip by hand: the test files are not part of the project -->
\`\`\`
node e2e/wpt/run.mjs --wpt DIR --write
\`\`\`
The files of \`websockets/\` that need an echo handler and nothing else of their server, in Chromium ${context.browser()?.version() ?? ""}, against \`/echo\` with \`echo.subprotocol = "echo"\` and \`echo.goodbye = "Goodbye"\`${driver ? `, driver ${driver}` : ""}. Cells are tests passed / failed; – where a file has no such variant. ${summary(results)}

${table(results)}`);
  }
} finally {
  await context.close();
  server.closeAllConnections();
  server.close();
  await Promise.all([plain.stop(), secure.stop()]);
  rmSync(profile, { recursive: true, force: true });
}
process.exitCode = results.length > 0 && results.every(isAsExpected) ? 0 : 1;
