// Plays one stream by HLS: with hls.js, or by the browser itself where it can and hls.js cannot.

import Hls from "/hls/hls.mjs";

/** After an error that ends playing, it is begun again so much later. */
const AGAIN_MS = 2000;
/** Without parts, playing begins with so many segments: with one alone, each next one would come as the picture stands still. */
const SEGMENTS_MIN = 2;

export class HlsPlayer {
  /** `said(look, words)` is told how it goes; `shown()` when there is a picture. */
  constructor(video, address, said, shown) {
    Object.assign(this, { video, address, said, shown });
    this.video.addEventListener("playing", () => this.plays());
  }

  play() {
    this.said("busy", "connecting");
    if (Hls.isSupported()) this.playWithLibrary();
    else if (this.video.canPlayType("application/vnd.apple.mpegurl")) this.playWithBrowser();
    else this.said("bad", "this browser cannot play HLS");
  }

  playWithBrowser() {
    this.video.src = this.address;
    this.begin();
  }

  begin() {
    this.hasBegun = true;
    this.video.play().catch(() => {
      // Sound is not allowed before the user has touched the page.
      this.video.muted = true;
      this.video.play().catch(() => {});
    });
  }

  playWithLibrary() {
    this.hasBegun = false;
    this.video.autoplay = false;
    this.hls = new Hls({ lowLatencyMode: true, backBufferLength: 30 });
    // For the console of the browser.
    this.video.hls = this.hls;
    this.hls.on(Hls.Events.ERROR, (_, error) => {
      if (error.fatal) this.failed(error);
    });
    this.hls.on(Hls.Events.LEVEL_UPDATED, (_, { details }) => {
      if (!details.live) this.hasEnd = true;
      const isEnough = details.partList || details.fragments.length >= SEGMENTS_MIN;
      if (!this.hasBegun && (isEnough || !details.live)) this.begin();
    });
    this.video.addEventListener("ended", () => this.said("", "the broadcast has ended"), { once: true });
    this.hls.loadSource(this.address);
    this.hls.attachMedia(this.video);
  }

  plays() {
    this.said("well", this.hasEnd ? "the last of the broadcast" : "live by HLS");
    this.shown();
  }

  failed(error) {
    const status = error.response?.code;
    if (status === 403) this.said("bad", "the token is missing, wrong or expired");
    else if (status === 404) this.said("busy", "not live; waiting");
    else this.said("busy", "trying again");
    this.hls.destroy();
    setTimeout(() => this.play(), AGAIN_MS);
  }

  /** Names and words for the statistics. */
  rows() {
    const { hls, video } = this;
    const rows = [["Way", "HLS"]];
    if (video.videoWidth) rows.push(["Picture", `${video.videoWidth} × ${video.videoHeight}`]);
    const level = hls?.levels?.[hls.currentLevel];
    if (level && hls.levels.length > 1) rows.push(["Rung", `${level.height} lines, of ${hls.levels.length}`]);
    if (hls?.latency) rows.push(["Behind live", `${hls.latency.toFixed(1)} s of ${hls.targetLatency?.toFixed(1)} s wanted`]);
    const buffered = video.buffered.length ? video.buffered.end(video.buffered.length - 1) - video.currentTime : 0;
    rows.push(["Buffered", `${buffered.toFixed(1)} s`]);
    const { droppedVideoFrames, totalVideoFrames } = video.getVideoPlaybackQuality?.() ?? {};
    if (totalVideoFrames) rows.push(["Frames", `${totalVideoFrames}, ${droppedVideoFrames} dropped`]);
    return rows;
  }
}
