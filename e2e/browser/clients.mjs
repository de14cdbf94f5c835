// Clients with users and addresses of their own, as a daemon behind a proxy and with tokens has them: for
// suites that look at the daemon as its administrator.

import { createHmac } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { once } from "node:events";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import WebSocket from "ws";
import { listen, within } from "../daemon.mjs";

const SECRET = "a secret of tests, of more than 32 bytes";

/** A configuration in a directory of its own, for clients by way of a proxy, with tokens; `remove` it. */
export function configuration(more = "") {
  const directory = mkdtempSync(join(tmpdir(), "roost-admin-"));
  const file = join(directory, "roost.toml");
  writeFileSync(join(directory, "jwt.secrets"), `first ${SECRET}\n`, { mode: 0o600 });
  writeFileSync(file, `[[listener]]
name = "public"
proxy_protocol = "required"
demo_page = true     # its address is what a suite waits for
[auth.jwt]
hmac_secrets_file = "jwt.secrets"
[limits]
connections_per_address_max = 1000  # so that addresses are known to every driver
${more}`);
  return { file, directory, remove: () => rmSync(directory, { recursive: true, force: true }) };
}

/** RFC 7519, with HS256. */
function token(user) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = `${part({ alg: "HS256", kid: "first" })}.${part({ sub: user, exp: Math.floor(Date.now() / 1000) + 3600 })}`;
  return `${signed}.${createHmac("sha256", SECRET).update(signed).digest("base64url")}`;
}

/** A raw client on a channel, once it is subscribed. */
export async function client(daemon, channel, { user = "", address = "203.0.113.1" } = {}) {
  const [version, to] = net.isIPv6(address) ? ["TCP6", "2001:db8::1"] : ["TCP4", "192.0.2.1"];
  const socket = new WebSocket(`ws://${daemon.host}:${daemon.port}/raw/${encodeURIComponent(channel)}`, {
    headers: user === "" ? {} : { Authorization: `Bearer ${token(user)}` },
    perMessageDeflate: false,
    createConnection(options) {
      const stream = net.connect(options);
      stream.write(`PROXY ${version} ${address} ${to} ${40000 + Math.floor(Math.random() * 20000)} 443\r\n`);
      return stream;
    },
  });
  socket.received = [];
  socket.on("message", (data) => socket.received.push(data.toString()));
  socket.ended = once(socket, "close").then(([code, reason]) => ({ code, reason: reason.toString() }));
  await within(10_000, `a client on ${channel}`, once(socket, "open"));
  return socket;
}

/** What `ssh -L` does: a port of this machine for the admin socket, whose path may be given anew. */
export async function forward(path) {
  const streams = new Set();
  const forwarded = { path };
  const server = net.createServer((near) => {
    const far = net.connect(forwarded.path);
    for (const [one, other] of [[near, far], [far, near]]) {
      streams.add(one);
      one.on("error", () => other.destroy());
      one.on("close", () => { streams.delete(one); other.destroy(); });
      one.pipe(other);
    }
  });
  forwarded.url = `http://127.0.0.1:${await listen(server)}/`;
  forwarded.close = () => {
    server.close();
    streams.forEach((one) => one.destroy());
  };
  return forwarded;
}
