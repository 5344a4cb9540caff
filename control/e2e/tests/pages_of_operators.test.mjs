// What an operator reads: the page "machine" shows each finding of the doctor with its remedy, the worst first, and says
// so when the server is gone; the page "now" plots the viewers of a broadcast, those by RTMP too, and REST counts them.

import assert from "node:assert/strict";
import { openPage } from "../browser/chromium.mjs";
import { openStudio } from "../clients/studio.mjs";
import { openViewer } from "../clients/viewer.mjs";
import { scenario } from "../scenario.mjs";
import { Child } from "../servers/process.mjs";
import { shardcast } from "../servers/shardcast.mjs";
import { until } from "../waiting.mjs";

const LEVELS = ["fault", "warning", "ok", "unknown"];
const WORDS = { fault: "fault", warning: "warning", ok: "right", unknown: "not known" };

scenario("the page \"machine\" shows what the doctor finds and how to mend it", {}, async (it) => {
  const server = await shardcast(it);
  // The page never reads a report that another one has replaced.
  const page = await openPage(it, `${server.http}/sdk/adapter.license.txt`);
  let report;
  await page.route("**/api/v1/doctor", async (route) => {
    const response = await route.fetch();
    report = await response.json();
    await route.fulfill({ response });
  });
  await page.goto(`${server.http}/machine.html`);
  await page.getByText("up to date").waitFor();
  assert.ok(report.findings.length > 5, `${report.findings.length} findings`);
  for (const level of LEVELS) {
    assert.equal(await page.textContent(`#${level}`), String(report.counts[level]));
    assert.equal(report.findings.filter((finding) => finding.level === level).length, report.counts[level]);
  }
  const rows = await page.locator("#findings tr").evaluateAll((all) => all.map((row) => row.innerText));
  assert.equal(rows.length, report.findings.length);
  const places = [];
  for (const { title, level, what, cost, command } of report.findings) {
    const place = rows.findIndex((row) => row.startsWith(title));
    for (const text of [WORDS[level], what, cost, command].filter(Boolean)) {
      assert.ok(rows[place].includes(text), `${title} lacks "${text}": ${rows[place]}`);
    }
    places.push({ place, worse: ["fault", "warning", "ok", "unknown"].indexOf(level) });
  }
  const inOrder = places.sort((a, b) => a.place - b.place).map(({ worse }) => worse);
  assert.deepEqual(inOrder, [...inOrder].sort(), "the worst is first");
  assert.match(await page.textContent("#looked"), new RegExp(`Shardcast ${report.shardcast.replaceAll(".", "\\.")} on ${report.node}`));

  await page.unroute("**/api/v1/doctor");
  await server.stop();
  await page.getByText("The server does not answer.").waitFor({ timeout: 30_000 });
  assert.equal(await page.locator("#findings tr").count(), report.findings.length, "what was found stays");
});

scenario("the page \"now\" plots the viewers of a broadcast", {}, async (it) => {
  const server = await shardcast(it);
  const page = await openPage(it, `${server.http}/`);
  await page.getByText("Nothing is live.").waitFor();
  const studio = await openStudio(it, { width: 320, height: 180 });
  await studio.connect(server);
  await studio.publish("seen");
  await studio.published("seen");
  await page.getByRole("heading", { name: "seen" }).waitFor();
  assert.equal(await page.locator("svg.plot").count(), 0, "nobody has watched yet");
  const viewer = await openViewer(it);
  await viewer.play(server.websocket, "seen");
  const plotted = (words) => until(`the plot to say ${words}`, async () => {
    const label = await page.locator("svg.plot").getAttribute("aria-label", { timeout: 1_000 }).catch(() => null);
    return label === words;
  });
  await plotted("viewers of the last minute: now 1, at most 1");
  const { local_sink: sink } = await server.status();
  const url = `${sink.url_base.replace(/\/sink$/, "")}/StreamLick/seen`;
  const player = new Child("ffmpeg", ["-hide_banner", "-nostdin", "-v", "error", "-i", url, "-f", "null", "-"]);
  it.showOnFailure("the player", () => player.output);
  it.atEnd(() => player.stop());
  await plotted("viewers of the last minute: now 2, at most 2");
  await page.getByText("2, of them 1 by RTMP").waitFor();
  const statistics = await fetch(`${server.http}/StreamLick/rest/v2/broadcasts/seen/broadcast-statistics`);
  assert.deepEqual(await statistics.json(), {
    totalRTMPWatchersCount: 1, totalHLSWatchersCount: 0, totalWebRTCWatchersCount: 1, totalDASHWatchersCount: 0,
  });
  await player.stop();
  await viewer.call("stop", "seen");
  await plotted("viewers of the last minute: now 0, at most 2");
});
