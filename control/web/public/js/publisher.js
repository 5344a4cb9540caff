// Publishes one MediaStream with Ant Media's own SDK, as any studio would.

import { WebRTCAdaptor } from "/sdk/index.js";
import { APPLICATION } from "./rest.js";

function websocketUrl() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  return `${scheme}://${location.host}/${APPLICATION}/websocket`;
}

/**
 * Starts publishing. `told` hears of every notification of the SDK, `failed` of every error.
 * The stream goes in as a constructor option: assigning `adaptor.localStream` later has no effect,
 * because the SDK looks for it in its media manager only.
 */
export function publish({ stream, streamId, token, bandwidthKbps, told, failed }) {
  let started = false;
  const adaptor = new WebRTCAdaptor({
    websocketURL: websocketUrl(),
    localStream: stream,
    bandwidth: bandwidthKbps,
    mediaConstraints: { video: false, audio: false },
    // Shardcast has a public address of its own; the SDK would else ask a STUN server on the internet.
    peerconnection_config: { iceServers: [] },
    callback: (event, detail) => {
      if (event === "initialized" && !started) {
        started = true;
        adaptor.publish(streamId, token || undefined);
      }
      told(event, detail);
    },
    callbackError: (definition, detail) => failed(definition, detail),
  });
  return {
    adaptor,
    /** Ends the broadcast; the destinations end with it. */
    stop() {
      adaptor.stop(streamId);
      // Time for the word "stop" to leave before the socket closes.
      setTimeout(() => adaptor.closeWebSocket(), 500);
    },
  };
}
