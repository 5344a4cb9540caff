// A show is watched by DASH: ffmpeg reads pictures and sound without a hole, and Shaka Player plays them in Chromium and
// changes to a rung of the ladder and back, and goes on when the encoder comes back with another size.

import assert from "node:assert/strict";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { openPage } from "../browser/chromium.mjs";
import { isPlaying } from "../clients/viewer.mjs";
import { encoder } from "../media/encoder.mjs";
import { complaints, streams } from "../media/ffprobe.mjs";
import { scenario } from "../scenario.mjs";
import { Child } from "../servers/process.mjs";
import { shardcast } from "../servers/shardcast.mjs";
import { sleep, until } from "../waiting.mjs";

const ID = "dashed";
const LADDER = [{ height: 180, videoBitrate: 300_000, audioBitrate: 64_000 }];
const SHAKA = fileURLToPath(new URL("../node_modules/shaka-player/dist/shaka-player.compiled.js", import.meta.url));

async function goLive(it) {
  const server = await shardcast(it, { args: ["--dash-muxing-enabled"] });
  const created = await fetch(`${server.http}/StreamLick/rest/v2/broadcasts/create`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ streamId: ID, encoderSettingsList: LADDER }),
  });
  assert.equal(created.status, 200);
  const { local_sink: sink } = await server.status();
  const url = `${sink.url_base.replace(/\/sink$/, "")}/StreamLick/${ID}`;
  const source = encoder(it, url);
  await until("the encoder to be live", async () => (await server.broadcast(ID)).publisher?.video?.frames > 50);
  return { server, url, source };
}

scenario("ffmpeg reads a live manifest, pictures and sound without a hole", { timeout_ms: 120_000 }, async (it) => {
  const { server } = await goLive(it);
  const file = path.join(it.folder, "copied.mp4");
  const args = ["-nostdin", "-v", "warning", "-i", `${server.http}/StreamLick/streams/${ID}/${ID}.mpd`, "-map", "0:v:0", "-map", "0:a:0",
    "-c", "copy", "-t", "8", file];
  const reading = new Child("ffmpeg", args);
  it.showOnFailure("ffmpeg", () => reading.output);
  it.atEnd(() => reading.stop());
  await until("ffmpeg to have read 8 s", () => !reading.running, { within_ms: 60_000 });
  assert.equal(reading.code, 0, reading.output);
  // It asks for the segments behind the last one too, and goes on when there is none yet.
  const others = reading.output.trim().split("\n").filter((line) => !/HTTP error 404|Failed to open fragment/.test(line));
  assert.deepEqual(others.filter(Boolean), [], "ffmpeg warns");
  const { video, audio } = await streams(file);
  assert.deepEqual([video.codec_name, audio.codec_name], ["h264", "aac"]);
  for (const { codec_name, duration } of [video, audio]) assert.ok(Math.abs(duration - 8) < 0.5, `${codec_name}: ${duration} s`);
  assert.equal(await complaints(file), "");
  const show = await (await fetch(`${server.http}/StreamLick/rest/v2/broadcasts/${ID}`)).json();
  assert.ok(show.hlsViewerCount <= 1);
});

scenario("Shaka Player plays a live manifest, its rungs, and another size", { timeout_ms: 240_000 }, async (it) => {
  const { server, url, source } = await goLive(it);
  const page = await openPage(it, `${server.http}/hls/hls.license.txt`);
  await page.addScriptTag({ path: SHAKA });
  await page.evaluate(async (id) => {
    const { shaka } = window;
    document.body.innerHTML = "<video muted autoplay></video>";
    window.errors = [];
    shaka.polyfill.installAll();
    window.player = new shaka.Player();
    await window.player.attach(document.querySelector("video"));
    window.player.addEventListener("error", ({ detail }) => window.errors.push(`${detail.code} ${detail.data}`));
    window.player.configure({ abr: { enabled: false } });
    await window.player.load(`/StreamLick/streams/${id}/${id}.mpd`);
  }, ID);
  await until("the video to go on", () => isPlaying(page), { within_ms: 60_000 });
  const heights = await page.evaluate(() => window.player.getVariantTracks().map((track) => track.height));
  assert.deepEqual(heights.toSorted((a, b) => a - b), [180, 360]);
  for (const height of [180, 360]) {
    await page.evaluate((wanted) => {
      const track = window.player.getVariantTracks().find((it) => it.height === wanted);
      window.player.selectVariantTrack(track, true);
    }, height);
    const shown = () => page.evaluate(() => document.querySelector("video").videoHeight);
    await until(`${height} lines to be shown`, async () => (await shown()) === height, { within_ms: 30_000 });
  }
  await until("the video to go on", () => isPlaying(page));
  const behind_s = await page.evaluate(() => (Date.now() - window.player.getPlayheadTimeAsDate()) / 1000);
  console.log(`DASH: ${behind_s.toFixed(2)} s behind`);
  assert.ok(behind_s > 0 && behind_s < 20, `${behind_s} s behind`);
  // The encoder comes back with another size.
  await source.stop();
  encoder(it, url, { size: "320x240" });
  const shown = () => page.evaluate(() => document.querySelector("video").videoHeight);
  await until("240 lines to be shown", async () => (await shown()) === 240, { within_ms: 60_000 });
  await sleep(4_000);
  assert.ok(await isPlaying(page), `it stands still: ${await page.evaluate(() => window.errors.join(", "))}`);
  assert.deepEqual(await page.evaluate(() => window.errors), []);
});
