// FFmpeg 8 as an RTMP server that takes Opus, for one publication; see ffmpeg_takes_opus.py.

import path from "node:path";
import { fileURLToPath } from "node:url";
import { Hopeless, until } from "../waiting.mjs";
import { listens } from "./ffmpeg_listen.mjs";
import { freePort } from "./free_port.mjs";
import { Child } from "./process.mjs";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const PYTHON = path.join(ROOT, "target/tools/pyav/bin/python3");
const SCRIPT = fileURLToPath(new URL("ffmpeg_takes_opus.py", import.meta.url));

/** Resolves when it listens. `found()` resolves with what it made of so many seconds of audio. */
export async function ffmpegTakesOpus(it, seconds) {
  const [front, back] = [await freePort(), await freePort()];
  const child = new Child(PYTHON, [SCRIPT, String(front), String(back), String(seconds)]);
  it.atEnd(() => child.stop());
  it.showOnFailure("FFmpeg 8", () => child.output);
  await until("FFmpeg 8 to listen", () => {
    if (!child.running) throw new Hopeless(`${child.output}\n'make target/tools/pyav/bin/python3' installs it`);
    return listens(front) && listens(back);
  });
  return {
    url: `rtmp://127.0.0.1:${front}/live/key`,
    found: async () => {
      await child.exited;
      const line = () => child.output.split("\n").find((text) => text.startsWith("{"));
      return JSON.parse(await until("FFmpeg 8 to say what it found", line, { within_ms: 1_000 }));
    },
  };
}
