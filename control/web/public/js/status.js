// Reads GET /api/v1/status and adds the lists that an older or newer server may omit.

/** The status with all lists. Throws an Error with a message for people. */
export async function readStatus() {
  let response;
  try {
    response = await fetch("/api/v1/status", { cache: "no-store" });
  } catch {
    throw new Error("The server does not answer. Is it running?");
  }
  if (!response.ok) {
    const message = (await response.text()).trim();
    throw new Error(message || `The server answered ${response.status}.`);
  }
  const status = await response.json();
  const broadcasts = (status.broadcasts ?? []).map((b) => ({ ...b, destinations: b.destinations ?? [] }));
  const base = status.local_sink?.url_base?.replace(/\/$/, "");
  const sink = base ? { url_base: base, streams: status.local_sink.streams ?? [] } : null;
  return { ...status, shards: status.shards ?? [], broadcasts, local_sink: sink };
}
