// Takes the pictures of docs/: the admin page on a desktop, and on a phone in the dark. Not a test; run it by
// hand, and look at what it made:
//
//   node admin_picture.mjs
//
// Connections, channels and verdicts are those of a daemon with clients of made-up names and addresses of
// documentation (RFC 5737, RFC 3849). The page's clock is moved through ten minutes in seconds; what `/stats`
// says of them is made up here.

import { resolve } from "node:path";
import { startDaemon, until } from "../daemon.mjs";
import { CHROMIUM, FLAGS, chromium } from "./chromium.mjs";
import { client, configuration, forward } from "./clients.mjs";

const NAMES = "alice bo.larsen carmen dmitri eun-ji fatima g.rossi hanna ibrahim j.novak kofi lea nadia olivia pavel q.tran rosa sven tomas vera xenia yusuf zoe".split(" ");
const CHANNELS = { "chat:lobby": 96, "chat:support": 61, "prices:eurusd": 48, "news": 37, "chat:berlin": 30, "prices:btcusd": 22, "game:4711": 9, "game:4712": 8, "fleet:truck-17": 4, "fleet:truck-18": 3 };
const SHOWN = "localhost:9090"; // what a reader sees; the browser is told to go to the forwarded port
const docs = resolve(import.meta.dirname, "../../docs");
const totals = {}; // of made-up counters, at each tick
let seed = 7;
const random = () => { seed = (seed * 16807) % 2147483647; return seed / 2147483647; };
const pick = (list) => list[Math.floor(random() * list.length)];
const address = () => (random() < 0.3 ? `2001:db8:${Math.floor(random() * 65536).toString(16)}::${Math.floor(random() * 65536).toString(16)}`
  : `${pick(["203.0.113", "198.51.100", "192.0.2"])}.${1 + Math.floor(random() * 254)}`);

const settings = configuration(`[[namespace]]
name = "chat"
history_messages_max = 50
[[namespace]]
name = "prices"
slow_consumer = "drop_oldest"
[[namespace]]
name = "game"
[[namespace]]
name = "fleet"
`);
const daemon = await startDaemon({ file: settings.file, set: ["server.reactors=4", "limits.ping_interval=10m"] });
const forwarded = await forward(daemon.admin);
const browser = await chromium.launch({
  executablePath: CHROMIUM,
  args: [...FLAGS, `--host-resolver-rules=MAP localhost:9090 ${new URL(forwarded.url).host}`],
});
try {
  const clients = await fill();
  await picture("admin.png", clients, { viewport: { width: 1280, height: 960 }, colorScheme: "light" });
  await picture("admin-phone-dark.png", clients, { viewport: { width: 360, height: 780 }, deviceScaleFactor: 1.5, isMobile: true, hasTouch: true, colorScheme: "dark" }, async (page) => {
    await page.locator("#connection-rows button").first().click();
    await page.clock.runFor(100);
    await until("why", async () => (await page.textContent("#why-facts")) !== "");
    await page.evaluate(() => document.activeElement.blur());
  });
} finally {
  await browser.close();
  forwarded.close();
  daemon.signal("SIGKILL");
  settings.remove();
}

/** Clients, of which three do not read. */
async function fill() {
  const [all, publishers] = [[], []];
  for (const [channel, subscribers] of Object.entries(CHANNELS)) {
    for (let n = 0; n < subscribers; n += 1) {
      const one = await client(daemon, channel, { user: random() < 0.85 ? pick(NAMES) : "", address: address() });
      all.push(one);
      if (n === 0) publishers.push({ one, weight: Math.ceil(subscribers / 8) });
    }
  }
  const slow = [];
  for (const user of ["m.okafor", "kofi", "w.schmidt"]) slow.push(await client(daemon, "prices:depth", { user, address: address() }));
  const feed = await client(daemon, "prices:depth", { user: "feed", address: address() });
  slow[0]._socket.pause();
  slow[1]._socket.pause();
  const backlogged = async () => JSON.parse((await daemon.stats()).body);
  await until("bytes that wait", async () => {
    for (let n = 0; n < 5; n += 1) feed.send("d".repeat(23_000));
    return (await backlogged()).outbox_bytes > 900_000;
  }, 60_000);
  return { all, publishers };
}

