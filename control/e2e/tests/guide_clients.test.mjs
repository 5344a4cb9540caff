// The two unchanged client services of the StreamLick guide against Shardcast: at the fourteen places
// where the guide and Ant Media Server differ, the guide's client gets what it expects.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { AntMediaBackend } from "../clients/backend.mjs";
import { openStudio } from "../clients/studio.mjs";
import { frames, readFlv } from "../media/flv.mjs";
import { scenario } from "../scenario.mjs";
import { nginxRtmp } from "../servers/nginx_rtmp.mjs";
import { shardcast } from "../servers/shardcast.mjs";
import { until } from "../waiting.mjs";

const LARGE_NUMBER_OF_DESTINATIONS = 25;

scenario("rows 1, 2, 3 and 14: destinations by every spelling, and as many as wished", {}, async (it) => {
  const { http } = await shardcast(it);
  const backend = new AntMediaBackend(http);
  const at = `${http}/StreamLick/rest/v2/broadcasts/spellings`;
  await backend.createBroadcast("spellings");

  const old = await backend.addRtmpEndpoint("spellings", "rtmp://127.0.0.1/live/a");
  assert.deepEqual([old.status, old.data.success], [200, true]);
  assert.ok(old.data.dataId, "the id of the destination is in dataId");
  const recent = await backend.client.post("/broadcasts/spellings/endpoint", { endpointUrl: "rtmp://127.0.0.1/live/b" });
  assert.equal(recent.data.success, true);
  const bare = await fetch(`${at}/rtmp-endpoint?rtmpUrl=${encodeURIComponent("rtmp://127.0.0.1/live/c")}`, { method: "POST" });
  assert.deepEqual([bare.status, (await bare.json()).success], [200, true]);
  const twice = await backend.addRtmpEndpoint("spellings", "rtmp://127.0.0.1/live/a");
  assert.deepEqual([twice.status, twice.data.success], [200, false], "the same destination twice is refused");

  const removed = await backend.removeRtmpEndpoint("spellings", "rtmp://127.0.0.1/live/a");
  assert.deepEqual([removed.status, removed.data.success], [200, true]);
  const byId = await fetch(`${at}/rtmp-endpoint?endpointServiceId=${recent.data.dataId}`, { method: "DELETE" });
  assert.equal((await byId.json()).success, true);
  const gone = await backend.removeRtmpEndpoint("spellings", "rtmp://127.0.0.1/live/a");
  assert.deepEqual([gone.status, gone.data.success], [200, false]);
  const left = (await backend.getBroadcast("spellings")).data.endPointList;
  assert.deepEqual(left.map((e) => [e.rtmpUrl, e.endpointUrl]), [["rtmp://127.0.0.1/live/c", "rtmp://127.0.0.1/live/c"]]);

  for (let i = 0; i < LARGE_NUMBER_OF_DESTINATIONS; i += 1) {
    const answer = await backend.addRtmpEndpoint("spellings", `rtmp://127.0.0.1/live/many${i}`);
    assert.equal(answer.data.success, true, answer.data.message);
  }
});

scenario("rows 5, 6 and 12: broadcasts, their fields and aliases, and their statistics", {}, async (it) => {
  const { http } = await shardcast(it);
  const backend = new AntMediaBackend(http);
  const made = await backend.createBroadcast("fields", "A show");
  assert.equal(made.status, 200);
  assert.deepEqual([made.data.streamId, made.data.name, made.data.type, made.data.status], ["fields", "A show", "liveStream", "created"]);
  const again = await backend.createBroadcast("fields");
  assert.deepEqual([again.status, again.data.success], [400, false]);

  assert.equal((await backend.getBroadcast("fields")).data.endPointList, null, "null until the first destination");
  await backend.addRtmpEndpoint("fields", "rtmp://127.0.0.1/live/a");
  const { data } = await backend.getBroadcast("fields");
  assert.match(data.rtmpURL, /^rtmp:\/\/.+\/StreamLick\/fields$/);
  assert.equal(data.rtmpUrl, data.rtmpURL);
  assert.deepEqual(data.rtmpEndpointList, ["rtmp://127.0.0.1/live/a"]);
  assert.ok("hlsUrl" in data);
  assert.equal(data.endPointList[0].type, "generic");

  const statistics = await backend.getBroadcastStatistics("fields");
  assert.equal(statistics.status, 200);
  const unknown = await backend.getBroadcastStatistics("nobody");
  assert.deepEqual([unknown.status, unknown.data.totalWebRTCWatchersCount], [200, -1]);

  assert.equal((await backend.deleteBroadcast("fields")).data.success, true);
  const missing = await backend.getBroadcast("fields");
  assert.deepEqual([missing.status, missing.data], [404, ""]);
  const repeated = await backend.deleteBroadcast("fields");
  assert.deepEqual([repeated.status, repeated.data.success], [200, false]);
});

