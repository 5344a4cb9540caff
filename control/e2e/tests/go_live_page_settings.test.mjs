// The settings on the page "go live" reach the browser's encoder, and the page writes no warning or
// error to the console.

import assert from "node:assert/strict";
import { openPage } from "../browser/chromium.mjs";
import { scenario } from "../scenario.mjs";
import { shardcast } from "../servers/shardcast.mjs";
import { until } from "../waiting.mjs";

/** The page, with its console messages and its peer connections. */
async function openLivePage(it, server, stream) {
  const page = await openPage(it, `${server.http}/sdk/adapter.license.txt`);
  const complaints = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(`${message.type()}: ${message.text()}`);
  });
  page.on("response", (response) => {
    if (response.status() >= 400) complaints.push(`${response.status()}: ${response.url()}`);
  });
  await page.addInitScript(() => {
    window.connections = [];
    const Original = window.RTCPeerConnection;
    window.RTCPeerConnection = class extends Original {
      constructor(...args) {
        super(...args);
        window.connections.push(this);
      }
    };
  });
  await page.goto(`${server.http}/live.html?stream=${stream}`);
  return { page, complaints };
}

/** The settings of the video sender. */
function videoSender(page) {
  return page.evaluate(() => {
    const senders = window.connections.flatMap((connection) => connection.getSenders());
    const sender = senders.findLast(({ track }) => track?.kind === "video");
    if (!sender) return null;
    const { encodings, degradationPreference } = sender.getParameters();
    return { maxBitrate: encodings[0]?.maxBitrate, gives: degradationPreference, hint: sender.track.contentHint };
  });
}

const CHOICES = [
  { source: "Test picture with beep", usual: "slides", show: "people", kbps: 1500, hint: "", gives: "balanced" },
  { source: "Camera and microphone", usual: "people", show: "motion", kbps: 6000, hint: "motion", gives: "maintain-framerate" },
  { source: "Test picture with beep", usual: "slides", show: null, kbps: 4000, hint: "detail", gives: "maintain-resolution" },
];

scenario("the browser encodes as the page is told to", { timeout_ms: 240_000 }, async (it) => {
  const server = await shardcast(it);
  for (const [n, { source, usual, show, kbps, hint, gives }] of CHOICES.entries()) {
    const { page, complaints } = await openLivePage(it, server, `settings-${n}`);
    await page.getByLabel(source).check();
    const kind = page.getByLabel("Kind of show");
    await until(`the usual kind of ${source}`, async () => (await kind.inputValue()) === usual);
    if (show) await kind.selectOption(show);
    await page.getByLabel("Video bitrate").selectOption(String(kbps));
    await page.getByRole("button", { name: "Go live" }).click();
    await page.getByText("on air").waitFor({ timeout: 30_000 });
    const wanted = { maxBitrate: kbps * 1000, gives, hint };
    await until(`maxBitrate ${wanted.maxBitrate}`, async () => (await videoSender(page))?.maxBitrate === wanted.maxBitrate, { within_ms: 15_000 });
    assert.deepEqual(await videoSender(page), wanted);
    await page.getByRole("button", { name: "Stop" }).click();
    await page.getByText("not live").waitFor();
    assert.deepEqual(complaints, [], `the console with ${source}`);
    await page.context().browser().close();
  }
});

scenario("a stream that does not exist yet is no error of the page", { timeout_ms: 90_000 }, async (it) => {
  const server = await shardcast(it);
  const { page, complaints } = await openLivePage(it, server, "nobody");
  await page.getByText("server connected").waitFor();
  await page.getByLabel("Stream name").fill("nobody-else");
  // The page polls once a second.
  let looks = 0;
  page.on("response", (response) => (looks += /search=nobody-else/.test(response.url()) ? 1 : 0));
  await until("some looks", () => looks >= 2);
  assert.deepEqual(complaints, []);
});
