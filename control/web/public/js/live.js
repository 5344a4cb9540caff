// The page "go live": selects video and audio, publishes them, and manages destinations.

import { element, keepRows, setText } from "./dom.js";
import { publish, SHOWS } from "./publisher.js";
import { addDestination, APPLICATION, broadcast, ensureBroadcast, removeDestination } from "./rest.js";
import { readStatus } from "./status.js";
import { TestCard } from "./test_card.js";
import { linkState, trouble } from "./up_to_date.js";
import { bitrate, destinationState, duration, errorWords, pictureWords, problemWords, withoutKey } from "./words.js";

const at = (id) => document.getElementById(id);
const fields = ["stream", "bandwidth", "token", "sources", "show"];

/** The default kind of show for each source. */
const USUAL_SHOW = { card: "slides", camera: "people" };

/** States of the REST API as states of the engine, for destinations without a status of the engine. */
const FROM_REST = { created: "idle", preparing: "connecting", broadcasting: "live", finished: "ended", failed: "backing_off", error: "backing_off" };

const page = {
  card: new TestCard(at("card"), { label: "Shardcast test picture" }),
  camera: null,
  publishing: null,
  liveSince: 0,
  wanted: false,
  retrying: false,
  sinkBase: null,
  showChosen: false,
};

function state(look, words) {
  at("state").className = `state ${look}`;
  setText(at("state"), words);
}

const streamId = () => at("stream").value.trim();

// --- video and audio ---

async function openCamera() {
  if (!navigator.mediaDevices) throw new Error(errorWords("UnsecureContext"));
  try {
    page.camera = await navigator.mediaDevices.getUserMedia({
      video: { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } },
      audio: true,
    });
  } catch (failure) {
    throw new Error(errorWords(failure.name));
  }
  at("camera").srcObject = page.camera;
}

function closeCamera() {
  page.camera?.getTracks().forEach((track) => track.stop());
  page.camera = null;
  at("camera").srcObject = null;
}

function showKind(show) {
  at("show").value = show;
  setText(at("show-hint"), SHOWS[show].words);
}

async function chooseSource(source) {
  trouble(null);
  try {
    if (source === "camera") await openCamera();
    else closeCamera();
  } catch (failure) {
    trouble(failure.message);
    document.querySelector("input[value=card]").checked = true;
    source = "card";
  }
  at("camera").hidden = source !== "camera";
  at("card").hidden = source === "camera";
  if (!page.showChosen) showKind(USUAL_SHOW[source]);
}

// --- start and stop ---

function lockSettings(locked) {
  for (const id of fields) at(id).disabled = locked;
  at("start").hidden = locked;
  at("stop").hidden = !locked;
  // Keyboard users who pressed "Go live" find "Stop" in focus.
  (locked ? at("stop") : at("start")).focus();
}

/** Events after which the SDK reconnects by itself. */
const RETRIES = new Set(["reconnection_attempt_for_publisher", "server_will_stop", "closed"]);

function notified(event) {
  if (!page.wanted) return;
  if (event === "publish_started") {
    page.retrying = false;
    page.liveSince ||= Date.now();
    at("on-air").hidden = false;
    at("watch").href = `/${APPLICATION}/play.html?id=${encodeURIComponent(streamId())}`;
    at("watch").hidden = false;
    state("well", "live");
    trouble(null);
  } else if (RETRIES.has(event)) {
    page.retrying = true;
    at("on-air").hidden = true;
    state("busy", "connection lost, trying again");
  } else if (event === "publish_finished" && !page.retrying) {
    // The SDK begins a retry with `stop`; its publish_finished does not end the broadcast.
    ended("The server has ended this broadcast.");
  }
}

/** Errors after which a retry of the SDK would be refused too. */
const FINAL = new Set(["streamIdInUse", "unauthorized_access", "invalidStreamName", "noStreamNameSpecified"]);

function failed(definition, detail) {
  if (!page.wanted) return;
  const words = errorWords(definition, detail);
  if (FINAL.has(definition)) ended(words);
  else trouble(words);
}

async function start() {
  trouble(null);
  page.wanted = true;
  page.retrying = false;
  lockSettings(true);
  state("busy", "starting");
  try {
    await ensureBroadcast(streamId());
    const stream = page.camera ?? (await page.card.stream());
    if (!page.wanted) return;
    page.publishing = publish({
      stream,
      streamId: streamId(),
      token: at("token").value.trim(),
      bandwidthKbps: Number(at("bandwidth").value),
      show: at("show").value,
      notified,
      failed,
    });
  } catch (failure) {
    ended(failure.message);
  }
}

