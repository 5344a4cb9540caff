//! What a viewer is sent and how it arrives: str0m's counts and the client's receiver reports, put together as
//! one report for control.

use std::time::{Duration, Instant};

use shardcast_link::ViewerReport;
use str0m::{
    media::Mid,
    stats::{MediaEgressStats, PeerStats},
};

use crate::limits::VIEWER_REPORT_MS;

/// Cumulative loss is a signed number of 24 bits (RFC 3550, 6.4.1); duplicates make it negative.
const LOSS_NEGATIVE: u64 = 1 << 23;

/// How the path to a viewer is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PathSample {
    pub(crate) at: Instant,
    /// What was sent since the last sample, in bits a second.
    pub(crate) sent_bps: u64,
    /// The share of packets of the last second that were lost, 0 to 1, of those that the client has reported.
    pub(crate) loss: Option<f32>,
    /// From sending a packet to the report of it, of the newest that was reported.
    pub(crate) rtt: Option<Duration>,
}

/// Counts of one track at one time.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    packets: u64,
    bytes: u64,
    lost: u64,
    nacks: u64,
    plis: u64,
}

/// One track as it arrives.
#[derive(Clone, Copy, Debug, Default)]
struct Track {
    now: Counts,
    reported: Counts,
    /// In RTP ticks.
    jitter: Option<u32>,
    rtt: Option<Duration>,
    /// Of the newest receiver reports, 0 to 1.
    loss: Option<f32>,
}

/// Gathers one report at a time. str0m tells the parts of one look one after the other.
#[derive(Debug)]
pub(super) struct Delivery {
    since: Option<Instant>,
    reported_at: Instant,
    /// Pictures sent, and how many of them were reported.
    frames: (u64, u64),
    video: Track,
    audio: Track,
    path_rtt: Option<Duration>,
    /// Of each packet, where the client reports them (transport-wide congestion control).
    packet_rtt: Option<Duration>,
    packet_loss: Option<f32>,
    /// Bytes of the last sample of the path, and when it was.
    sampled: (u64, Instant),
    is_sample_due: bool,
    /// Control is told with the look that comes so long after the last time, in milliseconds.
    told_after_ms: u64,
    /// Something was told since the last report.
    is_due: bool,
}

impl Delivery {
    /// str0m is looked at every `look_ms` milliseconds: more often than control is told.
    pub(super) fn new(now: Instant, look_ms: u64) -> Self {
        Self {
            since: None,
            reported_at: now,
            frames: (0, 0),
            video: Track::default(),
            audio: Track::default(),
            path_rtt: None,
            packet_rtt: None,
            packet_loss: None,
            sampled: (0, now),
            is_sample_due: false,
            told_after_ms: VIEWER_REPORT_MS.saturating_sub(look_ms / 2),
            is_due: false,
        }
    }

    /// Media flows.
    pub(super) fn connected(&mut self, now: Instant) {
        self.since = Some(now);
        self.reported_at = now;
    }

    /// The last packet of a picture was sent.
    pub(super) fn picture(&mut self) {
        self.frames.0 += 1;
    }

    pub(super) fn peer(&mut self, stats: &PeerStats) {
        let pair = stats.selected_candidate_pair.as_ref();
        self.path_rtt = pair.and_then(|pair| pair.current_round_trip_time);
        self.packet_rtt = stats.rtt;
        self.packet_loss = stats.egress_loss_fraction;
        self.is_due = true;
        self.is_sample_due = true;
    }

    /// What str0m tells of one track; `video` is the one that carries pictures.
    pub(super) fn track(&mut self, stats: &MediaEgressStats, video: Option<Mid>) {
        let is_video = Some(stats.mid) == video;
        let track = if is_video {
            &mut self.video
        } else {
            &mut self.audio
        };
        let remote = stats.remote.as_ref();
        let lost = remote.map_or(0, |remote| remote.packets_lost);
        track.now = Counts {
            packets: stats.packets,
            bytes: stats.bytes,
            lost: if lost < LOSS_NEGATIVE { lost } else { 0 },
            nacks: stats.nacks,
            plis: stats.plis,
        };
        track.jitter = remote.map(|remote| remote.jitter);
        track.rtt = stats.rtt;
        track.loss = stats.loss.or(track.loss);
        self.is_due = true;
    }

    /// How the path is, when all parts of a look were told.
    pub(super) fn path(&mut self, now: Instant) -> Option<PathSample> {
        let (bytes_before, before) = self.sampled;
        if !std::mem::take(&mut self.is_sample_due) || self.since.is_none() {
            return None;
        }
        let bytes = self.video.now.bytes + self.audio.now.bytes;
        self.sampled = (bytes, now);
        let passed_ms = ms(now.saturating_duration_since(before)).max(1);
        Some(PathSample {
            at: now,
            sent_bps: 8_000 * bytes.saturating_sub(bytes_before) / passed_ms,
            loss: self.packet_loss.or(self.video.loss),
            rtt: self.packet_rtt.or(self.video.rtt),
        })
    }

