//! Which video stream of a publisher is used: the largest layer that is alive.
//!
//! With simulcast (RFC 8853) a browser encodes one picture in several sizes, each an RTP stream of
//! its own. It stops the larger ones when its uplink is short, and begins them again. A change to
//! another stream happens at a keyframe of that stream, so a change that is wanted is asked for by a
//! keyframe request. The same holds for a track that follows one that was removed.

use std::time::{Duration, Instant};

use super::source::SourceId;
use crate::limits::{
    LAYER_GONE_MS, LAYER_GONE_PICTURES, LAYER_KEYFRAME_MS, LAYER_STEADY_MS, RTP_SOURCES_MAX,
};

/// The video streams that have come, and which of them is used.
#[derive(Debug, Default)]
pub(super) struct Layers {
    known: Vec<Layer>,
    current: Option<SourceId>,
    /// Frames of some stream have been used.
    has_begun: bool,
    /// A stream in use has gone: what comes back has to stay for a while before it is used.
    has_fallen: bool,
}

#[derive(Debug)]
struct Layer {
    source: SourceId,
    /// Of its last keyframe; 0 while that is not known.
    pixels: u32,
    last: Instant,
    /// When it came, or came back.
    since: Instant,
    /// Frames of the other streams since its own last one.
    missed: u32,
    keyframe_asked: Option<Instant>,
}

impl Layers {
    /// The stream that is used.
    pub(super) fn current(&self) -> Option<SourceId> {
        self.current
    }

    /// Whether this stream needs no choice: it is used, and is no layer beside others.
    pub(super) fn is_settled(&self, source: SourceId) -> bool {
        source.rid.is_none() && self.current == Some(source)
    }

    /// Takes note of a frame of `source`; `pixels` of one that decoding can begin with. True if it
    /// shall be used.
    pub(super) fn picture(&mut self, now: Instant, source: SourceId, pixels: Option<u32>) -> bool {
        if !self.arrived(now, source, pixels) {
            return false;
        }
        if self.current == Some(source) {
            return true;
        }
        let begins = self.current.is_none() && !self.has_begun;
        let changes = pixels.is_some() && self.wanted(now) == Some(source);
        if begins || changes {
            self.has_fallen |= self
                .current
                .is_some_and(|current| self.is_gone(now, current));
            self.current = Some(source);
            self.has_begun = true;
        }
        self.current == Some(source)
    }

    /// The stream that shall be asked for a keyframe now, so that it can be used or its size is known.
    pub(super) fn take_keyframe_wanted(&mut self, now: Instant) -> Option<SourceId> {
        let wanted = self.wanted(now);
        if !self.has_begun {
            return None;
        }
        let current = self.current;
        let recent = |layer: &Layer| {
            layer.keyframe_asked.is_some_and(|at| {
                now.saturating_duration_since(at) < Duration::from_millis(LAYER_KEYFRAME_MS)
            })
        };
        let layer = self.known.iter_mut().find(|layer| {
            let is_other = current != Some(layer.source);
            is_other && (Some(layer.source) == wanted || layer.pixels == 0) && !recent(layer)
        })?;
        layer.keyframe_asked = Some(now);
        Some(layer.source)
    }

    /// Forgets the streams that are not `kept`. Whatever follows begins with a keyframe.
    pub(super) fn retain(&mut self, kept: impl Fn(SourceId) -> bool) {
        self.known.retain(|layer| kept(layer.source));
        self.current = self.current.filter(|source| kept(*source));
    }

    /// False if there are too many streams to know another one.
    fn arrived(&mut self, now: Instant, source: SourceId, pixels: Option<u32>) -> bool {
        let is_new = !self.known.iter().any(|layer| layer.source == source);
        if is_new && self.known.len() >= RTP_SOURCES_MAX {
            return false;
        }
        if is_new {
            self.known.push(Layer {
                source,
                pixels: 0,
                last: now,
                since: now,
                missed: 0,
                keyframe_asked: None,
            });
        }
        let came_back = self.is_gone(now, source);
        for layer in &mut self.known {
            if layer.source != source {
                layer.missed = layer.missed.saturating_add(1);
                continue;
            }
            // A keyframe without its SPS does not tell its size.
            layer.pixels = pixels.filter(|it| *it > 0).unwrap_or(layer.pixels);
            layer.since = if came_back { now } else { layer.since };
            layer.last = now;
            layer.missed = 0;
        }
        true
    }

