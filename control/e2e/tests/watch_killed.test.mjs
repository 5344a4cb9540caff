// A process dies with SIGKILL while Chromium watches: without control a viewer by WHEP
// watches on, and the SDK's own retries bring its viewers back, also behind a new engine.

import assert from "node:assert/strict";
import { openStudio } from "../clients/studio.mjs";
import { isPlaying, openViewer, openWhepViewer } from "../clients/viewer.mjs";
import { scenario } from "../scenario.mjs";
import { shardcast } from "../servers/shardcast.mjs";
import { sleep, until } from "../waiting.mjs";

const ID = "watched";
/** The server needs a quarter of a second, the SDK one more; its retries are 3 s apart, and two browsers share the cores. */
const BACK_MS_MAX = 12_000;

async function watched(it, server) {
  const studio = await openStudio(it, { width: 640, height: 360 });
  await studio.connect(server);
  await studio.publish(ID);
  await studio.published(ID);
  const viewer = await openViewer(it);
  await viewer.play(server.websocket, ID);
  await viewer.seesPictures(30);
  return viewer;
}

scenario("viewers watch on while control is dead, and the SDK's come back", {}, async (it) => {
  const server = await shardcast(it);
  const viewer = await watched(it, server);
  const page = await openWhepViewer(it, server.http, ID);
  await until("the video to go on", () => isPlaying(page));
  await server.killControl();
  // The SDK closes its media when its socket breaks, so it is the filler that is watched.
  await sleep(3_000);
  assert.ok(await isPlaying(page), "the viewer was cut off");
  await server.start({ httpPort: server.httpPort });
  await viewer.seesPictures(90, { within_ms: 30_000 });
  assert.ok(await isPlaying(page), "the next control has ended it");
  assert.equal(await page.evaluate(() => window.peer.connectionState), "connected");
});

scenario("a viewer comes back behind a new engine", {}, async (it) => {
  const server = await shardcast(it);
  const viewer = await watched(it, server);
  const killed_ms = Date.now();
  const pid = server.killEngine();
  await until("another engine", () => server.enginePid && server.enginePid !== pid);
  await until("the viewer to be back", async () => (await viewer.call("count", "play_started")) >= 2, { within_ms: BACK_MS_MAX });
  await viewer.seesPictures(30);
  const at = (event) => ({ ...event, ms: event.at_ms - killed_ms });
  const frames = (await viewer.read("frames")).map(at);
  const events = (await viewer.read("events")).map(at).filter(({ ms }) => ms >= 0);
  // When the SDK closes its media, Chromium shows the last picture once more.
  const closing = events.find(({ info }) => info === "server_will_stop");
  const track = events.findLast(({ info }) => info === "newTrackAvailable");
  const last = frames.findLast(({ ms }) => ms <= closing.ms);
  const first = frames.find(({ ms }) => ms >= track.ms);
  console.log(`no picture for ${(first.ms - last.ms).toFixed(0)} ms; after the kill: ${events.map(({ info, ms }) => `${info} ${ms}`).join(", ")} ms`);
});
