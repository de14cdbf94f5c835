// npm's pusher-js against the daemon, over ws and wss: channels of all kinds, client events, sign-in, a drain.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, describe, test } from "node:test";
import nacl from "tweetnacl";
import { driver, startDaemon, until } from "../daemon.mjs";
import { CONFIG, SECRET, application, bare, client, publish } from "./peers.mjs";

process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0"; // the daemon's certificate is its own

const SETTLE_MS = 700; // longer than a leave lingers and is gathered

for (const scheme of ["ws", "wss"]) {
  describe(`npm pusher-js over ${scheme}, driver ${driver ?? "by default"}`, { timeout: 240_000 }, () => {
    let directory;
    let daemon;
    let app;
    const open = [];

    async function start() {
      const file = join(directory, "roost.toml");
      await writeFile(file, CONFIG);
      return startDaemon({ file, tls: scheme === "wss" ? directory : null });
    }

    before(async () => {
      directory = await mkdtemp(join(tmpdir(), "roost-pusher-"));
      await writeFile(join(directory, "pusher.secret"), `${SECRET}\n`, { mode: 0o600 });
      app = await application();
      daemon = await start();
    });
    after(async () => {
      await daemon?.stop();
      app?.stop();
      await rm(directory, { recursive: true });
    });
    afterEach(() => open.splice(0).forEach((peer) => peer.leave()));

    const keep = (peer) => {
      open.push(peer);
      return peer;
    };
    const stock = (options, at = daemon) => keep(client(at, app, options)).connect();

    test("connects, subscribes, and gets what others publish", async () => {
      const one = await stock();
      assert.match(one.pusher.connection.socket_id, /^\d+\.\d+$/);
      const lobby = await one.subscribe("lobby");
      const raw = keep(await bare(daemon, "/raw/lobby"));
      raw.send(JSON.stringify({ a: [1, "ü"] }));
      assert.deepEqual((await lobby.next("message")).data, { a: [1, "ü"] });
      await publish(daemon, "lobby", "text");
      assert.equal((await lobby.next("message", 2)).data, "text");
      one.pusher.unsubscribe("lobby");
      const again = await one.subscribe("other");
      raw.send("unheard");
      await publish(daemon, "other", "heard");
      await again.next("message");
      assert.equal(lobby.named("message").length, 2);
    });

    test("stays connected while it is quiet", async () => {
      const one = await stock();
      await new Promise((done) => setTimeout(done, 5_000)); // more than twice its activity timeout
      assert.equal(one.pusher.connection.state, "connected");
      assert.deepEqual(one.errors, []);
    });

    test("a private channel needs the application's signature", async () => {
      const one = await stock();
      const good = await one.subscribe("private-a");
      assert.equal(good.named("pusher:subscription_succeeded").length, 1);
      const forged = await one.subscribe("private-forged");
      const [{ data: error }] = forged.named("pusher:subscription_error");
      assert.deepEqual([error.type, error.status], ["AuthError", 401]);
      const forbidden = await one.subscribe("private-forbidden");
      assert.equal(forbidden.named("pusher:subscription_error")[0].data.status, 403);
      await assert.rejects(bare(daemon, "/raw/private-a"));
      await publish(daemon, "private-a", "{}");
      await good.next("message");
    });

    test("members are users, come and go", async () => {
      const [one, two] = [await stock({ user: "1" }), await stock({ user: "2" })];
      const first = await one.subscribe("presence-room");
      const second = await two.subscribe("presence-room");
      await until("both are known", () => second.channel.members.count === 2);
      assert.deepEqual(second.channel.members.me, { id: "2", info: { name: "user 2" } });
      const added = await first.next("pusher:member_added");
      assert.deepEqual(added.data, { id: "2", info: { name: "user 2" } });
      assert.equal(first.channel.members.count, 2);
      const again = await stock({ user: "2" });
      const third = await again.subscribe("presence-room");
      await until("both are known", () => third.channel.members.count === 2);
      two.leave();
      await new Promise((done) => setTimeout(done, SETTLE_MS));
      assert.deepEqual(first.named("pusher:member_removed"), []);
      again.leave();
      assert.equal((await first.next("pusher:member_removed")).data.id, "2");
      assert.equal(first.channel.members.count, 1);
      assert.equal(first.named("pusher:member_added").length, 1);
    });

    test("a channel that is full refuses another user", async () => {
      const peers = [];
      for (const user of ["1", "2", "3"]) {
        const peer = await stock({ user });
        peers.push(await peer.subscribe("presence-full"));
      }
      await until("all are known", () => peers[2].channel.members.count === 3);
      const late = await (await stock({ user: "4" })).subscribe("presence-full");
      assert.equal(late.named("pusher:subscription_error")[0].data.type, "LimitReached");
    });

    test("client events go to the others, with the user's id in presence channels", async () => {
      const [one, two] = [await stock({ user: "1" }), await stock({ user: "2" })];
      for (const name of ["private-talk", "presence-talk"]) {
        const [first, second] = [await one.subscribe(name), await two.subscribe(name)];
        const metadata = []; // global callbacks get none
        second.channel.bind("client-typing", (data, more) => metadata.push(more));
        assert.ok(first.channel.trigger("client-typing", { at: 1 }));
        const heard = await second.next("client-typing");
        assert.deepEqual(heard.data, { at: 1 });
        assert.equal(metadata[0]?.user_id, name.startsWith("presence-") ? "1" : undefined);
        second.channel.trigger("client-typing", "back");
        assert.equal((await first.next("client-typing")).data, "back");
        assert.deepEqual([first, second].map((peer) => peer.named("client-typing").length), [1, 1]);
      }
    });

    test("too many client events in a second are refused, and the client is told", async () => {
      const one = await stock();
      const { channel } = await one.subscribe("private-flood");
      for (let n = 0; n < 40; n += 1) channel.trigger("client-n", n);
      await until("an error", () => one.errors.length > 0);
      assert.equal(one.errors[0].data.code, 4301);
      assert.equal(one.pusher.connection.state, "connected");
    });

    test("encrypted channels are read by those that have the secret", async () => {
      const secret = randomBytes(32);
      app.secrets.set("private-encrypted-a", secret.toString("base64"));
      const one = await stock();
      const { next } = await one.subscribe("private-encrypted-a");
      const nonce = randomBytes(24);
      const plain = Buffer.from(JSON.stringify({ hidden: true }));
      const ciphertext = Buffer.from(nacl.secretbox(plain, nonce, secret));
      const sealed = { nonce: nonce.toString("base64"), ciphertext: ciphertext.toString("base64") };
      await publish(daemon, "private-encrypted-a", JSON.stringify(sealed));
      assert.deepEqual((await next("message")).data, { hidden: true });
    });

    test("a cache channel answers with its last event, or says that it has none", async () => {
      const one = await stock({ user: "1" });
      for (const name of ["cache-a", "private-cache-a", "presence-cache-a"]) {
        const first = await one.subscribe(name);
        await first.next("pusher:cache_miss");
        await publish(daemon, name, "last");
        await first.next("message");
        const second = await (await stock({ user: "2" })).subscribe(name);
        assert.equal((await second.next("message")).data, "last");
        assert.deepEqual(second.named("pusher:cache_miss"), []);
      }
    });

    test("a user signs in and has a channel of its own", async () => {
      const one = await stock();
      const told = [];
      one.pusher.user.bind_global((event, data) => told.push({ event, data }));
      one.pusher.signin();
      await one.pusher.user.signinDonePromise;
      assert.equal(one.pusher.user.user_data.id, "7");
      await until("its channel", async () => {
        await publish(daemon, "#server-to-user-7", "for you");
        return told.some(({ data }) => data === "for you");
      });
    });

    test("an application that there is not is refused for good", async () => {
      const peer = keep(await bare(daemon, "/app/unknown?protocol=7"));
      assert.equal(await peer.closed, 4001);
      assert.equal(JSON.parse(peer.received[0]).data.code, 4001);
    });

    test("a drain sends clients back at once", async () => {
      const own = await start();
      const one = await stock({}, own);
      await one.subscribe("lobby");
      assert.deepEqual(await own.stop(), { code: 0, signal: null });
      await until("it connects again", () => one.states.includes("connecting") || one.states.includes("unavailable"));
      assert.ok(one.errors.some(({ data }) => data?.code === 4200), JSON.stringify(one.errors));
    });
  });
}
