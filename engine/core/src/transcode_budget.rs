//! What a shard may spend on video codecs: renditions that run are measured, and one that is to begin is
//! estimated from measurements of others.

use std::collections::HashMap;

use shardcast_link::{CodecStatus, Preset, RenditionSpec};

use crate::ids::BroadcastKey;
use crate::io::{RenditionReport, VideoTranscoderReport};

/// Pixels of the frame that costs are told by.
const PIXELS_720P: u64 = 1_280 * 720;
/// Assumed until something is measured; on one core of an AMD EPYC (Zen 5) at 1080p30 to 720p30.
const DECODE_720P_US: u32 = 2_400;
const SCALE_720P_US: u32 = 2_100;
const ENCODE_720P_US: u32 = 6_000;
/// Of a core that codecs share with the executor, this is all that both may take together.
const CORE_PERMILLE_MAX: u32 = 950;
/// A new measurement counts an eighth.
const WEIGHT: u64 = 8;
/// Fewer frames than this are no measurement.
const FRAMES_MIN: u64 = 10;

/// The publisher's video, as a decoder sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SourceShape {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) frames_per_second: u32,
}

/// What a broadcast takes, in thousandths of a core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Use {
    pub(crate) permille: u32,
    /// Of it, what rungs take that viewers alone are sent: they end where a destination needs it.
    pub(crate) yielding_permille: u32,
}

#[derive(Debug)]
pub(crate) struct Budget {
    capacity_permille: u32,
    /// What the shard's own thread takes of the core that it shares with codecs, as a mean over
    /// some seconds, so that one second in which many connect does not count for all.
    executor_permille: Option<u32>,
    beside: bool,
    decode_720p_us: u32,
    scale_720p_us: u32,
    encode_720p_us: u32,
    refused: u64,
    /// What each broadcast takes that takes something, and the sum.
    used: HashMap<BroadcastKey, Use>,
    sum: Use,
    /// Promised to destinations of what yields, and not given up yet.
    owed_permille: u32,
}

impl Budget {
    pub(crate) fn new(capacity_permille: u32, beside: bool) -> Self {
        Self {
            capacity_permille,
            executor_permille: None,
            beside,
            decode_720p_us: DECODE_720P_US,
            scale_720p_us: SCALE_720P_US,
            encode_720p_us: ENCODE_720P_US,
            refused: 0,
            used: HashMap::new(),
            sum: Use::default(),
            owed_permille: 0,
        }
    }

    /// A broadcast takes so much now.
    pub(crate) fn set_used(&mut self, broadcast: BroadcastKey, now: Use) {
        let before = match now.permille {
            0 => self.used.remove(&broadcast),
            _ => self.used.insert(broadcast, now),
        };
        let before = before.unwrap_or_default();
        let freed_permille = before.permille.saturating_sub(now.permille);
        self.owed_permille = self.owed_permille.saturating_sub(freed_permille);
        self.sum.permille = self.sum.permille - before.permille + now.permille;
        self.sum.yielding_permille =
            self.sum.yielding_permille - before.yielding_permille + now.yielding_permille;
        let all = self.used.values().map(|it| it.permille);
        debug_assert_eq!(self.sum.permille, all.sum::<u32>());
    }

    /// Destinations need so much more than is left: rungs that viewers alone are sent end.
    pub(crate) fn owed_permille(&self) -> u32 {
        let above_permille = self.sum.permille.saturating_sub(self.capacity_permille());
        self.owed_permille.min(above_permille)
    }

    /// The shard's own thread takes so much of its core.
    pub(crate) fn set_executor(&mut self, cpu_permille: u32) {
        if self.beside {
            let mean = self.executor_permille.unwrap_or(cpu_permille);
            self.executor_permille =
                Some((mean.saturating_mul(3).saturating_add(cpu_permille)) / 4);
        }
    }

    /// What may be spent now.
    fn capacity_permille(&self) -> u32 {
        let executor_permille = self.executor_permille.unwrap_or_default();
        let left_permille = CORE_PERMILLE_MAX.saturating_sub(executor_permille);
        if self.beside {
            self.capacity_permille.min(left_permille)
        } else {
            self.capacity_permille
        }
    }

