//! Whether a shard has the capacity for another rendition: its cost, by what the shard has measured,
//! against what the shard may spend.
//!
//! The shard decides for itself when a rendition begins, and ends rungs that viewers alone are sent where it has no room
//! otherwise, so these do not count. This is checked before a change is stored, so that its client gets an
//! error. Costs are in thousandths of a core.

use std::collections::VecDeque;

use shardcast_link::{BroadcastId, BroadcastStatus, CodecStatus, Preset, RenditionSpec};

use crate::{limits, source};

/// A rendition is refused: the server does not re-encode, or is too small. The operator can change that,
/// or the client can ask for less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TranscodeRefusal {
    #[error("this server re-encodes nothing: reencode_enabled is false")]
    Disabled,
    #[error("this server re-encodes nothing: it was built or started without codecs")]
    NoCodecs,
    #[error(
        "a broadcast may have {max} different renditions, and with this there would be {0}; let \
         destinations share one",
        max = limits::RENDITIONS_MAX
    )]
    TooMany(usize),
    #[error(
        "the shard of this broadcast has no room to re-encode for another destination: {width}x{height} at \
         {frames_per_second} frames a second needs about {} % of a core, {} % of {} % are in use; \
         remove one, lower its size or preset, or add codec cores",
        percent(*.needed), percent(*.used), percent(*.capacity)
    )]
    Full {
        /// Of the largest one that is asked for.
        width: u32,
        height: u32,
        frames_per_second: u32,
        /// For all that is asked for.
        needed: u32,
        used: u32,
        capacity: u32,
    },
}

fn percent(permille: u32) -> u32 {
    permille.div_ceil(10)
}

/// What a change to a broadcast's destinations does to its renditions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RenditionDelta {
    /// Asked for by new or changed destinations.
    pub(crate) begin: Vec<RenditionSpec>,
    /// No longer asked for by any destination.
    pub(crate) end: Vec<RenditionSpec>,
}

/// Renditions that were admitted and that no report shows yet. At most
/// [`limits::CODEC_ADMITTED_MAX`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Admitted(VecDeque<Reservation>);

#[derive(Clone, Debug)]
struct Reservation {
    broadcast: BroadcastId,
    spec: RenditionSpec,
    permille: u32,
    /// Decoding, beside the first rendition of a broadcast.
    decode_permille: u32,
    /// That came since, without it.
    reports: u32,
}

impl Admitted {
    /// A report has come, in which `is_shown` says what is made; its use includes that.
    pub(crate) fn reported(&mut self, is_shown: impl Fn(&BroadcastId, &RenditionSpec) -> bool) {
        self.0.retain_mut(|reservation| {
            reservation.reports += 1;
            reservation.reports < limits::CODEC_ADMITTED_REPORTS
                && !is_shown(&reservation.broadcast, &reservation.spec)
        });
    }

    /// Lets `delta` of `broadcast` in, as long as a shard that reports `codec` and `live` has
    /// room for it.
    ///
    /// # Errors
    /// When it has none. What is counted stays as it was then.
    pub(crate) fn admit(
        &mut self,
        codec: &CodecStatus,
        broadcast: &BroadcastId,
        live: Option<&BroadcastStatus>,
        delta: &RenditionDelta,
    ) -> Result<(), TranscodeRefusal> {
        let source = Source::of(live);
        let mut next = self.without(broadcast, &delta.end);
        let mut new: Vec<(RenditionSpec, u32)> = Vec::new();
        for spec in &delta.begin {
            let is_counted = is_made(live, spec)
                || next.has(broadcast, spec)
                || new.iter().any(|(other, _)| other == spec);
            if !is_counted {
                new.push((*spec, source.rendition_permille(codec, spec)));
            }
        }
        let Some((largest, _)) = new.iter().copied().max_by_key(|(_, permille)| *permille) else {
            *self = next;
            return Ok(());
        };
        if codec.capacity_permille == 0 {
            return Err(TranscodeRefusal::NoCodecs);
        }
        let mut decode = match live.and_then(|live| live.decoder) {
            None if !next.has_any(broadcast) => source.decode_permille(codec),
            _ => 0,
        };
        let needed = sum(new.iter().map(|(_, permille)| *permille)).saturating_add(decode);
        let ending = delta.end.iter().filter(|spec| is_made(live, spec));
        let freed = sum(ending.map(|spec| source.rendition_permille(codec, spec)));
        let staying = codec.used_permille.saturating_sub(codec.yielding_permille);
        let used = staying.saturating_add(self.permille());
        let given_back = self.permille().saturating_sub(next.permille());
        let staying = used.saturating_sub(freed.saturating_add(given_back));
        if staying.saturating_add(needed) > codec.capacity_permille {
            return Err(TranscodeRefusal::Full {
                width: source.width_of(&largest),
                height: largest.height,
                frames_per_second: largest.frames_per_second,
                needed,
                used,
                capacity: codec.capacity_permille,
            });
        }
        for (spec, permille) in new {
            next.reserve(Reservation {
                broadcast: broadcast.clone(),
                spec,
                permille,
                decode_permille: std::mem::take(&mut decode),
                reports: 0,
            });
        }
        *self = next;
        Ok(())
    }

    /// Forgets what `broadcast`, which is over, waits for.
    pub(crate) fn forget(&mut self, broadcast: &BroadcastId) {
        self.0.retain(|known| known.broadcast != *broadcast);
    }

