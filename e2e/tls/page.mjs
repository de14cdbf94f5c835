// The daemon's page over https in Chromium, which is told to trust any certificate: node page.mjs URL
//
// The page connects by itself, over wss, and says so.

import assert from "node:assert/strict";
import { chromium } from "../browser/node_modules/playwright-core/index.mjs";

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"],
});
try {
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  const page = await context.newPage();
  const sockets = [];
  page.on("websocket", (socket) => sockets.push(socket.url()));
  const response = await page.goto(process.argv[2]);
  await page.waitForFunction(() => document.querySelector("#state").textContent === "1 OPEN", null, { timeout: 20_000 });
  assert.equal(await page.textContent("#words"), "Connected");
  assert.ok(sockets.every((url) => url.startsWith("wss://")) && sockets.length > 0, sockets.join());
  const { protocol } = await response.securityDetails();
  console.log(`Chromium ${browser.version()}: ${protocol}`);
} finally {
  await browser.close();
}
