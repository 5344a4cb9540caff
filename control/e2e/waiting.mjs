// Waiting for something to become true, with a sentence for when it does not.

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Thrown by a `look` that knows that waiting longer is of no use. */
export class Hopeless extends Error {}

/**
 * Calls `look` until it gives something truthy, and returns that. Errors thrown by `look` count as
 * "not yet"; the last one is part of the message when time runs out.
 */
export async function until(what, look, { within_ms = 30_000, every_ms = 50 } = {}) {
  const deadline = Date.now() + within_ms;
  let last = null;
  for (;;) {
    try {
      const found = await look();
      if (found) return found;
      last = null;
    } catch (failure) {
      if (failure instanceof Hopeless) throw failure;
      last = failure;
    }
    if (Date.now() > deadline) {
      throw new Error(`waited ${within_ms} ms for: ${what}${last ? ` (${last.message})` : ""}`);
    }
    await sleep(every_ms);
  }
}
