// The product under test: `shardcast run` on free ports with its own data directory.

import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { Hopeless, sleep, until } from "../waiting.mjs";
import { Child } from "./process.mjs";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const BINARY = process.env.SHARDCAST_BIN ?? path.join(ROOT, "target/debug/shardcast");

/** Whether this process is a running engine: ids are reused, and a zombie keeps its id. */
function isEngine(pid) {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    return /^Name:\s+shardcast-engin/m.test(status) && !/^State:\s+Z/m.test(status);
  } catch {
    return false;
  }
}

class Shardcast {
  constructor(it, options) {
    this.dataDir = path.join(it.folder, "shardcast-data");
    this.options = options;
    this.outputs = [];
    it.showOnFailure("shardcast", () => this.output());
    it.atEnd(() => this.stop());
  }

  /** Starts the process; `httpPort` pins the port, for a restart at the same address. */
  async start({ httpPort = 0 } = {}) {
    const { bind = "127.0.0.1" } = this.options;
    const args = ["run", "--data-dir", this.dataDir, ...(bind ? ["--bind", bind] : []), "--http-port", String(httpPort),
      "--https-port", "0", "--udp-port-base", "0", ...(this.options.args ?? [])];
    this.child = new Child(BINARY, args, { env: { ...process.env, NO_COLOR: "1", ...this.options.env } });
    this.outputs.push(this.child);
    const { child } = this;
    this.runtime = await until("shardcast to say its ports", () => {
      if (!child.running) throw new Hopeless(`shardcast has ended: ${child.output.slice(-2000)}`);
      const found = this.readRuntime();
      return found?.pid === child.pid && found.engine_pid ? found : null;
    });
    await until("shardcast to be ready", async () => (await fetch(`${this.http}/readyz`)).ok);
  }

  readRuntime() {
    const file = path.join(this.dataDir, "runtime.json");
    return existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : null;
  }

  get http() {
    return `http://${this.authority}`;
  }

  get websocket() {
    return `ws://${this.authority}/StreamLick/websocket`;
  }

  get authority() {
    const { host } = this.options;
    return host ? `${host}:${this.httpPort}` : this.runtime.http;
  }

  get httpPort() {
    return Number(this.runtime.http.split(":").at(-1));
  }

  get enginePid() {
    return this.readRuntime()?.engine_pid;
  }

  /** Kills the engine with SIGKILL, like a crash. */
  killEngine() {
    const pid = this.enginePid;
    process.kill(pid, "SIGKILL");
    return pid;
  }

  /** Kills control with SIGKILL, like a crash; the engine goes on. */
  async killControl() {
    await this.child.kill();
  }

  async status() {
    const response = await fetch(`${this.http}/api/v1/status`);
    if (!response.ok) throw new Error(`status: ${response.status} ${await response.text()}`);
    return response.json();
  }

  /** The status of a broadcast. */
  async broadcast(id) {
    const { broadcasts } = await this.status();
    return broadcasts.find(({ stream }) => stream === id) ?? {};
  }

  output() {
    return this.outputs.map((child) => child.output).join("");
  }

  async stop() {
    await this.child?.stop();
    // After control was killed, the engine may have no parent that ends it.
    const pid = this.enginePid;
    if (pid && isEngine(pid)) {
      await sleep(500);
      if (isEngine(pid)) process.kill(pid, "SIGKILL");
    }
  }
}

/**
 * A running Shardcast that is ready. Clients are to reach it at `host`, as URLs have it, where what it binds its ports to is none
 * that they could: `bind: null`, which leaves the address to Shardcast.
 */
export async function shardcast(it, options = {}) {
  const server = new Shardcast(it, options);
  await server.start();
  return server;
}
