// Somebody ends a broadcast over REST while the studio is still open. The SDK retries whatever ends
// without its doing, so it has to be told to stop: the broadcast stays over.

import assert from "node:assert/strict";
import { AntMediaBackend } from "../clients/backend.mjs";
import { openStudio } from "../clients/studio.mjs";
import { scenario } from "../scenario.mjs";
import { shardcast } from "../servers/shardcast.mjs";
import { sleep } from "../waiting.mjs";

const ID = "over";
/** The SDK's retries came back after 9 s when it was not told. */
const PATIENCE_MS = 14_000;

scenario("a broadcast that was stopped over REST stays stopped", { timeout_ms: 120_000 }, async (it) => {
  const server = await shardcast(it);
  const backend = new AntMediaBackend(server.http);
  await backend.createBroadcast(ID);
  const studio = await openStudio(it, { width: 640, height: 360 });
  await studio.connect(server);
  await studio.publish(ID);
  await studio.published(ID);

  const stopped = await fetch(`${server.http}/StreamLick/rest/v2/broadcasts/${ID}/stop`, { method: "POST" });
  assert.equal((await stopped.json()).success, true);
  await sleep(PATIENCE_MS);

  const { data } = await backend.getBroadcast(ID);
  assert.equal(data.status, "finished");
  assert.equal(await studio.count("publish_started"), 1);
});
