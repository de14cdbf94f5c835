// Takes the pictures of docs/: the page on a desktop and on a phone, light and dark. Not a test; run
// it by hand, and look at what it made:
//
//   node picture.mjs

import { resolve } from "node:path";
import { startDaemon, until } from "../daemon.mjs";
import { CHROMIUM, FLAGS, chromium } from "./chromium.mjs";
import { DESKTOP, PHONE, say, sendHex, state } from "./pages.mjs";

const FILES = { "desktop light": "page.png", "desktop dark": "page-dark.png", "phone light": "page-phone.png", "phone dark": "page-phone-dark.png" };
const SHOWN = "127.0.0.1:8080"; // what a reader sees; the browser is told to go to the daemon's own port
const docs = resolve(import.meta.dirname, "../../docs");

const daemon = await startDaemon();
const browser = await chromium.launch({
  executablePath: CHROMIUM,
  args: [...FLAGS, `--host-resolver-rules=MAP 127.0.0.1 127.0.0.1:${daemon.port}`],
});
try {
  for (const scheme of ["light", "dark"]) {
    const desktop = await open(DESKTOP, scheme);
    const phone = await open({ ...PHONE, deviceScaleFactor: 1.5 }, scheme);
    await converse(desktop, phone);
    for (const [name, page] of [["desktop", desktop], ["phone", phone]]) {
      await page.bringToFront();
      await page.evaluate(() => { document.activeElement.blur(); scrollTo(0, 0); });
      await page.screenshot({ path: resolve(docs, FILES[`${name} ${scheme}`]) });
      await page.context().close();
    }
  }
} finally {
  await browser.close();
  await daemon.stop();
}

async function open(device, colorScheme) {
  const page = await (await browser.newContext({ ...device, colorScheme })).newPage();
  await page.goto(`http://${SHOWN}/`);
  await state(page, "1 OPEN");
  return page;
}

async function converse(desktop, phone) {
  await say(phone, "Good morning");
  await pause(300);
  await say(desktop, "Good morning to you");
  await say(desktop, '{"seats": 12, "taken": 3}');
  await pause(300);
  await sendHex(phone, "52 6f 6f 73 74 00 ff 07");
  await phone.click("#lab summary");
  await pause(300);
  await say(phone, "Is the second page there?");
  await pause(300);
  await say(desktop, "It is");
  await until("all messages", async () => (await phone.locator("#log .in, #log .out").count()) === 6 && (await desktop.locator("#log .in, #log .out").count()) === 6);
}

function pause(ms) {
  return new Promise((done) => setTimeout(done, ms));
}
