// A recording in a browser: what a studio has published is listed on the page, is played and sought in by Chromium
// although its application asks viewers for tokens, and is deleted.

import assert from "node:assert/strict";
import { openPage } from "../browser/chromium.mjs";
import { openStudio } from "../clients/studio.mjs";
import { scenario } from "../scenario.mjs";
import { shardcast } from "../servers/shardcast.mjs";
import { until } from "../waiting.mjs";

scenario("a recording is listed, played, sought in and deleted on the page", { timeout_ms: 180_000 }, async (it) => {
  const server = await shardcast(it, { args: ["--mp4-muxing-enabled", "--play-token-control-enabled"] });
  const page = await openPage(it, `${server.http}/recordings.html`);
  await page.getByText("Nothing is recorded.").waitFor();
  const studio = await openStudio(it, { width: 640, height: 360 });
  await studio.connect(server);
  await studio.publish("kept");
  await studio.published("kept");
  const rest = `${server.http}/StreamLick/rest/v2`;
  await until("eight seconds to be recorded", async () => {
    const { recording } = await (await fetch(`${rest}/broadcasts/kept`)).json();
    return recording?.duration > 8_000;
  }, { within_ms: 60_000 });
  await fetch(`${rest}/broadcasts/kept/stop`, { method: "POST" });
  await page.getByRole("button", { name: "Play kept.mp4" }).click({ timeout: 30_000 });
  const video = page.locator("#video");
  const read = (what) => video.evaluate((element, key) => element[key], what);
  await until("it to play", async () => (await read("currentTime")) > 1, { within_ms: 30_000 });
  assert.ok((await read("duration")) > 6, `${await read("duration")} s`);
  assert.ok((await read("videoWidth")) > 0);
  await video.evaluate((element) => {
    element.pause();
    element.currentTime = element.duration - 2;
  });
  await until("it to be sought", async () => !(await read("seeking")) && (await read("readyState")) >= 2, { within_ms: 30_000 });
  assert.equal(await read("error"), null);
  const bare = await fetch(`${server.http}/StreamLick/streams/kept.mp4`);
  assert.equal(bare.status, 403, "without a token");

  page.on("dialog", (dialog) => dialog.accept());
  await page.getByRole("button", { name: "Delete kept.mp4" }).click();
  await page.getByText("Nothing is recorded.").waitFor();
});
