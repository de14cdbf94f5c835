"use strict";
const $ = (id) => document.getElementById(id);

// ---- 1. Where to ------------------------------------------------------------------------------

let channel = "lobby"; // the one joined; the field may hold another that is being typed

/** The URL to connect to. Throws an Error with a sentence for the person if there is none. */
function address() {
  const base = `${location.protocol === "https:" ? "wss:" : "ws:"}//${location.host}`;
  if ($("mode").value === "echo") return `${base}/echo`;
  if (channel === "") throw new Error("A channel needs a name.");
  // URLs give these two a meaning of their own, percent-encoded or not.
  if (channel === "." || channel === "..") throw new Error(`A channel cannot be named "${channel}".`);
  return `${base}/raw/${encodeURIComponent(channel)}`;
}

/** Leaves what it is connected to, if anything, and connects to channel `name`. */
function join(name) {
  channel = name;
  if ($("channel").value !== name) $("channel").value = name;
  history.replaceState(null, "", `#${encodeURIComponent(name)}`);
  attempts = 0;
  connect();
}

// ---- 2. A socket's life -----------------------------------------------------------------------

const STATES = ["CONNECTING", "OPEN", "CLOSING", "CLOSED"];
let socket = null; // A WebSocket connects once. To reconnect is to make another.
let wanted = true; // The person wants to be connected.

function connect() {
  stopWaiting();
  socket?.close();
  socket = null;
  wanted = true;
  showAddress();
  try {
    socket = new WebSocket(address());
  } catch (error) {
    explain(error.message);
    if (away) endAway("Not connected");
    return showState();
  }
  const mine = socket; // Events of a socket that another has replaced say nothing about this one.
  let openedAt = null;
  socket.binaryType = "arraybuffer"; // else binary messages arrive as Blobs
  echoes = $("mode").value === "echo" ? [] : null;

  socket.onopen = () => {
    if (mine !== socket) return;
    openedAt = Date.now();
    explain("");
    if (away) endAway("Connected again");
    else note("open", echoes ? "Connected to the echo" : `Connected to channel ${channel}`);
    showState();
  };
  socket.onmessage = ({ data }) => {
    if (mine === socket) received(data);
  };
  // No onerror: it says that something failed, never what, since a page must not learn about other
  // hosts' networks. The close event that always follows says what may be known.
  socket.onclose = (event) => {
    if (mine !== socket) return;
    const opened = openedAt !== null;
    $("close-answer").textContent = closeInWords(event);
    if (opened) note("close", event.code === 1006 ? "Connection lost (code 1006)" : `Closed: ${closeInWords(event)}`, event.wasClean ? "note" : "bad");
    if (opened && Date.now() - openedAt >= STABLE_MS) attempts = 0;
    if (wanted && $("auto").checked && !FINAL_CODES.has(event.code)) retry();
    else if (away) endAway("Not connected");
    else if (!opened) note("close", `No connection. ${WHY_NONE}`, "bad");
    showState();
  };
  showState();
}

/** Closes; without a code the server sees a close frame without one, and we get 1005 back. */
function disconnect(code, reason) {
  stopWaiting();
  try {
    if (code === undefined) socket?.close();
    else socket?.close(code, reason); // throws on codes a page may not use, and on long reasons
    wanted = false;
    explain("");
    if (away) endAway("Not connected");
  } catch (error) {
    explain(`${error.message} A page may close with 1000 or 3000 to 4999, and a reason of at most 123 bytes of UTF-8.`);
  }
  showState();
}

const CODES = {
  1000: "normal closure", 1001: "going away", 1002: "protocol error", 1003: "data of a kind it does not take",
  1005: "no code given", 1006: "lost: no close frame came", 1007: "data that is not what it says",
  1008: "against the server's policy", 1009: "message too big", 1010: "extension missing", 1011: "server error",
  1012: "service restarts", 1013: "try again later", 1014: "bad gateway", 1015: "TLS failed",
};
const WHY_NONE = "Nothing answers there, or the server refuses this path, channel or origin: the developer tools' network panel says which.";

function closeInWords({ code, reason, wasClean }) {
  const meaning = CODES[code] ?? (code >= 4000 ? "the application's own" : code >= 3000 ? "a registered code" : "unknown");
  return `code ${code} (${meaning})${reason && `, reason ${JSON.stringify(reason)}`}${wasClean ? "" : ", not clean"}`;
}

