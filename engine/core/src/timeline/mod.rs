//! One media clock for a publisher's streams.
//!
//! Each RTP stream counts from a random start; RTCP sender reports tell which RTP time belongs to
//! which NTP time of the sender (RFC 3550, 6.4.1). Until a stream's first report (Chromium sends
//! audio's up to 5 s late) the time of arrival stands in. All results are microseconds on the
//! local clock, so that they run on when one publisher follows another:
//!
//! ```text
//!  RTP time ──(arrival of the earliest packet)──► local time            before the first report
//!  RTP time ──(sender report)──► NTP time ──(one offset for both)──► local time      afterwards
//! ```
//!
//! The change from one to the other is never a step: a stream slews towards where its reports say
//! it belongs, [`SLEW_PER_MILLE`] of the time that passes, unless it is off by more than
//! [`STEP_US`], which only a restarted clock explains.
//!
//! A microphone that stalls, or a track that is replaced, stops the RTP clock of audio while time
//! goes on. The receiver of audio sees it by [`Timeline::audio_lateness_us`] and says so with
//! [`Timeline::shift_audio`]: that is the one step that is made at once.
//!
//! The publisher is not believed everything: a result that is further than [`TRUST_US`] from the
//! time of arrival is taken from the arrival instead. RTP times, sender reports and their NTP
//! times are the sender's word, and what follows from them costs work (silence for a gap).

mod stream_clock;

use stream_clock::{Report, StreamClock};

/// Speed of correction: 40 ms within 1.6 s.
const SLEW_PER_MILLE: i64 = 25;
/// Beyond this a correction is a step.
const STEP_US: i64 = 500_000;
/// NTP and RTP time of two reports that disagree by more than this come from a sender that set
/// its clock; the offset is taken anew.
const CLOCK_SET_US: i64 = 500_000;
/// No frame is placed further than this from its arrival: more than the longest hold-back of
/// reordering and a burst after an outage explain.
const TRUST_US: i64 = 3_000_000;
/// How much one report moves the offset towards what its arrival says, so that two clocks that run
/// at different speeds do not part over hours: 1 ms a report outruns 200 ppm.
const DRIFT_STEP_US: i64 = 1_000;
/// A report that arrives earlier than the offset allows by more than this shows that the offset is
/// wrong: no network delivers early. Such an offset was taken from a report that was held back.
const EARLY_US: i64 = 100_000;

/// A frame tells the network's delay of audio that comes so much before or after it.
const NETWORK_US: i64 = 200_000;

/// Which of a publisher's two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Video,
    Audio,
}

/// The streams of one publisher. Times are microseconds on the shard's clock.
#[derive(Debug)]
pub(crate) struct Timeline {
    /// Local time less sender's NTP time.
    offset_us: Option<i64>,
    /// The offset when it was taken, less what the arrival of that report said: the delay that
    /// belongs to it. Drift is what departs from this.
    arrival_lag_us: i64,
    /// When the last frame came, and how late.
    video_arrival: Option<(i64, i64)>,
    video: StreamClock,
    audio: StreamClock,
}

impl Timeline {
    pub(crate) fn new() -> Self {
        Self {
            offset_us: None,
            arrival_lag_us: 0,
            video_arrival: None,
            video: StreamClock::new(90_000),
            audio: StreamClock::new(48_000),
        }
    }

    /// The media time of a frame with RTP time `rtp` (extended, in the stream's own ticks) that
    /// arrived at `now_us`.
    pub(crate) fn place(&mut self, stream: Stream, rtp: u64, now_us: i64) -> i64 {
        let offset_us = self.offset_us;
        let clock = self.clock(stream);
        let late_us = clock.lateness_us(rtp, now_us).unwrap_or_default();
        let placed_us = clock.place(rtp, now_us, offset_us);
        if (placed_us - now_us).abs() <= TRUST_US {
            if stream == Stream::Video {
                self.video_arrival = Some((now_us, late_us));
            }
            return placed_us;
        }
        clock.restart(rtp, now_us);
        self.video_arrival = None;
        self.offset_us = None;
        now_us
    }

    /// How late an audio packet is that came at `arrived_us`, in microseconds, without what the
    /// network delays: negative if it is earlier than any before it. Both streams come the same way
    /// (RFC 8843), so frames that came lately tell the delay of the network.
    pub(crate) fn audio_lateness_us(&self, rtp: u64, arrived_us: i64) -> i64 {
        let late_us = self.audio.lateness_us(rtp, arrived_us).unwrap_or_default();
        let network_us = self
            .video_arrival
            .filter(|(at_us, _)| (arrived_us - at_us).abs() <= NETWORK_US)
            .map_or(0, |(_, late_us)| late_us.max(0));
        if late_us > 0 {
            (late_us - network_us).max(0)
        } else {
            late_us
        }
    }

    /// The RTP clock of audio stood still for `shift_us`, or jumped ahead if that is negative: what
    /// comes from RTP time `rtp` on belongs so much later than it says.
    pub(crate) fn shift_audio(&mut self, rtp: u64, shift_us: i64) {
        self.audio.shift(rtp, shift_us, self.offset_us);
    }

