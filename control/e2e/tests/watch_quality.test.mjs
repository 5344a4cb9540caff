// A viewer in Chromium forces another quality by the SDK: the picture changes to the rung and back to the
// publisher's without a pause, and the SDK is told each time.

import assert from "node:assert/strict";
import { openStudio } from "../clients/studio.mjs";
import { openViewer } from "../clients/viewer.mjs";
import { scenario } from "../scenario.mjs";
import { shardcast } from "../servers/shardcast.mjs";
import { until } from "../waiting.mjs";

const ID = "rungs";
const HEIGHT = 180;
const LADDER = [{ height: HEIGHT, videoBitrate: 300_000, audioBitrate: 64_000 }];
/** A keyframe every 2 s, a second in which an earlier choice counts, and encoders that share the cores. */
const SWITCH_MS_MAX = 10_000;
/** Two browsers and an encoder share the cores; a switch itself is some tens of milliseconds. */
const PAUSE_MS_MAX = 1_000;

scenario("a viewer forces a rung of the ladder and the source again", {}, async (it) => {
  const server = await shardcast(it);
  const created = await fetch(`${server.http}/StreamLick/rest/v2/broadcasts/create`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ streamId: ID, encoderSettingsList: LADDER }),
  });
  assert.equal(created.status, 200);
  const studio = await openStudio(it, { width: 640, height: 360 });
  await studio.connect(server);
  await studio.publish(ID);
  await studio.published(ID);
  const viewer = await openViewer(it);
  await viewer.play(server.websocket, ID);
  await viewer.seesPictures(30);
  const info = await viewer.call("streamInfo", ID);
  assert.deepEqual(info.map((rung) => rung.streamHeight), [360, HEIGHT]);

  const height = async () => (await viewer.read("frames")).at(-1).height;
  const from = (await viewer.read("frames")).length;
  await viewer.call("force", ID, HEIGHT);
  await until("the rung to be seen", async () => (await height()) === HEIGHT, { within_ms: SWITCH_MS_MAX });
  await until("the viewer to be counted", async () => (await server.broadcast(ID)).renditions[0]?.viewers === 1);
  await viewer.seesPictures(30);
  await viewer.call("force", ID, 0);
  await until("the source to be seen", async () => (await height()) === 360, { within_ms: SWITCH_MS_MAX });
  await viewer.seesPictures(30);
  assert.deepEqual(await viewer.read("heights"), [HEIGHT, 360]);

  const frames = (await viewer.read("frames")).slice(from);
  const seen = frames.map((frame) => frame.height).filter((it, i, all) => it !== all[i - 1]);
  assert.deepEqual(seen, [360, HEIGHT, 360]);
  const pauses = frames.slice(1).map(({ at_ms }, i) => at_ms - frames[i].at_ms);
  assert.ok(Math.max(...pauses) < PAUSE_MS_MAX, `no picture for ${Math.max(...pauses)} ms`);
  assert.equal((await viewer.call("received", ID)).pli, 0, "a decoder could not go on");
});
