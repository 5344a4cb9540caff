// A WHIP client after RFC 9725: one offer, trickled candidates, ICE restarts. Runs in the browser.

const attribute = (sdp, name) => sdp.split(/\r?\n/).find((line) => line.startsWith(`a=${name}:`))?.slice(name.length + 3);

export class WhipClient {
  constructor(endpoint, token) {
    this.endpoint = endpoint;
    this.headers = token ? { Authorization: `Bearer ${token}` } : {};
    this.states = [];
  }

  async publish(stream) {
    this.peer = new RTCPeerConnection({ iceServers: [] });
    this.peer.addEventListener("iceconnectionstatechange", () => this.states.push(this.peer.iceConnectionState));
    for (const track of stream.getTracks()) this.peer.addTransceiver(track, { direction: "sendonly", streams: [stream] });
    const candidates = [];
    this.peer.addEventListener("icecandidate", ({ candidate }) => candidate?.candidate && candidates.push(candidate.candidate));
    await this.peer.setLocalDescription(await this.peer.createOffer());
    const response = await fetch(this.endpoint, {
      method: "POST",
      headers: { "Content-Type": "application/sdp", ...this.headers },
      body: this.peer.localDescription.sdp,
    });
    const text = await response.text();
    if (response.status !== 201) throw new Error(`${response.status} ${text}`);
    this.session = new URL(response.headers.get("Location"), this.endpoint).href;
    this.etag = response.headers.get("ETag");
    await this.peer.setRemoteDescription({ type: "answer", sdp: text });
    const { sdp } = this.peer.localDescription;
    return this.patch(this.etag, [
      `a=ice-ufrag:${attribute(sdp, "ice-ufrag")}`, `a=ice-pwd:${attribute(sdp, "ice-pwd")}`,
      ...candidates.map((candidate) => `a=${candidate}`),
    ]).then(({ status }) => status);
  }

  /** New ICE credentials on both sides, in the same session. */
  async restart() {
    const answer = this.peer.remoteDescription.sdp;
    await this.peer.setLocalDescription(await this.peer.createOffer({ iceRestart: true }));
    const { sdp } = this.peer.localDescription;
    const response = await this.patch("*", [
      `a=ice-ufrag:${attribute(sdp, "ice-ufrag")}`, `a=ice-pwd:${attribute(sdp, "ice-pwd")}`,
    ]);
    const fragment = await response.text();
    if (response.status !== 200) throw new Error(`${response.status} ${fragment}`);
    this.etag = response.headers.get("ETag");
    const renewed = answer
      .replace(/a=ice-ufrag:.*/g, `a=ice-ufrag:${attribute(fragment, "ice-ufrag")}`)
      .replace(/a=ice-pwd:.*/g, `a=ice-pwd:${attribute(fragment, "ice-pwd")}`);
    await this.peer.setRemoteDescription({ type: "answer", sdp: renewed });
  }

  async end() {
    const { status } = await fetch(this.session, { method: "DELETE", headers: this.headers });
    this.peer.close();
    return status;
  }

  patch(etag, lines) {
    return fetch(this.session, {
      method: "PATCH",
      headers: { "Content-Type": "application/trickle-ice-sdpfrag", "If-Match": etag, ...this.headers },
      body: `${lines.join("\r\n")}\r\n`,
    });
  }
}
