// Reads GET /api/v1/status and adds the lists that an older or newer server may omit.

import { call } from "./up_to_date.js";

/** The status with all lists. Throws an Error with a message for people. */
export async function readStatus() {
  const status = await call("GET", "/api/v1/status");
  const broadcasts = (status.broadcasts ?? []).map((b) => ({ ...b, destinations: b.destinations ?? [] }));
  const base = status.local_sink?.url_base?.replace(/\/$/, "");
  const sink = base ? { url_base: base, streams: status.local_sink.streams ?? [] } : null;
  return { ...status, shards: status.shards ?? [], broadcasts, local_sink: sink };
}
