//! A publisher with a microphone and a camera, the network to the shard, and what is heard of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::gap_filler::{AudioGapFiller, Feed};
use crate::{
    timeline::{Stream, Timeline},
    webrtc::audio_receiver::{AudioReceiver, OpusArrival},
};

/// CELT, 20 ms.
pub(super) const OPUS: &[u8] = &[0xfc, 0xff, 0xfe];
pub(super) const PACKET_US: i64 = 20_000;
pub(super) const FRAME_US: i64 = 33_333;
/// Without media for so long silence is made by the clock.
pub(super) const SILENT_US: i64 = 400_000;
pub(super) const PAUSE_AT_US: i64 = 6_000_000;
pub(super) const NTP_US: i64 = 1_700_000_000_000_000;

#[derive(Clone, Copy, Debug)]
pub(super) struct Show {
    pub(super) pause_us: i64,
    /// What the RTP times show of the pause.
    pub(super) jump_us: i64,
    /// Distance of sender reports; 0 for none.
    pub(super) reports_us: i64,
    /// How fast the sender's clocks are, in parts per million.
    pub(super) drift_ppm: i64,
    /// Each datagram takes 20 ms and up to so much more.
    pub(super) jitter_us: i64,
    pub(super) video: bool,
    pub(super) network: Network,
    pub(super) seed: u64,
}

/// What the network does at the time of the pause.
#[derive(Clone, Copy, Debug)]
pub(super) enum Network {
    Steady,
    /// Keeps all for so long and then delivers it at ten times its pace.
    Stalls(i64),
    /// Does so with audio alone.
    StallsAudio(i64),
    /// A queue grows to so much within a second, stays for five and is empty a second later.
    Queues(i64),
}

impl Network {
    /// Length of the stall.
    pub(super) fn stall_us(self) -> i64 {
        match self {
            Self::Stalls(us) | Self::StallsAudio(us) => us,
            Self::Steady | Self::Queues(_) => 0,
        }
    }

    /// When it delivers what was sent at `at_us`, `jitter_us` later if it does not queue.
    pub(super) fn delivers_us(self, stream: Stream, at_us: i64, jitter_us: i64) -> i64 {
        const SECOND_US: i64 = 1_000_000;
        let since_us = at_us - PAUSE_AT_US;
        let network = match self {
            Self::StallsAudio(us) if stream == Stream::Audio => Self::Stalls(us),
            other => other,
        };
        let delay_us = match network {
            Self::Stalls(stall_us) if (0..stall_us).contains(&since_us) => {
                stall_us - since_us + since_us / 10
            }
            // What was sent meanwhile waits for its turn.
            Self::Stalls(stall_us) if since_us >= stall_us => {
                (stall_us + stall_us / 10 - since_us).max(0)
            }
            Self::Queues(queue_us) => match since_us {
                ..0 => 0,
                0..SECOND_US => queue_us * since_us / SECOND_US,
                SECOND_US..6_000_000 => queue_us,
                6_000_000..7_000_000 => queue_us * (7 * SECOND_US - since_us) / SECOND_US,
                _ => 0,
            },
            _ => 0,
        };
        at_us + 20_000 + delay_us.max(jitter_us)
    }
}

#[derive(Debug)]
pub(super) enum Sent {
    Audio {
        sequence: u64,
        rtp: u64,
    },
    Video {
        rtp: u64,
    },
    Report {
        stream: Stream,
        rtp: u64,
        ntp_us: i64,
    },
}

#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Capture times of packets that were fed, and where they were put.
    pub(super) packets: Vec<(i64, i64)>,
    /// Capture times of frames, and where they were put.
    pub(super) pictures: Vec<(i64, i64)>,
    /// Samples fed in all, and the position behind them.
    pub(super) fed: i64,
    pub(super) end: i64,
}

impl Show {
    pub(super) fn end_us(&self) -> i64 {
        PAUSE_AT_US + self.pause_us.max(self.network.stall_us()) + 12_000_000
    }

