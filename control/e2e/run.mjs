// Runs the browser tests: those that measure no time two at a time, and behind them the others, each alone with the
// machine. What is not named here runs alone. With arguments, these files alone: node run.mjs turn watch

import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

const FOLDER = fileURLToPath(new URL("tests/", import.meta.url));
const END = ".test.mjs";
/** They wait for what happens, and ask neither how late it is nor for how long a picture stood still. */
const SIDE_BY_SIDE = new Set([
  "aiortc", "control_killed", "data_channel", "data_channel_only", "go_live_page", "go_live_page_settings", "guide_clients",
  "ipv6", "measuring_tools", "pages_of_operators", "recordings", "renegotiation", "rest_stop", "turn", "udp_blocked",
]);

/** Whether all of them pass. */
function run(names, concurrency) {
  if (names.length === 0) return true;
  const files = names.map((name) => FOLDER + name + END);
  const args = ["--test", "--test-reporter=spec", `--test-concurrency=${concurrency}`, ...files];
  return spawnSync(process.execPath, args, { stdio: "inherit" }).status === 0;
}

const all = readdirSync(FOLDER).filter((file) => file.endsWith(END)).map((file) => file.slice(0, -END.length));
const wanted = process.argv.length > 2 ? process.argv.slice(2) : all;
const passed = [
  run(wanted.filter((name) => SIDE_BY_SIDE.has(name)), 2),
  run(wanted.filter((name) => !SIDE_BY_SIDE.has(name)), 1),
];
process.exit(passed.every(Boolean) ? 0 : 1);
