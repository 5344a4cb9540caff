// A page that reads from the server again and again, and says whether what it shows is up to date.

import { setText } from "./dom.js";

const at = (id) => document.getElementById(id);

export function linkState(look, words) {
  at("link").className = `state link-state ${look}`;
  setText(at("link"), words);
}

/** Shows what is wrong, or that nothing is. */
export function trouble(words) {
  at("trouble").hidden = !words;
  setText(at("trouble"), words ?? "");
}

/** Calls `read` once; why it failed is shown. */
export async function refresh(read) {
  try {
    await read();
    trouble(null);
    linkState("well", "up to date");
  } catch (failure) {
    trouble(failure.message);
    linkState("bad", "not up to date");
  }
}

/** Calls `read` for as long as the page is open. */
export async function keepUpToDate(read, every_ms) {
  await refresh(read);
  setTimeout(keepUpToDate, every_ms, read, every_ms);
}

/** What the server answers, as JSON. An error holds its own words. */
export async function call(method, path) {
  const response = await fetch(path, { method, cache: "no-store" }).catch(() => {
    throw new Error("The server does not answer. Is it running?");
  });
  if (!response.ok) throw new Error((await response.text()).trim() || `The server answered ${response.status}.`);
  return response.json();
}
