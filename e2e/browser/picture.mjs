// Takes docs/page.png: a desktop's page and a phone's, talking. Not a test; run it by hand:
//
//   node picture.mjs

import { resolve } from "node:path";
import { chromium } from "playwright-core";
import { startDaemon, until } from "../daemon.mjs";

const FILE = resolve(import.meta.dirname, "../../docs/page.png");
const WIDTH = 1100;
const HEIGHT = 800;

const daemon = await startDaemon();
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"],
});
try {
  const desktop = await open({ viewport: { width: WIDTH, height: HEIGHT } });
  const phone = await open({ viewport: { width: 390, height: HEIGHT }, isMobile: true, hasTouch: true });
  await warm(desktop, phone);
  await say(phone, "Anybody on the roof?");
  await say(desktop, "Two of us, and the heron");
  await desktop.selectOption("#kind", "hex");
  await desktop.fill("#hex", "52 6f 6f 73 74 20 f0 9f 90 a6 00 ff");
  await desktop.click("#send");
  await say(phone, "Room for one more?");
  await say(desktop, "Always");
  await until("all messages", async () => (await phone.locator("#log li").count()) >= 5 && (await desktop.locator("#log li").count()) >= 5);
  for (const [page, top] of [[desktop, "h1"], [phone, "#h-log"]]) {
    await page.evaluate((where) => {
      document.activeElement.blur();
      scrollTo(0, document.querySelector(where).getBoundingClientRect().top + scrollY - 32);
    }, top);
  }

  const frame = await browser.newPage({ viewport: { width: WIDTH + 390 + 72, height: HEIGHT + 48 } });
  const pictures = [await desktop.screenshot(), await phone.screenshot()];
  await frame.setContent(`<style>body { margin: 0; padding: 24px; display: flex; gap: 24px; background: #d5d9d2 }
    img { border-radius: 12px; box-shadow: 0 4px 16px #0003 }</style>${pictures.map((png) => `<img src="data:image/png;base64,${png.toString("base64")}">`).join("")}`);
  await frame.screenshot({ path: FILE });
} finally {
  await browser.close();
  await daemon.stop();
}

async function open(device) {
  const page = await (await browser.newContext({ ...device, colorScheme: "light" })).newPage();
  await page.goto(`${daemon.http}/#lobby`);
  await until("readyState OPEN", async () => (await page.textContent("#state")) === "1 OPEN");
  return page;
}

async function say(page, text) {
  await page.selectOption("#kind", "text");
  await page.fill("#text", text);
  await page.press("#text", "Enter");
  await page.waitForTimeout(300);
}

/** A first message each way compiles what the next ones run; then the lists begin anew. */
async function warm(...pages) {
  for (const page of pages) await say(page, "…");
  for (const page of pages) await page.click("#clear");
}
