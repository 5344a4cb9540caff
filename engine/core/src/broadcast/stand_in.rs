//! Pictures of ours while the publisher sends none that can be used, so that destinations never see
//! a hole.
//!
//! ```text
//!  publisher   I P P P P P ╳                                     I P P …
//!  ring        I P P P P P r r r r r r r r S r r r r … S r r r r I P P …
//! ```
//!
//! `r` repeats the picture before it: a few bytes that say "all macroblocks skipped", coded under the
//! publisher's own parameter sets. `S` is an IDR that shows the last picture, or the slate of the
//! broadcast, so that a destination can begin there. It is coded elsewhere ([`StillRequest`]) and
//! then stands under the publisher's parameter sets too, where that is possible.
//!
//! The first repetition breaks the publisher's chain of references, so what it sends afterwards is
//! left out up to its next keyframe.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    h264::{ParameterSets, Repeater, VideoUnit, adopt, renumber},
    io::{StillPicture, StillSource, StillTarget},
    ring::{Kind, Ring, Unit},
    rtmp::flv::AVC_HEADER_BYTES,
};

/// Nothing at all came for so long: what str0m still waits for will hardly come, and a player has
/// this much buffered.
const SILENT_MS: u64 = 400;
/// Sound comes and no picture: a canvas that does not change, or an encoder that is starved.
const NO_PICTURE_MS: u64 = 1_000;
/// Our pictures stay so far behind the clock, so that those of a publisher that returns are never
/// placed before them.
pub(super) const BEHIND_US: i64 = 80_000;
/// Most that is filled in at a time; what is longer ago is jumped over.
const FILL_US_MAX: i64 = 2_000_000;
/// The publisher's frame rate is kept between 10 and 30 a second.
const FRAME_US: std::ops::RangeInclusive<i64> = 33_333..=100_000;
/// So long a keyframe that is due waits for its picture; then the publisher's own is sent again.
const PATIENCE_US: i64 = 1_000_000;
/// The last picture is coded by itself once it has stood for so long; most absences are shorter.
const STILL_AFTER: Duration = Duration::from_secs(1);
/// Keyframes that destinations ask for are at least this far apart.
const KEYFRAME_US_MIN: i64 = 300_000;
/// Without repetitions (a kind of stream that cannot be repeated) keyframes alone are sent.
const KEYFRAMES_ALONE_US: i64 = 1_000_000;

/// `idr_pic_id` of our keyframes, in turn: a keyframe right behind another has to bear another
/// number (clause 7.4.3 of H.264), or a decoder takes both for one picture. Encoders begin with 0,
/// and many stay there.
const IDR_PIC_IDS: [u16; 2] = [8_001, 8_002];

/// The picture that a broadcast shows while its publisher is away.
#[derive(Clone, Debug)]
pub(crate) struct Slate {
    pub(crate) name: String,
    /// A PNG or JPEG file.
    pub(crate) image: Bytes,
}

/// A picture to be coded.
#[derive(Debug)]
pub(crate) struct StillRequest {
    pub(crate) source: StillSource,
    pub(crate) target: StillTarget,
}

/// What stands in.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Shown {
    Last,
    Slate(String),
}

/// The publisher's video as it stood when it stopped.
#[derive(Debug)]
struct Last {
    config: Rc<ParameterSets>,
    body: Bytes,
    keyframe: Bytes,
    /// Numbers in the ring of the last keyframe, and of what came behind the last picture.
    group: std::ops::Range<u64>,
}

/// A coded picture, ready to be sent as often as a keyframe is due.
#[derive(Debug)]
struct Prepared {
    shown: Shown,
    config: Rc<ParameterSets>,
    body: Bytes,
}

#[derive(Debug)]
pub(crate) struct StandIn {
    last: Option<Last>,
    media_at: Option<Instant>,
    video_at: Option<Instant>,
    frame_us: i64,
    slate: Option<Slate>,
    active: Option<Active>,
}

/// From the publisher's last picture to its next keyframe.
#[derive(Debug)]
struct Active {
    since: Instant,
    next_at: Instant,
    /// The publisher is gone, and not only silent for a moment.
    holding: bool,
    repeater: Option<Repeater>,
    /// What the last picture stands under.
    config: Rc<ParameterSets>,
    /// Some picture of ours is in the ring.
    seen: bool,
    keyframe_wanted: bool,
    keyframes: usize,
    /// What was asked for last.
    asked: Option<Shown>,
    answered: bool,
    prepared: Option<Prepared>,
}

impl Default for StandIn {
    fn default() -> Self {
        Self {
            last: None,
            media_at: None,
            video_at: None,
            frame_us: *FRAME_US.start(),
            slate: None,
            active: None,
        }
    }
}

impl StandIn {
    /// Takes over the slate, or that there is none.
    pub(crate) fn set_slate(&mut self, slate: Option<Slate>) {
        self.slate = slate;
    }

    pub(crate) fn slate(&self) -> Option<&Slate> {
        self.slate.as_ref()
    }

    /// Pictures of ours are sent.
    pub(crate) fn is_seen(&self) -> bool {
        self.active.as_ref().is_some_and(|active| active.seen)
    }

