//! Units of a ring as fragments of one file.
//!
//! ```text
//!  units       I a P P a P │ P P a P P a │ P …      as they came, on the media clock
//!  fragments   moof mdat   │ moof mdat   │          one a second, or at a keyframe
//!  times       0 is the first keyframe's DTS; what is shown begins with its PTS
//! ```
//!
//! A file has audio of one kind. What is coded otherwise is left out up to the next keyframe, which begins another
//! file: no picture is missing.
//!
//! Video times are to the nearest tick. Audio frames are next to each other while their times differ from that
//! by little, since encoders round to milliseconds; beyond, the time of the unit counts, so nothing drifts.

use std::rc::Rc;

use bytes::{BufMut, Bytes, BytesMut};
use shardcast_cmaf::{
    Codec, Sample, Track, TrackRun, VIDEO_TIMESCALE, fragment, recording_head, ticks,
};

use crate::{
    broadcast::ring::{Kind, Unit},
    codec::{aac::AacConfig, aac::FRAME_SAMPLES, h264::ParameterSets},
    limits::{RECORDING_FRAGMENT_BYTES, RECORDING_FRAGMENT_US},
};

const VIDEO_TRACK: u32 = 1;
const AUDIO_TRACK: u32 = 2;
/// A keyframe begins a fragment of its own when the one before is so long, in microseconds.
const FRAGMENT_US_MIN: i64 = 400_000;
/// Frames of audio are next to each other within half a frame, in samples.
const AUDIO_TOLERANCE: u64 = FRAME_SAMPLES.unsigned_abs() / 2;
/// Duration of a frame of which nothing is known but that it is the last, in ticks: 1/30 s.
const FRAME_TICKS: u32 = VIDEO_TIMESCALE / 30;

/// What became of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placing {
    /// It is in the file, or is not to be in any.
    Taken,
    /// It cannot be in this file: another has to begin with it.
    NeedsNewFile,
}

/// One file that is being written.
#[derive(Debug)]
pub(super) struct Cutter {
    label: String,
    /// The parameter sets in the head of the file; none in a file without video.
    config: Option<Rc<ParameterSets>>,
    /// Other parameter sets came, so each keyframe brings its own from then on.
    in_band: bool,
    audio_config: Option<AacConfig>,
    /// Audio that is coded otherwise is left out: the next keyframe begins another file.
    other_audio: bool,
    /// Audio of which nothing is known is taken for this.
    audio_expected: AacConfig,
    /// Media time that is 0 in the file.
    base_us: i64,
    /// Where presentation begins, from there.
    begins_us: i64,
    /// Units from before are left out.
    from_us: i64,
    video: Pending,
    audio: Pending,
    /// DTS of the first unit that waits, and of the newest.
    since_us: Option<i64>,
    newest_us: i64,
    has_head: bool,
    sequence: u32,
}

/// Samples of one track that are in no fragment yet.
#[derive(Debug, Default)]
struct Pending {
    samples: Vec<Waiting>,
    bytes: usize,
    /// In ticks, of the last sample there was.
    last: Option<u64>,
    /// Of the last sample that another followed.
    duration: Option<u32>,
}

#[derive(Debug)]
struct Waiting {
    decoded_at: u64,
    composition_offset: i32,
    key: bool,
    parameter_sets: Option<Bytes>,
    payload: Bytes,
}

impl Cutter {
    /// A file that begins with this unit.
    pub(super) fn new(first: &Unit, audio_expected: AacConfig, label: String) -> Self {
        let config = match &first.kind {
            Kind::Video { config, .. } => Some(Rc::clone(config)),
            Kind::Audio { .. } | Kind::Opus { .. } => None,
        };
        Self {
            label,
            config,
            in_band: false,
            audio_config: None,
            other_audio: false,
            audio_expected,
            base_us: first.dts_us,
            begins_us: first.pts_us - first.dts_us,
            from_us: first.dts_us,
            video: Pending::default(),
            audio: Pending::default(),
            since_us: None,
            newest_us: first.dts_us,
            has_head: false,
            sequence: 1,
        }
    }

    /// How much of the show is in the file, in microseconds.
    pub(super) fn length_us(&self) -> i64 {
        self.newest_us - self.base_us
    }

