// An offer with nothing but a data channel: the browser is told at once that there is no media, and
// the stream name is free for somebody else right after.

import assert from "node:assert/strict";
import { openStudio } from "../clients/studio.mjs";
import { scenario } from "../scenario.mjs";
import { shardcast } from "../servers/shardcast.mjs";
import { until } from "../waiting.mjs";

scenario("an offer without picture and sound is told so and does not hold the name", {}, async (it) => {
  const server = await shardcast(it);
  const empty = await openStudio(it, { width: 640, height: 360 });
  await empty.connect({ http: server.http, websocket: server.websocket, variant: "assigned" });
  const asked_ms = Date.now();
  await empty.publish("hollow");
  const told = await until("no_media_offered", async () => (await empty.errors()).find(({ error }) => error === "no_media_offered"));
  assert.ok(told.at_ms - asked_ms < 5_000, `told after ${told.at_ms - asked_ms} ms`);
  await empty.call("stop", "hollow");
  await empty.call("close");

  const full = await openStudio(it, { width: 640, height: 360 });
  await full.connect(server);
  await full.publish("hollow");
  await full.published("hollow");
});
