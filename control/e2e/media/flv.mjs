// Reads FLV files of RTMP servers tag by tag, so that timestamps are exactly those that were sent,
// before a player smooths them. Adobe, "Video File Format Specification", version 10.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

const HEADER_BYTES = 13;
const TAG_HEADER_BYTES = 11;
const AUDIO = 8;
const VIDEO = 9;
const SCRIPT = 18;
const AVC = 7;
const AAC = 10;

function videoTag(tag, body) {
  const isAvc = (body[0] & 0x0f) === AVC;
  return {
    ...tag,
    kind: "video",
    codec: isAvc ? "h264" : `codec ${body[0] & 0x0f}`,
    key: body[0] >> 4 === 1,
    header: isAvc && body[1] === 0,
    end: isAvc && body[1] === 2,
    composition_ms: body.readIntBE(2, 3),
    // Hash of the access unit alone, which is equal for the same frame at another destination.
    hash: createHash("sha1").update(body.subarray(5)).digest("base64"),
  };
}

function audioTag(tag, body) {
  const isAac = body[0] >> 4 === AAC;
  return { ...tag, kind: "audio", codec: isAac ? "aac" : `codec ${body[0] >> 4}`, header: isAac && body[1] === 0 };
}

/** All complete tags of the file, in order; a tag that is still being written is left out. */
export function readFlv(file) {
  const data = readFileSync(file);
  const tags = [];
  let at = HEADER_BYTES;
  while (at + TAG_HEADER_BYTES <= data.length) {
    const type = data[at] & 0x1f;
    const size = data.readUIntBE(at + 1, 3);
    const start = at + TAG_HEADER_BYTES;
    if (start + size + 4 > data.length) break;
    const body = data.subarray(start, start + size);
    const tag = { dts_ms: data.readUIntBE(at + 4, 3) + data[at + 7] * 0x1000000, bytes: size };
    if (type === VIDEO && size >= 5) tags.push(videoTag(tag, body));
    else if (type === AUDIO && size >= 2) tags.push(audioTag(tag, body));
    else if (type === SCRIPT) tags.push({ ...tag, kind: "script" });
    at = start + size + 4;
  }
  return tags;
}

/** Access units and audio frames without sequence headers, ends of sequence and metadata. */
export const frames = (tags, kind) => tags.filter((tag) => tag.kind === kind && !tag.header && !tag.end);

/** Tags whose timestamp is lower than that of the tag before. */
export function stepsBack(list) {
  return list.flatMap((tag, i) => (i > 0 && tag.dts_ms < list[i - 1].dts_ms ? [{ index: i, from_ms: list[i - 1].dts_ms, to_ms: tag.dts_ms }] : []));
}

/** Distances between keyframes in milliseconds. */
export function keyframeDistances(video) {
  const keys = video.filter((tag) => tag.key);
  return keys.slice(1).map((tag, i) => tag.dts_ms - keys[i].dts_ms);
}

/**
 * Each complete group of pictures: length, start, number of frames, and the longest pause between two
 * frames.
 */
export function groupsOfPictures(video) {
  const keys = video.flatMap((tag, i) => (tag.key ? [i] : []));
  return keys.slice(1).map((end, i) => {
    const pauses = video.slice(keys[i] + 1, end + 1).map((tag, j) => tag.dts_ms - video[keys[i] + j].dts_ms);
    return { at_ms: video[keys[i]].dts_ms, length_ms: video[end].dts_ms - video[keys[i]].dts_ms, pictures: end - keys[i], pause_ms: Math.max(...pauses) };
  });
}

/**
 * Compares the frames of two destinations of the same broadcast, from the first frame that both have to
 * the last that both can have. Returns the number of compared frames and the place of the first
 * difference.
 */
export function compareVideo(one, other) {
  const place = new Map(one.map((tag, i) => [tag.hash, i]));
  const start = other.findIndex((tag) => place.has(tag.hash));
  if (start < 0) return { compared: 0, differsAt: 0 };
  const offset = place.get(other[start].hash) - start;
  const length = Math.min(other.length, one.length - offset);
  for (let i = start; i < length; i += 1) {
    if (one[i + offset].hash !== other[i].hash) return { compared: i - start, differsAt: i };
  }
  return { compared: length - start, differsAt: null };
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.length === 0 ? NaN : sorted[Math.floor(sorted.length / 2)];
}
