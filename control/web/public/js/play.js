// The page "watch": plays one stream with Ant Media's SDK. Browsers start video by itself only while it is
// muted, so a button brings the sound.
//
// Parameters, as in Ant Media Server: id (or name), token, mute=false to try sound at once.

import { WebRTCAdaptor } from "/sdk/index.js";
import { setText } from "./dom.js";

const at = (id) => document.getElementById(id);
const parameters = new URLSearchParams(location.search);
const streamId = parameters.get("id") ?? parameters.get("name") ?? "";
const token = parameters.get("token") ?? undefined;
const video = at("video");

/** The page is below its application: /{app}/play.html. */
function websocketUrl() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const [application] = location.pathname.split("/").filter((part) => part && !part.startsWith("play"));
  return `${scheme}://${location.host}/${application ?? "StreamLick"}/websocket`;
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

function notified(event, detail) {
  if (event === "initialized") adaptor.play(streamId, token);
  else if (event === "newTrackAvailable") show(detail.stream);
  else if (event === "play_started") state("well", "live");
  else if (event === "play_finished") state("", "the broadcast has ended");
  else if (event === "reconnection_attempt_for_player") state("busy", "connecting");
}

at("unmute").addEventListener("click", () => {
  video.muted = false;
  showSound();
});
video.addEventListener("volumechange", showSound);

let adaptor;
if (streamId === "") {
  state("bad", "the address names no stream: add ?id=");
} else {
  document.title = `${streamId}: Shardcast`;
  adaptor = new WebRTCAdaptor({
    websocketURL: websocketUrl(),
    isPlayMode: true,
    mediaConstraints: { video: false, audio: false },
    peerconnection_config: { iceServers: [] },
    callback: notified,
    callbackError: (definition) => state("busy", WORDS[definition] ?? String(definition)),
  });
}
