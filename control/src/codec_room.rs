//! Whether a shard has room to make another rendition: what it would cost, by what the shard has
//! measured, against what it may spend.
//!
//! The shard decides for itself when a rendition begins. This is asked before a change is stored, so
//! that whoever makes it is told in words. Costs are in thousandths of a core.

use std::collections::VecDeque;

use shardcast_link::{BroadcastId, BroadcastStatus, CodecStatus, Preset, RenditionSpec};

use crate::{limits, source};

/// A rendition that is not begun. The operator's machine is too small for what is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RoomError {
    #[error("this server re-encodes nothing: it was built or started without codecs")]
    NoCodecs,
    #[error(
        "this machine has no room to re-encode for another destination: {width}x{height} at \
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
pub(crate) struct Turnover {
    /// Asked for by what is new or changed.
    pub(crate) begin: Vec<RenditionSpec>,
    /// Asked for by nobody any more.
    pub(crate) end: Vec<RenditionSpec>,
}

/// Renditions that were let in and that no report shows yet. At most
/// [`limits::CODEC_ADMITTED_MAX`].
#[derive(Debug, Default)]
pub(crate) struct Admitted(VecDeque<Reservation>);

#[derive(Debug)]
struct Reservation {
    broadcast: BroadcastId,
    spec: RenditionSpec,
    permille: u32,
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

    /// Lets `turnover` of `broadcast` in, as long as a shard that reports `codec` and `live` has
    /// room for it.
    ///
    /// # Errors
    /// When it has none. Nothing is counted then.
    pub(crate) fn admit(
        &mut self,
        codec: &CodecStatus,
        broadcast: &BroadcastId,
        live: Option<&BroadcastStatus>,
        turnover: &Turnover,
    ) -> Result<(), RoomError> {
        let source = Source::of(live);
        let is_made = |spec: &RenditionSpec| {
            let mut made = live.iter().flat_map(|live| &live.renditions);
            made.any(|made| made.spec == *spec && made.problem.is_none())
        };
        let mut new: Vec<(RenditionSpec, u32)> = Vec::new();
        for spec in &turnover.begin {
            let is_counted = is_made(spec)
                || self.has(broadcast, spec)
                || new.iter().any(|(other, _)| other == spec);
            if !is_counted {
                new.push((*spec, source.rendition_permille(codec, spec)));
            }
        }
        let Some((largest, _)) = new.iter().copied().max_by_key(|(_, permille)| *permille) else {
            return Ok(());
        };
        if codec.capacity_permille == 0 {
            return Err(RoomError::NoCodecs);
        }
        let is_decoded = live.is_some_and(|live| live.decoder.is_some())
            || self.0.iter().any(|known| known.broadcast == *broadcast);
        if let (false, Some((_, first))) = (is_decoded, new.first_mut()) {
            *first = first.saturating_add(source.decode_permille(codec));
        }
        let needed = sum(new.iter().map(|(_, permille)| *permille));
        let ending = turnover.end.iter().filter(|spec| is_made(spec));
        let freed = sum(ending.map(|spec| source.rendition_permille(codec, spec)));
        let waiting = sum(self.0.iter().map(|known| known.permille));
        let used = codec.used_permille.saturating_add(waiting);
        if used.saturating_sub(freed).saturating_add(needed) > codec.capacity_permille {
            return Err(RoomError::Full {
                width: source.width_of(&largest),
                height: largest.height,
                frames_per_second: largest.frames_per_second,
                needed,
                used,
                capacity: codec.capacity_permille,
            });
        }
        for (spec, permille) in new {
            self.reserve(broadcast, spec, permille);
        }
        Ok(())
    }

    fn has(&self, broadcast: &BroadcastId, spec: &RenditionSpec) -> bool {
        let mut known = self.0.iter();
        known.any(|known| known.broadcast == *broadcast && known.spec == *spec)
    }

    fn reserve(&mut self, broadcast: &BroadcastId, spec: RenditionSpec, permille: u32) {
        if self.0.len() == limits::CODEC_ADMITTED_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Reservation {
            broadcast: broadcast.clone(),
            spec,
            permille,
            reports: 0,
        });
    }
}

