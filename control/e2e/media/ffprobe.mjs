// What ffprobe and ffmpeg think of a file: its streams, and every complaint while decoding all of it.

import { execFile } from "node:child_process";
import { promisify } from "node:util";

const run = promisify(execFile);

/** The first stream of each kind, as ffprobe describes it. */
export async function streams(file) {
  const { stdout } = await run("ffprobe", ["-v", "error", "-show_streams", "-of", "json", file]);
  const all = JSON.parse(stdout).streams;
  return { video: all.find((s) => s.codec_type === "video"), audio: all.find((s) => s.codec_type === "audio") };
}

/** Decodes everything and returns what was complained about; an empty string means clean. */
export async function complaints(file) {
  // Time stamps go through as they are: frames of a browser come at any distance, and ffmpeg would
  // complain about its own rounding to a frame rate.
  const untouched = ["-fps_mode", "passthrough", "-enc_time_base", "-1"];
  const args = ["-hide_banner", "-nostdin", "-v", "warning", "-xerror", "-i", file, ...untouched, "-f", "null", "-"];
  const { stderr } = await run("ffmpeg", args, { maxBuffer: 64 * 1024 * 1024 }).catch((failure) => ({ stderr: failure.stderr || failure.message }));
  return stderr.trim();
}