    /// All that is sent: when it was captured, when it arrives, and what it is.
    pub(super) fn sent(&self) -> Vec<(i64, i64, Sent)> {
        let mut random = self.seed;
        let mut jitter = || {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (random >> 33) as i64 % (self.jitter_us + 1)
        };
        let end_us = self.end_us();
        let sender_us = |at_us: i64| at_us + at_us * self.drift_ppm / 1_000_000;
        let video_rtp = |at_us: i64| 900_000 + (sender_us(at_us) * 9 / 100) as u64;
        let resumes_us = PAUSE_AT_US + self.pause_us;
        let audio_rtp = |at_us: i64| {
            let media_us = match at_us < resumes_us {
                true => sender_us(at_us.min(PAUSE_AT_US)),
                false => sender_us(PAUSE_AT_US) + self.jump_us + sender_us(at_us - resumes_us),
            };
            (4_000_000_000 + media_us * 48 / 1_000) as u64
        };
        let mut sent = Vec::new();
        let mut sequence = 0;
        let mut last_us = 0;
        for at_us in (0..end_us).step_by(PACKET_US as usize) {
            let paused = (PAUSE_AT_US..resumes_us).contains(&at_us);
            if !paused {
                // A browser's packets do not overtake each other within a stream.
                last_us =
                    (self.network.delivers_us(Stream::Audio, at_us, jitter())).max(last_us + 100);
                let rtp = audio_rtp(at_us);
                sent.push((at_us, last_us, Sent::Audio { sequence, rtp }));
                sequence += 1;
            }
            if self.reports_us > 0 && at_us % self.reports_us == 500_000 {
                let ntp_us = NTP_US + sender_us(at_us);
                let mut report = |stream, rtp| {
                    let report = Sent::Report {
                        stream,
                        rtp,
                        ntp_us,
                    };
                    let arrives_us = self.network.delivers_us(stream, at_us, jitter());
                    sent.push((at_us, arrives_us, report));
                };
                report(Stream::Video, video_rtp(at_us));
                if !paused {
                    report(Stream::Audio, audio_rtp(at_us));
                }
            }
        }
        if self.video {
            for at_us in (0..end_us).step_by(FRAME_US as usize) {
                let rtp = video_rtp(at_us);
                let arrives_us = self.network.delivers_us(Stream::Video, at_us, jitter());
                sent.push((at_us, arrives_us, Sent::Video { rtp }));
            }
        }
        sent.sort_by_key(|(_, arrives_us, _)| *arrives_us);
        sent
    }

    pub(super) fn play(&self) -> Heard {
        let epoch = Instant::now();
        let mut timeline = Timeline::new();
        let mut receiver = AudioReceiver::default();
        let mut clock = AudioGapFiller::default();
        let mut heard = Heard::default();
        let mut captured = std::collections::VecDeque::new();
        let mut tick_us = 0;
        let mut media_us = i64::MAX;
        for (at_us, arrives_us, sent) in self.sent() {
            while tick_us < arrives_us {
                tick_us += 5_000;
                let now = epoch + Duration::from_micros(tick_us as u64);
                receiver.timeout(now, &mut timeline);
                heard.take(&mut receiver, &mut clock, &mut captured);
                // As `Ingest::fill` does where nothing comes, whatever the publisher offers.
                if tick_us % 100_000 == 0 && tick_us.saturating_sub(media_us) >= SILENT_US {
                    let feed = clock.advance(tick_us);
                    heard.feed(feed.into_iter().collect(), None);
                }
            }
            let now = epoch + Duration::from_micros(arrives_us as u64);
            if !matches!(sent, Sent::Report { .. }) {
                media_us = arrives_us;
            }
            match sent {
                Sent::Audio { sequence, rtp } => {
                    captured.push_back(at_us);
                    let arrival = OpusArrival {
                        sequence,
                        rtp,
                        arrived_us: arrives_us,
                        packet: Arc::from(OPUS),
                    };
                    receiver.packet(now, &mut timeline, arrival);
                    heard.take(&mut receiver, &mut clock, &mut captured);
                    if let Some(since_us) = receiver.held_since_us() {
                        clock.held(since_us);
                    }
                }
                Sent::Video { rtp } => {
                    let pts_us = timeline.place(Stream::Video, rtp, arrives_us);
                    heard.pictures.push((at_us, pts_us));
                    let feed = clock.advance(pts_us);
                    heard.feed(feed.into_iter().collect(), None);
                }
                Sent::Report {
                    stream,
                    rtp,
                    ntp_us,
                } => {
                    timeline.report(stream, rtp, ntp_us, arrives_us);
                }
            }
            heard.check_accounts(&clock);
        }
        heard
    }
}

