// Prints what is published to a channel, and connects again when the connection ends.
//
// node listen.mjs [ws://127.0.0.1:8080/raw/chat]       before Node 22: npm install ws

const WebSocket = globalThis.WebSocket ?? (await import("ws")).WebSocket;
const url = process.argv[2] ?? "ws://127.0.0.1:8080/raw/chat";
let wait = 500;

function connect() {
  const socket = new WebSocket(url);
  let timer = null;
  function again() {
    if (timer) return;
    timer = setTimeout(connect, wait * (0.5 + Math.random() / 2)); // at random: not all clients at once
    wait = Math.min(wait * 2, 30_000);
  }
  socket.binaryType = "arraybuffer";
  socket.onopen = () => {
    wait = 500;
    console.log("connected");
  };
  socket.onmessage = ({ data }) => console.log(data); // text is a string, binary an ArrayBuffer
  socket.onerror = again; // Node 22 reports no close after an attempt that failed
  socket.onclose = ({ code, reason }) => {
    console.log(`closed, code ${code} ${reason}`);
    again();
  };
}

connect();
