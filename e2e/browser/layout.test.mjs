// How the page looks and reads: phone and desktop, light and dark, with the keyboard alone, and
// what a screen reader is told.

import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, test } from "node:test";
import { driver, outputDirectory, startDaemon } from "../daemon.mjs";
import { faintTexts, unreadable } from "./looks.mjs";
import { browserAndDaemon, DESKTOP, hears, openLaboratory, PHONE, say, sendHex } from "./pages.mjs";

const DEVICES = [["desktop", DESKTOP], ["phone", PHONE]];
const SCHEMES = ["light", "dark"];

describe(`the page's form, driver ${driver ?? "by default"}`, { timeout: 300_000 }, () => {
  const suite = browserAndDaemon();
  const open = suite.open;
  const onDevice = (options, scheme) => suite.context.browser().newContext({ ...options, colorScheme: scheme });
  const box = (page, selector) => page.$eval(selector, (e) => {
    const { top, bottom, left, right } = e.getBoundingClientRect();
    return { top, bottom, left, right };
  });

  test("fits a phone and a desktop, light and dark", async () => {
    for (const scheme of SCHEMES) {
      for (const [name, options] of DEVICES) {
        const device = await onDevice(options, scheme);
        const [one, two] = [await open("lobby", device), await open("lobby", device)];
        await say(two, "Good morning from the other page");
        await hears(one, "in-text", "Good morning");
        await sendHex(two, "52 6f 6f 73 74 20 f0 9f 90 a6 00 ff");
        await hears(one, "in-binary", "52 6f 6f 73");
        await say(one, "x".repeat(300)); // one word that no line holds
        await hears(two, "in-text", "xxx");
        for (const [page, what] of [[one, "closed"], [two, "open"]]) {
          const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
          assert.equal(overflow, 0, `${name}, laboratory ${what}: nothing sticks out sideways`);
          const small = await page.$$eval("button, select, summary, input:not([type=checkbox]), label.check", (all) =>
            all.filter((e) => e.offsetParent && e.getBoundingClientRect().height < 44).map((e) => e.id || e.textContent));
          assert.deepEqual(small, [], `${name}: each control is at least 44 px high`);
          const faint = await page.$$eval("input:not([type=checkbox]), select", (all) => all
            .filter((e) => getComputedStyle(e).color !== getComputedStyle(document.body).color || parseFloat(getComputedStyle(e).fontSize) < 16)
            .map((e) => e.id));
          assert.deepEqual(faint, [], `${name}: what is typed has the colour of ink and 16 px`);
        }
        await one.screenshot({ path: join(outputDirectory, `${name}-${scheme}.png`) });
        await two.screenshot({ path: join(outputDirectory, `${name}-${scheme}-laboratory.png`), fullPage: true });
        await device.close();
      }
    }
  });

  test("shows a phone the messages first, and the line to write always at the foot", async () => {
    const device = await onDevice(PHONE, "light");
    const page = await open("lobby", device);
    for (let n = 0; n < 30; n += 1) await say(page, `line ${n}`);
    await hears(page, "out-text", "line 29");
    const { height } = PHONE.viewport;
    const [log, write] = [await box(page, "#log"), await box(page, "#write")];
    assert.ok(log.top < 260, `the messages begin at ${log.top} px`);
    assert.ok(log.bottom - log.top > 350 && log.bottom <= write.top, "they have most of the screen, above the line to write");
    assert.ok((await box(page, "#log .entry:last-child")).bottom <= write.top, "the newest is in view");
    assert.equal(Math.round(write.bottom), height);
    assert.ok((await box(page, "#snippet")).top > log.bottom);
    await openLaboratory(page);
    await page.evaluate(() => scrollTo(0, document.body.scrollHeight));
    assert.equal(Math.round((await box(page, "#write")).bottom), height, "also at the end of the page");
    assert.ok((await box(page, "#lab")).bottom <= (await box(page, "#write")).top, "and it covers nothing there");
    await device.close();
  });

  test("shows a desktop chat and snippet without scrolling", async () => {
    const page = await open("lobby");
    const { height } = DESKTOP.viewport;
    for (const selector of ["#write", "#snippet", "#copy"]) assert.ok((await box(page, selector)).bottom <= height, selector);
    assert.ok((await box(page, "#snippet")).left >= (await box(page, "#chat")).right);
    const snippet = await page.$eval("#snippet", (e) => e.scrollWidth - e.clientWidth);
    assert.equal(snippet, 0, "no line of the snippet is cut");
    assert.equal(await page.$eval("#lab", (e) => e.open), false, "the laboratory is folded away");
  });

  test("is left by Tab in the order it is read, and can be used with the keyboard alone", async () => {
    const [one, two] = [await open("keys"), await open("other")];
    const order = [];
    for (;;) {
      await one.keyboard.press("Tab");
      const at = await one.evaluate(() => document.activeElement === document.body ? ""
        : document.activeElement.id || document.activeElement.textContent.trim());
      if (at === "" || order.includes(at) || order.length > 20) break;
      order.push(at);
    }
    assert.deepEqual(order.slice(0, 9), ["again", "channel", "clear", "log", "text", "Send", "copy", "snippet", "WebSocket in MDN"]);
    assert.match(order[9], /^Laboratory/);
    assert.equal(order.length, 10, "what is folded away is not visited");

    await one.focus("#channel");
    await one.keyboard.press("Control+A");
    await one.keyboard.type("other");
    await one.keyboard.press("Enter");
    await hears(one, "open", "other");
    for (let n = 0; n < 3; n += 1) await one.keyboard.press("Tab"); // Clear, the log, the line to write
    await one.keyboard.type("typed");
    await one.keyboard.press("Enter");
    await hears(two, "in-text", "typed");
  });

  test("tells a screen reader what each thing is", async () => {
    const page = await open("reader");
    await openLaboratory(page);
    assert.deepEqual(await page.evaluate(unreadable), []);
    const log = await page.$eval("#log", (e) => [e.role, e.ariaLive, e.getAttribute("aria-relevant"), e.ariaLabel]);
    assert.deepEqual(log, ["log", "polite", "additions", "Messages"]);
    assert.equal(await page.getAttribute("html", "lang"), "en");
    assert.equal(await page.$$eval("header, main", (all) => all.length), 2);
  });

  test("has the contrast of WCAG AA in both schemes, also without a server, and still fits a phone", async () => {
    for (const scheme of SCHEMES) {
      const device = await onDevice(DESKTOP, scheme);
      const daemon = await startDaemon();
      const [one, two] = [await open("lobby", device, daemon), await open("lobby", device, daemon)];
      await say(one, "mine");
      await say(two, "theirs");
      await hears(one, "in-text", "theirs");
      for (const page of [one, two]) await openLaboratory(page);
      await two.setViewportSize({ width: 360, height: 740 });
      daemon.signal("SIGKILL");
      await hears(one, "close", "1006");
      await hears(two, "away", "3 attempts");
      const sideways = () => two.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      assert.equal(await sideways(), 0, "reconnecting, on a narrow phone");
      await two.uncheck("#auto");
      await hears(two, "away", "Stopped");
      assert.equal(await sideways(), 0, "not connected, on a narrow phone");
      assert.deepEqual(await one.evaluate(faintTexts), [], scheme);
      await device.close();
    }
  });

  test("loads nothing from elsewhere", async () => {
    const page = await suite.context.newPage();
    const asked = [];
    page.on("request", (request) => asked.push(new URL(request.url()).origin));
    await page.goto(`${suite.daemon.http}/`);
    await hears(page, "open", "lobby");
    assert.deepEqual([...new Set(asked)], [suite.daemon.http]);
  });
});
