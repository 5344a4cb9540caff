// A backend that takes forms by HTTP, read by Node's own parser of multipart/form-data.

import { createServer } from "node:http";

/** Its `url`, and the `forms` that have come, as objects. */
export async function webhookReceiver(it) {
  const forms = [];
  const server = createServer(async (request, response) => {
    const parts = [];
    for await (const part of request) parts.push(part);
    const headers = { "Content-Type": request.headers["content-type"] };
    const form = await new Response(Buffer.concat(parts), { headers }).formData();
    forms.push(Object.fromEntries(form));
    response.end();
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  it.atEnd(async () => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${server.address().port}/`, forms };
}
