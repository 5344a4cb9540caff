// No UDP datagram passes: Chromium publishes and watches over TCP, with the SDK and by WHEP, and the
// destination misses nothing.

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

const ID = "without-udp";
const DROP_UDP = "nft add table inet t; nft 'add chain inet t in { type filter hook input priority 0; }'; nft add rule inet t in meta l4proto udp drop";

const connections = ({ tcp_peers }) => tcp_peers.connections;

/** The sum over all shards. */
async function sum(server, of) {
  const { shards } = await server.status();
  return shards.reduce((total, shard) => total + of(shard), 0);
}

inNamespace(import.meta.url, "in a network that drops UDP", DROP_UDP, () => {
  scenario("a browser publishes and others watch over TCP", {}, async (it) => {
    const nginx = await nginxRtmp(it, ["one"]);
    const server = await shardcast(it);
    const backend = new AntMediaBackend(server.http);
    await backend.createBroadcast(ID);
    await backend.addRtmpEndpoint(ID, nginx.url("one"));

    const studio = await openStudio(it, { width: 640, height: 360 });
    await studio.connect(server);
    await studio.publish(ID);
    await studio.published(ID);
    await until("the destination to start", () => nginx.seen("publish", "one").length === 1);

    const viewer = await openViewer(it);
    await viewer.play(server.websocket, ID);
    await viewer.seesPictures(60);
    await viewer.hears();
    const page = await openWhepViewer(it, server.http, ID);
    await until("the video to go on", () => isPlaying(page));

    assert.ok((await sum(server, connections)) >= 3);
    assert.equal(await sum(server, ({ tcp_peers }) => tcp_peers.dropped), 0);
    assert.equal(await sum(server, ({ work }) => work.udp_datagrams), 0);
    assert.equal((await server.broadcast(ID)).viewers, 2);

    await studio.call("stop", ID);
    await until("the end to arrive", () => nginx.seen("publish_done", "one").length === 1);
    await until("the connections to be closed", async () => (await sum(server, connections)) === 0);
    const [file] = nginx.recordings("one");
    const { video } = assertOrderly(file);
    assertNoHole(file, video);
    await assertDecodes(file);
  });

  scenario("without TCP candidates nobody comes through", {}, async (it) => {
    const server = await shardcast(it, { args: ["--tcp-candidates-enabled", "false"] });
    const studio = await openStudio(it, { width: 640, height: 360 });
    await studio.connect(server);
    await studio.publish(ID);
    await assert.rejects(studio.published(ID, { within_ms: 3_000 }));
    assert.equal(await sum(server, connections), 0);
  });
});
