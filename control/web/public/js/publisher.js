// Publishes one MediaStream with Ant Media's own SDK, as any studio would.

import { WebRTCAdaptor } from "/sdk/index.js";
import { APPLICATION } from "./rest.js";

function websocketUrl() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  return `${scheme}://${location.host}/${APPLICATION}/websocket`;
}

/**
 * What the browser does when the line gets slow, by kind of show: `hint` is the `contentHint` of the
 * video track, `preference` the SDK's `degradationPreference`, which goes before the hint, and `words`
 * say what comes of them.
 */
export const SHOWS = {
  people: { hint: "", preference: "balanced", words: "On a slow line the picture gets smaller, and a little less smooth." },
  slides: { hint: "detail", preference: "maintain-resolution", words: "On a slow line the picture stays sharp, and moves less smoothly." },
  motion: { hint: "motion", preference: "maintain-framerate", words: "On a slow line the picture stays smooth, and gets smaller." },
};

/**
 * Starts publishing. `told` hears of every notification of the SDK, `failed` of every error.
 * The stream goes in as a constructor option: assigning `adaptor.localStream` later has no effect,
 * because the SDK looks for it in its media manager only.
 */
export function publish({ stream, streamId, token, bandwidthKbps, show, told, failed }) {
  let started = false;
  const { hint, preference } = SHOWS[show];
  for (const track of stream.getVideoTracks()) track.contentHint = hint;
  const adaptor = new WebRTCAdaptor({
    websocketURL: websocketUrl(),
    localStream: stream,
    // The SDK sets it as the browser's maxBitrate, if it finds webrtc-adapter's global `adapter`.
    bandwidth: bandwidthKbps,
    degradationPreference: preference,
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
