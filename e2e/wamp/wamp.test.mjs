// npm's autobahn against the daemon: joins, subscribes, publishes, and talks with raw clients.

import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { driver, startDaemon, until, within } from "../daemon.mjs";
import { join, raw, serializers } from "./peers.mjs";

describe(`npm autobahn, driver ${driver ?? "by default"}`, { timeout: 120_000 }, () => {
  let daemon;
  const open = [];

  before(async () => { daemon = await startDaemon(); });
  after(async () => { await daemon?.stop(); });
  afterEach(async () => {
    for (const peer of open.splice(0)) await peer.leave();
  });

  async function wamp(realm, serializer) {
    const peer = await join(daemon, realm, serializer);
    open.push(peer);
    return peer;
  }

  async function plain(path, protocols) {
    const peer = await raw(daemon, path, protocols);
    open.push(peer);
    return peer;
  }

  /** The acknowledged publication; resolves once the broker has said PUBLISHED. */
  const publish = (peer, topic, args, kwargs, options = {}) =>
    peer.ask(`PUBLISHED to ${topic}`, peer.session.publish(topic, args, kwargs, { acknowledge: true, ...options }));

  async function refusedWith(uri, asked) {
    await assert.rejects(asked, (error) => {
      assert.equal(error.error, uri);
      return true;
    });
  }

  test("joins realm1 and is welcomed by a broker and dealer", async () => {
    const { session } = await wamp();
    assert.ok(session.isOpen);
    assert.equal(session.realm, "realm1");
    assert.ok(Number.isInteger(session.id) && session.id >= 1 && session.id <= 2 ** 53);
    assert.equal(session.features.publisher.publisher_exclusion, true, "a feature that both ends announce");
    assert.equal(session.features.caller.call_canceling, true, "a dealer's, likewise");
  });

  test("publishes with acknowledge, and another session hears arguments as they were", async () => {
    const [one, two] = [await wamp(), await wamp()];
    const ear = await two.listen("com.example.topic");
    const args = ["text", 42, -1.5, true, null, [1, [2]], { deep: { er: "ja" } }, "Grüße, 你好, 🐦 \" \\ \n \u0001"];
    const published = await publish(one, "com.example.topic", args, { colour: "red", n: 7 });
    assert.ok(published.id >= 1 && published.id <= 2 ** 53, "a publication id");
    await ear.atLeast(1);
    assert.deepEqual(ear.received, [{ args, kwargs: { colour: "red", n: 7 } }]);
  });

  test("publishes without acknowledge", async () => {
    const [one, two] = [await wamp(), await wamp()];
    const ear = await two.listen("com.example.quiet");
    assert.equal(one.session.publish("com.example.quiet", ["x"]), undefined);
    await ear.atLeast(1);
  });

  test("hears its own publication only with exclude_me false", async () => {
    const one = await wamp();
    const ear = await one.listen("com.example.own");
    await publish(one, "com.example.own", ["by default"]);
    await publish(one, "com.example.own", ["excluded"], {}, { exclude_me: true });
    await publish(one, "com.example.own", ["included"], {}, { exclude_me: false });
    await ear.atLeast(1);
    assert.deepEqual(ear.received.map(({ args }) => args[0]), ["included"]);
  });

  test("has one subscription id per topic for all sessions", async () => {
    const [one, two] = [await wamp(), await wamp()];
    const [a, b, other] = [await one.listen("com.example.same"), await two.listen("com.example.same"), await one.listen("com.example.other")];
    assert.equal(a.subscription.id, b.subscription.id);
    assert.notEqual(a.subscription.id, other.subscription.id);
  });

  test("hears what matches a pattern, from WAMP and raw publishers, with the topic", async () => {
    const [one, two] = [await wamp(), await wamp(undefined, "msgpack")];
    const prefix = await one.listen("com.example.tree", { match: "prefix" });
    const wildcard = await two.listen("com..tree.leaf", { match: "wildcard" });
    await publish(one, "com.example.treetop", ["not by the one who publishes"]);
    await publish(two, "com.example.treetop", [1]);
    await publish(two, "com.example.other", ["no match"]);
    const plainly = await plain("/raw/com.example.tree.leaf");
    plainly.send("2");
    await Promise.all([prefix.atLeast(2), wildcard.atLeast(1)]);
    await one.ask("UNSUBSCRIBED", one.session.unsubscribe(prefix.subscription));
    await publish(two, "com.example.treetop", ["later"]);
    const heard = ({ received, topics }) => received.map(({ args }, at) => `${topics[at]} ${args[0]}`).sort();
    assert.deepEqual(heard(prefix), ["com.example.tree.leaf 2", "com.example.treetop 1"]);
    assert.deepEqual(heard(wildcard), ["com.example.tree.leaf 2"]);
  });

  test("hears nothing after it has unsubscribed, while others still do", async () => {
    const [one, two, three] = [await wamp(), await wamp(), await wamp()];
    const [gone, stays] = [await one.listen("com.example.leaving"), await two.listen("com.example.leaving")];
    await one.ask("UNSUBSCRIBED", one.session.unsubscribe(gone.subscription));
    await publish(three, "com.example.leaving", ["later"]);
    await stays.atLeast(1);
    // What is behind the event on one's own connection has come too, once a round trip is over.
    await publish(one, "com.example.unsubscribed", []);
    assert.deepEqual(gone.received, []);
  });

  test("is told no_such_subscription", async () => {
    const one = await wamp();
    const { subscription } = await one.listen("com.example.known");
    // The stock client checks its own list first, so it is made to believe in another id.
    subscription.id = 4711;
    one.session._subscriptions[4711] = [subscription];
    await refusedWith("wamp.error.no_such_subscription", one.ask("ERROR", one.session.unsubscribe(subscription)));
  });

  test("is told invalid_uri, on SUBSCRIBE and on PUBLISH, and stays connected", async () => {
    const one = await wamp();
    for (const topic of ["com..empty", "has space.topic", "hash#tag", ""]) {
      await refusedWith("wamp.error.invalid_uri", one.ask("ERROR", one.session.subscribe(topic, () => {})));
      await refusedWith("wamp.error.invalid_uri", publish(one, topic, ["x"]));
    }
    await publish(one, "com.example.fine", ["x"]);
  });

  test("says goodbye and is answered goodbye_and_out", async () => {
    const one = await wamp();
    one.connection.close("wamp.close.normal", "enough");
    const end = await within(5_000, "the end", one.closed);
    assert.deepEqual([end.reason, end.uri], ["closed", "wamp.close.goodbye_and_out"]);
  });

  test("keeps the order of five hundred publications of two publishers", async () => {
    const [one, two, three] = [await wamp(), await wamp(), await wamp()];
    const [a, b] = [await three.listen("com.example.order"), await (await wamp()).listen("com.example.order")];
    for (let n = 0; n < 250; n += 1) {
      one.session.publish("com.example.order", ["one", n]);
      two.session.publish("com.example.order", ["two", n]);
    }
    await a.atLeast(500);
    await b.atLeast(500);
    for (const name of ["one", "two"]) {
      const numbers = a.received.filter(({ args }) => args[0] === name).map(({ args }) => args[1]);
      assert.deepEqual(numbers, Array.from({ length: 250 }, (_, n) => n));
    }
    assert.deepEqual(a.received, b.received, "every subscriber sees the same order");
  });

  test("speaks each serializer, and hears every other", async () => {
    const args = ["text", 42, -1.5, true, null, [1, [2]], { deep: { er: "ja" } }, "Grüße 🐦", 2 ** 40];
    const peers = [];
    for (const name of Object.keys(serializers)) {
      const peer = await wamp("realm1", name);
      peers.push({ name, peer, ear: await peer.listen("com.example.serializers") });
    }
    for (const [n, from] of peers.entries()) {
      await publish(from.peer, "com.example.serializers", args, { from: from.name }, { exclude_me: false });
      for (const { name, ear } of peers) {
        await ear.atLeast(n + 1);
        assert.deepEqual(ear.received[n], { args, kwargs: { from: from.name } }, `${from.name} to ${name}`);
      }
    }
  });

  test("publishes to the receivers that it names, and names itself if it wants", async () => {
    const [one, two, three] = [await wamp(), await wamp(), await wamp()];
    const ears = [await two.listen("com.example.lists"), await three.listen("com.example.lists")];
    await publish(one, "com.example.lists", ["exclude"], {}, { exclude: [two.session.id] });
    await publish(one, "com.example.lists", ["eligible"], {}, { eligible: [two.session.id] });
    await publish(one, "com.example.lists", ["all"], {}, { disclose_me: true });
    for (const ear of ears) await ear.atLeast(2);
    assert.deepEqual(ears.map((ear) => ear.received.map(({ args }) => args[0])), [["eligible", "all"], ["exclude", "all"]]);
    assert.deepEqual(ears.map((ear) => ear.publishers.map((id) => id === one.session.id)), [[false, true], [false, true]]);
  });

  test("hears a raw client: text as its one argument, binary by WAMP's convention", async () => {
    const one = await wamp();
    const ear = await one.listen("com.example.topic");
    const peer = await plain("/raw/com.example.topic");
    peer.send("plain \"text\" \\ 🐦");
    peer.send(Buffer.from([0, 1, 2, 253, 254, 255]));
    await ear.atLeast(2);
    assert.deepEqual(ear.received, [
      { args: ["plain \"text\" \\ 🐦"], kwargs: {} },
      { args: ["\u0000AAEC/f7/"], kwargs: {} },
    ]);
  });

  test("reaches a raw client: one string as text, anything else as JSON", async () => {
    const one = await wamp();
    const peer = await plain("/raw/com.example.topic");
    await publish(one, "com.example.topic", ["just text"]);
    await publish(one, "com.example.topic", ["\u0000AAEC/f7/"]);
    await publish(one, "com.example.topic", [1, "two"], { three: [4] });
    await publish(one, "com.example.topic", [5]);
    await peer.atLeast(4);
    const [text, bytes, both, single] = peer.received;
    assert.equal(text, "just text");
    assert.deepEqual(bytes, Buffer.from([0, 1, 2, 253, 254, 255]));
    assert.deepEqual(JSON.parse(both), { args: [1, "two"], kwargs: { three: [4] } });
    assert.deepEqual(JSON.parse(single).args, [5]);
  });

  test("finds its subprotocol among those offered", async () => {
    for (const name of ["wamp.2.json", "wamp.2.msgpack", "wamp.2.cbor", "wamp.2.cbor.batched"]) {
      const peer = await plain("/wamp", ["wamp.2.ubjson", name, "wamp.2.flatbuffers"]);
      assert.equal(peer.socket.protocol, name);
    }
  });

  test("is told ABORT protocol_violation when it speaks out of turn, and closed", async () => {
    for (const message of ["[16,1,{},\"com.example.topic\"]", "not JSON", "[1]", "{}", Buffer.from("[1,\"realm1\",{}]")]) {
      const peer = await plain("/wamp", ["wamp.2.json"]);
      peer.send(message);
      const { code } = await within(5_000, `the close after ${message}`, peer.closed);
      assert.equal(code, 1002, String(message));
      const [type, , reason] = JSON.parse(peer.received[0]);
      assert.deepEqual([type, reason], [3, "wamp.error.protocol_violation"], String(message));
    }
  });

  test("is told system_shutdown and 1001 when the daemon stops", async () => {
    const mine = await startDaemon();
    const one = await join(mine);
    const bystander = await raw(mine, "/wamp", ["wamp.2.json"]);
    bystander.send(JSON.stringify([1, "realm1", { roles: { subscriber: {} } }]));
    await bystander.atLeast(1);
    assert.deepEqual(await mine.stop(), { code: 0, signal: null });
    assert.equal((await within(5_000, "the end", one.closed)).reason, "closed");
    assert.equal((await within(5_000, "the end", bystander.closed)).code, 1001);
    assert.equal(JSON.parse(bystander.received[1])[2], "wamp.close.system_shutdown");
  });

  test("leaves nothing behind: its channel is new again once all have left", async () => {
    const one = await wamp();
    await one.listen("com.example.passing");
    const subscriptions = async () => JSON.parse((await daemon.stats()).body).subscriptions;
    const busy = await subscriptions();
    await one.leave();
    await until("fewer subscriptions", async () => (await subscriptions()) < busy);
  });
});
