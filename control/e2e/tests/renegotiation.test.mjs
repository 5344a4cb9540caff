// A studio publishes sound alone, turns its camera on later, and restarts ICE: each time the SDK offers
// again on the same peer connection. The destination is never connected anew, and gets a whole recording.

import assert from "node:assert/strict";
import { openStudio } from "../clients/studio.mjs";
import { frames, readFlv } from "../media/flv.mjs";
import { assertDecodes, assertOrderly } from "../media/recording.mjs";
import { scenario } from "../scenario.mjs";
import { nginxRtmp } from "../servers/nginx_rtmp.mjs";
import { shardcast } from "../servers/shardcast.mjs";
import { until } from "../waiting.mjs";

const ID = "later";

/** Waits until the destination has so many more frames of this kind. */
async function more(nginx, kind, count) {
  const recorded = () => {
    const [file] = nginx.recordings("one");
    return file ? frames(readFlv(file), kind).length : 0;
  };
  const before = recorded();
  await until(`${count} more of ${kind} behind ${before}`, () => recorded() >= before + count);
}

scenario("a camera that is turned on later, and an ICE restart, go on in the same session", {}, async (it) => {
  const nginx = await nginxRtmp(it, ["one"]);
  const server = await shardcast(it);
  const studio = await openStudio(it, { width: 640, height: 360 });
  await studio.page.evaluate(() => {
    window.whole = window.stream;
    window.stream = new MediaStream(window.whole.getAudioTracks());
  });
  await studio.connect(server);
  await studio.publish(ID);
  await studio.published(ID);
  await studio.call("addDestination", ID, nginx.url("one"));
  await more(nginx, "audio", 100);

  await studio.page.evaluate((id) => {
    const { adaptor } = window.service;
    const [camera] = window.whole.getVideoTracks();
    adaptor.remotePeerConnection[id].addTrack(camera, window.stream);
    adaptor.startPublishing(id);
  }, ID);
  await more(nginx, "video", 60);

  const ufrags = await studio.page.evaluate(async (id) => {
    const { adaptor } = window.service;
    const connection = adaptor.remotePeerConnection[id];
    const ufrag = () => connection.remoteDescription.sdp.match(/a=ice-ufrag:(\S+)/)[1];
    const before = ufrag();
    connection.restartIce();
    adaptor.startPublishing(id);
    while (ufrag() === before) await new Promise((resolve) => setTimeout(resolve, 50));
    return [before, ufrag()];
  }, ID);
  assert.notEqual(ufrags[0], ufrags[1]);
  await more(nginx, "video", 150);

  await studio.call("stop", ID);
  await until("the end to reach the destination", () => nginx.seen("publish_done", "one").length === 1);
  assert.deepEqual(await studio.errors(), []);
  assert.equal(await studio.count("publish_started"), 1);
  assert.equal(nginx.seen("publish", "one").length, 1);
  const [file] = nginx.recordings("one");
  assertOrderly(file);
  await assertDecodes(file);
});
