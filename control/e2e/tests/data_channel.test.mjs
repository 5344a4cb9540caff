// The data channel with the unmodified SDK on both sides: texts and large binary messages of the publisher reach the
// viewers, those of a viewer reach whom `dataChannelPlayerDistribution` says, and a text of REST reaches all. What clients
// send is posted to `dataChannelWebHookURL`.

import assert from "node:assert/strict";
import { openStudio } from "../clients/studio.mjs";
import { openViewer } from "../clients/viewer.mjs";
import { scenario } from "../scenario.mjs";
import { shardcast } from "../servers/shardcast.mjs";
import { webhookReceiver } from "../servers/webhook_receiver.mjs";
import { until } from "../waiting.mjs";

const ID = "talk";
const LARGE_BYTES = 300_000;

/** The messages of a page: `service` of the studio, `watcher` of a viewer. */
function messagesOf({ page }, holder) {
  const run = (what, ...args) => page.evaluate(([of, name, values]) => {
    const { messages } = window[of];
    return typeof messages[name] === "function" ? messages[name](...values) : messages[name];
  }, [holder, what, args]);
  const received = () => run("received");
  const gets = (wanted) => until(`${holder} to get ${JSON.stringify(wanted)}`, async () => {
    const all = await received();
    return all.some((message) => JSON.stringify(message) === JSON.stringify(wanted));
  });
  const open = () => until(`the data channel of the ${holder}`, () => run("isOpen"));
  return { run, received, gets, open };
}

async function talk(it, args) {
  const server = await shardcast(it, { args });
  const studio = await openStudio(it, { width: 320, height: 180 });
  await studio.connect(server);
  await studio.publish(ID);
  await studio.published(ID);
  const viewers = [await openViewer(it), await openViewer(it)];
  for (const viewer of viewers) await viewer.play(server.websocket, ID);
  const [one, two] = viewers.map((viewer) => messagesOf(viewer, "watcher"));
  const publisher = messagesOf(studio, "service");
  for (const side of [publisher, one, two]) await side.open();
  const post = async (text) => {
    const url = `${server.http}/StreamLick/rest/v2/broadcasts/${ID}/data`;
    return (await fetch(url, { method: "POST", body: text })).json();
  };
  return { server, publisher, one, two, post };
}

scenario("publisher, viewers and REST talk over the SDK's data channel", {}, async (it) => {
  const backend = await webhookReceiver(it);
  const { server, publisher, one, two, post } = await talk(it, ["--data-channel-webhook-url", backend.url]);
  await publisher.run("text", ID, '{"cue":"Grüße"}');
  for (const viewer of [one, two]) await viewer.gets('{"cue":"Grüße"}');
  await one.run("text", ID, "hello from one");
  for (const other of [publisher, two]) await other.gets("hello from one");
  const photo = await publisher.run("large", ID, LARGE_BYTES);
  for (const viewer of [one, two]) await viewer.gets(photo);
  const drawing = await two.run("large", ID, LARGE_BYTES / 3);
  for (const other of [publisher, one]) await other.gets(drawing);
  assert.equal((await post("from the backend")).success, true);
  for (const side of [publisher, one, two]) await side.gets("from the backend");
  assert.equal((await one.received()).includes("hello from one"), false, "nobody gets his own messages");
  // The text of REST is the backend's own.
  const data = await until("the backend to get all messages of clients", async () => {
    const { data: counts } = await server.broadcast(ID);
    return backend.forms.length > 2 && backend.forms.length === counts.received - 1 ? counts : null;
  });
  assert.deepEqual([data.refused, data.lost, data.unreported], [0, 0, 0]);
  const posted = backend.forms.slice(0, 2).map(({ timestamp: _, ...form }) => form);
  assert.deepEqual(posted, [
    { data: '{"cue":"Grüße"}', id: ID, app: "StreamLick", sender: "publisher" },
    { data: "hello from one", id: ID, app: "StreamLick", sender: "viewer" },
  ]);
});

scenario("what a viewer sends reaches the publisher alone where the settings say so", {}, async (it) => {
  const { publisher, one, two } = await talk(it, ["--data-channel-player-distribution", "publisher"]);
  await one.run("text", ID, "a vote");
  await publisher.gets("a vote");
  await publisher.run("text", ID, "thanks");
  for (const viewer of [one, two]) await viewer.gets("thanks");
  assert.deepEqual(await two.received(), ["thanks"]);
});
