//! The encoder: frame after frame through all steps.

use crate::allocation::Allocation;
use crate::bands::{LONG_BANDS, Layout, SHORT_BANDS, SHORT_LINES, SHORT_WINDOWS};
use crate::block_switching::{AttackDetector, BlockSwitching};
use crate::channel::CodedChannel;
use crate::history::History;
use crate::mdct::Mdct;
use crate::psychoacoustics::{self, Psychoacoustics, band_energies};
use crate::quantise::quantise;
use crate::rate::{Budget, Reservoir};
use crate::scale_factors::set_scale_factors;
use crate::sections::choose_books;
use crate::stereo::{MidSide, StereoChannel, code_mid_side};
use crate::syntax::{self, Pair};
use crate::{AacError, BITRATE_MAX_BPS, BITRATE_MIN_BPS, FRAME_SAMPLES, SAMPLE_RATE, window};

/// The most quantisations of a frame before its steps only become coarser.
const PASSES: usize = 3;
/// A frame whose bits are within these parts of its target is not quantised again.
const TARGET_LOW: f32 = 0.88;
const TARGET_HIGH: f32 = 1.08;
/// How fast the ratio of bits to entropy follows.
const BITS_FOLLOW: f32 = 0.3;

/// What is kept of one channel from frame to frame.
#[derive(Debug, Clone)]
struct Input {
    history: History,
    attacks: AttackDetector,
    psychoacoustics: Psychoacoustics,
}

impl Input {
    fn new() -> Self {
        Self {
            history: History::new(),
            attacks: AttackDetector::new(),
            psychoacoustics: Psychoacoustics::new(),
        }
    }
}

/// What depends on the bit rate that one coded channel has.
#[derive(Debug)]
struct Profile {
    bandwidth_hz: u32,
    /// The most noise of each band, as a part of its energy, that keeps the band from vanishing.
    long_limits: [f32; LONG_BANDS],
    short_limits: [f32; SHORT_BANDS],
}

/// Memory of one frame's work.
#[derive(Debug)]
struct Work {
    mdct: Mdct,
    windowed: [f32; 2 * FRAME_SAMPLES],
    short_windowed: [[f32; 2 * SHORT_LINES]; SHORT_WINDOWS],
    transform: [f32; FRAME_SAMPLES],
    allocation: Allocation,
}

/// Encodes 48 kHz audio to AAC-LC at a constant bit rate.
#[derive(Debug)]
pub struct Encoder {
    inputs: Box<[Input; 2]>,
    /// For each block of the history, newest last: whether both channels are the left one.
    mono: [bool; 3],
    switching: BlockSwitching,
    coded: Box<[CodedChannel; 2]>,
    work: Box<Work>,
    reservoir: Reservoir,
    /// Bits that a bit of entropy has cost so far.
    bits_per_entropy: f32,
    stereo_profile: Profile,
    mono_profile: Profile,
    started: bool,
}

impl Encoder {
    /// An encoder for so many bit/s, both channels together.
    ///
    /// # Errors
    /// If the rate is outside of [`BITRATE_MIN_BPS`]`..=`[`BITRATE_MAX_BPS`].
    pub fn new(bitrate_bps: u32) -> Result<Self, AacError> {
        if !(BITRATE_MIN_BPS..=BITRATE_MAX_BPS).contains(&bitrate_bps) {
            return Err(AacError::Bitrate(bitrate_bps));
        }
        Ok(Self {
            inputs: Box::new([Input::new(), Input::new()]),
            mono: [true; 3],
            switching: BlockSwitching::new(),
            coded: Box::new([CodedChannel::new(), CodedChannel::new()]),
            work: Box::new(Work {
                mdct: Mdct::new(),
                windowed: [0.0; 2 * FRAME_SAMPLES],
                short_windowed: [[0.0; 2 * SHORT_LINES]; SHORT_WINDOWS],
                transform: [0.0; FRAME_SAMPLES],
                allocation: Allocation::new(),
            }),
            reservoir: Reservoir::new(bitrate_bps),
            bits_per_entropy: 1.0,
            stereo_profile: Profile::new(bitrate_bps / 2),
            mono_profile: Profile::new(bitrate_bps),
            started: false,
        })
    }

    /// The AudioSpecificConfig of every stream: AAC-LC, 48 kHz, stereo (ISO/IEC 14496-3, 1.6.2.1).
    #[must_use]
    pub const fn audio_specific_config() -> [u8; 2] {
        [0x11, 0x90]
    }

