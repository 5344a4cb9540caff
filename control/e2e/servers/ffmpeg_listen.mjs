// ffmpeg as an RTMP server for one publication, which it writes to an FLV file unchanged.

import { existsSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { Hopeless, until } from "../waiting.mjs";
import { freePort } from "./free_port.mjs";
import { Child } from "./process.mjs";

/** Resolves when ffmpeg listens. `ended()` resolves with its exit code when the publication is over. */
export async function ffmpegListen(it, name = "ffmpeg") {
  const port = await freePort();
  const url = `rtmp://127.0.0.1:${port}/live/key`;
  const file = path.join(it.folder, `${name}.flv`);
  const child = new Child("ffmpeg", [
    "-hide_banner", "-nostdin", "-y", "-listen", "1", "-f", "flv", "-i", url, "-c", "copy", "-flush_packets", "1", "-f", "flv", file,
  ]);
  it.atEnd(() => child.stop());
  it.showOnFailure(name, () => child.output);
  // ffmpeg would take a test connection for the publisher, so the kernel's table is read.
  await until("ffmpeg to listen", () => {
    if (!child.running) throw new Hopeless(child.output);
    return listens(port);
  });
  return {
    url,
    file,
    child,
    bytes: () => (existsSync(file) ? statSync(file).size : 0),
    ended: async () => {
      await child.exited;
      return child.code;
    },
  };
}

/** Whether somebody listens on this port; it is not connected to. */
export function listens(port) {
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  const table = readFileSync("/proc/net/tcp", "utf8");
  return table.split("\n").some((line) => line.includes(`:${hex} 00000000:0000 0A`));
}