    /// The report, when all parts of a look were told and media has flowed for a while.
    pub(super) fn take(&mut self, now: Instant, has_video: bool) -> Option<ViewerReport> {
        let since = self.since.filter(|_| self.is_due)?;
        self.is_due = false;
        let passed_ms = ms(now.saturating_duration_since(self.reported_at));
        if passed_ms < self.told_after_ms {
            return None;
        }
        let a_second = |now: u64, before: u64| now.saturating_sub(before) * 1_000 / passed_ms;
        let bps = |track: &Track| 8 * a_second(track.now.bytes, track.reported.bytes);
        let packets = |track: &Track| small(a_second(track.now.packets, track.reported.packets));
        let (video, audio) = (&self.video, &self.audio);
        let (of, ticks_per_ms) = if has_video { (video, 90) } else { (audio, 48) };
        let lost = of.now.lost.saturating_sub(of.reported.lost);
        let sent = of.now.packets.saturating_sub(of.reported.packets);
        let permille = small((1_000 * lost).checked_div(sent).unwrap_or(0)).min(1_000);
        let rtt = video.rtt.or(audio.rtt).or(self.path_rtt);
        let report = ViewerReport {
            remote: String::new(),
            watched_ms: ms(now.saturating_duration_since(since)),
            video_packets: video.now.packets,
            video_bytes: video.now.bytes,
            audio_packets: audio.now.packets,
            audio_bytes: audio.now.bytes,
            frames: self.frames.0,
            video_bps: bps(video),
            audio_bps: bps(audio),
            video_packets_per_second: packets(video),
            audio_packets_per_second: packets(audio),
            frames_per_second: small(a_second(self.frames.0, self.frames.1)),
            packets_lost: video.now.lost + audio.now.lost,
            loss_permille: of.jitter.map(|_| permille),
            jitter_ms: of.jitter.map(|ticks| ticks / ticks_per_ms),
            rtt_ms: rtt.map(|rtt| small(ms(rtt))),
            nacks: video.now.nacks + audio.now.nacks,
            plis: video.now.plis + audio.now.plis,
            estimate_bps: None,
        };
        self.reported_at = now;
        self.frames.1 = self.frames.0;
        for track in [&mut self.video, &mut self.audio] {
            track.reported = track.now;
        }
        Some(report)
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use str0m::stats::RemoteIngressStats;

    use super::*;
    use crate::limits::VIEWER_PATH_MS;

    fn stats(mid: &str, packets: u64, lost: u64, now: Instant) -> MediaEgressStats {
        MediaEgressStats {
            mid: Mid::from(mid),
            rid: None,
            bytes: 1_000 * packets,
            packets,
            firs: 0,
            plis: 1,
            nacks: 2,
            rtt: Some(Duration::from_millis(40)),
            loss: Some(0.05),
            timestamp: now,
            remote: Some(RemoteIngressStats {
                jitter: 900,
                maximum_sequence_number: 7.into(),
                packets_lost: lost,
            }),
        }
    }

    #[test]
    fn rates_are_of_the_time_since_the_last_report_and_counts_of_the_session() {
        let (t0, video) = (Instant::now(), Some(Mid::from("v")));
        let mut delivery = Delivery::new(t0, VIEWER_REPORT_MS);
        delivery.track(&stats("v", 1, 0, t0), video);
        assert_eq!(delivery.take(t0, true), None, "media does not flow yet");
        delivery.connected(t0);
        let at = |seconds| t0 + Duration::from_secs(seconds);
        delivery.track(&stats("v", 1_000, 50, t0), video);
        delivery.track(&stats("a", 100, 0, t0), video);
        for _ in 0..60 {
            delivery.picture();
        }
        let first = delivery.take(at(2), true).unwrap();
        assert_eq!((first.video_bps, first.audio_bps), (4_000_000, 400_000));
        assert_eq!((first.frames_per_second, first.packets_lost), (30, 50));
        assert_eq!(
            (first.loss_permille, first.jitter_ms, first.rtt_ms),
            (Some(50), Some(10), Some(40))
        );
        assert_eq!(delivery.take(at(3), true), None, "nothing was told since");
        delivery.track(&stats("v", 1_500, 50, t0), video);
        let second = delivery.take(at(4), true).unwrap();
        assert_eq!((second.video_packets, second.video_bps), (1_500, 2_000_000));
        assert_eq!((second.audio_bps, second.frames_per_second), (0, 0));
        assert_eq!(second.watched_ms, 4_000);
    }

    #[test]
    fn a_negative_loss_is_none() {
        let (t0, video) = (Instant::now(), Some(Mid::from("v")));
        let mut delivery = Delivery::new(t0, VIEWER_REPORT_MS);
        delivery.connected(t0);
        delivery.track(&stats("v", 9, 0x00ff_ffff, t0), video);
        let report = delivery.take(t0 + Duration::from_secs(3), true).unwrap();
        assert_eq!(report.packets_lost, 0);
    }

    #[test]
    fn a_path_is_sampled_more_often_than_control_is_told() {
        let (t0, video) = (Instant::now(), Some(Mid::from("v")));
        let mut delivery = Delivery::new(t0, VIEWER_PATH_MS);
        delivery.connected(t0);
        let (mut samples, mut reports) = (0, 0);
        for n in 1..=60 {
            let now = t0 + Duration::from_millis(n * VIEWER_PATH_MS);
            delivery.track(&stats("v", 50 * n, 0, now), video);
            assert_eq!(delivery.path(now), None, "the rest of the look is missing");
            delivery.is_sample_due = true;
            let path = delivery.path(now).unwrap();
            assert_eq!(path.sent_bps, 8_000 * 50_000 / VIEWER_PATH_MS);
            assert_eq!(
                (path.loss, path.rtt),
                (Some(0.05), Some(Duration::from_millis(40)))
            );
            samples += 1;
            reports += u32::from(delivery.take(now, true).is_some());
        }
        assert_eq!((samples, reports), (60, 2));
    }
}
