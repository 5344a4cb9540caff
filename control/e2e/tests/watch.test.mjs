// Chromium publishes and Chromium watches, both with the unmodified SDK: the first picture comes within a
// second and its sound with it, a viewer that reloads costs the destination nothing, and viewers come
// back by themselves when the publisher has reloaded.

import assert from "node:assert/strict";
import { isIP } from "node:net";
import { openPage } from "../browser/chromium.mjs";
import { AntMediaBackend } from "../clients/backend.mjs";
import { openStudio } from "../clients/studio.mjs";
import { isPlaying, openViewer, openWhepViewer } from "../clients/viewer.mjs";
import { assertDecodes, assertNoHole, assertOrderly } from "../media/recording.mjs";
import { scenario } from "../scenario.mjs";
import { nginxRtmp } from "../servers/nginx_rtmp.mjs";
import { shardcast } from "../servers/shardcast.mjs";
import { sleep, until } from "../waiting.mjs";

const ID = "watched";
/** Two browsers that encode and decode share the cores with the test: the server's part is some ms. */
const FIRST_PICTURE_MS_MAX = 3_000;
const GLASS_TO_GLASS_MS_MAX = 1_000;

async function goLive(it, server) {
  const studio = await openStudio(it, { width: 640, height: 360 });
  await studio.page.evaluate(() => {
    window.flashes = [];
    let was = false;
    const { card } = window;
    const draw = card.draw.bind(card);
    card.draw = (now) => {
      draw(now);
      const nearest = now + 0.5 / card.framesPerSecond;
      const flashes = nearest - Math.floor(nearest) < 0.1;
      if (flashes && !was) window.flashes.push(performance.timeOrigin + performance.now());
      was = flashes;
    };
  });
  await studio.connect(server);
  await studio.publish(ID);
  await studio.published(ID);
  return studio;
}

/** Delays between a flash in the studio and the same flash at the viewer. */
async function glassToGlass(studio, viewer) {
  const sent = await studio.page.evaluate(() => window.flashes);
  const seen = await viewer.read("flashes");
  const delays = seen.map((at_ms) => Math.min(...sent.map((sent_ms) => at_ms - sent_ms).filter((ms) => ms >= 0)));
  return delays.filter((ms) => ms < GLASS_TO_GLASS_MS_MAX).sort((a, b) => a - b);
}

scenario("the player page waits for a stream, plays it and comes back to it", {}, async (it) => {
  const server = await shardcast(it);
  const player = await openPage(it, `${server.http}/StreamLick/play.html?id=${ID}`);
  const says = (words) => until(`the page to say ${words}`, async () => (await player.textContent("#state")) === words);
  await says("not live; waiting");
  const studio = await goLive(it, server);
  await says("live");
  await until("the video to go on", () => isPlaying(player));
  await player.getByRole("button", { name: "Statistics" }).click();
  const measured = (name) => player.locator(`#stats dt:text-is("${name}") + dd`).textContent();
  await until("the picture in the statistics", async () => /^640×360, \d+ fps$/.test(await measured("Picture")));
  assert.equal(await measured("Codecs"), "H264, opus");
  await until("a round trip", async () => /^\d+ ms$/.test(await measured("Round trip")));
  assert.match(await measured("Packets lost"), /^0; 0\.0 % in the last 10 s$/);
  assert.match(await measured("Jitter buffer"), /^\d+ ms$/);
  const delay = await until("the clock of the test picture to be read", async () => {
    const [, ms] = /^(\d+) ms$/.exec(await measured("Glass to glass")) ?? [];
    return ms;
  });
  // Both browsers have the same clock, and the way leads through an encoder and a decoder.
  assert.ok(delay > 0 && delay < 10_000, `${delay} ms`);
  await studio.page.evaluate(() => {
    const { canvas, pen } = window.card;
    const draw = window.card.draw.bind(window.card);
    window.card.draw = (now) => {
      draw(now);
      pen.fillStyle = "#808080";
      pen.fillRect(0, canvas.height * 0.9, canvas.width, canvas.height * 0.1);
    };
  });
  await until("a picture without a clock to have no figure", async () => (await measured("Glass to glass")) === "n/a");
  await player.click("#unmute");
  assert.equal(await player.evaluate(() => document.querySelector("video").muted), false);
  await studio.call("stop", ID);
  await says("not live; waiting");
  await studio.close();
  await goLive(it, server);
  await until("the video to go on again", () => isPlaying(player));
});

