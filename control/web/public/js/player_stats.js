// What the browser measures of the stream that it plays, as rows of words: reads RTCPeerConnection.getStats()
// (W3C webrtc-stats) once a second.

import { bitrate } from "./words.js";

/** Loss is the share of the last so many seconds. */
const LOSS_S = 10;

function only(stats, type, kind) {
  return [...stats.values()].find((row) => row.type === type && (kind === undefined || row.kind === kind));
}

/** The pair of addresses that is used. */
function pair(stats) {
  const transport = only(stats, "transport");
  return stats.get(transport?.selectedCandidatePairId);
}

function codec(stats, inbound) {
  return stats.get(inbound?.codecId)?.mimeType.split("/").at(-1);
}

/** The numbers of one look. */
export function look(stats) {
  const [video, audio] = ["video", "audio"].map((kind) => only(stats, "inbound-rtp", kind) ?? {});
  return {
    at_s: performance.now() / 1000,
    codecs: [codec(stats, video), codec(stats, audio)].filter(Boolean),
    width: video.frameWidth ?? 0,
    height: video.frameHeight ?? 0,
    framesPerSecond: video.framesPerSecond ?? 0,
    decoded: video.framesDecoded ?? 0,
    dropped: video.framesDropped ?? 0,
    freezes: video.freezeCount ?? 0,
    bytes: [video.bytesReceived ?? 0, audio.bytesReceived ?? 0],
    received: (video.packetsReceived ?? 0) + (audio.packetsReceived ?? 0),
    lost: Math.max(0, (video.packetsLost ?? 0) + (audio.packetsLost ?? 0)),
    jitter_s: video.jitter ?? audio.jitter ?? 0,
    buffer: [video.jitterBufferDelay ?? 0, video.jitterBufferEmittedCount ?? 0],
    round_trip_s: pair(stats)?.currentRoundTripTime ?? null,
  };
}

const ms = (seconds) => `${Math.round(seconds * 1000)} ms`;

/** Looks of the last seconds, the newest last. */
export class PlayerStats {
  constructor() {
    this.looks = [];
    /** Height of the picture that the server has chosen, in pixels. */
    this.rung = null;
    /** What the server estimates the way to carry, in bit/s. */
    this.estimate_bps = null;
  }

  add(stats) {
    const now = look(stats);
    // Another connection counts anew.
    if (now.received < (this.looks.at(-1)?.received ?? 0)) this.looks = [];
    this.looks = [...this.looks.filter(({ at_s }) => at_s > now.at_s - LOSS_S), now];
  }

  /** Takes what the SDK hands on from the server. */
  notified(event, detail) {
    if (event === "resolutionChangeInfo") this.rung = detail.streamHeight;
    if (event === "bitrateMeasurement") this.estimate_bps = detail.targetBitrate;
  }

  /** Pairs of a name and words for it; empty before the first look. */
  rows() {
    const now = this.looks.at(-1);
    if (!now) return [];
    const before = this.looks.at(-2) ?? now;
    const first = this.looks[0];
    const passed_s = now.at_s - before.at_s;
    const rate = (index) => bitrate(passed_s > 0 ? (8 * (now.bytes[index] - before.bytes[index])) / passed_s : 0);
    const lost = now.lost - first.lost;
    const sent = lost + now.received - first.received;
    const [delay, emitted] = [0, 1].map((index) => now.buffer[index] - before.buffer[index]);
    const rows = [
      ["Codecs", now.codecs.join(", ") || "none yet"],
      ["Picture", now.width ? `${now.width}×${now.height}, ${Math.round(now.framesPerSecond)} fps` : "none yet"],
    ];
    if (this.rung) rows.push(["Quality chosen", `${this.rung}p`]);
    rows.push(["Video, audio", `${rate(0)}, ${rate(1)}`]);
    if (this.estimate_bps) rows.push(["Connection carries", bitrate(this.estimate_bps)]);
    rows.push(
      ["Frames", `${now.decoded} decoded, ${now.dropped} dropped, ${now.freezes} freezes`],
      ["Packets lost", `${now.lost}; ${sent > 0 ? ((100 * lost) / sent).toFixed(1) : "0.0"} % in the last ${LOSS_S} s`],
      ["Round trip", now.round_trip_s === null ? "not known yet" : ms(now.round_trip_s)],
      ["Jitter", ms(now.jitter_s)],
      ["Jitter buffer", emitted > 0 ? ms(delay / emitted) : "empty"],
    );
    return rows;
  }
}
