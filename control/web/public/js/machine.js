// The page "machine": reads GET /api/v1/doctor every ten seconds.
//
// Fields of the response that it uses: shardcast, node, kernel, atUnixMs, counts {ok, unknown, warning, fault},
// findings [{id, title, level, what, cost, command}]

import { element, fillRow, keepRows, setText } from "./dom.js";
import { call, keepUpToDate } from "./up_to_date.js";

const at = (id) => document.getElementById(id);

const LEVELS = {
  fault: { look: "bad", words: "fault" },
  warning: { look: "busy", words: "warning" },
  ok: { look: "well", words: "right" },
  unknown: { look: "", words: "not known" },
};
// The worst first.
const ORDER = Object.keys(LEVELS);

function cellsOf({ title, level, what, cost, command }) {
  const { look, words } = LEVELS[level] ?? LEVELS.unknown;
  return [
    title,
    element("span", { class: `state still ${look}` }, words),
    [[
      what,
      cost && element("span", { class: "why" }, cost),
      command && element("span", { class: "why" }, element("code", {}, command)),
    ]],
  ];
}

function show(report) {
  for (const level of ORDER) setText(at(level), String(report.counts[level]));
  const time = new Date(report.atUnixMs).toLocaleTimeString();
  setText(at("looked"), `Shardcast ${report.shardcast} on ${report.node}, Linux ${report.kernel ?? "unknown"}, looked at ${time}.`);
  const findings = [...report.findings].sort((a, b) => ORDER.indexOf(a.level) - ORDER.indexOf(b.level));
  keepRows(at("findings"), findings, (f) => f.id, () => element("tr"), (row, finding) => fillRow(row, finding, cellsOf));
}

keepUpToDate(async () => show(await call("GET", "/api/v1/doctor")), 10_000);
