// Calls of the broadcast REST API, with failures turned into sentences.

export const APPLICATION = "StreamLick";
const BASE = `/${APPLICATION}/rest/v2/broadcasts`;

/** A call that failed; `message` is meant to be read by people. */
export class CallFailed extends Error {}

async function call(method, path, body) {
  let response;
  try {
    response = await fetch(BASE + path, {
      method,
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new CallFailed("The server does not answer. Is it running?");
  }
  const text = await response.text();
  let answer = null;
  try {
    answer = text === "" ? null : JSON.parse(text);
  } catch {
    answer = { message: text };
  }
  if (response.status === 404 && method === "GET") return null;
  if (!response.ok) throw new CallFailed(answer?.message || `The server answered ${response.status}.`);
  if (answer?.success === false) throw new CallFailed(answer.message || "The server refused without saying why.");
  return answer;
}

const at = (id) => `/${encodeURIComponent(id)}`;

/** Rows of a list that the server gives at most. */
const LIST_ROWS_MAX = 250;

/**
 * The broadcast, or null when there is none of that id. It is looked for in the list, since browsers
 * write each 404 to the console.
 */
export async function broadcast(id) {
  const rows = await call("GET", `/list/0/${LIST_ROWS_MAX}?search=${encodeURIComponent(id)}`);
  const found = rows.find((row) => row.streamId === id);
  // More names than fit have this one in them.
  if (!found && rows.length >= LIST_ROWS_MAX) return call("GET", at(id));
  return found ?? null;
}

export const createBroadcast = (id) =>
  call("POST", "/create", { streamId: id, name: id, type: "liveStream" });

/** Makes sure that there is a broadcast to which destinations can be added. */
export async function ensureBroadcast(id) {
  return (await broadcast(id)) ?? (await createBroadcast(id));
}

export const addDestination = (id, rtmpUrl) => call("POST", `${at(id)}/rtmp-endpoint`, { rtmpUrl });

export const removeDestination = (id, serviceId) =>
  call("DELETE", `${at(id)}/rtmp-endpoint?endpointServiceId=${encodeURIComponent(serviceId)}`);
