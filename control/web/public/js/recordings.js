// The page "recordings": reads GET /{app}/rest/v2/vods/list of each application every five seconds.
//
// Fields of its rows: vodId, vodName, streamId, streamName, filePath, startTime, duration, fileSize, processStatus,
// s3 {status, url, problem}

import { element, fillRow, keepRows, setText } from "./dom.js";
import { call, keepUpToDate, refresh, trouble } from "./up_to_date.js";
import { bytes, duration } from "./words.js";

const at = (id) => document.getElementById(id);

/** Rows of one application that are shown. */
const ROWS_MAX = 100;
/** How long a token for a protected recording is valid, in seconds: as long as somebody may watch it. */
const TOKEN_S = 12 * 3_600;

const rest = (application, path) => `/${encodeURIComponent(application)}/rest/v2/${path}`;

/** The address of the file, with a token where one is asked for. */
async function address(row) {
  const path = `/${encodeURIComponent(row.application)}/${row.filePath}`;
  const { status } = await fetch(path, { method: "HEAD", redirect: "manual" });
  if (status !== 403) return path;
  const until = Math.floor(Date.now() / 1000) + TOKEN_S;
  const { tokenId } = await call("GET", rest(row.application, `broadcasts/${encodeURIComponent(row.streamId)}/token?expireDate=${until}&type=play`));
  return `${path}?token=${encodeURIComponent(tokenId)}`;
}

async function play(row) {
  at("player").hidden = false;
  setText(at("player-title"), row.vodName);
  at("video").src = await address(row);
  at("player").scrollIntoView({ block: "nearest" });
  await at("video").play().catch(() => {}); // The reader presses play where the browser wants that.
}

async function download(row) {
  element("a", { href: await address(row), download: row.vodName }).click();
}

async function remove(row) {
  if (!confirm(`Delete ${row.vodName} for good?`)) return;
  const { success, message } = await call("DELETE", rest(row.application, `vods/${encodeURIComponent(row.vodId)}`));
  if (!success) throw new Error(message);
  await refresh(show);
}

/** Does what a button is for, and says what went wrong. */
function doing(what, row) {
  return () => what(row).catch((failure) => trouble(failure.message));
}

/** Where it is beside the disk of the server. */
function upload({ s3 }) {
  if (!s3) return [];
  const words = s3.status === "uploaded" ? `in ${s3.url}` : s3.problem ? `Not uploaded: ${s3.problem}` : "being uploaded";
  return [element("span", { class: "why" }, words)];
}

function cellsOf(row) {
  const button = (words, what) =>
    element("button", { class: "quiet", type: "button", onclick: doing(what, row), "aria-label": `${words} ${row.vodName}` }, words);
  return [
    [[row.vodName, element("span", { class: "why" }, `${row.application}, ${row.streamName ?? row.streamId}`), ...upload(row)]],
    new Date(row.startTime).toLocaleString(),
    [duration(row.duration / 1000), "number"],
    [bytes(row.fileSize), "number"],
    [row.processStatus === "finished"
      ? [button("Play", play), button("Download", download), button("Delete", remove)]
      : element("span", { class: "state busy" }, "being finished"), "number"],
  ];
}

async function read() {
  const { applications } = await call("GET", "/rest/v2/applications");
  const lists = applications.map(async (application) => {
    const rows = await call("GET", rest(application, `vods/list/0/${ROWS_MAX}?sort_by=date&order_by=desc`));
    return rows.map((row) => ({ ...row, application }));
  });
  return (await Promise.all(lists)).flat().sort((a, b) => b.startTime - a.startTime);
}

async function show() {
  const rows = await read();
  at("list").hidden = rows.length === 0;
  at("nothing").hidden = rows.length > 0;
  keepRows(at("recordings"), rows, (row) => `${row.application}/${row.vodId}`, () => element("tr"),
    (line, row) => fillRow(line, row, cellsOf));
}

at("close").addEventListener("click", () => {
  at("video").removeAttribute("src");
  at("video").load();
  at("player").hidden = true;
});

keepUpToDate(show, 5_000);
