// Chromium's sound at a destination, by its spectrum: tones arrive at their level, each in its own channel,
// and nobody hears when the sound changes from mono to stereo and back.

import assert from "node:assert/strict";
import { openStudio } from "../clients/studio.mjs";
import { SAMPLE_RATE_HZ, analyse, channels, decibels, pieces } from "../media/spectrum.mjs";
import { frames, median, readFlv } from "../media/flv.mjs";
import { scenario } from "../scenario.mjs";
import { nginxRtmp } from "../servers/nginx_rtmp.mjs";
import { shardcast } from "../servers/shardcast.mjs";
import { sleep, until } from "../waiting.mjs";

const ID = "sound";
/** In both channels all the time, and in the right one only for a while. 20 ms hold whole periods of both. */
const BOTH_HZ = 500;
const RIGHT_HZ = 2500;
const BOTH_LEVEL = 0.25;
const RIGHT_LEVEL = 0.2;
const PHASE_MS = 2_500;
const PIECE = SAMPLE_RATE_HZ / 50;
/** Opus at a browser's bit rate keeps the level of a tone within this. */
const LEVEL_DB = 1;
/** A tone is so much quieter in the channel where it was not played, at least. */
const APART_DB = 30;
/** The largest sample of what codecs add to the tones is -31 dB; a step in a tone is above -20. */
const CLICK_DB = -26;
/** So long before and behind a change it is listened for clicks: a busy browser may stumble at other times. */
const CHANGE_PIECES = 50;

/** Publishes two oscillators in place of the test card's sound. */
function playTones(studio) {
  return studio.page.evaluate(async ([bothHz, rightHz, bothLevel]) => {
    const audio = new AudioContext({ sampleRate: 48000, latencyHint: "playback" });
    const out = new MediaStreamAudioDestinationNode(audio, { channelCount: 2, channelCountMode: "explicit" });
    const merger = new ChannelMergerNode(audio, { numberOfInputs: 2 });
    const both = new OscillatorNode(audio, { frequency: bothHz });
    const bothGain = new GainNode(audio, { gain: bothLevel });
    const right = new OscillatorNode(audio, { frequency: rightHz });
    window.right = new GainNode(audio, { gain: 0 });
    both.connect(bothGain);
    bothGain.connect(merger, 0, 0);
    bothGain.connect(merger, 0, 1);
    right.connect(window.right).connect(merger, 0, 1);
    merger.connect(out);
    both.start();
    right.start();
    await audio.resume();
    window.stream = out.stream;
  }, [BOTH_HZ, RIGHT_HZ, BOTH_LEVEL]);
}

/** Fades the tone of the right channel, so that the source itself does not click. */
function fadeRight(studio, level) {
  return studio.page.evaluate((to) => {
    const { context, gain } = window.right;
    gain.setValueAtTime(gain.value, context.currentTime);
    gain.linearRampToValueAtTime(to, context.currentTime + 0.05);
    // From here on the channel is digitally what the other is.
    if (to === 0) gain.setValueAtTime(0, context.currentTime + 0.06);
  }, level);
}

scenario("tones keep level and channel, and changes between mono and stereo give no click", {}, async (it) => {
  const nginx = await nginxRtmp(it, ["one"]);
  const server = await shardcast(it, { args: ["--opus-channels", "stereo"] });
  const studio = await openStudio(it, { width: 320, height: 180, framesPerSecond: 10 });
  await playTones(studio);
  await studio.connect(server);
  await studio.publish(ID);
  await studio.published(ID);
  await studio.call("addDestination", ID, nginx.url("one"));
  await until("sound at the destination", () => {
    const [file] = nginx.recordings("one");
    return file && frames(readFlv(file), "audio").length > 50;
  });
  for (const level of [RIGHT_LEVEL, 0]) {
    await sleep(PHASE_MS);
    await fadeRight(studio, level);
  }
  await sleep(PHASE_MS);
  await studio.call("stop", ID);
  await until("the end to arrive", () => nginx.seen("publish_done", "one").length === 1);

  const [left, right] = await channels(nginx.recordings("one")[0]);
  const tones_hz = [BOTH_HZ, RIGHT_HZ];
  const found = pieces(left, PIECE).map((piece, i) => ({
    left: analyse(piece, tones_hz),
    right: analyse(right.subarray(i * PIECE, (i + 1) * PIECE), tones_hz),
    isMono: piece.every((sample, n) => sample === right[i * PIECE + n]),
  }));
  // Half a second behind the begin of the tones, where codecs and jitter settle, up to their end; silence follows.
  const isTone = (one) => one.left.amplitudes[0] > BOTH_LEVEL / 2;
  const heard = found.slice(found.findIndex(isTone) + 25, found.findLastIndex(isTone) - 5);
  const stereo = heard.filter((one) => one.right.amplitudes[1] > RIGHT_LEVEL / 2);
  const first = heard.indexOf(stereo[0]);
  const last = heard.indexOf(stereo.at(-1));
  const stereo_ms = (last - first + 1) * 20;
  assert.ok(Math.abs(stereo_ms - PHASE_MS) < 1_000, `the tone of the right channel was heard for ${stereo_ms} ms`);

  const level_db = (list, side, tone) => decibels(median(list.map((one) => one[side].amplitudes[tone])));
  const steady = heard.slice(first + 5, last - 5);
  for (const [side, tone, level] of [["left", 0, BOTH_LEVEL], ["right", 0, BOTH_LEVEL], ["right", 1, RIGHT_LEVEL]]) {
    const off_db = level_db(steady, side, tone) - decibels(level);
    assert.ok(Math.abs(off_db) < LEVEL_DB, `${tones_hz[tone]} Hz is off by ${off_db.toFixed(1)} dB on the ${side}`);
  }
  const leak_db = level_db(steady, "left", 1) - level_db(steady, "right", 1);
  assert.ok(leak_db < -APART_DB, `the right tone is at ${leak_db.toFixed(1)} dB on the left`);

  const before = heard.slice(0, first - 5);
  const after = heard.slice(last + 6);
  for (const [name, part] of [["before", before], ["after", after]]) {
    const mono = part.filter((one) => one.isMono).length / part.length;
    assert.ok(mono > 0.5, `${name} the stereo part, ${(100 * mono).toFixed(0)} % are mono`);
  }
  // The left channel has one tone throughout, so whatever else is in it was added on the way.
  for (const [what, at] of [["mono to stereo", first], ["stereo to mono", last]]) {
    const around = heard.slice(Math.max(0, at - CHANGE_PIECES), at + CHANGE_PIECES);
    const loudest_db = Math.max(...around.map((one) => decibels(one.left.rest)));
    console.log(`${what}: ${loudest_db.toFixed(1)} dB beside the tone at most; the right tone is at ${leak_db.toFixed(1)} dB on the left`);
    assert.ok(loudest_db < CLICK_DB, `${what}: a click of ${loudest_db.toFixed(1)} dB`);
  }
});