    /// Whether a rendition may begin that needs so much beside what all broadcasts take. What viewers' rungs
    /// take of it is owed from then on, and their broadcasts end them with their next selection, within a second.
    ///
    /// # Errors
    /// The reason when there is no capacity, as a user is shown it.
    pub(crate) fn admit(
        &mut self,
        spec: &RenditionSpec,
        needed_permille: u32,
    ) -> Result<(), String> {
        let Use {
            permille,
            yielding_permille,
        } = self.sum;
        let capacity_permille = self.capacity_permille();
        let staying_permille = permille.saturating_sub(yielding_permille);
        self.admit_within(capacity_permille, spec, needed_permille, staying_permille)?;
        let all_permille = permille.saturating_add(needed_permille);
        let lacking_permille = all_permille.saturating_sub(capacity_permille);
        self.owed_permille = self.owed_permille.max(lacking_permille);
        Ok(())
    }

    /// The same for one that viewers alone are sent: a quarter of the capacity is left to destinations,
    /// which have no other video to go on with.
    ///
    /// # Errors
    /// The reason when there is no capacity, as a user is shown it.
    pub(crate) fn admit_for_viewers(
        &mut self,
        spec: &RenditionSpec,
        needed_permille: u32,
    ) -> Result<(), String> {
        let capacity_permille = self.capacity_permille() / 4 * 3;
        let used_permille = self.sum.permille;
        self.admit_within(capacity_permille, spec, needed_permille, used_permille)
    }

    fn admit_within(
        &mut self,
        capacity_permille: u32,
        spec: &RenditionSpec,
        needed_permille: u32,
        used_permille: u32,
    ) -> Result<(), String> {
        if self.capacity_permille == 0 {
            return Err(
                "this server re-encodes nothing: it was built or started without it".to_owned(),
            );
        }
        if used_permille.saturating_add(needed_permille) <= capacity_permille {
            return Ok(());
        }
        self.refused += 1;
        Err(format!(
            "the shard of this broadcast has no room to re-encode it: {} lines at {} frames a second need about \
             {} % of a core, and {} of {} % are in use; remove a rendition, lower its size or \
             preset, or give more codec cores",
            spec.height,
            spec.frames_per_second,
            percent(needed_permille),
            percent(used_permille),
            percent(capacity_permille)
        ))
    }

    /// Thousandths of a core for scaling and encoding. `shape` is that of the publisher's video.
    pub(crate) fn rendition_permille(&self, spec: &RenditionSpec, shape: SourceShape) -> u32 {
        let height = u64::from(spec.height);
        let of_shape = height * u64::from(shape.width) / u64::from(shape.height.max(1));
        let width = spec.width.map_or(of_shape, u64::from);
        let encode_us = u64::from(self.encode_720p_us) * preset_percent(spec.preset) / 100;
        let per_frame_us = encode_us + u64::from(self.scale_720p_us);
        permille(per_frame_us * width * height, spec.frames_per_second)
    }

    /// Thousandths of a core for decoding.
    pub(crate) fn decode_permille(&self, shape: SourceShape) -> u32 {
        let pixels = u64::from(shape.width) * u64::from(shape.height);
        permille(
            u64::from(self.decode_720p_us) * pixels,
            shape.frames_per_second,
        )
    }

    /// Measures codecs by what a transcoder did between two reports.
    pub(crate) fn measure(&mut self, before: &VideoTranscoderReport, now: &VideoTranscoderReport) {
        let frames = now.frames.saturating_sub(before.frames);
        let pixels = u64::from(now.width) * u64::from(now.height) * frames;
        let spent_us = now.decode_us.saturating_sub(before.decode_us);
        average(&mut self.decode_720p_us, frames, spent_us, pixels);
        for each in &now.renditions {
            let old = before
                .renditions
                .iter()
                .find(|old| old.rendition == each.rendition);
            if let Some(old) = old.filter(|old| old.preset == each.preset) {
                self.measure_rendition(old, each);
            }
        }
    }

