
"use strict";
const $ = (id) => document.getElementById(id);
const READ_ONLY = document.documentElement.dataset.access !== "full";

// ---- 1. Asking --------------------------------------------------------------------------------

/** The server has answered, with something else than what was asked for. */
class Refused extends Error {
  constructor(status, text) {
    super(text.trim() || `It answered with status ${status}.`);
    this.status = status;
  }
}

async function ask(path, options = {}) {
  const response = await fetch(path, { signal: AbortSignal.timeout(ANSWER_MS), cache: "no-store", ...options });
  if (!response.ok) throw new Refused(response.status, await response.text());
  return response;
}

const json = async (path, options) => (await ask(path, options)).json();

/** A page of a list, an object a line, and the path of the next page, if there is one. */
async function list(path) {
  const response = await ask(path);
  const lines = (await response.text()).split("\n").filter(Boolean);
  // RFC 8288: </connections?cursor=0.7>; rel="next"
  const next = /^<([^>]*)>; *rel="next"/.exec(response.headers.get("Link") ?? "");
  return { items: lines.map((line) => JSON.parse(line)), next: next?.[1] ?? null };
}

const query = (pairs) => new URLSearchParams(Object.entries(pairs).filter(([, value]) => value !== "")).toString();

/** Why something was not done, in words. */
function inWords(error) {
  if (error instanceof Refused) {
    const what = { 503: "It cannot do that now", 504: "A reactor has not answered" }[error.status];
    return what ? `${what}: ${error.message}` : error.message;
  }
  if (error.name === "TimeoutError") return `No answer within ${ANSWER_MS / 1000} s.`;
  return "No connection to the daemon: it has stopped, or the way to it is cut.";
}

const ANSWER_MS = 10_000;

// ---- 2. Samples: counters over the last ten minutes -------------------------------------------

const INTERVAL_MS = 2_000;
const WINDOW_MS = 600_000;
const GAP_MS = 3 * INTERVAL_MS; // Longer between two samples is a gap: the page was hidden, or the daemon away.
let samples = []; // the oldest first
let failures = 0; // in a row
let awaySince = null;
let timer = null;
let paused = false;

async function sample() {
  clearTimeout(timer);
  try {
    const [stats, reactors] = await Promise.all([json("/stats"), json("/stats/reactors")]);
    failures = 0;
    awaySince = null;
    take(stats, reactors);
    showSample(stats, reactors);
  } catch (error) {
    failures += 1;
    awaySince ??= Date.now();
    awayWords = inWords(error);
  }
  if (!failures) showReadiness();
  showState();
  // Hidden pages ask for nothing. A daemon that is away is asked less and less often.
  const delay = failures ? Math.min(15_000, 500 * 2 ** failures) : INTERVAL_MS;
  nextTry = Date.now() + delay;
  clearTimeout(timer); // of another that was under way
  if (isWatching()) timer = setTimeout(sample, delay);
}

const isWatching = () => !paused && document.visibilityState === "visible";

function take(stats, reactors) {
  const now = { at: Date.now(), up: stats.uptime_seconds, stats, reactors };
  const last = samples.at(-1);
  if (last && now.up < last.up) restartedAt = now.at - 1000 * now.up;
  const before = last && now.at > last.at && now.at - last.at < GAP_MS && now.up >= last.up ? last : null;
  now.values = CHARTS.map(({ series }) => series.map(({ value }) => value(now, before)));
  now.cpu = reactors.map((one, n) => percent(one, before?.reactors[n], now, before));
  now.loops = reactors.map((one, n) => before && perSecond(one.loop_iterations_total, before.reactors[n].loop_iterations_total, now, before));
  now.troubles = TROUBLES.map(([name]) => (name === DROPPED ? dropped(stats) : stats[name] ?? 0));
  if (last) last.stats = last.reactors = null; // what is drawn stays
  samples = [...samples, now].filter((one) => now.at - one.at <= WINDOW_MS);
}

const perSecond = (to, from, now, before) => Math.max(0, to - from) / ((now.at - before.at) / 1000);

function percent(one, earlier, now, before) {
  if (!earlier || one.cpu_ms_total === null || earlier.cpu_ms_total === null) return null;
  return perSecond(one.cpu_ms_total, earlier.cpu_ms_total, now, before) / 10;
}

