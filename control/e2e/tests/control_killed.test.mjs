// Control is killed (kill -9). The engine keeps its connections to the destinations; the next control
// process has the same broadcast and destinations, and the SDK reconnects to it.

import assert from "node:assert/strict";
import { AntMediaBackend } from "../clients/backend.mjs";
import { openStudio } from "../clients/studio.mjs";
import { frames, readFlv, stepsBack } from "../media/flv.mjs";
import { scenario } from "../scenario.mjs";
import { nginxRtmp } from "../servers/nginx_rtmp.mjs";
import { shardcast } from "../servers/shardcast.mjs";
import { until } from "../waiting.mjs";

const ID = "calm";
const pictures = (file) => frames(readFlv(file), "video");

scenario("a crash of control ends no destination, and the next control knows them all", { timeout_ms: 240_000 }, async (it) => {
  const nginx = await nginxRtmp(it, ["one", "two"]);
  const server = await shardcast(it);
  const backend = new AntMediaBackend(server.http);
  await backend.createBroadcast(ID);
  for (const name of ["one", "two"]) await backend.addRtmpEndpoint(ID, nginx.url(name));

  const studio = await openStudio(it, { width: 640, height: 360 });
  await studio.connect(server);
  await studio.publish(ID);
  await studio.published(ID);
  await until("both to get pictures", () => ["one", "two"].every((name) => nginx.recordings(name).some((file) => pictures(file).length > 30)));
  const before = (await backend.getBroadcast(ID)).data;
  const engine = server.enginePid;

  await server.killControl();
  await server.start({ httpPort: server.httpPort });
  assert.equal(server.enginePid, engine, "the engine was not restarted");
  const after = (await backend.getBroadcast(ID)).data;
  assert.deepEqual(
    after.endPointList.map(({ endpointServiceId, rtmpUrl }) => [endpointServiceId, rtmpUrl]),
    before.endPointList.map(({ endpointServiceId, rtmpUrl }) => [endpointServiceId, rtmpUrl]),
  );

  // The SDK closes its media when the socket breaks, and publishes again on the new one.
  await studio.published(ID, { times: 2, within_ms: 60_000 });
  const counts = Object.fromEntries(["one", "two"].map((name) => [name, pictures(nginx.recordings(name)[0]).length]));
  await until("pictures to go on in the same recordings", () =>
    ["one", "two"].every((name) => pictures(nginx.recordings(name)[0]).length > counts[name] + 30), { within_ms: 60_000 });
  for (const name of ["one", "two"]) {
    assert.equal(nginx.seen("publish", name).length, 1, `${name} had to be connected again`);
    assert.equal(nginx.seen("publish_done", name).length, 0, `${name} was ended`);
    assert.deepEqual(stepsBack(pictures(nginx.recordings(name)[0])), []);
  }
  assert.equal((await backend.getBroadcast(ID)).data.status, "broadcasting");
});
