//! The publisher's Opus as units on the gapless audio timeline, for consumers that take Opus.
//!
//! A consumer gets them by answering `Some(AudioCodec::Opus)` in
//! [`Consumer::audio`](crate::broadcast::consumers::Consumer::audio). From then on the rings hold units of
//! [`Kind::Opus`] among the others, in the source's ring and in that of each rendition, and its cursor
//! meets them where it meets AAC for those that take AAC. While nobody takes Opus none is made.
//!
//! ```text
//!  gap filler   packet │ conceal │ packet │      silence       │ packet
//!  units        packet │ 1 byte  │ packet │ silent … of 20 ms  │ packet
//! ```
//!
//! The times of units follow each other without a gap: each begins where the one before ends, and where
//! the AAC of the same samples was encoded from. A lost packet is a unit of one byte, which says how long
//! it is and holds nothing (RFC 6716, 3.2.1): libopus conceals it, others mute. Longer gaps are packets of
//! digital silence. Only where the timeline itself jumps, since a gap was longer than what is filled, do
//! the times jump too.

use bytes::Bytes;

use super::AudioInput;
use crate::{
    broadcast::ring::{Kind, Unit},
    codec::{
        aac::SAMPLE_RATE,
        opus::{self, FILL_SAMPLES_MIN},
    },
};

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct OpusTrack {
    /// Position behind the last unit, in samples of the media clock.
    end: Option<i64>,
    /// First byte of the last packet (RFC 6716, 3.1).
    toc: Option<u8>,
}

impl OpusTrack {
    /// Hands on what `input` is in Opus. It begins at the position `at` of the media clock, in samples at
    /// 48 kHz, which is where the input before it ended unless the timeline jumps.
    pub(crate) fn place(&mut self, at: i64, input: &AudioInput, mut push: impl FnMut(Unit)) {
        let mut end = self.end.unwrap_or(at);
        // What is too short for a unit is made up for by the next gap; more is a jump, or the first input.
        if !(0..i64::from(FILL_SAMPLES_MIN)).contains(&(at - end)) {
            end = at;
        }
        let behind = at + i64::from(input.samples());
        match input {
            AudioInput::Packet(packet, samples) => {
                self.toc = packet.first().copied();
                push(unit(end, *samples, packet.clone()));
                end += i64::from(*samples);
            }
            AudioInput::Recover(..) | AudioInput::Conceal(_) => {
                let toc = self.toc;
                fill(&mut end, behind, &mut push, |samples| {
                    toc.map_or_else(|| opus::silent(samples), |toc| opus::empty(toc, samples))
                });
            }
            AudioInput::Silence(_) => fill(&mut end, behind, &mut push, opus::silent),
        }
        self.end = Some(end);
    }
}

/// Makes units up to a position that is less than the shortest unit before `until`.
fn fill(
    end: &mut i64,
    until: i64,
    push: &mut impl FnMut(Unit),
    packet: impl Fn(u32) -> (u32, Bytes),
) {
    while let Ok(missing) = u32::try_from(until - *end)
        && missing >= FILL_SAMPLES_MIN
    {
        let (samples, payload) = packet(missing);
        debug_assert!((1..=missing).contains(&samples), "{samples} of {missing}");
        push(unit(*end, samples, payload));
        *end += i64::from(samples);
    }
}

fn unit(position: i64, samples: u32, payload: Bytes) -> Unit {
    let pts_us = position * 1_000_000 / SAMPLE_RATE;
    Unit {
        kind: Kind::Opus { samples },
        pts_us,
        dts_us: pts_us,
        payload,
    }
}

#[cfg(test)]
#[path = "opus_track_tests.rs"]
mod tests;
