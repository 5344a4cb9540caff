// The tools that judge recordings are judged first: a clip whose sound is late by a known time, sent
// by ffmpeg to nginx and to ffmpeg, must be measured as just that, and as clean.

import assert from "node:assert/strict";
import { scenario } from "../scenario.mjs";
import { compareVideo, frames, keyframeDistances, median, readFlv, stepsBack } from "../media/flv.mjs";
import { complaints, streams } from "../media/ffprobe.mjs";
import { soundOffsets } from "../media/sync.mjs";
import { ffmpegListen } from "../servers/ffmpeg_listen.mjs";
import { nginxRtmp } from "../servers/nginx_rtmp.mjs";
import { Child } from "../servers/process.mjs";
import { until } from "../waiting.mjs";

const SOUND_LATE_MS = 120;
const SECONDS = 8;

/** Sends a clip like the test card to several addresses, as fast as it can be encoded. */
async function sendClip(it, urls) {
  const white = "drawbox=x=iw*0.7:y=ih*0.42:w=iw*0.25:h=ih*0.5:color=white:t=fill:enable='lt(mod(t,1),0.1)'";
  const tone = `aevalsrc=0.5*sin(2*PI*1000*t)*lt(mod(t+1-${SOUND_LATE_MS / 1000}\\,1)\\,0.1)*gt(t\\,${SOUND_LATE_MS / 1000}):s=48000:d=${SECONDS}`;
  const child = new Child("ffmpeg", [
    "-hide_banner", "-nostdin", "-v", "error", "-re",
    "-f", "lavfi", "-i", `color=c=black:s=640x360:r=30:d=${SECONDS},${white}`, "-f", "lavfi", "-i", tone,
    "-map", "0:v", "-map", "1:a", "-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "60",
    "-c:a", "aac", "-b:a", "96k", "-flags", "+global_header", "-f", "tee", urls.map((url) => `[f=flv]${url}`).join("|"),
  ]);
  it.atEnd(() => child.stop());
  it.showOnFailure("ffmpeg, sending", () => child.output);
  await child.exited;
  assert.equal(child.code, 0, child.output);
}

scenario("the measuring tools find what was put into a clip", {}, async (it) => {
  const nginx = await nginxRtmp(it, ["one"]);
  const listener = await ffmpegListen(it);
  await sendClip(it, [nginx.url("one"), listener.url]);
  await until("nginx to see the end", () => nginx.seen("publish_done", "one").length === 1);
  assert.equal(await listener.ended(), 0, listener.child.output);

  const [file] = nginx.recordings("one");
  const tags = readFlv(file);
  const video = frames(tags, "video");
  const audio = frames(tags, "audio");
  assert.equal(video[0].codec, "h264");
  assert.equal(audio[0].codec, "aac");
  assert.deepEqual(stepsBack(video), []);
  assert.deepEqual(stepsBack(audio), []);
  assert.ok(keyframeDistances(video).every((ms) => Math.abs(ms - 2000) <= 40), String(keyframeDistances(video)));

  const found = await streams(file);
  assert.equal(found.video.codec_name, "h264");
  assert.equal(found.audio.codec_name, "aac");
  assert.equal(await complaints(file), "");

  const same = compareVideo(video, frames(readFlv(listener.file), "video"));
  assert.equal(same.differsAt, null);
  assert.ok(same.compared >= (SECONDS - 1) * 30, `${same.compared} pictures compared`);

  const { pairs, flashes, beeps } = await soundOffsets(file);
  const offsets_ms = pairs.map((pair) => pair.offset_ms);
  assert.ok(offsets_ms.length >= SECONDS - 3, `${flashes} flashes, ${beeps} beeps`);
  // One frame of video and one of AAC is as fine as such a clip can be made.
  assert.ok(Math.abs(median(offsets_ms) - SOUND_LATE_MS) <= 40, `offsets ${offsets_ms}`);
});
