// Drives the viewer page of the tests from outside the browser.

import { openPage } from "../browser/chromium.mjs";
import { studioOrigin } from "../servers/studio_origin.mjs";
import { until } from "../waiting.mjs";

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
