//! Generates the part of a plan that is about video: what the transcoders can do, the video settings
//! of each destination, and how a publisher comes to violate passthrough constraints.

use shardcast_link::{
    PassthroughOverrides, Preset, Profile, Reencode, RenditionSpec, VideoCodec, VideoSettings,
};

use super::plan::{Change, Plan, ScheduledEvent};
use crate::random::Random;

/// In thousandths of a core: capacity for all renditions of a run, for one or two, for none.
const AMPLE_PERMILLE: u32 = 100_000;
const NARROW_PERMILLE: [u32; 4] = [250, 120, 20, 0];
/// The rendition that destinations share.
const SHARED: RenditionSpec = RenditionSpec {
    width: Some(1_280),
    height: 720,
    frames_per_second: 10,
    video_bps: 3_000_000,
    gop_ms: 2_000,
    preset: Preset::Superfast,
    profile: Profile::High,
    audio_bps: 128_000,
};

/// What the video transcoders of a run can do.
#[derive(Clone, Copy, Debug)]
pub(super) struct TranscoderPlan {
    pub(super) capacity_permille: u32,
    /// To decode a picture, and to encode one.
    pub(super) picture_us: u64,
    /// Of a thousand access units, those before which it does nothing for a while.
    pub(super) stalls_permille: u64,
    /// Of a thousand access units, those that it cannot decode.
    pub(super) errors_permille: u64,
    /// Renditions that fail some time after they began.
    pub(super) fails_percent: u64,
}

impl TranscoderPlan {
    /// Without codecs.
    pub(super) const NONE: Self = Self {
        capacity_permille: 0,
        picture_us: 0,
        stalls_permille: 0,
        errors_permille: 0,
        fails_percent: 0,
    };

    fn new(random: &mut Random) -> Self {
        let narrow = random.chance(30);
        let faulty = random.chance(40);
        let mut fault = |of: &[u64]| if faulty { random.pick(of) } else { 0 };
        Self {
            stalls_permille: fault(&[0, 5, 20]),
            errors_permille: fault(&[0, 0, 20]),
            fails_percent: fault(&[0, 0, 40]),
            capacity_permille: if narrow {
                random.pick(&NARROW_PERMILLE)
            } else {
                AMPLE_PERMILLE
            },
            picture_us: random.pick(&[2_000, 6_000, 14_000]),
        }
    }

    /// No rendition is ever refused.
    pub(super) fn is_ample(self) -> bool {
        self.capacity_permille == AMPLE_PERMILLE
    }

    /// Each picture comes in time, and none is missing.
    pub(super) fn is_punctual(self) -> bool {
        self.stalls_permille + self.errors_permille + self.fails_percent == 0
    }
}

impl Plan {
    /// Gives destinations video settings, lets operators change them, and makes the publisher send what
    /// some of them do not take.
    pub(super) fn pictures(&mut self, random: &mut Random) {
        self.transcoders = TranscoderPlan::new(random);
        for settings in &mut self.settings {
            *settings = wanted(random);
        }
        for (_, event) in &mut self.schedule {
            if let ScheduledEvent::Publish(session) = event
                && session.encoder.is_none()
                && random.chance(20)
            {
                session.codec = VideoCodec::Vp8;
            }
        }
        for _ in 0..random.index(4) {
            let at_ms = random.between(0, self.calm_ms);
            let destination = random.index(self.settings.len());
            self.schedule(at_ms, ScheduledEvent::Video(destination, wanted(random)));
        }
        for _ in 0..random.index(4) {
            let change = random.pick(&[
                Change::Size,
                Change::Size,
                Change::FrameBytes(30),
                Change::FrameBytes(10_000),
                Change::DeafPercent(100),
                Change::DeafPercent(0),
            ]);
            self.schedule(
                random.between(0, self.calm_ms.saturating_sub(2_000)),
                ScheduledEvent::Encoder(change),
            );
        }
    }
}

fn wanted(random: &mut Random) -> VideoSettings {
    let reencode = random.pick(&[
        Reencode::Off,
        Reencode::Auto,
        Reencode::Auto,
        Reencode::Always,
        Reencode::Always,
    ]);
    let rendition = match random.index(3) {
        0 => None,
        1 => Some(SHARED),
        _ => Some(own(random)),
    };
    VideoSettings {
        reencode,
        rendition,
        passthrough: PassthroughOverrides {
            keyframe_interval_ms_max: random.pick(&[None, Some(2_000)]),
            size_stable: random.pick(&[None, Some(true)]),
            video_bps_max: random.pick(&[None, Some(100_000)]),
        },
    }
}

fn own(random: &mut Random) -> RenditionSpec {
    RenditionSpec {
        width: random.pick(&[None, Some(1_280)]),
        height: random.pick(&[360, 720]),
        frames_per_second: random.pick(&[5, 10]),
        video_bps: random.pick(&[500_000, 1_500_000]),
        gop_ms: random.pick(&[1_000, 2_000, 4_000]),
        audio_bps: random.pick(&[96_000, 128_000, 160_000]),
        ..SHARED
    }
}
