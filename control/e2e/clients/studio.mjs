// Drives the studio page of the tests from outside the browser.

import { openPage } from "../browser/chromium.mjs";
import { studioOrigin } from "../servers/studio_origin.mjs";
import { until } from "../waiting.mjs";

class Studio {
  constructor(page) {
    this.page = page;
  }

  /** Makes the front-end service and connects its socket. */
  async connect({ http, websocket, variant = "constructor", bandwidth = 2500 }) {
    await this.page.evaluate(
      async ({ http, websocket, variant, bandwidth }) => {
        window.service = new window.AntMediaFrontEnd({ http, websocket, variant });
        await window.service.initialize(window.stream, { bandwidth });
      },
      { http, websocket, variant, bandwidth },
    );
  }

  /** Offers this codec first, like a browser that prefers it. */
  prefer(codec) {
    return this.page.evaluate((name) => {
      const createOffer = RTCPeerConnection.prototype.createOffer;
      RTCPeerConnection.prototype.createOffer = function (...args) {
        const { codecs } = RTCRtpSender.getCapabilities("video");
        const isWanted = ({ mimeType }) => mimeType === `video/${name}` || /rtx/.test(mimeType);
        for (const transceiver of this.getTransceivers()) {
          if (transceiver.sender.track?.kind === "video") transceiver.setCodecPreferences(codecs.filter(isWanted));
        }
        return createOffer.apply(this, args);
      };
    }, codec);
  }

  publish(streamId, token) {
    return this.page.evaluate(([id, key]) => window.service.publish(id, key), [streamId, token]);
  }

  async published(streamId, { times = 1, within_ms = 30_000 } = {}) {
    await until(`publish_started number ${times} for ${streamId}`, async () => (await this.count("publish_started")) >= times, { within_ms });
  }

  /** Closes the browser, like the lid of a laptop. */
  close() {
    return this.page.context().browser().close();
  }

  count(info) {
    return this.page.evaluate((name) => window.service.count(name), info);
  }

  errors() {
    return this.page.evaluate(() => window.service.errors);
  }

  /** Calls a method of the front-end service in the page. */
  call(method, ...args) {
    return this.page.evaluate(([name, values]) => window.service[name](...values), [method, args]);
  }
}

/** A browser at the studio page, with its test card running. */
export async function openStudio(it, card = {}) {
  const page = await openPage(it, `${await studioOrigin(it)}/studio.html`);
  await page.waitForFunction(() => window.ready === true);
  await page.evaluate((options) => window.openCard(options), card);
  return new Studio(page);
}
