// The engine is killed (kill -9). Control starts another one, the SDK publishes again by itself, and
// every destination gets the stream again, without any action in the studio.

import assert from "node:assert/strict";
import { AntMediaBackend } from "../clients/backend.mjs";
import { openStudio } from "../clients/studio.mjs";
import { frames, readFlv } from "../media/flv.mjs";
import { assertOrderly } from "../media/recording.mjs";
import { scenario } from "../scenario.mjs";
import { nginxRtmp } from "../servers/nginx_rtmp.mjs";
import { shardcast } from "../servers/shardcast.mjs";
import { until } from "../waiting.mjs";

const ID = "steady";
const pictures = (file) => frames(readFlv(file), "video").length;

scenario("after a crash of the engine the SDK brings the stream back to all destinations", { timeout_ms: 240_000 }, async (it) => {
  const nginx = await nginxRtmp(it, ["one", "two"]);
  const server = await shardcast(it);
  const backend = new AntMediaBackend(server.http);
  await backend.createBroadcast(ID);
  for (const name of ["one", "two"]) await backend.addRtmpEndpoint(ID, nginx.url(name));

  const studio = await openStudio(it, { width: 640, height: 360 });
  await studio.connect(server);
  await studio.publish(ID);
  await studio.published(ID);
  await until("both to get pictures", () => ["one", "two"].every((name) => nginx.recordings(name).some((file) => pictures(file) > 30)));

  const killed_ms = Date.now();
  const killed = server.killEngine();
  await until("another engine to be ready", async () => {
    const ready = await fetch(`${server.http}/readyz`);
    return ready.ok && server.enginePid !== killed;
  }, { within_ms: 10_000 });
  console.log(`engine ready again ${Date.now() - killed_ms} ms after the crash`);

  await studio.published(ID, { times: 2, within_ms: 60_000 });
  console.log(`published again ${Date.now() - killed_ms} ms after the crash`);
  await until("both to get pictures again", () => ["one", "two"].every((name) => {
    const files = nginx.recordings(name);
    return files.length >= 2 && pictures(files.at(-1)) > 30;
  }), { within_ms: 60_000 });
  for (const name of ["one", "two"]) assertOrderly(nginx.recordings(name).at(-1));

  const { data } = await backend.getBroadcast(ID);
  assert.equal(data.status, "broadcasting");
  assert.deepEqual(data.endPointList.map((endpoint) => endpoint.status), ["broadcasting", "broadcasting"]);
});
