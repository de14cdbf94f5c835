// The daemon as a process and as an HTTP server: what a shell, a proxy or a curious person meets.

import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import net from "node:net";
import { after, before, describe, test } from "node:test";
import { driver, startDaemon, until, within } from "../daemon.mjs";

const HANDSHAKE = {
  Upgrade: "websocket", Connection: "Upgrade",
  "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "13",
};

describe(`the daemon, driver ${driver ?? "by default"}`, { timeout: 60_000 }, () => {
  let daemon;
  before(async () => { daemon = await startDaemon(); });
  after(async () => { await daemon?.stop(); });

  /** One request; the answer with its body, or with `upgraded: true`. */
  function get(path, headers = {}, method = "GET") {
    return within(5_000, `${method} ${path}`, new Promise((done, failed) => {
      const request = http.request({ host: daemon.host, port: daemon.port, path, headers, method, agent: false });
      request.on("error", failed);
      request.on("upgrade", (response, socket) => {
        socket.destroy();
        done({ status: response.statusCode, headers: response.headers, upgraded: true });
      });
      request.on("response", async (response) => {
        let body = "";
        for await (const part of response.setEncoding("utf8")) body += part;
        done({ status: response.statusCode, headers: response.headers, body });
      });
      request.end();
    }));
  }

  /** A WebSocket that answers nothing: the bytes received, and the socket. */
  async function mute(path, at = daemon) {
    const socket = net.connect(at.port, at.host);
    const got = { bytes: Buffer.alloc(0), socket };
    socket.on("data", (part) => { got.bytes = Buffer.concat([got.bytes, part]); });
    socket.on("error", () => {});
    await once(socket, "connect");
    const lines = Object.entries(HANDSHAKE).map(([name, value]) => `${name}: ${value}\r\n`).join("");
    socket.write(`GET ${path} HTTP/1.1\r\nHost: ${at.host}:${at.port}\r\n${lines}\r\n`);
    await until("the handshake's answer", () => got.bytes.includes("\r\n\r\n"));
    assert.match(got.bytes.toString("latin1"), /^HTTP\/1\.1 101 /);
    assert.match(got.bytes.toString("latin1"), /s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=/, "the accept key of RFC 6455 §1.3");
    got.bytes = got.bytes.subarray(got.bytes.indexOf("\r\n\r\n") + 4);
    return got;
  }

  test("serves the page at / with a policy that lets it load nothing else", async () => {
    const answer = await get("/");
    assert.equal(answer.status, 200);
    assert.match(answer.headers["content-type"], /^text\/html; *charset=utf-8$/i);
    assert.match(answer.headers["content-security-policy"] ?? "", /default-src 'none'/);
    assert.match(answer.body, /<title>Roost<\/title>/);
    assert.doesNotMatch(answer.body, /\{\{/, "style, script and version are put in");
    assert.equal(Number(answer.headers["content-length"]), Buffer.byteLength(answer.body));
  });

  test("answers 404 on an unknown path, with and without a handshake", async () => {
    assert.equal((await get("/nothing/here")).status, 404);
    assert.equal((await get("/nothing/here", HANDSHAKE)).status, 404);
  });

  test("answers 426 with Upgrade on a plain GET of a WebSocket path", async () => {
    for (const path of ["/raw/lobby", "/echo", "/wamp"]) {
      const answer = await get(path);
      assert.equal(answer.status, 426, path);
      assert.match(answer.headers.upgrade ?? "", /^websocket$/i, path);
    }
  });

  test("answers 400 and one line of reason on a bad handshake", async () => {
    const cases = [
      ["a key that is not 16 bytes", { ...HANDSHAKE, "Sec-WebSocket-Key": "short" }],
      ["no key", { ...HANDSHAKE, "Sec-WebSocket-Key": undefined }],
    ];
    for (const [what, headers] of cases) {
      const answer = await get("/raw/lobby", JSON.parse(JSON.stringify(headers)));
      assert.equal(answer.status, 400, what);
      assert.match(answer.body, /^[^\r\n]+\r?\n?$/, `${what}: one line`);
    }
    assert.equal((await get("/raw/", HANDSHAKE)).status, 400, "a channel without a name");
  });

  test("answers 426 with the version it speaks on another version", async () => {
    const answer = await get("/raw/lobby", { ...HANDSHAKE, "Sec-WebSocket-Version": "12" });
    assert.equal(answer.status, 426);
    assert.equal(answer.headers["sec-websocket-version"], "13");
  });

  test("selects no subprotocol that it does not speak", async () => {
    const answer = await get("/raw/lobby", { ...HANDSHAKE, "Sec-WebSocket-Protocol": "chat, superchat" });
    assert.equal(answer.status, 101);
    assert.equal(answer.headers["sec-websocket-protocol"], undefined);
  });

  test("selects roost.raw where it is offered", async () => {
    const offer = { "Sec-WebSocket-Protocol": "chat, roost.raw" };
    const answer = await get("/raw/lobby", { ...HANDSHAKE, ...offer });
    assert.equal(answer.headers["sec-websocket-protocol"], "roost.raw");
  });

  test("answers a balancer's checks", async () => {
    const answer = await get("/health");
    assert.deepEqual([answer.status, answer.body], [200, "ok\n"]);
  });

  test("closes with 1002 where the path needs a subprotocol and none is common", async () => {
    const peer = await mute("/wamp");
    await until("the close frame", () => peer.bytes.length >= 4);
    assert.equal(peer.bytes[0], 0x88, "a close frame");
    assert.equal(peer.bytes.readUInt16BE(2), 1002);
    peer.socket.destroy();
  });

  test("counts in /stats of the admin listener, and there alone", async () => {
    assert.equal((await get("/stats")).status, 404);
    const answer = await daemon.stats();
    assert.equal(answer.status, 200);
    assert.match(answer.headers["content-type"], /json/);
    const stats = JSON.parse(answer.body);
    assert.match(stats.version, /^\d+\.\d+\.\d+/);
    assert.match(stats.driver, /^(epoll|io_uring)$/);
    assert.ok(stats.uptime_seconds >= 0 && stats.limits.connections_max > 0 && stats.limits.open_files > 0);
    assert.equal(typeof stats.default_namespace.slow_consumers_total, "number");
  });

  test("prints one block at its start: version, address, driver, open files, URL", async () => {
    const text = daemon.output();
    for (const word of [/roost/i, /\d+\.\d+\.\d+/, new RegExp(String(daemon.port)), /epoll|io_uring/, /open files/i, /connections/i, /reactors?/i]) {
      assert.match(text, word);
    }
  });

  test("SIGTERM ends it with 1001 to all clients and status 0", async () => {
    const mine = await startDaemon();
    const peer = await mute("/raw/lobby", mine);
    mine.signal("SIGTERM");
    await until("the close frame", () => peer.bytes.length >= 4);
    assert.equal(peer.bytes[0], 0x88);
    assert.equal(peer.bytes.readUInt16BE(2), 1001);
    assert.ok(peer.bytes[1] > 2, "with a reason");
    peer.socket.write(Buffer.from([0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9])); // our half of the closing handshake
    assert.deepEqual(await within(5_000, "the end", mine.exited), { code: 0, signal: null });
    peer.socket.destroy();
  });

  test("waits for a peer that does not answer its close, until a second Ctrl-C", async () => {
    const mine = await startDaemon({ set: ["server.drain_timeout=1m"] });
    const peer = await mute("/raw/lobby", mine);
    mine.signal("SIGINT");
    await until("the close frame", () => peer.bytes.length >= 4);
    const early = await Promise.race([mine.exited, new Promise((done) => setTimeout(done, 500, "still there"))]);
    assert.equal(early, "still there", "the peer has time to answer");
    mine.signal("SIGINT");
    await within(15_000, "the end at once", mine.exited);
    peer.socket.destroy();
  });
});
