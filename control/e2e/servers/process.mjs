// A child process whose output is kept. It is ended by its process id only.

import { spawn } from "node:child_process";
import { once } from "node:events";

const OUTPUT_CHARS_MAX = 1_000_000;

export class Child {
  constructor(command, args, options = {}) {
    this.output = "";
    this.code = null;
    this.signal = null;
    this.process = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], ...options });
    const keep = (chunk) => {
      this.output = (this.output + chunk).slice(-OUTPUT_CHARS_MAX);
    };
    this.process.stdout.on("data", keep);
    this.process.stderr.on("data", keep);
    this.process.on("error", (failure) => keep(`${command}: ${failure.message}\n`));
    this.exited = once(this.process, "exit").then(([code, signal]) => {
      this.code = code;
      this.signal = signal;
    });
  }

  get pid() {
    return this.process.pid;
  }

  get running() {
    return this.code === null && this.signal === null && this.process.pid !== undefined;
  }

  /** Sends SIGTERM, and SIGKILL if the process does not end in time. */
  async stop(within_ms = 10_000) {
    if (!this.running) return;
    this.process.kill("SIGTERM");
    const hard = setTimeout(() => this.process.kill("SIGKILL"), within_ms);
    await this.exited;
    clearTimeout(hard);
  }

  async kill() {
    if (!this.running) return;
    this.process.kill("SIGKILL");
    await this.exited;
  }
}