    /// There are pictures in the stream, and so there will be, whoever sends them.
    pub(crate) fn has_pictures(&self) -> bool {
        self.last.is_some()
    }

    /// Something of the publisher has arrived, of use or not.
    pub(super) fn media(&mut self, now: Instant) {
        self.media_at = Some(now);
    }

    /// A picture of the publisher has gone into the ring as number `seq`, `step_us` behind the one
    /// before it.
    pub(super) fn picture(&mut self, now: Instant, unit: &Unit, seq: u64, step_us: i64) {
        let Kind::Video { key, config } = &unit.kind else {
            return;
        };
        self.video_at = Some(now);
        self.active = None;
        if step_us < 5 * FRAME_US.end() {
            let frame_us = (7 * self.frame_us + step_us) / 8;
            self.frame_us = frame_us.clamp(*FRAME_US.start(), *FRAME_US.end());
        }
        match &mut self.last {
            Some(last) if !key => {
                last.body = unit.body.clone();
                last.group.end = seq + 1;
            }
            last => {
                *last = Some(Last {
                    config: config.clone(),
                    body: unit.body.clone(),
                    keyframe: unit.body.clone(),
                    group: seq..seq + 1,
                });
            }
        }
    }

    /// Pictures of the publisher cannot be used before its next keyframe: one is missing, it is
    /// gone (`holding`), or another one begins.
    pub(super) fn begin(&mut self, now: Instant, holding: bool) {
        let Some(last) = &self.last else { return };
        let active = self.active.get_or_insert_with(|| Active {
            since: now,
            next_at: now,
            holding,
            repeater: repeater(&last.config, &last.body),
            config: last.config.clone(),
            seen: false,
            keyframe_wanted: false,
            keyframes: 0,
            asked: None,
            answered: false,
            prepared: None,
        });
        active.holding = holding;
        active.next_at = active.next_at.min(now);
    }

    /// A destination waits for a keyframe to begin with.
    pub(crate) fn keyframe_wanted(&mut self) {
        if let Some(active) = &mut self.active {
            active.keyframe_wanted = true;
        }
    }

    /// When something is due.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        match &self.active {
            Some(active) => Some(active.next_at),
            None => self.absent_at(),
        }
    }

    /// The publisher has sent nothing of use for so long that its place has to be taken.
    pub(super) fn is_absent(&self, now: Instant) -> bool {
        self.active.is_none() && self.absent_at().is_some_and(|at| now >= at)
    }

    fn absent_at(&self) -> Option<Instant> {
        self.last.as_ref()?;
        let silent = self.media_at? + Duration::from_millis(SILENT_MS);
        let no_picture = self.video_at? + Duration::from_millis(NO_PICTURE_MS);
        Some(silent.min(no_picture))
    }

    /// The next picture of ours, if one is due. `last_us` is the time of the last picture in the
    /// ring, `keyframe_us` that of the last keyframe, and `interval_us` how far apart those shall
    /// be.
    pub(super) fn next_unit(
        &mut self,
        now: Instant,
        now_us: i64,
        last_us: i64,
        keyframe_us: i64,
        interval_us: i64,
    ) -> Option<Unit> {
        let (last, active) = (self.last.as_ref()?, self.active.as_mut()?);
        let frame_us = self.frame_us;
        let until_us = now_us - BEHIND_US;
        let pts_us = (last_us + frame_us).max(until_us - FILL_US_MAX);
        if pts_us > until_us {
            active.next_at = now + Duration::from_micros((pts_us - until_us).unsigned_abs());
            return None;
        }
        let shown = active.shown(self.slate.as_ref());
        let since_us = pts_us - keyframe_us;
        let unit = active
            .keyframe(last, &shown, since_us, interval_us)
            .or_else(|| active.repetition())
            .map(|(kind, body)| Unit { kind, pts_us, body });
        if unit.is_none() {
            // A stream that cannot be repeated: the next keyframe is waited for.
            active.next_at = now + Duration::from_micros(frame_us.unsigned_abs());
        }
        unit
    }

    /// A picture that has to be coded, once for each absence and what is shown in it.
    pub(crate) fn take_request(&mut self, now: Instant, ring: &Ring) -> Option<StillRequest> {
        let (last, active) = (self.last.as_ref()?, self.active.as_mut()?);
        let shown = active.shown(self.slate.as_ref());
        let stands = now.saturating_duration_since(active.since) >= STILL_AFTER;
        if active.asked.as_ref() == Some(&shown) || !(active.holding || stands) {
            return None;
        }
        let source = match (&shown, &self.slate) {
            (Shown::Slate(_), Some(slate)) => StillSource::Image(slate.image.clone()),
            _ => StillSource::LastOf {
                record: last.config.record().clone(),
                access_units: group(ring, last),
            },
        };
        active.asked = Some(shown);
        active.answered = false;
        let target = last.config.still_target();
        Some(StillRequest {
            source,
            target: target.unwrap_or_else(|| own_target(&last.config)),
        })
    }

    /// The picture that was asked for last, or why there is none.
    pub(crate) fn prepared(&mut self, result: Result<StillPicture, String>) {
        let (Some(last), Some(active)) = (&self.last, &mut self.active) else {
            return;
        };
        let Some(shown) = active.asked.clone() else {
            return;
        };
        active.answered = true;
        let made = result.and_then(|picture| place(last, &picture));
        match made {
            Ok((config, body)) => {
                active.keyframe_wanted |= matches!(shown, Shown::Slate(_));
                active.prepared = Some(Prepared {
                    shown,
                    config,
                    body,
                });
            }
            Err(reason) => tracing::warn!(
                reason,
                "no picture could be made for a broadcast whose publisher is away: its last \
                 keyframe is shown"
            ),
        }
    }
}

