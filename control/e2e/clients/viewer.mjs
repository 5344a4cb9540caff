// Drives the viewer page of the tests from outside the browser.

import { openPage } from "../browser/chromium.mjs";
import { studioOrigin } from "../servers/studio_origin.mjs";
import { sleep, until } from "../waiting.mjs";

class Viewer {
  constructor(page) {
    this.page = page;
  }

  /** Opens the SDK's socket and asks for a stream. `configuration` is of its peer connection. */
  async play(websocket, streamId, token, configuration) {
    await this.page.evaluate(async ([url, id, key, peer]) => {
      window.watcher = new window.Watcher(document.getElementById("video"), url);
      await window.watcher.initialize(peer);
      window.watcher.play(id, key);
    }, [websocket, streamId, token, configuration]);
  }

  /** Calls a method of the watcher in the page. */
  call(method, ...args) {
    return this.page.evaluate(([name, values]) => window.watcher[name](...values), [method, args]);
  }

  read(field) {
    return this.page.evaluate((name) => window.watcher[name], field);
  }

  /** Waits for so many more pictures than there are. */
  async seesPictures(count, { within_ms = 20_000 } = {}) {
    const before = (await this.read("frames")).length;
    await until(`${count} more pictures`, async () => (await this.read("frames")).length >= before + count, { within_ms });
  }

  async hears({ within_ms = 10_000 } = {}) {
    await this.call("takeLoudest");
    await until("a beep to be heard", async () => (await this.read("loudest")) > 0.05, { within_ms });
  }

  close() {
    return this.page.context().browser().close();
  }
}

/** A browser at the viewer page. */
export async function openViewer(it) {
  const page = await openPage(it, `${await studioOrigin(it)}/watch.html`);
  await page.waitForFunction(() => window.ready === true);
  return new Viewer(page);
}

/** A browser that watches `id` by WHEP (draft-ietf-wish-whep); its page holds `window.session`. The
 * ICE servers are those of the answer's `Link`: candidates are gathered once they are known. */
export async function openWhepViewer(it, http, id, configuration = {}, flags = []) {
  const page = await openPage(it, `${http}/live.html`, {}, flags);
  const status = await page.evaluate(async ([url, given]) => {
    const peer = new RTCPeerConnection(given);
    const stream = new MediaStream();
    peer.addEventListener("track", ({ track }) => stream.addTrack(track));
    for (const kind of ["audio", "video"]) peer.addTransceiver(kind, { direction: "recvonly" });
    const offer = await peer.createOffer();
    const headers = { "Content-Type": "application/sdp" };
    const response = await fetch(url, { method: "POST", headers, body: offer.sdp });
    const sdp = await response.text();
    if (response.status !== 201) return `${response.status} ${sdp}`;
    const link = response.headers.get("Link") ?? "";
    const quoted = (name) => link.match(new RegExp(`; ${name}="([^"]*)"`))?.[1];
    const [, urls] = link.match(/^<([^>]*)>; rel="ice-server"/) ?? [];
    const iceServers = urls ? [{ urls, username: quoted("username"), credential: quoted("credential") }] : [];
    peer.setConfiguration({ ...given, iceServers });
    await peer.setLocalDescription(offer);
    await peer.setRemoteDescription({ type: "answer", sdp });
    const video = document.createElement("video");
    Object.assign(video, { muted: true, srcObject: stream });
    document.body.prepend(video);
    await video.play();
    Object.assign(window, { peer, session: response.headers.get("Location") });
    return 201;
  }, [`${http}/StreamLick/whep/${id}`, configuration]);
  if (status !== 201) throw new Error(`WHEP: ${status}`);
  return page;
}

/** Whether the page's video goes on. */
export async function isPlaying(page) {
  const seconds = () => page.evaluate(() => document.querySelector("video").currentTime);
  const before = await seconds();
  await sleep(1_000);
  return (await seconds()) > before + 0.5;
}
