// npm's autobahn as caller and callee, against the daemon.

import assert from "node:assert/strict";
import autobahn from "autobahn";
import { after, afterEach, before, describe, test } from "node:test";
import { driver, startDaemon } from "../daemon.mjs";
import { join } from "./peers.mjs";

describe(`npm autobahn calls, driver ${driver ?? "by default"}`, { timeout: 120_000 }, () => {
  let daemon;
  const open = [];

  before(async () => { daemon = await startDaemon(); });
  after(async () => { await daemon?.stop(); });
  afterEach(async () => {
    for (const peer of open.splice(0)) await peer.leave();
  });

  async function sessions(count) {
    const joined = await Promise.all(Array.from({ length: count }, () => join(daemon)));
    open.push(...joined);
    return joined;
  }

  const register = (peer, procedure, endpoint, options = {}) =>
    peer.ask(`REGISTERED ${procedure}`, peer.session.register(procedure, endpoint, options));
  const call = (peer, procedure, args, kwargs, options = {}) =>
    peer.ask(`RESULT of ${procedure}`, peer.session.call(procedure, args, kwargs, options));

  async function failsWith(uri, asked) {
    await assert.rejects(asked, (error) => {
      assert.equal(error.error, uri);
      return true;
    });
  }

  test("calls reach their procedures, from each session to each", async () => {
    const peers = await sessions(4);
    for (const [n, peer] of peers.entries()) {
      await register(peer, `com.example.add${n}`, ([a, b]) => a + b + n);
    }
    for (const peer of peers) {
      for (const n of peers.keys()) assert.equal(await call(peer, `com.example.add${n}`, [2, 3]), 5 + n);
    }
    const many = Array.from({ length: 100 }, (_, n) => call(peers[0], "com.example.add1", [n, 0]));
    assert.deepEqual(await Promise.all(many), Array.from({ length: 100 }, (_, n) => n + 1));
  });

  test("an error has its name and arguments", async () => {
    const [caller, callee] = await sessions(2);
    await register(callee, "com.example.fails", () => {
      throw new autobahn.Error("com.example.error", ["why"], { how: 1 });
    });
    await assert.rejects(call(caller, "com.example.fails"), (error) => {
      assert.deepEqual([error.error, error.args, error.kwargs], ["com.example.error", ["why"], { how: 1 }]);
      return true;
    });
    await failsWith("wamp.error.no_such_procedure", call(caller, "com.example.nothing"));
  });

  test("progressive results come before the last", async () => {
    const [caller, callee] = await sessions(2);
    await register(callee, "com.example.count", async ([to], _, details) => {
      for (let n = 1; n < to; n += 1) details.progress([n]);
      return to;
    });
    const parts = [];
    const last = caller.session.call("com.example.count", [4], {}, { receive_progress: true })
      .then((result) => result, undefined, (part) => parts.push(part));
    assert.equal(await caller.ask("the last result", last), 4);
    assert.deepEqual(parts, [1, 2, 3]);
  });

  test("patterns tell what was called, and shared registrations take turns", async () => {
    const [caller, one, two] = await sessions(3);
    await register(one, "com.example.tree", (_args, _kwargs, details) => details.procedure, { match: "prefix" });
    assert.equal(await call(caller, "com.example.tree.leaf"), "com.example.tree.leaf");
    await register(one, "com.example.shared", () => "one", { invoke: "roundrobin" });
    await register(two, "com.example.shared", () => "two", { invoke: "roundrobin" });
    const turns = [];
    for (let n = 0; n < 4; n += 1) turns.push(await call(caller, "com.example.shared"));
    assert.deepEqual(turns, ["one", "two", "one", "two"]);
    await failsWith("wamp.error.procedure_already_exists", (async () => {
      await register(one, "com.example.single", () => 1);
      await register(two, "com.example.single", () => 2);
    })());
  });

  test("a caller is named only when it asks for it", async () => {
    const [caller, callee] = await sessions(2);
    await register(callee, "com.example.who", (_args, _kwargs, details) => details.caller ?? "unknown");
    assert.equal(await call(caller, "com.example.who"), "unknown");
    assert.equal(await call(caller, "com.example.who", [], {}, { disclose_me: true }), caller.session.id);
  });

  test("a procedure ends with its registration, and a call with its callee", async () => {
    const [caller, callee] = await sessions(2);
    const registration = await register(callee, "com.example.ends", () => 1);
    assert.equal(await call(caller, "com.example.ends"), 1);
    await callee.ask("UNREGISTERED", callee.session.unregister(registration));
    await failsWith("wamp.error.no_such_procedure", call(caller, "com.example.ends"));
    await register(callee, "com.example.never", () => new Promise(() => {}));
    const asked = call(caller, "com.example.never");
    await call(caller, "com.example.nothing").catch(() => {});
    callee.connection.close();
    await failsWith("wamp.error.canceled", asked);
  });

  test("a call that is not answered in time fails", async () => {
    const [caller, callee] = await sessions(2);
    await register(callee, "com.example.slow", () => new Promise(() => {}));
    await failsWith("wamp.error.timeout", call(caller, "com.example.slow", [], {}, { timeout: 100 }));
  });
});
