//! Checks the audio of a stream at the server's end: AAC, or Opus where the server said that it takes it,
//! and never both on one connection, unless encoders publish, whose AAC is passed on. A header comes first and where
//! the kind of audio changes, and time stamps have no hole.

use std::collections::BTreeSet;

use bytes::Bytes;
use shardcast_core::{
    opus,
    rtmp::{
        Message,
        enhanced::{OPUS_HEADER, opus_sequence_header},
    },
};

use super::stream_checker::{Rules, forward};
use crate::codecs::kbps_of;

/// AAC frames of 1024 samples at 48 kHz.
const AAC_FRAME_MS: std::ops::RangeInclusive<u32> = 21..=22;
/// A gap of an encoder's audio that is longer than three frames is filled, and half a frame may be left.
const ENCODER_STEP_MS_MAX: u32 = 4 * 24 + 12;
/// Where another kind of publisher begins, its audio may be absent so long before silence takes its place.
const CHANGE_MS_MAX: u32 = 1_700;
/// Time stamps are rounded to milliseconds.
const ROUNDING_MS: u32 = 1;
/// Samples a millisecond.
const SAMPLES_PER_MS: u32 = 48;

/// The last frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Last {
    #[default]
    None,
    /// Opus of so many samples.
    Opus(u32),
    /// AAC of an audio transcoder with this bit rate.
    Made(u8),
    /// AAC of an encoder, or silence in its form.
    Encoder,
}

/// Checks the audio of one connection.
#[derive(Debug, Default)]
pub(super) struct AudioChecker {
    takes_opus: bool,
    header: Option<Bytes>,
    /// When the last frame is heard.
    pub(super) at_ms: Option<u32>,
    last: Last,
    /// Bit rates of the AAC of transcoders since the last picture.
    pub(super) kbps_since: BTreeSet<u8>,
    pub(super) opus: u64,
    pub(super) opus_silent: u64,
}

impl AudioChecker {
    /// For a connection to a server that takes Opus, or does not.
    pub(super) fn of_server(takes_opus: bool) -> Self {
        Self {
            takes_opus,
            ..Self::default()
        }
    }

    pub(super) fn header(&mut self, message: &Message, rules: Rules<'_>) -> Result<(), String> {
        let before = self.header.replace(message.payload.clone());
        if before.is_some_and(|before| !rules.encoders || before == message.payload) {
            return Err("a second sequence header of audio".to_owned());
        }
        self.last = Last::None;
        // One that stumbled over the question is not asked again at once.
        if self.is_opus() && !self.takes_opus {
            return Err("Opus for a server that does not take it".to_owned());
        }
        Ok(())
    }

    fn is_opus(&self) -> bool {
        self.header.as_ref() == Some(&opus_sequence_header())
    }

    /// The last frame was AAC.
    pub(super) fn is_aac(&self) -> bool {
        matches!(self.last, Last::Made(_) | Last::Encoder)
    }

    pub(super) fn frame(&mut self, message: &Message, rules: Rules<'_>) -> Result<(), String> {
        if self.header.is_none() {
            return Err("audio before its sequence header".to_owned());
        }
        let before_ms = self.at_ms.replace(message.timestamp_ms);
        let is_same = rules.fine && before_ms == Some(message.timestamp_ms);
        let before_ms = before_ms.filter(|_| !is_same);
        forward("audio", before_ms, message.timestamp_ms)?;
        let step_ms = before_ms.map(|before_ms| message.timestamp_ms - before_ms);
        let step_ms = step_ms.filter(|_| rules.whole && rules.interleaved && rules.audio);
        let this = match message.payload.strip_prefix(&OPUS_HEADER[..]) {
            Some(packet) if self.is_opus() => self.packet(packet)?,
            None if !self.is_opus() => self.aac(message, rules)?,
            _ => return Err("audio under the header of another codec".to_owned()),
        };
        let before = std::mem::replace(&mut self.last, this);
        match step_ms {
            Some(step_ms) if !steps(before, this).contains(&step_ms) => {
                Err(format!("{this:?} is {step_ms} ms behind {before:?}"))
            }
            _ => Ok(()),
        }
    }

    fn packet(&mut self, packet: &[u8]) -> Result<Last, String> {
        let samples = opus::duration_samples(packet).ok_or("a packet that is no Opus")?;
        self.opus += 1;
        self.opus_silent += u64::from(packet[1..] == [0xFF, 0xFE]);
        Ok(Last::Opus(samples))
    }

    fn aac(&mut self, message: &Message, rules: Rules<'_>) -> Result<Last, String> {
        let kbps =
            kbps_of(&message.payload[2..]).ok_or("an audio frame that no transcoder made")?;
        if kbps == 0 {
            let error = || "an encoder's audio, and there is none".to_owned();
            return rules.encoders.then_some(Last::Encoder).ok_or_else(error);
        }
        self.kbps_since.insert(kbps);
        Ok(Last::Made(kbps))
    }
}

/// How far a frame may be behind the one before.
fn steps(before: Last, this: Last) -> std::ops::RangeInclusive<u32> {
    match (before, this) {
        (Last::Opus(samples), Last::Opus(_)) => {
            let ms = samples / SAMPLES_PER_MS;
            ms - ROUNDING_MS..=ms + ROUNDING_MS
        }
        (Last::Made(before), Last::Made(kbps)) if before == kbps => AAC_FRAME_MS,
        // Transcoders of different bit rates did not begin at the same sample.
        (Last::Made(_), Last::Made(_)) => 1..=*AAC_FRAME_MS.end(),
        (Last::Encoder, Last::Encoder) => 1..=ENCODER_STEP_MS_MAX,
        _ => 1..=CHANGE_MS_MAX,
    }
}
