// Chromium plays a ladder by HLS on the product's own page: hls.js finds each rung in the multivariant playlist and
// changes from one to another, and to the publisher's video and back, while the picture goes on.

import assert from "node:assert/strict";
import { openPage } from "../browser/chromium.mjs";
import { openStudio } from "../clients/studio.mjs";
import { isPlaying } from "../clients/viewer.mjs";
import { scenario } from "../scenario.mjs";
import { shardcast } from "../servers/shardcast.mjs";
import { sleep, until } from "../waiting.mjs";

const ID = "ladder";
const LADDER = [
  { height: 240, videoBitrate: 400_000, audioBitrate: 64_000 },
  { height: 180, videoBitrate: 200_000, audioBitrate: 64_000 },
];
/** The parts ahead of the picture have to be played first, and what is loaded is a segment behind the choice. */
const CHANGE_MS_MAX = 30_000;
/** Two browsers and two encoders share the cores. A change that has no segment to go on with takes seconds. */
const PAUSE_MS_MAX = 2_500;

/** Notes the longest time without a new picture. */
function observe(page) {
  return page.evaluate(() => {
    const video = document.querySelector("video");
    window.seen = { frames: 0, waits: 0, pause_ms: 0 };
    let last = performance.now();
    video.addEventListener("waiting", () => (window.seen.waits += 1));
    const frame = (now) => {
      window.seen.frames += 1;
      window.seen.pause_ms = Math.max(window.seen.pause_ms, now - last);
      last = now;
      video.requestVideoFrameCallback(frame);
    };
    video.requestVideoFrameCallback(frame);
  });
}

scenario("hls.js finds the rungs of a ladder and changes between them without a pause", { timeout_ms: 300_000 }, async (it) => {
  const server = await shardcast(it);
  const created = await fetch(`${server.http}/StreamLick/rest/v2/broadcasts/create`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ streamId: ID, encoderSettingsList: LADDER }),
  });
  assert.equal(created.status, 200);
  const studio = await openStudio(it, { width: 640, height: 360 });
  await studio.connect(server);
  await studio.publish(ID);
  await studio.published(ID);
  const page = await openPage(it, `${server.http}/StreamLick/play.html?id=${ID}&playOrder=hls&stats`);
  await until("the page to be live", async () => (await page.textContent("#state")) === "live by HLS", { within_ms: 60_000 });
  await until("the video to go on", () => isPlaying(page));
  const heights = await page.evaluate(() => document.querySelector("video").hls.levels.map((level) => level.height));
  assert.deepEqual(heights.toSorted((a, b) => a - b), [180, 240, 360]);
  assert.deepEqual((await server.broadcast(ID)).renditions.map((rendition) => rendition.height).toSorted(), [180, 240]);
  // The player finds its distance first.
  await sleep(6_000);
  await observe(page);
  for (const height of [180, 360, 240, 180, 360]) {
    await page.evaluate((wanted) => {
      const { hls } = document.querySelector("video");
      hls.loadLevel = hls.levels.findIndex((level) => level.height === wanted);
    }, height);
    const shown = () => page.evaluate(() => document.querySelector("video").videoHeight);
    await until(`${height} lines to be shown`, async () => (await shown()) === height, { within_ms: CHANGE_MS_MAX });
  }
  const { frames, waits, pause_ms } = await page.evaluate(() => window.seen);
  console.log(`five changes of rung: ${frames} frames, no picture for ${Math.round(pause_ms)} ms at most, stood still ${waits} times`);
  assert.ok(pause_ms < PAUSE_MS_MAX, `no picture for ${pause_ms} ms`);
  assert.match(await page.textContent("#stats"), /Rung/);
  const show = await (await fetch(`${server.http}/StreamLick/rest/v2/broadcasts/${ID}`)).json();
  assert.equal(show.hlsViewerCount, 1);
});
