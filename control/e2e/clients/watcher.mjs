// A viewer: the SDK's `play`, and what a person in front of it would see and hear. Runs in the browser.

import { WebRTCAdaptor } from "/sdk/index.js";
import { Messages } from "./messages.mjs";

/** Where the test card flashes, in parts of the picture. */
const FLASH = { x: 0.72, y: 0.46, width: 0.2, height: 0.08 };
const FLASH_BRIGHT = 128;

export class Watcher {
  constructor(video, websocket) {
    this.video = video;
    this.websocket = websocket;
    this.events = [];
    this.errors = [];
    /** When each picture was shown, in Unix milliseconds, and its size. */
    this.frames = [];
    /** When the test card began to flash, in Unix milliseconds. */
    this.flashes = [];
    this.loudest = 0;
    this.messages = new Messages(this);
    /** Heights that the server has told of, one after the other. */
    this.heights = [];
  }

  /** Opens the SDK's socket; resolves at "initialized". Without `iceServers` the SDK asks for them. */
  initialize(configuration = { iceServers: [] }) {
    return new Promise((resolve) => {
      this.adaptor = new WebRTCAdaptor({
        websocket_url: this.websocket,
        isPlayMode: true,
        mediaConstraints: { video: false, audio: false },
        peerconnection_config: configuration,
        sdp_constraints: { OfferToReceiveAudio: true, OfferToReceiveVideo: true },
        debug: false,
        callback: (info, detail) => this.told(info, detail, resolve),
        callbackError: (error) => this.errors.push(String(error)),
      });
    });
  }

  told(info, detail, resolve) {
    this.events.push({ info, at_ms: Date.now() });
    if (info === "initialized") resolve();
    this.messages.told(info, detail);
    if (info === "newTrackAvailable") this.show(detail.stream);
    if (info === "resolutionChangeInfo") this.heights.push(detail.streamHeight);
    if (info === "streamInformation") this.streamInfoCame?.(detail.streamInfo);
  }

  show(stream) {
    if (this.video.srcObject === stream) return;
    this.video.srcObject = stream;
    this.video.play();
    this.look();
    this.listen(stream);
  }

  /** Notes each picture that the browser shows. */
  look() {
    const canvas = new OffscreenCanvas(16, 8);
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    let bright = false;
    const frame = () => {
      const at_ms = performance.timeOrigin + performance.now();
      const { videoWidth: width, videoHeight: height } = this.video;
      this.frames.push({ at_ms, width, height });
      const { x, y } = FLASH;
      pen.drawImage(this.video, x * width, y * height, FLASH.width * width, FLASH.height * height, 0, 0, 16, 8);
      const { data } = pen.getImageData(0, 0, 16, 8);
      const flashes = data.reduce((sum, value) => sum + value, 0) / data.length > FLASH_BRIGHT + 64;
      if (flashes && !bright) this.flashes.push(at_ms);
      bright = flashes;
      this.video.requestVideoFrameCallback(frame);
    };
    this.video.requestVideoFrameCallback(frame);
  }

  /** Notes the loudest sample since it was last asked for. */
  listen(stream) {
    if (!stream.getAudioTracks().length) {
      stream.addEventListener("addtrack", () => this.listen(stream), { once: true });
      return;
    }
    this.audio?.close();
    this.audio = new AudioContext({ sampleRate: 48000 });
    const analyser = new AnalyserNode(this.audio, { fftSize: 2048 });
    this.audio.createMediaStreamSource(stream).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    setInterval(() => {
      analyser.getFloatTimeDomainData(samples);
      this.loudest = Math.max(this.loudest, ...samples.map(Math.abs));
    }, 20);
  }

  play(streamId, token) {
    this.played_ms = performance.timeOrigin + performance.now();
    this.adaptor.play(streamId, token);
  }

  /** What the server has of a stream: the source and the rungs. */
  streamInfo(streamId) {
    const came = new Promise((resolve) => (this.streamInfoCame = resolve));
    this.adaptor.getStreamInfo(streamId);
    return came;
  }

  force(streamId, height) {
    this.adaptor.forceStreamQuality(streamId, height);
  }

  stop(streamId) {
    this.adaptor.stop(streamId);
  }

  count(info) {
    return this.events.filter((event) => event.info === info).length;
  }

  /** What the peer connection has received. */
  async received(streamId) {
    const stats = await this.adaptor.remotePeerConnection[streamId]?.getStats();
    const inbound = {};
    stats?.forEach((row) => {
      if (row.type === "inbound-rtp") inbound[row.kind] = row;
    });
    const { video, audio } = inbound;
    return {
      keyFrames: video?.keyFramesDecoded ?? 0,
      framesDecoded: video?.framesDecoded ?? 0,
      framesDropped: video?.framesDropped ?? 0,
      freezes: video?.freezeCount ?? 0,
      packetsLost: (video?.packetsLost ?? 0) + (audio?.packetsLost ?? 0),
      pli: video?.pliCount ?? 0,
      audioPackets: audio?.packetsReceived ?? 0,
    };
  }

  takeLoudest() {
    const { loudest } = this;
    this.loudest = 0;
    return loudest;
  }
}
