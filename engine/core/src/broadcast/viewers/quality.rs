//! Which video a viewer is sent: the publisher's, or a rung of the broadcast's ladder.

use std::time::{Duration, Instant};

use shardcast_link::{RenditionSpec, VideoCodec};

use super::bandwidth::{Bandwidth, Choices};
use crate::{
    broadcast::{
        renditions::{Rings, SourceFacts, VideoSource},
        ring::RingId,
    },
    limits::RENDITION_REFUSED_MS,
    webrtc::delivery::PathSample,
};

/// Opus and what the headers of packets take, beside the video.
const BESIDE_VIDEO_BPS: u64 = 100_000;

const NO_LADDER: &str = "a viewer asks for another height than the publisher sends, and there is no ladder: \
     set encoderSettings";

/// Decides for one viewer.
#[derive(Debug)]
pub(super) struct Quality {
    /// The height in pixels that the client asked for; `None`: the best that its network carries.
    pinned: Option<u32>,
    /// What there is, with the bits a second that each takes, ascending; empty where nothing is chosen from.
    choices: Vec<(u64, VideoSource)>,
    bandwidth: Bandwidth,
    selected: VideoSource,
    refused: Option<Refusal>,
    /// The rendition in the place of the publisher's video, where browsers do not take that.
    like_source: Option<RenditionSpec>,
    lacks_ladder: bool,
}

/// A rung that cannot be made.
#[derive(Debug)]
struct Refusal {
    spec: RenditionSpec,
    reason: String,
    again_at: Instant,
}

