// Calls of the broadcast REST API. Failures become errors with a message for people.

export const APPLICATION = "StreamLick";
const BASE = `/${APPLICATION}/rest/v2/broadcasts`;

/** A call that failed; `message` is for people. */
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
  if (answer?.success === false) throw new CallFailed(answer.message || "The server refused without a reason.");
  return answer;
}

const at = (id) => `/${encodeURIComponent(id)}`;

/** Most rows in a list of the server. */
const LIST_ROWS_MAX = 250;

/**
 * The broadcast with this id, or null. It is searched in the list, because browsers write each 404 to
 * the console.
 */
export async function broadcast(id) {
  const rows = await call("GET", `/list/0/${LIST_ROWS_MAX}?search=${encodeURIComponent(id)}`);
  const found = rows.find((row) => row.streamId === id);
  // The list is full, so the broadcast may be beyond its end.
  if (!found && rows.length >= LIST_ROWS_MAX) return call("GET", at(id));
  return found ?? null;
}

export const createBroadcast = (id) =>
  call("POST", "/create", { streamId: id, name: id, type: "liveStream" });

/** Creates the broadcast if it does not exist, so that destinations can be added. */
export async function ensureBroadcast(id) {
  return (await broadcast(id)) ?? (await createBroadcast(id));
}

export const addDestination = (id, rtmpUrl) => call("POST", `${at(id)}/rtmp-endpoint`, { rtmpUrl });

export const removeDestination = (id, serviceId) =>
  call("DELETE", `${at(id)}/rtmp-endpoint?endpointServiceId=${encodeURIComponent(serviceId)}`);
