// Two pages in Chromium, talking through the daemon as two people would.

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { chromium } from "playwright-core";
import { driver, outputDirectory, startDaemon, until } from "../daemon.mjs";

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const FLAGS = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
];
const DESKTOP = { width: 1280, height: 900 };
const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };

describe(`the page, driver ${driver ?? "by default"}`, { timeout: 180_000 }, () => {
  let daemon, context, profile, complaints;

  before(async () => {
    mkdirSync(outputDirectory, { recursive: true });
    profile = mkdtempSync(join(tmpdir(), "roost-chromium-"));
    daemon = await startDaemon();
    context = await chromium.launchPersistentContext(profile, { executablePath: CHROMIUM, args: FLAGS, viewport: DESKTOP });
    context.setDefaultTimeout(10_000);
  });

  after(async () => {
    await context?.close();
    await daemon?.stop();
    if (profile) rmSync(profile, { recursive: true, force: true });
  });

  beforeEach(() => { complaints = []; });
  afterEach(async () => {
    for (const page of context.pages()) await page.close();
    assert.deepEqual(complaints, [], "errors on the pages' consoles");
  });

  /** A page of the daemon's; connects by itself when given a channel. */
  async function open(channel, where = context, at = daemon) {
    const page = await where.newPage();
    page.on("pageerror", (error) => complaints.push(String(error)));
    page.on("console", (message) => {
      // The browser itself reports a connection that fails; the page cannot keep it from that.
      if (message.type() === "error" && !message.text().startsWith("WebSocket connection to")) complaints.push(message.text());
    });
    await page.goto(`${at.http}/${channel === undefined ? "" : `#${encodeURIComponent(channel)}`}`);
    if (channel !== undefined) await state(page, "1 OPEN");
    return page;
  }

  async function state(page, wanted) {
    await until(`readyState ${wanted}`, async () => (await page.textContent("#state")) === wanted);
  }

  async function say(page, text) {
    await page.selectOption("#kind", "text");
    await page.fill("#text", text);
    await page.press("#text", "Enter");
  }

  /** The newest entry of a kind, once its body is as wanted. */
  async function hears(page, kind, wanted) {
    const find = (list, [k, w]) => list.map((li) => ({
      body: li.querySelector(".body").textContent,
      latency: li.querySelector(".latency")?.textContent ?? null,
      size: li.querySelector(".size")?.textContent ?? null,
      matches: li.dataset.kind === k,
    })).filter((entry) => entry.matches && (w === null || entry.body.includes(w)))[0];
    return until(`an entry ${kind} with ${wanted}`, () => page.$$eval("#log li", find, [kind, wanted ?? null]));
  }

  const bodies = (page, kind) => page.$$eval(`#log li[data-kind="${kind}"] .body`, (list) => list.map((body) => body.textContent));

  test("shows readyState from before the first socket to CLOSED", async () => {
    const page = await open();
    assert.equal(await page.textContent("#state"), "no socket yet");
    assert.ok(await page.isDisabled("#send"));
    await page.click("#connect");
    await state(page, "1 OPEN");
    assert.equal(await page.getAttribute("#states li:nth-child(2)", "aria-current"), "step");
    await page.click("#disconnect");
    await state(page, "3 CLOSED");
    assert.match(await page.textContent("#close-answer"), /^code 1005 .*wasClean true$/);
    assert.equal(await page.textContent("#connect"), "Reconnect");
  });

  test("carries text both ways with its latency, and not back to its sender", async () => {
    const [one, two] = [await open("lobby"), await open("lobby")];
    await say(one, "good morning");
    const heard = await hears(two, "in-text", "good morning");
    assert.match(heard.latency, /^\d+(\.\d+)? ms$/, "a latency of zero or more, without a word on clocks");
    await say(two, "and to you");
    await hears(one, "in-text", "and to you");
    assert.deepEqual(await bodies(one, "in-text"), ["and to you"]);
    assert.deepEqual(await bodies(two, "in-text"), ["good morning"]);
  });

  test("sends text as it was typed when it carries no time", async () => {
    const [one, two] = [await open("plain"), await open("plain")];
    await one.uncheck("#stamp");
    await say(one, "just this");
    const heard = await hears(two, "in-text", "just this");
    assert.deepEqual([heard.body, heard.size, heard.latency], ["just this", "9 bytes", null]);
  });

  test("keeps the order of two hundred messages", async () => {
    const [one, two] = [await open("order"), await open("order")];
    await one.uncheck("#stamp");
    await one.fill("#burst-count", "199");
    await one.fill("#burst-size", "1");
    await one.click("#burst");
    await hears(two, "in-text", "burst 199 of 199");
    const wanted = Array.from({ length: 199 }, (_, n) => `burst ${199 - n} of 199 `);
    assert.deepEqual(await bodies(two, "in-text"), wanted);
  });

  test("carries binary both ways, byte for byte", async () => {
    const [one, two] = [await open("bytes"), await open("bytes")];
    await one.selectOption("#kind", "hex");
    await one.fill("#hex", "00 ff 7f 80 de ad be ef 41");
    await one.click("#send");
    const heard = await hears(two, "in-binary", "de ad be ef");
    assert.match(heard.body, /^0000 {2}00 ff 7f 80 de ad be ef 41 +·····.*A$/);
    assert.equal(heard.size, "9 bytes");

    await two.selectOption("#kind", "file");
    await two.setInputFiles("#file", { name: "all.bin", mimeType: "application/octet-stream", buffer: Buffer.from(Array.from({ length: 256 }, (_, n) => n)) });
    await two.click("#send");
    assert.match((await hears(one, "in-binary", "00f0")).body, /00f0 {2}f0 f1 f2 f3 f4 f5 f6 f7 f8 f9 fa fb fc fd fe ff/);

    await two.selectOption("#kind", "random");
    await two.fill("#random", "200000");
    await two.click("#send");
    assert.equal((await hears(one, "in-binary", "more")).size, "195.3 KiB");
  });

  test("shows what arrives as text, never as markup", async () => {
    const [one, two] = [await open("markup"), await open("markup")];
    const nasty = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>";
    await say(one, nasty);
    assert.equal((await hears(two, "in-text", "<img")).body, nasty);
    assert.equal(await two.locator("#log img, #log script").count(), 0);
    assert.equal(await two.title(), "Roost");
  });

  test("takes channel names with spaces, slashes, signs and other scripts", async () => {
    const name = "tür/ 100% #1?&=+ 鳥";
    const [one, two, elsewhere] = [await open(name), await open(name), await open("tür")];
    await say(one, "in here");
    await hears(two, "in-text", "in here");
    assert.deepEqual(await bodies(elsewhere, "in-text"), []);
  });

  test("measures the round trip on the echo", async () => {
    const page = await open();
    await page.selectOption("#mode", "echo");
    await page.click("#connect");
    await state(page, "1 OPEN");
    await page.selectOption("#kind", "hex");
    await page.click("#send");
    assert.match((await hears(page, "in-binary", "de ad be ef")).latency, /^\d+(\.\d+)? ms$/);
  });

  async function burst(page, count, size) {
    await page.fill("#burst-count", String(count));
    await page.fill("#burst-size", String(size));
    await page.click("#burst");
    await until("the burst's end", async () => /ms$/.test(await page.textContent("#burst-time")), 30_000);
    const [, peak, unit] = /^([\d.,]+) (bytes|KiB|MiB)$/.exec(await page.textContent("#buffered-peak"));
    return Number(peak.replace(",", "")) * { bytes: 1, KiB: 1024, MiB: 1024 * 1024 }[unit];
  }

  test("shows bufferedAmount while sending much, and keeps it low when polite", async () => {
    const page = await open("into the void");
    assert.ok(await burst(page, 2000, 8192) > 2 * 1024 * 1024, "a rude sender piles up its 16 MiB in the browser");
    assert.equal(await page.textContent("#buffered"), "0 bytes");
    await page.check("#polite");
    const peak = await burst(page, 2000, 8192);
    assert.ok(peak > 0 && peak <= 1024 * 1024 + 16384, `a polite sender keeps it near 1 MiB, not at ${peak}`);
  });

  test("hears all of a burst and lists the newest of it", async () => {
    const [one, two] = [await open("much"), await open("much")];
    await burst(one, 800, 1000); // less than the 1 MiB a reader may be behind, however busy the machine
    await until("all messages", async () => (await two.textContent("#received")).startsWith("800 ·"), 30_000);
    assert.equal(await two.locator("#log li").count(), 200);
    assert.match((await bodies(two, "in-text"))[0], /^burst 800 of 800 /);
  });

  test("closes with a code and a reason, and shows what the server answered", async () => {
    const page = await open("closing");
    await page.fill("#close-code", "4001");
    await page.fill("#close-reason", "enough für heute");
    await page.click("#close");
    await state(page, "3 CLOSED");
    assert.match(await page.textContent("#close-answer"), /^code 4001 .*wasClean true$/);
    assert.equal(await page.textContent("#explain"), "");
  });

  test("says in words why a code or a reason cannot be used", async () => {
    const page = await open("closing");
    await page.fill("#close-code", "1001");
    await page.click("#close");
    assert.match(await page.textContent("#explain"), /1000 or 3000 to 4999/);
    await page.fill("#close-code", "3000");
    await page.fill("#close-reason", "x".repeat(124));
    await page.click("#close");
    assert.match(await page.textContent("#explain"), /at most 123 bytes/);
    assert.equal(await page.textContent("#state"), "1 OPEN");
  });

  test("is told 1009 when a message is too big", async () => {
    const page = await open("big");
    await page.selectOption("#kind", "random");
    await page.fill("#random", "3000000");
    await page.click("#send");
    await state(page, "3 CLOSED");
    assert.match(await page.textContent("#explain"), /^The server closed: code 1009 /);
  });

  test("is told 1013 when it reads too slowly, and the sender is not disturbed", async () => {
    const [one, two] = [await open("slow"), await open("slow")];
    await one.uncheck("#stamp");
    const busy = two.evaluate(() => { // a page that is busy with something else for a while
      const end = performance.now() + 2_000;
      while (performance.now() < end);
    });
    await burst(one, 200, 131072);
    await busy;
    await state(two, "3 CLOSED");
    assert.match(await two.textContent("#explain"), /^The server closed: code 1013 /);
    assert.equal(await one.textContent("#state"), "1 OPEN");
  });

  test("is told 1001 when the daemon stops, and comes back with it", async () => {
    const first = await startDaemon();
    const [one, two] = [await open("lobby", context, first), await open("lobby", context, first)];
    await one.check("#auto");
    assert.deepEqual(await first.stop(), { code: 0, signal: null });
    for (const page of [one, two]) {
      assert.match((await hears(page, "close", "1001")).body, /^code 1001 \(going away\), reason ".+", wasClean true$/);
    }
    await hears(one, "close", "1006"); // an attempt that found nobody
    assert.match(await one.textContent("#explain"), /^No connection\./);
    assert.match(await one.textContent("#connect"), /^Reconnect now \(\d+ s\)$|^Connecting…$/);
    assert.equal(await two.textContent("#connect"), "Reconnect", "the other was not asked to come back by itself");

    await one.uncheck("#auto");
    await until("an end of waiting", async () => (await one.textContent("#connect")) === "Reconnect");
    await one.check("#auto");
    await one.click("#connect"); // nobody there yet: it waits again

    const second = await startDaemon({ port: first.port });
    await state(one, "1 OPEN");
    await two.click("#connect");
    await state(two, "1 OPEN");
    await say(two, "here again");
    await hears(one, "in-text", "here again");
    await second.stop();
  });

  test("can be used with the keyboard alone", async () => {
    const [one, two] = [await open(), await open("keys")];
    await one.focus("#channel");
    await one.keyboard.press("Control+A");
    await one.keyboard.type("keys");
    await one.keyboard.press("Enter");
    await state(one, "1 OPEN");
    await one.focus("#text");
    await one.keyboard.press("Control+A");
    await one.keyboard.type("typed");
    await one.keyboard.press("Enter");
    await hears(two, "in-text", "typed");
  });

  test("fits a phone and a desktop, by day and by night", async () => {
    for (const scheme of ["light", "dark"]) {
      for (const [name, options] of [["desktop", { viewport: DESKTOP }], ["phone", PHONE]]) {
        const device = await context.browser().newContext({ ...options, colorScheme: scheme });
        const [one, two] = [await open("lobby", device), await open("lobby", device)];
        await say(two, "Good morning from the other page");
        await hears(one, "in-text", "Good morning");
        await two.selectOption("#kind", "random");
        await two.fill("#random", "40");
        await two.click("#send");
        await hears(one, "in-binary", null);
        await say(one, "And good morning to you");
        await hears(two, "in-text", "And good");
        const overflow = await one.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        assert.equal(overflow, 0, `${name}: nothing sticks out sideways`);
        const small = await one.$$eval("button, select, textarea, input:not([type=checkbox])", (all) =>
          all.filter((e) => e.offsetParent && e.getBoundingClientRect().height < 44).map((e) => e.id));
        assert.deepEqual(small, [], `${name}: each control is at least 44 px high`);
        await one.screenshot({ path: join(outputDirectory, `${name}-${scheme}.png`), fullPage: true });
        await device.close();
      }
    }
  });
});
