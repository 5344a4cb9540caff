// The first broadcast of the guide, on the page that Shardcast serves: one button adds the local test
// sink, another one goes live, the stream arrives; then it is stopped.

import assert from "node:assert/strict";
import path from "node:path";
import { openPage } from "../browser/chromium.mjs";
import { scenario } from "../scenario.mjs";
import { shardcast } from "../servers/shardcast.mjs";
import { until } from "../waiting.mjs";

/** Folder for screenshots of the pages; none are taken without it. */
const PICTURES = process.env.SHARDCAST_E2E_PICTURES;

async function picture(page, name) {
  if (PICTURES) await page.screenshot({ path: path.join(PICTURES, `${name}.png`), fullPage: true });
}

scenario("a visitor goes live to the local test sink", { timeout_ms: 180_000 }, async (it) => {
  const server = await shardcast(it);
  const page = await openPage(it, `${server.http}/live.html?stream=first`, { viewport: { width: 1200, height: 900 } });
  await page.getByRole("button", { name: "Add the local test sink" }).click();
  const row = page.getByRole("list", { name: "Destinations of this stream" }).getByRole("listitem");
  await row.getByText("waiting for the stream").waitFor();
  await page.getByRole("button", { name: "Go live" }).click();
  await page.getByText("on air").waitFor({ timeout: 30_000 });
  await row.getByText("live", { exact: true }).waitFor({ timeout: 30_000 });
  await page.getByText(/server receives [^0].*bit\/s/).waitFor();

  const received = await until("the sink to count", async () => {
    const [stream] = (await server.status()).local_sink.streams;
    return stream?.video_frames > 60 && stream.audio_frames > 60 ? stream : null;
  }, { within_ms: 60_000 });
  assert.deepEqual([received.width, received.height], [1280, 720]);
  await picture(page, "live");

  const overview = await page.context().newPage();
  await overview.goto(server.http);
  await overview.getByRole("heading", { name: "first" }).waitFor();
  await overview.getByText("1 of 1").waitFor();
  await picture(overview, "now");
  await overview.close();

  await page.getByRole("button", { name: "Stop" }).click();
  await page.getByText("not live").waitFor();
  await row.getByText("ended", { exact: true }).waitFor({ timeout: 15_000 });
});

scenario("the page says in words what is wrong with a destination", { timeout_ms: 120_000 }, async (it) => {
  const server = await shardcast(it);
  const page = await openPage(it, `${server.http}/live.html?stream=words`);
  const address = page.getByLabel("RTMP address with stream key");
  await address.fill("gopher://example.org/x");
  await page.getByRole("button", { name: "Add", exact: true }).click();
  const alert = page.getByRole("alert");
  await alert.waitFor();
  assert.notEqual((await alert.textContent()).trim(), "");

  // A port of this machine without a listener.
  await address.fill("rtmp://127.0.0.1:9/live/secret-key-of-mine");
  await page.getByRole("button", { name: "Add", exact: true }).click();
  const row = page.getByRole("list", { name: "Destinations of this stream" }).getByRole("listitem");
  await row.waitFor();
  assert.doesNotMatch(await row.textContent(), /secret-key/, "the key is not shown");
  await page.getByRole("button", { name: "Go live" }).click();
  await row.getByText(/will try again|connecting/).waitFor({ timeout: 30_000 });
  await until("the reason of the failure", async () => /refused/.test(await row.textContent()), { within_ms: 30_000 });
  await page.getByRole("button", { name: /^Remove/ }).click();
  await page.getByText("No destination yet.").waitFor();
});