// ---- 3. Coming back ---------------------------------------------------------------------------

const RETRY_FIRST_MS = 500;
const RETRY_MAX_MS = 30_000;
const STABLE_MS = 5_000; // A connection that stayed this long makes the next wait short again.
const FINAL_CODES = new Set([1002, 1003, 1007, 1008]); // To do the same again would end the same.
let attempts = 0; // sets the next wait
let waiting = null; // { timer, until } while waiting to reconnect
let away = null; // { item, tries } while the server is away: one entry of the log that counts

/** Doubles the wait each time, and draws it at random: else all pages come back at one instant. */
function retry() {
  const full = Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** attempts);
  const delay = full * (0.5 + Math.random() / 2);
  attempts += 1;
  waiting = { timer: setTimeout(attempt, delay), until: Date.now() + delay };
  if (!away || away.item.element?.isConnected === false) away = { item: note("away", ""), tries: away?.tries ?? 0 };
  showAway();
}

function attempt() {
  if (away) away.tries += 1;
  connect();
}

function stopWaiting() {
  if (waiting) clearTimeout(waiting.timer);
  waiting = null;
}

const attemptsInWords = (n) => (n === 1 ? "1 attempt" : `${n} attempts`);
const secondsToNext = () => Math.max(0, Math.ceil((waiting.until - Date.now()) / 1000));

function showAway() {
  const next = waiting ? `next in ${secondsToNext()} s` : "trying now";
  const why = away.tries > 2 ? `\n${WHY_NONE}` : "";
  setItem(away.item, `Server away: ${attemptsInWords(away.tries)}, ${next}.${why}`);
}

function endAway(outcome) {
  setItem(away.item, `${outcome} after ${attemptsInWords(away.tries)}.`);
  away = null;
}

// ---- 4. Sending -------------------------------------------------------------------------------

const utf8 = new TextEncoder();
const byteLength = (data) => (typeof data === "string" ? utf8.encode(data).length : data.byteLength);
const count = { sent: 0, sentBytes: 0, received: 0, receivedBytes: 0 };

/** Sends one message. Strings travel as text frames, ArrayBuffers as binary frames. */
function send(data, size = byteLength(data)) {
  socket.send(data);
  echoes?.push(performance.now());
  count.sent += 1;
  count.sentBytes += size;
  peak = Math.max(peak, socket.bufferedAmount);
}

/** Sends and shows one message; false, with a sentence for the person, if it cannot. */
function sendOne(data) {
  // In CLOSING and CLOSED send() throws nothing and sends nothing, so we look first.
  if (socket?.readyState !== WebSocket.OPEN) {
    explain("Not connected: nothing was sent.");
    return false;
  }
  peak = 0;
  send(data);
  entry("out", data);
  explain("");
  watchBuffer();
  return true;
}

function sendText() {
  const text = $("text").value;
  if (text !== "" && sendOne(stamped(text))) $("text").value = "";
  $("text").focus();
}

/** The ArrayBuffer that the laboratory's form describes. Throws with a sentence if it describes none. */
async function binary() {
  switch ($("kind").value) {
    case "hex": {
      const digits = $("hex").value.replace(/0x|[\s,:]/gi, "");
      if (!/^([0-9a-f]{2})*$/i.test(digits)) throw new Error("Hex is pairs of 0-9 and a-f, such as de ad be ef.");
      return Uint8Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16)).buffer;
    }
    case "random": {
      const bytes = new Uint8Array(numberIn("random"));
      for (let at = 0; at < bytes.length; at += 65536) crypto.getRandomValues(bytes.subarray(at, at + 65536));
      return bytes.buffer;
    }
    default: {
      const file = $("file").files[0];
      if (!file) throw new Error("Choose a file first.");
      return file.arrayBuffer();
    }
  }
}

// ---- 5. bufferedAmount ------------------------------------------------------------------------

const BUFFER_HIGH = 1024 * 1024;
const BURST_BYTES_MAX = 256 * 1024 * 1024;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
let peak = 0;
let bursting = false;
let watching = false;

/**
 * send() never blocks and never says no: what the network does not take yet piles up in the
 * browser, and bufferedAmount is its size. A polite sender waits while it is high.
 */