const gauge = (...names) => ({ stats }) => names.reduce((sum, name) => sum + (stats[name] ?? 0), 0);
const rate = (...names) => (now, before) => before && perSecond(gauge(...names)(now), gauge(...names)(before), now, before);
const cpu = (pick) => (now, before) => {
  const all = now.reactors.map((one, n) => percent(one, before?.reactors[n], now, before)).filter((value) => value !== null);
  return all.length ? pick(all) : null;
};
const dropped = (stats) => [stats.default_namespace, ...Object.values(stats.namespaces ?? {})]
  .reduce((sum, one) => sum + (one?.dropped_oldest_total ?? 0) + (one?.dropped_newest_total ?? 0), 0);

const CHARTS = [
  { title: "Connections", format: compact, series: [
    { name: "open", value: gauge("connections_open") }, { name: "WebSockets", value: gauge("websockets_open") }] },
  { title: "Messages a second", format: compact, series: [
    { name: "received", value: rate("text_messages_received_total", "binary_messages_received_total") },
    { name: "delivered", value: rate("deliveries_total") }] },
  { title: "Bytes a second", format: bytes, series: [
    { name: "received", value: rate("received_bytes_total") }, { name: "sent", value: rate("sent_bytes_total") }] },
  { title: "New and closed a second", format: compact, series: [
    { name: "new", value: rate("connections_accepted_total") }, { name: "closed", value: rate("connections_closed_total") }] },
  { title: "Waiting for slow clients", format: bytes, series: [{ name: "bytes", value: gauge("outbox_bytes") }],
    beside: ({ stats }) => `${count(stats.connections_backlogged)} behind` },
  { title: "Processor", format: (value) => `${value < 10 ? Math.round(value * 10) / 10 : Math.round(value)} %`, series: [
    { name: "busiest reactor", value: cpu((all) => Math.max(...all)) },
    { name: "mean", value: cpu((all) => all.reduce((sum, one) => sum + one, 0) / all.length) }] },
];

const DROPPED = "dropped_…_total";
const TROUBLES = [ // counters of /stats, and what they mean
  ["refused_connections_max_total", "new connections refused: the server was full"],
  ["refused_per_address_total", "new connections refused: too many from one address"],
  ["accept_limit_total", "accepts without a free descriptor or slot"],
  ["accept_pauses_total", "pauses of accepting"],
  ["handshakes_refused_total", "handshakes refused"],
  ["handshake_timeouts_total", "handshakes too slow"],
  ["tls_handshakes_failed_total", "TLS handshakes failed"],
  ["tokens_refused_total", "tokens refused"],
  ["hooks_unavailable_total", "hooks that did not answer"],
  ["http_responses_5xx_total", "HTTP answers of 500 to 599"],
  ["publishes_refused_total", "publishes refused"],
  ["subscriptions_refused_total", "subscriptions refused"],
  ["slow_consumers_total", "slow consumers closed"],
  [DROPPED, "messages dropped for slow consumers"],
  ["closed_memory_limit_total", "connections closed: memory limit"],
  ["protocol_errors_total", "protocol errors"],
  ["ping_timeouts_total", "pings without an answer"],
  ["abnormal_closes_total", "ends without a close frame"],
  ["publishers_paused_total", "pauses of publishers"],
  ["channel_backpressure_total", "channels that fell behind"],
  ["recoveries_lost_total", "recoveries with something missing"],
  ["histories_evicted_total", "histories dropped: memory limit"],
  ["reloads_failed_total", "reloads with a mistake"],
  ["log_lines_dropped_total", "log lines lost"],
];

// ---- 3. State ---------------------------------------------------------------------------------

let readiness = null; // what /ready says: { isReady, words }
let awayWords = "";
let nextTry = 0;
let restartedAt = null;

async function showReadiness() {
  try {
    await ask("/ready");
    readiness = { isReady: true, words: "Ready" };
  } catch (error) {
    readiness = { isReady: false, words: error instanceof Refused ? `Not ready: ${error.message.replaceAll("\n", "; ")}` : inWords(error) };
  }
  showState();
}

function showState() {
  let [look, words] = ["wait", "Asking…"];
  if (awaySince) [look, words] = ["bad", `Away since ${clock(awaySince)}. ${awayWords}`];
  else if (readiness) [look, words] = [readiness.isReady ? "good" : "bad", readiness.words];
  if (!awaySince && restartedAt && Date.now() - restartedAt < WINDOW_MS) words += `. Started again at ${clock(restartedAt)}`;
  if (paused) [look, words] = ["wait", "Paused"];
  $("state").dataset.look = look;
  document.title = `${look === "bad" ? "! " : ""}Roost ${location.host}`;
  setText($("state-words"), words);
  setText($("next-try"), awaySince && isWatching() ? `next try in ${Math.max(0, Math.ceil((nextTry - Date.now()) / 1000))} s` : "");
}