    /// A sender report: RTP time `rtp` is NTP time `ntp_us` (microseconds since 1970). A sender
    /// without a clock says zero (RFC 3550, 6.4.1), which tells nothing.
    pub(crate) fn report(&mut self, stream: Stream, rtp: u64, ntp_us: i64, now_us: i64) {
        if ntp_us <= 0 {
            return;
        }
        let offset_us = self.offset_us;
        let arrival_lag_us = self.arrival_lag_us;
        let clock = self.clock(stream);
        let clock_was_set = clock.take_report(Report {
            rtp,
            ntp_us,
            arrived_us: now_us,
        });
        let local_us = clock.local_us(rtp, now_us);
        let arrival_us = now_us - ntp_us;
        match offset_us.filter(|_| !clock_was_set) {
            None => {
                // Taken so that this stream does not move at all; the other one comes to it.
                self.offset_us = Some(local_us - ntp_us);
                self.arrival_lag_us = local_us - ntp_us - arrival_us;
            }
            Some(offset_us) => {
                // No network delivers early, so a report that comes earlier than the offset allows
                // proves that the offset is too large.
                let early_us = offset_us - arrival_us;
                if early_us > EARLY_US {
                    self.offset_us = Some(arrival_us);
                    self.arrival_lag_us = 0;
                    return;
                }
                let drift_us = arrival_us + arrival_lag_us - offset_us;
                let step_us = drift_us.clamp(-DRIFT_STEP_US, DRIFT_STEP_US);
                self.offset_us = Some(offset_us + step_us);
            }
        }
    }