async function burst() {
  const messages = numberIn("burst-count");
  const size = numberIn("burst-size");
  if (messages * size > BURST_BYTES_MAX) return explain("That is more than 256 MiB in all.");
  const mine = socket;
  const open = () => mine === socket && mine.readyState === WebSocket.OPEN;
  const start = performance.now();
  let n = 0;
  peak = 0;
  bursting = true;
  $("burst-time").textContent = "…";
  watchBuffer();
  while (n < messages && open()) {
    n += 1;
    send(stamped(`burst ${n} of ${messages} `, size));
    while ($("polite").checked && mine.bufferedAmount > BUFFER_HIGH && open()) await pause(5);
  }
  entry("out", `${n} messages of ${size} bytes`, { kind: "burst" });
  while (mine.bufferedAmount > 0 && open()) await pause(5);
  bursting = false;
  showBuffer();
  $("burst-time").textContent = open() ? `${(performance.now() - start).toFixed(0)} ms` : "never: closed before";
}

/** Shows bufferedAmount at every frame until there is nothing left to send. */
function watchBuffer() {
  if (watching) return;
  watching = true;
  requestAnimationFrame(function look() {
    watching = bursting || (socket?.readyState === WebSocket.OPEN && socket.bufferedAmount > 0);
    showBuffer();
    if (watching) requestAnimationFrame(look);
  });
}

function showBuffer() {
  const now = socket?.bufferedAmount ?? 0;
  peak = Math.max(peak, now);
  $("buffered").textContent = bytesInWords(now);
  $("buffered-peak").textContent = bytesInWords(peak);
  $("meter").setAttribute("aria-valuenow", now);
  $("meter").setAttribute("aria-valuemax", peak);
  $("meter-fill").style.width = peak ? `${(100 * now) / peak}%` : "0";
  showCounts();
}

// ---- 6. Latency -------------------------------------------------------------------------------

const STAMP = "roost-demo "; // then JSON: {"t": milliseconds since 1970 with fraction, "n": number, "text": …}
const SAMPLES_MAX = 200;
const clock = () => performance.timeOrigin + performance.now();
const samples = [];
let echoes = null; // on /echo: when each message not yet answered was sent, oldest first

/** The text as it goes out: with the time if asked for, and filled up to `size` bytes. */
function stamped(text, size = 0) {
  const wrap = (inner) =>
    $("stamp").checked ? STAMP + JSON.stringify({ t: Number(clock().toFixed(3)), n: count.sent + 1, text: inner }) : inner;
  const plain = wrap(text);
  return plain.length < size ? wrap(text + ".".repeat(size - plain.length)) : plain;
}

/** The stamp in a text, or null. What comes from others may look like one and not be one. */
function readStamp(data) {
  if (typeof data !== "string" || !data.startsWith(STAMP)) return null;
  try {
    const { t, text } = JSON.parse(data.slice(STAMP.length));
    return Number.isFinite(t) && typeof text === "string" ? { t, text } : null;
  } catch {
    return null;
  }
}

function latencyOf(stamp) {
  // The echo answers in order, so its round trip needs no stamp and no second clock.
  if (echoes) return echoes.length ? performance.now() - echoes.shift() : null;
  return stamp ? clock() - stamp.t : null;
}

// ---- 7. Receiving -----------------------------------------------------------------------------

function received(data) {
  const stamp = readStamp(data);
  const latency = latencyOf(stamp);
  count.received += 1;
  count.receivedBytes += byteLength(data);
  if (latency !== null) {
    samples.push(latency);
    if (samples.length > SAMPLES_MAX) samples.shift();
  }
  entry("in", data, { latency, text: stamp?.text });
}

// ---- 8. Showing -------------------------------------------------------------------------------

const ENTRIES_MAX = 200;
const TEXT_SHOWN_MAX = 2000;
let fresh = []; // entries not yet in the page: a thousand messages a second need not be a thousand repaints

function entry(direction, data, more = {}) {
  const item = { direction, data, at: new Date(), ...more };
  fresh.push(item);
  if (fresh.length > ENTRIES_MAX) fresh.shift();
  if (!entry.timer) entry.timer = setTimeout(render, 30);
  return item;
}

