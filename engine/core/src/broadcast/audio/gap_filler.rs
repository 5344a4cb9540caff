//! Keeps the audio timeline of a broadcast gapless: decides what the audio transcoders are fed.
//!
//! AAC over RTMP has no gaps, Opus over a network has: packets are lost, DTX leaves them out, a
//! microphone is muted, a publisher goes away. A transcoder counts samples and nothing else, so every
//! sample between two packets is accounted for here: packets that were lost are recovered from the
//! packet behind them or concealed, longer gaps are silence, packets from before what is already
//! there are left out.
//!
//! ```text
//!  media clock  ──┬────────┬────────┬─ ─ ─ ─ ─┬────────┬──►   packets by their timestamps
//!  transcoders  ──┴────────┴────────┴─conceal─┴────────┴──►   without gaps, in samples
//! ```
//!
//! Where a packet belongs is the word of the timeline alone. Two rules bound what its mistakes can
//! cost: silence is never made for a time whose packets are already here, and packets that stay
//! late are heard late after [`LATE_SAMPLES_MAX`], whatever was filled in before. A burst after a
//! stall of the network does not stay late: each packet of it is nearer to its time than the one
//! before, so it is left out up to the first packet in time, and no offset remains.

use crate::{codec::aac::SAMPLE_RATE, limits::AUDIO_REORDER_MS};

const SAMPLES_PER_MS: i64 = SAMPLE_RATE / 1_000;
/// Off by no more than this, or 55 % of its own length, a packet is taken as the next one: clocks slew,
/// Opus packets are 20 ms, and leaving one out is no better if it leaves as large a gap (5 % are what clocks slew).
const TOLERANCE_SAMPLES: i64 = 720;
/// Up to this a gap without a known loss (DTX) is concealed; beyond, silence sounds better (60 ms).
const CONCEAL_SAMPLES_MAX: i64 = 60 * SAMPLES_PER_MS;
/// Up to this lost packets are concealed (120 ms): libopus fades to silence by itself meanwhile.
const CONCEAL_LOST_SAMPLES_MAX: i64 = 120 * SAMPLES_PER_MS;
/// Most that is filled at one time; a larger gap is filled in several calls or jumped over.
const FILL_SAMPLES_MAX: i64 = SAMPLE_RATE * 2;
/// With video running and audio so far behind, audio is taken as absent: packets behind a lost one
/// wait [`AUDIO_REORDER_MS`], and 220 ms cover a burst of five lost packets, jitter of 80 ms and
/// frames that are placed 40 ms ahead of their audio.
const ABSENT_SAMPLES: i64 = (AUDIO_REORDER_MS as i64 + 220) * SAMPLES_PER_MS;
/// Silence stays this far behind the video, so that audio that returns is not cut (60 ms).
const SILENCE_BEHIND_SAMPLES: i64 = 60 * SAMPLES_PER_MS;
/// So much audio in a row may be left out for lateness that does not close (200 ms). What follows is
/// heard later than it belongs, until a gap brings it back.
const LATE_SAMPLES_MAX: i64 = 200 * SAMPLES_PER_MS;
/// Packets that are later than this (400 ms) would be heard clearly out of step with the frame:
/// they are left out for longer, up to [`FAR_LATE_SAMPLES_MAX`].
const FAR_SAMPLES: i64 = 400 * SAMPLES_PER_MS;
/// Lateness that closes by more than this in a row (400 ms) is that of a burst, and what was late
/// before counts no more. Pictures that come 3 times a second or more open the gap again before.
const CLOSING_SAMPLES: i64 = 400 * SAMPLES_PER_MS;
/// Audio that stays as late as that for 5 s is what the publisher sends and not the rest of a
/// stall: a publisher without any audio would be worse than one out of step.
const FAR_LATE_SAMPLES_MAX: i64 = 5_000 * SAMPLES_PER_MS;

/// What the transcoders shall do, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Feed {
    /// Decode the packet at hand.
    Packet,
    /// Recover what came before the packet at hand from the redundancy that it carries (RFC 6716,
    /// 2.1.7), or conceal it.
    Recover(u32),
    Conceal(u32),
    Silence(u32),
}

