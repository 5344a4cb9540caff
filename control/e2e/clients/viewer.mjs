// Drives the viewer page of the tests from outside the browser.

import { openPage } from "../browser/chromium.mjs";
import { studioOrigin } from "../servers/studio_origin.mjs";
import { sleep, until } from "../waiting.mjs";

class Viewer {
  constructor(page) {
    this.page = page;
  }

  /** Opens the SDK's socket and asks for a stream. */
  async play(websocket, streamId, token) {
    await this.page.evaluate(async ([url, id, key]) => {
      window.watcher = new window.Watcher(document.getElementById("video"), url);
      await window.watcher.initialize();
      window.watcher.play(id, key);
    }, [websocket, streamId, token]);
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

/** A browser that watches `id` by WHEP (draft-ietf-wish-whep); its page holds `window.session`. */
export async function openWhepViewer(it, http, id) {
  const page = await openPage(it, `${http}/live.html`);
  const status = await page.evaluate(async (url) => {
    const peer = new RTCPeerConnection({ iceServers: [] });
    const stream = new MediaStream();
    peer.addEventListener("track", ({ track }) => stream.addTrack(track));
    for (const kind of ["audio", "video"]) peer.addTransceiver(kind, { direction: "recvonly" });
    await peer.setLocalDescription(await peer.createOffer());
    const headers = { "Content-Type": "application/sdp" };
    const response = await fetch(url, { method: "POST", headers, body: peer.localDescription.sdp });
    const sdp = await response.text();
    if (response.status !== 201) return `${response.status} ${sdp}`;
    await peer.setRemoteDescription({ type: "answer", sdp });
    const video = document.createElement("video");
    Object.assign(video, { muted: true, srcObject: stream });
    document.body.prepend(video);
    await video.play();
    Object.assign(window, { peer, session: response.headers.get("Location") });
    return 201;
  }, `${http}/StreamLick/whep/${id}`);
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
