// A client that shares no code with the server and is no browser, aiortc, publishes by WHIP to an RTMP
// server, and another one sees and hears it by WHEP.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { AntMediaBackend } from "../clients/backend.mjs";
import { assertDecodes, assertOrderly } from "../media/recording.mjs";
import { scenario } from "../scenario.mjs";
import { nginxRtmp } from "../servers/nginx_rtmp.mjs";
import { Child } from "../servers/process.mjs";
import { shardcast } from "../servers/shardcast.mjs";
import { until } from "../waiting.mjs";

const ID = "by-aiortc";
const here = (relative) => fileURLToPath(new URL(relative, import.meta.url));
const PYTHON = process.env.SHARDCAST_E2E_AIORTC ?? here("../../../target/tools/aiortc/bin/python");

function aiortc(it, ...args) {
  const child = new Child(PYTHON, [here("../clients/aiortc/peer.py"), ...args]);
  it.showOnFailure(`aiortc ${args[0]}`, () => child.output);
  it.atEnd(() => child.stop());
  return child;
}

scenario("aiortc publishes by WHIP and watches by WHEP", {}, async (it) => {
  assert.ok(existsSync(PYTHON), `${PYTHON} is missing: make target/tools/aiortc/bin/.installed`);
  const nginx = await nginxRtmp(it, ["one"]);
  const server = await shardcast(it);
  const backend = new AntMediaBackend(server.http);
  await backend.createBroadcast(ID);
  await backend.addRtmpEndpoint(ID, nginx.url("one"));
  const publisher = aiortc(it, "publish", `${server.http}/StreamLick/whip/${ID}`);
  await until("the destination to start", () => nginx.seen("publish", "one").length === 1);

  const viewer = aiortc(it, "watch", `${server.http}/StreamLick/whep/${ID}`, "60");
  await until("the viewer to have seen 60 pictures", () => !viewer.running);
  assert.equal(viewer.code, 0, viewer.output);
  const seen = JSON.parse(viewer.output.trim().split("\n").at(-1));
  assert.ok(seen.audio > 50, viewer.output);
  assert.deepEqual([seen.width, seen.height], [320, 240]);
  await until("the viewer to be gone", async () => (await server.broadcast(ID)).viewers === 0);

  await publisher.stop();
  const { status } = await fetch(`${server.http}/StreamLick/rest/v2/broadcasts/${ID}/stop`, { method: "POST" });
  assert.equal(status, 200);
  await until("the end to arrive", () => nginx.seen("publish_done", "one").length === 1);
  const [file] = nginx.recordings("one");
  assertOrderly(file);
  await assertDecodes(file);
});
