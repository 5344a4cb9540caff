// Serves the studio page of the tests from its own origin, so that its REST calls are cross-origin, as
// those of a real studio are.

import { createReadStream, existsSync } from "node:fs";
import { createServer } from "node:http";
import path from "node:path";
import { fileURLToPath } from "node:url";

const here = (relative) => fileURLToPath(new URL(relative, import.meta.url));
const ROOMS = [
  ["/sdk/", here("../node_modules/@antmedia/webrtc_adaptor/dist/es/")],
  ["/card/", here("../../web/public/js/")],
  ["/clients/", here("../clients/")],
  ["/", here("../pages/")],
];
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript" };

function fileOf(pathname) {
  const [prefix, folder] = ROOMS.find(([start]) => pathname.startsWith(start));
  const file = path.join(folder, path.normalize(pathname.slice(prefix.length)));
  return file.startsWith(folder) && existsSync(file) ? file : null;
}

export async function studioOrigin(it) {
  const server = createServer((request, response) => {
    const file = fileOf(new URL(request.url, "http://studio").pathname);
    if (!file) {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, { "Content-Type": TYPES[path.extname(file)] ?? "application/octet-stream" });
    createReadStream(file).pipe(response);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  it.atEnd(async () => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${server.address().port}`;
}
