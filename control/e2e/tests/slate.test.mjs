// A broadcast has a slate. While the browser is closed, destinations show it, in the stream that they
// have anyway; a moment after the browser is back they show the studio again.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { AntMediaBackend } from "../clients/backend.mjs";
import { openStudio } from "../clients/studio.mjs";
import { readFlv } from "../media/flv.mjs";
import { meanColour } from "../media/ffprobe.mjs";
import { assertDecodes, assertNoHole, assertOrderly } from "../media/recording.mjs";
import { scenario } from "../scenario.mjs";
import { nginxRtmp } from "../servers/nginx_rtmp.mjs";
import { shardcast } from "../servers/shardcast.mjs";
import { sleep, until } from "../waiting.mjs";

const ID = "slate";
const run = promisify(execFile);

/** An orange picture of a shape that the broadcast does not have. */
async function orange(folder) {
  const file = path.join(folder, "slate.png");
  await run("ffmpeg", ["-v", "error", "-f", "lavfi", "-i", "color=c=0xff8000:s=1280x720", "-frames:v", "1", file]);
  return readFile(file);
}

async function goLive(it, server) {
  const studio = await openStudio(it, { width: 640, height: 360 });
  await studio.connect(server);
  await studio.publish(ID);
  await studio.published(ID);
  return studio;
}

scenario("a slate is shown while the browser is away", { timeout_ms: 180_000 }, async (it) => {
  const nginx = await nginxRtmp(it, ["one"]);
  const server = await shardcast(it);
  const backend = new AntMediaBackend(server.http);
  await backend.createBroadcast(ID);
  await backend.addRtmpEndpoint(ID, nginx.url("one"));
  const stored = await fetch(`${server.http}/StreamLick/rest/v2/broadcasts/${ID}/slate`, {
    method: "PUT", headers: { "Content-Type": "image/png" }, body: await orange(it.folder),
  });
  assert.equal(stored.status, 200, await stored.text());

  const first = await goLive(it, server);
  await until("the destination to start", () => nginx.seen("publish", "one").length === 1);
  await sleep(4_000);
  await first.close();
  await until("the slate to be on", async () => (await backend.getBroadcast(ID)).data.hold.standing_in, { within_ms: 5_000 });
  await sleep(5_000);
  const second = await goLive(it, server);
  await sleep(4_000);
  await second.call("stop", ID);
  await until("the end to arrive", () => nginx.seen("publish_done", "one").length === 1);

  assert.equal(nginx.seen("publish", "one").length, 1);
  const [file] = nginx.recordings("one");
  const { video } = assertOrderly(file);
  const spans = assertNoHole(file, video).filter(({ to_ms }) => to_ms < video.at(-1).dts_ms - 1_000);
  const away = spans.reduce((longest, span) => (span.to_ms - span.from_ms > longest.to_ms - longest.from_ms ? span : longest));
  await assertDecodes(file);
  const headers = readFlv(file).filter((tag) => tag.kind === "video" && tag.header);
  assert.equal(headers.length, 1, "the slate needed a sequence header of its own");
  const isOrange = ([red, green, blue]) => red > 200 && green > 90 && green < 160 && blue < 60;
  const late_ms = away.to_ms - 500;
  assert.ok(isOrange(await meanColour(file, late_ms)), `${await meanColour(file, late_ms)}`);
  for (const at_ms of [away.from_ms - 1_500, away.to_ms + 1_500]) {
    assert.ok(!isOrange(await meanColour(file, at_ms)), `${at_ms}: ${await meanColour(file, at_ms)}`);
  }
});
