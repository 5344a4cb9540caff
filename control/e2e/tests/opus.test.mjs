// A live server that takes Opus: FFmpeg 8, an implementation of enhanced RTMP that is not ours, gets Chromium's own
// Opus beside its H.264, decodes both, and finds each packet in its place.

import assert from "node:assert/strict";
import { openStudio } from "../clients/studio.mjs";
import { scenario } from "../scenario.mjs";
import { ffmpegTakesOpus } from "../servers/ffmpeg_takes_opus.mjs";
import { shardcast } from "../servers/shardcast.mjs";

const ID = "opus";
const SECONDS = 6;
const PACKET_SAMPLES = 960;
/** What a decoder throws away at the begin, as the sequence header says. */
const PRE_SKIP = 312;
/** The tone of the test card has an amplitude of 0.5. */
const TONE_PEAK = 0.4;

scenario("FFmpeg takes a browser's Opus over enhanced RTMP", { timeout_ms: 60_000 }, async (it) => {
  const ffmpeg = await ffmpegTakesOpus(it, SECONDS);
  const server = await shardcast(it);
  const studio = await openStudio(it, { width: 320, height: 180, framesPerSecond: 15 });
  await studio.connect(server);
  await studio.publish(ID);
  await studio.published(ID);
  await studio.call("addDestination", ID, ffmpeg.url);
  const found = await ffmpeg.found();
  assert.equal(found.audio, "opus", JSON.stringify(found));
  assert.equal(found.video, "h264", JSON.stringify(found));
  assert.equal((await server.broadcast(ID)).destinations[0].audio_codec, "opus");
  assert.equal(found.samples, found.packets * PACKET_SAMPLES - PRE_SKIP, JSON.stringify(found));
  // Milliseconds are rounded.
  assert.deepEqual(Object.keys(found.steps_ms).filter((ms) => Math.abs(ms - 20) > 1), [], JSON.stringify(found));
  assert.ok(found.peak > TONE_PEAK, JSON.stringify(found));
  assert.ok(found.pictures > SECONDS * 5, JSON.stringify(found));
});
