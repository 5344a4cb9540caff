// Publishes one MediaStream with Ant Media's SDK, as a studio does.

import { WebRTCAdaptor } from "/sdk/index.js";
import { takeIceServers } from "./ice_servers.js";
import { APPLICATION } from "./rest.js";

function websocketUrl() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  return `${scheme}://${location.host}/${APPLICATION}/websocket`;
}

/**
 * What the browser reduces on a slow connection, by kind of show: `hint` is the `contentHint` of the
 * video track, `preference` the SDK's `degradationPreference`, which overrides the hint, and `words`
 * is the text for people.
 */
export const SHOWS = {
  people: { hint: "", preference: "balanced", words: "On a slow connection the video gets smaller and a little less smooth." },
  slides: { hint: "detail", preference: "maintain-resolution", words: "On a slow connection the video stays sharp and gets less smooth." },
  motion: { hint: "motion", preference: "maintain-framerate", words: "On a slow connection the video stays smooth and gets smaller." },
};

/**
 * Starts publishing. The SDK's notifications go to `notified`, its errors to `failed`. The stream is a
 * constructor option: assigning `adaptor.localStream` later has no effect, because the SDK reads it
 * from its media manager only.
 */
export function publish({ stream, streamId, token, bandwidthKbps, show, notified, failed }) {
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
    // Those of the settings come over the socket. Without this option the SDK would ask a public STUN server.
    peerconnection_config: { iceServers: [] },
    callback: (event, detail) => {
      if (event === "initialized" && !started) {
        started = true;
        takeIceServers(adaptor).then(() => adaptor.publish(streamId, token || undefined));
      }
      notified(event, detail);
    },
    callbackError: (definition, detail) => failed(definition, detail),
  });
  return {
    adaptor,
    /** Ends the broadcast; the destinations end with it. */
    stop() {
      adaptor.stop(streamId);
      // Time for the message "stop" to be sent before the socket closes.
      setTimeout(() => adaptor.closeWebSocket(), 500);
    },
  };
}
