// Reads a file with ffprobe and ffmpeg: its streams, and all errors of a complete decode.

import { execFile } from "node:child_process";
import { promisify } from "node:util";

const run = promisify(execFile);

/** The first stream of each kind, as ffprobe describes it. */
export async function streams(file) {
  const { stdout } = await run("ffprobe", ["-v", "error", "-show_streams", "-of", "json", file]);
  const all = JSON.parse(stdout).streams;
  return { video: all.find((s) => s.codec_type === "video"), audio: all.find((s) => s.codec_type === "audio") };
}

/** Sizes of the frames, in the order of their first occurrence. */
export async function sizes(file) {
  const { stdout } = await run("ffprobe", ["-v", "error", "-select_streams", "v", "-show_entries", "frame=width,height", "-of", "csv=p=0:s=x", file], { maxBuffer: 64 * 1024 * 1024 });
  return [...new Set(stdout.split("\n").map((line) => line.replace(/x$/, "")).filter(Boolean))];
}

/** Red, green and blue of the frame at this time, each the mean of all pixels, 0 to 255. */
export async function meanColour(file, at_ms) {
  const args = ["-hide_banner", "-nostdin", "-v", "error", "-i", file, "-ss", String(at_ms / 1000), "-frames:v", "1",
    "-vf", "scale=1:1:flags=area", "-pix_fmt", "rgb24", "-f", "rawvideo", "-"];
  const { stdout } = await run("ffmpeg", args, { encoding: "buffer" });
  return [...stdout];
}

/** Decodes the whole file and returns the errors of ffmpeg; empty if there are none. */
export async function complaints(file) {
  // Timestamps and sizes are passed through. A browser sends frames at any distance, and ffmpeg would
  // report its own rounding to a frame rate as an error.
  const untouched = ["-fps_mode", "passthrough", "-enc_time_base", "-1", "-autoscale", "0"];
  const args = ["-hide_banner", "-nostdin", "-v", "warning", "-xerror", "-i", file, ...untouched, "-f", "null", "-"];
  const { stderr } = await run("ffmpeg", args, { maxBuffer: 64 * 1024 * 1024 }).catch((failure) => ({ stderr: failure.stderr || failure.message }));
  return stderr.trim();
}
