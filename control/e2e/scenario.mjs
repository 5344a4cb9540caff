// One test with everything that it starts: servers and browsers are ended in reverse order whatever
// happens, and when the test fails their logs are shown.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import test from "node:test";

const LOG_LINES_SHOWN = 60;
/** For looking at recordings afterwards. */
const KEEP_FOLDERS = process.env.SHARDCAST_E2E_KEEP === "1";

export class Scenario {
  constructor(folder) {
    this.folder = folder;
    this.endings = [];
    this.logs = [];
    this.checks = [];
  }

  /** Registers how to end something that was started. */
  atEnd(ending) {
    this.endings.push(ending);
  }

  /** Registers lines to be shown if the test fails; `read` gives them as one string. */
  showOnFailure(name, read) {
    this.logs.push([name, read]);
  }

  /** Registers what must hold when the body of the test is through; `check` throws if it does not. */
  atSuccess(check) {
    this.checks.push(check);
  }

  runChecks() {
    for (const check of this.checks) check();
  }

  async close() {
    for (const ending of this.endings.reverse()) {
      await ending().catch((failure) => console.error(`while cleaning up: ${failure.message}`));
    }
    if (KEEP_FOLDERS) console.error(`kept ${this.folder}`);
    else await rm(this.folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }

  showLogs() {
    for (const [name, read] of this.logs) {
      const lines = read().trimEnd().split("\n").slice(-LOG_LINES_SHOWN);
      console.error(`--- ${name}, last lines ---\n${lines.join("\n")}`);
    }
  }
}

/** Declares a test whose body gets a Scenario with an own temporary folder. */
export function scenario(name, { timeout_ms = 180_000 } = {}, body) {
  test(name, { timeout: timeout_ms }, async () => {
    const folder = await mkdtemp(path.join(tmpdir(), "shardcast-e2e-"));
    const it = new Scenario(folder);
    try {
      await body(it);
      it.runChecks();
    } catch (failure) {
      it.showLogs();
      throw failure;
    } finally {
      await it.close();
    }
  });
}
