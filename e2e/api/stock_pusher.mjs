// npm's pusher against Pusher's HTTP API: stock_pusher.mjs HOST PORT ID KEY SECRET. stock_pusher.py starts it.

import assert from "node:assert/strict";
import Pusher from "pusher";

const [host, port, appId, key, secret] = process.argv.slice(2);
const pusher = new Pusher({ appId, key, secret, host, port, useTLS: false, timeout: 30_000 });

/** The status and the body of a refusal. */
async function refused(request) {
  try {
    await request;
  } catch (error) {
    return { status: error.status, body: error.body };
  }
  throw new Error("it is not refused");
}

async function json(response) {
  assert.equal(response.status, 200);
  return response.json();
}

assert.deepEqual(await json(await pusher.trigger("heard", "from-node", { n: 1 })), {});
assert.deepEqual(await json(await pusher.trigger(["heard", "empty"], "from-node", "text")), {});
const counted = await json(await pusher.trigger("heard", "from-node", { n: 2 }, { info: "subscription_count" }));
assert.deepEqual(counted, { channels: { heard: { subscription_count: 1 } } });
const batch = [{ channel: "heard", name: "from-node", data: { n: 3 } }, { channel: "empty", name: "n", data: "" }];
assert.deepEqual(await json(await pusher.triggerBatch(batch)), {});

const listed = await json(await pusher.get({ path: "/channels", params: { filter_by_prefix: "hea" } }));
assert.deepEqual(listed, { channels: { heard: { occupied: true, subscription_count: 1 } } });
const one = await json(await pusher.get({ path: "/channels/heard", params: { info: "subscription_count" } }));
assert.deepEqual(one, { occupied: true, subscription_count: 1 });
assert.deepEqual(await json(await pusher.get({ path: "/channels/presence-none/users" })), { users: [] });
await json(await pusher.sendToUser("ann", "n", { for: "ann" }));
await json(await pusher.terminateUserConnections("ann"));

const wrong = new Pusher({ appId, key, secret: "another secret", host, port, useTLS: false });
const unsigned = await refused(wrong.trigger("heard", "n", {}));
assert.equal(unsigned.status, 401);
assert.match(unsigned.body, /auth_signature/);
const other = new Pusher({ appId: "nobody", key, secret, host, port, useTLS: false });
assert.equal((await refused(other.trigger("heard", "n", {}))).status, 404);
assert.equal((await refused(pusher.get({ path: "/channels/heard", params: { info: "user_count" } }))).status, 400);
const long = await refused(pusher.trigger("heard", "n", "d".repeat(10_241)));
assert.equal(long.status, 413);
