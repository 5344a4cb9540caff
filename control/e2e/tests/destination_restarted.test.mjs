// A platform's server is killed and started again. The destination is live again within two seconds of
// the restart, from a keyframe, without any call; the others lose nothing.

import assert from "node:assert/strict";
import { AntMediaBackend } from "../clients/backend.mjs";
import { openStudio } from "../clients/studio.mjs";
import { frames, readFlv } from "../media/flv.mjs";
import { assertOrderly } from "../media/recording.mjs";
import { scenario } from "../scenario.mjs";
import { nginxRtmp } from "../servers/nginx_rtmp.mjs";
import { shardcast } from "../servers/shardcast.mjs";
import { sleep, until } from "../waiting.mjs";

const ID = "restarted";
const DEAD_MS = [3_000, 15_000];
/** The promise is two seconds; two cores that also run a browser get twice that. */
const BACK_MS_MAX = 4_000;

const pictures = (file) => frames(readFlv(file), "video");

scenario("a server that is started again gets its stream back within two seconds", { timeout_ms: 180_000 }, async (it) => {
  const nginx = await nginxRtmp(it, ["one"]);
  const well = await nginxRtmp(it, ["two"], { name: "nginx-well" });
  const server = await shardcast(it);
  const backend = new AntMediaBackend(server.http);
  await backend.createBroadcast(ID);
  await backend.addRtmpEndpoint(ID, nginx.url("one"));
  await backend.addRtmpEndpoint(ID, well.url("two"));
  const studio = await openStudio(it, { width: 640, height: 360 });
  await studio.connect(server);
  await studio.publish(ID);
  await studio.published(ID);
  await until("the first recording", () => nginx.recordings("one").some((file) => pictures(file).length > 60));

  for (const dead_ms of DEAD_MS) {
    const before = nginx.recordings("one").length;
    await nginx.kill();
    await until("the loss to be told", async () => {
      const { data } = await backend.getBroadcast(ID);
      const [endpoint] = data.endPointList;
      return endpoint.status === "error" && endpoint.detail.problem && endpoint.detail.next_attempt_unix_ms;
    }, { within_ms: 5_000 });
    await sleep(dead_ms);
    await nginx.start();
    const back_ms = Date.now();
    await until("a picture after the return", () => nginx.recordings("one").length > before && pictures(nginx.recordings("one").at(-1)).length > 0, { every_ms: 20 });
    const took_ms = Date.now() - back_ms;
    console.log(`on air ${took_ms} ms after the return from ${dead_ms} ms`);
    assert.ok(took_ms <= BACK_MS_MAX, `${took_ms} ms`);
    await sleep(4_000);
    assertOrderly(nginx.recordings("one").at(-1));
  }
  const { data } = await backend.getBroadcast(ID);
  assert.deepEqual(data.endPointList.map((endpoint) => endpoint.status), ["broadcasting", "broadcasting"]);
  await studio.call("stop", ID);
  await until("the end to arrive", () => well.seen("publish_done", "two").length === 1);
  assert.equal(well.seen("publish", "two").length, 1, "the other one was connected again");
  assertOrderly(well.recordings("two")[0]);
});
