// Tests in a network namespace of their own, whose only interface is its loopback.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import test from "node:test";
import { fileURLToPath } from "node:url";

const INSIDE = "SHARDCAST_E2E_INSIDE_NAMESPACE";

/**
 * Runs the tests that `declare` declares, of the test file `url`, in a new network namespace. `setup` are
 * commands of a shell that run there first, as its root.
 */
export function inNamespace(url, name, setup, declare) {
  if (process.env[INSIDE]) {
    declare();
    return;
  }
  test(name, () => {
    const { NODE_TEST_CONTEXT: _, ...env } = process.env;
    const root = process.getuid() === 0 ? [] : ["--map-root-user"];
    const commands = `ip link set lo up; ${setup}; exec "$@"`;
    const inside = [process.execPath, fileURLToPath(url)];
    const args = [...root, "--net", "sh", "-ec", commands, "sh", ...inside];
    const { status, stdout, stderr, error } = spawnSync("unshare", args, { env: { ...env, [INSIDE]: "1" }, encoding: "utf8" });
    console.log(stdout);
    assert.equal(status, 0, `${error ?? ""}${stderr}`);
  });
}
