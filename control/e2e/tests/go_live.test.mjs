// The main task: Chromium publishes with the unmodified SDK, and three real RTMP servers receive all of
// it for a minute, in order and in sync. A destination that is added meanwhile starts at once, one that
// is removed ends cleanly, and neither costs the others a frame.

import assert from "node:assert/strict";
import { openStudio } from "../clients/studio.mjs";
import { compareVideo, frames, readFlv } from "../media/flv.mjs";
import { assertDecodes, assertInSync, assertKeyframes, assertOrderly } from "../media/recording.mjs";
import { scenario } from "../scenario.mjs";
import { ffmpegListen } from "../servers/ffmpeg_listen.mjs";
import { nginxRtmp } from "../servers/nginx_rtmp.mjs";
import { shardcast } from "../servers/shardcast.mjs";
import { sleep, until } from "../waiting.mjs";

const ID = "show";
const LIVE_MS = 60_000;

const pictures = (file) => frames(readFlv(file), "video");

async function addAll(studio, urls) {
  for (const url of urls) {
    const answer = await studio.call("addDestination", ID, url);
    assert.equal(answer.status, 200);
    assert.equal(answer.body.success, true, answer.body.message);
  }
}

async function addWhileLive(studio, nginx) {
  const asked_ms = Date.now();
  await addAll(studio, [nginx.url("four")]);
  await until("the added destination to have a picture and sound", () => {
    const [file] = nginx.recordings("four");
    const tags = file ? readFlv(file) : [];
    return frames(tags, "video").length > 0 && frames(tags, "audio").length > 0;
  }, { within_ms: 2_000 });
  console.log(`added destination had video and audio after ${Date.now() - asked_ms} ms`);
}

async function removeWhileLive(studio, nginx) {
  const answer = await studio.call("removeDestination", ID, nginx.url("two"));
  assert.equal(answer.body.success, true, answer.body.message);
  await until("nginx to see the end of what was removed", () => nginx.seen("publish_done", "two").length === 1, { within_ms: 5_000 });
  assert.match(nginx.errorLog(), /deleteStream/, "the end came without deleteStream");
}

scenario("one browser goes live to several RTMP servers", { timeout_ms: 300_000 }, async (it) => {
  const nginx = await nginxRtmp(it, ["one", "two", "four"]);
  const listener = await ffmpegListen(it);
  const server = await shardcast(it);
  const studio = await openStudio(it);

  await studio.connect(server);
  await studio.publish(ID);
  await studio.published(ID);
  const live_since_ms = Date.now();
  await addAll(studio, [nginx.url("one"), nginx.url("two"), listener.url]);
  await until("all three to start", () => nginx.seen("publish", "one").length && nginx.seen("publish", "two").length && listener.bytes() > 0);

  await sleep(LIVE_MS / 3);
  await addWhileLive(studio, nginx);
  await sleep(LIVE_MS / 3);
  await removeWhileLive(studio, nginx);
  await sleep(Math.max(0, live_since_ms + LIVE_MS - Date.now()));

  await studio.call("stop", ID);
  await until("the end to reach the rest", () => nginx.seen("publish_done", "one").length === 1 && nginx.seen("publish_done", "four").length === 1);
  assert.equal(await listener.ended(), 0, listener.child.output);

  const files = { one: nginx.recordings("one")[0], two: nginx.recordings("two")[0], four: nginx.recordings("four")[0], three: listener.file };
  for (const file of Object.values(files)) {
    const { video } = assertOrderly(file);
    assertKeyframes(file, video);
    const { video: shape } = await assertDecodes(file);
    assert.deepEqual([shape.width, shape.height], [1280, 720]);
  }
  for (const name of ["one", "two", "four"]) assert.equal(nginx.seen("publish", name).length, 1, `${name} was connected more than once`);
  for (const name of ["two", "three", "four"]) {
    const { compared, differsAt } = compareVideo(pictures(files.one), pictures(files[name]));
    assert.equal(differsAt, null, `${name} got other frames than its sibling`);
    assert.ok(compared > 50, `${name}: only ${compared} frames in common`);
  }
  for (const name of ["one", "three"]) {
    const span_ms = pictures(files[name]).at(-1).dts_ms - pictures(files[name])[0].dts_ms;
    assert.ok(span_ms > LIVE_MS * 0.9, `${name} has ${span_ms} ms`);
    const offset_ms = await assertInSync(files[name], 20);
    console.log(`${name}: sound late by ${offset_ms.toFixed(0)} ms at the median, ${pictures(files[name]).length} pictures`);
  }
  const { body } = await studio.call("broadcast", ID);
  assert.equal(body, null, "a stream that was not created by REST is gone after its end");
});
