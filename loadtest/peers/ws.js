// Node and ws, with bufferutil beside it; broadcasting as its documentation shows.
"use strict";
const { WebSocketServer } = require("ws");
require("bufferutil"); // ws takes it by itself: here it must not be missing

const channels = new Map();
const server = new WebSocketServer({
  host: "127.0.0.1",
  port: Number(process.argv[2]),
  backlog: 4096,
  perMessageDeflate: false,
  clientTracking: false,
});

server.on("connection", (socket, request) => {
  socket.on("error", () => socket.terminate());
  if (!request.url.startsWith("/raw/")) {
    socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
    return;
  }
  const name = request.url.slice(5);
  let members = channels.get(name);
  if (members === undefined) channels.set(name, (members = new Set()));
  members.add(socket);
  socket.on("close", () => members.delete(socket));
  socket.on("message", (data, isBinary) => {
    for (const member of members) {
      if (member !== socket && member.readyState === member.OPEN) {
        member.send(data, { binary: isBinary });
      }
    }
  });
});