const note = (kind, text, look = "note") => entry(look, text, { kind });

/** Changes the text of an entry, in the page or on its way there. */
function setItem(item, text) {
  item.data = text;
  const body = item.element?.querySelector(".body");
  if (body && body.textContent !== text) body.textContent = text;
}

function render() {
  entry.timer = null;
  const log = $("log");
  const following = atEnd();
  for (const item of fresh) log.append((item.element = element(item)));
  fresh = [];
  while (log.children.length > ENTRIES_MAX) log.firstChild.remove();
  if (following) log.scrollTop = log.scrollHeight;
  $("newest").hidden = atEnd();
  showCounts();
}

/** Whether the log shows its newest entry: only then does it follow the next one. */
const atEnd = () => $("log").scrollHeight - $("log").clientHeight - $("log").scrollTop < 40;

/** One entry as an element. What came from the network only ever becomes textContent. */
function element({ direction, data, at, kind, latency, text }) {
  const make = (tag, className, content = "") => Object.assign(document.createElement(tag), { className, textContent: content });
  const binary = typeof data !== "string";
  const box = make("div", `entry ${direction}`);
  box.dataset.kind = kind ?? `${direction}-${binary ? "binary" : "text"}`;
  const meta = make("div", "meta");
  meta.append(make("span", "kind", { in: "received", out: "sent" }[direction] ?? ""));
  const time = make("time", "", at.toTimeString().slice(0, 8));
  time.dateTime = at.toISOString();
  meta.append(time);
  if (!kind) meta.append(make("span", "size", `${bytesInWords(byteLength(data))}${binary ? " of binary" : ""}`));
  if (latency != null) meta.append(make("span", "latency", latencyInWords(latency)));
  box.append(meta, make("pre", binary ? "body dump" : "body", binary ? hexDump(data) : shortened(text ?? data)));
  return box;
}

/** Two lines: bytes as hex, and under each the character it is in ASCII. */
function hexDump(buffer) {
  const width = $("log").clientWidth < 560 ? 8 : 16;
  const bytes = [...new Uint8Array(buffer, 0, Math.min(buffer.byteLength, width))];
  if (bytes.length === 0) return "(empty)";
  const hex = bytes.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
  const ascii = bytes.map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : "·")).join("  ");
  const more = buffer.byteLength - bytes.length;
  return `${hex}${more ? " …" : ""}\n${ascii}`;
}

function shortened(text) {
  if (text.length <= TEXT_SHOWN_MAX) return text || "(empty)";
  return `${text.slice(0, TEXT_SHOWN_MAX)}… and ${text.length - TEXT_SHOWN_MAX} characters more`;
}

function bytesInWords(n) {
  if (n < 10_000) return `${n.toLocaleString("en")} ${n === 1 ? "byte" : "bytes"}`;
  return n < 1024 * 1024 ? `${(n / 1024).toFixed(1)} KiB` : `${(n / 1024 / 1024).toFixed(1)} MiB`;
}

function latencyInWords(ms) {
  return ms < 0 ? `${ms.toFixed(1)} ms: the clocks differ` : `${ms.toFixed(ms < 10 ? 2 : 0)} ms`;
}

function showCounts() {
  $("received").textContent = `${count.received.toLocaleString("en")} · ${bytesInWords(count.receivedBytes)}`;
  $("sent").textContent = `${count.sent.toLocaleString("en")} · ${bytesInWords(count.sentBytes)}`;
  if (samples.length === 0) return;
  const sorted = [...samples].sort((a, b) => a - b);
  $("latency").textContent = latencyInWords(samples.at(-1));
  $("latency-median").textContent = latencyInWords(sorted[Math.floor(sorted.length / 2)]);
}

const explain = (sentence) => setText("explain", sentence);