function showSample(stats, reactors) {
  setText($("version"), stats.version ?? "");
  setText($("about"), [location.host, `up ${duration(stats.uptime_seconds)}`, stats.driver, `${reactors.length} ${reactors.length === 1 ? "reactor" : "reactors"}`,
    `${count(stats.home_channels)} channels`, `${count(stats.subscriptions)} subscriptions`].filter(Boolean).join(" · "));
  drawCharts();
  showTroubles();
  showReactors(reactors);
}

function showTroubles() {
  const [first, last] = [samples.find(({ at }) => at >= (restartedAt ?? 0)), samples.at(-1)];
  const rows = TROUBLES.map(([name, words], n) => ({ name, words, recent: last.troubles[n] - first.troubles[n], all: last.troubles[n] }))
    .filter(({ all }) => all > 0).sort((a, b) => b.recent - a.recent);
  fill($("trouble-rows"), rows, ({ name }) => name, (row, { name, words, recent, all }) => {
    setCells(row, [words, count(recent), count(all)], ["", "number", "number"]);
    row.title = `${name} (docs/counters.md)`;
    row.classList.toggle("late", recent > 0);
  });
  $("troubles").querySelector("table").hidden = rows.length === 0;
  const seconds = Math.round((last.at - first.at) / 1000);
  setText($("troubles-said"), rows.length === 0 ? "None since the start." : seconds < 595 ? `This page has watched for ${duration(seconds)} so far.` : "");
}

function showReactors(reactors) {
  const { cpu: cpuNow, loops } = samples.at(-1);
  fill($("reactor-rows"), reactors, ({ reactor }) => reactor, (row, one) => {
    const n = one.reactor;
    setCells(row, [`r${n}`, count(one.connections_open), loops[n] == null ? "–" : compact(loops[n]), cpuNow[n] == null ? "–" : `${cpuNow[n].toFixed(1)} %`, null],
      ["", "number", "number", "number", ""]);
    const svg = row.cells[4].firstChild ?? row.cells[4].appendChild(shape("svg", { class: "spark", viewBox: "0 0 100 18", preserveAspectRatio: "none", "aria-hidden": "true" }));
    const d = line(({ cpu: all }) => all[n], (at) => 100 * (1 - (samples.at(-1).at - at) / WINDOW_MS), (value) => 17 - 16 * Math.min(1, value / 100));
    svg.replaceChildren(shape("path", { d, "vector-effect": "non-scaling-stroke" }));
  });
}

// ---- 4. Charts --------------------------------------------------------------------------------

const LEFT = 54; // room for the numbers of the axis
const FOOT = 16; // and of the times
let lookedAt = null; // the time under the pointer, on all charts

for (const chart of CHARTS) {
  const figure = make("figure");
  const values = make("ul");
  chart.values = chart.series.map(({ name }) => {
    const [item, value] = [make("li", "", `${name} `), make("b", "", "–")];
    item.append(value);
    values.append(item);
    return value;
  });
  if (chart.beside) values.append((chart.besides = make("li", "plain")));
  chart.svg = shape("svg", { class: "chart", role: "img" });
  figure.append(make("h3", "", chart.title), values, chart.svg);
  $("rates").append(figure);
  chart.svg.addEventListener("pointermove", (event) => {
    const { left, width } = chart.svg.getBoundingClientRect();
    const share = (event.clientX - left - LEFT) / (width - LEFT);
    lookedAt = samples.length && share >= 0 ? samples.at(-1).at - WINDOW_MS * (1 - share) : null;
    drawCharts();
  });
  chart.svg.addEventListener("pointerleave", () => { lookedAt = null; drawCharts(); });
}
new ResizeObserver(() => drawCharts()).observe($("rates"));

function drawCharts() {
  if (samples.length === 0) return;
  const near = lookedAt === null ? samples.at(-1)
    : samples.reduce((best, one) => (Math.abs(one.at - lookedAt) < Math.abs(best.at - lookedAt) ? one : best));
  CHARTS.forEach((chart, n) => drawChart(chart, n, near));
}

