// Debian's nginx with its RTMP module as destinations: each application records its streams as FLV, one
// file for each connection, and reports the start and the end of each publication.

import { mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { createConnection } from "node:net";
import path from "node:path";
import { Hopeless, until } from "../waiting.mjs";
import { freePort } from "./free_port.mjs";
import { Child } from "./process.mjs";

function configuration({ folder, port, hookPort, applications }) {
  const blocks = applications.map((name) => `
    application ${name} {
      live on;
      record all;
      record_path ${folder}/${name};
      record_unique on;
      record_suffix .flv;
      on_publish http://127.0.0.1:${hookPort}/publish;
      on_publish_done http://127.0.0.1:${hookPort}/publish_done;
    }`);
  return `
load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;
${process.getuid() === 0 ? "user root;" : ""}
worker_processes 1;
daemon off;
pid ${folder}/nginx.pid;
error_log ${folder}/error.log info;
events { worker_connections 128; }
rtmp {
  server {
    listen 127.0.0.1:${port};
    chunk_size 4096;
    timeout 30s;${blocks.join("")}
  }
}
`;
}

/** Collects the calls that nginx makes when a publication starts or ends. */
async function hookServer(events) {
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (chunk) => (body += chunk));
    request.on("end", () => {
      const form = new URLSearchParams(body);
      events.push({ at_ms: Date.now(), kind: form.get("call"), application: form.get("app"), name: form.get("name") });
      response.end();
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}

class NginxRtmp {
  constructor(folder, port, events) {
    this.folder = folder;
    this.port = port;
    this.events = events;
  }

  /** Starts the process; it listens when the promise resolves. */
  async start() {
    const child = new Child("/usr/sbin/nginx", ["-e", path.join(this.folder, "error.log"), "-p", this.folder, "-c", path.join(this.folder, "nginx.conf")]);
    this.child = child;
    await until("nginx to listen", () => {
      if (!child.running) throw new Hopeless(child.output);
      return new Promise((resolve, reject) => {
        const socket = createConnection(this.port, "127.0.0.1", () => resolve(socket.destroy()));
        socket.once("error", reject);
      });
    });
  }

  /** Kills master and worker with SIGKILL, like a crash. */
  async kill() {
    const workers = readFileSync(`/proc/${this.child.pid}/task/${this.child.pid}/children`, "utf8").split(" ").filter(Boolean);
    for (const pid of [this.child.pid, ...workers.map(Number)]) process.kill(pid, "SIGKILL");
    await this.child.exited;
  }

  url(application, key = "key") {
    return `rtmp://127.0.0.1:${this.port}/${application}/${key}`;
  }

  /** Paths of the recordings of an application, oldest first. */
  recordings(application) {
    const folder = path.join(this.folder, application);
    return readdirSync(folder)
      .map((name) => path.join(folder, name))
      .sort((a, b) => statSync(a).birthtimeMs - statSync(b).birthtimeMs);
  }

  /** Starts (`publish`) or ends (`publish_done`) that an application has reported. */
  seen(kind, application) {
    return this.events.filter((event) => event.kind === kind && event.application === application);
  }

  errorLog() {
    return readFileSync(path.join(this.folder, "error.log"), "utf8");
  }
}

/** Starts nginx with these applications; it listens when the promise resolves. */
export async function nginxRtmp(it, applications, { name = "nginx" } = {}) {
  const folder = path.join(it.folder, name);
  for (const application of applications) mkdirSync(path.join(folder, application), { recursive: true });
  const events = [];
  const hooks = await hookServer(events);
  it.atEnd(async () => {
    hooks.closeAllConnections();
    hooks.close();
  });
  const port = await freePort();
  const file = path.join(folder, "nginx.conf");
  writeFileSync(file, configuration({ folder, port, hookPort: hooks.address().port, applications }));
  const server = new NginxRtmp(folder, port, events);
  it.atEnd(() => server.child.stop());
  it.showOnFailure(name, () => server.child.output + server.errorLog());
  await server.start();
  return server;
}
