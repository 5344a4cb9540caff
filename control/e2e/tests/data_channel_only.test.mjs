// An offer with a data channel alone: the browser gets an error at once, and the stream name is free
// for another publisher right after.

import { openStudio } from "../clients/studio.mjs";
import { scenario } from "../scenario.mjs";
import { shardcast } from "../servers/shardcast.mjs";
import { until } from "../waiting.mjs";

scenario("an offer without picture and sound is told so and does not hold the name", {}, async (it) => {
  // Far longer than the error may take on any machine, so that it is not the time-out that is told.
  const server = await shardcast(it, { args: ["--webrtc-client-start-timeout-ms", "120000"] });
  const empty = await openStudio(it, { width: 640, height: 360 });
  await empty.connect({ http: server.http, websocket: server.websocket, variant: "assigned" });
  await empty.publish("hollow");
  await until("no_media_offered", async () => (await empty.errors()).find(({ error }) => error === "no_media_offered"));
  await empty.call("stop", "hollow");
  await empty.call("close");

  const full = await openStudio(it, { width: 640, height: 360 });
  await full.connect(server);
  await full.publish("hollow");
  await full.published("hollow");
});