function drawChart({ svg, title, series, values, format, beside, besides }, n, near) {
  const { width, height } = svg.getBoundingClientRect();
  if (width === 0) return;
  const now = samples.at(-1).at;
  const most = Math.max(0, ...samples.flatMap((one) => one.values[n].filter((value) => value !== null)));
  const top = roundUp(most, format === bytes);
  const [x, y] = [(at) => LEFT + (width - LEFT) * (1 - (now - at) / WINDOW_MS), (value) => height - FOOT - (height - FOOT - 8) * (value / top)];
  const parts = [0, top / 2, top].flatMap((value) => [
    shape("line", { class: "grid", x1: LEFT, x2: width, y1: Math.round(y(value)), y2: Math.round(y(value)) }),
    shape("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, format(value)),
  ]);
  for (const [minutes, anchor] of [[10, "start"], [5, "middle"], [0, "end"]]) {
    parts.push(shape("text", { x: x(now - minutes * 60_000), y: height - 3, "text-anchor": anchor }, minutes ? `${minutes} min ago` : "now"));
  }
  series.forEach((_, k) => parts.push(shape("path", { class: k ? "second" : "", d: line((one) => one.values[n][k], x, y) })));
  if (lookedAt !== null) parts.push(shape("line", { class: "look", x1: x(near.at), x2: x(near.at), y1: 4, y2: height - FOOT }));
  svg.replaceChildren(...parts);
  const shown = (value) => (value === null ? "–" : format(value));
  values.forEach((value, k) => setText(value, shown(near.values[n][k])));
  if (beside) setText(besides, lookedAt === null ? beside(near) : clock(near.at));
  svg.setAttribute("aria-label", `${title} over ten minutes. ${series.map(({ name }, k) => `${name}: ${shown(samples.at(-1).values[n][k])} now`).join(", ")}; at most ${format(most)}`);
}

/** A path through all samples that have a value, with a gap where there was none. */
function line(valueOf, x, y) {
  let [d, before] = ["", null];
  for (const one of samples) {
    const value = valueOf(one) ?? null;
    const joins = before !== null && one.at - before < GAP_MS;
    if (value !== null) d += `${joins ? "L" : "M"}${x(one.at).toFixed(1)} ${y(value).toFixed(1)}`;
    before = value === null ? null : one.at;
  }
  return d;
}

/** The next number that an axis ends with well: 1, 2, 4 or 10 times a power of ten, or of 1024. */
function roundUp(value, isBytes) {
  let unit = 1;
  if (isBytes) do unit *= 1024; while (unit * 1024 < value);
  while (unit * 10 < value) unit *= 10;
  return unit * ([1, 2, 4, 6, 8].find((times) => unit * times >= value) ?? 10);
}

// ---- 5. Lists of connections and channels -----------------------------------------------------

const PAGE = 15;
const SLOW_SHOWN = 10; // of which users and addresses are asked for, one by one
const LIST_MS = 5_000;

/**
 * A list that is read again every few seconds: less often where that takes the daemon long, and not
 * while somebody selects text. `load` gives { items, next }; `show` shows the items.
 */
class List {
  constructor({ load, show, said, more, words }) {
    Object.assign(this, { load, show, said, more, words, pages: 1, timer: null, turn: 0 });
    more.addEventListener("click", () => { this.pages += 1; this.refresh(true); });
  }

  /** From the first page: what is searched for is another. */
  restart() {
    this.pages = 1;
    return this.refresh(true);
  }

  async refresh(isAsked = false) {
    clearTimeout(this.timer);
    const begun = performance.now();
    this.turn += 1;
    const turn = this.turn;
    try {
      const loaded = await this.load();
      const items = [...loaded.items];
      let { next } = loaded;
      for (let page = 1; page < this.pages && next; page += 1) {
        const more = await list(next);
        items.push(...more.items);
        next = more.next;
      }
      if (turn !== this.turn) return; // a later search has begun
      if (isAsked || getSelection().isCollapsed) {
        this.show(items, loaded);
        this.more.hidden = next === null;
        this.say(this.words(items, next !== null));
      }
    } catch (error) {
      if (turn !== this.turn) return;
      this.say(inWords(error), true);
    }
    const delay = Math.max(LIST_MS, 20 * (performance.now() - begun));
    if (isWatching()) this.timer = setTimeout(() => this.refresh(), delay);
  }

  say(words, isBad = false) {
    setText(this.said, words);
    this.said.className = isBad ? "bad" : "";
  }
}

const waits = (one) => one.outbox_bytes + one.in_flight_bytes;
const isSearch = () => $("wanted").value !== "" || $("waiting").checked;

const connections = new List({
  said: $("connections-said"),
  more: $("more-connections"),
  async load() {
    const [by, wanted, isWaiting] = [$("by").value, $("wanted").value.trim(), $("waiting").checked];
    const page = await list(`/connections?${query({ limit: PAGE, [by]: wanted, waiting: isWaiting ? "1" : "" })}`);
    if (wanted !== "" || isWaiting) return page;
    // Those for which most waits stand first, wherever they are in the table.
    const slow = (await json("/stats/slow")).slice(0, SLOW_SHOWN).map(({ connection }) => connection);
    const found = await Promise.all(slow.map((key) => json(`/connections/${key}`).catch(() => null)));
    const first = found.filter((one) => one !== null);
    return { items: [...first, ...page.items.filter(({ connection }) => !slow.includes(connection))], next: page.next };
  },
  show(items) {
    const seen = new Set(); // one may have come twice, in two pages
    const once = items.filter(({ connection }) => !seen.has(connection) && seen.add(connection));
    once.sort((a, b) => b.outbox_bytes - a.outbox_bytes); // what is in flight is on its way
    fill($("connection-rows"), once, ({ connection }) => connection, (row, one) => {
      const state = one.is_paused ? "not read" : one.phase;
      setCells(row, [undefined, one.user || "–", one.address ?? "not known", one.dialect, state, waits(one) ? bytes(waits(one)) : "–", one.outbox_messages ? count(one.outbox_messages) : "–", ago(one.silent_seconds)],
        ["", "user", "mono wide", "wide", "wide", "number", "number wide", "number wide"]);
      row.cells[1].dataset.address = one.address ?? ""; // shown below the user on a phone
      if (!row.cells[0].firstChild) row.cells[0].append(button("link mono", one.connection, () => openWhy(one.connection)));
      row.classList.toggle("late", one.outbox_bytes > 0);
    });
  },
  words(items, hasMore) {
    const shown = `${count(items.length)}${hasMore ? ", and there are more" : ""}`;
    if (isSearch()) return items.length || hasMore ? `Found ${shown}.` : "None found.";
    return items.length ? `Slow ones first, then as in the table: ${shown}.` : "None.";
  },
});

const offsets = new Map(); // of channels, as they were: { offset, at, rate }

const channels = new List({
  said: $("channels-said"),
  more: $("more-channels"),
  load: () => list(`/channels?${query({ limit: PAGE, prefix: $("prefix").value })}`),
  show(items) {
    const at = Date.now();
    for (const { channel, offset } of items) {
      const before = offsets.get(channel);
      const isLater = before && at > before.at && offset >= before.offset;
      offsets.set(channel, { offset, at, rate: isLater ? (offset - before.offset) / ((at - before.at) / 1000) : null });
    }
    for (const channel of offsets.keys()) if (offsets.get(channel).at !== at) offsets.delete(channel);
    items.sort((a, b) => b.subscribers - a.subscribers || (a.channel < b.channel ? -1 : 1));
    fill($("channel-rows"), items, ({ channel }) => channel, (row, one) => {
      const { rate: perS } = offsets.get(one.channel);
      setCells(row, [undefined, one.namespace || "–", count(one.subscribers), perS === null ? "–" : compact(perS), count(one.offset), count(one.kept)],
        ["", "wide", "number", "number", "number wide", "number wide"]);
      if (!row.cells[0].firstChild) row.cells[0].append(button("link", one.channel, () => searchChannel(one.channel)));
    });
  },
  words: (items, hasMore) => (items.length || hasMore ? `${count(items.length)}${hasMore ? ", and there are more" : ""}, most subscribers first.` : "None."),
});

function searchChannel(name) {
  $("by").value = "channel";
  $("wanted").value = name;
  $("to").value = name;
  connections.restart();
  $("wanted").focus();
}

/** Rows of a table, by key: a row stays the same element as long as its item is there. */
function fill(body, items, keyOf, update) {
  const rows = new Map([...body.rows].map((row) => [row.key, row]));
  const wanted = items.map((item) => {
    const row = rows.get(keyOf(item)) ?? Object.assign(make("tr"), { key: keyOf(item) });
    update(row, item);
    return row;
  });
  if (wanted.length === body.rows.length && wanted.every((row, n) => row === body.rows[n])) return;
  const focused = document.activeElement;
  body.replaceChildren(...wanted);
  if (focused !== document.activeElement && focused?.isConnected) focused.focus({ preventScroll: true });
}

/** Texts of a row's cells; `undefined` and `null` leave a cell alone. The first is the row's header. */
function setCells(row, texts, classes) {
  texts.forEach((text, n) => {
    const cell = row.cells[n] ?? row.appendChild(make(n === 0 ? "th" : "td", classes[n]));
    if (n === 0) cell.scope = "row";
    if (text != null) setText(cell, text);
  });
}

// ---- 6. Why one connection is as it is --------------------------------------------------------

let opened = null; // the connection's name
let askedChannel = "";
let whyTimer = null;

function openWhy(name) {
  if (location.hash !== `#${name}`) history.pushState(null, "", `#${name}`);
  opened = name;
  askedChannel = "";
  $("ask-channel").value = "";
  setText($("why-name"), name);
  $("why-told").said = null;
  $("why-verdicts").replaceChildren();
  $("why-facts").replaceChildren();
  setText($("kicked"), "");
  showKick(false);
  if (!$("why").open) $("why").showModal();
  $("why-name").focus();
  refreshWhy();
}

async function refreshWhy(isAsked = false) {
  clearTimeout(whyTimer);
  const name = opened;
  if (name === null) return;
  try {
    const why = await json(`/why/${name}?${query({ channel: askedChannel })}`);
    if (name !== opened) return;
    if (isAsked || getSelection().isCollapsed) showWhy(why);
  } catch (error) {
    if (name !== opened) return;
    showVerdicts([{ cause: "unknown", what: inWords(error), remedy: "" }]);
  }
  clearTimeout(whyTimer);
  if (isWatching()) whyTimer = setTimeout(refreshWhy, INTERVAL_MS);
}

function showWhy(why) {
  const { record } = why;
  setText($("why-name"), `${why.connection}${record?.user ? ` · ${record.user}` : ""}`);
  showVerdicts(why.verdicts);
  $("kick").disabled = !why.is_there;
  if (!why.is_there) showKick(false);
  const facts = record ? [factsOf(why), ...lanesOf(why), ...tcpOf(why)] : [];
  $("why-facts").replaceChildren(...facts, ...pastOf(why));
}

/** A screen reader is told when something else is wrong, not that a time has grown. */
function showVerdicts(verdicts) {
  const said = verdicts.map(({ cause }) => cause).join();
  if ($("why-told").said !== said) setText($("why-told"), verdicts[0].what);
  $("why-told").said = said;
  $("why-verdicts").replaceChildren(...verdicts.map(({ cause, what, remedy }) => {
    const verdict = make("div", cause === "healthy" ? "healthy" : "");
    verdict.append(make("p", "", what), make("p", "", remedy));
    return verdict;
  }));
}

function factsOf(why) {
  const { record, ping } = why;
  const user = record.user ? `${record.user}${why.role ? ` (role ${why.role}, by ${why.method})` : ""}` : "anonymous";
  const names = why.channels.map(({ name, is_pattern: isPattern, offset }) => `${name} (${isPattern ? "pattern" : `offset ${count(offset)}`})`);
  if (names.length < why.subscriptions) names.push("…");
  return terms([
    ["User", why.is_identity_expired ? `${user}, expired` : user],
    ["From", `${record.address ?? "an address that is not known"}, by listener ${record.listener} (${why.transport})`],
    ["Speaks", `${record.dialect}, ${record.phase}; compression ${why.compression}`],
    ["Last byte", `${milliseconds(why.silent_ms)} ago; last message in either direction ${milliseconds(why.quiet_ms)} ago`],
    ["Ping", `${ping.is_unanswered ? `unanswered, closed in ${milliseconds(ping.deadline_ms)}` : "answered, or none due"}; every ${milliseconds(ping.interval_ms)}, ${milliseconds(ping.timeout_ms)} to answer`],
    ["Not read", why.paused_for && `waits for ${why.paused_for}`],
    ["Waits for it", `${bytes(record.outbox_bytes)} in ${count(record.outbox_messages)} messages, of at most ${bytes(why.outbox_bytes_max)}; ${bytes(record.in_flight_bytes)} more are with the kernel`],
    ["Dropped", why.dropped > 0 && `${count(why.dropped)} messages since it lags`],
    ["Unfinished", record.input_buffered_bytes > 0 && `${bytes(record.input_buffered_bytes)} of input`],
    ["Subscribed to", `${count(why.subscriptions)}${names.length ? `: ${names.join(", ")}` : ""}`],
    ["Asked about", why.asked && `${why.asked.channel}: ${why.asked.is_subscribed ? "subscribed" : "not subscribed"}; subscribe ${why.asked.may_subscribe}; publish ${why.asked.may_publish}`],
  ]);
}

function lanesOf({ lanes }) {
  if (lanes.length === 0) return [];
  const of = ({ namespace }) => (namespace === null ? "answers and control frames" : namespace || "channels without a namespace");
  const rows = lanes.map((lane) => [of(lane), bytes(lane.bytes), count(lane.messages), lane.bytes_max ? bytes(lane.bytes_max) : "–", lane.slow_consumer ?? "–"]);
  return table("What waits for it", ["Of", "Bytes", "Messages", "At most", "Then"], rows, [1, 2, 3]);
}

function tcpOf({ tcp }) {
  if (!tcp) return [];
  const held = tcp.busy_us ? Math.round((100 * tcp.rwnd_limited_us) / tcp.busy_us) : 0;
  return [make("h3", "", "TCP, as the kernel has it"), terms([
    ["Round trip", `${(tcp.rtt_us / 1000).toFixed(1)} ms ± ${(tcp.rttvar_us / 1000).toFixed(1)}; resends after ${Math.round(tcp.rto_us / 1000)} ms`],
    ["Segments", `${count(tcp.unacked)} unacknowledged, ${count(tcp.lost)} lost, ${count(tcp.retransmits_total)} sent again (${count(tcp.retransmits)} in a row)`],
    ["Its window", `${tcp.peer_window_bytes === null ? "not known" : bytes(tcp.peer_window_bytes)}; held up by it ${held} % of the time; ${bytes(tcp.notsent_bytes)} not sent yet`],
    ["In all", `${bytes(tcp.received_bytes)} received, ${bytes(tcp.acked_bytes)} acknowledged by it`],
  ])];
}

function pastOf({ incidents }) {
  if (incidents.length === 0) return [];
  const rows = incidents.map(({ ago_ms: ms, count: times, what, kind }) => [`${milliseconds(ms)} ago`, count(times), what, kind]);
  return table("Lately", ["When", "Times", "What", "Kind"], rows, [1]);
}

function terms(pairs) {
  const all = make("dl");
  for (const [term, text] of pairs) if (text) all.append(make("dt", "", term), make("dd", "", text));
  return all;
}

function table(title, heads, rows, numbers) {
  const [all, head, body] = [make("table"), make("thead"), make("tbody")];
  const classOf = (n) => (numbers.includes(n) ? "number" : "");
  const cells = (names, tag) => names.map((text, n) => make(tag, classOf(n), text));
  head.append(make("tr"));
  head.firstChild.append(...cells(heads, "th").map((cell) => Object.assign(cell, { scope: "col" })));
  body.append(...rows.map((texts) => {
    const row = make("tr");
    row.append(...cells(texts, "td"));
    return row;
  }));
  all.setAttribute("aria-label", title);
  all.append(head, body);
  return [make("h3", "", title), all];
}

function showKick(isShown) {
  $("kick-form").hidden = !isShown;
  $("kick").setAttribute("aria-expanded", isShown);
}

async function kick() {
  const name = opened;
  try {
    await json(`/connections/${name}?${query({ code: $("code").value.trim(), reason: $("reason").value })}`, { method: "DELETE" });
    say($("kicked"), `${name} was disconnected.`);
    showKick(false);
    $("why-name").focus(); // the form has vanished
    connections.refresh();
  } catch (error) {
    say($("kicked"), inWords(error), true);
  }
  refreshWhy(true);
}

function closed() {
  opened = null;
  clearTimeout(whyTimer);
  if (isKey(location.hash)) history.pushState(null, "", location.pathname);
}

const isKey = (hash) => /^#r\d+-\d+\.\d+$/.test(hash);

// ---- 7. Publishing ----------------------------------------------------------------------------

async function publish() {
  const channel = $("to").value;
  const button = $("publish-form").querySelector("button");
  button.disabled = true;
  try {
    const { publication } = await json(`/publish?${query({ channel })}`, { method: "POST", body: $("text").value });
    const subscribers = await json(`/channels?${query({ name: channel })}`).then((one) => one.subscribers, () => 0);
    const whom = subscribers === 0 ? "nothing subscribes to it" : `${count(subscribers)} ${subscribers === 1 ? "subscriber" : "subscribers"}`;
    say($("published"), `${clock(Date.now())}: publication ${count(publication)} on ${channel}, ${whom}.`);
  } catch (error) {
    say($("published"), `Not published. ${inWords(error)}`, true);
  }
  button.disabled = false;
}

// ---- 8. Helpers -------------------------------------------------------------------------------

/** An element with a text: what the server says never becomes markup. */
function make(tag, className = "", text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}

function shape(tag, attributes, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text) element.textContent = text;
  return element;
}

