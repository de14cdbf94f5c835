// npm's centrifuge against the daemon: connects, subscribes, publishes, and talks with raw clients.

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, describe, test } from "node:test";
import { driver, listen, startDaemon, until, within } from "../daemon.mjs";
import { CONFIG, PATH, SECRET, bare, client, now, token } from "./peers.mjs";

const TOKENS = `
[auth]
required = REQUIRED
[auth.jwt]
hmac_secrets_file = "jwt.secrets"
leeway = "0s"

[[namespace]]
name = "granted"
subscribe = "granted"
publish = "granted"
`;

describe(`npm centrifuge, driver ${driver ?? "by default"}`, { timeout: 240_000 }, () => {
  let directory;
  let daemon;
  const open = [];

  /** A daemon with more configuration. */
  async function start(more = "", name = "roost.toml") {
    const file = join(directory, name);
    await writeFile(file, CONFIG + more);
    return startDaemon({ file });
  }

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "roost-centrifugo-"));
    await writeFile(join(directory, "jwt.secrets"), `first ${SECRET}\n`, { mode: 0o600 });
    daemon = await start();
  });
  after(async () => {
    await daemon?.stop();
    await rm(directory, { recursive: true });
  });
  afterEach(() => open.splice(0).forEach((peer) => peer.leave()));

  const keep = (peer) => {
    open.push(peer);
    return peer;
  };
  const stock = (options, at = daemon) => keep(client(at, options)).connect();
  const plain = async (path, at = daemon) => keep(await bare(at, path));

  async function refusedWith(code, asked) {
    await assert.rejects(asked, (error) => {
      assert.equal(error.code, code);
      return true;
    });
  }

  test("connects, subscribes, and gets what it publishes, in order", async () => {
    const one = await stock();
    const { received, atLeast } = await one.subscribe("news");
    const sent = ["text", 42, null, [1, [2]], { deep: { er: "ja" } }, "Grüße, 你好, 🐦 \" \\ \n \u0001"];
    for (const data of sent) await one.centrifuge.publish("news", data);
    await atLeast(sent.length);
    assert.deepEqual(received.map(({ data }) => data), sent);
    const [{ client: id }] = one.named("connected");
    assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    assert.deepEqual(received[0].info, { client: id, user: "" });
  });

  test("two clients hear each other, and one that has unsubscribed does not", async () => {
    const [one, two] = [await stock(), await stock()];
    const [first, second] = [await one.subscribe("room"), await two.subscribe("room")];
    await one.centrifuge.publish("room", 1);
    await Promise.all([first.atLeast(1), second.atLeast(1)]);
    first.subscription.unsubscribe();
    await one.centrifuge.publish("other", 0); // commands of a connection are carried out in order
    await two.centrifuge.publish("room", 2);
    await second.atLeast(2);
    first.subscription.subscribe();
    await first.subscription.ready(10_000);
    await two.centrifuge.publish("room", 3);
    await first.atLeast(2);
    assert.deepEqual(first.received.map(({ data }) => data), [1, 3]);
    assert.deepEqual(second.received.map(({ data }) => data), [1, 2, 3]);
  });

  /** A subscription that says what it was told when it began. */
  const kept = async (peer, channel, options) => {
    const told = [];
    const subscription = peer.centrifuge.newSubscription(channel, options);
    const received = [];
    subscription.on("subscribed", (context) => told.push(context));
    subscription.on("publication", ({ data, offset }) => received.push([offset, data]));
    subscription.subscribe();
    await subscription.ready(10_000);
    return { subscription, told, received };
  };

  test("a client that was away gets what it has missed, once and in order", async () => {
    const [one, two] = [await stock(), await stock()];
    const { subscription, told, received } = await kept(one, "kept:room");
    assert.deepEqual([told[0].recoverable, told[0].positioned, told[0].wasRecovering], [true, true, false]);
    const start = told[0].streamPosition.offset;
    await two.centrifuge.publish("kept:room", 0);
    await until("the first", () => received.length === 1);
    for (let round = 1; round <= 3; round += 1) {
      one.centrifuge.disconnect();
      for (let n = 0; n < 5; n += 1) await two.centrifuge.publish("kept:room", 5 * round + n);
      one.centrifuge.connect();
      await subscription.ready(10_000);
      await until("what was missed", () => received.length === 1 + 5 * round);
      assert.deepEqual([told[round].wasRecovering, told[round].recovered], [true, true]);
    }
    const numbers = [0, ...Array.from({ length: 15 }, (_, n) => 5 + n)];
    assert.deepEqual(received, numbers.map((data, n) => [start + 1 + n, data]));
  });

  test("a loss is told, and a cache gives the last one", async () => {
    const [one, two] = [await stock(), await stock()];
    const { subscription, told, received } = await kept(one, "small:room");
    one.centrifuge.disconnect();
    for (let n = 0; n < 5; n += 1) await two.centrifuge.publish("small:room", n);
    const before = received.length; // the first may have been on its way
    one.centrifuge.connect();
    await subscription.ready(10_000);
    assert.deepEqual([told[1].wasRecovering, told[1].recovered, received.length], [true, false, before]);
    for (let n = 0; n < 5; n += 1) await two.centrifuge.publish("cache:room", n);
    const cache = await kept(one, "cache:room", { since: {} });
    await until("the last one", () => cache.received.length === 1);
    assert.equal(cache.received[0][1], 4);
    assert.deepEqual([cache.told[0].wasRecovering, cache.told[0].recovered], [true, true]);
  });

  test("history is read in pages", async () => {
    const one = await stock();
    for (let n = 0; n < 7; n += 1) await one.centrifuge.publish("kept:pages", n);
    const all = await one.centrifuge.history("kept:pages", { limit: -1 });
    assert.deepEqual(all.publications.map(({ data }) => data), [0, 1, 2, 3, 4, 5, 6]);
    const read = [];
    let since;
    for (;;) {
      const page = await one.centrifuge.history("kept:pages", { limit: 3, since });
      if (page.publications.length === 0) break;
      read.push(...page.publications.map(({ data }) => data));
      since = { offset: page.publications.at(-1).offset, epoch: page.epoch };
    }
    assert.deepEqual(read, [0, 1, 2, 3, 4, 5, 6]);
    const last = await one.centrifuge.history("kept:pages", { limit: 2, reverse: true });
    assert.deepEqual(last.publications.map(({ data }) => data), [6, 5]);
    await refusedWith(112, one.centrifuge.history("kept:pages", { limit: 1, since: { offset: 1, epoch: "x" } }));
    await refusedWith(103, one.centrifuge.history("closed:x", { limit: 1 }));
  });

  test("raw clients and it share channels", async () => {
    const [one, raw] = [await stock(), await plain("/raw/shared")];
    const { received, atLeast } = await one.subscribe("shared");
    await one.centrifuge.publish("shared", "a \"text\"");
    await one.centrifuge.publish("shared", { a: [1] });
    await raw.atLeast(2);
    assert.deepEqual(raw.received, ["a \"text\"", "{\"a\":[1]}"]);
    raw.send("{\"no\":\"json\"}");
    raw.send(Buffer.from([1, 255]));
    await atLeast(4);
    assert.deepEqual(received.slice(2).map(({ data }) => data), ["{\"no\":\"json\"}", "\u0000Af8="]);
    assert.equal(received[2].info, undefined);
  });

  const bytes = (value) => new TextEncoder().encode(JSON.stringify(value));
  const value = (data) => JSON.parse(new TextDecoder().decode(data));

  test("clients of Protobuf, of JSON and raw ones share channels", async () => {
    const [one, two, raw] = [await stock({ protobuf: true }), await stock(), await plain("/raw/encodings")];
    const [first, second] = [await one.subscribe("encodings"), await two.subscribe("encodings")];
    await one.centrifuge.publish("encodings", bytes({ a: [1] }));
    await Promise.all([first.atLeast(1), second.atLeast(1), raw.atLeast(1)]);
    assert.deepEqual(second.received[0].data, { a: [1] });
    assert.equal(second.received[0].info.client, one.named("connected")[0].client);
    assert.equal(first.received[0].info.client, one.named("connected")[0].client);
    await one.centrifuge.publish("encodings", Uint8Array.of(1, 255));
    await two.centrifuge.publish("encodings", { b: "é" });
    await Promise.all([first.atLeast(3), second.atLeast(3), raw.atLeast(3)]);
    assert.deepEqual(raw.received, ["{\"a\":[1]}", Buffer.from([1, 255]), "{\"b\":\"é\"}"]);
    assert.deepEqual(second.received.map(({ data }) => data), [{ a: [1] }, "\u0000Af8=", { b: "é" }]);
    assert.deepEqual([...first.received[1].data], [1, 255]);
    assert.deepEqual([0, 2].map((at) => value(first.received[at].data)), [{ a: [1] }, { b: "é" }]);
    raw.send("text");
    await first.atLeast(4);
    assert.equal(new TextDecoder().decode(first.received[3].data), "text");
  });

  test("a client of Protobuf recovers, reads history and presence, and gets errors", async () => {
    const [one, two] = [await stock({ protobuf: true }), await stock({ protobuf: true })];
    const { subscription, told, received } = await kept(one, "kept:protobuf");
    one.centrifuge.disconnect();
    for (let n = 0; n < 5; n += 1) await two.centrifuge.publish("kept:protobuf", bytes(n));
    one.centrifuge.connect();
    await subscription.ready(10_000);
    await until("what was missed", () => received.length === 5);
    assert.deepEqual([told[1].wasRecovering, told[1].recovered], [true, true]);
    assert.deepEqual(received.map(([, data]) => value(data)), [0, 1, 2, 3, 4]);
    const page = await one.centrifuge.history("kept:protobuf", { limit: 2, reverse: true });
    assert.deepEqual(page.publications.map(({ data }) => value(data)), [4, 3]);
    const room = await one.subscribe("room:protobuf");
    const id = one.named("connected").at(-1).client;
    assert.deepEqual(Object.keys((await room.subscription.presence()).clients), [id]);
    assert.equal((await room.subscription.presenceStats()).numClients, 1);
    await refusedWith(108, one.centrifuge.rpc("method", bytes({})));
    await refusedWith(103, one.centrifuge.publish("closed:x", bytes(1)));
    await refusedWith(107, one.centrifuge.publish("news", new Uint8Array()));
  });

  test("errors have the protocol's codes", async () => {
    const one = await stock();
    await refusedWith(108, one.centrifuge.rpc("method", {}));
    await refusedWith(108, one.centrifuge.history("x", { limit: 1 }));
    await refusedWith(103, one.centrifuge.publish("closed:x", 1));
    await refusedWith(107, one.centrifuge.publish("x".repeat(300), 1));
    const denied = one.centrifuge.newSubscription("closed:x");
    const gone = new Promise((done) => denied.on("unsubscribed", done));
    denied.subscribe();
    assert.equal((await within(10_000, "the refusal", gone)).code, 103);
    for (let n = 0; n < 10; n += 1) await one.subscribe(`many${n}`);
    const beyond = one.centrifuge.newSubscription("many10");
    const refused = new Promise((done) => beyond.on("unsubscribed", done));
    beyond.subscribe();
    assert.equal((await within(10_000, "the refusal", refused)).code, 106);
    assert.equal(one.centrifuge.state, "connected");
  });

  test("says who is in a channel, who comes and who leaves", async () => {
    const [one, two] = [await stock(), await stock()];
    const ids = [one, two].map((peer) => peer.named("connected")[0].client);
    const { subscription } = await one.subscribe("room:1", { joinLeave: true });
    const told = [];
    for (const name of ["join", "leave"]) subscription.on(name, ({ info }) => told.push([name, info.client]));
    const other = await two.subscribe("room:1");
    await plain("/raw/room:1");
    const stats = () => subscription.presenceStats();
    let counts;
    await until("three members", async () => (counts = await stats()).numClients === 3);
    assert.equal(counts.numUsers, 1); // all that are anonymous are one
    const { clients } = await subscription.presence();
    assert.deepEqual(Object.keys(clients).length, 3);
    for (const id of ids) assert.deepEqual(clients[id], { client: id, user: "" });
    await until("joins", () => told.filter(([name]) => name === "join").length >= 2);
    assert.ok(told.some(([name, id]) => name === "join" && id === ids[1]));
    // Back at once: not told.
    other.subscription.unsubscribe();
    other.subscription.subscribe();
    await other.subscription.ready(10_000);
    two.leave();
    await until("a leave", () => told.some(([name]) => name === "leave"));
    assert.deepEqual(told.filter(([, id]) => id === ids[1]), [["join", ids[1]], ["leave", ids[1]]]);
    await refusedWith(103, one.centrifuge.presence("room:2"));
    await refusedWith(108, one.centrifuge.presence("news"));
  });

  test("a method is the application's, with its results and errors", async () => {
    const asked = [];
    const application = createServer(async (request, response) => {
      let body = "";
      for await (const part of request.setEncoding("utf8")) body += part;
      const question = JSON.parse(body);
      asked.push([request.url, question.method, question.data]);
      const answer = {
        sum: () => ({ result: { data: { sum: question.data.reduce((sum, one) => sum + one, 0) } } }),
        nothing: () => ({ result: {} }),
        sold: () => ({ error: { code: 1000, message: "sold out" } }),
      }[question.method];
      response.end(JSON.stringify(answer?.() ?? { error: { code: 404, message: "no such method" } }, null, 1));
    });
    const url = `http://127.0.0.1:${await listen(application)}/ask/{event}`;
    const own = await start(`[[hook]]\nevents = ["rpc"]\nurl = "${url}"\ntimeout = "500ms"\n`, "rpc.toml");
    try {
      const one = await stock({}, own);
      assert.deepEqual((await one.centrifuge.rpc("sum", [1, 2, 3])).data, { sum: 6 });
      const many = await Promise.all([...Array(50).keys()].map((n) => one.centrifuge.rpc("sum", [n, 1])));
      assert.deepEqual(many.map(({ data }) => data.sum), [...Array(50).keys()].map((n) => n + 1));
      assert.equal((await one.centrifuge.rpc("nothing", null)).data, undefined);
      await assert.rejects(one.centrifuge.rpc("sold", {}), { code: 1000, message: "sold out" });
      await refusedWith(404, one.centrifuge.rpc("other", {}));
      assert.deepEqual(asked[0], ["/ask/rpc", "sum", [1, 2, 3]]);
      application.closeAllConnections();
      application.close();
      await refusedWith(100, one.centrifuge.rpc("sum", [1]));
      assert.equal(one.centrifuge.state, "connected");
    } finally {
      application.closeAllConnections();
      application.close();
      await own.stop();
    }
  });

  test("a client that says something every now and then is pinged all the same, and stays", async () => {
    // A stock client gives up the connection when no ping comes; centrifuge-python counts pings alone.
    const one = await stock({ maxServerPingDelay: 1_500 });
    const quiet = await stock({ maxServerPingDelay: 1_500 });
    const listener = await plain();
    listener.send("{\"id\":1,\"connect\":{}}");
    await listener.atLeast(1);
    const pinged = () => listener.received.filter((text) => text === "{}").length;
    const before = Date.now();
    while (pinged() < 4) {
      listener.send("{\"id\":9,\"rpc\":{}}");
      await one.centrifuge.publish("pings", 1);
      await new Promise((done) => setTimeout(done, 100));
      assert.ok(Date.now() - before < 60_000, "pings come");
    }
    assert.equal(one.named("connecting").length, 1);
    assert.equal(quiet.named("connecting").length, 1);
  });

  test("closes have the protocol's codes and reasons", async () => {
    const silent = await plain();
    silent.send("{\"id\":1,\"connect\":{}}");
    const stale = await plain();
    for (const [text, reason] of [
      ["{\"id\":1,\"rpc\":{}}", "3501 bad request"],
      ["", "3501 bad request"],
      ["{\"id\":1,\"connect\":{}}\n{\"send\":{\"data\":1}}", "3508 not available"],
      [Buffer.from([2, 8, 1]), "3506 inappropriate protocol"],
    ]) {
      const peer = await plain();
      peer.send(text);
      assert.equal(await peer.closed(), reason);
    }
    const protobuf = keep(await bare(daemon, PATH, ["centrifuge-protobuf"]));
    assert.equal(protobuf.socket.protocol, "centrifuge-protobuf");
    protobuf.send("{}");
    assert.equal(await protobuf.closed(), "3506 inappropriate protocol");
    assert.equal(await stale.closed(), "3502 stale");
    assert.equal(await silent.closed(), "3012 no pong");
  });

  test("the API's JSON arrives as JSON", async () => {
    const file = join(directory, "api.toml");
    await writeFile(file, `${CONFIG}\n[api]\nlisten = ["127.0.0.1:0"]\ndevelopment_key = true\n`);
    const own = await startDaemon({ file });
    try {
      const one = await stock({}, own);
      const { received, atLeast } = await one.subscribe("api");
      const printed = await until("the API's key", () => /curl (\S+)\/v1\/publish -H "Authorization: Bearer (\S+)"/.exec(own.output()));
      const [, url, key] = printed;
      for (const data of [{ a: "b\nc" }, "text", [1, null]]) {
        const answer = await fetch(`${url}/api/publish`, {
          method: "POST",
          headers: { "X-API-Key": key, "Content-Type": "application/json" },
          body: JSON.stringify({ channel: "api", data }, null, 2),
        });
        assert.equal((await answer.json()).error, undefined);
      }
      await atLeast(3);
      assert.deepEqual(received.map(({ data }) => data), [{ a: "b\nc" }, "text", [1, null]]);
    } finally {
      open.splice(0).forEach((peer) => peer.leave());
      await own.stop();
    }
  });

  test("tokens let in, are refreshed, and end connections", async () => {
    const own = await start(TOKENS.replace("REQUIRED", "true"), "tokens.toml");
    try {
      const caps = [{ channels: ["granted:*"], match: "wildcard", allow: ["sub", "pub"] }];
      const alice = (seconds) => token({ sub: "alice", iat: now(), exp: now() + seconds, caps });
      let asked = 0;
      const one = await stock({ getToken: async () => alice((asked += 1) && 3) }, own);
      const { received, atLeast } = await one.subscribe("granted:x");
      await until("two refreshes", () => asked >= 3, 30_000);
      await one.centrifuge.publish("granted:x", 1);
      await atLeast(1);
      assert.equal(received[0].info.user, "alice");
      assert.equal(one.named("connecting").length, 1, "it has stayed connected");

      const two = keep(client(own, { token: token({ sub: "bob", exp: now() + 60 }, "x".repeat(40)) }));
      two.centrifuge.connect();
      await until("the refusal", () => two.named("disconnected").length > 0);
      assert.deepEqual(two.named("disconnected")[0], { name: "disconnected", code: 3500, reason: "invalid token" });

      let calls = 0;
      const three = await stock({ token: alice(-5), getToken: async () => alice((calls += 1) * 60) }, own);
      assert.equal(calls, 1, "109 makes it ask for another token");
      three.leave();

      const none = keep(client(own));
      none.centrifuge.connect();
      await until("the refusal", () => none.named("disconnected").length > 0);
      assert.equal(none.named("disconnected")[0].code, 101);
      assert.ok(!own.output().includes("eyJ"), "no token is logged");
    } finally {
      open.splice(0).forEach((peer) => peer.leave());
      await own.stop();
    }
  });

  test("a token of its own allows a subscription, and is refreshed", async () => {
    const own = await start(TOKENS.replace("REQUIRED", "true"), "subscriptions.toml");
    try {
      const claims = { iat: now(), exp: now() + 600 };
      const one = await stock({ token: token({ sub: "alice", ...claims }) }, own);
      const gone = async (channel, options) => {
        const subscription = one.centrifuge.newSubscription(channel, options);
        const ended = new Promise((done) => subscription.on("unsubscribed", done));
        subscription.subscribe();
        return (await within(10_000, "the refusal", ended)).code;
      };
      const of = (channel, sub, seconds = 600) => token({ sub, channel, iat: now(), exp: now() + seconds });
      assert.equal(await gone("granted:none"), 103);
      assert.equal(await gone("granted:bob", { token: of("granted:bob", "bob") }), 103);
      assert.equal(await gone("granted:other", { token: of("granted:x", "alice") }), 103);
      assert.equal(await gone("granted:own", { token: token({ sub: "alice", ...claims }) }), 103);
      let asked = 0;
      const getToken = async ({ channel }) => of(channel, "alice", (asked += 1) && 3);
      const { subscription, received } = await one.subscribe("granted:x", { getToken });
      await until("two refreshes", () => asked >= 3, 30_000);
      await one.centrifuge.publish("granted:y", 0).catch(({ code }) => assert.equal(code, 103));
      assert.equal(subscription.state, "subscribed");
      assert.equal(received.length, 0);
      let calls = 0;
      const late = await one.subscribe("granted:late", {
        token: of("granted:late", "alice", -5),
        getToken: async ({ channel }) => of(channel, "alice", (calls += 1) * 60),
      });
      assert.equal(late.subscription.state, "subscribed");
      assert.equal(calls, 1, "109 makes it ask for another token");
      assert.ok(!own.output().includes("eyJ"), "no token is logged");
    } finally {
      open.splice(0).forEach((peer) => peer.leave());
      await own.stop();
    }
  });

  test("a drain sends clients to another server, or back", async () => {
    const own = await start("", "drain.toml");
    const one = await stock({}, own);
    assert.deepEqual(await own.stop(), { code: 0, signal: null });
    await until("it reconnects", () => one.named("connecting").length >= 2);
    assert.deepEqual(one.named("connecting")[1], { name: "connecting", code: 3001, reason: "shutdown" });
  });
});