function showState() {
  const state = socket ? socket.readyState : null;
  const open = state === WebSocket.OPEN;
  const over = state === null || state === WebSocket.CLOSED;
  setText("state", state === null ? "no socket yet" : `${state} ${STATES[state]}`);
  [...$("states").children].forEach((li, n) => (n === state ? li.setAttribute("aria-current", "step") : li.removeAttribute("aria-current")));
  if (away) showAway();
  // The head says "Reconnecting" as long as that goes on: a status is read out each time it changes.
  const words = away ? "Reconnecting…" : ["Connecting…", "Connected", "Closing…"][state] ?? "Not connected";
  setText("words", words);
  $("words").parentElement.dataset.look = open ? "open" : over && !away ? "none" : "wait";
  if (!over && document.activeElement === $("connect")) $("text").focus(); // it is about to vanish
  $("connect").hidden = !over;
  setText("connect", waiting ? "Retry" : "Connect");
  $("disconnect").disabled = over && !waiting;
  setText("disconnect", waiting ? "Stop trying" : "Disconnect");
  for (const id of ["burst", "close"]) $(id).disabled = !open;
}

/** Sets text only where it changes: a screen reader reads a status out again each time it is set. */
function setText(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

function showAddress() {
  $("join-button").hidden = $("channel").value === channel;
  $("again").href = `#${encodeURIComponent(channel)}`;
  try {
    $("url").textContent = address();
    $("snippet").textContent = snippet(address());
  } catch {
    $("url").textContent = "";
  }
}

/** A whole page that talks to this one, wherever it is served from or opened as a file. */
const snippet = (url) => `<!doctype html>
<meta charset="utf-8">
<form><input aria-label="Message" autofocus></form>
<pre></pre>
<script>
  const url = ${JSON.stringify(url)};
  const socket = new WebSocket(url);
  const form = document.forms[0];
  const log = document.querySelector("pre");
  const show = (line) => log.prepend(line + "\\n");
  socket.onopen = () => show("connected");
  socket.onmessage = (e) => show(e.data);
  socket.onclose = (e) => show("closed " + e.code);
  form.onsubmit = (e) => {
    e.preventDefault();
    socket.send(form[0].value);
    form.reset();
  };
<\/script>
`;

async function copySnippet() {
  try {
    await navigator.clipboard.writeText($("snippet").textContent);
  } catch { // Not in pages from other machines without TLS.
    getSelection().selectAllChildren($("snippet"));
    document.execCommand("copy");
  }
  $("copy").textContent = "Copied";
  setTimeout(() => ($("copy").textContent = "Copy"), 2_000);
}

function numberIn(id) {
  const { value, min, max } = $(id);
  const n = Number(value);
  if (!Number.isInteger(n) || value === "" || n < min || n > max) throw new Error(`A whole number from ${min} to ${max}, please.`);
  return n;
}

// ---- 9. Wiring --------------------------------------------------------------------------------

const onSubmit = (id, act) => $(id).addEventListener("submit", async (event) => {
  event.preventDefault();
  try { await act(); } catch (error) { explain(error.message); }
});
onSubmit("join", () => join($("channel").value));
onSubmit("write", sendText);
onSubmit("binary-form", async () => sendOne(await binary()));
onSubmit("burst-form", burst);
onSubmit("close-form", () => disconnect(Number($("close-code").value), $("close-reason").value));
const onClick = (id, act) => $(id).addEventListener("click", () => act());
onClick("connect", () => { attempts = 0; attempt(); });
onClick("disconnect", () => disconnect());
onClick("clear", () => $("log").replaceChildren());
onClick("copy", copySnippet);
onClick("newest", () => { $("log").scrollTop = $("log").scrollHeight; $("log").focus(); });
$("log").addEventListener("scroll", () => ($("newest").hidden = atEnd()));
$("channel").addEventListener("input", showAddress);
$("mode").addEventListener("change", () => { attempts = 0; connect(); });
$("auto").addEventListener("change", () => {
  if ($("auto").checked || !waiting) return;
  stopWaiting();
  endAway("Stopped");
});
$("kind").addEventListener("change", () => {
  for (const field of document.querySelectorAll("[data-kind]")) {
    if (field.tagName === "LABEL") field.hidden = field.dataset.kind !== $("kind").value;
  }
});
addEventListener("hashchange", () => join(channelInAddress()));
addEventListener("online", () => { if (waiting) attempt(); });

// There is an event for OPEN and one for CLOSED, none for CLOSING: so we look, ten times a second.
setInterval(showState, 100);

/** The channel after the # of this page's address, which "Open a second page" sets. */
function channelInAddress() {
  try { return decodeURIComponent(location.hash.slice(1)) || "lobby"; } catch { return "lobby"; }
}

join(channelInAddress());
