// ffmpeg as an encoder that publishes by RTMP: once a second the picture is white for a tenth of it, and a tone begins at
// that moment. With B-frames and AAC at 44.1 kHz, as encoders have them by default.

import { Child } from "../servers/process.mjs";

const picture = (size) => `color=c=black:s=${size}:r=25,drawbox=c=white:t=fill:enable='lt(mod(t,1),0.1)'`;
const TONE = "aevalsrc='0.5*sin(2*PI*1000*t)*lt(mod(t,1),0.1)':s=44100:c=stereo";

/** Publishes to `url` until the end of the test. */
export function encoder(it, url, { bFrames = 2, seconds = 120, size = "640x360" } = {}) {
  const child = new Child("ffmpeg", ["-hide_banner", "-nostdin", "-v", "error", "-re", "-f", "lavfi", "-i", picture(size),
    "-re", "-f", "lavfi", "-i", TONE, "-t", String(seconds), "-c:v", "libx264", "-preset", "veryfast", "-bf", String(bFrames),
    "-g", "50", "-pix_fmt", "yuv420p", "-c:a", "aac", "-b:a", "128k", "-f", "flv", url]);
  it.showOnFailure("the encoder", () => child.output);
  it.atEnd(() => child.stop());
  return child;
}
