// The claims that every recording of a destination has to meet.

import assert from "node:assert/strict";
import { frames, groupsOfPictures, median, readFlv, stepsBack } from "./flv.mjs";
import { complaints, streams } from "./ffprobe.mjs";
import { soundOffsets } from "./sync.mjs";

/** The strictest rule among live platforms is a keyframe every 2 s; a frame's time is added. */
const KEYFRAME_DISTANCE_MS_MAX = 2_200;
const SOUND_OFFSET_MS_MAX = 40;

/** H.264 and AAC, headers first, a keyframe first, no timestamp that steps back. */
export function assertOrderly(file) {
  const tags = readFlv(file);
  const video = frames(tags, "video");
  const audio = frames(tags, "audio");
  assert.ok(video.length > 0 && audio.length > 0, `${file}: ${video.length} pictures, ${audio.length} audio frames`);
  assert.ok(video.every((tag) => tag.codec === "h264") && audio.every((tag) => tag.codec === "aac"), `${file}: codecs`);
  for (const kind of ["video", "audio"]) {
    assert.equal(tags.find((tag) => tag.kind === kind).header, true, `${file}: ${kind} begins without its sequence header`);
  }
  assert.equal(video[0].key, true, `${file}: the first picture is not a keyframe`);
  assert.deepEqual(stepsBack(video), [], `${file}: video timestamps step back`);
  assert.deepEqual(stepsBack(audio), [], `${file}: audio timestamps step back`);
  return { video, audio };
}

/**
 * The distance that platforms ask for, between all keyframes. A browser without processor time
 * makes no pictures at all for a while, and can make no keyframe then: such a pause is not counted.
 */
export function assertKeyframes(file, video) {
  const groups = groupsOfPictures(video);
  assert.ok(groups.length > 0, `${file}: a single keyframe`);
  const late = groups.filter(({ length_ms, pause_ms }) => length_ms - pause_ms > KEYFRAME_DISTANCE_MS_MAX);
  assert.deepEqual(late, [], `${file}: keyframes too far apart; all: ${groups.map((group) => group.length_ms)}`);
}

/** A whole decode without a complaint, and the codecs that were promised. */
export async function assertDecodes(file) {
  const { video, audio } = await streams(file);
  assert.equal(video?.codec_name, "h264", file);
  assert.equal(audio?.codec_name, "aac", file);
  assert.equal(await complaints(file), "", file);
  return { video, audio };
}

/** Flash and beep of the test card within 40 ms of each other, at the median. */
export async function assertInSync(file, pairs_min) {
  const { flashes, beeps, offsets_ms } = await soundOffsets(file);
  assert.ok(offsets_ms.length >= pairs_min, `${file}: ${flashes} flashes, ${beeps} beeps, ${offsets_ms.length} pairs`);
  const offset_ms = median(offsets_ms);
  assert.ok(Math.abs(offset_ms) <= SOUND_OFFSET_MS_MAX, `${file}: sound is ${offset_ms} ms late at the median; all: ${offsets_ms.map(Math.round)}`);
  return offset_ms;
}
