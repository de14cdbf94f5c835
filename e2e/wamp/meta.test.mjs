// npm's autobahn and what there is in a realm: meta API, its events, retained events, and the realms themselves.

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join as path } from "node:path";
import { after, afterEach, before, describe, test } from "node:test";
import { driver, startDaemon, until } from "../daemon.mjs";
import { join } from "./peers.mjs";

const CONFIG = `
[listener]
demo_page = true # the start block then has a URL, which startDaemon waits for

[wamp]
realms = []

[[wamp.realm]]
name = "realm1"

[[wamp.realm]]
name = "acme"
prefix = "acme:."

[[namespace]]
name = "kept"
history_messages_max = 10
history_bytes_max = "64KiB"
history_lifetime = "5m"
`;

describe(`npm autobahn and the meta API, driver ${driver ?? "by default"}`, { timeout: 120_000 }, () => {
  let daemon;
  let directory;
  const open = [];

  before(async () => {
    directory = await mkdtemp(path(tmpdir(), "roost-meta-"));
    await writeFile(path(directory, "roost.toml"), CONFIG);
    daemon = await startDaemon({ file: path(directory, "roost.toml") });
  });
  after(async () => {
    await daemon?.stop();
    await rm(directory, { recursive: true });
  });
  afterEach(async () => {
    for (const peer of open.splice(0)) await peer.leave();
  });

  async function sessions(count, realm = "realm1", serializer = "json") {
    const joined = await Promise.all(Array.from({ length: count }, () => join(daemon, realm, serializer)));
    open.push(...joined);
    return joined;
  }

  const call = (peer, procedure, ...args) => peer.ask(`RESULT of ${procedure}`, peer.session.call(`wamp.${procedure}`, args));
  const register = (peer, procedure, options) =>
    peer.ask(`REGISTERED ${procedure}`, peer.session.register(procedure, () => 1, options));
  const sorted = (list) => [...list].sort((a, b) => a - b);

  async function failsWith(uri, asked) {
    await assert.rejects(asked, (error) => {
      assert.equal(error.error, uri);
      return true;
    });
  }

  for (const serializer of ["json", "msgpack", "cbor"]) {
    test(`registrations are listed and told of, in ${serializer}`, async () => {
      const [asker, one, two] = await sessions(3, "realm1", serializer);
      const shared = await register(one, "com.shared", { invoke: "roundrobin" });
      await register(two, "com.shared", { invoke: "roundrobin" });
      const prefix = await register(two, "com.", { match: "prefix" });
      assert.deepEqual(await call(asker, "registration.list"), { exact: [shared.id], prefix: [prefix.id], wildcard: [] });
      assert.equal(await call(asker, "registration.lookup", "com.", { match: "prefix" }), prefix.id);
      assert.equal(await call(asker, "registration.match", "com.other"), prefix.id);
      assert.equal(await call(asker, "registration.match", "net.other"), null);
      const details = await call(asker, "registration.get", shared.id);
      assert.ok(Math.abs(new Date(details.created) - new Date()) < 60_000, details.created);
      delete details.created;
      assert.deepEqual(details, { id: shared.id, uri: "com.shared", match: "exact", invoke: "roundrobin" });
      assert.deepEqual(await call(asker, "registration.list_callees", shared.id), [one.session.id, two.session.id]);
      assert.equal(await call(asker, "registration.count_callees", shared.id), 2);
      await failsWith("wamp.error.no_such_registration", call(asker, "registration.get", 2 ** 40));
    });
  }

  test("subscriptions are listed and told of", async () => {
    const [asker, one, two] = await sessions(3);
    const { subscription } = await one.listen("com.topic");
    await two.listen("com.topic");
    const { subscription: pattern } = await two.listen("com.", { match: "prefix" });
    assert.deepEqual(await call(asker, "subscription.list"), { exact: [subscription.id], prefix: [pattern.id], wildcard: [] });
    assert.equal(await call(asker, "subscription.lookup", "com.topic"), subscription.id);
    assert.deepEqual(sorted(await call(asker, "subscription.match", "com.topic")), sorted([subscription.id, pattern.id]));
    const details = { id: subscription.id, created: null, uri: "com.topic", match: "exact" };
    assert.deepEqual(await call(asker, "subscription.get", subscription.id), details);
    const subscribers = await call(asker, "subscription.list_subscribers", subscription.id);
    assert.deepEqual(sorted(subscribers), sorted([one.session.id, two.session.id]));
    assert.equal(await call(asker, "subscription.count_subscribers", pattern.id), 1);
    await failsWith("wamp.error.no_such_subscription", call(asker, "subscription.get", 2 ** 40));
  });

  test("what comes and goes is told", async () => {
    const [listener, peer] = await sessions(2);
    const heard = {};
    for (const event of ["registration.on_create", "registration.on_delete", "subscription.on_subscribe", "subscription.on_unsubscribe"]) {
      heard[event] = await listener.listen(`wamp.${event}`);
    }
    const registration = await register(peer, "com.proc");
    await heard["registration.on_create"].atLeast(1);
    const [{ args: [session, details] }] = heard["registration.on_create"].received;
    assert.deepEqual([session, details.id, details.uri], [peer.session.id, registration.id, "com.proc"]);
    const { subscription } = await peer.listen("com.topic");
    await heard["subscription.on_subscribe"].atLeast(1);
    assert.deepEqual(heard["subscription.on_subscribe"].received[0].args, [peer.session.id, subscription.id]);
    const id = peer.session.id;
    await peer.leave();
    await heard["registration.on_delete"].atLeast(1);
    await heard["subscription.on_unsubscribe"].atLeast(1);
    assert.deepEqual(heard["registration.on_delete"].received[0].args, [id, registration.id]);
    assert.deepEqual(heard["subscription.on_unsubscribe"].received[0].args, [id, subscription.id]);
  });

  test("a retained event comes to those that ask", async () => {
    const [publisher, asks, does_not] = await sessions(3);
    const publish = (text, options) =>
      publisher.ask("PUBLISHED", publisher.session.publish("kept:com.topic", [text], {}, { acknowledge: true, ...options }));
    await publish("first", { retain: true });
    await publish("second", { retain: true });
    await publish("not retained", {});
    const retained = [];
    const hear = ([text], _, details) => retained.push([text, details.retained]);
    await asks.ask("SUBSCRIBED", asks.session.subscribe("kept:com.topic", hear, { get_retained: true }));
    const { received } = await does_not.listen("kept:com.topic");
    await publish("later", {});
    await until("the last event", () => retained.length >= 2 && received.length >= 1);
    assert.deepEqual(retained.map(([text, flag]) => [text, flag === true]), [["second", true], ["later", false]]);
    assert.deepEqual(received, [{ args: ["later"], kwargs: {} }]);
  });

  test("no realm sees another's", async () => {
    const [asker] = await sessions(1);
    const [other] = await sessions(1, "acme");
    const registration = await register(other, "com.own");
    const { subscription } = await other.listen("com.topic");
    const none = { exact: [], prefix: [], wildcard: [] };
    assert.deepEqual(await call(asker, "registration.list"), none);
    assert.deepEqual(await call(asker, "subscription.list"), none);
    await failsWith("wamp.error.no_such_registration", call(asker, "registration.get", registration.id));
    await failsWith("wamp.error.no_such_subscription", call(asker, "subscription.get", subscription.id));
    assert.deepEqual(await call(other, "registration.list"), { ...none, exact: [registration.id] });
    assert.deepEqual(await call(other, "session.list"), [other.session.id]);
    await failsWith("wamp.error.no_such_procedure", asker.ask("RESULT", asker.session.call("com.own")));
  });
});
