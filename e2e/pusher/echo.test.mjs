// npm's laravel-echo above pusher-js against the daemon: what Laravel's pages do with channels of each kind.

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, describe, test } from "node:test";
import Echo from "laravel-echo";
import { driver, startDaemon, until } from "../daemon.mjs";
import { CONFIG, SECRET, application, client, trigger } from "./peers.mjs";

process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0"; // the daemon's certificate is its own

const NOTIFICATION = "Illuminate\\Notifications\\Events\\BroadcastNotificationCreated";

for (const scheme of ["ws", "wss"]) {
  describe(`npm laravel-echo over ${scheme}, driver ${driver ?? "by default"}`, { timeout: 120_000 }, () => {
    let directory;
    let daemon;
    let app;
    const open = [];

    before(async () => {
      directory = await mkdtemp(join(tmpdir(), "roost-echo-"));
      await writeFile(join(directory, "pusher.secret"), `${SECRET}\n`, { mode: 0o600 });
      const file = join(directory, "roost.toml");
      await writeFile(file, CONFIG);
      app = await application();
      daemon = await startDaemon({ file, tls: scheme === "wss" ? directory : null });
    });
    after(async () => {
      await daemon?.stop();
      app?.stop();
      await rm(directory, { recursive: true });
    });
    afterEach(() => open.splice(0).forEach((echo) => echo.disconnect()));

    /** A page of a user's that is connected. */
    async function page(user) {
      const { pusher } = await client(daemon, app, { user }).connect();
      const echo = new Echo({ broadcaster: "pusher", client: pusher });
      open.push(echo);
      assert.equal(echo.socketId(), pusher.connection.socket_id);
      return echo;
    }

    /** A channel that is subscribed to. */
    async function subscribed(channel) {
      let is = false;
      channel.subscribed(() => (is = true)).error((error) => assert.fail(JSON.stringify(error)));
      await until(`the subscription to ${channel.name}`, () => is);
      return channel;
    }

    test("a public channel brings the events of the application by their names", async () => {
      const echo = await page("1");
      const heard = [];
      const orders = await subscribed(echo.channel("orders"));
      orders.listen("OrderShipped", (event) => heard.push(["its class", event]));
      orders.listen(".order.shipped", (event) => heard.push(["its name", event]));
      await trigger(daemon, "orders", "App\\Events\\OrderShipped", { id: 7 });
      await trigger(daemon, "orders", "order.shipped", { id: 8 });
      await until("both events", () => heard.length === 2);
      assert.deepEqual(heard, [["its class", { id: 7 }], ["its name", { id: 8 }]]);
      echo.leave("orders");
      const other = await subscribed(echo.channel("others"));
      let last = false;
      other.listen(".last", () => (last = true));
      await trigger(daemon, "orders", "order.shipped", { id: 9 });
      await trigger(daemon, "others", "last", {});
      await until("the last event", () => last);
      assert.equal(heard.length, 2, "of a channel that was left nothing comes");
    });

    test("a private channel is subscribed to with the application's signature", async () => {
      const echo = await page("1");
      const heard = [];
      const channel = await subscribed(echo.private("orders.7"));
      channel.listen(".paid", (event) => heard.push(event));
      await trigger(daemon, "private-orders.7", "paid", { amount: 3 });
      await until("the event", () => heard.length === 1);
      assert.deepEqual(heard, [{ amount: 3 }]);
      const errors = [];
      echo.private("forbidden").error((error) => errors.push(error.status));
      await until("the refusal", () => errors.length === 1);
      assert.deepEqual(errors, [403]);
    });

    test("whispers go to the others in a private and a presence channel", async () => {
      const [one, two] = [await page("1"), await page("2")];
      for (const kind of ["private", "join"]) {
        const heard = [];
        const [first, second] = [await subscribed(one[kind]("talk")), await subscribed(two[kind]("talk"))];
        first.listenForWhisper("typing", (data) => heard.push(["first", data]));
        second.listenForWhisper("typing", (data) => heard.push(["second", data]));
        first.whisper("typing", { name: "one" });
        await until("the whisper", () => heard.length === 1);
        second.whisper("typing", { name: "two" });
        await until("the answer", () => heard.length === 2);
        assert.deepEqual(heard, [["second", { name: "one" }], ["first", { name: "two" }]]);
      }
    });

    test("a presence channel says who is here, who joins and who leaves", async () => {
      const [one, two] = [await page("1"), await page("2")];
      const seen = [];
      const room = one.join("room");
      room.here((users) => seen.push(["here", users.map(({ name }) => name)]));
      room.joining(({ name }) => seen.push(["joining", name]));
      room.leaving(({ name }) => seen.push(["leaving", name]));
      await until("who is here", () => seen.length === 1);
      const here = [];
      two.join("room").here((users) => here.push(users.map(({ name }) => name).sort()));
      await until("who joins", () => seen.length === 2);
      assert.deepEqual(here[0], ["user 1", "user 2"]);
      two.leave("room");
      await until("who leaves", () => seen.length === 3);
      assert.deepEqual(seen, [["here", ["user 1"]], ["joining", "user 2"], ["leaving", "user 2"]]);
    });

    test("a user is notified in the channel of its model", async () => {
      const echo = await page("1");
      const heard = [];
      const channel = await subscribed(echo.private("App.Models.User.1"));
      channel.notification((notification) => heard.push(notification));
      const notification = { id: "9b1deb4d", type: "App\\Notifications\\InvoicePaid", amount: 3 };
      await trigger(daemon, "private-App.Models.User.1", NOTIFICATION, notification);
      await until("the notification", () => heard.length === 1);
      assert.deepEqual(heard, [notification]);
    });

    test("an event that names its page's socket comes to the others alone", async () => {
      const [one, two] = [await page("1"), await page("2")];
      const heard = [];
      for (const [name, echo] of [["one", one], ["two", two]]) {
        const channel = await subscribed(echo.private("list"));
        channel.listen(".changed", ({ by }) => heard.push([name, by]));
      }
      await trigger(daemon, "private-list", "changed", { by: "one" }, one.socketId());
      await trigger(daemon, "private-list", "changed", { by: "none" });
      await until("three events", () => heard.length === 3);
      const sorted = heard.map((pair) => pair.join(" hears ")).sort();
      assert.deepEqual(sorted, ["one hears none", "two hears none", "two hears one"]);
    });
  });
}