function button(className, text, act) {
  const element = make("button", className, text);
  element.type = "button";
  element.addEventListener("click", act);
  return element;
}

/** Only where it changes: a screen reader reads a status out again each time it is set. */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function say(element, text, isBad = false) {
  setText(element, text);
  element.className = isBad ? "bad" : "";
}

function count(n) { return n.toLocaleString("en"); }

/** 950, 1.2k, 38k, 4.1M. */
function compact(n) {
  const [power, unit] = n >= 1e9 ? [1e9, "G"] : n >= 1e6 ? [1e6, "M"] : n >= 1e4 ? [1e3, "k"] : [1, ""];
  return `${short(n / power)}${unit}`;
}

function bytes(n) {
  let power = 0;
  while (power < 4 && n / 1024 ** power >= 999.5) power += 1;
  return `${short(n / 1024 ** power)} ${["B", "KiB", "MiB", "GiB", "TiB"][power]}`;
}

function short(n) { return (n < 10 ? Math.round(n * 10) / 10 : Math.round(n)).toLocaleString("en"); }

function clock(at) { return new Date(at).toLocaleTimeString("en-GB"); }

function duration(seconds) {
  const [d, h, m] = [Math.floor(seconds / 86_400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
  if (d) return `${d} d ${h} h`;
  if (h) return `${h} h ${m} min`;
  return m > 1 ? `${m} min` : `${seconds} s`;
}

function ago(seconds) { return seconds < 1 ? "now" : duration(seconds); }

function milliseconds(ms) {
  if (ms < 1_000) return `${ms} ms`;
  return ms < 10_000 ? `${short(ms / 1000)} s` : duration(Math.floor(ms / 1000));
}

// ---- 9. Wiring --------------------------------------------------------------------------------

const onSubmit = (id, act) => $(id).addEventListener("submit", (event) => { event.preventDefault(); act(); });
onSubmit("search", () => connections.restart());
onSubmit("find", () => channels.restart());
onSubmit("publish-form", publish);
onSubmit("ask", () => { askedChannel = $("ask-channel").value; refreshWhy(true); });
onSubmit("kick-form", kick);
$("waiting").addEventListener("change", () => connections.restart());
for (const [id, list] of [["wanted", connections], ["prefix", channels]]) {
  $(id).addEventListener("search", () => { if ($(id).value === "") list.restart(); }); // its cross was pressed
}
$("by").addEventListener("change", () => {
  $("wanted").placeholder = { user: "alice", channel: "chat:lobby", address: "192.0.2.0/24", dialect: "wamp" }[$("by").value];
});
$("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("publish-form").requestSubmit();
});
$("kick").addEventListener("click", () => {
  showKick($("kick-form").hidden);
  if (!$("kick-form").hidden) $("reason").focus();
});
$("keep").addEventListener("click", () => { showKick(false); $("kick").focus(); });
$("why-close").addEventListener("click", () => $("why").close());
$("why").addEventListener("close", closed);
$("why").addEventListener("click", (event) => { if (event.target === $("why")) $("why").close(); }); // beside it
$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", paused);
  setText($("pause"), paused ? "Go on" : "Pause");
  watch();
});
document.addEventListener("visibilitychange", watch);
addEventListener("popstate", openAddress);

/** Goes on, or stands still. */
function watch() {
  for (const waiting of [timer, connections.timer, channels.timer, whyTimer]) clearTimeout(waiting);
  showState();
  if (!isWatching()) return;
  sample();
  connections.refresh();
  channels.refresh();
  refreshWhy();
}

/** A connection after the # of the address is shown: a link to it can be sent to somebody. */
function openAddress() {
  if (isKey(location.hash)) openWhy(location.hash.slice(1));
  else if ($("why").open) $("why").close();
}

setInterval(() => { if (awaySince) showState(); }, 1_000);
watch();
openAddress();
