// Publishes five JSON messages, one a second.
//
// node publish.mjs [ws://127.0.0.1:8080/raw/chat]      before Node 22: npm install ws

const WebSocket = globalThis.WebSocket ?? (await import("ws")).WebSocket;
const url = process.argv[2] ?? "ws://127.0.0.1:8080/raw/chat";

const socket = new WebSocket(url);
socket.onopen = async () => {
  for (let n = 1; n <= 5; n += 1) {
    socket.send(JSON.stringify({ from: "node", text: `message ${n}` }));
    await new Promise((done) => setTimeout(done, 1000));
  }
  socket.close(1000); // after everything was sent
};
socket.onerror = ({ message }) => {
  console.error("cannot connect to", url, message);
  process.exitCode = 1;
};
socket.onclose = ({ code }) => { if (code !== 1000) process.exitCode = 1; };
