// The time of day as a row of black and white cells at the foot of a picture: the test picture draws it, and whoever
// plays the picture reads how long ago it was drawn.
//
// From the left: four cells that mark the row, 24 bits of milliseconds since 1970 and eight of a check, the highest first.

const MARK = 0b1010;
const MARK_BITS = 4;
const TIME_BITS = 24;
const CHECK_BITS = 8;
const CELLS = MARK_BITS + TIME_BITS + CHECK_BITS;
/** Where the row is, in parts of the height; each cell is as wide as all others. */
const TOP = 0.94;
const BOTTOM = 1;
/** Samples of each cell, of which the middle one is read: its edges are blurred by coding. */
const SAMPLES = 5;
const DARK = 80;
const BRIGHT = 176;
/** Older than this, clocks differ or the picture is not live. */
const AGE_MS_MAX = 60_000;
/** Pictures are read this far apart, and the middle one of so many readings is told. */
const EVERY_MS = 200;
const READINGS = 10;
/** A reading is told for so long. */
const KEPT_MS = 3_000;

const check = (time) => (time ^ (time >> 8) ^ (time >> 16) ^ 0xa5) & 0xff;
const wrapped = (unix_ms) => Math.floor(unix_ms) % 2 ** TIME_BITS;
const nowUnixMs = () => performance.timeOrigin + performance.now();

/** Draws the time into a picture of this size. */
export function drawClock(pen, width, height, unix_ms = nowUnixMs()) {
  const time = wrapped(unix_ms);
  const bits = [[MARK, MARK_BITS], [time, TIME_BITS], [check(time), CHECK_BITS]]
    .map(([value, count]) => value.toString(2).padStart(count, "0"))
    .join("");
  pen.fillStyle = "#000000";
  pen.fillRect(0, height * TOP, width, height * (BOTTOM - TOP) + 1);
  pen.fillStyle = "#ffffff";
  for (let cell = 0; cell < CELLS; cell += 1) {
    if (bits[cell] === "1") pen.fillRect((cell * width) / CELLS, height * TOP, width / CELLS, height * (BOTTOM - TOP) + 1);
  }
}

/** The time in the picture that `video` shows, as far as the row holds it; null where there is none. */
function readTime(video, pen) {
  const { videoWidth: width, videoHeight: height } = video;
  const row = (BOTTOM - TOP) * height;
  // Half of the row: above it and below it codecs blur.
  pen.drawImage(video, 0, height * TOP + row / 4, width, row / 2, 0, 0, CELLS * SAMPLES, 1);
  const { data } = pen.getImageData(0, 0, CELLS * SAMPLES, 1);
  let bits = "";
  for (let cell = 0; cell < CELLS; cell += 1) {
    const green = data[4 * (cell * SAMPLES + (SAMPLES >> 1)) + 1];
    if (green > DARK && green < BRIGHT) return null;
    bits += green >= BRIGHT ? "1" : "0";
  }
  const [mark, time, sum] = [bits.slice(0, MARK_BITS), bits.slice(MARK_BITS, MARK_BITS + TIME_BITS), bits.slice(-CHECK_BITS)]
    .map((part) => parseInt(part, 2));
  return mark === MARK && sum === check(time) ? time : null;
}

/** Reads the clock of what a video element shows, while it is wanted. */
export class FrameClock {
  constructor(video) {
    this.video = video;
    this.readings = [];
    this.last_ms = 0;
    const canvas = new OffscreenCanvas(CELLS * SAMPLES, 1);
    this.pen = canvas.getContext("2d", { willReadFrequently: true });
  }

  /** Whether pictures are read: it costs a copy of each. */
  want(wanted) {
    this.wanted = wanted;
    if (wanted && !this.waits) this.wait();
  }

  wait() {
    // A browser that cannot say when a picture is shown tells nothing.
    if (!this.video.requestVideoFrameCallback) return;
    this.waits = true;
    this.video.requestVideoFrameCallback((now, frame) => {
      this.waits = false;
      if (now - this.last_ms >= EVERY_MS) this.read(now, performance.timeOrigin + frame.expectedDisplayTime);
      if (this.wanted) this.wait();
    });
  }

  read(now, shown_unix_ms) {
    this.last_ms = now;
    const time = readTime(this.video, this.pen);
    if (time === null) return;
    const age_ms = wrapped(wrapped(shown_unix_ms) - time + 2 ** TIME_BITS);
    if (age_ms <= AGE_MS_MAX) this.readings = [...this.readings.slice(1 - READINGS), { at_ms: now, age_ms }];
  }

  /** How long the picture is on its way from the canvas to the screen, in milliseconds; null where no clock is seen. It
   * holds what the clocks of both computers differ by. */
  glassToGlassMs() {
    const fresh = this.readings.filter(({ at_ms }) => performance.now() - at_ms < KEPT_MS);
    const ages = fresh.map(({ age_ms }) => age_ms).sort((a, b) => a - b);
    return ages.length ? ages[ages.length >> 1] : null;
  }
}
