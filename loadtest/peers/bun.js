// Bun, whose WebSockets and publish/subscribe are those of uWebSockets.
Bun.serve({
  hostname: "127.0.0.1",
  port: Number(process.argv[2]),
  fetch(request, server) {
    const { pathname } = new URL(request.url);
    const channel = pathname.startsWith("/raw/") ? pathname.slice(5) : null;
    if (server.upgrade(request, { data: { channel } })) return;
    return new Response("a WebSocket is expected", { status: 426 });
  },
  websocket: {
    perMessageDeflate: false,
    open(ws) {
      if (ws.data.channel !== null) ws.subscribe(ws.data.channel);
    },
    message(ws, message) {
      if (ws.data.channel !== null) ws.publish(ws.data.channel, message);
      else ws.send(message);
    },
  },
});
