// The SDK's data channel, as a page uses it. Runs in the browser.

/** A number that tells two messages apart. */
function checksum(bytes) {
  return bytes.reduce((sum, byte) => (sum * 31 + byte) >>> 0, bytes.length);
}

export class Messages {
  /** `page` has the SDK's adaptor as `adaptor`. */
  constructor(page) {
    this.page = page;
    this.isOpen = false;
    /** Texts as they are; of what is binary its length and checksum. */
    this.received = [];
  }

  told(info, detail) {
    if (info === "data_channel_opened") this.isOpen = true;
    if (info === "data_channel_closed") this.isOpen = false;
    if (info !== "data_received") return;
    const { data } = detail;
    const isText = typeof data === "string" || data instanceof String;
    this.received.push(isText ? String(data) : this.summary(new Uint8Array(data)));
  }

  summary(bytes) {
    return { bytes: bytes.length, checksum: checksum(bytes) };
  }

  text(streamId, text) {
    this.page.adaptor.sendData(streamId, text);
  }

  /** Sends so many bytes, in the SDK's chunks; returns what the others are to receive. */
  large(streamId, length) {
    const bytes = Uint8Array.from({ length }, (_, n) => (n * 7 + (n >> 8)) & 0xff);
    this.page.adaptor.sendData(streamId, bytes.buffer);
    return this.summary(bytes);
  }
}
