// A WebSocket by Node's own https, which trusts what NODE_EXTRA_CA_CERTS names: node client.mjs URL

import assert from "node:assert/strict";
import https from "node:https";

const KEY = "dGhlIHNhbXBsZSBub25jZQ=="; // RFC 6455 §1.3
const headers = { Connection: "Upgrade", Upgrade: "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": KEY };
const request = https.get(process.argv[2], { headers });
const [response, socket, head] = await new Promise((done, failed) => {
  request.once("upgrade", (...all) => done(all));
  request.once("response", ({ statusCode }) => failed(new Error(`status ${statusCode}`)));
  request.once("error", failed);
});
assert.equal(response.headers["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
assert.equal(socket.authorized, true);

let received = head;
socket.on("data", (data) => { received = Buffer.concat([received, data]); });
const send = (opcode, payload) => socket.write(Buffer.concat([Buffer.from([0x80 | opcode, 0x80 | payload.length, 0, 0, 0, 0]), payload]));
send(1, Buffer.from("hello"));
send(8, Buffer.from([3, 232]));
await new Promise((done) => socket.once("end", done));
assert.deepEqual(received, Buffer.concat([Buffer.from([0x81, 5]), Buffer.from("hello"), Buffer.from([0x88, 2, 3, 232])]));
socket.destroy();
console.log(`Node ${process.version}: ${socket.getProtocol()}`);
