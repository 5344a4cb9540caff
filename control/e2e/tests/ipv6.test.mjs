// IPv4 leads nowhere, though server and browsers have such an address: Chromium publishes and watches over IPv6,
// with the SDK and by WHEP, and the destination misses nothing. Nothing is set for that.

import assert from "node:assert/strict";
import { AntMediaBackend } from "../clients/backend.mjs";
import { openStudio } from "../clients/studio.mjs";
import { isPlaying, openViewer, openWhepViewer } from "../clients/viewer.mjs";
import { assertDecodes, assertNoHole, assertOrderly } from "../media/recording.mjs";
import { scenario } from "../scenario.mjs";
import { inNamespace } from "../servers/namespace.mjs";
import { nginxRtmp } from "../servers/nginx_rtmp.mjs";
import { shardcast } from "../servers/shardcast.mjs";
import { until } from "../waiting.mjs";

const ID = "over-ipv6";
const IPV4 = "10.66.0.1";
const IPV6 = "fd00:66::1";
/** An interface with an address of each family and default routes; what is sent to the IPv4 address is dropped. */
const NETWORK = [
  "ip link add outside type veth peer name beyond",
  "ip link set beyond up",
  `ip address add ${IPV4}/24 dev outside`,
  `ip address add ${IPV6}/64 dev outside nodad`,
  "ip link set outside up",
  "ip route add default dev outside",
  "ip -6 route add default dev outside",
  "nft add table inet t",
  "nft 'add chain inet t in { type filter hook input priority 0; }'",
  `nft add rule inet t in ip daddr ${IPV4} drop`,
  "nft add rule inet t in ip protocol udp drop",
].join("; ");

/** What the page's media comes and goes through: the server's candidate, and the protocol. */
const wayOf = (page, peer) => page.evaluate(async (expression) => {
  const stats = [...(await (0, eval)(expression).getStats()).values()];
  const pair = stats.find(({ type, nominated, state }) => type === "candidate-pair" && nominated && state === "succeeded");
  const { address, protocol } = stats.find(({ id }) => id === pair?.remoteCandidateId) ?? {};
  return `${address} by ${protocol}`;
}, peer);

inNamespace(import.meta.url, "in a network where IPv4 leads nowhere", NETWORK, () => {
  scenario("a browser publishes and others watch over IPv6", {}, async (it) => {
    const nginx = await nginxRtmp(it, ["one"]);
    const server = await shardcast(it, { bind: null, host: `[${IPV6}]` });
    // REST is for clients of the loopback alone.
    const backend = new AntMediaBackend(`http://127.0.0.1:${server.httpPort}`);
    await backend.createBroadcast(ID);
    await backend.addRtmpEndpoint(ID, nginx.url("one"));

    const studio = await openStudio(it, { width: 640, height: 360 });
    await studio.connect(server);
    await studio.publish(ID);
    await studio.published(ID);
    await until("the destination to start", () => nginx.seen("publish", "one").length === 1);
    assert.equal(await wayOf(studio.page, `window.service.adaptor.remotePeerConnection["${ID}"]`), `${IPV6} by udp`);

    const viewer = await openViewer(it);
    await viewer.play(server.websocket, ID);
    await viewer.seesPictures(60);
    await viewer.hears();
    assert.equal(await wayOf(viewer.page, `window.watcher.adaptor.remotePeerConnection["${ID}"]`), `${IPV6} by udp`);

    const page = await openWhepViewer(it, server.http, ID);
    await until("the video to go on", () => isPlaying(page));
    assert.equal(await wayOf(page, "window.peer"), `${IPV6} by udp`);

    await studio.call("stop", ID);
    await until("the end to arrive", () => nginx.seen("publish_done", "one").length === 1);
    const [file] = nginx.recordings("one");
    const { video } = assertOrderly(file);
    assertNoHole(file, video);
    await assertDecodes(file);
  });
});
