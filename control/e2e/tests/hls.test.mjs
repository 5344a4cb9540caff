// Chromium publishes, and Chromium watches by HLS with hls.js: on the product's own page, with parts, a second or two
// behind; and without them, as players do that know nothing of low-latency HLS.

import assert from "node:assert/strict";
import { openPage } from "../browser/chromium.mjs";
import { openStudio } from "../clients/studio.mjs";
import { isPlaying } from "../clients/viewer.mjs";
import { scenario } from "../scenario.mjs";
import { shardcast } from "../servers/shardcast.mjs";
import { sleep, until } from "../waiting.mjs";

const ID = "public";
/** Wanted are 3 s and 12 s; two browsers that encode and decode share the cores with the test. */
const LOW_LATENCY_S_MAX = 5;
const PLAIN_S_MAX = 16;

async function goLive(it, server) {
  const studio = await openStudio(it, { width: 640, height: 360 });
  await studio.connect(server);
  await studio.publish(ID);
  await studio.published(ID);
  return studio;
}

/** Notes how far the picture is behind, by the times in the playlist, and whether it stands still. */
function observe(page) {
  return page.evaluate(() => {
    const video = document.querySelector("video");
    window.seen = { frames: 0, waits: 0 };
    video.addEventListener("waiting", () => (window.seen.waits += 1));
    const frame = () => {
      window.seen.frames += 1;
      video.requestVideoFrameCallback(frame);
    };
    video.requestVideoFrameCallback(frame);
  });
}

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

/** Seconds from a picture's encoding to its show, each half second. */
async function latencies(page, count, read) {
  const all = [];
  while (all.length < count) {
    await sleep(500);
    const date = await page.evaluate(read);
    if (date) all.push((Date.now() - date) / 1000);
  }
  return all;
}

scenario("the player page plays by low-latency HLS, close to live and without standing still", { timeout_ms: 240_000 }, async (it) => {
  const server = await shardcast(it);
  await goLive(it, server);
  const page = await openPage(it, `${server.http}/StreamLick/play.html?id=${ID}&playOrder=hls&stats`);
  await until("the page to be live", async () => (await page.textContent("#state")) === "live by HLS", { within_ms: 60_000 });
  await until("the video to go on", () => isPlaying(page));
  // The player finds its distance first.
  await sleep(8_000);
  await observe(page);
  const all = await latencies(page, 40, () => document.querySelector("video").hls?.playingDate?.getTime());
  const { frames, waits } = await page.evaluate(() => window.seen);
  const behind_s = median(all);
  console.log(`low-latency HLS: ${behind_s.toFixed(2)} s behind (median of ${all.length}, at most ${Math.max(...all).toFixed(2)}), ${frames} frames in 20 s, stood still ${waits} times`);
  assert.ok(behind_s < LOW_LATENCY_S_MAX, `${behind_s} s behind`);
  assert.ok(frames > 200, `${frames} frames in 20 s`);
  // The sound is AAC of Shardcast's own encoder.
  const [aacBytes, fault] = await page.evaluate(() => {
    const video = document.querySelector("video");
    return [video.webkitAudioDecodedByteCount, video.error?.message];
  });
  assert.ok(aacBytes > 0, "Chromium decoded no sound");
  assert.equal(fault, undefined);
  assert.match(await page.textContent("#stats"), /Behind live/);
  const show = await (await fetch(`${server.http}/StreamLick/rest/v2/broadcasts/${ID}`)).json();
  assert.equal(show.hlsViewerCount, 1);
  assert.equal(show.webRTCViewerCount, 0);
  // The link leads to the other way.
  await page.click("#other-way");
  await until("the page to be live by WebRTC", async () => (await page.textContent("#state")) === "live");
  await until("the video to go on", () => isPlaying(page));
});

scenario("a player without parts plays whole segments, and a publisher that reloads is a short pause", { timeout_ms: 300_000 }, async (it) => {
  const server = await shardcast(it);
  const studio = await goLive(it, server);
  const page = await openPage(it, `${server.http}/hls/hls.license.txt`);
  await page.evaluate(async (id) => {
    const { default: Hls } = await import("/hls/hls.mjs");
    document.body.innerHTML = "<video muted autoplay></video>";
    window.errors = [];
    window.plain = new Hls({ lowLatencyMode: false });
    window.plain.on(Hls.Events.ERROR, (_, error) => window.errors.push(`${error.details} ${error.fatal}`));
    window.plain.loadSource(`/StreamLick/streams/${id}_adaptive.m3u8`);
    window.plain.attachMedia(document.querySelector("video"));
  }, ID);
  await until("the video to go on", () => isPlaying(page), { within_ms: 60_000 });
  await sleep(10_000);
  const all = await latencies(page, 20, () => window.plain.playingDate?.getTime());
  const behind_s = median(all);
  console.log(`plain HLS: ${behind_s.toFixed(2)} s behind (median of ${all.length})`);
  assert.ok(behind_s < PLAIN_S_MAX, `${behind_s} s behind`);
  await studio.close();
  await sleep(3_000);
  await goLive(it, server);
  await sleep(15_000);
  assert.ok(await isPlaying(page), `it stands still: ${await page.evaluate(() => window.errors.join(", "))}`);
  assert.equal(await page.evaluate(() => window.errors.filter((error) => error.endsWith("true")).length), 0);
});
