// Checks that every recording of a destination has to pass.

import assert from "node:assert/strict";
import { frames, groupsOfPictures, median, readFlv, stepsBack } from "./flv.mjs";
import { complaints, streams } from "./ffprobe.mjs";
import { soundOffsets } from "./sync.mjs";

/** The strictest platforms require a keyframe every 2 s; one frame's time is added. */
const KEYFRAME_DISTANCE_MS_MAX = 2_200;
const SOUND_OFFSET_MS_MAX = 40;
/**
 * Filler is 100 ms apart at most and stays 80 ms behind the clock, so the publisher's first frame is up to
 * 180 ms behind it; the rest is for a machine that is busy with the start of a browser (236 ms was seen).
 */
const HOLE_MS_MAX = 400;
/** After 1.5 s of audio without video the server sends filler, counted from the last frame. */
const PAUSE_MS_MAX = 1_700;
/** A filler frame, which repeats the one before, has about 30 bytes; frames of a browser have more. */
const STAND_IN_BYTES_MAX = 48;
const SPAN_APART_MS = 1_000;

/** H.264 and AAC, sequence headers first, then a keyframe, and no timestamp that steps back. */
export function assertOrderly(file) {
  const tags = readFlv(file);
  const video = frames(tags, "video");
  const audio = frames(tags, "audio");
  assert.ok(video.length > 0 && audio.length > 0, `${file}: ${video.length} video frames, ${audio.length} audio frames`);
  assert.ok(video.every((tag) => tag.codec === "h264") && audio.every((tag) => tag.codec === "aac"), `${file}: codecs`);
  for (const kind of ["video", "audio"]) {
    assert.equal(tags.find((tag) => tag.kind === kind).header, true, `${file}: ${kind} begins without its sequence header`);
  }
  assert.equal(video[0].key, true, `${file}: the first video frame is not a keyframe`);
  assert.deepEqual(stepsBack(video), [], `${file}: video timestamps step back`);
  assert.deepEqual(stepsBack(audio), [], `${file}: audio timestamps step back`);
  return { video, audio };
}

/**
 * All keyframes are as close as platforms require. A browser without CPU time encodes no frames for a
 * while, and so no keyframe: such a pause is not counted.
 */
export function assertKeyframes(file, video) {
  const groups = groupsOfPictures(video);
  assert.ok(groups.length > 0, `${file}: a single keyframe`);
  const late = groups.filter(({ length_ms, pause_ms }) => length_ms - pause_ms > KEYFRAME_DISTANCE_MS_MAX);
  assert.deepEqual(late, [], `${file}: keyframes too far apart; all: ${groups.map((group) => group.length_ms)}`);
}

/** The whole file decodes without an error, and has the right codecs. */
export async function assertDecodes(file) {
  const { video, audio } = await streams(file);
  assert.equal(video?.codec_name, "h264", file);
  assert.equal(audio?.codec_name, "aac", file);
  assert.equal(await complaints(file), "", file);
  return { video, audio };
}

/** Flash and beep of the test card are within 40 ms of each other at the median. */
export async function assertInSync(file, pairs_min) {
  return assertTogether(file, await soundOffsets(file), pairs_min);
}

/** The same for measured offsets, in the part of the file that `within` selects. */
export function assertTogether(file, { flashes, beeps, pairs }, pairs_min, within = () => true) {
  const offsets_ms = pairs.filter(({ at_ms }) => within(at_ms)).map((pair) => pair.offset_ms);
  assert.ok(offsets_ms.length >= pairs_min, `${file}: ${flashes} flashes, ${beeps} beeps, ${offsets_ms.length} pairs`);
  const offset_ms = median(offsets_ms);
  assert.ok(Math.abs(offset_ms) <= SOUND_OFFSET_MS_MAX, `${file}: audio is ${offset_ms} ms late at the median; all: ${offsets_ms.map(Math.round)}`);
  return offset_ms;
}

/**
 * No gap where the server sent filler for the publisher: at most HOLE_MS_MAX from each filler frame to the
 * next frame of any kind. A browser without CPU time pauses by itself; such a pause is counted only if
 * it is long enough for filler. Returns the times of the filler and its number of frames.
 */
export function assertNoHole(file, video) {
  const standsIn = (tag) => tag.bytes < STAND_IN_BYTES_MAX;
  const holes = video.slice(1).flatMap((tag, i) => {
    const gap_ms = tag.dts_ms - video[i].dts_ms;
    const most_ms = standsIn(tag) || standsIn(video[i]) ? HOLE_MS_MAX : PAUSE_MS_MAX;
    return gap_ms > most_ms ? [{ at_ms: video[i].dts_ms, gap_ms }] : [];
  });
  assert.deepEqual(holes, [], `${file}: gaps`);
  const spans = [];
  for (const { dts_ms } of video.filter(standsIn)) {
    const span = spans.at(-1);
    if (span && dts_ms - span.to_ms < SPAN_APART_MS) Object.assign(span, { to_ms: dts_ms, pictures: span.pictures + 1 });
    else spans.push({ from_ms: dts_ms, to_ms: dts_ms, pictures: 1 });
  }
  return spans;
}
