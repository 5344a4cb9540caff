// A moving test picture with audio, for people without a camera and for tests.
//
// Once a second a white field flashes and a tone beeps. Both follow the clock of the audio graph, so
// a recording shows the offset between audio and video. A row of cells at the foot holds the time for programs.

import { drawClock } from "./frame_clock.js";

const FLASH_SECONDS = 0.1;
const BEEP_HZ = 1000;
const BARS = ["#c8c8c8", "#c8c800", "#00c8c8", "#00c800", "#c800c8", "#c80000", "#0000c8"];

/** A timer that keeps its rate in a hidden tab, where browsers slow timers of the page down to 1 Hz. */
function steadyTimer(everyMs, callback) {
  const source = `let n = setInterval(() => postMessage(0), ${everyMs});`;
  const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const worker = new Worker(url);
  URL.revokeObjectURL(url);
  worker.onmessage = callback;
  return () => worker.terminate();
}

export class TestCard {
  constructor(canvas, { width = 1280, height = 720, framesPerSecond = 30, label = "" } = {}) {
    this.canvas = canvas;
    this.canvas.width = width;
    this.canvas.height = height;
    this.framesPerSecond = framesPerSecond;
    this.label = label;
    this.frames = 0;
    this.audio = null;
    this.nextBeep = 0;
    this.pen = canvas.getContext("2d", { alpha: false });
    this.stopTimer = steadyTimer(1000 / framesPerSecond, () => this.tick());
    this.tick();
  }

  /** Video and audio as one stream. Browsers start the audio only after a click. */
  async stream() {
    if (!this.audio) this.startSound();
    await this.audio.resume();
    const video = this.canvas.captureStream(this.framesPerSecond);
    // Keeps the size on a slow connection: frames are dropped before resolution.
    for (const track of video.getVideoTracks()) track.contentHint = "detail";
    return new MediaStream([...video.getVideoTracks(), ...this.sound.stream.getAudioTracks()]);
  }

  startSound() {
    this.audio = new AudioContext({ sampleRate: 48000, latencyHint: "interactive" });
    this.sound = this.audio.createMediaStreamDestination();
    const tone = new OscillatorNode(this.audio, { frequency: BEEP_HZ });
    this.gain = new GainNode(this.audio, { gain: 0 });
    tone.connect(this.gain).connect(this.sound);
    tone.start();
    this.nextBeep = Math.ceil(this.audio.currentTime) + 1;
  }

  close() {
    this.stopTimer();
    this.audio?.close();
  }

  seconds() {
    return this.audio ? this.audio.currentTime : performance.now() / 1000;
  }

  tick() {
    const now = this.seconds();
    if (this.audio && this.audio.state === "running") {
      // Beeps missed during a stall (a suspended laptop) are not made up for.
      if (this.nextBeep < now) this.nextBeep = Math.ceil(now);
      if (this.nextBeep - now < 0.5) {
        this.gain.gain.setValueAtTime(0.5, this.nextBeep);
        this.gain.gain.setValueAtTime(0, this.nextBeep + FLASH_SECONDS);
        this.nextBeep += 1;
      }
    }
    this.frames += 1;
    this.draw(now);
  }

  draw(now) {
    const { pen } = this;
    const { width, height } = this.canvas;
    const fraction = now - Math.floor(now);
    // A frame covers half a frame's time before and after it, so the frame nearest to the beep flashes.
    const nearest = now + 0.5 / this.framesPerSecond;
    const flash = nearest - Math.floor(nearest) < FLASH_SECONDS;

    BARS.forEach((colour, i) => {
      pen.fillStyle = colour;
      pen.fillRect((i * width) / BARS.length, 0, width / BARS.length + 1, height * 0.34);
    });
    pen.fillStyle = "#141a22";
    pen.fillRect(0, height * 0.34, width, height * 0.66);

    // A bouncing ball shows judder and lost frames.
    const sweep = Math.abs(((now / 3) % 2) - 1);
    pen.fillStyle = "#6ea8ff";
    pen.beginPath();
    pen.arc(width * (0.06 + 0.88 * sweep), height * 0.22 + height * 0.08 * Math.sin(now * 4), height * 0.05, 0, 7);
    pen.fill();

    // The flash: a quarter of the frame, black otherwise.
    pen.fillStyle = flash ? "#ffffff" : "#000000";
    pen.fillRect(width * 0.7, height * 0.42, width * 0.25, height * 0.5);
    pen.fillStyle = flash ? "#000000" : "#5c6b7c";
    pen.font = `600 ${height * 0.04}px sans-serif`;
    pen.textAlign = "center";
    pen.fillText("flash + beep", width * 0.825, height * 0.68);

    // A hand that turns once a second.
    const turn = fraction * 2 * Math.PI - Math.PI / 2;
    const [x, y, r] = [width * 0.58, height * 0.67, height * 0.17];
    pen.strokeStyle = "#34465a";
    pen.lineWidth = height * 0.012;
    pen.beginPath();
    pen.arc(x, y, r, 0, 7);
    pen.stroke();
    pen.strokeStyle = "#ffcf7a";
    pen.beginPath();
    pen.moveTo(x, y);
    pen.lineTo(x + r * Math.cos(turn), y + r * Math.sin(turn));
    pen.stroke();

    const clock = new Date();
    const two = (n) => String(n).padStart(2, "0");
    pen.textAlign = "left";
    pen.fillStyle = "#e8edf3";
    pen.font = `700 ${height * 0.13}px ui-monospace, "DejaVu Sans Mono", monospace`;
    pen.fillText(`${two(clock.getHours())}:${two(clock.getMinutes())}:${two(clock.getSeconds())}`, width * 0.04, height * 0.6);
    pen.font = `500 ${height * 0.05}px ui-monospace, "DejaVu Sans Mono", monospace`;
    pen.fillStyle = "#9fb0c2";
    pen.fillText(`.${String(clock.getMilliseconds()).padStart(3, "0")}   frame ${this.frames}`, width * 0.04, height * 0.7);
    pen.fillText(this.label, width * 0.04, height * 0.86);
    drawClock(pen, width, height);
  }
}
