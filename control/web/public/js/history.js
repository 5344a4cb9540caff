// Numbers of the last minutes, kept by the page while it is open, and a small plot of them.

/** The time that a plot shows. */
const SPAN_S = 300;
const WIDTH = 220;
const HEIGHT = 36;

/** At most one sample a second for each key. */
export class History {
  constructor() {
    this.samples = new Map();
  }

  /** Adds what is known now: pairs of key and number. Keys that are missing are forgotten. */
  add(pairs, now_s = Date.now() / 1000) {
    const next = new Map();
    for (const [key, value] of pairs) {
      const kept = (this.samples.get(key) ?? []).filter(({ at_s }) => at_s > now_s - SPAN_S);
      next.set(key, [...kept, { at_s: now_s, value }]);
    }
    this.samples = next;
  }

  of(key) {
    return this.samples.get(key) ?? [];
  }
}

function svg(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** A plot of the last minutes, the present at its right edge; `null` while there is nothing to see. */
export function plot(samples, what) {
  if (samples.length < 2) return null;
  const newest_s = samples.at(-1).at_s;
  const most = Math.max(...samples.map(({ value }) => value));
  const x = ({ at_s }) => (WIDTH * (1 - (newest_s - at_s) / SPAN_S)).toFixed(1);
  const y = ({ value }) => (HEIGHT - 2 - ((HEIGHT - 4) * value) / Math.max(most, 1)).toFixed(1);
  // Steps: a number holds until the next one.
  const line = samples.map((sample, n) => (n === 0 ? `M${x(sample)} ${y(sample)}` : `H${x(sample)}V${y(sample)}`)).join("");
  const from = x(samples[0]);
  const minutes = Math.max(1, Math.round((newest_s - samples[0].at_s) / 60));
  const words = `${what} of the last ${minutes === 1 ? "minute" : `${minutes} minutes`}: now ${samples.at(-1).value}, at most ${most}`;
  return svg("svg", { class: "plot", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: WIDTH, height: HEIGHT, role: "img", "aria-label": words },
    svg("title", {}, words),
    svg("path", { class: "plot-base", d: `M0 ${HEIGHT - 1}H${WIDTH}` }),
    svg("path", { class: "plot-area", d: `${line}V${HEIGHT - 1}H${from}Z` }),
    svg("path", { class: "plot-line", d: line }));
}
