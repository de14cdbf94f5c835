// The daemon's page in Chromium, and what a person does with it: shared by the suites here.

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach } from "node:test";
import { outputDirectory, startDaemon, until, within } from "../daemon.mjs";
import { CHROMIUM, FLAGS, chromium } from "./chromium.mjs";

export const DESKTOP = { viewport: { width: 1280, height: 900 } };
export const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };

/**
 * A daemon, started with these options, and a browser for the tests of one `describe`; no test may leave an
 * error on a console.
 */
export function browserAndDaemon(options = () => ({})) {
  const suite = { daemon: null, context: null, complaints: [] };
  let profile;

  before(async () => {
    mkdirSync(outputDirectory, { recursive: true });
    profile = mkdtempSync(join(tmpdir(), "roost-chromium-"));
    suite.daemon = await startDaemon(options());
    suite.context = await chromium.launchPersistentContext(profile, { executablePath: CHROMIUM, args: FLAGS, ...DESKTOP });
    suite.context.setDefaultTimeout(10_000);
  });
  after(async () => {
    await suite.context?.close();
    await suite.daemon?.stop();
    if (profile) rmSync(profile, { recursive: true, force: true });
  });
  beforeEach(() => { suite.complaints = []; });
  afterEach(async () => {
    for (const page of suite.context.pages()) await page.close();
    assert.deepEqual(suite.complaints, [], "errors on the pages' consoles");
  });

  /** Any page at `url`. */
  suite.visit = async (url, where = suite.context) => {
    const page = await where.newPage();
    page.on("pageerror", (error) => suite.complaints.push(String(error)));
    page.on("console", (message) => {
      // The browser itself reports a connection that fails; the page cannot keep it from that.
      if (message.type() === "error" && !message.text().startsWith("WebSocket connection to")) suite.complaints.push(message.text());
    });
    await page.goto(url);
    return page;
  };

  /** The daemon's page, connected: at the printed address, or with a channel after the #. */
  suite.open = async (channel, where = suite.context, at = suite.daemon) => {
    const page = await suite.visit(`${at.http}/${channel === undefined ? "" : `#${encodeURIComponent(channel)}`}`, where);
    await state(page, "1 OPEN");
    return page;
  };
  return suite;
}

export async function state(page, wanted) {
  await until(`readyState ${wanted}`, async () => (await page.textContent("#state")) === wanted);
}

export async function say(page, text) {
  await page.fill("#text", text);
  await page.press("#text", "Enter");
}

export async function openLaboratory(page) {
  if ((await page.getAttribute("#lab", "open")) === null) await page.click("#lab summary");
}

export async function sendHex(page, hex) {
  await openLaboratory(page);
  await page.selectOption("#kind", "hex");
  await page.fill("#hex", hex);
  await page.click("#binary-form button");
}

/** The newest entry of a kind, once its body is as wanted. */
export async function hears(page, kind, wanted) {
  const find = (list, [k, w]) => list.map((entry) => ({
    body: entry.querySelector(".body").textContent,
    latency: entry.querySelector(".latency")?.textContent ?? null,
    size: entry.querySelector(".size")?.textContent ?? null,
    matches: entry.dataset.kind === k,
  })).filter((entry) => entry.matches && (w === null || entry.body.includes(w))).at(-1);
  return until(`an entry ${kind} with ${wanted}`, () => page.$$eval("#log .entry", find, [kind, wanted ?? null]));
}

/** The bodies of all entries of a kind, oldest first. */
export const bodies = (page, kind) =>
  page.$$eval(`#log [data-kind="${kind}"] .body`, (list) => list.map((body) => body.textContent));

/** Lets `page` hear `channel` with a WebSocket of its own, and gives what came: strings, and arrays of bytes. */
export async function listenBare(page, channel) {
  await page.evaluate((path) => new Promise((done) => {
    const socket = new WebSocket(`ws://${location.host}${path}`);
    window.bare = [];
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => window.bare.push(typeof data === "string" ? data : [...new Uint8Array(data)]);
    socket.onopen = done;
  }), `/raw/${encodeURIComponent(channel)}`);
  return (count) => until(`${count} messages`, async () => {
    const got = await page.evaluate(() => window.bare);
    return got.length >= count && got;
  });
}

/** Stops a page's scripts as a debugger does, so that it takes nothing from its sockets. Gives what lets it go on. */
export async function hold(page) {
  const debug = await page.context().newCDPSession(page);
  const paused = new Promise((done) => debug.once("Debugger.paused", done));
  await debug.send("Debugger.enable");
  const stopped = page.evaluate(() => { debugger; });
  await within(10_000, "the page stops", paused);
  return async () => {
    await debug.send("Debugger.resume");
    await stopped;
    await debug.detach();
  };
}
