// The page "machine": reads GET /api/v1/doctor every ten seconds.
//
// Fields of the response that it uses: shardcast, node, kernel, atUnixMs, counts {ok, unknown, warning, fault},
// findings [{id, title, level, what, cost, command}]

import { element, keepRows, setText } from "./dom.js";

const at = (id) => document.getElementById(id);

const LEVELS = {
  fault: { look: "bad", words: "fault" },
  warning: { look: "busy", words: "warning" },
  ok: { look: "well", words: "right" },
  unknown: { look: "", words: "not known" },
};
// The worst first.
const ORDER = Object.keys(LEVELS);

function fillFinding(row, finding) {
  const { look, words } = LEVELS[finding.level] ?? LEVELS.unknown;
  const content = JSON.stringify(finding);
  // A selection of a command that somebody copies stays.
  if (row.dataset.content === content) return;
  row.dataset.content = content;
  row.replaceChildren(
    element("td", {}, finding.title),
    element("td", {}, element("span", { class: `state still ${look}` }, words)),
    element("td", {}, finding.what,
      finding.cost && element("span", { class: "why" }, finding.cost),
      finding.command && element("span", { class: "why" }, element("code", {}, finding.command))));
}

function show(report) {
  for (const level of ORDER) setText(at(level), String(report.counts[level]));
  const time = new Date(report.atUnixMs).toLocaleTimeString();
  setText(at("looked"), `Shardcast ${report.shardcast} on ${report.node}, Linux ${report.kernel ?? "unknown"}, looked at ${time}.`);
  const findings = [...report.findings].sort((a, b) => ORDER.indexOf(a.level) - ORDER.indexOf(b.level));
  keepRows(at("findings"), findings, (f) => f.id, () => element("tr"), fillFinding);
}

async function read() {
  const response = await fetch("/api/v1/doctor", { cache: "no-store" }).catch(() => {
    throw new Error("The server does not answer. Is it running?");
  });
  if (!response.ok) throw new Error((await response.text()).trim() || `The server answered ${response.status}.`);
  return response.json();
}

function linkState(look, words) {
  at("link").className = `state link-state ${look}`;
  setText(at("link"), words);
}

async function refresh() {
  try {
    show(await read());
    at("trouble").hidden = true;
    linkState("well", "up to date");
  } catch (failure) {
    at("trouble").hidden = false;
    setText(at("trouble"), failure.message);
    linkState("bad", "not up to date");
  }
  setTimeout(refresh, 10_000);
}

refresh();