    /// Takes the next 1024 samples of each channel, within -1.0..=1.0, and appends one
    /// raw_data_block to `out`; false when there is none yet, which is so at the first call.
    ///
    /// Frame k, counted from 0, decodes to samples `(k - 1) * 1024..k * 1024` of the input: the
    /// encoder looks one block ahead, and the transform overlaps by one.
    ///
    /// Without `right` both channels are `left`. Mono and stereo may follow each other at any
    /// call. Samples that are not finite count as zero, those out of range are clamped.
    pub fn encode(
        &mut self,
        left: &[f32; FRAME_SAMPLES],
        right: Option<&[f32; FRAME_SAMPLES]>,
        out: &mut Vec<u8>,
    ) -> bool {
        self.push(left, right.filter(|right| *right != left));
        if !self.started {
            self.started = true;
            return false;
        }
        let (sequence, grouping) = self.switching.next();
        let mono = self.mono[0] && self.mono[1];
        let bandwidth_hz = self.profile(mono).bandwidth_hz;
        let layout = Layout::new(sequence, grouping, bandwidth_hz);
        let silent = |input: &Input| input.history.is_silent();
        if silent(&self.inputs[0]) && (mono || silent(&self.inputs[1])) {
            for input in &mut *self.inputs {
                input.psychoacoustics.silence();
            }
            let budget = self.reservoir.silent_budget();
            let bits = syntax::write(out, &layout, &Pair::Silence, budget.least);
            self.reservoir.spend(bits);
            return true;
        }
        let mid_side = self.analyse(&layout, mono);
        self.quantise_and_write(&layout, &mid_side, mono, out);
        true
    }

    /// Takes a block into the history and looks for attacks.
    fn push(&mut self, left: &[f32; FRAME_SAMPLES], right: Option<&[f32; FRAME_SAMPLES]>) {
        let [first, second] = &mut *self.inputs;
        if right.is_some() && self.mono == [true; 3] {
            second.clone_from(first);
        }
        first.history.push(left);
        let mut attacks = first.attacks.find(first.history.newest());
        self.mono = [self.mono[1], self.mono[2], right.is_none()];
        if self.mono != [true; 3] {
            second.history.push(right.unwrap_or(left));
            attacks |= second.attacks.find(second.history.newest());
        }
        self.switching.push(attacks);
    }

    fn profile(&self, mono: bool) -> &Profile {
        if mono {
            &self.mono_profile
        } else {
            &self.stereo_profile
        }
    }

    /// Transforms the frame and finds what it masks.
    fn analyse(&mut self, layout: &Layout, mono: bool) -> MidSide {
        let channels = if mono { 1 } else { 2 };
        let work = &mut *self.work;
        for (input, coded) in self.inputs.iter_mut().zip(&mut *self.coded).take(channels) {
            let samples = input.history.frame();
            if layout.is_short() {
                window::short(samples, &mut work.short_windowed);
                work.mdct.short(&work.short_windowed, &mut work.transform);
            } else {
                window::long(layout.sequence, samples, &mut work.windowed);
                work.mdct.long(&work.windowed, &mut work.transform);
            }
            layout.interleave(&work.transform, &mut coded.lines);
            band_energies(layout, &coded.lines, &mut coded.energies);
            input
                .psychoacoustics
                .thresholds(layout, &coded.energies, &mut coded.thresholds);
        }
        if mono {
            // The channel that is not coded has masked what the other has.
            let [first, second] = &mut *self.inputs;
            second.psychoacoustics.clone_from(&first.psychoacoustics);
        }
        let mid_side = if mono {
            MidSide::NONE
        } else {
            let [left, right] = &mut *self.coded;
            code_mid_side(
                layout,
                &mut stereo_channel(left),
                &mut stereo_channel(right),
            )
        };
        for coded in self.coded.iter_mut().take(channels) {
            coded.measure(layout);
        }
        mid_side
    }

    /// Finds steps that the budget has room for.
    fn quantise_and_write(
        &mut self,
        layout: &Layout,
        mid_side: &MidSide,
        mono: bool,
        out: &mut Vec<u8>,
    ) {
        let channels = if mono { 1 } else { 2 };
        let profile = if mono {
            &self.mono_profile
        } else {
            &self.stereo_profile
        };
        let limits: &[f32] = if layout.is_short() {
            &profile.short_limits[..layout.max_sfb]
        } else {
            &profile.long_limits[..layout.max_sfb]
        };
        let allocation = &mut self.work.allocation;
        allocation.clear();
        for coded in &self.coded[..channels] {
            allocation.push(coded, layout.bands, limits);
        }
        let budget = self.reservoir.budget(allocation.demand());
        let side_bits = syntax::side_bits(layout, &pair(&self.coded, mid_side, mono));

        let mut ratio = self.bits_per_entropy;
        let mut bits = 0;
        for _ in 0..PASSES {
            let entropy = allocation.solve(goal(budget, side_bits) / ratio).max(1.0);
            bits = code(
                &mut self.coded[..channels],
                layout,
                &allocation.thresholds,
                0,
            );
            ratio = (bits as f32 / entropy).clamp(0.3, 3.0);
            let part = (bits + side_bits) as f32 / budget.target as f32;
            if (TARGET_LOW..=TARGET_HIGH).contains(&part) {
                break;
            }
        }
        self.bits_per_entropy += BITS_FOLLOW * (ratio - self.bits_per_entropy);
        let mut coarser = 0;
        while bits + side_bits > budget.most {
            coarser += 2;
            bits = code(
                &mut self.coded[..channels],
                layout,
                &allocation.thresholds,
                coarser,
            );
        }
        let pair = pair(&self.coded, mid_side, mono);
        let written = syntax::write(out, layout, &pair, budget.least);
        debug_assert!(
            written == (bits + side_bits).next_multiple_of(8).max(budget.least),
            "counted {bits} + {side_bits}, written {written}"
        );
        self.reservoir.spend(written);
    }
}

