// The studio's browser is closed and comes back after a second, after ten, and after three quarters
// of a minute. Destinations notice nothing: one session each, pictures and sound without a hole or a
// step, together before and after.

import assert from "node:assert/strict";
import { openStudio } from "../clients/studio.mjs";
import { AntMediaBackend } from "../clients/backend.mjs";
import { assertDecodes, assertNoHole, assertOrderly, assertTogether } from "../media/recording.mjs";
import { soundOffsets } from "../media/sync.mjs";
import { scenario } from "../scenario.mjs";
import { ffmpegListen } from "../servers/ffmpeg_listen.mjs";
import { nginxRtmp } from "../servers/nginx_rtmp.mjs";
import { shardcast } from "../servers/shardcast.mjs";
import { sleep, until } from "../waiting.mjs";

const ID = "away";
const AWAY_S = [1, 10, 45];
const LIVE_MS = 12_000;

async function goLive(it, server) {
  const studio = await openStudio(it, { width: 640, height: 360 });
  await studio.connect(server);
  await studio.publish(ID);
  await studio.published(ID);
  return studio;
}

scenario("destinations do not notice that the browser was closed", { timeout_ms: 300_000 }, async (it) => {
  const nginx = await nginxRtmp(it, ["one", "two"]);
  const listener = await ffmpegListen(it);
  const server = await shardcast(it);
  const backend = new AntMediaBackend(server.http);
  await backend.createBroadcast(ID);
  for (const url of [nginx.url("one"), nginx.url("two"), listener.url]) await backend.addRtmpEndpoint(ID, url);

  let studio = await goLive(it, server);
  await until("all to start", () => nginx.seen("publish", "one").length && nginx.seen("publish", "two").length && listener.bytes() > 0);
  await sleep(LIVE_MS);
  for (const away_s of AWAY_S) {
    await studio.close();
    await until("the hold to be told", async () => (await backend.getBroadcast(ID)).data.hold.holding, { within_ms: 5_000 });
    const { data } = await backend.getBroadcast(ID);
    assert.equal(data.status, "broadcasting");
    assert.deepEqual(data.endPointList.map((endpoint) => endpoint.detail.state), ["holding", "holding", "holding"]);
    await sleep(away_s * 1000);
    studio = await goLive(it, server);
    await sleep(LIVE_MS);
  }
  await studio.call("stop", ID);
  await until("the end to arrive", () => nginx.seen("publish_done", "one").length && nginx.seen("publish_done", "two").length);
  assert.equal(await listener.ended(), 0, listener.child.output);

  const files = { one: nginx.recordings("one")[0], two: nginx.recordings("two")[0], three: listener.file };
  for (const name of ["one", "two"]) {
    assert.equal(nginx.seen("publish", name).length, 1, `${name} was connected again`);
    assert.equal(nginx.recordings(name).length, 1);
  }
  for (const [name, file] of Object.entries(files)) {
    const { video, audio } = assertOrderly(file);
    const spans = assertNoHole(file, video);
    const span_ms = video.at(-1).dts_ms - video[0].dts_ms;
    assert.ok(span_ms > 1000 * AWAY_S.reduce((sum, s) => sum + s, 0) + LIVE_MS, `${name} has ${span_ms} ms`);
    assert.ok(Math.abs(video.at(-1).dts_ms - audio.at(-1).dts_ms) < 500, `${name}: sound ends elsewhere`);
    await assertDecodes(file);
    // The last seconds are those in which `stop` waits for a publisher that returns.
    const absences = spans.filter(({ from_ms, to_ms }) => to_ms - from_ms > 1_000 && to_ms < video.at(-1).dts_ms - 1_000);
    assert.equal(absences.length, AWAY_S.length, `${name}: ${JSON.stringify(spans)}`);
    const edges_ms = [0, ...absences.flatMap(({ from_ms, to_ms }) => [from_ms, to_ms]), video.at(-1).dts_ms];
    const sound = await soundOffsets(file);
    const late_ms = [];
    for (let i = 0; i < edges_ms.length; i += 2) {
      const within = (at_ms) => at_ms > edges_ms[i] && at_ms < edges_ms[i + 1];
      late_ms.push(assertTogether(file, sound, 5, within).toFixed(0));
    }
    const stoodIn = absences.map(({ pictures }) => pictures);
    console.log(`${name}: ${stoodIn} of ${video.length} pictures stood in; sound late by ${late_ms} ms before, between and after`);
  }
});