    fn measure_rendition(&mut self, before: &RenditionReport, now: &RenditionReport) {
        let frames = now.frames.saturating_sub(before.frames);
        // Repetitions cost next to nothing, so they are no measure of fresh frames.
        let fresh = frames.saturating_sub(now.repeated.saturating_sub(before.repeated));
        if fresh * 2 < frames {
            return;
        }
        let pixels = u64::from(now.width) * u64::from(now.height) * fresh;
        let scale_us = now.scale_us.saturating_sub(before.scale_us);
        let encode_us = now.encode_us.saturating_sub(before.encode_us);
        average(&mut self.scale_720p_us, fresh, scale_us, pixels);
        let encode_us = encode_us * 100 / preset_percent(now.preset);
        average(&mut self.encode_720p_us, fresh, encode_us, pixels);
    }

    pub(crate) fn status(&self) -> CodecStatus {
        CodecStatus {
            // 0 means that nothing is re-encoded at all, not that there is no capacity now.
            capacity_permille: self.capacity_permille().max(self.capacity_permille.min(1)),
            used_permille: self.sum.permille,
            yielding_permille: self.sum.yielding_permille,
            decode_720p_us: self.decode_720p_us,
            scale_720p_us: self.scale_720p_us,
            encode_720p_us: self.encode_720p_us,
            refused: self.refused,
        }
    }
}

/// What a preset costs beside superfast.
fn preset_percent(preset: Preset) -> u64 {
    match preset {
        Preset::Ultrafast => 70,
        Preset::Superfast => 100,
        Preset::Veryfast => 170,
        Preset::Faster => 350,
    }
}

/// Microseconds of a 720p frame times pixels, so many a second.
fn permille(us_pixels: u64, frames_per_second: u32) -> u32 {
    let us = us_pixels / PIXELS_720P * u64::from(frames_per_second);
    u32::try_from(us.div_ceil(1_000)).unwrap_or(u32::MAX)
}

fn average(mean_us: &mut u32, frames: u64, spent_us: u64, pixels: u64) {
    if frames < FRAMES_MIN || pixels == 0 {
        return;
    }
    let us = spent_us.saturating_mul(PIXELS_720P) / pixels;
    let mean = (u64::from(*mean_us) * (WEIGHT - 1) + us) / WEIGHT;
    *mean_us = u32::try_from(mean).unwrap_or(u32::MAX);
}

