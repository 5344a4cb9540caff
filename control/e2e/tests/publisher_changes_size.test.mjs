// Another browser takes the show over with a larger picture. Destinations stay connected and are told
// the new size by a new sequence header; what they have recorded plays from end to end.

import assert from "node:assert/strict";
import { AntMediaBackend } from "../clients/backend.mjs";
import { openStudio } from "../clients/studio.mjs";
import { readFlv } from "../media/flv.mjs";
import { sizes } from "../media/ffprobe.mjs";
import { assertDecodes, assertNoHole, assertOrderly } from "../media/recording.mjs";
import { scenario } from "../scenario.mjs";
import { ffmpegListen } from "../servers/ffmpeg_listen.mjs";
import { nginxRtmp } from "../servers/nginx_rtmp.mjs";
import { shardcast } from "../servers/shardcast.mjs";
import { sleep, until } from "../waiting.mjs";

const ID = "larger";

async function goLive(it, server, card) {
  const studio = await openStudio(it, card);
  await studio.connect(server);
  await studio.publish(ID);
  await studio.published(ID);
  return studio;
}

scenario("a show goes on in another size on the same connections", { timeout_ms: 180_000 }, async (it) => {
  const nginx = await nginxRtmp(it, ["one"]);
  const listener = await ffmpegListen(it);
  const server = await shardcast(it);
  const backend = new AntMediaBackend(server.http);
  await backend.createBroadcast(ID);
  for (const url of [nginx.url("one"), listener.url]) await backend.addRtmpEndpoint(ID, url);
  const small = await goLive(it, server, { width: 1280, height: 720 });
  await until("all to start", () => nginx.seen("publish", "one").length && listener.bytes() > 0);
  await sleep(8_000);
  await small.close();
  await sleep(2_000);
  const large = await goLive(it, server, { width: 1920, height: 1080 });
  await sleep(10_000);
  await large.call("stop", ID);
  await until("the end to arrive", () => nginx.seen("publish_done", "one").length === 1);
  assert.equal(await listener.ended(), 0, listener.child.output);

  assert.equal(nginx.seen("publish", "one").length, 1, "it was connected again");
  for (const file of [nginx.recordings("one")[0], listener.file]) {
    const { video } = assertOrderly(file);
    assertNoHole(file, video);
    await assertDecodes(file);
    assert.deepEqual(await sizes(file), ["1280x720", "1920x1080"]);
  }
  const headers = readFlv(nginx.recordings("one")[0]).filter((tag) => tag.kind === "video" && tag.header);
  assert.equal(headers.length, 2, "sequence headers");
});
