//! Proves: whatever a microphone does, what it says is heard. It stops for 60 ms to 10 s, its RTP
//! clock stops with it, goes on, or jumps; with sender reports and without, with drift, with jitter,
//! beside pictures and alone. Sound is back at once and in step with the picture, and what is fed to
//! the encoder has no hole.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{
    Intake, LaneFeed,
    audio_clock::{AudioClock, Feed},
};
use crate::{
    timeline::{Stream, Timeline},
    webrtc::audio_receiver::{AudioReceiver, OpusArrival, PlacedOpus},
};

/// CELT, 20 ms.
const OPUS: &[u8] = &[0xfc, 0xff, 0xfe];
const PACKET_US: i64 = 20_000;
const FRAME_US: i64 = 33_333;
const PAUSE_AT_US: i64 = 6_000_000;
const NTP_US: i64 = 1_700_000_000_000_000;

#[derive(Clone, Copy, Debug)]
struct Show {
    pause_us: i64,
    /// What the RTP times show of the pause.
    jump_us: i64,
    /// Distance of sender reports; 0 for none.
    reports_us: i64,
    /// How fast the sender's clocks are, in parts per million.
    drift_ppm: i64,
    /// Each datagram takes 20 ms and up to so much more.
    jitter_us: i64,
    video: bool,
    network: Network,
    seed: u64,
}

/// What the network does at the time of the pause.
#[derive(Clone, Copy, Debug)]
enum Network {
    Steady,
    /// Keeps all for so long and then delivers it at ten times its pace.
    Stalls(i64),
    /// A queue grows to so much within a second, stays for five and is empty a second later.
    Queues(i64),
}