    /// The largest stream that is alive, among equals the one in use.
    fn wanted(&self, now: Instant) -> Option<SourceId> {
        let holds = self.current.filter(|current| !self.is_gone(now, *current));
        let steady = Duration::from_millis(LAYER_STEADY_MS);
        let may_be_used = |layer: &&Layer| {
            let is_steady = now.saturating_duration_since(layer.since) >= steady;
            let is_allowed = holds.is_none() || !self.has_fallen || is_steady;
            holds == Some(layer.source) || (is_allowed && !self.is_gone(now, layer.source))
        };
        let best = self
            .known
            .iter()
            .filter(may_be_used)
            .max_by_key(|layer| (layer.pixels, holds == Some(layer.source)));
        best.map(|layer| layer.source).or(self.current)
    }

    /// Whether `source` sends nothing while others do. A page whose picture seldom changes sends
    /// seldom in all layers, so time alone does not tell.
    fn is_gone(&self, now: Instant, source: SourceId) -> bool {
        let Some(layer) = self.known.iter().find(|layer| layer.source == source) else {
            return true;
        };
        let others = u32::try_from(self.known.len())
            .unwrap_or(u32::MAX)
            .saturating_sub(1);
        let silent =
            now.saturating_duration_since(layer.last) > Duration::from_millis(LAYER_GONE_MS);
        silent && others > 0 && layer.missed >= LAYER_GONE_PICTURES.saturating_mul(others)
    }
}

#[cfg(test)]
mod tests {
    use str0m::media::{Mid, Rid};

    use super::*;

    const SIZES: [(&str, u32); 3] = [("q", 320 * 180), ("h", 640 * 360), ("f", 1280 * 720)];

    /// A browser with three layers at so many frames a second; each answers a keyframe request
    /// with its next frame.
    struct Browser {
        now: Instant,
        layers: Layers,
        keyframe_next: [bool; 3],
        /// This layer's keyframes are lost on their way.
        keyframes_lost: Option<usize>,
        period: Duration,
        /// Layer of each frame that was used, and whether it was a keyframe.
        used: Vec<(usize, bool)>,
        requests: u32,
    }

    fn source(index: usize) -> SourceId {
        let mid = Mid::from("0");
        let rid = Some(Rid::from(SIZES[index].0));
        SourceId { mid, rid }
    }

    impl Browser {
        fn new(frames_per_second: u32) -> Self {
            Self {
                now: Instant::now(),
                layers: Layers::default(),
                keyframe_next: [true; 3],
                keyframes_lost: None,
                period: Duration::from_secs(1) / frames_per_second,
                used: Vec::new(),
                requests: 0,
            }
        }

        /// Sends the layers of `alive` for `ms`; gives the layer that is used in the end.
        fn run(&mut self, ms: u64, alive: &[usize]) -> usize {
            let end = self.now + Duration::from_millis(ms);
            while self.now < end {
                self.now += self.period;
                for index in alive {
                    let key = std::mem::take(&mut self.keyframe_next[*index]);
                    let key = key && self.keyframes_lost != Some(*index);
                    let pixels = key.then_some(SIZES[*index].1);
                    if self.layers.picture(self.now, source(*index), pixels) {
                        self.used.push((*index, key));
                    }
                    if let Some(asked) = self.layers.take_keyframe_wanted(self.now) {
                        let index = (0..3).find(|index| source(*index) == asked).unwrap();
                        self.keyframe_next[index] = true;
                        self.requests += 1;
                    }
                }
            }
            self.used.last().unwrap().0
        }