async function picture(file, { all, publishers }, device, before = async () => {}) {
  const page = await (await browser.newContext({ ...device, timezoneId: "UTC" })).newPage();
  await page.clock.install({ time: "2026-03-11T09:50:00Z" });
  let [tick, answered] = [0, 0];
  for (const [path, made] of [["**/stats", madeUp], ["**/stats/reactors", madeUpReactors]]) {
    await page.route(path, async (route) => {
      const real = await (await route.fetch({ url: new URL(path.slice(3), forwarded.url).href })).json();
      await route.fulfill({ json: made(real, tick) });
      answered += 1;
    });
  }
  await page.goto(`http://${SHOWN}/`);
  await until("the first sample", () => answered === 2);
  await page.clock.pauseAt("2026-03-11T09:51:00Z"); // time passes only below, but for this minute, a gap in the curves
  await until("another", () => answered > 2 && answered % 2 === 0);
  const begun = answered;
  for (tick = 1; tick <= 300; tick += 1) {
    for (const { one, weight } of publishers) for (let n = 0; n < weight; n += 1) if (random() < 0.12) one.send('{"text":"hello"}');
    pick(all).ping(); // bytes of its own, now and then
    await page.clock.runFor(2_000);
    await until(`sample ${tick}`, async () => {
      if (answered >= begun + 2 * tick) return true;
      await page.clock.runFor(20); // the page had not yet set its timer
      return false;
    });
  }
  await page.waitForSelector("#state[data-look=good]");
  await before(page);
  await page.screenshot({ path: resolve(docs, file) });
  await page.context().close();
}

/** Around 1: a slow wave of the load that all share, and noise of its own, the same at each call. */
function load(tick, noise, of = 0) {
  const dice = (n) => { const x = Math.sin(n * 12.9898 + of * 78.233) * 43758.5453; return x - Math.floor(x) - 0.5; };
  const smooth = (n, step) => { const at = n / step; const k = Math.floor(at); return dice(k) + (dice(k + 1) - dice(k)) * (at - k); };
  const shared = 0.18 * Math.sin(tick / 37) + 0.1 * Math.sin(tick / 11 + 1) + 0.0012 * (tick - 150);
  return 1 + shared + noise * (0.6 * smooth(tick, 7) + 0.7 * dice(tick));
}

function total(name, tick, perTick, start = 0) {
  const all = (totals[name] ??= [start]);
  while (all.length <= tick) all.push(all.at(-1) + Math.max(0, Math.round(perTick(all.length))));
  return all[tick];
}

function madeUp(real, tick) {
  const grown = Math.round(4 * Math.sin(tick / 40) + 3 * Math.sin(tick / 13) - (300 - tick) / 9);
  return {
    ...real,
    uptime_seconds: 11 * 86_400 + 4 * 3_600 + 2 * tick,
    connections_open: real.connections_open + grown,
    websockets_open: real.websockets_open + grown - (tick % 7 === 0),
    text_messages_received_total: total("in", tick, (n) => 790 * load(n, 0.25), 48_211_903),
    deliveries_total: total("out", tick, (n) => 3_400 * load(n, 0.2, 1), 1_804_771_220),
    received_bytes_total: total("bytes in", tick, (n) => 94_000 * load(n, 0.25)),
    sent_bytes_total: total("bytes out", tick, (n) => 390_000 * load(n, 0.2, 1)),
    connections_accepted_total: total("new", tick, (n) => 5 * load(n, 1.1, 2)),
    connections_closed_total: total("closed", tick, (n) => 4.8 * load(n, 1.1, 3)),
    outbox_bytes: tick < 170 ? Math.round(90_000 * Math.max(0, load(tick, 1.6, 4) - 1.6)) : Math.min(real.outbox_bytes, Math.round((tick - 170) * 24_000 * load(tick, 0.1, 5))),
    ping_timeouts_total: 41 + (tick > 90) + (tick > 210),
    abnormal_closes_total: 212 + Math.floor(tick / 60),
    slow_consumers_total: 3,
    handshakes_refused_total: 17,
  };
}

function madeUpReactors(real, tick) {
  return real.map((one) => ({
    ...one,
    loop_iterations_total: total(`loops ${one.reactor}`, tick, (n) => (900 + 240 * one.reactor) * load(n, 0.2, one.reactor + 6)),
    cpu_ms_total: total(`cpu ${one.reactor}`, tick, (n) => 10 * Math.round((11 + 4 * ((one.reactor * 3) % 4)) * load(n, 0.25, one.reactor + 6))),
  }));
}