scenario("rows 7, 8, 9 and 11: the browser publishes with the npm SDK and calls REST from another origin", {}, async (it) => {
  const nginx = await nginxRtmp(it, ["one"]);
  const server = await shardcast(it);
  const studio = await openStudio(it, { width: 640, height: 360 });
  await studio.connect(server);
  await studio.publish("browser");
  await studio.published("browser");
  // In the same moment as publish_started, when the pipeline elsewhere says "try again".
  const added = await studio.call("addDestination", "browser", nginx.url("one"));
  assert.deepEqual([added.status, added.body.success], [200, true], added.body.message);
  await until("the destination to get pictures", () => nginx.recordings("one").some((file) => frames(readFlv(file), "video").length > 10));
  await until("REST to say so", async () => {
    const { body } = await studio.call("broadcast", "browser");
    return body.status === "broadcasting" && body.publishType === "WebRTC" && body.endPointList[0].status === "broadcasting";
  });
  assert.equal((await studio.call("statistics", "browser")).status, 200);
  const removed = await studio.call("removeDestination", "browser", nginx.url("one"));
  assert.deepEqual([removed.status, removed.body.success], [200, true]);
  await until("nginx to see the end", () => nginx.seen("publish_done", "one").length === 1);
  await studio.call("stop", "browser");
  await until("publish_finished", async () => (await studio.count("publish_finished")) === 1);
});

scenario("row 4: a publish token in milliseconds lets in, and nothing else does", {}, async (it) => {
  const file = path.join(it.folder, "tokens.toml");
  writeFileSync(file, "[application.StreamLick]\npublishTokenControlEnabled = true\n");
  const server = await shardcast(it, { args: ["--config", file] });
  const backend = new AntMediaBackend(server.http);
  await backend.createBroadcast("guarded");
  const studio = await openStudio(it, { width: 640, height: 360 });
  await studio.connect(server);
  await studio.publish("guarded", "not-a-token");
  await until("the refusal", async () => (await studio.errors()).some(({ error }) => error === "unauthorized_access"));
  await studio.call("stop", "guarded");
  await studio.call("close");

  const { status, data } = await backend.createPublishToken("guarded");
  assert.equal(status, 200);
  assert.deepEqual([data.streamId, data.type], ["guarded", "publish"]);
  await studio.connect(server);
  await studio.publish("guarded", data.tokenId);
  await studio.published("guarded");
  // The SDK sends the same token again when it reconnects.
  await studio.call("stop", "guarded");
  await until("publish_finished", async () => (await studio.count("publish_finished")) >= 1);
  await studio.publish("guarded", data.tokenId);
  await studio.published("guarded", { times: 2 });
});

scenario("row 10: a stream assigned where the SDK never looks is told so", {}, async (it) => {
  const server = await shardcast(it, { args: ["--log", "info"] });
  const studio = await openStudio(it, { width: 640, height: 360 });
  await studio.connect({ http: server.http, websocket: server.websocket, variant: "assigned" });
  await studio.publish("inert");
  const told = await until("the error event", async () => (await studio.errors()).find(({ error }) => error === "no_media_offered"));
  assert.match(told.message, /localStream/, "the message names the usual cause");
  await until("the log line", () => /localStream/.test(server.output()));
  await until("the time-out", async () => (await studio.errors()).some(({ error }) => error === "publishTimeoutError"), { within_ms: 60_000 });
  assert.equal(await studio.count("publish_started"), 0);
});

scenario("row 13: settings of the guide that exist nowhere are accepted with a warning", {}, async (it) => {
  const file = path.join(it.folder, "guide.toml");
  writeFileSync(file, `[ant_media]
rtmpEnabled = true
webRTCEnabled = true
webRTCFrameRate = 30
webRTCKeyFrameInterval = 2
hlsSegmentTime = 2
dtlsTimeoutMs = 5000
hlsPlayListSize = 5
"webrtc.externalIP" = "127.0.0.1"
"webrtc.stunServerUri" = "stun:127.0.0.1:3478"
`);
  const server = await shardcast(it, { args: ["--config", file] });
  for (const name of ["webRTCKeyFrameInterval", "hlsSegmentTime", "dtlsTimeoutMs"]) {
    assert.match(server.output(), new RegExp(name), `${name} is warned about`);
  }
});
