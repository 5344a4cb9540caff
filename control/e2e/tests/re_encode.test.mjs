// A studio publishes VP8, VP9, AV1 and H.264 in turn, each from a canvas of another size. Three
// destinations that are to be sent 720p notice nothing: one session each, one size under one sequence
// header, a keyframe every two seconds, sound with its picture.

import assert from "node:assert/strict";
import { AntMediaBackend } from "../clients/backend.mjs";
import { openStudio } from "../clients/studio.mjs";
import { sizes } from "../media/ffprobe.mjs";
import { groupsOfPictures, median, readFlv } from "../media/flv.mjs";
import { assertDecodes, assertOrderly } from "../media/recording.mjs";
import { soundOffsets } from "../media/sync.mjs";
import { scenario } from "../scenario.mjs";
import { ffmpegListen } from "../servers/ffmpeg_listen.mjs";
import { nginxRtmp } from "../servers/nginx_rtmp.mjs";
import { shardcast } from "../servers/shardcast.mjs";
import { sleep, until } from "../waiting.mjs";

const ID = "turns";
const TURNS = [
  { codec: "VP8", width: 640, height: 360 },
  { codec: "VP9", width: 960, height: 540 },
  { codec: "AV1", width: 640, height: 360 },
  { codec: "H264", width: 1280, height: 720 },
];
const RENDITION = { width: 1280, height: 720, videoBitrate: 2_000_000, frameRate: 30, gopSeconds: 2, preset: "ultrafast" };
const LIVE_MS = 10_000;
const AWAY_MS = 2_000;
/** A frame at 30 a second, and the rounding of timestamps to milliseconds. */
const FRAME_MS = 35;
const GOP_MS = RENDITION.gopSeconds * 1_000;
const SOUND_MS_MAX = 40;

/**
 * The groups that are not two seconds long. A machine without processor time leaves pictures out. The next one that is
 * encoded is then the keyframe: its group begins as late as the pause in front of it is long, and ends in time.
 */
function oddGroups(video) {
  const keys = video.flatMap((tag, i) => (tag.key ? [{ at_ms: tag.dts_ms, pause_ms: i ? tag.dts_ms - video[i - 1].dts_ms : 0 }] : []));
  return keys.slice(1).flatMap(({ at_ms, pause_ms }, i) => {
    const length_ms = at_ms - keys[i].at_ms;
    const late_ms = length_ms - GOP_MS;
    const allowed_ms = Math.max(FRAME_MS, late_ms > 0 ? pause_ms : keys[i].pause_ms);
    return Math.abs(late_ms) > allowed_ms ? [{ at_ms, length_ms, pause_ms, before_ms: keys[i].pause_ms }] : [];
  });
}

scenario("three destinations get one constant picture out of four codecs", { timeout_ms: 300_000 }, async (it) => {
  const nginx = await nginxRtmp(it, ["one", "two"]);
  const listener = await ffmpegListen(it);
  const server = await shardcast(it);
  const backend = new AntMediaBackend(server.http);
  await backend.createBroadcast(ID);
  for (const rtmpUrl of [nginx.url("one"), nginx.url("two"), listener.url]) {
    const { data } = await backend.addEndpoint(ID, { rtmpUrl, reencode: "always", rendition: RENDITION });
    assert.equal(data.success, true, data.message);
  }

  const rates = [];
  for (const { codec, ...card } of TURNS) {
    const studio = await openStudio(it, card);
    await studio.prefer(codec);
    await studio.connect(server);
    await studio.publish(ID);
    await studio.published(ID);
    await until(`${codec} to arrive`, async () => (await server.broadcast(ID)).decoder?.codec === codec.toLowerCase());
    const before = (await server.broadcast(ID)).decoder;
    await sleep(LIVE_MS);
    const { renditions, decoder } = await server.broadcast(ID);
    rates.push(((decoder.frames - before.frames) * 1000) / LIVE_MS);
    assert.equal(renditions.length, 1, "equal renditions are made once");
    assert.equal(renditions[0].destinations, 3);
    const { data } = await backend.getBroadcast(ID);
    assert.deepEqual(data.endPointList.map(({ detail }) => detail.picture.path), ["rendition", "rendition", "rendition"]);
    console.log(`${codec}: ${decoder.frames} pictures decoded, ${decoder.errors} not, ${decoder.late} late; ${JSON.stringify(renditions[0])}`);
    if (codec === "H264") await studio.call("stop", ID);
    else await studio.close();
    await sleep(AWAY_MS);
  }
  await until("the end to arrive", () => nginx.seen("publish_done", "one").length && nginx.seen("publish_done", "two").length);
  assert.equal(await listener.ended(), 0, listener.child.output);

  for (const name of ["one", "two"]) assert.equal(nginx.seen("publish", name).length, 1, `${name} was connected again`);
  for (const file of [nginx.recordings("one")[0], nginx.recordings("two")[0], listener.file]) {
    const { video } = assertOrderly(file);
    assert.deepEqual(await sizes(file), ["1280x720"]);
    const headers = readFlv(file).filter((tag) => tag.kind === "video" && tag.header);
    assert.equal(headers.length, 1, `${file}: sequence headers`);
    const lengths_ms = groupsOfPictures(video).map((group) => group.length_ms);
    assert.ok(lengths_ms.length >= 15, `${file}: ${lengths_ms.length} groups of pictures`);
    assert.deepEqual(oddGroups(video), [], `${file}: groups of pictures that are not ${GOP_MS} ms long`);
    await assertDecodes(file);
    const { pairs } = await soundOffsets(file);
    assert.ok(pairs.length >= 20, `${file}: ${pairs.length} flashes with a beep`);
    const late_ms = median(pairs.map(({ offset_ms }) => offset_ms));
    // A flash is seen in the first picture behind it: half the distance of pictures later, and a
    // browser without processor time makes few of them.
    const unseen_ms = 500 / median(rates);
    assert.ok(late_ms <= SOUND_MS_MAX && late_ms >= -SOUND_MS_MAX - unseen_ms, `${file}: sound is ${late_ms} ms late`);
    const rate = median(rates).toFixed(0);
    console.log(`${lengths_ms.length} groups of ${Math.min(...lengths_ms)} to ${Math.max(...lengths_ms)} ms, sound late by ${late_ms.toFixed(0)} ms at ${rate} pictures a second`);
  }
});
