// npm's pusher-js, an application's server that signs, and bare clients, waited for.

import { createHash, createHmac } from "node:crypto";
import { createServer } from "node:http";
import Pusher from "pusher-js";
import WebSocket from "ws";
import { listen, until, within } from "../daemon.mjs";

export const KEY = "278d425bdf160c739803";
export const SECRET = "7ad3773142a6692b25b8";

/** What the daemons are started with. */
export const CONFIG = `
[[listener]]
demo_page = true # the start block then has a URL, which startDaemon waits for

[pusher]
enabled = true
activity_timeout = "2s"
members_per_channel_max = 3

[[pusher.app]]
id = "1"
key = "${KEY}"
secret_file = "pusher.secret"

[channels]
presence_linger = "200ms"
presence_notify = "100ms"

[api]
listen = ["127.0.0.1:0"]
development_key = true
`;

const sign = (text) => createHmac("sha256", SECRET).update(text).digest("hex");

/** An application's server with the endpoints /auth and /user; `secrets` are of encrypted channels. */
export async function application() {
  const secrets = new Map();
  const asked = [];
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const part of request.setEncoding("utf8")) body += part;
    const form = new URLSearchParams(body);
    const [socket, channel] = [form.get("socket_id"), form.get("channel_name")];
    asked.push({ path: request.url, channel });
    const answer = (status, value) => {
      response.writeHead(status, { "content-type": "application/json" });
      response.end(JSON.stringify(value));
    };
    if (request.url === "/user") {
      const user_data = JSON.stringify({ id: form.get("user") ?? "7", user_info: { name: "Seven" } });
      return answer(200, { auth: `${KEY}:${sign(`${socket}::user::${user_data}`)}`, user_data });
    }
    if (channel.endsWith("forbidden")) return answer(403, {});
    if (channel.endsWith("forged")) return answer(200, { auth: `${KEY}:${"0".repeat(64)}` });
    if (channel.startsWith("presence-")) {
      const user_id = form.get("user") ?? "1";
      const channel_data = JSON.stringify({ user_id, user_info: { name: `user ${user_id}` } });
      return answer(200, { auth: `${KEY}:${sign(`${socket}:${channel}:${channel_data}`)}`, channel_data });
    }
    const shared_secret = secrets.get(channel);
    answer(200, { auth: `${KEY}:${sign(`${socket}:${channel}`)}`, ...(shared_secret && { shared_secret }) });
  });
  const port = await listen(server);
  return { url: `http://127.0.0.1:${port}`, secrets, asked, stop: () => server.close() };
}

/** A stock client. `states` are those it has been in, `errors` what it was told. */
export function client(daemon, app, { user, ...options } = {}) {
  const params = user ? { user } : {};
  const pusher = new Pusher(KEY, {
    cluster: "",
    wsHost: daemon.host,
    wsPort: daemon.port,
    wssPort: daemon.port,
    forceTLS: daemon.ws.startsWith("wss"),
    enabledTransports: ["ws", "wss"],
    channelAuthorization: { endpoint: `${app.url}/auth`, transport: "ajax", params },
    userAuthentication: { endpoint: `${app.url}/user`, transport: "ajax", params },
    ...options,
  });
  const states = [];
  const errors = [];
  pusher.connection.bind("state_change", ({ current }) => states.push(current));
  pusher.connection.bind("error", (error) => errors.push(error));
  return {
    pusher,
    states,
    errors,
    async connect() {
      await until("the connection", () => pusher.connection.state === "connected");
      return this;
    },
    /** A subscription that was answered, with all its events from the beginning. */
    async subscribe(name) {
      const channel = pusher.subscribe(name);
      const events = [];
      channel.bind_global((event, data) => events.push({ event, data }));
      const named = (event) => events.filter((one) => one.event === event);
      const answered = ["pusher:subscription_succeeded", "pusher:subscription_error"];
      await until(`the answer for ${name}`, () => answered.some((event) => named(event).length > 0));
      const next = (event, count = 1) =>
        until(`${count} ${event} on ${name}`, () => named(event).length >= count && named(event).at(-1));
      return { channel, events, named, next };
    },
    leave: () => pusher.disconnect(),
  };
}

/** A bare WebSocket, with the messages it got as text. */
export async function bare(daemon, path) {
  const socket = new WebSocket(daemon.ws + path, { rejectUnauthorized: false });
  const received = [];
  socket.on("message", (data) => received.push(data.toString()));
  const closed = new Promise((done) => socket.on("close", (code) => done(code)));
  await within(10_000, "the WebSocket", new Promise((done, failed) => {
    socket.on("open", done);
    socket.on("error", failed);
  }));
  return { socket, received, closed, send: (data) => socket.send(data), leave: () => socket.terminate() };
}

/** Publishes an event as Pusher's server libraries do, not for the connection `socket_id`. */
export async function trigger(daemon, channel, name, data, socket_id) {
  const [, url] = /curl (http:\S+)\/v1\/publish/.exec(daemon.output());
  const body = JSON.stringify({ name, channel, data: JSON.stringify(data), socket_id });
  const query = [
    `auth_key=${KEY}`,
    `auth_timestamp=${Math.floor(Date.now() / 1000)}`,
    "auth_version=1.0",
    `body_md5=${createHash("md5").update(body).digest("hex")}`,
  ].join("&");
  const signature = sign(`POST\n/apps/1/events\n${query}`);
  const answer = await fetch(`${url}/apps/1/events?${query}&auth_signature=${signature}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body,
  });
  if (!answer.ok) throw new Error(`trigger: ${answer.status} ${await answer.text()}`);
}

/** Publishes as an application's server does, over the HTTP API. */
export async function publish(daemon, channel, text) {
  const [, url, key] = /curl (http:\S+)\/v1\/publish -H "Authorization: Bearer (\S+)"/.exec(daemon.output());
  const answer = await fetch(`${url}/v1/publish`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: JSON.stringify({ channel, text }),
  });
  if (!answer.ok) throw new Error(`publish: ${answer.status} ${await answer.text()}`);
}
