// Event streams as clients read them: Chromium's EventSource and npm's eventsource, each by the same
// questions.

import assert from "node:assert/strict";
import http from "node:http";
import net from "node:net";
import { after, before, describe, test } from "node:test";
import { EventSource as NpmEventSource } from "eventsource";
import { chromium } from "playwright-core";
import { WebSocket } from "ws";
import { driver, listen, startDaemon, until } from "../daemon.mjs";

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"];
const HISTORY = ["channels.history_messages_max=5"];

/** What a client of either kind has seen: events in order, with name, data and id. */
const NAMES = ["message", "binary", "roost.lost", "roost.dropped"];

/** npm's eventsource. */
function npmClient(url, names = NAMES) {
  const seen = [];
  const source = new NpmEventSource(url);
  source.onopen = () => seen.push({ name: "open" });
  for (const name of names) {
    source.addEventListener(name, (event) => seen.push({ name, data: event.data, id: event.lastEventId }));
  }
  return { seen: async () => seen, close: async () => source.close() };
}

/** Chromium's. */
async function pageClient(page, url, names = NAMES) {
  const handle = await page.evaluateHandle(([url, names]) => {
    const seen = [];
    const source = new EventSource(url);
    source.onopen = () => seen.push({ name: "open" });
    for (const name of names) {
      source.addEventListener(name, (event) => seen.push({ name, data: event.data, id: event.lastEventId }));
    }
    return { seen, source };
  }, [url, names]);
  return {
    seen: () => handle.evaluate((it) => it.seen),
    close: () => handle.evaluate((it) => it.source.close()),
  };
}

/** A way to the daemon that can be cut, as a network is. */
async function cuttable(daemon) {
  const sockets = new Set();
  const server = net.createServer((client) => {
    const upstream = net.connect(daemon.port, daemon.host);
    for (const [from, to] of [[client, upstream], [upstream, client]]) {
      sockets.add(from);
      from.on("error", () => {}).on("close", () => { sockets.delete(from); to.destroy(); });
      from.pipe(to);
    }
  });
  const port = await listen(server);
  const cut = () => sockets.forEach((socket) => socket.destroy());
  return {
    url: `http://127.0.0.1:${port}`,
    cut,
    close: () => { cut(); server.close(); },
  };
}

/** A raw client that publishes. */
async function publisher(daemon, channel) {
  const socket = new WebSocket(`${daemon.ws}/raw/${channel}`);
  await new Promise((done, failed) => socket.once("open", done).once("error", failed));
  return socket;
}