fn sum(parts: impl Iterator<Item = u32>) -> u32 {
    parts.fold(0, u32::saturating_add)
}

/// The picture that comes in; a usual one while it is not known.
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

/// Of a core, for pictures that take `frame_us` at 1280×720.
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
mod tests {
    use shardcast_link::{DecoderStatus, PublisherStatus, SessionId, VideoCodec, VideoStatus};

    use super::*;

    /// A 720p30 rendition costs 210 here, and a 720p30 source 60.
    fn codec(used_permille: u32) -> CodecStatus {
        CodecStatus {
            capacity_permille: 800,
            used_permille,
            decode_720p_us: 2_000,
            scale_720p_us: 500,
            encode_720p_us: 6_500,
            refused: 0,
        }
    }

    fn id() -> BroadcastId {
        BroadcastId::new("app", "s1").unwrap()
    }

    fn begin(specs: &[RenditionSpec]) -> Turnover {
        Turnover {
            begin: specs.to_vec(),
            end: Vec::new(),
        }
    }

    fn rendition(spec: RenditionSpec) -> shardcast_link::RenditionStatus {
        serde_json::from_value(serde_json::json!({
            "spec": spec, "width": 0, "height": 0, "destinations": 1, "frames": 0, "repeated": 0,
            "dropped": 0, "keyframes": 0, "scale_us": 0, "encode_us": 0, "bitrate_bps": 0,
            "preset": "superfast", "frames_per_second": 30
        }))
        .unwrap()
    }

    /// A source of 1920×1080 at 60 frames a second that is decoded for `specs`.
    fn decoded(specs: &[RenditionSpec]) -> BroadcastStatus {
        let publisher = PublisherStatus {
            session: SessionId("s".into()),
            since_unix_ms: 0,
            remote: String::new(),
            video: Some(VideoStatus {
                width: 1_920,
                height: 1_080,
                frames_per_second: 60,
                ..VideoStatus::default()
            }),
            audio: None,
            bytes_received: 0,
            bitrate_bps: 0,
            packets_lost: 0,
            jitter_ms: 0,
            rtt_ms: 0,
            media_age_ms: 0,
        };
        BroadcastStatus {
            publisher: Some(publisher),
            decoder: (!specs.is_empty()).then_some(DecoderStatus {
                codec: VideoCodec::Vp8,
                width: 1_920,
                height: 1_080,
                frames: 0,
                errors: 0,
                late: 0,
                cpu_us: 0,
            }),
            renditions: specs.iter().copied().map(rendition).collect(),
            ..BroadcastStatus::new(id())
        }
    }

