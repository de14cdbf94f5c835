// npm's centrifuge and bare clients, waited for.

import { createHmac } from "node:crypto";
import { Centrifuge } from "centrifuge";
import { Centrifuge as ProtobufCentrifuge } from "centrifuge/build/protobuf";
import WebSocket from "ws";
import { until, within } from "../daemon.mjs";

export const PATH = "/connection/websocket";
export const SECRET = "a secret of thirty-two bytes or more";

/** What the daemons are started with. */
export const CONFIG = `
[[listener]]
demo_page = true # the start block then has a URL, which startDaemon waits for

[centrifugo]
enabled = true

[limits]
ping_interval = "1s"
ping_timeout = "2s"
subscriptions_per_connection_max = 10

[[namespace]]
name = "kept"
history_messages_max = 100

[[namespace]]
name = "small"
history_messages_max = 2

[[namespace]]
name = "cache"
history_messages_max = 10
recovery = "cache"

[[namespace]]
name = "room"
presence = "members"
presence_linger = "1s"
presence_notify = "100ms"
join_leave = "asked"

[[namespace]]
name = "closed"
subscribe = "nobody"
publish = "nobody"
`;
/** A stock client, of the build for Protobuf if `protobuf` is set. `events` has what it was told, in order. */
export function client(daemon, { protobuf = false, ...options } = {}) {
  const Client = protobuf ? ProtobufCentrifuge : Centrifuge;
  const centrifuge = new Client(daemon.ws + PATH, { websocket: WebSocket, minReconnectDelay: 20, ...options });
  const events = [];
  for (const name of ["connecting", "connected", "disconnected", "error", "message"]) {
    centrifuge.on(name, (context) => events.push({ name, ...context }));
  }
  return {
    centrifuge,
    events,
    named: (name) => events.filter((event) => event.name === name),
    async connect() {
      centrifuge.connect();
      await centrifuge.ready(10_000);
      return this;
    },
    /** A subscription in force, with what was published since. */
    async subscribe(channel, options) {
      const subscription = centrifuge.newSubscription(channel, options);
      const received = [];
      subscription.on("publication", (context) => received.push(context));
      subscription.subscribe();
      await subscription.ready(10_000);
      const atLeast = (count) => until(`${count} publications on ${channel}`, () => received.length >= count);
      return { subscription, received, atLeast };
    },
    leave: () => centrifuge.disconnect(),
  };
}

/** A bare WebSocket, with the messages it got as text, or Buffers, and how it was closed. */
export async function bare(daemon, path = PATH, protocols = []) {
  const socket = new WebSocket(daemon.ws + path, protocols);
  const received = [];
  socket.on("message", (data, isBinary) => received.push(isBinary ? data : data.toString()));
  const closed = new Promise((done) => socket.on("close", (code, reason) => done(`${code} ${reason}`)));
  await within(10_000, "the WebSocket", new Promise((done, failed) => {
    socket.on("open", done);
    socket.on("error", failed);
  }));
  return {
    socket,
    received,
    closed: within.bind(null, 15_000, "the close", closed),
    send: (data) => socket.send(data),
    atLeast: (count) => until(`${count} messages`, () => received.length >= count),
    leave: () => socket.terminate(),
  };
}

/** A JSON Web Token of these claims (HS256). */
export function token(claims, secret = SECRET) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const text = `${part({ alg: "HS256", typ: "JWT", kid: "first" })}.${part(claims)}`;
  return `${text}.${createHmac("sha256", secret).update(text).digest("base64url")}`;
}

export const now = () => Math.floor(Date.now() / 1000);
