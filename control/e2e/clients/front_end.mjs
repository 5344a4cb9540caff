// The front-end service of the StreamLick guide: the SDK for media, fetch for REST. Request shapes
// are the guide's, also where they differ from what Ant Media Server documents. Runs in the browser.

import { WebRTCAdaptor } from "/sdk/index.js";
import { Messages } from "./messages.mjs";

export class AntMediaFrontEnd {
  /**
   * `variant` says how the SDK gets the stream: "constructor" is right; "assigned" is the guide's way,
   * an assignment that the SDK never reads.
   */
  constructor({ http, websocket, application = "StreamLick", variant = "constructor" }) {
    this.rest = `${http}/${application}/rest/v2/broadcasts`;
    this.websocket = websocket;
    this.variant = variant;
    this.adaptor = null;
    this.events = [];
    this.errors = [];
    this.messages = new Messages(this);
  }

  /** Opens the SDK's socket; resolves at "initialized". */
  initialize(stream, { bandwidth = 2500 } = {}) {
    return new Promise((resolve, reject) => {
      const options = {
        websocket_url: this.websocket,
        mediaConstraints: { video: false, audio: false },
        peerconnection_config: { iceServers: [] },
        sdp_constraints: { OfferToReceiveAudio: false, OfferToReceiveVideo: false },
        bandwidth,
        debug: false,
        callback: (info, detail) => {
          this.events.push({ info, at_ms: Date.now(), streamId: detail?.streamId });
          if (info === "initialized") resolve();
          this.messages.told(info, detail);
        },
        callbackError: (error, message) => {
          this.errors.push({ error: String(error), at_ms: Date.now(), message: message?.message ?? null });
          reject(new Error(String(error)));
        },
      };
      if (this.variant === "constructor") options.localStream = stream;
      this.adaptor = new WebRTCAdaptor(options);
      if (this.variant === "assigned") this.adaptor.localStream = stream;
    });
  }

  publish(streamId, token) {
    this.adaptor.publish(streamId, token);
  }

  stop(streamId) {
    this.adaptor.stop(streamId);
  }

  close() {
    this.adaptor.closeWebSocket();
  }

  /** Number of notifications with this name. */
  count(info) {
    return this.events.filter((event) => event.info === info).length;
  }

  addDestination(streamId, rtmpUrl) {
    return this.json("POST", `/${streamId}/rtmp-endpoint`, { rtmpUrl });
  }

  removeDestination(streamId, rtmpUrl) {
    return this.json("DELETE", `/${streamId}/rtmp-endpoint`, { rtmpUrl });
  }

  broadcast(streamId) {
    return this.json("GET", `/${streamId}`);
  }

  statistics(streamId) {
    return this.json("GET", `/${streamId}/broadcast-statistics`);
  }

  async json(method, path, body) {
    const response = await fetch(this.rest + path, {
      method,
      headers: { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await response.text();
    return { status: response.status, body: text === "" ? null : JSON.parse(text) };
  }
}