/// Bits for sections, scale factors and lines.
fn goal(budget: Budget, side_bits: u32) -> f32 {
    budget.target.saturating_sub(side_bits).max(16) as f32
}

/// Quantises all channels and counts their bits.
fn code(channels: &mut [CodedChannel], layout: &Layout, thresholds: &[f32], coarser: i16) -> u32 {
    let mut bits = 0;
    for (channel, thresholds) in channels.iter_mut().zip(thresholds.chunks(layout.bands)) {
        set_scale_factors(channel, layout, thresholds, coarser);
        quantise(channel, layout);
        bits += choose_books(channel, layout);
    }
    bits
}

fn pair<'a>(coded: &'a [CodedChannel; 2], mid_side: &'a MidSide, mono: bool) -> Pair<'a> {
    if mono {
        Pair::Mono(&coded[0])
    } else {
        Pair::Stereo(coded, mid_side)
    }
}

fn stereo_channel(channel: &mut CodedChannel) -> StereoChannel<'_> {
    StereoChannel {
        lines: &mut channel.lines,
        energies: &channel.energies,
        thresholds: &mut channel.thresholds,
    }
}

impl Profile {
    /// What suits so many bit/s for one channel.
    fn new(bitrate_bps: u32) -> Self {
        let bits = bitrate_bps as f32 * FRAME_SAMPLES as f32 / SAMPLE_RATE as f32;
        Self {
            bandwidth_hz: bandwidth_hz(bitrate_bps),
            long_limits: noise_limits(
                &psychoacoustics::LONG.bark,
                &crate::bands::LONG_OFFSETS,
                bits,
            ),
            short_limits: noise_limits(
                &psychoacoustics::SHORT.bark,
                &crate::bands::SHORT_OFFSETS,
                bits / SHORT_WINDOWS as f32,
            ),
        }
    }
}

/// Highest frequency that is coded at so many bit/s for one channel.
fn bandwidth_hz(bitrate_bps: u32) -> u32 {
    const POINTS: [(u32, u32); 6] = [
        (16_000, 8_000),
        (24_000, 12_600),
        (32_000, 16_100),
        (48_000, 19_000),
        (64_000, 20_500),
        (96_000, 21_500),
    ];
    for pair in POINTS.windows(2) {
        let ((low, from), (high, to)) = (pair[0], pair[1]);
        if bitrate_bps <= high {
            let above = bitrate_bps.saturating_sub(low);
            return from + (to - from) * above / (high - low);
        }
    }
    POINTS[POINTS.len() - 1].1
}

/// The noise, as a part of a band's energy, that each band has when every Bark gets 2.4 % of a
/// window's bits.
fn noise_limits<const N: usize>(bark: &[f32; N], offsets: &[u16], bits: f32) -> [f32; N] {
    const BITS_PER_ENTROPY: f32 = 1.18;
    core::array::from_fn(|band| {
        let width = f32::from(offsets[band + 1] - offsets[band]);
        let line_bits = 0.024 * BITS_PER_ENTROPY * bits * bark[band] / width;
        let ratio = line_bits.exp2() - 1.5;
        (1.0 / ratio.max(1.0)).clamp(0.003, 0.8)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_mono_both_channels_have_masked_the_same() {
        let tone = |hertz: f32, level: f32| -> [f32; FRAME_SAMPLES] {
            core::array::from_fn(|n| level * (hertz * n as f32 * 0.000_131).sin())
        };
        let (loud, quiet) = (tone(7_000.0, 0.8), tone(440.0, 0.05));
        let mut encoder = Encoder::new(96_000).unwrap();
        let mut out = Vec::new();
        // The fewest blocks of mono that make one mono frame, so that the right channel's state is its own.
        let rights = [
            Some(&loud),
            Some(&loud),
            Some(&loud),
            None,
            None,
            Some(&loud),
        ];
        for right in rights {
            out.clear();
            encoder.encode(&quiet, right, &mut out);
        }
        assert_eq!(encoder.mono, [true, true, false]);
        let [left, right] = &*encoder.inputs;
        assert_eq!(left.psychoacoustics, right.psychoacoustics);
    }
}
