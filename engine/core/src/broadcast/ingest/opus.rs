//! A browser's Opus on its way to the audio transcoders, and into the ring.

use std::time::Instant;

use bytes::Bytes;

use super::Ingest;
use crate::{
    broadcast::{
        audio::{AudioInput, PlacedInput, gap_filler::Feed},
        ring::Unit,
    },
    codec::opus,
    webrtc::audio_receiver::PlacedPacket,
};

impl Ingest {
    /// An Opus packet.
    pub(crate) fn audio(&mut self, now: Instant, opus: &PlacedPacket) {
        self.filler.media(now);
        self.audio_packets += 1;
        self.audio_bytes += opus.packet.len() as u64;
        let Some(duration) = opus::duration_samples(&opus.packet) else {
            // Nothing of it is fed, so that silence need not wait for it.
            self.audio.forget_held();
            return;
        };
        let feeds = self.audio.packet(opus.pts_us, duration, opus.lost);
        self.feed_audio(&feeds, &opus.packet, duration);
    }

    /// Audio is here from `since_us` on and comes as soon as its place is known.
    pub(crate) fn audio_held(&mut self, now: Instant, since_us: i64) {
        self.filler.media(now);
        self.audio.held(since_us);
    }

    pub(super) fn feed_audio(&mut self, feeds: &[Feed], packet: &[u8], duration: u32) {
        let samples = |feed: &Feed| i64::from(feed.samples(duration));
        let mut at = self.audio.end() - feeds.iter().map(samples).sum::<i64>();
        for feed in feeds {
            let input = match *feed {
                Feed::Packet => AudioInput::Packet(Bytes::copy_from_slice(packet), duration),
                Feed::Recover(count) => AudioInput::Recover(Bytes::copy_from_slice(packet), count),
                Feed::Conceal(count) => AudioInput::Conceal(count),
                Feed::Silence(count) => AudioInput::Silence(count),
            };
            self.audio_inputs.push_back(PlacedInput { at, input });
            at += samples(feed);
        }
    }

    /// Puts what `input` is in Opus into the ring, and hands it on.
    pub(crate) fn push_opus(&mut self, input: &PlacedInput, mut push: impl FnMut(&Unit)) {
        let (ring, wanted) = (&mut self.ring, self.filler.wanted_from());
        self.opus.place(input.at, &input.input, |unit| {
            push(&unit);
            ring.push(unit, wanted);
        });
    }
}
