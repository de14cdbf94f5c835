// What the documents give a developer to paste and to run, pasted and run: docs/start.md, its
// examples, the README's console lines, and the snippet on the page. Examples name the address that
// `cargo run --release` listens on; here that is the test's own daemon.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import { driver, listen, startDaemon, until, within, withParent } from "../daemon.mjs";
import { bodies, browserAndDaemon, hears, say } from "./pages.mjs";

const root = resolve(import.meta.dirname, "../..");
const examples = resolve(root, "docs/examples");
const read = (path) => readFileSync(resolve(root, path), "utf8");

/** The fenced blocks of a document in one language. */
const blocks = (path, language) =>
  [...read(path).matchAll(/^```(\w+)\n([^]*?)^```$/gm)].filter(([, word]) => word === language).map(([, , text]) => text);

describe(`what the documents show, driver ${driver ?? "by default"}`, { timeout: 300_000 }, () => {
  const suite = browserAndDaemon();
  const here = (text, daemon = suite.daemon) => text.replaceAll("127.0.0.1:8080", `127.0.0.1:${daemon.port}`);
  let directory, server, served;

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), "roost-examples-"));
    symlinkSync(resolve(import.meta.dirname, "node_modules"), join(directory, "node_modules")); // ws, for Node before 22
    // A development server: another port, so another origin.
    server = http.createServer((request, response) => {
      response.setHeader("Content-Type", "text/html; charset=utf-8");
      response.end(served);
    });
    await listen(server);
  });
  after(() => {
    server?.close();
    if (directory) rmSync(directory, { recursive: true, force: true });
  });

  /** Writes a file that a developer would save, and gives its path. */
  function save(name, text) {
    const path = join(directory, name);
    writeFileSync(path, text);
    return path;
  }
  /** Opens `html` as a file and from a development server, as 127.0.0.1 and as localhost. */
  async function openEverywhere(html) {
    served = html;
    const { port } = server.address();
    const urls = [pathToFileURL(save("page.html", html)).href, `http://127.0.0.1:${port}/`, `http://localhost:${port}/`];
    return Promise.all(urls.map((url) => suite.visit(url)));
  }
  const body = (page) => page.textContent("body");
  const reads = (page, words) => until(`"${words}" on ${page.url()}`, async () => (await body(page)).includes(words));

  /** Runs a program until it ends; `output` is what it has printed so far. */
  function run(command, args) {
    const child = spawn(withParent, [String(process.pid), command, ...args], { stdio: ["ignore", "pipe", "pipe"] });
    const program = { output: "", stop: () => child.kill("SIGKILL") };
    program.ended = new Promise((done, failed) => {
      child.once("error", failed);
      child.once("exit", done);
    });
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => { program.output += text; });
    return program;
  }
  const PROGRAMS = { py: process.env.PYTHON ?? "python3", mjs: process.execPath };
  const runExample = (name, url) => run(PROGRAMS[name.split(".").at(-1)], [save(name, read(`docs/examples/${name}`)), url]);

  test("start.md shows every example as it is in its file", () => {
    const shown = ["html", "python", "js"].flatMap((language) => blocks("docs/start.md", language));
    for (const name of readdirSync(examples)) {
      assert.ok(shown.includes(read(`docs/examples/${name}`)), `docs/start.md does not show docs/examples/${name}`);
    }
  });

  test("the page's snippet works as a file and from another server, beside the page", async () => {
    const page = await suite.open("a \"quoted\" channel");
    const pages = await openEverywhere(await page.textContent("#snippet"));
    for (const own of pages) await reads(own, "connected");
    await say(page, "to all");
    for (const own of pages) await reads(own, "to all");
    await pages[0].fill("input", "from a file");
    await pages[0].press("input", "Enter");
    await hears(page, "in-text", "from a file");
  });

  test("the page's snippet is copied with one click", async () => {
    await suite.context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: suite.daemon.http });
    const page = await suite.open("copy");
    await page.click("#copy");
    await until("the button's word", async () => (await page.textContent("#copy")) === "Copied");
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), await page.textContent("#snippet"));
  });

  test("the README's console lines work in the console of the page", async () => {
    const [page, other] = [await suite.open(), await suite.open()];
    const [lines] = blocks("README.md", "js");
    await page.evaluate(here(lines));
    await hears(other, "in-text", "hello");
  });

  test("the README's curl appears in the page", async () => {
    const page = await suite.open("lobby");
    const [, api, key] = /curl (http:\/\/127\.0\.0\.1:\d+)\/v1\/publish -H "Authorization: Bearer (\S+)"/.exec(suite.daemon.output());
    const line = blocks("README.md", "sh").find((block) => block.includes("curl"));
    const env = { ...process.env, KEY: key };
    await promisify(execFile)("sh", ["-c", line.replace("http://127.0.0.1:8081", api)], { env });
    await hears(page, "in-text", "Hello from curl");
  });

  test("the README's console lines end with 1006 in an empty tab, as docs/start.md says", async () => {
    const empty = await suite.context.newPage();
    await empty.goto("about:blank");
    const [lines] = blocks("README.md", "js");
    const code = await within(10_000, "the close event", empty.evaluate(`${here(lines)}
      new Promise((done) => { socket.onclose = (event) => done(event.code); })`));
    assert.equal(code, 1006);
    assert.match(read("README.md"), /empty tab[^]*docs\/start\.md/);
    assert.match(read("docs/start.md"), /empty tab[^\n]*1006/);
  });

  test("the chat talks from a file and from other servers, and comes back after a crash", async () => {
    const first = await startDaemon();
    const pages = await openEverywhere(here(read("docs/examples/chat.html"), first));
    for (const page of pages) await reads(page, "Connected as guest");
    const speak = async (page, text) => {
      await page.fill("input", text);
      await page.press("input", "Enter");
    };
    await speak(pages[0], "<b>from a file</b>");
    for (const page of pages) await reads(page, "<b>from a file</b>");
    first.signal("SIGKILL");
    await first.exited;
    for (const page of pages) await reads(page, "Closed with code 1006");
    const second = await startDaemon({ port: first.port });
    for (const page of pages) await reads(page, "Connected as guest");
    await speak(pages[2], "again");
    for (const page of pages) await reads(page, "again");

    const plain = await suite.open("chat", undefined, second); // what is no JSON is shown as it is
    await say(plain, "no JSON {");
    await reads(pages[0], "?: no JSON {");
    await second.stop();
  });

  for (const publisher of ["publish.py", "publish.mjs"]) {
    test(`${publisher} reaches page, chat, listen.py and listen.mjs, and ends with status 0`, async () => {
      const page = await suite.open("chat");
      const url = `${suite.daemon.ws}/raw/chat`;
      const [chat] = await openEverywhere(here(read("docs/examples/chat.html")));
      await reads(chat, "Connected as guest");
      const listeners = ["listen.py", "listen.mjs"].map((name) => runExample(name, url));
      try {
        for (const listener of listeners) await until("the listener's connection", () => listener.output.includes("connected"));
        const program = runExample(publisher, url);
        assert.equal(await within(20_000, publisher, program.ended), 0, program.output);
        for (const listener of listeners) await until("the last message", () => listener.output.includes("message 5"));
        await reads(chat, "message 5");
        assert.equal((await bodies(page, "in-text")).length, 5);
        const { from, text } = JSON.parse((await bodies(page, "in-text")).at(-1));
        assert.deepEqual([from, text], [publisher === "publish.py" ? "python" : "node", "message 5"]);
      } finally {
        for (const listener of listeners) listener.stop();
      }
    });
  }

  test("publishers say that they cannot connect, and listeners come back after a crash", async () => {
    const first = await startDaemon();
    const url = `${first.ws}/raw/chat`;
    const listeners = ["listen.py", "listen.mjs"].map((name) => runExample(name, url));
    try {
      for (const listener of listeners) await until("the listener's connection", () => listener.output.includes("connected"));
      first.signal("SIGKILL");
      await first.exited;
      for (const listener of listeners) await until("the end of the connection", () => listener.output.includes("closed, code 1006"));
      for (const name of ["publish.py", "publish.mjs"]) {
        const program = runExample(name, url);
        assert.equal(await within(20_000, name, program.ended), 1);
        assert.match(program.output, /cannot connect to ws:|Connection refused/);
      }
      const second = await startDaemon({ port: first.port });
      for (const listener of listeners) {
        await until("the listener's second connection", () => listener.output.split("connected").length === 3, 30_000);
      }
      await second.stop();
    } finally {
      for (const listener of listeners) listener.stop();
    }
  });
});
