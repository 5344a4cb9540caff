// The page "now": reads GET /api/v1/status once a second.
//
// Fields of the response that it uses:
//   shards:     [{shard, connected, weight, draining, udp_port, cpu_permille}]
//   broadcasts: [{application, stream, name, status, shard, holding, hold_until_unix_ms,
//     standing_in, slate, recording, preview_unix_ms, viewers, rtmp_viewers, publisher, destinations}]
//     recording: {bytes, duration_ms, problem {message}}, null while nothing is recorded
//     publisher as in the engine's status: since_unix_ms, remote, bitrate_bps, packets_lost,
//     jitter_ms, rtt_ms, video {codec, width, height, frames_per_second, keyframe_interval_ms},
//     audio {codec}; null while nobody publishes
//     destinations: [{id, url, state, since_unix_ms, attempts, next_attempt_unix_ms,
//     last_problem {fault, message}, problem_since_unix_ms, problem_until_unix_ms, bitrate_bps, bytes_sent, queue_ms, video_frames, audio_frames, frames_dropped,
//     picture {path, width, height, reason}}]
//   local_sink: {url_base, streams: [{key, video_frames, audio_frames, width, height,
//     keyframe_interval_ms, bitrate_bps}]}, absent when it is switched off

import { element, fillCells, keepRows, setText } from "./dom.js";
import { History, plot } from "./history.js";
import { readStatus } from "./status.js";
import { keepUpToDate } from "./up_to_date.js";
import { bitrate, broadcastState, bytes, destinationState, duration, pictureWords, problemWords, withoutKey } from "./words.js";

const at = (id) => document.getElementById(id);

function stateBadge({ look, words }) {
  return element("span", { class: `state ${look}` }, words);
}

function fact(name, value) {
  return element("span", {}, `${name} `, element("b", {}, value));
}

/** Clients that watch over WebRTC and those that play by RTMP. */
function viewerCount({ viewers = 0, rtmp_viewers = 0 }) {
  return viewers + rtmp_viewers;
}

function viewerFact(broadcast) {
  const { rtmp_viewers: players = 0 } = broadcast;
  const count = viewerCount(broadcast);
  return fact("viewers", players > 0 ? `${count}, of them ${players} by RTMP` : String(count));
}

function publisherFacts(broadcast) {
  const { publisher } = broadcast;
  if (!publisher) return [viewerFact(broadcast)];
  const facts = [fact("for", duration((Date.now() - publisher.since_unix_ms) / 1000)), fact("in", bitrate(publisher.bitrate_bps))];
  const { video, audio } = publisher;
  if (video) {
    facts.push(fact("video", `${video.width}×${video.height}, ${video.frames_per_second} fps, ${video.codec}`));
    if (video.keyframe_interval_ms > 0) facts.push(fact("keyframe every", `${(video.keyframe_interval_ms / 1000).toFixed(1)} s`));
  }
  facts.push(fact("audio", audio ? audio.codec : "none: silence is sent"));
  facts.push(viewerFact(broadcast), fact("round trip", `${publisher.rtt_ms} ms`), fact("packets lost", String(publisher.packets_lost)));
  return facts;
}

/** What destinations receive while the publisher is away, and for how long. */
function holdFacts(broadcast) {
  if (!broadcast.holding) return [];
  const facts = [viewerFact(broadcast)];
  if (broadcast.hold_until_unix_ms) {
    facts.push(fact("destinations end in", duration((broadcast.hold_until_unix_ms - Date.now()) / 1000)));
  }
  if (broadcast.standing_in) facts.push(fact("destinations receive", broadcast.slate ? "the slate" : "the last frame"));
  return facts;
}

/** What is being recorded, and what is wrong with it. */
function recordingFacts({ recording }) {
  if (!recording) return [];
  const facts = [fact("recorded", `${duration(recording.duration_ms / 1000)}, ${bytes(recording.bytes)}`)];
  if (recording.problem) facts.push(element("span", { class: "why" }, `Recording: ${recording.problem.message}`));
  return facts;
}

function destinationRow(destination) {
  const problem = problemWords(destination);
  const picture = pictureWords(destination.picture);
  const state = destinationState(destination.state, destination);
  const row = element("tr");
  fillCells(row, [
    [[
      element("span", { class: "url" }, withoutKey(destination.url ?? destination.id)),
      picture && element("span", { class: "why" }, picture),
      problem && element("span", { class: "why" }, problem),
    ]],
    stateBadge(state),
    [bitrate(destination.bitrate_bps), "number"],
    [bytes(destination.bytes_sent), "number"],
    [`${destination.queue_ms ?? 0} ms`, "number"],
    [String(destination.frames_dropped ?? 0), "number"],
    [String(destination.attempts ?? 0), "number"],
  ]);
  return row;
}

function heading(name, kind = "") {
  return element("th", { scope: "col", class: kind }, name);
}

