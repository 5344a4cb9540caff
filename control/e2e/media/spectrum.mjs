// What a recording sounds like, by numbers: its samples, the level of a tone in them, and what is there
// beside the tones that were played.

import { execFile } from "node:child_process";
import { promisify } from "node:util";

const run = promisify(execFile);
const OUTPUT_BYTES_MAX = 64 * 1024 * 1024;
export const SAMPLE_RATE_HZ = 48_000;

/** The left and the right channel of the file's audio, decoded by ffmpeg, full scale at 1. */
export async function channels(file) {
  const args = ["-hide_banner", "-nostdin", "-v", "error", "-i", file, "-vn", "-ac", "2", "-ar", String(SAMPLE_RATE_HZ), "-f", "f32le", "-"];
  const { stdout } = await run("ffmpeg", args, { encoding: "buffer", maxBuffer: OUTPUT_BYTES_MAX });
  const samples = new Float32Array(stdout.buffer, stdout.byteOffset, Math.floor(stdout.length / 4));
  const half = (first) => samples.filter((_, i) => i % 2 === first);
  return [half(0), half(1)];
}

/** `samples` in pieces of so many; what is left over is not looked at. */
export function pieces(samples, length) {
  return Array.from({ length: Math.floor(samples.length / length) }, (_, i) => samples.subarray(i * length, (i + 1) * length));
}

export const decibels = (amplitude) => 20 * Math.log10(Math.max(amplitude, 1e-6));

/**
 * Amplitude of each tone in a piece, and the largest sample of all else. The piece must hold whole periods of
 * each tone, so that one does not count as another.
 */
export function analyse(piece, tones_hz) {
  const rest = Float64Array.from(piece);
  const amplitudes = tones_hz.map((hz) => {
    const angle = (i) => (2 * Math.PI * hz * i) / SAMPLE_RATE_HZ;
    let [sine, cosine] = [0, 0];
    piece.forEach((sample, i) => {
      sine += (2 / piece.length) * sample * Math.sin(angle(i));
      cosine += (2 / piece.length) * sample * Math.cos(angle(i));
    });
    rest.forEach((_, i) => (rest[i] -= sine * Math.sin(angle(i)) + cosine * Math.cos(angle(i))));
    return Math.hypot(sine, cosine);
  });
  return { amplitudes, rest: rest.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0) };
}