        fn assert_changes_are_keyframes(&self) {
            for pair in self.used.windows(2) {
                assert!(
                    pair[0].0 == pair[1].0 || pair[1].1,
                    "changed within a group"
                );
            }
        }
    }

    #[test]
    fn the_largest_layer_is_used_in_whatever_order_layers_come() {
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            let mut browser = Browser::new(30);
            assert_eq!(browser.run(1_000, &order), 2);
            browser.assert_changes_are_keyframes();
        }
    }

    #[test]
    fn the_next_layer_is_used_while_the_largest_is_gone_and_it_comes_back_once_it_stays() {
        for frames_per_second in [1, 5, 30] {
            let mut browser = Browser::new(frames_per_second);
            assert_eq!(browser.run(5_000, &[0, 1, 2]), 2);
            assert_eq!(browser.run(8_000, &[0, 1]), 1, "{frames_per_second}");
            let came_back = browser.used.len();
            assert_eq!(browser.run(12_000, &[0, 1, 2]), 2, "{frames_per_second}");
            let lower = browser.used[came_back..]
                .iter()
                .take_while(|(layer, _)| *layer == 1);
            let ms = lower.count() as u64 * 1_000 / u64::from(frames_per_second);
            assert!(ms >= LAYER_STEADY_MS - 1_000, "after {ms} ms");
            assert_eq!(browser.run(8_000, &[0]), 0, "{frames_per_second}");
            browser.assert_changes_are_keyframes();
        }
    }

    #[test]
    fn a_keyframe_that_does_not_tell_its_size_leaves_the_layer_its_own() {
        for frames_per_second in [1, 5, 30] {
            let mut browser = Browser::new(frames_per_second);
            browser.run(5_000, &[0, 1, 2]);
            let before = browser.used.len();
            for index in [2, 1, 0] {
                browser.layers.picture(browser.now, source(index), Some(0));
                assert_eq!(browser.run(2_000, &[0, 1, 2]), 2, "{frames_per_second}");
            }
            assert!(browser.used[before..].iter().all(|(layer, _)| *layer == 2));
        }
    }

    #[test]
    fn a_gap_of_all_layers_changes_nothing() {
        let mut browser = Browser::new(30);
        browser.run(2_000, &[0, 1, 2]);
        browser.now += Duration::from_secs(10);
        let before = browser.used.len();
        assert_eq!(browser.run(2_000, &[0, 1, 2]), 2);
        assert!(browser.used[before..].iter().all(|(layer, _)| *layer == 2));
    }

    #[test]
    fn keyframes_of_a_layer_are_asked_for_once_a_second_at_most() {
        let mut browser = Browser::new(30);
        browser.keyframes_lost = Some(2);
        browser.run(10_000, &[0, 1, 2]);
        assert!((8..=11).contains(&browser.requests), "{}", browser.requests);
        assert_eq!(browser.used.last().unwrap().0, 1);
    }

    #[test]
    fn a_track_that_follows_a_removed_one_begins_with_a_keyframe() {
        let track = |mid: &str| SourceId {
            mid: Mid::from(mid),
            rid: None,
        };
        let mut layers = Layers::default();
        let now = Instant::now();
        assert!(layers.picture(now, track("1"), None), "the first of all");
        assert!(layers.is_settled(track("1")));
        layers.retain(|source| source != track("1"));
        assert!(!layers.picture(now, track("2"), None));
        assert_eq!(layers.take_keyframe_wanted(now), Some(track("2")));
        assert!(layers.picture(now, track("2"), Some(9)));
        assert!(layers.picture(now, track("2"), None));
    }

    #[test]
    fn more_streams_than_a_browser_sends_are_left_out() {
        let mut layers = Layers::default();
        let now = Instant::now();
        for n in 0..RTP_SOURCES_MAX + 5 {
            let mid = Mid::from(n.to_string().as_str());
            let used = layers.picture(now, SourceId { mid, rid: None }, Some(n as u32 + 1));
            assert_eq!(used, n < RTP_SOURCES_MAX);
        }
    }
}
