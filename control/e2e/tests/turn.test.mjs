// Clients that may talk to a TURN server alone are told which one, and play through it: with the SDK,
// which asks for it (`getIceServerConfig`), on the page play.html, and by WHEP, which finds it in `Link`, over TLS too.

import assert from "node:assert/strict";
import { openPage } from "../browser/chromium.mjs";
import { openStudio } from "../clients/studio.mjs";
import { isPlaying, openViewer, openWhepViewer } from "../clients/viewer.mjs";
import { scenario } from "../scenario.mjs";
import { CREDENTIAL, USERNAME, coturn } from "../servers/coturn.mjs";
import { shardcast } from "../servers/shardcast.mjs";
import { until } from "../waiting.mjs";

const ID = "relayed";

/** The browser's own candidate that its media comes through: its kind, and how it speaks to the relay. */
const wayOf = (page, peer) => page.evaluate(async (expression) => {
  const stats = [...(await (0, eval)(expression).getStats()).values()];
  const pair = stats.find(({ type, nominated, state }) => type === "candidate-pair" && nominated && state === "succeeded");
  const { candidateType, relayProtocol } = stats.find(({ id }) => id === pair?.localCandidateId) ?? {};
  return `${candidateType} by ${relayProtocol}`;
}, peer);

async function goLive(it, turn) {
  const server = await shardcast(it, {
    args: ["--stun-server-uri", turn.uri, "--turn-server-username", USERNAME, "--turn-server-credential", CREDENTIAL],
  });
  const studio = await openStudio(it, { width: 640, height: 360 });
  await studio.connect(server);
  await studio.publish(ID);
  await studio.published(ID);
  return server;
}

scenario("browsers that use nothing but a relay watch through it", {}, async (it) => {
  const turn = await coturn(it);
  const server = await goLive(it, turn);
  const viewer = await openViewer(it);
  await viewer.play(server.websocket, ID, undefined, { iceTransportPolicy: "relay" });
  await viewer.seesPictures(30);
  assert.equal(await wayOf(viewer.page, `window.watcher.adaptor.remotePeerConnection["${ID}"]`), "relay by udp");

  const page = await openWhepViewer(it, server.http, ID, { iceTransportPolicy: "relay" });
  await until("the video to go on", () => isPlaying(page));
  assert.equal(await wayOf(page, "window.peer"), "relay by udp");
  assert.match(turn.output(), /realm <shardcast> user <viewer>/);
});

/** The page's peer connections use nothing but relays from now on; the newest is `window.peer`. */
const useRelaysAlone = (page) => page.addInitScript(() => {
  const Browsers = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Browsers {
    constructor(configuration) {
      super({ ...configuration, iceTransportPolicy: "relay" });
      window.peer = this;
    }
  };
});

scenario("the player takes the relay of the settings, and no server beside it", {}, async (it) => {
  const turn = await coturn(it);
  const server = await goLive(it, turn);
  const page = await openPage(it, "about:blank");
  await useRelaysAlone(page);
  await page.goto(`${server.http}/StreamLick/play.html?id=${ID}`);
  await until("the player to show the stream", () => isPlaying(page));
  assert.equal(await wayOf(page, "window.peer"), "relay by udp");
  const { iceServers } = await page.evaluate(() => window.peer.getConfiguration());
  assert.deepEqual(iceServers.map(({ urls }) => urls).flat(), [turn.uri]);
});

scenario("a browser watches through a relay that it speaks TLS with", {}, async (it) => {
  const turn = await coturn(it, { tls: true });
  const server = await goLive(it, turn);
  // Chromium checks the certificate of a relay as it checks those of pages.
  const flags = [`--ignore-certificate-errors-spki-list=${turn.spki}`];
  const page = await openWhepViewer(it, server.http, ID, { iceTransportPolicy: "relay" }, flags);
  await until("the video to go on", () => isPlaying(page));
  assert.equal(await wayOf(page, "window.peer"), "relay by tls");
  assert.match(turn.output(), /realm <shardcast> user <viewer>/);
});
