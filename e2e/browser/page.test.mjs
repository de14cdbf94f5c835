// Two pages in Chromium, talking through the daemon as two people would.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { driver, startDaemon, until } from "../daemon.mjs";
import { bodies, browserAndDaemon, hears, hold, listenBare, openLaboratory, say, sendHex, state } from "./pages.mjs";

describe(`the page, driver ${driver ?? "by default"}`, { timeout: 300_000 }, () => {
  const suite = browserAndDaemon();
  const open = suite.open;

  test("connects at load: the printed address, opened twice, talks both ways without a click", async () => {
    const [one, two] = [await open(), await open()];
    assert.equal(await one.textContent("#words"), "Connected");
    await say(one, "good morning");
    await hears(two, "in-text", "good morning");
    await say(two, "and to you");
    await hears(one, "in-text", "and to you");
    assert.deepEqual(await bodies(one, "in-text"), ["and to you"], "a sender does not hear itself");
    assert.deepEqual(await bodies(one, "out-text"), ["good morning"]);
    assert.equal(await one.inputValue("#text"), "", "the line is free for the next");
  });

  test("sends what is typed, and nothing else, unless a stamp is asked for", async () => {
    const [one, two] = [await open("plain"), await open("elsewhere")];
    const received = await listenBare(two, "plain");
    await say(one, "  just {\"this\"} 鳥 ");
    assert.deepEqual(await received(1), ["  just {\"this\"} 鳥 "]);
    await openLaboratory(one);
    await one.check("#stamp");
    await say(one, "later");
    assert.match((await received(2))[1], /^roost-demo \{"t":\d+(\.\d+)?,"n":2,"text":"later"\}$/);
  });

  test("says what it is and which version", async () => {
    const one = await open();
    const version = /Roost (\d+\.\d+\.\d+)/.exec(suite.daemon.output())[1];
    assert.equal(await one.textContent("h1"), `Roost ${version}`);
    assert.match(await one.textContent("header"), /daemon that holds very many WebSocket connections/);
  });

  test("moves to another channel, and says so in its address", async () => {
    const [one, two] = [await open("first"), await open("second")];
    assert.ok(await one.isHidden("#join-button"));
    await one.fill("#channel", "second");
    await one.click("#join-button");
    await hears(one, "open", "second");
    await say(two, "welcome");
    await hears(one, "in-text", "welcome");
    assert.equal(new URL(one.url()).hash, "#second");
    await one.evaluate(() => { location.hash = "#first"; }); // as if typed into the address bar
    await hears(one, "open", "first");
    await say(two, "gone?");
    await hears(two, "out-text", "gone?");
    assert.deepEqual(await bodies(one, "in-text"), ["welcome"]);
    await one.fill("#channel", "..");
    await one.press("#channel", "Enter");
    assert.match(await one.textContent("#explain"), /cannot be named/);
  });

  test("shows readyState from OPEN to CLOSED, and comes back only when asked once closed by hand", async () => {
    const page = await open();
    await openLaboratory(page);
    assert.equal(await page.getAttribute("#states li:nth-child(2)", "aria-current"), "step");
    assert.ok(await page.isHidden("#connect"));
    await page.click("#disconnect");
    await state(page, "3 CLOSED");
    assert.match(await page.textContent("#close-answer"), /^code 1005 \(no code given\)$/);
    await until("the head's words", async () => (await page.textContent("#words")) === "Not connected");
    await say(page, "into the void");
    assert.match(await page.textContent("#explain"), /nothing was sent/);
    assert.equal(await page.inputValue("#text"), "into the void", "the line is kept");
    await page.click("#connect");
    await state(page, "1 OPEN");
    await page.press("#text", "Enter");
    await hears(page, "out-text", "into the void");
  });

  test("keeps the order of 190 messages", async () => {
    const [one, two] = [await open("order"), await open("order")];
    await openLaboratory(one);
    await one.fill("#burst-count", "190");
    await one.fill("#burst-size", "1");
    await one.click("#burst");
    await hears(two, "in-text", "burst 190 of 190");
    assert.deepEqual(await bodies(two, "in-text"), Array.from({ length: 190 }, (_, n) => `burst ${n + 1} of 190 `));
  });

  test("carries binary both ways, byte for byte, and shows hex in two lines", async () => {
    const [one, two] = [await open("bytes"), await open("bytes")];
    const received = await listenBare(await open("elsewhere"), "bytes");
    await sendHex(one, "00 ff 7f 80 de ad be ef 41");
    const entry = await hears(two, "in-binary", "de ad be ef");
    assert.equal(entry.body, "00 ff 7f 80 de ad be ef 41\n·  ·  ·  ·  ·  ·  ·  ·  A");
    assert.equal(entry.size, "9 bytes of binary");

    const all = Array.from({ length: 256 }, (_, n) => n);
    await openLaboratory(two);
    await two.selectOption("#kind", "file");
    await two.setInputFiles("#file", { name: "all.bin", mimeType: "application/octet-stream", buffer: Buffer.from(all) });
    await two.click("#binary-form button");
    assert.match((await hears(one, "in-binary", "0e 0f …")).body, /^00 01 [^\n]+\n[^\n]+$/);

    await two.selectOption("#kind", "random");
    await two.fill("#random", "200000");
    await two.click("#binary-form button");
    await until("the large one", async () => (await hears(one, "in-binary", "…")).size === "195.3 KiB of binary");
    const bytes = await received(3);
    assert.deepEqual(bytes.slice(0, 2), [[0, 255, 127, 128, 222, 173, 190, 239, 65], all]);
    assert.equal(bytes[2].length, 200_000);
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
    const name = "tür/ 100% #1?&=+ 鳥 </script>";
    const [one, two, elsewhere] = [await open(name), await open(name), await open("tür")];
    await say(one, "in here");
    await hears(two, "in-text", "in here");
    assert.deepEqual(await bodies(elsewhere, "in-text"), []);
  });

  test("measures the latency of stamped texts, and the round trip on the echo", async () => {
    const [one, two] = [await open("timed"), await open("timed")];
    await openLaboratory(one);
    await one.check("#stamp");
    await say(one, "how long");
    const received = await hears(two, "in-text", "how long");
    assert.equal(received.body, "how long");
    assert.match(received.latency, /^\d+(\.\d+)? ms$/, "a latency of zero or more, without a word on clocks");
    await one.selectOption("#mode", "echo");
    await hears(one, "open", "echo");
    await sendHex(one, "de ad be ef");
    assert.match((await hears(one, "in-binary", "de ad be ef")).latency, /^\d+(\.\d+)? ms$/);
  });

  async function burst(page, count, size) {
    await openLaboratory(page);
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

  test("hears all of a burst, lists the newest 200 in a log that scrolls, and does not grow", async () => {
    const [one, two] = [await open("much"), await open("much")];
    const height = () => two.evaluate(() => document.documentElement.scrollHeight);
    const before = await height();
    for (const round of [1, 2, 3]) {
      await burst(one, 800, 1000); // less than the 1 MiB a reader may be behind, however busy the machine
      await until("all messages", async () => (await two.textContent("#received")).startsWith(`${(800 * round).toLocaleString("en")} ·`), 30_000);
    }
    assert.equal(await two.locator("#log .entry").count(), 200);
    assert.match((await bodies(two, "in-text")).at(-1), /^burst 800 of 800 /);
    assert.equal(await height(), before, "the page is as high as before");
    const log = await two.$eval("#log", (e) => ({ inside: e.scrollHeight, seen: e.clientHeight, below: e.scrollHeight - e.clientHeight - e.scrollTop }));
    assert.ok(log.inside > log.seen * 2, "the log scrolls in itself");
    assert.ok(log.below < 40, "the newest entry is in view");
  });

  test("stays where the reader has scrolled to, and leads to the newest", async () => {
    const [one, two] = [await open("reading"), await open("reading")];
    for (let n = 0; n < 30; n += 1) await say(one, `line ${n}`);
    await hears(two, "in-text", "line 29");
    const below = () => two.$eval("#log", (e) => e.scrollHeight - e.clientHeight - e.scrollTop);
    await two.$eval("#log", (e) => { e.scrollTop = 0; });
    await say(one, "meanwhile");
    await hears(two, "in-text", "meanwhile");
    assert.ok(await below() > 200);
    await two.click("#newest");
    assert.ok(await below() < 40);
    await until("the button's end", () => two.isHidden("#newest"));
  });

  test("closes with a code and a reason, and shows what the server answered", async () => {
    const page = await open("closing");
    await openLaboratory(page);
    await page.fill("#close-code", "4001");
    await page.fill("#close-reason", "enough für heute");
    await page.click("#close");
    await state(page, "3 CLOSED");
    assert.match(await page.textContent("#close-answer"), /^code 4001 \(the application's own\)/);
    assert.equal(await page.textContent("#explain"), "");
  });

  test("says in words why a code or a reason cannot be used", async () => {
    const page = await open("closing");
    await openLaboratory(page);
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
    await openLaboratory(page);
    await page.selectOption("#kind", "random");
    await page.fill("#random", "3000000");
    await page.click("#binary-form button");
    await hears(page, "close", "code 1009 (message too big)");
    await hears(page, "away", "Connected again");
  });

  test("is told 1013 when it reads too slowly, and the sender is not disturbed", async () => {
    const [one, two] = [await open("slow"), await open("slow")];
    const resume = await hold(two);
    await burst(one, 200, 131072);
    await until("a slow consumer", async () => JSON.parse((await suite.daemon.stats()).body).slow_consumers_total > 0);
    await resume();
    await hears(two, "close", "code 1013 ");
    assert.equal(await one.textContent("#state"), "1 OPEN");
    assert.deepEqual(await bodies(one, "close"), []);
  });

  test("is told 1001 when the daemon stops, counts attempts in one entry, and comes back with it", async () => {
    const first = await startDaemon();
    const [one, two] = [await open("lobby", undefined, first), await open("lobby", undefined, first)];
    await openLaboratory(two);
    await two.uncheck("#auto");
    assert.deepEqual(await first.stop(), { code: 0, signal: null });
    for (const page of [one, two]) {
      assert.match((await hears(page, "close", "1001")).body, /^Closed: code 1001 \(going away\), reason ".+"$/);
    }
    assert.match((await hears(one, "away", "2 attempts, next in")).body, /^Server away: 2 attempts, next in \d+ s\.$/);
    assert.match((await hears(one, "away", "3 attempts, next in")).body, /network panel says which/);
    assert.equal((await bodies(one, "away")).length, 1, "one entry counts");
    assert.equal((await bodies(one, "close")).length, 1, "an attempt that fails is no entry of its own");
    assert.equal(await one.textContent("#words"), "Reconnecting…");
    assert.equal(await one.textContent("#connect"), "Retry");
    assert.equal(await two.textContent("#words"), "Not connected", "the other was asked not to come back by itself");
    await say(one, "kept");
    assert.match(await one.textContent("#explain"), /nothing was sent/);

    await openLaboratory(one);
    await one.uncheck("#auto");
    await hears(one, "away", "Stopped after");
    await one.check("#auto");
    await one.click("#connect"); // nothing listens yet: it waits again

    const second = await startDaemon({ port: first.port });
    await state(one, "1 OPEN");
    await hears(one, "away", "Connected again after");
    await two.click("#connect");
    await state(two, "1 OPEN");
    await one.press("#text", "Enter");
    await hears(two, "in-text", "kept");
    await second.stop();
  });

  test("comes back by itself to a daemon that was killed and started again", async () => {
    const first = await startDaemon();
    const [one, two] = [await open("crash", undefined, first), await open("crash", undefined, first)];
    await say(one, "before");
    await hears(two, "in-text", "before");
    first.signal("SIGKILL");
    for (const page of [one, two]) await hears(page, "close", "Connection lost (code 1006)");
    await first.exited;
    const second = await startDaemon({ port: first.port });
    for (const page of [one, two]) await hears(page, "away", "Connected again after");
    await say(one, "after");
    await hears(two, "in-text", "after");
    assert.deepEqual(await bodies(two, "in-text"), ["before", "after"], "the log is kept");
    await second.stop();
  });
});
