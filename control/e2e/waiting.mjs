// Waits for a condition, with a message for the case that it is not met.

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Thrown by a `look` when further waiting is useless. */
export class Hopeless extends Error {}

/**
 * Calls `look` until it returns a truthy value, and returns that. An error thrown by `look` means "not
 * yet"; the last one is part of the message on timeout.
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