impl Heard {
    pub(super) fn take(
        &mut self,
        receiver: &mut AudioReceiver,
        clock: &mut AudioGapFiller,
        captured: &mut std::collections::VecDeque<i64>,
    ) {
        while let Some(opus) = receiver.poll() {
            let at_us = captured.pop_front().unwrap();
            let feeds = clock.packet(opus.pts_us, 960, opus.lost);
            if self.end == 0 {
                self.end = opus.pts_us * 48 / 1_000;
            }
            self.feed(feeds, Some(at_us));
        }
    }

    pub(super) fn feed(&mut self, feeds: Vec<Feed>, captured_us: Option<i64>) {
        for feed in feeds {
            let samples = match feed {
                Feed::Packet => {
                    self.packets
                        .push((captured_us.unwrap(), self.end * 1_000 / 48));
                    960
                }
                Feed::Recover(samples) | Feed::Conceal(samples) | Feed::Silence(samples) => {
                    samples.into()
                }
            };
            self.fed += samples;
            self.end += samples;
        }
    }

    /// Frames of the encoder are placed by counting samples from the origin.
    pub(super) fn check_accounts(&mut self, clock: &AudioGapFiller) {
        if let Some(origin_us) = clock.origin_us() {
            // What is jumped over moves the origin and not the samples.
            self.end = self.fed + origin_us * 48 / 1_000;
        }
    }

    /// Audio of the microphone, from its return to the first that is heard, and to when all is.
    pub(super) fn lost_after_return_us(&self, returns_us: i64) -> (i64, i64) {
        let first = self
            .packets
            .iter()
            .map(|(at_us, _)| *at_us)
            .find(|at_us| *at_us >= returns_us);
        let heard = self
            .packets
            .iter()
            .filter(|(at_us, _)| *at_us >= returns_us + 500_000)
            .count();
        let said = (12_000_000 - 500_000) / PACKET_US;
        (
            first.map_or(i64::MAX, |at_us| at_us - returns_us),
            (said - heard as i64) * PACKET_US,
        )
    }

    /// How far the frames from `since_us` on are placed behind their capture, at most.
    pub(super) fn ahead_us(&self, since_us: i64) -> i64 {
        let pictures = self.pictures.iter();
        let shown = pictures.filter(|(at_us, _)| *at_us >= since_us);
        let ahead_us = shown.map(|(at_us, placed_us)| placed_us - at_us);
        ahead_us.max().unwrap_or_default()
    }

    /// The worst distance of audio from frame, from half a second behind the return on.
    pub(super) fn apart_us(&self, since_us: i64) -> i64 {
        let mut worst_us = 0_i64;
        for (at_us, placed_us) in self.packets.iter().filter(|(at_us, _)| *at_us >= since_us) {
            let near = self
                .pictures
                .iter()
                .min_by_key(|(shown_us, _)| (shown_us - at_us).abs());
            let Some((shown_us, picture_us)) = near else {
                return 0;
            };
            let apart_us = placed_us - picture_us - (at_us - shown_us);
            if apart_us.abs() > worst_us.abs() {
                worst_us = apart_us;
            }
        }
        worst_us
    }
}
