// Debian's coturn: a TURN server (RFC 8656) on loopback, over UDP and TCP or over TLS.

import { execFileSync } from "node:child_process";
import { createHash, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import path from "node:path";
import { Hopeless, until } from "../waiting.mjs";
import { freePort } from "./free_port.mjs";
import { Child } from "./process.mjs";

export const USERNAME = "viewer";
export const CREDENTIAL = "of-turn";

/** A certificate for loopback that nobody has signed: its files and, in base64, the SHA-256 of its public key. */
function certificate(folder) {
  const [cert, key] = ["turn.pem", "turn.key"].map((name) => path.join(folder, name));
  execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
    "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert], { stdio: "pipe" });
  const spki = new X509Certificate(readFileSync(cert)).publicKey.export({ type: "spki", format: "der" });
  return { cert, key, spki: createHash("sha256").update(spki).digest("base64") };
}

/**
 * A running TURN server; its `uri` is for clients with the name and the password above. Over `tls` it has a certificate
 * whose key is `spki`.
 */
export async function coturn(it, { tls = false } = {}) {
  const port = await freePort();
  const pair = tls ? certificate(it.folder) : null;
  const transport = pair
    ? ["--tls-listening-port", String(port), "--cert", pair.cert, "--pkey", pair.key, "--no-udp", "--no-tcp", "--no-dtls"]
    : ["--listening-port", String(port), "--no-tls", "--no-dtls"];
  const child = new Child("turnserver", [
    "-n", "--log-file", "stdout", "--pidfile", path.join(it.folder, "turn.pid"), "--userdb", path.join(it.folder, "turn.sqlite"),
    "--listening-ip", "127.0.0.1", ...transport, "--relay-ip", "127.0.0.1", "--allow-loopback-peers",
    "--lt-cred-mech", "--realm", "shardcast", "--user", `${USERNAME}:${CREDENTIAL}`, "--no-cli", "--verbose",
  ]);
  it.showOnFailure("coturn", () => child.output);
  it.atEnd(() => child.stop());
  await until("coturn to listen", () => {
    if (!child.running) throw new Hopeless(`coturn has ended: ${child.output.slice(-2000)}`);
    return /listener opened on/.test(child.output);
  });
  const uri = pair ? `turns:127.0.0.1:${port}?transport=tcp` : `turn:127.0.0.1:${port}`;
  return { uri, spki: pair?.spki, output: () => child.output };
}