    #[test]
    fn a_cost_grows_with_pixels_pictures_and_preset() {
        let source = Source::of(None);
        let cost = |spec: RenditionSpec| source.rendition_permille(&codec(0), &spec);
        let usual = RenditionSpec::of_height(720);
        assert_eq!((cost(usual), source.decode_permille(&codec(0))), (210, 60));
        let half = RenditionSpec {
            width: Some(640),
            ..usual
        };
        let faster = RenditionSpec {
            preset: Preset::Faster,
            ..usual
        };
        let fifteen = RenditionSpec {
            frames_per_second: 15,
            ..usual
        };
        assert_eq!((cost(half), cost(fifteen)), (105, 105));
        assert_eq!(cost(faster), 697);
        let source = Source::of(Some(&decoded(&[])));
        assert_eq!(source.decode_permille(&codec(0)), 270);
        let huge = CodecStatus {
            encode_720p_us: u32::MAX,
            ..codec(0)
        };
        let spec = RenditionSpec {
            width: Some(u32::MAX),
            height: u32::MAX,
            frames_per_second: u32::MAX,
            ..faster
        };
        assert_eq!(source.rendition_permille(&huge, &spec), u32::MAX);
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_numbers() {
        let mut admitted = Admitted::default();
        let usual = RenditionSpec {
            width: Some(1_280),
            ..RenditionSpec::of_height(720)
        };
        let live = decoded(&[RenditionSpec::of_height(360)]);
        let refused = admitted.admit(&codec(740), &id(), Some(&live), &begin(&[usual]));
        assert_eq!(
            refused.unwrap_err().to_string(),
            "this machine has no room to re-encode for another destination: 1280x720 at 30 frames \
             a second needs about 21 % of a core, 74 % of 80 % are in use; remove one, lower its \
             size or preset, or add codec cores"
        );
        let none = CodecStatus::default();
        let refused = admitted.admit(&none, &id(), Some(&live), &begin(&[usual]));
        assert_eq!(refused, Err(RoomError::NoCodecs));
        let equal = begin(&[RenditionSpec::of_height(360)]);
        assert_eq!(admitted.admit(&none, &id(), Some(&live), &equal), Ok(()));
        // Exactly full is not too full.
        let room = admitted.admit(&codec(590), &id(), Some(&live), &begin(&[usual]));
        assert_eq!(room, Ok(()));
    }

    #[test]
    fn the_source_is_decoded_once() {
        let mut admitted = Admitted::default();
        let specs = [720, 480, 360].map(RenditionSpec::of_height);
        // 60 to decode, 210, 93 and 52.
        let whole = codec(800 - 415);
        let short = codec(800 - 414);
        assert!(admitted.admit(&short, &id(), None, &begin(&specs)).is_err());
        assert_eq!(admitted.admit(&whole, &id(), None, &begin(&specs)), Ok(()));
        assert_eq!(admitted.0.len(), 3);
    }

    #[test]
    fn what_was_let_in_counts_until_a_report_has_it_or_enough_have_not() {
        let mut admitted = Admitted::default();
        let of = |height| begin(&[RenditionSpec::of_height(height)]);
        assert_eq!(admitted.admit(&codec(400), &id(), None, &of(720)), Ok(()));
        let equal = admitted.admit(&codec(400), &id(), None, &of(720));
        assert_eq!((equal, admitted.0.len()), (Ok(()), 1));
        let refused = admitted.admit(&codec(400), &id(), None, &of(718));
        assert!(
            matches!(refused, Err(RoomError::Full { used: 670, .. })),
            "{refused:?}"
        );
        admitted.reported(|_, spec| spec.height == 720);
        assert_eq!(admitted.admit(&codec(400), &id(), None, &of(718)), Ok(()));
        for _ in 0..limits::CODEC_ADMITTED_REPORTS {
            assert_eq!(admitted.0.len(), 1);
            admitted.reported(|_, _| false);
        }
        assert!(admitted.0.is_empty());
    }

    #[test]
    fn what_ends_makes_room_for_what_takes_its_place() {
        let mut admitted = Admitted::default();
        let [old, new] = [720, 480].map(RenditionSpec::of_height);
        let live = decoded(&[old]);
        let change = Turnover {
            begin: vec![new],
            end: vec![old],
        };
        assert_eq!(
            admitted.admit(&codec(790), &id(), Some(&live), &change),
            Ok(())
        );
        let larger = Turnover {
            begin: vec![RenditionSpec::of_height(1_080)],
            end: vec![old],
        };
        let refused = Admitted::default().admit(&codec(790), &id(), Some(&live), &larger);
        assert!(
            matches!(refused, Err(RoomError::Full { .. })),
            "{refused:?}"
        );
    }

    #[test]
    fn a_rendition_that_is_not_made_for_a_reason_does_not_let_its_like_in() {
        let spec = RenditionSpec::of_height(720);
        let mut live = decoded(&[spec]);
        live.renditions[0].problem = Some("there is no room".into());
        let refused = Admitted::default().admit(&codec(790), &id(), Some(&live), &begin(&[spec]));
        assert!(
            matches!(refused, Err(RoomError::Full { .. })),
            "{refused:?}"
        );
    }

    #[test]
    fn what_is_let_in_is_bounded() {
        let mut admitted = Admitted::default();
        let endless = CodecStatus {
            capacity_permille: u32::MAX,
            ..codec(0)
        };
        for height in 0..200 {
            let turnover = begin(&[RenditionSpec::of_height(90 + 2 * height)]);
            assert_eq!(admitted.admit(&endless, &id(), None, &turnover), Ok(()));
        }
        assert_eq!(admitted.0.len(), limits::CODEC_ADMITTED_MAX);
    }
}