function destinationTable(destinations) {
  if (destinations.length === 0) return element("p", { class: "soft small" }, "No destinations.");
  const head = element("tr", {}, heading("Destination"), heading("State"), heading("Bitrate", "number"), heading("Sent", "number"),
    heading("Queue", "number"), heading("Frames dropped", "number"), heading("Attempts", "number"));
  return element("div", { class: "scroll" },
    element("table", {}, element("thead", {}, head), element("tbody", {}, ...destinations.map(destinationRow))));
}

const viewers = new History();

/** Nothing where nobody has watched. */
function viewersPlot(broadcast) {
  const samples = viewers.of(keyOf(broadcast));
  const drawn = samples.some(({ value }) => value > 0) && plot(samples, "viewers");
  return drawn && element("div", { class: "history" }, drawn, element("span", {}, "viewers, last 5 minutes"));
}

function keyOf(broadcast) {
  return `${broadcast.application}/${broadcast.stream}`;
}

/** The preview, in the element that the card has: a new one each second would flicker. */
function preview(card, { application, stream, preview_unix_ms: at }) {
  if (!at) return [];
  const image = card.querySelector("img.preview") ?? element("img", { class: "preview", alt: `Preview of ${stream}` });
  const source = `/api/v1/preview/${encodeURIComponent(application)}/${encodeURIComponent(stream)}?at=${at}`;
  if (image.getAttribute("src") !== source) image.setAttribute("src", source);
  return [image];
}

function fillBroadcast(card, broadcast) {
  const state = broadcastState(broadcast.holding ? "holding" : broadcast.status);
  const title = element("div", { class: "headline" },
    element("h2", { style: "margin:0" }, broadcast.stream), stateBadge(state),
    element("span", { class: "soft small" }, `${broadcast.application}, shard ${broadcast.shard ?? "–"}`));
  const facts = broadcast.holding ? holdFacts(broadcast) : publisherFacts(broadcast);
  const plotted = viewersPlot(broadcast);
  card.replaceChildren(title, ...preview(card, broadcast), element("p", { class: "facts" }, ...facts, ...recordingFacts(broadcast)), ...(plotted ? [plotted] : []), destinationTable(broadcast.destinations));
}

function showSink(sink) {
  at("sink").hidden = !sink;
  if (!sink) return;
  setText(at("sink-url"), `${sink.url_base}/any-name`);
  keepRows(at("sink-streams"), sink.streams, (s) => s.key, () => element("tr"), (row, s) =>
    fillCells(row, [
      s.key,
      s.width ? `${s.width}×${s.height}` : "waiting",
      [bitrate(s.bitrate_bps), "number"],
      [s.keyframe_interval_ms ? `${(s.keyframe_interval_ms / 1000).toFixed(1)} s` : "–", "number"],
      [String(s.video_frames), "number"],
      [String(s.audio_frames), "number"],
    ]));
}

/** Whether a shard runs, and whether placement gives it anything new. */
function shardState({ connected, draining, weight }) {
  if (!connected) return { look: "bad", words: "not connected" };
  if (draining) return { look: "busy", words: "draining: takes nothing new" };
  if (weight === 0) return { look: "busy", words: "weight 0: takes nothing new" };
  return { look: "well", words: "running" };
}

function showShards(status) {
  keepRows(at("shards"), status.shards, (s) => s.shard, () => element("tr"), (row, s) =>
    fillCells(row, [
      String(s.shard),
      stateBadge(shardState(s)),
      [String(s.weight ?? "–"), "number"],
      [s.udp_port ? String(s.udp_port) : "–", "number"],
      [`${((s.cpu_permille ?? 0) / 10).toFixed(1)} %`, "number"],
      [String(status.broadcasts.filter((b) => b.shard === s.shard && b.publisher).length), "number"],
    ]));
}

function show(status) {
  const live = status.broadcasts.filter((b) => b.publisher);
  const destinations = status.broadcasts.flatMap((b) => b.destinations);
  const sum = (list, key) => list.reduce((total, item) => total + (item?.[key] ?? 0), 0);
  setText(at("live-broadcasts"), String(live.length));
  setText(at("live-destinations"), `${destinations.filter((d) => d.state === "live").length} of ${destinations.length}`);
  setText(at("rate-in"), bitrate(sum(live.map((b) => b.publisher), "bitrate_bps")));
  setText(at("rate-out"), bitrate(sum(destinations, "bitrate_bps")));
  viewers.add(status.broadcasts.map((b) => [keyOf(b), viewerCount(b)]));
  // Live broadcasts first, then by name: a fixed order keeps cards in place.
  const order = [...status.broadcasts].sort((a, b) => !!b.publisher - !!a.publisher || keyOf(a).localeCompare(keyOf(b)));
  keepRows(at("broadcasts"), order, keyOf, () => element("section", { class: "card" }), fillBroadcast);
  at("nothing").hidden = status.broadcasts.length > 0;
  showSink(status.local_sink);
  showShards(status);
}

keepUpToDate(async () => show(await readStatus()), 1_000);
