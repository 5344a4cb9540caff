//! The status of a destination.

use std::time::Instant;

use shardcast_link::{DestinationState, DestinationStatus, VideoPath, VideoSelectionStatus};

use super::{Destination, Phase};
use crate::{
    broadcast::renditions::VideoSource, broadcast::ring::RingId, context::Context, io::TcpInfo,
};

/// Counted over all connections.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) bytes_sent: u64,
    pub(crate) video_frames: u64,
    pub(crate) audio_frames: u64,
    pub(crate) frames_dropped: u64,
    /// Changes between the publisher's video and a rendition.
    pub(crate) switches: u32,
    /// Of the last two that were sent.
    pub(crate) keyframe_interval_ms: u32,
    bytes_acked: u64,
    acked_at: Option<Instant>,
    bytes_at_last_status: u64,
}

impl Totals {
    /// The peer has acknowledged so many more bytes.
    pub(super) fn acked(&mut self, now: Instant, bytes: u64) {
        if bytes > 0 {
            self.bytes_acked += bytes;
            self.acked_at = Some(now);
        }
    }
}

impl Destination {
    pub(crate) fn status(&self, ctx: &Context) -> DestinationStatus {
        let now = ctx.now;
        let clock = |at| ctx.clock.unix_ms(at);
        let info = match &self.phase {
            Phase::Open { feed, .. } => feed.liveness.info(),
            _ => TcpInfo::default(),
        };
        let verdict = self.verdict.as_ref();
        DestinationStatus {
            id: self.id.clone(),
            state: self.state(now),
            since_unix_ms: clock(self.since),
            attempts: self.attempts,
            last_problem: verdict.map(|it| it.problem.clone()),
            problem_since_unix_ms: verdict.map(|it| clock(it.since)),
            problem_until_unix_ms: verdict.and_then(|it| it.until(now)).map(clock),
            next_attempt_unix_ms: match &self.phase {
                Phase::BackingOff { until } => Some(clock(*until)),
                _ => None,
            },
            platform: self.platform.name.to_owned(),
            redirected_to: self
                .route
                .as_ref()
                .filter(|route| route.redirects > 0)
                .map(|route| route.url.server_address()),
            bytes_sent: self.totals.bytes_sent,
            bytes_acked: self.totals.bytes_acked,
            acked_unix_ms: self.totals.acked_at.map(clock),
            rtt_us: info.rtt_us,
            unsent_bytes: info.unsent_bytes,
            keyframe_interval_ms: self.totals.keyframe_interval_ms,
            bitrate_bps: 8 * self
                .totals
                .bytes_sent
                .saturating_sub(self.totals.bytes_at_last_status),
            queue_ms: match &self.phase {
                Phase::Open { feed, .. } => feed.lag_ms(),
                _ => 0,
            },
            video_frames: self.totals.video_frames,
            audio_frames: self.totals.audio_frames,
            audio_codec: self.audio.map(|codec| codec.name().to_owned()),
            frames_dropped: self.totals.frames_dropped,
            video: self.on_air.then(|| self.picture_status()),
        }
    }

    fn picture_status(&self) -> VideoSelectionStatus {
        let chosen = match self.video.selected() {
            VideoSource::Passthrough => VideoPath::Passthrough,
            VideoSource::Rendition(_) => VideoPath::Rendition,
            VideoSource::None => VideoPath::None,
        };
        let path = match self.ring() {
            Some(RingId::Source) if chosen == VideoPath::Rendition => VideoPath::Passthrough,
            Some(RingId::Rendition(_)) => VideoPath::Rendition,
            _ => chosen,
        };
        VideoSelectionStatus {
            path,
            width: 0,
            height: 0,
            reason: self.video.reason().to_owned(),
            switches: self.totals.switches,
        }
    }

    /// Starts a new second of rates.
    pub(crate) fn tick(&mut self) {
        self.totals.bytes_at_last_status = self.totals.bytes_sent;
    }

    pub(super) fn state(&self, now: Instant) -> DestinationState {
        match &self.phase {
            Phase::Idle => DestinationState::Idle,
            Phase::Resolving { .. } => DestinationState::Resolving,
            Phase::Connecting { .. } => DestinationState::Connecting,
            Phase::Opening { .. } => DestinationState::Handshaking,
            Phase::Open { feed, .. } if !feed.is_live() => DestinationState::Publishing,
            Phase::Open { feed, .. } if feed.liveness.is_silent(now) => DestinationState::Stalled,
            Phase::Open { .. } if self.holding => DestinationState::Holding,
            Phase::Open { .. } => DestinationState::Live,
            Phase::BackingOff { .. } => DestinationState::BackingOff,
            Phase::Ended => DestinationState::Ended,
            Phase::GivenUp | Phase::Unusable => DestinationState::Failed,
        }
    }
}
