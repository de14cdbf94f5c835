// The two kinds of client in these suites: npm's autobahn for WAMP, npm's ws for everything raw.

import autobahn from "autobahn";
import WebSocket from "ws";
import { until, within } from "../daemon.mjs";

// autobahn takes the platform's WebSocket, which Node has of its own only from 22 on.
globalThis.WebSocket ??= WebSocket;
autobahn.log.warn = () => {}; // it warns of every close, and the cases close on purpose

const ANSWER_MS = 5_000;

/** The stock client's serializers, by the end of their subprotocol. */
export const serializers = {
  json: () => new autobahn.serializer.JSONSerializer(),
  msgpack: () => new autobahn.serializer.MsgpackSerializer(),
  cbor: () => new autobahn.serializer.CBORSerializer(),
};

/** A session in `realm1` by the stock client. `closed` resolves to what the client says at the end. */
export async function join(daemon, realm = "realm1", serializer = "json") {
  const connection = new autobahn.Connection({
    url: `${daemon.ws}/wamp`, realm, max_retries: 0, serializers: [serializers[serializer]()],
  });
  let ended;
  const closed = new Promise((done) => { ended = done; });
  const session = await within(ANSWER_MS, "WELCOME", new Promise((joined, refused) => {
    connection.onopen = joined;
    connection.onclose = (reason, details) => {
      ended({ reason, uri: details.reason, message: details.message });
      refused(Object.assign(new Error(`${reason}: ${details.reason}`), { reason, uri: details.reason }));
      return true; // no retries
    };
    connection.open();
  }));
  return {
    session,
    connection,
    closed,
    /** The stock client's answers as plain promises with a deadline. */
    ask: (what, promise) => within(ANSWER_MS, what, Promise.resolve(promise)),
    /** A subscription that keeps what it hears: a list of { args, kwargs }, and of publishers and topics. */
    async listen(topic, options) {
      const [received, publishers, topics] = [[], [], []];
      const receive = (args, kwargs, details) => {
        received.push({ args: [...args], kwargs: { ...kwargs } });
        publishers.push(details.publisher);
        topics.push(details.topic);
      };
      const subscription = await within(ANSWER_MS, `SUBSCRIBED to ${topic}`,
        Promise.resolve(session.subscribe(topic, receive, options)));
      return { received, publishers, topics, subscription, atLeast: (count) => until(`event ${count} of ${topic}`, () => received.length >= count) };
    },
    async leave() {
      if (!session.isOpen) return;
      connection.close();
      await within(ANSWER_MS, "GOODBYE", closed);
    },
  };
}

/** A plain WebSocket that keeps what it hears: strings for text, Buffers for binary. */
export async function raw(daemon, path, protocols = []) {
  const socket = new WebSocket(`${daemon.ws}${path}`, protocols);
  const received = [];
  socket.on("message", (data, binary) => received.push(binary ? data : data.toString("utf8")));
  socket.on("error", () => {});
  const closed = new Promise((done) => socket.on("close", (code, reason) => done({ code, reason: reason.toString("utf8") })));
  await within(ANSWER_MS, `101 on ${path}`, new Promise((done, failed) => {
    socket.on("open", done);
    socket.on("error", failed);
  }));
  return {
    received,
    socket,
    closed,
    send: (data) => socket.send(data),
    atLeast: (count) => until(`message ${count} on ${path}`, () => received.length >= count),
    async leave() {
      socket.close();
      await within(ANSWER_MS, "the close handshake", closed);
    },
  };
}