function ended(words) {
  page.wanted = false;
  page.publishing?.stop();
  page.publishing = null;
  page.liveSince = 0;
  at("on-air").hidden = true;
  at("watch").hidden = true;
  setText(at("facts"), "");
  state("", "not live");
  lockSettings(false);
  trouble(words);
}

// --- destinations ---

async function add(url) {
  if (!at("stream").reportValidity()) return;
  trouble(null);
  try {
    await ensureBroadcast(streamId());
    await addDestination(streamId(), url);
    at("url").value = "";
    await refreshDestinations();
  } catch (failure) {
    trouble(failure.message);
  }
}

async function remove(destination) {
  trouble(null);
  try {
    await removeDestination(streamId(), destination.endpointServiceId);
    await refreshDestinations();
  } catch (failure) {
    trouble(failure.message);
  }
}

function makeRow(destination) {
  const row = element("li");
  const url = destination.rtmpUrl ?? destination.endpointUrl;
  row.append(
    element("div", { class: "what" }, element("span", { class: "url" }, withoutKey(url)), element("span", { class: "state" })),
    element("button", { type: "button", class: "quiet", "aria-label": `Remove ${withoutKey(url)}`, onclick: () => remove(destination) }, "Remove"),
    element("p", { class: "why" }),
  );
  return row;
}

function destinationWords(detail, shown) {
  const parts = [];
  if (shown === "live" && detail.bitrate_bps) parts.push(`sending ${bitrate(detail.bitrate_bps)}`);
  const picture = pictureWords(detail.picture);
  if (picture) parts.push(picture);
  if (detail.frames_dropped > 0) parts.push(`${detail.frames_dropped} frames dropped because the destination was too slow`);
  const problem = problemWords(detail);
  if (problem) parts.push(problem);
  return parts.join("; ");
}

function updateRow(row, destination) {
  const detail = destination.detail ?? {};
  const shown = detail.state ?? FROM_REST[destination.status] ?? destination.status;
  const { look, words } = destinationState(shown, detail);
  const badge = row.querySelector(".state");
  badge.className = `state ${look}`;
  setText(badge, words);
  setText(row.querySelector(".why"), destinationWords(detail, shown));
}

async function refreshDestinations() {
  const valid = streamId() !== "" && at("stream").checkValidity();
  const found = valid ? await broadcast(streamId()) : null;
  const list = found?.endPointList ?? [];
  keepRows(at("destinations"), list, (d) => `${streamId()} ${d.endpointServiceId}`, makeRow, updateRow);
  at("no-destinations").hidden = list.length > 0;
}

// --- once a second ---

async function refreshFacts() {
  const status = await readStatus();
  page.sinkBase = status.local_sink?.url_base ?? null;
  at("add-sink").hidden = !page.sinkBase;
  const publisher = status.broadcasts.find((b) => b.stream === streamId())?.publisher;
  if (!page.wanted || !publisher) return;
  const { video } = publisher;
  const words = [`server receives ${bitrate(publisher.bitrate_bps)}`];
  if (video) words.push(`${video.width}×${video.height}`, `${video.frames_per_second} frames a second`);
  words.push(`round trip ${publisher.rtt_ms} ms`);
  setText(at("facts"), words.join(", "));
}

async function refresh() {
  if (page.liveSince) setText(at("clock"), duration((Date.now() - page.liveSince) / 1000));
  try {
    await Promise.all([refreshDestinations(), refreshFacts()]);
    linkState("well", "server connected");
  } catch (failure) {
    linkState("bad", "server not reached");
    if (!page.wanted) trouble(failure.message);
  }
  setTimeout(refresh, 1000);
}

at("stream").value = new URLSearchParams(location.search).get("stream") ?? `studio-${Math.random().toString(36).slice(2, 6)}`;
at("settings").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!page.wanted) start();
});
at("stop").addEventListener("click", () => ended(null));
at("adding").addEventListener("submit", (event) => {
  event.preventDefault();
  const url = at("url").value.trim();
  if (url) add(url);
});
at("add-sink").addEventListener("click", () => add(`${page.sinkBase}/${streamId()}`));
for (const choice of document.querySelectorAll("input[name=source]")) {
  choice.addEventListener("change", () => chooseSource(choice.value));
}
at("show").addEventListener("change", () => {
  page.showChosen = true;
  showKind(at("show").value);
});
showKind(USUAL_SHOW.card);
addEventListener("beforeunload", (event) => {
  if (page.wanted) event.preventDefault();
});
refresh();
