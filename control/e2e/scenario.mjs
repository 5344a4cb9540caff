// One test and all processes that it starts: servers and browsers are ended in reverse order, also
// after a failure, and a failed test prints their logs.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import test from "node:test";

const LOG_LINES_SHOWN = 60;
const ATTEMPTS = 2;
/** Keeps the recordings for inspection after the tests. */
const KEEP_FOLDERS = process.env.SHARDCAST_E2E_KEEP === "1";

export class Scenario {
  constructor(folder) {
    this.folder = folder;
    this.endings = [];
    this.logs = [];
    this.checks = [];
  }

  /** Registers a function that ends something that was started. */
  atEnd(ending) {
    this.endings.push(ending);
  }

  /** Registers a log to print if the test fails; `read` returns it as one string. */
  showOnFailure(name, read) {
    this.logs.push([name, read]);
  }

  /** Registers a check for the end of a successful body; `check` throws if it fails. */
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

/**
 * Declares a test whose body gets a Scenario with its own temporary folder.
 *
 * The body is tried twice: browsers that encode video on two cores stop for some hundred milliseconds
 * now and then, which no bound on media can tell from a fault. A fault of the server fails both times,
 * and a first failure is printed in either case.
 */
export function scenario(name, { timeout_ms = 180_000 } = {}, body) {
  test(name, { timeout: ATTEMPTS * timeout_ms }, async (runner) => {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await once(body, timeout_ms);
      } catch (failure) {
        if (attempt === ATTEMPTS) throw failure;
        runner.diagnostic(`FAILED ONCE, tried again: ${failure.message}`);
        console.error(failure);
      }
    }
  });
}

async function once(body, timeout_ms) {
  const it = new Scenario(await mkdtemp(path.join(tmpdir(), "shardcast-e2e-")));
  let timer;
  const overdue = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done after ${timeout_ms} ms`)), timeout_ms);
  });
  try {
    await Promise.race([body(it), overdue]);
    it.runChecks();
  } catch (failure) {
    it.showLogs();
    throw failure;
  } finally {
    clearTimeout(timer);
    await it.close();
  }
}