    fn clock(&mut self, stream: Stream) -> &mut StreamClock {
        match stream {
            Stream::Video => &mut self.video,
            Stream::Audio => &mut self.audio,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    /// Frames every 20 ms of both streams; each stream's packets arrive `delay` after capture.
    struct Sender {
        timeline: Timeline,
        now_us: i64,
        audio_delay_us: i64,
        video_delay_us: i64,
    }

    impl Sender {
        fn new(audio_delay_us: i64, video_delay_us: i64) -> Self {
            Self {
                timeline: Timeline::new(),
                now_us: 0,
                audio_delay_us,
                video_delay_us,
            }
        }

        /// Audio and video captured at the same moment; the difference of where they are placed.
        fn tick(&mut self) -> i64 {
            self.now_us += 20_000;
            let capture = u64::try_from(self.now_us).unwrap();
            let audio = self.timeline.place(
                Stream::Audio,
                7_000 + capture * 48 / 1000,
                self.now_us + self.audio_delay_us,
            );
            let video = self.timeline.place(
                Stream::Video,
                9_000_000 + capture * 90 / 1000,
                self.now_us + self.video_delay_us,
            );
            audio - video
        }

        fn report(&mut self, stream: Stream, ntp_shift_us: i64) {
            let capture = u64::try_from(self.now_us).unwrap();
            let rtp = match stream {
                Stream::Audio => 7_000 + capture * 48 / 1000,
                Stream::Video => 9_000_000 + capture * 90 / 1000,
            };
            let ntp_us = 3_900_000_000 * SECOND + self.now_us + ntp_shift_us;
            self.timeline
                .report(stream, rtp, ntp_us, self.now_us + 30_000);
        }
    }

    #[test]
    fn without_reports_arrival_decides() {
        let mut sender = Sender::new(20_000, 50_000);
        for _ in 0..100 {
            assert_eq!(sender.tick(), -30_000);
        }
    }

    #[test]
    fn reports_bring_audio_and_video_together_within_two_seconds_without_a_step() {
        let mut sender = Sender::new(20_000, 60_000);
        sender.tick();
        sender.report(Stream::Video, 0);
        let mut before = sender.tick();
        sender.report(Stream::Audio, 0);
        for _ in 0..100 {
            let now = sender.tick();
            assert!(
                (now - before).abs() <= 1_000,
                "stepped from {before} to {now}"
            );
            before = now;
        }
        assert!(
            before.abs() < 1_000,
            "still {before} us apart after two seconds"
        );
    }

    #[test]
    fn a_sender_that_sets_its_clock_moves_nothing() {
        let mut sender = Sender::new(20_000, 20_000);
        for stream in [Stream::Video, Stream::Audio] {
            sender.tick();
            sender.report(stream, 0);
        }
        for _ in 0..100 {
            sender.tick();
        }
        let hour = 3_600 * SECOND;
        sender.report(Stream::Video, hour);
        sender.report(Stream::Audio, hour);
        for _ in 0..50 {
            let apart = sender.tick();
            assert!(
                apart.abs() < 2_000,
                "{apart} us apart after the clock was set"
            );
        }
    }

    #[test]
    fn jitter_of_the_network_does_not_show() {
        let mut timeline = Timeline::new();
        let mut last = timeline.place(Stream::Video, 0, 0);
        for n in 1..1000_u64 {
            let jitter = i64::try_from(n * 7919 % 40).unwrap() * 1000;
            let placed = timeline.place(Stream::Video, n * 3000, n as i64 * 33_333 + jitter);
            let step = placed - last;
            assert!(
                (32_000..=35_000).contains(&step),
                "frame {n} stepped by {step} us"
            );
            last = placed;
        }
    }

    #[test]
    fn a_late_report_moves_nothing() {
        let mut sender = Sender::new(20_000, 20_000);
        for stream in [Stream::Video, Stream::Audio] {
            sender.tick();
            sender.report(stream, 0);
        }
        for _ in 0..100 {
            sender.tick();
        }
        // Held back by the network for 700 ms.
        let rtp = 9_000_000 + u64::try_from(sender.now_us).unwrap() * 90 / 1000;
        let ntp_us = 3_900_000_000 * SECOND + sender.now_us;
        sender
            .timeline
            .report(Stream::Video, rtp, ntp_us, sender.now_us + 700_000);
        for _ in 0..50 {
            let apart = sender.tick();
            assert!(apart.abs() < 2_000, "{apart} us apart");
        }
    }

    #[test]
    fn a_first_report_that_is_late_moves_nothing_when_the_next_is_in_time() {
        for late_ms in [100, 150, 300, 450] {
            let mut sender = Sender::new(20_000, 20_000);
            for _ in 0..20 {
                sender.tick();
            }
            for second in 0..10 {
                let late_us = if second == 0 { late_ms * 1_000 } else { 30_000 };
                for stream in [Stream::Video, Stream::Audio] {
                    let rtp = match stream {
                        Stream::Video => {
                            9_000_000 + u64::try_from(sender.now_us).unwrap() * 90 / 1000
                        }
                        Stream::Audio => 7_000 + u64::try_from(sender.now_us).unwrap() * 48 / 1000,
                    };
                    let ntp_us = 3_900_000_000 * SECOND + sender.now_us;
                    sender
                        .timeline
                        .report(stream, rtp, ntp_us, sender.now_us + late_us);
                }
                for _ in 0..50 {
                    sender.tick();
                    let placed_us = sender.timeline.place(
                        Stream::Video,
                        9_000_000 + u64::try_from(sender.now_us).unwrap() * 90 / 1000,
                        sender.now_us + 20_000,
                    );
                    let off_us = placed_us - sender.now_us - 20_000;
                    assert!(
                        off_us.abs() < 40_000,
                        "{late_ms} ms late, second {second}: {off_us} us"
                    );
                }
            }
        }
    }

    #[test]
    fn reports_without_a_clock_tell_nothing() {
        let mut timeline = Timeline::new();
        let mut last_us = timeline.place(Stream::Video, 0, 0);
        for n in 1..100_u64 {
            timeline.report(Stream::Video, n * 3000, 0, n as i64 * 33_333);
            timeline.report(Stream::Audio, n * 1600, -1, n as i64 * 33_333);
            let placed_us = timeline.place(Stream::Video, n * 3000, n as i64 * 33_333);
            assert!((32_000..35_000).contains(&(placed_us - last_us)));
            last_us = placed_us;
        }
    }

    #[test]
    fn a_wrap_between_the_first_packet_and_the_first_report_is_no_jump() {
        let mut timeline = Timeline::new();
        let first = u64::from(u32::MAX) - 90_000;
        for n in 0..300_u64 {
            let now_us = n as i64 * 33_333;
            if n == 150 {
                // The report is extended on its own: its upper half starts from zero.
                let raw = u64::from((first + n * 3000) as u32);
                timeline.report(Stream::Video, raw, 3_900_000_000 * SECOND + now_us, now_us);
            }
            let placed_us = timeline.place(Stream::Video, first + n * 3000, now_us);
            assert!(
                (placed_us - now_us).abs() < 100_000,
                "frame {n} is placed at {placed_us}"
            );
        }
    }

    #[test]
    fn times_that_run_away_are_not_believed() {
        let mut timeline = Timeline::new();
        timeline.place(Stream::Audio, 0, 0);
        timeline.report(Stream::Audio, 0, 3_900_000_000 * SECOND, 0);
        for n in 1..200_u64 {
            let now_us = n as i64 * 20_000;
            let placed_us = timeline.place(Stream::Audio, n * 96_000, now_us);
            assert!(
                (placed_us - now_us).abs() <= TRUST_US,
                "packet {n} is placed at {placed_us}"
            );
        }
    }

    #[test]
    fn clocks_of_different_speed_do_not_part_over_hours() {
        let mut timeline = Timeline::new();
        let hours = 8 * 3_600_i64;
        for second in 0..hours {
            // The sender's second is 100 ppm shorter than ours.
            let now_us = second * SECOND - second * 100;
            let rtp = u64::try_from(second).unwrap() * 90_000;
            let placed_us = timeline.place(Stream::Video, rtp, now_us);
            timeline.report(
                Stream::Video,
                rtp,
                3_900_000_000 * SECOND + second * SECOND,
                now_us,
            );
            assert!(
                (placed_us - now_us).abs() < 100_000,
                "after {second} s: {placed_us}"
            );
        }
    }
}