impl Quality {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            pinned: None,
            choices: Vec::new(),
            bandwidth: Bandwidth::new(now),
            selected: VideoSource::Passthrough,
            refused: None,
            like_source: None,
            lacks_ladder: false,
        }
    }

    /// The client asks for this height, or for what its network carries.
    pub(super) fn pin(&mut self, height: Option<u32>) {
        self.pinned = height;
    }

    /// Selects anew. `like_source` is what it is sent in the place of a publisher's video that browsers do not take.
    pub(super) fn select(
        &mut self,
        now: Instant,
        ladder: &[RenditionSpec],
        facts: &SourceFacts,
        like_source: Option<RenditionSpec>,
    ) -> VideoSource {
        self.like_source = like_source;
        if ladder.is_empty() {
            self.choices.clear();
        } else if facts.video_bps > 0 && facts.keyframe_interval_ms > 0 {
            // While the publisher is away, its video is no measure.
            self.choices = choices(ladder, facts, like_source);
        }
        let choice = match self.pinned {
            None => self.automatic(),
            Some(height) => nearest(height, ladder, facts),
        };
        let choice = match (choice, like_source) {
            (VideoSource::Passthrough, Some(spec)) => VideoSource::Rendition(spec),
            (choice, _) => choice,
        };
        let is_other = self.pinned.is_some_and(|height| height != facts.height);
        self.lacks_ladder = ladder.is_empty() && facts.offers_video && is_other;
        self.refused.take_if(|refusal| {
            choice != VideoSource::Rendition(refusal.spec) || now >= refusal.again_at
        });
        self.selected = match &self.refused {
            Some(refusal) => self.instead_of(refusal.spec),
            None => choice,
        };
        self.selected
    }

    /// The best that the network carries, as far as that is known.
    fn automatic(&self) -> VideoSource {
        let limit_bps = self.bandwidth.limit_bps().unwrap_or(u64::MAX);
        let fitting = self.choices.iter().rfind(|(bps, _)| *bps <= limit_bps);
        let choice = fitting.or_else(|| self.choices.first());
        choice.map_or(VideoSource::Passthrough, |(_, source)| *source)
    }

    /// Takes how the path is while `in_use` is sent; whether another video is to be selected.
    pub(super) fn path(&mut self, path: PathSample, in_use: VideoSource) -> bool {
        if self.pinned.is_some() || self.choices.len() < 2 {
            self.bandwidth.forget(path.at);
            return false;
        }
        let mut sources = self.choices.iter().map(|(_, source)| *source);
        let Some(place) = sources.position(|source| source == in_use) else {
            return false;
        };
        let bps: Vec<u64> = self.choices.iter().map(|(bps, _)| *bps).collect();
        let choices = Choices {
            bps: &bps,
            in_use: place,
            is_settled: in_use == self.selected,
        };
        let is_changed = self.bandwidth.sample(path, choices);
        // A selection that was due may have been put off.
        is_changed || (self.refused.is_none() && self.automatic() != self.selected)
    }

    /// Whether the network is full of the video that is sent: no more of it is to be.
    pub(super) fn is_full(&self, now: Instant) -> bool {
        self.pinned.is_none() && self.bandwidth.is_full(now)
    }

    /// What the network carries in bits a second; `None`: enough, as far as is known.
    pub(super) fn carried_bps(&self) -> Option<u64> {
        self.bandwidth.carried_bps()
    }

    /// Bits a second that video and padding are to be while it is tried what the network carries.
    pub(super) fn trial_bps(&self, now: Instant) -> Option<u64> {
        self.bandwidth.trial_bps(now)
    }

    /// What the network is taken to carry, in bits a second: enough for the best video, where nothing tells otherwise.
    pub(super) fn estimate_bps(&self) -> Option<u64> {
        let (best_bps, _) = self.choices.last()?;
        Some(self.bandwidth.limit_bps().unwrap_or(*best_bps))
    }

    /// This rung cannot be made at the moment.
    pub(super) fn refuse(&mut self, now: Instant, spec: RenditionSpec, reason: &str) {
        if self.selected == VideoSource::Rendition(spec) {
            self.selected = self.instead_of(spec);
            self.refused = Some(Refusal {
                spec,
                reason: reason.to_owned(),
                again_at: now + Duration::from_millis(RENDITION_REFUSED_MS),
            });
        }
    }

    /// What it is sent where a rung cannot be made.
    fn instead_of(&self, refused: RenditionSpec) -> VideoSource {
        match self.like_source {
            None => VideoSource::Passthrough,
            Some(spec) if spec != refused => VideoSource::Rendition(spec),
            Some(_) => VideoSource::None,
        }
    }

    /// Whether the publisher's video may be sent as it is.
    pub(super) fn takes_source(&self) -> bool {
        self.like_source.is_none()
    }

    /// Whether this rendition is in the place of the publisher's video.
    pub(super) fn needs(&self, spec: &RenditionSpec) -> bool {
        self.like_source.as_ref() == Some(spec)
    }

    pub(super) fn selected(&self) -> VideoSource {
        self.selected
    }

    /// Where that is; `None` before it is made.
    pub(super) fn ring(&self, rings: Rings<'_>) -> Option<RingId> {
        match self.selected {
            VideoSource::Passthrough => Some(RingId::Source),
            VideoSource::Rendition(spec) => {
                let mut made = rings.renditions.iter();
                let made = made.find(|it| it.spec == spec && it.problem.is_none());
                made.map(|it| RingId::Rendition(it.id))
            }
            VideoSource::None => None,
        }
    }

    /// Why it is not sent what would suit it, for people.
    pub(super) fn problem(&self) -> Option<&str> {
        let refused = self.refused.as_ref().map(|it| it.reason.as_str());
        refused.or(self.lacks_ladder.then_some(NO_LADDER))
    }
}

/// The publisher's video or a rung, whose height is nearest. Of two alike it is the publisher's, which
/// costs nothing.
fn nearest(height: u32, ladder: &[RenditionSpec], facts: &SourceFacts) -> VideoSource {
    let source = (facts.codec == Some(VideoCodec::H264)).then_some(facts.height);
    let rungs = ladder.iter().filter(|rung| is_below(rung, facts));
    let nearest = rungs.min_by_key(|rung| rung.height.abs_diff(height));
    match (nearest, source) {
        (Some(rung), Some(source)) if rung.height.abs_diff(height) < source.abs_diff(height) => {
            VideoSource::Rendition(*rung)
        }
        (Some(rung), None) if facts.codec.is_some() => VideoSource::Rendition(*rung),
        _ => VideoSource::Passthrough,
    }
}

