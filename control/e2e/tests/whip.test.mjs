// Chromium publishes by WHIP from a page of another site: two RTMP servers receive picture and sound in
// sync and without a gap, also across an ICE restart, and the end of the session ends their streams.

import assert from "node:assert/strict";
import { AntMediaBackend } from "../clients/backend.mjs";
import { openStudio } from "../clients/studio.mjs";
import { assertDecodes, assertInSync, assertKeyframes, assertOrderly } from "../media/recording.mjs";
import { scenario } from "../scenario.mjs";
import { nginxRtmp } from "../servers/nginx_rtmp.mjs";
import { shardcast } from "../servers/shardcast.mjs";
import { sleep, until } from "../waiting.mjs";

const ID = "by-whip";
const PAUSE_MS_MAX = 1_500;

scenario("a browser publishes by WHIP and restarts its ICE meanwhile", {}, async (it) => {
  const nginx = await nginxRtmp(it, ["one", "two"]);
  const server = await shardcast(it, { args: ["--publish-token-control-enabled", "true"] });
  const backend = new AntMediaBackend(server.http);
  await backend.createBroadcast(ID);
  for (const name of ["one", "two"]) await backend.addRtmpEndpoint(ID, nginx.url(name));
  const rest = `${server.http}/StreamLick/rest/v2/broadcasts/${ID}`;
  const { tokenId } = await (await fetch(`${rest}/token?expireDate=4000000000&type=publish`)).json();

  const studio = await openStudio(it);
  const whip = (body, ...values) => studio.page.evaluate(body, values);
  const endpoint = `${server.http}/StreamLick/whip/${ID}`;
  const refused = await whip(([url]) => new window.WhipClient(url, "wrong").publish(window.stream).catch(({ message }) => message), endpoint);
  assert.match(refused, /^403 unauthorized_access/);
  const trickled = await whip(([url, token]) => {
    window.whip = new window.WhipClient(url, token);
    return window.whip.publish(window.stream);
  }, endpoint, tokenId);
  assert.equal(trickled, 204);
  await until("the destinations to start", () => ["one", "two"].every((name) => nginx.seen("publish", name).length === 1));
  await sleep(8_000);
  const session = (await server.broadcast(ID)).publisher.session;
  await whip(() => window.whip.restart());
  await sleep(8_000);
  assert.equal((await server.broadcast(ID)).publisher.session, session, "the restart made another session");
  assert.equal(await whip(() => window.whip.end()), 200);
  await until("the end to arrive", () => ["one", "two"].every((name) => nginx.seen("publish_done", name).length === 1));

  for (const name of ["one", "two"]) {
    const [file] = nginx.recordings(name);
    const { video } = assertOrderly(file);
    assert.ok(video.at(-1).dts_ms - video[0].dts_ms > 14_000, `${file}: ${video.at(-1).dts_ms - video[0].dts_ms} ms`);
    const pause_ms = Math.max(...video.slice(1).map((tag, i) => tag.dts_ms - video[i].dts_ms));
    assert.ok(pause_ms < PAUSE_MS_MAX, `${file}: no picture for ${pause_ms} ms`);
    assertKeyframes(file, video);
    await assertDecodes(file);
    await assertInSync(file, 5);
  }
});
