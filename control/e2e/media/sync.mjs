// Measures the offset between audio and video in a recording of the test card: once a second the white
// field lights up at the moment the tone begins.

import { execFile } from "node:child_process";
import { promisify } from "node:util";

const run = promisify(execFile);
const OUTPUT_BYTES_MAX = 256 * 1024 * 1024;
/** Resolution of the search for the start of a tone. */
const AUDIO_STEP_SAMPLES = 120;
const SAMPLE_RATE_HZ = 48_000;
/** A white field gives about 235, a black one about 16. */
const BRIGHT_LUMA = 128;
/** The tone has about -9 dB, silence less than -50 dB. */
const LOUD_DB = -30;
/** A flash and a beep further apart are no pair. */
const PAIR_DISTANCE_S_MAX = 0.45;

async function metadata(args) {
  const { stdout } = await run("ffmpeg", ["-hide_banner", "-nostdin", "-v", "error", ...args, "-f", "null", "-"], { maxBuffer: OUTPUT_BYTES_MAX });
  return stdout;
}

/** Pairs of time in seconds and value, from the output of the metadata filters. */
function readings(text, key) {
  const found = [];
  let time_s = NaN;
  for (const line of text.split("\n")) {
    const at = /pts_time:(-?[\d.]+)/.exec(line);
    if (at) time_s = Number(at[1]);
    else if (line.startsWith(`${key}=`)) found.push([time_s, Number(line.slice(key.length + 1))]);
  }
  return found;
}

/** Times at which the value rises above the level, after having been below it. */
function rises(list, level) {
  return list.flatMap(([time_s, value], i) => (i > 0 && list[i - 1][1] < level && value >= level ? [time_s] : []));
}

async function flashes(file) {
  // A part of the white field without its caption; see test_card.js for where it is.
  const field = "crop=iw*0.2:ih*0.12:iw*0.72:ih*0.45";
  const text = await metadata(["-i", file, "-an", "-vf", `${field},signalstats,metadata=mode=print:key=lavfi.signalstats.YAVG:file=-`]);
  return rises(readings(text, "lavfi.signalstats.YAVG"), BRIGHT_LUMA);
}

async function beeps(file) {
  const filters = `aresample=${SAMPLE_RATE_HZ},pan=mono|c0=c0,asetnsamples=n=${AUDIO_STEP_SAMPLES}:p=0,` +
    "astats=metadata=1:reset=1,ametadata=mode=print:key=lavfi.astats.Overall.RMS_level:file=-";
  const text = await metadata(["-i", file, "-vn", "-af", filters]);
  return rises(readings(text.replaceAll("=-inf", "=-200"), "lavfi.astats.Overall.RMS_level"), LOUD_DB);
}

/** Each flash with a beep near it: its time, and how late the audio is (negative when early). */
export async function soundOffsets(file) {
  const [lights, tones] = await Promise.all([flashes(file), beeps(file)]);
  const pairs = lights.flatMap((light) => {
    const nearest = tones.reduce((best, tone) => (Math.abs(tone - light) < Math.abs(best - light) ? tone : best), Infinity);
    return Math.abs(nearest - light) <= PAIR_DISTANCE_S_MAX ? [{ at_ms: light * 1000, offset_ms: (nearest - light) * 1000 }] : [];
  });
  return { flashes: lights.length, beeps: tones.length, pairs };
}
