// Debian's Chromium, driven by playwright-core, without the features that tests do not need.

import assert from "node:assert/strict";
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

/**
 * A page of a new browser, which may have further `flags`. A failed test prints the consoles of the browser's pages. An uncaught error
 * of a page fails the test, because every studio would have it.
 */
export async function openPage(it, url, context = {}, flags = []) {
  const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", headless: true, args: [...FLAGS, ...flags] });
  it.atEnd(() => browser.close());
  const pages = await browser.newContext(context);
  let said = "";
  const uncaught = [];
  pages.on("console", (message) => (said += `${message.type()}: ${message.text()}\n`));
  pages.on("weberror", (report) => {
    const failure = report.error();
    said += `error: ${failure.message}\n`;
    uncaught.push(failure.stack ?? failure.message);
  });
  it.atSuccess(() => assert.deepEqual(uncaught, [], `uncaught errors in pages of the browser at ${url}`));
  it.showOnFailure("browser console", () => said);
  const page = await pages.newPage();
  await page.goto(url);
  return page;
}
