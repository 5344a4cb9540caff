// An encoder publishes by RTMP with B-frames and AAC at 44.1 kHz. Chromium watches by WHEP: it gets the picture without
// B-frames, and Opus. aiortc measures by the sender reports of the server how far sound is from picture. Nothing is
// made of either before and after.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { isPlaying, openWhepViewer } from "../clients/viewer.mjs";
import { encoder } from "../media/encoder.mjs";
import { scenario } from "../scenario.mjs";
import { Child } from "../servers/process.mjs";
import { shardcast } from "../servers/shardcast.mjs";
import { until } from "../waiting.mjs";

const ID = "encoded";
const OFFSET_MS_MAX = 60;
const PAIRS = 8;
const here = (relative) => fileURLToPath(new URL(relative, import.meta.url));
const PYTHON = process.env.SHARDCAST_E2E_AIORTC ?? here("../../../target/tools/aiortc/bin/python");

/** What the page has received of picture and sound. */
function received(page) {
  return page.evaluate(async () => {
    const found = {};
    for (const report of (await window.peer.getStats()).values()) {
      if (report.type === "inbound-rtp") found[report.kind] = report;
    }
    return found;
  });
}

/** By how many milliseconds each tone is behind the white picture next to it. */
function offsets({ audio, video }) {
  const nearest = (at) => audio.reduce((best, tone) => (Math.abs(tone - at) < Math.abs(best - at) ? tone : best), Infinity);
  return video.map((at) => nearest(at) - at).filter((ms) => Math.abs(ms) < 450).sort((a, b) => a - b);
}

scenario("viewers see and hear what an encoder publishes with B-frames and AAC", { timeout_ms: 180_000 }, async (it) => {
  assert.ok(existsSync(PYTHON), `${PYTHON} is missing: make target/tools/aiortc/bin/.installed`);
  const server = await shardcast(it);
  const { local_sink: sink } = await server.status();
  const rtmp = sink.url_base.replace(/\/sink$/, "");
  encoder(it, `${rtmp}/StreamLick/${ID}`);
  const live = () => server.broadcast(ID);
  await until("the encoder to be live", async () => (await live()).publisher?.video?.frames > 50);
  assert.equal((await live()).renditions.length, 0, "nothing is made while nobody watches");

  const page = await openWhepViewer(it, server.http, ID);
  await until("pictures", async () => ((await received(page)).video?.framesDecoded ?? 0) > 25, { within_ms: 30_000 });
  await until("the picture to go on", () => isPlaying(page));
  const before = (await received(page)).audio.packetsReceived;
  assert.ok(before > 0, "no sound");
  const [rendition, ...others] = (await live()).renditions;
  assert.equal(others.length, 0);
  assert.deepEqual([rendition.height, rendition.viewers], [360, 1]);

  const url = `${server.http}/StreamLick/whep/${ID}`;
  const measuring = new Child(PYTHON, [here("../clients/aiortc/peer.py"), "sync", url, String(PAIRS)]);
  it.showOnFailure("aiortc", () => measuring.output);
  it.atEnd(() => measuring.stop());
  await until("pictures and tones", () => !measuring.running, { within_ms: 60_000 });
  assert.equal(measuring.code, 0, measuring.output);
  const found = offsets(JSON.parse(measuring.output.trim().split("\n").at(-1)));
  const { audio, video } = await received(page);
  console.log(`sound behind picture by ${found.map((ms) => ms.toFixed(0)).join(", ")} ms; Chromium: ${video.framesDecoded} frames, ` +
    `${video.freezeCount} freezes, ${audio.packetsReceived} packets of sound, ${audio.packetsLost} lost`);
  assert.ok(found.length >= PAIRS - 1, `${found.length} pairs`);
  assert.ok(found.every((ms) => Math.abs(ms) <= OFFSET_MS_MAX), `${found}`);
  assert.ok(audio.packetsReceived > before + 200, "sound has stopped");

  await page.close();
  await until("nothing to be made any more", async () => {
    const { viewers, renditions } = await live();
    return viewers === 0 && renditions.length === 0;
  }, { within_ms: 30_000 });
});
