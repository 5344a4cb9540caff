// Debian's Chromium, driven by playwright-core, with everything off that a test does not need.

import { chromium } from "playwright-core";

const FLAGS = [
  "--headless=new",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--autoplay-policy=no-user-gesture-required",
  "--use-fake-device-for-media-stream",
  "--use-fake-ui-for-media-stream",
  // Lets the browser use 127.0.0.1 when the machine has no other address.
  "--allow-loopback-in-peer-connection",
];

/** A page of a new browser; what it writes to the console is shown when the test fails. */
export async function openPage(it, url, context = {}) {
  const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", headless: true, args: FLAGS });
  it.atEnd(() => browser.close());
  const page = await (await browser.newContext(context)).newPage();
  let said = "";
  page.on("console", (message) => (said += `${message.type()}: ${message.text()}\n`));
  page.on("pageerror", (failure) => (said += `error: ${failure.message}\n`));
  it.showOnFailure("browser console", () => said);
  await page.goto(url);
  return page;
}