fn percent(permille: u32) -> u32 {
    permille.div_ceil(10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::RenditionId;

    const HD: RenditionSpec = RenditionSpec {
        width: Some(1_280),
        height: 720,
        frames_per_second: 30,
        video_bps: 3_000_000,
        gop_ms: 2_000,
        preset: Preset::Superfast,
        profile: shardcast_link::Profile::High,
        audio_bps: 128_000,
    };

    const SHAPE: SourceShape = SourceShape {
        width: 1_920,
        height: 1_080,
        frames_per_second: 30,
    };

    fn staying(permille: u32) -> Use {
        Use {
            permille,
            yielding_permille: 0,
        }
    }

    #[test]
    fn what_viewers_rungs_take_is_promised_to_a_destination_once_and_owed_until_it_is_free() {
        let mut budget = Budget::new(800, false);
        let rungs = |permille| Use {
            permille: 100 + permille,
            yielding_permille: permille,
        };
        budget.set_used(BroadcastKey(1), rungs(200));
        budget.set_used(BroadcastKey(2), rungs(300));
        let refused = budget.admit_for_viewers(&HD, 200);
        assert!(refused.is_err(), "they yield to nobody but destinations");
        assert_eq!(budget.admit(&HD, 100), Ok(()));
        budget.set_used(BroadcastKey(3), staying(100));
        assert_eq!(budget.owed_permille(), 0, "there is room");
        assert_eq!(budget.admit(&HD, 250), Ok(()));
        budget.set_used(BroadcastKey(4), staying(250));
        assert_eq!(budget.owed_permille(), 250);
        let words = budget.admit(&HD, 260).unwrap_err();
        assert!(words.contains("55 of 80 %"), "{words}");
        assert_eq!(budget.admit(&HD, 250), Ok(()));
        budget.set_used(BroadcastKey(5), staying(250));
        assert_eq!(budget.owed_permille(), 500);
        budget.set_used(BroadcastKey(1), rungs(0));
        assert_eq!(budget.owed_permille(), 300);
        budget.set_used(BroadcastKey(2), rungs(0));
        assert_eq!(budget.owed_permille(), 0);
        assert_eq!(budget.status().used_permille, 800);
    }

    #[test]
    fn a_width_that_is_not_given_follows_from_the_publishers_picture() {
        let budget = Budget::new(800, true);
        let free = RenditionSpec { width: None, ..HD };
        let upright = SourceShape {
            width: 1_080,
            height: 1_920,
            ..SHAPE
        };
        let wide_permille = budget.rendition_permille(&free, SHAPE);
        assert_eq!(wide_permille, budget.rendition_permille(&HD, SHAPE));
        assert!(budget.rendition_permille(&free, upright) < wide_permille / 3 + 1);
    }

    #[test]
    fn what_does_not_fit_is_refused_in_words_that_say_what_to_do() {
        let mut budget = Budget::new(800, true);
        let needed = budget.rendition_permille(&HD, SHAPE);
        assert_eq!(needed, 243);
        budget.set_used(BroadcastKey(1), staying(100));
        budget.set_used(BroadcastKey(2), staying(700 - needed));
        assert_eq!(budget.admit(&HD, needed), Ok(()));
        budget.set_used(BroadcastKey(1), staying(101));
        let words = budget.admit(&HD, needed).unwrap_err();
        assert!(words.contains("25 %") && words.contains("80 %"), "{words}");
        assert_eq!(budget.status().refused, 1);
        let words = Budget::new(0, false).admit(&HD, 1).unwrap_err();
        assert!(words.contains("re-encodes nothing"), "{words}");
    }

    #[test]
    fn what_packets_take_of_a_shared_core_is_not_given_to_codecs() {
        let (mut shared, mut apart) = (Budget::new(800, true), Budget::new(850, false));
        for budget in [&mut shared, &mut apart] {
            (0..20).for_each(|_| budget.set_executor(100));
        }
        assert_eq!(shared.status().capacity_permille, 800);
        for budget in [&mut shared, &mut apart] {
            budget.set_executor(600);
        }
        // One busy second is not believed at once.
        assert_eq!(shared.status().capacity_permille, 725);
        for budget in [&mut shared, &mut apart] {
            (0..40).for_each(|_| budget.set_executor(600));
        }
        let left_permille = shared.status().capacity_permille;
        assert!((350..=355).contains(&left_permille), "{left_permille}");
        assert_eq!(apart.status().capacity_permille, 850);
        (0..40).for_each(|_| shared.set_executor(1_000));
        assert_eq!(shared.status().capacity_permille, 1);
        assert_eq!(Budget::new(0, true).status().capacity_permille, 0);
        (0..40).for_each(|_| shared.set_executor(600));
        for budget in [&mut shared, &mut apart] {
            budget.set_used(BroadcastKey(1), staying(150));
        }
        assert!(shared.admit(&HD, 243).is_err());
        assert_eq!(apart.admit(&HD, 243), Ok(()));
    }

    #[test]
    fn estimates_go_where_measurements_are() {
        let mut budget = Budget::new(800, true);
        let report = |frames: u64| VideoTranscoderReport {
            width: 1_280,
            height: 720,
            frames,
            decode_us: frames * 1_000,
            renditions: vec![RenditionReport {
                rendition: RenditionId(1),
                width: 1_280,
                height: 720,
                frames,
                repeated: 0,
                dropped: 0,
                keyframes: 0,
                scale_us: 0,
                encode_us: frames * 17_000,
                preset: Preset::Veryfast,
                frames_per_second: 30,
            }],
            ..VideoTranscoderReport::default()
        };
        for second in 0..60 {
            budget.measure(&report(30 * second), &report(30 * (second + 1)));
        }
        let status = budget.status();
        assert!(
            (1_000..1_050).contains(&status.decode_720p_us),
            "{status:?}"
        );
        assert!(
            (9_900..=10_000).contains(&status.encode_720p_us),
            "{status:?}"
        );
        assert!(status.scale_720p_us < 50, "{status:?}");
    }
}
