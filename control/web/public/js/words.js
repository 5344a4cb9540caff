// Turns states, error definitions and numbers of the API into text for people.

/** Destination states of the engine: CSS class and text. */
const DESTINATION_STATES = {
  idle: ["", "waiting for the stream"],
  resolving: ["busy", "looking up the address"],
  connecting: ["busy", "connecting"],
  handshaking: ["busy", "connecting"],
  publishing: ["busy", "starting"],
  live: ["well", "live"],
  stalled: ["bad", "stopped reading"],
  holding: ["busy", "held open, waiting for the stream"],
  backing_off: ["bad", "will try again"],
  ended: ["", "ended"],
  failed: ["bad", "failed, no more retries"],
};

/** Broadcast states of the REST API: CSS class and text. */
const BROADCAST_STATES = {
  created: ["", "not started"],
  preparing: ["busy", "starting"],
  broadcasting: ["well", "live"],
  finished: ["", "ended"],
  error: ["bad", "interrupted"],
  failed: ["bad", "failed"],
  terminated_unexpectedly: ["bad", "ended unexpectedly"],
  holding: ["busy", "waiting for the publisher"],
};

/** Texts for errors of signalling and of the SDK. */
const ERRORS = {
  streamIdInUse: "Another publisher is live with this stream name. Choose another name, or stop that broadcast first.",
  already_publishing: "This page is already publishing this stream.",
  unauthorized_access: "The server requires a valid publish token for this stream.",
  invalidStreamName: "The stream name may contain only letters, digits, '-', '_' and '.'.",
  noStreamNameSpecified: "A stream name is needed.",
  no_media_offered: "The page offered neither video nor audio.",
  publishTimeoutError: "The server received no video or audio from this browser in time. A firewall may block UDP between them.",
  WebSocketNotConnected: "There is no connection to the server.",
  WebSocketNotSupported: "This browser cannot open a WebSocket.",
  UnsecureContext: "Browsers allow camera and microphone only on pages from https:// or localhost.",
  getUserMediaIsNotAllowed: "The browser did not allow camera and microphone.",
  NotAllowedError: "Camera and microphone were refused. Allow them for this page and try again.",
  NotFoundError: "No camera or microphone was found.",
  NotReadableError: "Camera or microphone is in use by another program.",
  highResourceUsage: "The server is at its capacity limit.",
  data_channel_error: "The data channel has failed; video and audio are not affected.",
};

/** Class and text of a destination's state. `detail` is its status, from the engine or from REST. */
export function destinationState(state, detail = {}) {
  const [look, words] = DESTINATION_STATES[state] ?? ["", String(state).replaceAll("_", " ")];
  const next = detail.next_attempt_unix_ms;
  if (state !== "backing_off" || !next) return { look, words };
  return { look, words: `will try again in ${Math.max(0, Math.ceil((next - Date.now()) / 1000))} s` };
}

/** Time of day; with the date if it is not today. */
function clock(unixMs) {
  const at = new Date(unixMs);
  return at.toDateString() === new Date().toDateString() ? at.toLocaleTimeString() : at.toLocaleString();
}

/** The current or last problem of a destination. `detail` is its status, from the engine or from REST. */
export function problemWords(detail) {
  const problem = detail.last_problem?.message ?? detail.problem;
  if (!problem) return "";
  const { problem_since_unix_ms: since, problem_until_unix_ms: until } = detail;
  if (!since) return problem;
  return until ? `earlier, ${clock(since)} to ${clock(until)}: ${problem}` : `since ${clock(since)}: ${problem}`;
}

/** Which video a destination receives, and why; empty while it is not on air. */
export function pictureWords(picture) {
  if (!picture) return "";
  const what = {
    passthrough: "video passed through",
    rendition: picture.width ? `re-encoded to ${picture.width}×${picture.height}` : "re-encoded",
    none: "no video",
  }[picture.path] ?? String(picture.path);
  return picture.reason ? `${what}: ${picture.reason}` : what;
}

export function broadcastState(state) {
  const [look, words] = BROADCAST_STATES[state] ?? ["", String(state).replaceAll("_", " ")];
  return { look, words };
}

/** Text for an error. A message of the server is preferred, because it knows the cause. */
export function errorWords(definition, detail) {
  const message = typeof detail?.message === "string" ? detail.message : "";
  return message || ERRORS[definition] || `The server answered "${definition}".`;
}

/** 2 512 000 → "2.5 Mbit/s". */
export function bitrate(bps) {
  if (!Number.isFinite(bps) || bps <= 0) return "0 kbit/s";
  return bps >= 1e6 ? `${(bps / 1e6).toFixed(bps >= 1e7 ? 0 : 1)} Mbit/s` : `${Math.round(bps / 1000)} kbit/s`;
}

export function bytes(count) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = Number(count) || 0;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

/** 3 725 s → "1:02:05". */
export function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (n) => String(n).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  const rest = `${two(Math.floor((whole % 3600) / 60))}:${two(whole % 60)}`;
  return hours > 0 ? `${hours}:${rest}` : rest;
}

/**
 * Returns a URL without its key: `rtmp://host/app/••••xy`. The first part of the path is the
 * application if another part follows; a single part may be the key, so it is hidden.
 */
export function withoutKey(url) {
  const parts = /^([a-z]+:\/\/)(?:[^/?#]*@)?([^/?#]+)([^?#]*)(.*)$/i.exec(url);
  if (!parts) return url;
  const [, scheme, host, path, query] = parts;
  const [application, ...rest] = path.split("/").filter((part) => part !== "");
  const known = rest.length > 0 || (application !== undefined && path.endsWith("/") && query !== "");
  const key = (known ? rest : [application ?? ""]).join("/");
  const tail = key.length > 8 ? key.slice(-2) : "";
  return `${scheme}${host}/${known ? `${application}/` : ""}••••${tail}`;
}
