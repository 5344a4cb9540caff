//! Checks the audio of a stream at the server's end: AAC, or Opus where the server said that it takes it,
//! and never both on one connection. Its header comes first, and time stamps have no hole.

use std::collections::BTreeSet;

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
/// Time stamps are rounded to milliseconds.
const ROUNDING_MS: u32 = 1;
/// Samples a millisecond.
const SAMPLES_PER_MS: u32 = 48;

/// Checks the audio of one connection.
#[derive(Debug, Default)]
pub(super) struct AudioChecker {
    takes_opus: bool,
    header: bool,
    /// When the last frame is heard.
    pub(super) at_ms: Option<u32>,
    /// Samples of the last Opus packet.
    samples: u32,
    /// Bit rates of the last AAC frame, and of all since the last picture.
    kbps: Option<u8>,
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

    pub(super) fn header(&mut self, message: &Message) -> Result<(), String> {
        let is_opus = message.payload == opus_sequence_header();
        if std::mem::replace(&mut self.header, true) {
            return Err("a second sequence header of audio".to_owned());
        }
        // One that stumbled over the question is not asked again at once.
        if is_opus && !self.takes_opus {
            return Err("Opus for a server that does not take it".to_owned());
        }
        self.takes_opus = is_opus;
        Ok(())
    }

    pub(super) fn frame(&mut self, message: &Message, rules: Rules<'_>) -> Result<(), String> {
        if !self.header {
            return Err("audio before its sequence header".to_owned());
        }
        let before_ms = self.at_ms.replace(message.timestamp_ms);
        forward("audio", before_ms, message.timestamp_ms)?;
        let step_ms = before_ms.map(|before_ms| message.timestamp_ms - before_ms);
        let step_ms = step_ms.filter(|_| rules.whole && rules.interleaved);
        match message.payload.strip_prefix(&OPUS_HEADER[..]) {
            Some(packet) if self.takes_opus => self.packet(packet, step_ms),
            None if !self.takes_opus => self.aac(message, step_ms),
            _ => Err("Opus and AAC on one connection".to_owned()),
        }
    }

    fn packet(&mut self, packet: &[u8], step_ms: Option<u32>) -> Result<(), String> {
        let samples = opus::duration_samples(packet).ok_or("a packet that is no Opus")?;
        let last_ms = std::mem::replace(&mut self.samples, samples) / SAMPLES_PER_MS;
        self.opus += 1;
        self.opus_silent += u64::from(packet[1..] == [0xFF, 0xFE]);
        match step_ms {
            Some(step_ms) if step_ms.abs_diff(last_ms) > ROUNDING_MS => Err(format!(
                "Opus is {step_ms} ms behind a packet of {last_ms} ms"
            )),
            _ => Ok(()),
        }
    }

    fn aac(&mut self, message: &Message, step_ms: Option<u32>) -> Result<(), String> {
        let kbps =
            kbps_of(&message.payload[2..]).ok_or("an audio frame that no transcoder made")?;
        self.kbps_since.insert(kbps);
        let same = self.kbps.replace(kbps) == Some(kbps);
        // Transcoders of different bit rates did not begin at the same sample.
        let least_ms = if same { *AAC_FRAME_MS.start() } else { 1 };
        match step_ms {
            Some(step_ms) if !(least_ms..=*AAC_FRAME_MS.end()).contains(&step_ms) => Err(format!(
                "audio of {kbps} kbit/s is {step_ms} ms behind the last"
            )),
            _ => Ok(()),
        }
    }
}