    /// Whether a unit begins another file, since this one is so long or its audio is another: at a keyframe, or
    /// anywhere without video.
    pub(super) fn is_full(&self, unit: &Unit, length_us_max: i64) -> bool {
        let may_begin = unit.is_keyframe() || self.config.is_none();
        let is_long = unit.dts_us - self.base_us >= length_us_max;
        may_begin && (is_long || self.other_audio)
    }

    /// Puts a unit behind those that wait.
    pub(super) fn place(&mut self, unit: &Unit) -> Placing {
        match &unit.kind {
            Kind::Video { key, config } => {
                let Some(first) = &self.config else {
                    // Audio alone has no place for pictures.
                    return match key {
                        true => Placing::NeedsNewFile,
                        false => Placing::Taken,
                    };
                };
                self.in_band |= *key && config != first;
                let parameter_sets = (*key && self.in_band).then(|| parameter_sets(config));
                self.place_video(unit, *key, parameter_sets);
            }
            Kind::Audio { config } => {
                if *self.audio_config.get_or_insert(*config) == *config {
                    self.place_audio(unit, *config);
                } else if self.config.is_none() {
                    return Placing::NeedsNewFile;
                } else {
                    self.other_audio = true;
                }
            }
            Kind::Opus { .. } => return Placing::Taken,
        }
        Placing::Taken
    }

    fn place_video(&mut self, unit: &Unit, key: bool, parameter_sets: Option<Bytes>) {
        if unit.dts_us < self.from_us {
            return;
        }
        self.note(unit.dts_us);
        let at = ticks(unit.dts_us - self.base_us, VIDEO_TIMESCALE);
        let decoded_at = self.video.last.map_or(at, |last| at.max(last + 1));
        let shown_at = ticks(unit.pts_us - self.base_us, VIDEO_TIMESCALE);
        self.video.push(Waiting {
            decoded_at,
            composition_offset: i32::try_from(shown_at.saturating_sub(decoded_at)).unwrap_or(0),
            key,
            parameter_sets,
            payload: unit.payload.clone(),
        });
    }

    fn place_audio(&mut self, unit: &Unit, config: AacConfig) {
        if unit.dts_us < self.from_us {
            return;
        }
        self.note(unit.dts_us);
        let at = ticks(unit.dts_us - self.base_us, config.sample_rate);
        let next = self
            .audio
            .last
            .map(|last| last + FRAME_SAMPLES.unsigned_abs());
        let decoded_at = match (next, self.audio.last) {
            (Some(next), Some(last)) => match at.abs_diff(next) <= AUDIO_TOLERANCE {
                true => next,
                false => at.max(last + 1),
            },
            _ => at,
        };
        self.audio.push(Waiting {
            decoded_at,
            composition_offset: 0,
            key: true,
            parameter_sets: None,
            payload: unit.payload.clone(),
        });
    }

    fn note(&mut self, dts_us: i64) {
        self.since_us.get_or_insert(dts_us);
        self.newest_us = self.newest_us.max(dts_us);
    }

    /// What follows begins with this keyframe, right behind what is there: what lay between was not to be
    /// recorded.
    pub(super) fn close_gap(&mut self, keyframe: &Unit) {
        let frame_us = i64::from(FRAME_TICKS) * 1_000_000 / i64::from(VIDEO_TIMESCALE);
        let goes_on_us = self.newest_us + frame_us;
        let gap_us = (keyframe.dts_us - goes_on_us).max(0);
        self.base_us += gap_us;
        self.newest_us += gap_us;
        self.since_us = self.since_us.map(|since_us| since_us + gap_us);
        self.from_us = keyframe.dts_us;
    }

    /// Whether there is enough for a fragment, seen before `next` is placed.
    pub(super) fn is_due(&self, next: &Unit) -> bool {
        let Some(since_us) = self.since_us else {
            return false;
        };
        let waits_us = next.dts_us - since_us;
        waits_us >= RECORDING_FRAGMENT_US
            || (next.is_keyframe() && waits_us >= FRAGMENT_US_MIN)
            || self.video.bytes + self.audio.bytes >= RECORDING_FRAGMENT_BYTES
    }

