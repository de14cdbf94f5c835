// The admin page in Chromium, by way of a forwarded port, as an administrator on another machine has it.

import assert from "node:assert/strict";
import http from "node:http";
import { join } from "node:path";
import { after, afterEach, before, describe, test } from "node:test";
import { driver, listen, outputDirectory, startDaemon, until, within } from "../daemon.mjs";
import { client, configuration, forward } from "./clients.mjs";
import { faintTexts, unreadable } from "./looks.mjs";
import { browserAndDaemon, DESKTOP } from "./pages.mjs";

const PHONE = { viewport: { width: 360, height: 780 }, isMobile: true, hasTouch: true };

describe(`the admin page, driver ${driver ?? "by default"}`, { timeout: 300_000 }, () => {
  let settings, forwarded;
  const suite = browserAndDaemon(() => {
    settings = configuration('[[namespace]]\nname = "prices"\nslow_consumer = "drop_oldest"\n');
    return { file: settings.file };
  });
  const clients = [];
  before(async () => { forwarded = await forward(suite.daemon.admin); });
  after(() => { forwarded?.close(); settings?.remove(); });
  afterEach(() => { for (const one of clients.splice(0)) one.terminate(); });

  async function subscribe(channel, options, daemon = suite.daemon) {
    const one = await client(daemon, channel, options);
    clients.push(one);
    return one;
  }
  async function open(where = suite.context, url = forwarded.url) {
    const page = await suite.visit(url, where);
    await page.waitForSelector("#state[data-look=good]");
    return page;
  }
  const rows = (page, id) => page.$$eval(`#${id} tr`, (all) => all.map((row) => [...row.cells].map((cell) => cell.textContent)));
  const shows = (page, id, words) => until(`"${words}" in #${id}`, async () => (await page.textContent(`#${id}`)).includes(words));
  const stats = async () => JSON.parse((await suite.daemon.stats()).body);

  test("says what runs and that it is ready, and draws what it does", async () => {
    await subscribe("news", { user: "alice" });
    const page = await open();
    assert.equal(await page.textContent("#state-words"), "Ready");
    assert.equal(await page.textContent("#version"), (await stats()).version);
    await shows(page, "about", "up ");
    await until("a second sample", () => page.$eval("#rates figure:nth-of-type(2) b", (e) => e.textContent !== "–"));
    const charts = await page.$$eval("svg.chart", (all) => all.map((svg) => [svg.getAttribute("role"), svg.ariaLabel ?? svg.getAttribute("aria-label"), svg.querySelectorAll("text").length]));
    assert.equal(charts.length, 6);
    for (const [role, label, texts] of charts) {
      assert.equal(role, "img");
      assert.match(label, /over ten minutes.* now.*at most/);
      assert.equal(texts, 6, "three numbers and three times");
    }
    assert.match(charts[0][1], /^Connections over ten minutes. open: 1 now/);
    const reactors = await rows(page, "reactor-rows");
    assert.equal(reactors.length, (await stats()).reactors);
    await until("processor time", async () => (await rows(page, "reactor-rows")).every((row) => /^\d+\.\d %$/.test(row[3])));
  });

  test("finds a client by address, user and channel", async () => {
    await subscribe("news", { user: "alice", address: "203.0.113.7" });
    await subscribe("chat:berlin", { user: "bo", address: "198.51.100.23" });
    await subscribe("chat:berlin", { user: "carmen", address: "2001:db8:71::9c4" });
    const page = await open();
    await until("all three", async () => (await rows(page, "connection-rows")).length === 3);
    for (const [by, wanted, users] of [
      ["address", "198.51.100.0/24", ["bo"]], ["address", "2001:db8::/32", ["carmen"]], ["user", "alice", ["alice"]],
      ["channel", "chat:berlin", ["bo", "carmen"]], ["user", "zoe", []], ["dialect", "raw", ["alice", "bo", "carmen"]],
    ]) {
      await page.selectOption("#by", by);
      await page.fill("#wanted", wanted);
      await page.press("#wanted", "Enter");
      await until(`${by} ${wanted}`, async () => {
        const found = (await rows(page, "connection-rows")).map((row) => row[1]).sort();
        return JSON.stringify(found) === JSON.stringify(users);
      });
      await shows(page, "connections-said", users.length ? `Found ${users.length}.` : "None found.");
    }
    await page.selectOption("#by", "address");
    await page.fill("#wanted", "no address");
    await page.press("#wanted", "Enter");
    await shows(page, "connections-said", "address is one address, or a network");
    suite.complaints = []; // the browser reports the status 400
  });

  test("explains one, publishes to it, and disconnects it once that is confirmed", async () => {
    const alice = await subscribe("news", { user: "alice", address: "203.0.113.7" });
    const bo = await subscribe("news", { user: "bo", address: "203.0.113.8" });
    const page = await open();
    await page.selectOption("#by", "address");
    await page.fill("#wanted", "203.0.113.7");
    await page.click("#search button");
    await until("its row", async () => (await rows(page, "connection-rows")).length === 1);
    const [[name]] = await rows(page, "connection-rows");
    await page.click("#connection-rows button");
    await shows(page, "why-verdicts", "Nothing is wrong");
    await shows(page, "why-facts", "alice (role token");
    await shows(page, "why-facts", "203.0.113.7");
    await shows(page, "why-facts", "1: news");
    assert.equal(new URL(page.url()).hash, `#${name}`);
    await page.fill("#ask-channel", "sports");
    await page.press("#ask-channel", "Enter");
    await shows(page, "why-verdicts", "sports");
    await page.keyboard.press("Escape");
    assert.equal(await page.$eval("#why", (e) => e.open), false);

    await page.fill("#to", "news");
    await page.fill("#text", "to all 鳥");
    await page.press("#text", "Control+Enter");
    await shows(page, "published", "on news, 2 subscribers");
    for (const one of [alice, bo]) await until("the publication", () => one.received.includes("to all 鳥"));

    await page.click("#connection-rows button");
    await page.click("#kick");
    assert.equal(await page.evaluate(() => document.activeElement.id), "reason");
    await page.click("#keep");
    assert.ok(await page.isHidden("#kick-form"));
    assert.equal((await stats()).websockets_open, 2, "nothing was closed");
    await page.click("#kick");
    await page.fill("#code", "4000");
    await page.fill("#reason", "please update");
    await page.press("#reason", "Enter");
    await shows(page, "kicked", `${name} was disconnected.`);
    assert.deepEqual(await within(10_000, "the close frame", alice.ended), { code: 4000, reason: "please update" });
    assert.equal(bo.readyState, bo.OPEN);
    await until("that it has gone", () => page.isDisabled("#kick"));
    await page.click("#why-close");
    await until("an empty list", async () => (await rows(page, "connection-rows")).length === 0);
  });

  test("lists channels by prefix, and shows the subscribers of one", async () => {
    for (const [channel, user] of [["chat:a", "alice"], ["chat:a", "bo"], ["chat:b", "carmen"], ["news", "dmitri"]]) await subscribe(channel, { user });
    const page = await open();
    await until("all channels", async () => (await rows(page, "channel-rows")).length === 3);
    await page.fill("#prefix", "chat:");
    await page.press("#prefix", "Enter");
    await until("two channels", async () => (await rows(page, "channel-rows")).length === 2);
    assert.deepEqual((await rows(page, "channel-rows")).map(([name, , subscribers]) => [name, subscribers]), [["chat:a", "2"], ["chat:b", "1"]]);
    await page.click("#channel-rows button");
    await until("its subscribers", async () => (await rows(page, "connection-rows")).map((row) => row[1]).sort().join() === "alice,bo");
    assert.equal(await page.inputValue("#to"), "chat:a");
  });

  test("puts those that do not read first, and says so", async () => {
    for (let n = 0; n < 30; n += 1) await subscribe("news", { user: `reader${n}` });
    const slow = await subscribe("prices:depth", { user: "slow", address: "198.51.100.99" });
    slow._socket.pause();
    const page = await open();
    const filled = "x".repeat(200_000);
    const publisher = await subscribe("prices:depth", { user: "feed" });
    await until("bytes that wait", async () => {
      publisher.send(filled);
      return (await stats()).outbox_bytes > 300_000;
    }, 30_000);
    await until("it stands first", async () => (await rows(page, "connection-rows"))[0]?.[1] === "slow", 20_000);
    await page.click("#connection-rows button");
    await until("why", async () => /drop_oldest|receive window/.test(await page.textContent("#why-verdicts")));
    await page.keyboard.press("Escape");
    await page.check("#waiting");
    await until("it alone", async () => (await rows(page, "connection-rows")).map((row) => row[1]).join() === "slow");
  });

  test("shows names as they are, whatever they say in HTML", async () => {
    const evil = (n) => `<img src=x onerror="window.evil=${n}">`;
    const one = await subscribe(`${evil(1)}</script><script>window.evil=2</script>`, { user: evil(3) });
    await subscribe("news", { user: "</td><td>bo" });
    const page = await open();
    await shows(page, "connection-rows", evil(3));
    await shows(page, "connection-rows", "</td><td>bo");
    await shows(page, "channel-rows", evil(1));
    await page.click(`#connection-rows tr:has-text("onerror") button`);
    await shows(page, "why-facts", evil(1));
    await page.click("#kick");
    await page.fill("#reason", evil(4));
    await page.press("#reason", "Enter");
    assert.equal((await within(10_000, "the close frame", one.ended)).reason, evil(4));
    await shows(page, "kicked", "disconnected");
    await page.keyboard.press("Escape");
    await page.fill("#to", `${evil(5)}`);
    await page.fill("#text", evil(6));
    await page.click("#publish-form button");
    await shows(page, "published", evil(5));
    const found = await page.evaluate(() => [window.evil, document.querySelectorAll("img").length, document.scripts.length]);
    assert.deepEqual(found, [undefined, 0, 1]);
    const error = await page.evaluate(() => { try { document.body.innerHTML = "<b>x</b>"; return ""; } catch (e) { return e.name; } });
    assert.equal(error, "TypeError", "the policy lets no text become markup");
    suite.complaints = []; // what was tried just now, and that nothing subscribes to that channel
  });

  test("pages of other sites change nothing, read nothing and frame nothing", async () => {
    const one = await subscribe("news", { user: "alice" });
    const publishesBefore = (await stats()).publishes_total;
    const server = http.createServer((_, response) => response.setHeader("Content-Type", "text/html").end("<title>elsewhere</title>"));
    const port = await listen(server);
    const page = await suite.context.newPage(); // its complaints are wanted
    await page.goto(`http://localhost:${port}/`);
    const tried = await page.evaluate(async (url) => {
      const name = (error) => error.name;
      const post = await fetch(`${url}publish?channel=news`, { method: "POST", mode: "no-cors", body: "evil" }).then((r) => r.type, name);
      const read = await fetch(`${url}connections`).then((r) => r.text(), name);
      const kick = await fetch(`${url}connections/r0-0.1`, { method: "DELETE" }).then((r) => r.text(), name);
      document.body.insertAdjacentHTML("beforeend", `<form method=post target=frame action="${url}publish?channel=news"></form><iframe name=frame></iframe><iframe id=page src="${url}"></iframe>`);
      document.forms[0].submit();
      await new Promise((done) => { document.getElementById("page").onload = done; });
      return { post, read, kick };
    }, forwarded.url);
    assert.equal(tried.read, "TypeError");
    assert.equal(tried.kick, "TypeError");
    assert.match(tried.post, /opaque|TypeError/);
    const frame = page.frames().find((one_) => one_.url().startsWith("chrome-error:") || one_.parentFrame()?.url() === page.url());
    assert.equal(await frame.locator("#publish-form").count(), 0, "it is not shown in a frame");
    assert.equal((await stats()).publishes_total, publishesBefore);
    assert.equal(one.readyState, one.OPEN);
    server.close();
  });

  test("can only be read at a TCP address", async () => {
    const own = await startDaemon({ file: settings.file, set: ["admin.listen=127.0.0.1:0"] });
    try {
      await subscribe("news", { user: "alice" }, own);
      const [, address] = await until("the address", () => /admin listener address=(\S+)/.exec(own.output()));
      const page = await open(suite.context, `http://${address}/`);
      assert.ok(await page.isHidden("#publish-form"));
      assert.match(await page.textContent("#publish"), /read-only/);
      await page.click("#connection-rows button");
      await shows(page, "why-verdicts", "Nothing is wrong");
      assert.ok(await page.isHidden("#kick"));
    } finally {
      await own.stop();
    }
  });

  test("says that the daemon drains or is away, and comes back by itself", async () => {
    const first = await startDaemon({ file: settings.file });
    const way = await forward(first.admin);
    try {
      const silent = await subscribe("news", { user: "alice" }, first);
      const page = await open(suite.context, way.url);
      silent._socket.pause(); // it does not answer the close frame
      first.signal("SIGTERM");
      await shows(page, "state-words", "Not ready: draining");
      first.signal("SIGKILL");
      await shows(page, "state-words", "Away since");
      assert.equal(await page.getAttribute("#state", "data-look"), "bad");
      const second = await startDaemon({ file: settings.file, admin: first.admin });
      await shows(page, "state-words", "Ready");
      await page.close(); // it would ask on when the daemon has ended
      await second.stop();
    } finally {
      way.close();
    }
    suite.complaints = []; // the browser reports each request that fails
  });

  test("asks for nothing while it is paused", async () => {
    const page = await suite.context.newPage();
    await page.clock.install();
    await page.goto(forwarded.url);
    await page.waitForSelector("#state[data-look=good]");
    await page.click("#pause");
    await shows(page, "state-words", "Paused");
    let asked = 0;
    page.on("request", () => { asked += 1; });
    await page.clock.runFor(60_000);
    assert.equal(asked, 0);
    await page.click("#pause");
    await shows(page, "state-words", "Ready");
    assert.ok(asked > 0);
  });

  test("fits a phone of 360 px and a desktop, light and dark, with the contrast of WCAG AA", async () => {
    await subscribe(`chat:${"long".repeat(40)}`, { user: "someone.with.a.very.long.name@company.example", address: "2001:db8:7171:9c49:1111:2222:3333:4444" });
    await subscribe("news", { user: "alice" });
    for (const colorScheme of ["light", "dark"]) {
      for (const [device, options] of [["phone", PHONE], ["desktop", DESKTOP]]) {
        const context = await suite.context.browser().newContext({ ...options, colorScheme });
        const page = await open(context);
        await until("both", async () => (await rows(page, "connection-rows")).length === 2);
        const sideways = () => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        assert.equal(await sideways(), 0, `${device}: nothing sticks out sideways`);
        assert.deepEqual(await page.evaluate(faintTexts), [], `${device}, ${colorScheme}`);
        assert.deepEqual(await page.evaluate(unreadable), []);
        if (device === "phone") {
          const small = await page.$$eval("button:not(.link), select, input:not([type=checkbox]), label.check", (all) =>
            all.filter((e) => e.offsetParent && e.getBoundingClientRect().height < 44).map((e) => e.id || e.textContent));
          assert.deepEqual(small, [], "each control is at least 44 px high");
        }
        await page.screenshot({ path: join(outputDirectory, `admin-${device}-${colorScheme}.png`), fullPage: true });
        await page.click(`#connection-rows tr:has-text("someone") button`);
        await shows(page, "why-facts", "someone.with");
        await page.click("#kick");
        const wide = await page.$eval("#why", (e) => e.scrollWidth - e.clientWidth);
        assert.equal(wide, 0, `${device}: nothing sticks out of the dialog`);
        assert.deepEqual(await page.evaluate(faintTexts), [], `${device}, ${colorScheme}, the dialog`);
        assert.deepEqual(await page.evaluate(unreadable), []);
        await page.screenshot({ path: join(outputDirectory, `admin-${device}-${colorScheme}-why.png`) });
        await context.close();
      }
    }
  });

  test("is read in the order it is seen, and used with the keyboard alone", async () => {
    await subscribe("news", { user: "alice" });
    const page = await open();
    await until("its row", async () => (await rows(page, "connection-rows")).length === 1);
    await until("its channel", async () => (await rows(page, "channel-rows")).length === 1);
    const order = [];
    for (let n = 0; n < 20; n += 1) {
      await page.keyboard.press("Tab");
      const at = await page.evaluate(() => (document.activeElement === document.body ? "" : document.activeElement.id || document.activeElement.textContent.trim()));
      if (at === "") break;
      order.push(at.startsWith("r0-") || /^r\d+-/.test(at) ? "a connection" : at);
    }
    assert.deepEqual(order.slice(0, 15), ["pause", "Connections", "Channels", "Troubles", "Publish", "Reactors",
      "by", "wanted", "Search", "waiting", "a connection", "prefix", "Search", "news", "to"]);
    await page.focus("#connection-rows button");
    await page.keyboard.press("Enter");
    await shows(page, "why-verdicts", "Nothing is wrong");
    assert.equal(await page.evaluate(() => document.activeElement.id), "why-name");
    await page.keyboard.press("Escape");
    assert.match(await page.evaluate(() => document.activeElement.textContent), /^r\d+-/, "the focus is where it was");
    const landmarks = await page.$$eval("header, nav, main, [role=search], [role=status]", (all) => all.length);
    assert.ok(landmarks >= 8);
    const heads = await page.$$eval("th", (all) => all.every((e) => ["col", "row"].includes(e.scope)));
    assert.ok(heads, "each header says what it is of");
  });
});