scenario("a browser watches by WHEP", {}, async (it) => {
  const server = await shardcast(it);
  await goLive(it, server);
  const page = await openWhepViewer(it, server.http, ID);
  await until("the video to go on", () => isPlaying(page));
  await until("the viewer to be counted", async () => (await server.broadcast(ID)).viewers === 1);
  const ended = await page.evaluate(async () => (await fetch(window.session, { method: "DELETE" })).status);
  assert.equal(ended, 200);
  await until("the viewer to be gone", async () => (await server.broadcast(ID)).viewers === 0);
});

scenario("a browser watches what another one publishes", { timeout_ms: 240_000 }, async (it) => {
  const nginx = await nginxRtmp(it, ["one"]);
  const server = await shardcast(it, { args: ["--play-token-control-enabled", "true"] });
  const backend = new AntMediaBackend(server.http);
  await backend.createBroadcast(ID);
  await backend.addRtmpEndpoint(ID, nginx.url("one"));
  const rest = `${server.http}/StreamLick/rest/v2/broadcasts/${ID}`;
  const { tokenId } = await (await fetch(`${rest}/token?expireDate=4000000000&type=play`)).json();

  const viewer = await openViewer(it);
  await viewer.play(server.websocket, ID, "wrong");
  await until("the wrong token to be refused", async () => (await viewer.read("errors")).includes("unauthorized_access"));
  await viewer.page.reload();
  await viewer.page.waitForFunction(() => window.ready === true);
  await viewer.play(server.websocket, ID, tokenId);
  await until("the stream that is not live to be refused", async () => (await viewer.read("errors")).includes("no_stream_exist"));
  await viewer.page.reload();
  await viewer.page.waitForFunction(() => window.ready === true);

  const studio = await goLive(it, server);
  await until("the destination to start", () => nginx.seen("publish", "one").length === 1);
  await sleep(3_000);
  await viewer.play(server.websocket, ID, tokenId);
  await until("play_started", async () => (await viewer.call("count", "play_started")) === 1);
  await viewer.seesPictures(1);
  const first_ms = (await viewer.read("frames"))[0].at_ms - (await viewer.read("played_ms"));
  assert.ok(first_ms < FIRST_PICTURE_MS_MAX, `the first picture came after ${first_ms} ms`);
  await viewer.seesPictures(60);
  await viewer.hears();
  await sleep(15_000);
  const received = await viewer.call("received", ID);
  assert.ok(received.framesDecoded > 200, JSON.stringify(received));
  const delays = await glassToGlass(studio, viewer);
  assert.ok(delays.length >= 5, `only ${delays.length} flashes were seen`);
  const at = (part) => delays[Math.floor(part * (delays.length - 1))].toFixed(0);
  console.log(`first picture after ${first_ms.toFixed(0)} ms; glass to glass ${at(0.5)} ms median, ${at(0.95)} ms p95 of ${delays.length}; ${JSON.stringify(received)}`);
  const { data } = await backend.getBroadcast(ID);
  assert.equal(data.webRTCViewerCount, 1);
  const [row, ...others] = await (await fetch(`${rest}/webrtc-client-stats/0/50`)).json();
  assert.equal(others.length, 0);
  assert.ok(isIP(row.clientIp), row.clientIp);
  assert.ok(row.videoPacketCount > 500 && row.audioPacketCount > 500, JSON.stringify(row));
  assert.ok(row.packetLostRatio !== null && row.packetLostRatio < 0.2 && row.rttMs >= 0, JSON.stringify(row));

  await viewer.page.reload();
  await viewer.page.waitForFunction(() => window.ready === true);
  await viewer.play(server.websocket, ID, tokenId);
  await viewer.seesPictures(30);

  await studio.close();
  await until("the hold to be told", async () => (await backend.getBroadcast(ID)).data.hold.holding, { within_ms: 15_000 });
  const again = await goLive(it, server);
  await viewer.seesPictures(90);
  await viewer.hears();
  assert.equal((await viewer.read("frames")).at(-1).width, 640);
  await again.call("stop", ID);
  await until("the end to arrive", () => nginx.seen("publish_done", "one").length === 1);
  await until("the viewer to be told", async () => (await viewer.call("count", "play_finished")) >= 1);

  assert.equal(nginx.seen("publish", "one").length, 1, "the destination was connected again");
  const [file] = nginx.recordings("one");
  const { video } = assertOrderly(file);
  assertNoHole(file, video);
  await assertDecodes(file);
});
