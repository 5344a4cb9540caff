// The STUN and TURN servers of the settings, for pages that use Ant Media's SDK. The SDK asks for them too, but knows one
// server alone, and adds a public STUN server to each relay.

/** An answer that does not come is waited for so long: without servers most clients get through. */
const ANSWER_MS = 2000;

/** Asks for the servers over the adaptor's socket, which is open, and gives them to its next peer connection. */
export function takeIceServers(adaptor) {
  const { wsConn } = adaptor.webSocketAdaptor;
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      wsConn.removeEventListener("message", answered);
      // The SDK opens a lost socket again, and then the servers are asked for again.
      if (adaptor.webSocketAdaptor?.wsConn === wsConn) resolve();
    };
    const answered = ({ data }) => {
      const { command, iceServers } = JSON.parse(data);
      if (command !== "iceServerConfig") return;
      // The SDK has heard it first, and has set what it makes of it.
      adaptor.peerconnection_config.iceServers = iceServers ?? [];
      done();
    };
    const timer = setTimeout(done, ANSWER_MS);
    wsConn.addEventListener("message", answered);
    wsConn.send(JSON.stringify({ command: "getIceServerConfig" }));
  });
}
