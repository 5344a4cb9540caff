// Segments of HLS as MPEG-TS, for old players: ffmpeg reads them without a warning, over many segments and with B-frames, and
// hls.js, which takes them apart itself, plays them in Chromium, rungs too; and the product's own page begins with one in reserve.

import assert from "node:assert/strict";
import path from "node:path";
import { openPage } from "../browser/chromium.mjs";
import { isPlaying } from "../clients/viewer.mjs";
import { encoder } from "../media/encoder.mjs";
import { complaints, streams } from "../media/ffprobe.mjs";
import { scenario } from "../scenario.mjs";
import { Child } from "../servers/process.mjs";
import { shardcast } from "../servers/shardcast.mjs";
import { sleep, until } from "../waiting.mjs";

const ID = "transport";
const LADDER = [{ height: 180, videoBitrate: 300_000, audioBitrate: 64_000 }];

async function goLive(it) {
  const server = await shardcast(it, { args: ["--hls-segment-type", "mpegts"] });
  const created = await fetch(`${server.http}/StreamLick/rest/v2/broadcasts/create`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ streamId: ID, encoderSettingsList: LADDER }),
  });
  assert.equal(created.status, 200);
  const { local_sink: sink } = await server.status();
  encoder(it, `${sink.url_base.replace(/\/sink$/, "")}/StreamLick/${ID}`);
  await until("the encoder to be live", async () => (await server.broadcast(ID)).publisher?.video?.frames > 50);
  return server;
}

scenario("ffmpeg reads MPEG-TS segments one behind the other without a warning", { timeout_ms: 120_000 }, async (it) => {
  const server = await goLive(it);
  const file = path.join(it.folder, "copied.mp4");
  const url = `${server.http}/StreamLick/streams/${ID}.m3u8`;
  const reading = new Child("ffmpeg", ["-nostdin", "-v", "warning", "-i", url, "-c", "copy", "-t", "10", file]);
  it.showOnFailure("ffmpeg", () => reading.output);
  it.atEnd(() => reading.stop());
  await until("ffmpeg to have read 10 s", () => !reading.running, { within_ms: 60_000 });
  assert.equal(reading.code, 0, reading.output);
  assert.equal(reading.output.trim(), "", "ffmpeg warns");
  const { video, audio } = await streams(file);
  assert.deepEqual([video.codec_name, audio.codec_name], ["h264", "aac"]);
  for (const { codec_name, duration } of [video, audio]) assert.ok(Math.abs(duration - 10) < 0.5, `${codec_name}: ${duration} s`);
  assert.equal(await complaints(file), "");
  // One segment alone is a file that can be played.
  const playlist = await (await fetch(url)).text();
  const name = playlist.split("\n").find((line) => line.endsWith(".ts"));
  const segment = await fetch(`${server.http}/StreamLick/streams/${name}`);
  assert.equal(segment.headers.get("content-type"), "video/MP2T");
  assert.equal(await complaints(`${server.http}/StreamLick/streams/${name}`), "");
});

scenario("hls.js plays MPEG-TS segments, and those of a rung", { timeout_ms: 180_000 }, async (it) => {
  const server = await goLive(it);
  const page = await openPage(it, `${server.http}/hls/hls.license.txt`);
  await page.evaluate(async (id) => {
    const { default: Hls } = await import("/hls/hls.mjs");
    document.body.innerHTML = "<video muted autoplay></video>";
    window.errors = [];
    window.hls = new Hls();
    window.hls.on(Hls.Events.ERROR, (_, error) => window.errors.push(`${error.details} ${error.fatal}`));
    window.hls.loadSource(`/StreamLick/streams/${id}_adaptive.m3u8`);
    window.hls.attachMedia(document.querySelector("video"));
  }, ID);
  await until("the video to go on", () => isPlaying(page), { within_ms: 60_000 });
  for (const height of [180, 360]) {
    await page.evaluate((wanted) => {
      window.hls.nextLevel = window.hls.levels.findIndex((level) => level.height === wanted);
    }, height);
    const shown = () => page.evaluate(() => document.querySelector("video").videoHeight);
    await until(`${height} lines to be shown`, async () => (await shown()) === height, { within_ms: 30_000 });
  }
  await sleep(4_000);
  assert.ok(await isPlaying(page), `it stands still: ${await page.evaluate(() => window.errors.join(", "))}`);
  assert.ok((await page.evaluate(() => document.querySelector("video").webkitAudioDecodedByteCount)) > 0, "no sound");
  assert.equal(await page.evaluate(() => window.errors.filter((error) => error.endsWith("true")).length), 0);
});

scenario("the first viewer's page begins with two MPEG-TS segments, so that one is in reserve", { timeout_ms: 120_000 }, async (it) => {
  const server = await goLive(it);
  const page = await openPage(it, `${server.http}/hls/hls.license.txt`);
  await page.addInitScript(() => {
    const note = ({ target: { hls } }) => (window.begunWith ??= hls.latestLevelDetails.fragments.length);
    document.addEventListener("playing", note, true);
  });
  await page.goto(`${server.http}/StreamLick/play.html?id=${ID}&playOrder=hls`);
  await until("the page to be live", async () => (await page.textContent("#state")) === "live by HLS", { within_ms: 60_000 });
  await until("the video to go on", () => isPlaying(page));
  const begunWith = await page.evaluate(() => window.begunWith);
  assert.ok(begunWith >= 2, `it began with ${begunWith}`);
});