    /// What waits as a fragment, behind the head of the file if that was not written yet; nothing where nothing
    /// waits.
    pub(super) fn cut(&mut self) -> Vec<Bytes> {
        self.since_us = None;
        let mut runs = Vec::with_capacity(2);
        if self.config.is_some() {
            runs.extend(self.video.run(VIDEO_TRACK, FRAME_TICKS));
        }
        let frame = u32::try_from(FRAME_SAMPLES).unwrap_or(0);
        runs.extend(self.audio.run(AUDIO_TRACK, frame));
        if runs.is_empty() {
            return Vec::new();
        }
        let mut slices = Vec::new();
        if !self.has_head {
            self.has_head = true;
            // The head says so from here on.
            self.audio_config.get_or_insert(self.audio_expected);
            slices.push(recording_head(&self.tracks(), &self.label));
        }
        match fragment(self.sequence, runs) {
            Ok(fragment) => slices.extend(fragment),
            // The ring holds a hundredth of what a fragment may.
            Err(error) => tracing::error!("a fragment of a recording is left out: {error}"),
        }
        self.sequence = self.sequence.wrapping_add(1);
        slices
    }

    /// Leaves out what waits; what follows has to begin with a keyframe.
    pub(super) fn drop_pending(&mut self) {
        self.since_us = None;
        self.video.clear();
        self.audio.clear();
    }

    fn tracks(&self) -> Vec<Track> {
        let begins_at = |timescale| Some(ticks(self.begins_us, timescale));
        let video = self.config.as_ref().map(|config| {
            let [width, height] =
                [config.width(), config.height()].map(|it| u16::try_from(it).unwrap_or(u16::MAX));
            let track = Track::video(VIDEO_TRACK, config.record().clone(), width, height);
            Track {
                begins_at: begins_at(VIDEO_TIMESCALE),
                codec: match track.codec {
                    // Whether others follow is not known yet.
                    Codec::Avc { record, .. } => Codec::Avc {
                        record,
                        width,
                        height,
                        in_band: true,
                    },
                    other @ Codec::Aac { .. } => other,
                },
                ..track
            }
        });
        let audio = self.audio_config.unwrap_or(self.audio_expected);
        let specific = Bytes::copy_from_slice(audio.specific_config());
        let channels = u16::try_from(audio.channels).unwrap_or(2);
        let audio = Track {
            begins_at: begins_at(audio.sample_rate),
            ..Track::audio(AUDIO_TRACK, specific, audio.sample_rate, channels)
        };
        video.into_iter().chain([audio]).collect()
    }
}

impl Pending {
    fn push(&mut self, sample: Waiting) {
        if let Some(last) = self.last {
            self.duration = u32::try_from(sample.decoded_at - last).ok();
        }
        self.last = Some(sample.decoded_at);
        self.bytes += sample.payload.len();
        self.samples.push(sample);
    }

    fn clear(&mut self) {
        self.bytes = 0;
        self.duration = None;
        self.samples.clear();
    }

    /// All samples as a run. The last is taken to be as long as the one before: the next fragment has the time
    /// of its own first.
    fn run(&mut self, track: u32, duration: u32) -> Option<TrackRun> {
        let decoded_at = self.samples.first()?.decoded_at;
        let last = self.duration.unwrap_or(duration);
        let next = self.samples.iter().skip(1).map(|it| Some(it.decoded_at));
        let next: Vec<Option<u64>> = next.chain([None]).collect();
        self.bytes = 0;
        let samples = self.samples.drain(..).zip(next).map(|(it, next)| Sample {
            duration: next
                .and_then(|next| u32::try_from(next - it.decoded_at).ok())
                .unwrap_or(last),
            composition_offset: it.composition_offset,
            key: it.key,
            parameter_sets: it.parameter_sets,
            payload: it.payload,
        });
        Some(TrackRun {
            track,
            decoded_at,
            samples: samples.collect(),
        })
    }
}

/// Parameter sets behind lengths of four bytes.
fn parameter_sets(config: &ParameterSets) -> Bytes {
    let nals = std::iter::once(config.sps_nal()).chain(config.pps_nals());
    let mut out = BytesMut::new();
    for nal in nals {
        out.put_u32(u32::try_from(nal.len()).unwrap_or(0));
        out.put_slice(nal);
    }
    out.freeze()
}
