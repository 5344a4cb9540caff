// The page "watch": plays one stream with Ant Media's SDK, or by HLS where WebRTC does not come through. Browsers
// start video by itself only while it is muted, so a button brings the sound.
//
// Parameters, as in Ant Media Server: id (or name), token, mute=false to try sound at once, playOrder (of webrtc,
// hls and ll-hls; the first that works is taken). Beside them: stats, to show what the browser measures.

import { WebRTCAdaptor } from "/sdk/index.js";
import { element, setText } from "./dom.js";
import { FrameClock } from "./frame_clock.js";
import { takeIceServers } from "./ice_servers.js";
import { HlsPlayer } from "./play_hls.js";
import { PlayerStats } from "./player_stats.js";

const at = (id) => document.getElementById(id);
const parameters = new URLSearchParams(location.search);
const streamId = parameters.get("id") ?? parameters.get("name") ?? "";
const token = parameters.get("token") ?? undefined;
const video = at("video");

/** Without a picture by WebRTC for so long, the next way is tried. */
const WEBRTC_MS = 8000;

/** The page is below its application: /{app}/play.html. */
function application() {
  const [application] = location.pathname.split("/").filter((part) => part && !part.startsWith("play"));
  return application ?? "StreamLick";
}

function websocketUrl() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  return `${scheme}://${location.host}/${application()}/websocket`;
}

function playlistUrl() {
  const query = token === undefined ? "" : `?${new URLSearchParams({ token })}`;
  return `/${application()}/streams/${encodeURIComponent(streamId)}_adaptive.m3u8${query}`;
}

/** The ways that are to be tried, the first first. */
function ways() {
  const named = (parameters.get("playOrder") ?? "webrtc,hls").split(",").map((way) => way.trim());
  const known = named.map((way) => (way === "ll-hls" ? "hls" : way)).filter((way) => way === "webrtc" || way === "hls");
  return [...new Set(known.length ? known : ["webrtc", "hls"])];
}

const WORDS = {
  no_stream_exist: "not live; waiting",
  unauthorized_access: "the token is missing, wrong or expired",
  viewerLimitReached: "there are as many viewers as may be; trying again",
  highResourceUsage: "the server is busy; trying again",
  webrtc_not_enabled: "this stream cannot be watched in a browser",
};

function state(look, words) {
  at("state").className = `state ${look}`;
  setText(at("state"), words);
}

function showSound() {
  at("unmute").hidden = !video.muted;
}

async function show(stream) {
  if (video.srcObject === stream) return;
  video.srcObject = stream;
  video.muted = parameters.get("mute") !== "false";
  try {
    await video.play();
  } catch {
    // Sound is not allowed before the user has touched the page.
    video.muted = true;
    await video.play().catch(() => {});
  }
  showSound();
}

const stats = new PlayerStats();
const clock = new FrameClock(video);

function showStats(visible) {
  at("stats").hidden = !visible;
  at("show-stats").setAttribute("aria-expanded", String(visible));
  clock.want(visible);
  if (visible) fillStats();
}

function fillStats() {
  const measured = (hlsPlayer ?? stats).rows();
  const delay_ms = clock.glassToGlassMs();
  if (measured.length) measured.push(["Glass to glass", delay_ms === null ? "n/a" : `${delay_ms} ms`]);
  const rows = measured.flatMap(([name, words]) => [element("dt", {}, name), element("dd", {}, words)]);
  at("stats").replaceChildren(...(rows.length ? rows : [element("dt", {}, "Nothing is received yet")]));
}

async function measure() {
  if (hlsPlayer && !at("stats").hidden) fillStats();
  const connection = adaptor?.remotePeerConnection?.[streamId];
  if (connection) {
    stats.add(await connection.getStats());
    if (!at("stats").hidden) fillStats();
  }
  setTimeout(measure, 1000);
}

function notified(event, detail) {
  if (hlsPlayer) return;
  stats.notified(event, detail);
  if (event === "initialized") takeIceServers(adaptor).then(() => adaptor?.play(streamId, token));
  else if (event === "newTrackAvailable") show(detail.stream);
  else if (event === "play_started") {
    clearTimeout(patience);
    state("well", "live");
  }
  else if (event === "play_finished") state("", "the broadcast has ended");
  else if (event === "reconnection_attempt_for_player") state("busy", "connecting");
}

at("unmute").addEventListener("click", () => {
  video.muted = false;
  showSound();
});
video.addEventListener("volumechange", showSound);
at("show-stats").addEventListener("click", () => showStats(at("stats").hidden));

function failed(definition) {
  if (hlsPlayer) return;
  state("busy", WORDS[definition] ?? String(definition));
  // What is not live yet comes by this way as soon as by another, and what is forbidden by none.
  if (definition === "no_stream_exist" || definition === "unauthorized_access") clearTimeout(patience);
  else if (definition === "webrtc_not_enabled" || definition === "viewerLimitReached") playNext();
}

function playByWebRtc() {
  adaptor = new WebRTCAdaptor({
    websocketURL: websocketUrl(),
    isPlayMode: true,
    mediaConstraints: { video: false, audio: false },
    // Those of the settings come over the socket. Without this option the SDK would ask a public STUN server.
    peerconnection_config: { iceServers: [] },
    callback: notified,
    callbackError: failed,
  });
  if (left.length) patience = setTimeout(playNext, WEBRTC_MS);
}

function playByHls() {
  adaptor?.stop(streamId);
  adaptor?.closeWebSocket();
  adaptor = undefined;
  video.srcObject = null;
  video.muted = parameters.get("mute") !== "false";
  hlsPlayer = new HlsPlayer(video, playlistUrl(), state, showSound);
  hlsPlayer.play();
  linkOtherWay();
}

function playNext() {
  clearTimeout(patience);
  const way = left.shift();
  if (way === "webrtc") playByWebRtc();
  else if (way === "hls") playByHls();
}

/** The page again, with the other way first. */
function linkOtherWay() {
  const [name, order] = hlsPlayer ? ["WebRTC", "webrtc,hls"] : ["HLS", "hls"];
  const query = new URLSearchParams(parameters);
  query.set("playOrder", order);
  at("other-way").href = `?${query}`;
  setText(at("other-way"), `Watch by ${name}`);
  at("other-way").hidden = false;
}

const left = ways();
let adaptor, hlsPlayer, patience;
if (streamId === "") {
  state("bad", "the address names no stream: add ?id=");
} else {
  document.title = `${streamId}: Shardcast`;
  linkOtherWay();
  playNext();
  showStats(parameters.has("stats"));
  measure();
}