impl Network {
    /// When it delivers what was sent at `at_us`, `jitter_us` later if it does not queue.
    fn delivers_us(self, at_us: i64, jitter_us: i64) -> i64 {
        const SECOND_US: i64 = 1_000_000;
        let since_us = at_us - PAUSE_AT_US;
        let delay_us = match self {
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
enum Sent {
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
struct Heard {
    /// Capture times of packets that were fed, and where they were put.
    packets: Vec<(i64, i64)>,
    /// Capture times of pictures, and where they were put.
    pictures: Vec<(i64, i64)>,
    /// Samples fed in all, and the position behind them.
    fed: i64,
    end: i64,
}

impl Show {
    /// All that is sent: when it was captured, when it arrives, and what it is.
    fn sent(&self) -> Vec<(i64, i64, Sent)> {
        let mut random = self.seed;
        let mut jitter = || {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (random >> 33) as i64 % (self.jitter_us + 1)
        };
        let end_us = PAUSE_AT_US + self.pause_us + 12_000_000;
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
                last_us = (self.network.delivers_us(at_us, jitter())).max(last_us + 100);
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
                    sent.push((at_us, self.network.delivers_us(at_us, jitter()), report));
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
                let arrives_us = self.network.delivers_us(at_us, jitter());
                sent.push((at_us, arrives_us, Sent::Video { rtp }));
            }
        }
        sent.sort_by_key(|(_, arrives_us, _)| *arrives_us);
        sent
    }

    fn play(&self) -> Heard {
        let epoch = Instant::now();
        let mut timeline = Timeline::new();
        let mut receiver = AudioReceiver::default();
        let mut clock = AudioClock::default();
        let mut heard = Heard::default();
        let mut captured = std::collections::VecDeque::new();
        let mut tick_us = 0;
        for (at_us, arrives_us, sent) in self.sent() {
            while tick_us < arrives_us {
                tick_us += 5_000;
                let now = epoch + Duration::from_micros(tick_us as u64);
                receiver.timeout(now, &mut timeline);
                heard.take(&mut receiver, &mut clock, &mut captured);
                if !self.video && tick_us % 100_000 == 0 && heard.silent_since(tick_us) {
                    let feed = clock.advance(tick_us);
                    heard.feed(feed.into_iter().collect(), None);
                }
            }
            let now = epoch + Duration::from_micros(arrives_us as u64);
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
    fn take(
        &mut self,
        receiver: &mut AudioReceiver,
        clock: &mut AudioClock,
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

    fn feed(&mut self, feeds: Vec<Feed>, captured_us: Option<i64>) {
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

    fn silent_since(&self, now_us: i64) -> bool {
        let last_us = self.packets.last().map_or(0, |(at_us, _)| at_us + 20_000);
        now_us - last_us > 400_000
    }

    /// Frames of the encoder are placed by counting samples from the origin.
    fn check_accounts(&mut self, clock: &AudioClock) {
        if let Some(origin_us) = clock.origin_us() {
            // What is jumped over moves the origin and not the samples.
            self.end = self.fed + origin_us * 48 / 1_000;
        }
    }

    /// Sound of the microphone, from its return to the first that is heard, and to when all is.
    fn lost_after_return_us(&self, returns_us: i64) -> (i64, i64) {
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

    /// The worst distance of sound from picture, from half a second behind the return on.
    fn apart_us(&self, since_us: i64) -> i64 {
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

/// Each pause with each way in which the RTP times show it, on all kinds of networks.
fn pauses() -> Vec<Show> {
    let mut shows = Vec::new();
    for pause_ms in [
        60, 100, 150, 200, 300, 400, 700, 1_000, 1_500, 3_000, 4_000, 10_000,
    ] {
        for jump_ms in [
            0,
            pause_ms / 2,
            pause_ms,
            pause_ms + 300,
            pause_ms + 40_000_000,
        ] {
            shows.extend(networks().map(|show| Show {
                pause_us: pause_ms * 1_000,
                jump_us: jump_ms * 1_000,
                ..show
            }));
        }
    }
    seeded(shows)
}

fn networks() -> impl Iterator<Item = Show> {
    let reports = [0, 1_000_000, 5_000_000];
    let of = |reports_us, drift_ppm, jitter_us, video| Show {
        pause_us: 0,
        jump_us: 0,
        reports_us,
        drift_ppm,
        jitter_us,
        video,
        network: Network::Steady,
        seed: 0,
    };
    let mut shows = Vec::new();
    for reports_us in reports {
        for drift_ppm in [-200, 0, 200] {
            for jitter_us in [0, 30_000, 80_000] {
                shows
                    .extend([true, false].map(|video| of(reports_us, drift_ppm, jitter_us, video)));
            }
        }
    }
    shows.into_iter()
}

fn seeded(mut shows: Vec<Show>) -> Vec<Show> {
    for (seed, show) in (1..).zip(&mut shows) {
        show.seed = seed;
    }
    shows
}

#[test]
fn what_is_said_after_any_pause_is_heard_at_once_and_in_step() {
    for show in pauses() {
        let heard = show.play();
        let returns_us = PAUSE_AT_US + show.pause_us;
        let (first_us, missing_us) = heard.lost_after_return_us(returns_us);
        let apart_us = heard.apart_us(returns_us + 500_000);
        let told = format!("{show:?}");
        assert!(
            first_us <= 200_000,
            "{told}: first heard {first_us} us late"
        );
        assert!(
            missing_us <= 100_000,
            "{told}: {missing_us} us left out later"
        );
        assert!(
            apart_us.abs() <= 100_000,
            "{told}: {apart_us} us from the picture"
        );
    }
}

#[test]
fn a_publisher_that_is_lost_while_its_sound_is_held_leaves_silence() {
    let epoch = Instant::now();
    let at = |ms: u64| epoch + Duration::from_millis(ms);
    let mut intake = Intake::new(Duration::from_secs(2));
    intake.start(at(0), false);
    for n in 0..50 {
        let opus = PlacedOpus {
            pts_us: n * PACKET_US,
            packet: Arc::from(OPUS),
            lost: 0,
        };
        intake.audio(at(n as u64 * 20), &opus);
    }
    intake.audio_held(at(1_000), 1_000_000);
    intake.stop(at(1_050));
    intake.lane_feeds.clear();
    for ms in (1_050..3_000).step_by(50) {
        intake.fill(at(ms), ms as i64 * 1_000);
    }
    let silent: u32 = intake.lane_feeds.iter().map(LaneFeed::samples).sum();
    assert!(
        silent > 48 * 1_700,
        "{silent} samples of silence in two seconds"
    );
}

#[test]
fn a_network_that_holds_everything_back_moves_no_sound_against_the_picture() {
    let mut shows = Vec::new();
    for ms in [100, 200, 300, 600, 1_000, 2_000] {
        for network in [
            Network::Stalls(ms * 1_000),
            Network::Queues(ms.min(400) * 1_000),
        ] {
            shows.extend(networks().map(|show| Show { network, ..show }));
        }
    }
    for show in seeded(shows) {
        let heard = show.play();
        let apart_us = heard.apart_us(PAUSE_AT_US);
        let (_, missing_us) = heard.lost_after_return_us(PAUSE_AT_US);
        // Without pictures there is nothing that tells a full queue from a stopped clock, and nothing
        // that sound could be out of step with.
        let missing_us_max = if show.video { 100_000 } else { 300_000 };
        let told = format!("{show:?}");
        assert!(
            missing_us <= missing_us_max,
            "{told}: {missing_us} us left out"
        );
        assert!(
            apart_us.abs() <= 100_000,
            "{told}: {apart_us} us from the picture"
        );
    }
}