describe(`event streams, driver ${driver ?? "by default"}`, { timeout: 120_000 }, () => {
  let daemon;
  let browser;
  let pages;
  let page;
  before(async () => {
    daemon = await startDaemon({ set: HISTORY });
    browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
    page = await browser.newPage();
    // A page of another origin: what it reads, it reads by CORS. It is of this machine, for Chromium lets
    // no other page connect to it.
    pages = http.createServer((_, response) => response.setHeader("content-type", "text/html").end("<title>events</title>"));
    await page.goto(`http://127.0.0.1:${await listen(pages)}/`);
  });
  after(async () => {
    await browser?.close();
    pages?.close();
    await daemon?.stop();
  });

  const kinds = [
    ["npm's eventsource", (url, names) => npmClient(url, names)],
    ["Chromium's EventSource", (url, names) => pageClient(page, url, names)],
  ];
  for (const [kind, open] of kinds) {
    const channel = `c${kind.length}`;
    const events = async (client) => (await client.seen()).filter((event) => event.name !== "open");
    const has = (client, count) => until(`${count} events`, async () => (await events(client)).length >= count);

    test(`${kind} gets texts, lines and bytes`, async () => {
      const client = await open(`${daemon.http}/sse/${channel}`);
      await until("the stream", async () => (await client.seen()).length > 0);
      const socket = await publisher(daemon, channel);
      socket.send("one");
      socket.send("two\nlines");
      socket.send("");
      socket.send(Buffer.from([0, 255]));
      await has(client, 4);
      const seen = await events(client);
      assert.deepEqual(seen.map(({ name, data }) => [name, data]), [
        ["message", "one"], ["message", "two\nlines"], ["message", ""], ["binary", "AP8="],
      ]);
      assert.match(seen[0].id, /^[0-9a-f]{16}-\d+$/);
      socket.terminate();
      await client.close();
    });

    test(`${kind} comes back by itself and misses nothing, until too much is gone`, async () => {
      const name = `${channel}-back`;
      const way = await cuttable(daemon);
      const client = await open(`${way.url}/sse/${name}`);
      const opens = async () => (await client.seen()).filter((event) => event.name === "open").length;
      await until("the stream", async () => await opens() === 1);
      const socket = await publisher(daemon, name);
      socket.send("one");
      await has(client, 1);
      way.cut(); // it comes back in a second at the earliest
      socket.send("two");
      socket.send("three");
      await until("it is back", async () => await opens() === 2, 30_000);
      await has(client, 3);
      assert.deepEqual((await events(client)).map((event) => event.data), ["one", "two", "three"]);
      way.cut();
      for (let n = 0; n < 6; n++) socket.send(`more ${n}`);
      await until("it is back again", async () => await opens() === 3, 30_000);
      await has(client, 4);
      const lost = (await events(client))[3];
      assert.equal(lost.name, "roost.lost");
      assert.equal(JSON.parse(lost.data).reason, "too_old");
      socket.terminate();
      await client.close();
      way.close();
    });

    test(`${kind} reads several channels by one stream, and misses nothing of any`, async () => {
      const names = [`${channel}-a`, `${channel}-b c`, `${channel}-d`];
      const query = new URLSearchParams(names.map((name) => ["channel", name]));
      const way = await cuttable(daemon);
      const client = await open(`${way.url}/sse?${query}`, [...names, ...NAMES]);
      const opens = async () => (await client.seen()).filter((event) => event.name === "open").length;
      await until("the stream", async () => await opens() === 1);
      const sockets = [];
      for (const name of names) sockets.push(await publisher(daemon, encodeURIComponent(name)));
      // One event tells that the last of them has begun: what is published before is not awaited.
      const of = async (name) => (await events(client)).filter((event) => event.name === name).map((event) => event.data);
      for (const [at, name] of names.entries()) {
        await until(`${name} begins`, async () => { sockets[at].send("start"); return (await of(name)).length > 0; });
      }
      const started = await events(client);
      const idOf = started.at(-1).id;
      assert.equal(idOf.match(/-/g).length, 3, idOf);
      way.cut();
      for (const [at] of names.entries()) {
        sockets[at].send(`missed ${at}`);
        sockets[at].send("and\nthis");
      }
      await until("it is back", async () => await opens() === 2, 30_000);
      for (const [at, name] of names.entries()) {
        await until(`${name} is back`, async () => (await of(name)).includes("and\nthis"));
        const data = (await of(name)).filter((data) => data !== "start");
        assert.deepEqual(data, [`missed ${at}`, "and\nthis"]);
      }
      assert.deepEqual(await of("roost.lost"), []);
      sockets[1].send(Buffer.from([1, 2]));
      await until("bytes", async () => (await of("binary")).length === 1);
      assert.deepEqual(JSON.parse((await of("binary"))[0]), { channel: names[1], base64: "AQI=" });
      // Of the first alone too much is gone.
      way.cut();
      for (let n = 0; n < 6; n++) sockets[0].send(`more ${n}`);
      sockets[2].send("last");
      await until("it is back again", async () => await opens() === 3, 30_000);
      await until("the loss", async () => (await of("roost.lost")).length === 1);
      await until("the last", async () => (await of(names[2])).includes("last"));
      assert.deepEqual(JSON.parse((await of("roost.lost"))[0]), { channel: names[0], reason: "too_old" });
      sockets.forEach((socket) => socket.terminate());
      await client.close();
      way.close();
    });
  }
});