impl Feed {
    /// How many samples it is, with a packet of `duration` at hand.
    pub(crate) fn samples(self, duration: u32) -> u32 {
        match self {
            Self::Packet => duration,
            Self::Recover(samples) | Self::Conceal(samples) | Self::Silence(samples) => samples,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct AudioGapFiller {
    /// Position of the first sample fed, and behind the last one.
    span: Option<(i64, i64)>,
    /// The last samples were silence for want of audio.
    absent: bool,
    /// Packets from this position on are here and are fed soon: no silence is made beyond it.
    held_from: Option<i64>,
    /// How much of the audio that was left out in a row did not come nearer to its time.
    late: i64,
    /// By how much packets in a row came nearer to their time.
    closing: i64,
    /// Distance of the last late packet from its time, in samples; negative.
    last_gap: Option<i64>,
    /// Distance at which late packets are heard; 0 unless some were after [`LATE_SAMPLES_MAX`].
    heard_late: i64,
    filled: u64,
}

impl AudioGapFiller {
    /// Samples that were recovered, concealed or silent.
    pub(crate) fn samples_filled(&self) -> u64 {
        self.filled
    }

    /// Media time in microseconds of the first sample fed.
    pub(crate) fn origin_us(&self) -> Option<i64> {
        self.span
            .map(|(origin, _)| origin * 1_000_000 / SAMPLE_RATE)
    }

    /// Position on the media clock behind the last sample fed, in samples.
    pub(crate) fn end(&self) -> i64 {
        self.span.map_or(0, |(_, next)| next)
    }

    /// An Opus packet of `duration` samples that belongs at `pts_us`, behind `lost` packets that did
    /// not come.
    pub(crate) fn packet(&mut self, pts_us: i64, duration: u32, lost: u32) -> Vec<Feed> {
        self.held_from = None;
        let position = samples(pts_us);
        let duration = i64::from(duration);
        let Some((origin, next)) = self.span else {
            self.span = Some((position, position + duration));
            return vec![Feed::Packet];
        };
        let gap = position - next;
        let tolerance = TOLERANCE_SAMPLES.max(duration * 11 / 20);
        if gap < -tolerance {
            // Its time was fed already, from packets or with silence.
            if self.leaves_out(gap, duration, tolerance) {
                return Vec::new();
            }
            self.absent = false;
            self.span = Some((origin, next + duration));
            return vec![Feed::Packet];
        }
        self.on_time();
        self.heard_late = 0;
        let was_absent = std::mem::take(&mut self.absent);
        let mut feeds = Vec::with_capacity(3);
        let mut next = next;
        if gap > tolerance {
            // Whole packets were lost; what is left over is the rounding of times.
            let missing = i64::from(lost) * duration;
            let rounds = lost > 0 && (gap - missing).abs() <= tolerance;
            let gap = if rounds { missing } else { gap };
            let fill = gap.min(FILL_SAMPLES_MAX);
            self.fill_before(fill, duration, lost, was_absent, &mut feeds);
            next += gap;
            self.skip_origin(gap - fill);
        }
        feeds.push(Feed::Packet);
        let origin = self.span.map_or(origin, |(origin, _)| origin);
        self.span = Some((origin, next + duration));
        feeds
    }

    /// Audio from `pts_us` on is here; its place is being decided.
    pub(crate) fn held(&mut self, pts_us: i64) {
        self.held_from.get_or_insert(samples(pts_us));
    }

    /// What was held went with its publisher.
    pub(crate) fn forget_held(&mut self) {
        self.held_from = None;
    }

    /// The video, or the wall clock while nobody publishes, has come to `pts_us`: without audio
    /// for a while, silence takes its place.
    pub(crate) fn advance(&mut self, pts_us: i64) -> Option<Feed> {
        let position = samples(pts_us);
        let Some((_, next)) = self.span else {
            // No audio yet: silence starts with the video, and real audio replaces it.
            self.span = Some((position, position));
            self.absent = true;
            return None;
        };
        let behind = position - next;
        let enough = if self.absent {
            SILENCE_BEHIND_SAMPLES
        } else {
            ABSENT_SAMPLES
        };
        if behind <= enough {
            return None;
        }
        let gap = behind - SILENCE_BEHIND_SAMPLES;
        let gap = match self.held_from {
            Some(held_from) => gap.min(held_from - next),
            _ => gap,
        };
        if gap <= 0 {
            return None;
        }
        self.absent = true;
        let fill = gap.min(FILL_SAMPLES_MAX);
        let feed = self.fill(fill, true);
        self.skip_origin(gap - fill);
        if let Some((_, next)) = &mut self.span {
            *next += gap;
        }
        Some(feed)
    }

    /// Whether a packet that is late by `-gap` samples is left out. While packets are, `next` stands
    /// still, so the lateness of a burst closes by itself and is not counted.
    fn leaves_out(&mut self, gap: i64, duration: i64, tolerance: i64) -> bool {
        debug_assert!(gap < 0, "a packet in time is never left out");
        if self.heard_late < 0 && gap >= self.heard_late - tolerance {
            self.on_time();
            return false;
        }
        let closed = self.last_gap.map_or(0, |last| gap - last);
        let closed = closed.clamp(0, duration);
        let closes = closed > duration / 2;
        self.last_gap = Some(gap);
        self.late += duration - closed;
        self.closing = if closes { self.closing + closed } else { 0 };
        if self.closing > CLOSING_SAMPLES {
            self.late = 0;
        }
        let most = if gap < -FAR_SAMPLES {
            FAR_LATE_SAMPLES_MAX
        } else {
            LATE_SAMPLES_MAX
        };
        if self.late <= most || closes {
            return true;
        }
        self.on_time();
        self.heard_late = gap;
        false
    }

    fn on_time(&mut self) {
        self.late = 0;
        self.closing = 0;
        self.last_gap = None;
    }

    /// Fills `gap` samples in front of a packet of `duration` samples.
    fn fill_before(
        &mut self,
        gap: i64,
        duration: i64,
        lost: u32,
        was_absent: bool,
        feeds: &mut Vec<Feed>,
    ) {
        let known = lost > 0 && !was_absent && gap <= CONCEAL_LOST_SAMPLES_MAX;
        if !known {
            let silent = was_absent || gap > CONCEAL_SAMPLES_MAX;
            feeds.push(self.fill(gap, silent));
            return;
        }
        // The packet's redundancy tells of the one packet in front of it.
        let recover = gap.min(duration);
        if gap > recover {
            feeds.push(self.fill(gap - recover, false));
        }
        self.filled += recover.unsigned_abs();
        feeds.push(Feed::Recover(u32::try_from(recover).unwrap_or_default()));
    }

    /// Samples that no transcoder ever sees move the origin, so that frame numbers still give times.
    fn skip_origin(&mut self, samples: i64) {
        if let Some((origin, _)) = &mut self.span {
            *origin += samples;
        }
    }

    fn fill(&mut self, samples: i64, silent: bool) -> Feed {
        self.filled += samples.unsigned_abs();
        let count = u32::try_from(samples).unwrap_or(u32::MAX);
        if silent {
            Feed::Silence(count)
        } else {
            Feed::Conceal(count)
        }
    }
}

fn samples(us: i64) -> i64 {
    us.saturating_mul(SAMPLE_RATE / 1000) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(samples: i64) -> i64 {
        samples * 1000 / 48 + 1
    }

    /// What was fed must always add up to the position behind the last sample.
    #[test]
    fn every_sample_between_two_packets_is_accounted_for() {
        let mut clock = AudioGapFiller::default();
        assert_eq!(clock.packet(us(4800), 960, 0), [Feed::Packet]);
        assert_eq!(clock.packet(us(5760), 960, 0), [Feed::Packet]);
        assert_eq!(
            clock.packet(us(6720 + 960), 960, 0),
            [Feed::Conceal(960), Feed::Packet]
        );
        assert_eq!(
            clock.packet(us(8640 + 48_000), 960, 0),
            [Feed::Silence(48_000), Feed::Packet]
        );
        assert_eq!(clock.samples_filled(), 48_960);
        assert_eq!(clock.origin_us(), Some(100_000));
    }

    #[test]
    fn a_packet_from_the_past_is_left_out_and_small_slews_are_not_heard() {
        let mut clock = AudioGapFiller::default();
        clock.packet(us(48_000), 960, 0);
        assert_eq!(clock.packet(us(48_000), 960, 0), []);
        assert_eq!(clock.packet(us(48_960 + 300), 960, 0), [Feed::Packet]);
        assert_eq!(clock.packet(us(49_920 - 300), 960, 0), [Feed::Packet]);
    }

    #[test]
    fn without_audio_silence_follows_the_video_and_audio_that_returns_is_heard() {
        let mut clock = AudioGapFiller::default();
        assert_eq!(clock.advance(1_000_000), None);
        let mut silent = 0;
        for frame in 1..=30 {
            if let Some(Feed::Silence(count)) = clock.advance(1_000_000 + frame * 33_333) {
                silent += i64::from(count);
            }
        }
        assert!(
            (44_000..48_000).contains(&silent),
            "{silent} samples of silence in a second"
        );
        assert!(clock.packet(2_000_000, 960, 0).contains(&Feed::Packet));
        assert_eq!(clock.packet(2_020_000, 960, 0), [Feed::Packet]);
        assert_eq!(clock.advance(2_040_000), None);
    }

    #[test]
    fn a_long_absence_is_jumped_over_and_times_stay_right() {
        let mut clock = AudioGapFiller::default();
        clock.packet(0, 960, 0);
        let hour_us = 3_600_000_000;
        let feeds = clock.packet(hour_us, 960, 0);
        assert_eq!(feeds, [Feed::Silence(96_000), Feed::Packet]);
        // 96,000 + 960 samples were fed since the origin; the packet belongs at the hour.
        let packet_us = clock.origin_us().unwrap() + (960 + 96_000) * 1_000_000 / 48_000;
        assert!((packet_us - hour_us).abs() < 1_000, "{packet_us}");
    }

    /// Feeds `ms` of packets from time 0 on, and tells that more are here from then on.
    fn fed_then_held(ms: i64) -> AudioGapFiller {
        let mut clock = AudioGapFiller::default();
        for n in 0..ms / 20 {
            clock.packet(n * 20_000, 960, 0);
        }
        clock.held(ms * 1_000);
        clock
    }

    #[test]
    fn no_silence_is_made_for_a_time_whose_packets_are_here() {
        let mut clock = fed_then_held(1_000);
        for ahead_ms in 0..60 {
            assert_eq!(clock.advance(1_000_000 + ahead_ms * 10_000), None);
        }
        assert_eq!(clock.packet(1_000_000, 960, 0), [Feed::Packet]);
        assert_eq!(clock.packet(1_020_000, 960, 0), [Feed::Packet]);
    }

    #[test]
    fn silence_follows_when_what_was_held_is_gone_with_its_publisher() {
        let mut clock = fed_then_held(1_000);
        clock.forget_held();
        let feed = clock.advance(1_600_000);
        assert!(matches!(feed, Some(Feed::Silence(_))), "{feed:?}");
    }

    /// Packets `behind_ms` behind a clock that fills in silence each 100 ms; counts those heard.
    fn heard_behind(
        clock: &mut AudioGapFiller,
        from_ms: i64,
        behind_ms: i64,
        packets: i64,
    ) -> usize {
        let mut heard = 0;
        for n in 0..packets {
            let now_us = (from_ms + n * 20) * 1_000;
            if n % 5 == 0 {
                clock.advance(now_us);
            }
            heard += clock
                .packet(now_us - behind_ms * 1_000, 960, 0)
                .len()
                .min(1);
        }
        heard
    }

    #[test]
    fn a_burst_after_silence_is_left_out_up_to_the_first_packet_in_time() {
        for stall_ms in (400..=6_000).step_by(200) {
            let mut clock = AudioGapFiller::default();
            clock.packet(0, 960, 0);
            clock.advance(stall_ms * 1_000);
            let heard: Vec<i64> = (1..stall_ms / 20 + 50)
                .map(|n| n * 20)
                .filter(|ms| !clock.packet(ms * 1_000, 960, 0).is_empty())
                .collect();
            // Silence ends 60 ms before the time of the clock.
            assert!(
                (stall_ms - 80..=stall_ms).contains(&heard[0]),
                "after {stall_ms} ms the first is of {} ms",
                heard[0]
            );
            assert_eq!(heard.len() as i64, (stall_ms + 1_000 - heard[0]) / 20);
            let (origin, next) = clock.span.unwrap();
            let apart = next - (heard[heard.len() - 1] + 20) * 48;
            assert!(apart.abs() <= 720, "{apart} samples, origin {origin}");
        }
    }

    #[test]
    fn audio_that_stays_late_is_heard_late_and_not_never() {
        for behind_ms in [100, 150, 250, 330, 500, 900] {
            let mut clock = AudioGapFiller::default();
            clock.advance(0);
            let heard = heard_behind(&mut clock, 100, behind_ms, 1_500);
            let least = if behind_ms < 400 { 1_400 } else { 200 };
            assert!(heard >= least, "{behind_ms} ms behind: {heard} heard");
        }
    }

    #[test]
    fn audio_that_is_heard_late_comes_back_to_that_after_a_stall() {
        let mut clock = AudioGapFiller::default();
        clock.advance(0);
        assert!(heard_behind(&mut clock, 100, 150, 500) > 400);
        let (_, before) = clock.span.unwrap();
        let late = before - (100 + 500 * 20 - 150) * 48;
        // Two seconds of silence, then the packets of that time at once, then as before.
        clock.advance(12_100_000);
        for n in 0..100 {
            clock.packet((10_100 - 150 + n * 20) * 1_000, 960, 0);
        }
        assert!(heard_behind(&mut clock, 12_100, 150, 500) > 450);
        let (_, after) = clock.span.unwrap();
        let late_after = after - (12_100 + 500 * 20 - 150) * 48;
        assert!(late_after <= late + 960, "{late} then {late_after} samples");
    }
}