    /// These without the `ended` ones of `broadcast`. Its decoder stays with those that are left.
    fn without(&self, broadcast: &BroadcastId, ended: &[RenditionSpec]) -> Self {
        let mut rest = self.clone();
        let mut decode = 0_u32;
        rest.0.retain(|known| {
            let ends = known.broadcast == *broadcast && ended.contains(&known.spec);
            if ends {
                decode = decode.saturating_add(known.decode_permille);
            }
            !ends
        });
        let mut left = rest.0.iter_mut();
        if let Some(heir) = left.find(|known| known.broadcast == *broadcast) {
            heir.decode_permille = heir.decode_permille.saturating_add(decode);
        }
        rest
    }

    fn permille(&self) -> u32 {
        let costs = self.0.iter();
        sum(costs.map(|known| known.permille.saturating_add(known.decode_permille)))
    }

    fn has_any(&self, broadcast: &BroadcastId) -> bool {
        self.0.iter().any(|known| known.broadcast == *broadcast)
    }

    fn has(&self, broadcast: &BroadcastId, spec: &RenditionSpec) -> bool {
        let mut known = self.0.iter();
        known.any(|known| known.broadcast == *broadcast && known.spec == *spec)
    }

    fn reserve(&mut self, reservation: Reservation) {
        if self.0.len() == limits::CODEC_ADMITTED_MAX {
            self.0.pop_front();
        }
        self.0.push_back(reservation);
    }
}

/// Whether it is made for destinations: one that yields costs as much as one that has to begin, since it did not count.
fn is_made(live: Option<&BroadcastStatus>, spec: &RenditionSpec) -> bool {
    let mut made = live.iter().flat_map(|live| &live.renditions);
    made.any(|made| made.spec == *spec && made.problem.is_none() && !made.yields)
}

fn sum(parts: impl Iterator<Item = u32>) -> u32 {
    parts.fold(0, u32::saturating_add)
}

/// CPU of decoding a usual publisher and of encoding renditions of these heights, in thousandths of a
/// core; 0 without renditions.
pub(super) fn expected_permille(codec: &CodecStatus, heights: &[u32]) -> u64 {
    let source = Source::of(None);
    let renditions = heights.iter().map(|height| {
        let spec = RenditionSpec::of_height(*height);
        u64::from(source.rendition_permille(codec, &spec))
    });
    let decode = source.decode_permille(codec);
    match heights {
        [] => 0,
        // Of a shard without codecs too, so that its capacity of 0 is asked for.
        _ => u64::from(decode).saturating_add(renditions.sum()).max(1),
    }
}

/// The publisher's video; a usual one while it is not known.
#[derive(Clone, Copy, Debug)]
struct Source {
    width: u32,
    height: u32,
    frames_per_second: u32,
}

impl Source {
    fn of(live: Option<&BroadcastStatus>) -> Self {
        let (width, height) = live.and_then(source::size).unwrap_or((1_280, 720));
        let video = live.and_then(|live| live.publisher.as_ref()?.video.as_ref());
        let rate = video.map_or(0, |video| video.frames_per_second);
        Self {
            width,
            height,
            frames_per_second: if rate > 0 { rate } else { 30 },
        }
    }

    fn decode_permille(&self, codec: &CodecStatus) -> u32 {
        let pixels = pixels(self.width, self.height);
        permille(codec.decode_720p_us.into(), pixels, self.frames_per_second)
    }

    /// Scaling and encoding.
    fn rendition_permille(&self, codec: &CodecStatus, spec: &RenditionSpec) -> u32 {
        let encode_us = u64::from(codec.encode_720p_us) * preset_permille(spec.preset) / 1_000;
        let frame_us = encode_us + u64::from(codec.scale_720p_us);
        let pixels = pixels(self.width_of(spec), spec.height);
        permille(frame_us, pixels, spec.frames_per_second)
    }

    /// The width of a rendition; without one of its own it has the shape of the source.
    fn width_of(&self, spec: &RenditionSpec) -> u32 {
        spec.width.unwrap_or_else(|| {
            let height = u64::from(self.height.max(1));
            let width = u64::from(spec.height) * u64::from(self.width) / height;
            u32::try_from(width.next_multiple_of(2)).unwrap_or(u32::MAX)
        })
    }
}

fn pixels(width: u32, height: u32) -> u64 {
    u64::from(width) * u64::from(height)
}

/// CPU for frames that take `frame_us` at 1280×720, in thousandths of a core.
fn permille(frame_us: u64, pixels: u64, frames_per_second: u32) -> u32 {
    let us_per_frame = frame_us.saturating_mul(pixels) / pixels_of_720p();
    // A core has a thousand microseconds for each thousandth of it in a second.
    let permille = us_per_frame.saturating_mul(frames_per_second.into()) / 1_000;
    u32::try_from(permille).unwrap_or(u32::MAX)
}

fn pixels_of_720p() -> u64 {
    pixels(1_280, 720)
}

/// Time of a preset in thousandths of that of superfast.
fn preset_permille(preset: Preset) -> u64 {
    match preset {
        Preset::Ultrafast => 700,
        Preset::Superfast => 1_000,
        Preset::Veryfast => 1_700,
        Preset::Faster => 3_500,
    }
}

#[cfg(test)]
#[path = "transcode_admission_tests.rs"]
mod tests;