/// The publisher's video, or what is sent in its place, and the rungs that take less and are not larger.
fn choices(
    ladder: &[RenditionSpec],
    facts: &SourceFacts,
    like_source: Option<RenditionSpec>,
) -> Vec<(u64, VideoSource)> {
    let best = match like_source {
        Some(spec) => (u64::from(spec.video_bps), VideoSource::Rendition(spec)),
        None => (facts.video_bps, VideoSource::Passthrough),
    };
    let rungs = ladder.iter().filter(|rung| is_below(rung, facts));
    let mut choices: Vec<_> = rungs
        .map(|rung| (u64::from(rung.video_bps), VideoSource::Rendition(*rung)))
        .filter(|(bps, _)| *bps < best.0)
        .chain([best])
        .map(|(bps, source)| (bps + BESIDE_VIDEO_BPS, source))
        .collect();
    choices.sort_by_key(|(bps, _)| *bps);
    choices
}

/// No viewer is helped by what is larger than the publisher's video.
fn is_below(rung: &RenditionSpec, facts: &SourceFacts) -> bool {
    facts.height == 0 || rung.height <= facts.height
}

#[cfg(test)]
mod tests {
    use super::*;

    const HD: SourceFacts = SourceFacts {
        offers_video: true,
        codec: Some(VideoCodec::H264),
        width: 1_280,
        height: 720,
        profile: 66,
        keyframe_interval_ms: 2_000,
        video_bps: 2_500_000,
        b_frames: false,
        tells_decode_times: false,
    };

    fn ladder() -> [RenditionSpec; 3] {
        [1_080, 480, 240].map(RenditionSpec::of_height)
    }

    fn pinned(height: u32, ladder: &[RenditionSpec]) -> (Option<u32>, Quality) {
        let mut quality = Quality::new(Instant::now());
        quality.pin(Some(height));
        let selected = quality.select(Instant::now(), ladder, &HD, None);
        let height = match selected {
            VideoSource::Rendition(spec) => Some(spec.height),
            VideoSource::Passthrough | VideoSource::None => None,
        };
        (height, quality)
    }

    #[test]
    fn a_height_is_the_nearest_of_the_source_and_the_rungs_that_are_not_larger() {
        for (asked, sent) in [
            (720, None),
            (1_080, None),
            (4_000, None),
            (620, None),
            (500, Some(480)),
            (480, Some(480)),
            (1, Some(240)),
        ] {
            assert_eq!(pinned(asked, &ladder()).0, sent, "{asked} lines");
        }
    }

    #[test]
    fn without_a_ladder_the_viewer_stays_on_the_source_and_that_is_told() {
        let (sent, quality) = pinned(360, &[]);
        assert_eq!(sent, None);
        assert!(quality.problem().unwrap().contains("encoderSettings"));
        assert_eq!(pinned(720, &[]).1.problem(), None);
    }

    /// A path that loses much, and then little, as a client reports it five times a second.
    fn watch(quality: &mut Quality, from: Instant, seconds: u64, loss: f32) -> Option<u32> {
        let mut height = None;
        for n in 1..=5 * seconds {
            let in_use = quality.selected();
            let path = PathSample {
                at: from + Duration::from_millis(200 * n),
                sent_bps: 2_500_000,
                loss: Some(loss),
                rtt: Some(Duration::from_millis(40)),
            };
            quality.path(path, in_use);
            height = match quality.select(path.at, &ladder(), &HD, None) {
                VideoSource::Rendition(spec) => Some(spec.height),
                VideoSource::Passthrough | VideoSource::None => None,
            };
        }
        height
    }