impl Active {
    fn shown(&self, slate: Option<&Slate>) -> Shown {
        match slate.filter(|_| self.holding) {
            Some(slate) => Shown::Slate(slate.name.clone()),
            None => Shown::Last,
        }
    }

    /// A keyframe, if one is due `since_us` after the last.
    fn keyframe(
        &mut self,
        last: &Last,
        shown: &Shown,
        since_us: i64,
        interval_us: i64,
    ) -> Option<(Kind, Bytes)> {
        let wanted = self.keyframe_wanted && since_us >= KEYFRAME_US_MIN;
        let alone = self.repeater.is_none() && since_us >= KEYFRAMES_ALONE_US;
        if !(wanted || alone || since_us >= interval_us) {
            return None;
        }
        let prepared = self.prepared.as_ref().filter(|it| it.shown == *shown);
        let (config, body) = match prepared {
            Some(prepared) => (prepared.config.clone(), prepared.body.clone()),
            None => {
                let coming = self.asked.is_some() && !self.answered;
                if coming && !wanted && since_us < interval_us + PATIENCE_US {
                    return None;
                }
                (last.config.clone(), last.keyframe.clone())
            }
        };
        let body = self.numbered(&config, body);
        self.keyframe_wanted = false;
        self.seen = true;
        self.repeater = repeater(&config, &body);
        self.config = config.clone();
        Some((Kind::Video { key: true, config }, body))
    }

    /// A keyframe that cannot be taken for its neighbour.
    fn numbered(&mut self, config: &ParameterSets, body: Bytes) -> Bytes {
        let [even, odd] = IDR_PIC_IDS;
        self.keyframes += 1;
        let idr_pic_id = if self.keyframes.is_multiple_of(2) {
            even
        } else {
            odd
        };
        renumber(config, &body, idr_pic_id)
            .inspect_err(|error| tracing::debug!(%error, "a keyframe keeps its number"))
            .unwrap_or(body)
    }

    /// The picture before again.
    fn repetition(&mut self) -> Option<(Kind, Bytes)> {
        let body = self.repeater.as_mut()?.repeat();
        self.seen = true;
        let config = self.config.clone();
        Some((Kind::Video { key: false, config }, body))
    }
}

fn repeater(config: &ParameterSets, body: &[u8]) -> Option<Repeater> {
    Repeater::after(config, body)
        .inspect_err(|error| tracing::debug!(%error, "a picture cannot be repeated"))
        .ok()
}

/// The access units of the last group of pictures, as far as the ring still has them from its
/// keyframe on.
fn group(ring: &Ring, last: &Last) -> Vec<Bytes> {
    if ring.start() > last.group.start {
        return vec![nal_units(&last.keyframe)];
    }
    let units = last.group.clone().filter_map(|seq| ring.get(seq));
    units
        .filter(|unit| matches!(unit.kind, Kind::Video { .. }))
        .map(|unit| nal_units(&unit.body))
        .collect()
}

/// An FLV body without its header.
fn nal_units(body: &Bytes) -> Bytes {
    body.slice(AVC_HEADER_BYTES.min(body.len())..)
}

/// For a stream whose parameter sets cannot be borrowed: sets of the picture's own.
fn own_target(config: &ParameterSets) -> StillTarget {
    StillTarget {
        width: config.width() & !1,
        height: config.height() & !1,
        profile: config.sps().profile,
        level: config.sps().level,
        cabac: false,
        transform_8x8: false,
        chroma_qp_offset: 0,
        full_range: false,
    }
}

/// Puts a picture under the publisher's parameter sets, or else under its own.
fn place(last: &Last, picture: &StillPicture) -> Result<(Rc<ParameterSets>, Bytes), String> {
    let [idr_pic_id, _] = IDR_PIC_IDS;
    match adopt(&last.config, picture, idr_pic_id) {
        Ok(body) => return Ok((last.config.clone(), body)),
        Err(error) => tracing::debug!(%error, "a picture keeps parameter sets of its own"),
    }
    let config = ParameterSets::new(&picture.sps, std::slice::from_ref(&picture.pps))
        .map_err(|error| error.to_string())?;
    let nals = picture.slices.iter().map(Bytes::as_ref);
    let bytes_expected = picture.slices.iter().map(|slice| slice.len() + 4).sum();
    let unit = VideoUnit::from_nals(nals, bytes_expected, 0).map_err(|error| error.to_string())?;
    Ok((Rc::new(config), unit.body))
}
