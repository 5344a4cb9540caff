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
//! [`STEP_US`], which no network does and only a restarted clock explains.

/// Speed of correction: 40 ms within 1.6 s.
const SLEW_PER_MILLE: i64 = 25;
/// Beyond this a correction is a step.
const STEP_US: i64 = 500_000;
/// A report whose NTP time moved against the local clock by more than this comes from a sender
/// that set its clock; the offset is taken anew.
const CLOCK_SET_US: i64 = 500_000;

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
    /// The same as seen at the last report's arrival, to notice a clock that was set.
    arrival_offset_us: i64,
    video: StreamClock,
    audio: StreamClock,
}

impl Timeline {
    pub(crate) fn new() -> Self {
        Self {
            offset_us: None,
            arrival_offset_us: 0,
            video: StreamClock::new(90_000),
            audio: StreamClock::new(48_000),
        }
    }

    /// The media time of a frame with RTP time `rtp` (extended, in the stream's own ticks) that
    /// arrived at `now_us`.
    pub(crate) fn place(&mut self, stream: Stream, rtp: u64, now_us: i64) -> i64 {
        let offset_us = self.offset_us;
        self.clock(stream).place(rtp, now_us, offset_us)
    }

    /// A sender report: RTP time `rtp` is NTP time `ntp_us` (microseconds of any epoch).
    pub(crate) fn report(&mut self, stream: Stream, rtp: u64, ntp_us: i64, now_us: i64) {
        let arrival_offset_us = now_us - ntp_us;
        let clock_was_set = (arrival_offset_us - self.arrival_offset_us).abs() > CLOCK_SET_US;
        self.arrival_offset_us = arrival_offset_us;
        let clock = self.clock(stream);
        clock.report = Some(Report { rtp, ntp_us });
        let local_us = clock.last.map_or(now_us, |_| clock.by_arrival(rtp, now_us));
        if self.offset_us.is_none() || clock_was_set {
            // Taken so that this stream does not move at all; the other one comes to it.
            self.offset_us = Some(local_us - ntp_us);
        }
    }

    fn clock(&mut self, stream: Stream) -> &mut StreamClock {
        match stream {
            Stream::Video => &mut self.video,
            Stream::Audio => &mut self.audio,
        }
    }
}

#[derive(Debug)]
struct Report {
    rtp: u64,
    ntp_us: i64,
}

#[derive(Debug)]
struct StreamClock {
    ticks_per_second: i64,
    /// RTP and local time of the packet that came earliest relative to its RTP time.
    earliest: Option<(u64, i64)>,
    report: Option<Report>,
    /// RTP time and result of the last frame.
    last: Option<(u64, i64)>,
}

impl StreamClock {
    fn new(ticks_per_second: i64) -> Self {
        Self {
            ticks_per_second,
            earliest: None,
            report: None,
            last: None,
        }
    }

    fn place(&mut self, rtp: u64, now_us: i64, offset_us: Option<i64>) -> i64 {
        let by_arrival = self.by_arrival(rtp, now_us);
        let target_us = match (&self.report, offset_us) {
            (Some(report), Some(offset_us)) => {
                report.ntp_us + offset_us + self.ticks_us(report.rtp, rtp)
            }
            _ => by_arrival,
        };
        let placed_us = match self.last {
            Some((last_rtp, last_us)) => {
                let step_us = self.ticks_us(last_rtp, rtp);
                let free_us = last_us + step_us;
                let error_us = target_us - free_us;
                if error_us.abs() > STEP_US {
                    target_us
                } else {
                    let most_us = step_us.abs() * SLEW_PER_MILLE / 1000;
                    free_us + error_us.clamp(-most_us, most_us)
                }
            }
            None => target_us,
        };
        self.last = Some((rtp, placed_us));
        placed_us
    }

    /// Where arrival puts `rtp`: relative to the packet that was delayed least, so that jitter of
    /// the network does not show.
    fn by_arrival(&mut self, rtp: u64, now_us: i64) -> i64 {
        if let Some((earliest_rtp, earliest_us)) = self.earliest {
            let expected_us = earliest_us + self.ticks_us(earliest_rtp, rtp);
            if expected_us <= now_us && now_us - expected_us < STEP_US {
                return expected_us;
            }
        }
        self.earliest = Some((rtp, now_us));
        now_us
    }

    fn ticks_us(&self, from: u64, to: u64) -> i64 {
        let ticks = i128::from(to) - i128::from(from);
        let us = ticks * 1_000_000 / i128::from(self.ticks_per_second);
        i64::try_from(us).unwrap_or(if us < 0 { i64::MIN / 4 } else { i64::MAX / 4 })
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
}