    #[test]
    fn the_network_chooses_the_rung_unless_the_client_does() {
        let t0 = Instant::now();
        let after = |seconds| t0 + Duration::from_secs(seconds);
        let mut quality = Quality::new(t0);
        assert_eq!(watch(&mut quality, t0, 10, 0.05), None);
        // 2.5 Mbit/s of which a fifth comes through.
        assert_eq!(watch(&mut quality, after(10), 5, 0.8), Some(240));
        assert!(quality.estimate_bps().unwrap() < 500_000);
        quality.pin(Some(480));
        assert_eq!(watch(&mut quality, after(15), 5, 0.8), Some(480));
        quality.pin(None);
        assert_eq!(
            watch(&mut quality, after(20), 1, 0.0),
            None,
            "it begins anew"
        );
    }

    #[test]
    fn a_ladder_that_is_set_later_is_chosen_from_and_one_that_is_taken_away_is_not() {
        let t0 = Instant::now();
        let mut quality = Quality::new(t0);
        let without = quality.select(t0, &[], &HD, None);
        assert_eq!(
            (without, quality.estimate_bps()),
            (VideoSource::Passthrough, None)
        );
        assert_eq!(watch(&mut quality, t0, 10, 0.8), Some(240));
        let later = t0 + Duration::from_secs(11);
        let without = quality.select(later, &[], &HD, None);
        assert_eq!(
            (without, quality.estimate_bps()),
            (VideoSource::Passthrough, None)
        );
    }

    #[test]
    fn while_the_publisher_is_away_the_choice_stays() {
        let t0 = Instant::now();
        let mut quality = Quality::new(t0);
        watch(&mut quality, t0, 6, 0.8);
        let away = SourceFacts {
            keyframe_interval_ms: 0,
            video_bps: 9_000,
            ..HD
        };
        let before = quality.selected();
        let later = t0 + Duration::from_secs(7);
        assert_eq!(quality.select(later, &ladder(), &away, None), before);
        assert_ne!(before, VideoSource::Passthrough);
    }

    #[test]
    fn a_rung_that_is_refused_is_tried_again() {
        let (now, ladder) = (Instant::now(), ladder());
        let (_, mut quality) = pinned(480, &ladder);
        quality.refuse(now, ladder[1], "no room");
        assert_eq!(quality.selected(), VideoSource::Passthrough);
        assert_eq!(quality.problem(), Some("no room"));
        let soon = now + Duration::from_millis(1);
        assert_eq!(
            quality.select(soon, &ladder, &HD, None),
            VideoSource::Passthrough
        );
        let later = now + Duration::from_millis(RENDITION_REFUSED_MS);
        let again = VideoSource::Rendition(ladder[1]);
        assert_eq!(quality.select(later, &ladder, &HD, None), again);
        assert_eq!(quality.problem(), None);
    }

    #[test]
    fn what_browsers_do_not_take_is_replaced_by_a_rendition_of_its_size_or_by_nothing() {
        let (now, ladder) = (Instant::now(), ladder());
        let like = RenditionSpec::of_height(720);
        let mut quality = Quality::new(now);
        let of_source = VideoSource::Rendition(like);
        assert_eq!(quality.select(now, &ladder, &HD, Some(like)), of_source);
        assert!(!quality.takes_source());
        quality.pin(Some(480));
        let rung = VideoSource::Rendition(ladder[1]);
        assert_eq!(quality.select(now, &ladder, &HD, Some(like)), rung);
        quality.refuse(now, ladder[1], "no room");
        assert_eq!(quality.selected(), of_source);
        quality.refuse(now, like, "no room");
        assert_eq!(quality.selected(), VideoSource::None);
        quality.pin(None);
        assert_eq!(
            quality.select(now, &ladder, &HD, None),
            VideoSource::Passthrough
        );
        assert!(quality.takes_source());
    }
}
