// An installed package is upgraded while a browser is live: the show goes on to its destination without a gap, new shows
// are refused, and the new version starts when the show is over. `tuning/package/prove` runs this.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { openStudio } from "../clients/studio.mjs";
import { assertDecodes, assertInSync, assertKeyframes, assertNoHole, assertOrderly } from "../media/recording.mjs";
import { scenario } from "../scenario.mjs";
import { nginxRtmp } from "../servers/nginx_rtmp.mjs";
import { sleep, until } from "../waiting.mjs";

const { PROVE_HTTP: http, PROVE_UPGRADE: upgrade } = process.env;
const server = { http, websocket: `${http.replace("http", "ws")}/StreamLick/websocket` };
const LIVE_MS = 10_000;

const drain = async () => (await fetch(`${http}/api/v1/drain`)).json();

async function goLive(it, nginx, id, application) {
  const studio = await openStudio(it);
  await studio.connect(server);
  await studio.publish(id);
  await studio.published(id);
  const answer = await studio.call("addDestination", id, nginx.url(application));
  assert.equal(answer.body.success, true, answer.body.message);
  await until(`${application} to begin`, () => nginx.seen("publish", application).length === 1);
  return studio;
}

/** Ends a show and looks at all that its destination has got. */
async function end(studio, nginx, id, application) {
  await studio.call("stop", id);
  await until(`${application} to end`, () => nginx.seen("publish_done", application).length === 1);
  await studio.close();
  assert.equal(nginx.seen("publish", application).length, 1, `${application} was connected more than once`);
  const [file] = nginx.recordings(application);
  const { video } = assertOrderly(file);
  assertKeyframes(file, video);
  assertNoHole(file, video);
  await assertDecodes(file);
  await assertInSync(file, 3);
  const span_ms = video.at(-1).dts_ms - video[0].dts_ms;
  console.log(`${id}: ${video.length} frames in ${(span_ms / 1000).toFixed(1)} s`);
  return span_ms;
}

async function assertRefused(it, id) {
  const studio = await openStudio(it);
  await studio.connect(server);
  await studio.publish(id);
  await until("a new show to be refused", async () => (await studio.errors()).some(({ error }) => error === "highResourceUsage"));
  await studio.close();
}

scenario("an upgrade ends no show", { timeout_ms: 180_000 }, async (it) => {
  const nginx = await nginxRtmp(it, ["one", "two"]);
  const studio = await goLive(it, nginx, "before", "one");
  await sleep(LIVE_MS);

  const since_ms = Date.now();
  const { stdout } = await promisify(execFile)("/bin/sh", ["-c", upgrade]);
  const upgrade_ms = Date.now() - since_ms;
  console.log(`the upgrade took ${(upgrade_ms / 1000).toFixed(1)} s, ${stdout.trim().split("\n").filter((line) => line.startsWith("shardcast:")).join(" ")}`);
  assert.deepEqual(await drain(), { draining: true, live_broadcasts: 1 });
  await assertRefused(it, "meanwhile");
  await sleep(LIVE_MS);
  const span_ms = await end(studio, nginx, "before", "one");
  assert.ok(span_ms > upgrade_ms + LIVE_MS, `${span_ms} ms arrived`);

  const ended_ms = Date.now();
  await until("the new version to be ready", async () => (await fetch(`${http}/readyz`)).ok && !(await drain()).draining);
  console.log(`the new version was ready ${((Date.now() - ended_ms) / 1000).toFixed(1)} s after the recording was checked`);
  const next = await goLive(it, nginx, "after", "two");
  await sleep(LIVE_MS);
  await end(next, nginx, "after", "two");
});
