//! Filler: frames that a broadcast makes while its publisher sends none that can be decoded, so that
//! the video timeline of its destinations is gapless.
//!
//! ```text
//!  publisher   I P P P P P ╳                                     I P P …
//!  ring        I P P P P P r r r r r r r r S r r r r … S r r r r I P P …
//! ```
//!
//! `r` repeats the frame before it: a P frame of a few bytes in which all macroblocks are skipped,
//! under the publisher's own parameter sets. `S` is an IDR that shows the last frame, or the slate of
//! the broadcast, so that a destination can begin there. A still-frame job encodes it
//! ([`StillRequest`]); it too stands under the publisher's parameter sets where that is possible.
//!
//! The first repetition breaks the publisher's chain of references, so its frames are left out from
//! then on up to its next keyframe.

mod last;

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use self::last::{Last, repeater};
use crate::{
    broadcast::ring::{Kind, Ring, Unit},
    codec::h264::{ParameterSets, Repeater, renumber},
    io::{StillFrame, StillFrameSource, StillFrameTarget},
};

/// Without any media for so long the publisher is absent: packets that str0m still waits for will
/// hardly come, and a player has this much buffered.
const SILENT_MS: u64 = 400;
/// The same of an encoder: what a connection over TCP holds back comes all the same, and nobody can ask an encoder
/// for the keyframe that is needed behind filler.
const ENCODER_SILENT_MS: u64 = 1_500;
/// Without a frame for so long the publisher's video is absent although its audio comes: a canvas that
/// does not change, or an encoder that is starved. Browsers repeat an unchanged frame about once a
/// second.
const NO_PICTURE_MS: u64 = 1_500;
/// Frames that a publisher with a low frame rate may miss before it is absent.
const PICTURES_MISSED: u32 = 3;
/// A pause longer than this is not counted into the pace of frames.
const PACE_US_MAX: i64 = 2_000_000;
/// Filler stays so far behind the clock, so that frames of a publisher that returns are never placed
/// before it.
pub(super) const BEHIND_US: i64 = 80_000;
/// Most that is filled in at a time; what is longer ago is jumped over.
const FILL_US_MAX: i64 = 2_000_000;
/// The publisher's frame rate is kept between 10 and 30 a second.
const FRAME_US: std::ops::RangeInclusive<i64> = 33_333..=100_000;
/// So long a keyframe that is due waits for its frame; then the publisher's own is sent again,
/// which shows what was some seconds ago. With two seconds between keyframes, it is four at most.
const PATIENCE_US: i64 = 2_000_000;
/// The last frame is coded by itself once it has stood for so long; most absences are shorter.
const STILL_AFTER: Duration = Duration::from_secs(1);
/// Keyframes that destinations ask for are at least this far apart.
const KEYFRAME_US_MIN: i64 = 300_000;
/// Without repetitions (a kind of stream that cannot be repeated) keyframes alone are sent.
const KEYFRAMES_ALONE_US: i64 = 1_000_000;

/// `idr_pic_id` of our keyframes, in turn: a keyframe right behind another has to bear another
/// number (clause 7.4.3 of H.264), or a decoder takes both for one frame. Encoders begin with 0,
/// and many stay there.
const IDR_PIC_IDS: [u16; 2] = [8_001, 8_002];

/// The frame that a broadcast shows while its publisher is away.
#[derive(Clone, Debug)]
pub(crate) struct Slate {
    pub(crate) name: String,
    /// A PNG or JPEG file.
    pub(crate) image: Bytes,
}

/// A frame to be coded.
#[derive(Debug)]
pub(crate) struct StillRequest {
    pub(crate) source: StillFrameSource,
    pub(crate) target: StillFrameTarget,
}

/// What filler shows.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Shown {
    Last,
    Slate(String),
}

/// A coded frame, ready to be sent as often as a keyframe is due.
#[derive(Clone, Debug)]
struct Prepared {
    shown: Shown,
    /// The publisher's parameter sets that it was made for.
    under: Rc<ParameterSets>,
    /// Those that it stands under: the same, or its own.
    config: Rc<ParameterSets>,
    body: Bytes,
}

/// A keyframe under another number, so that it is made once.
#[derive(Debug)]
struct Numbered {
    of: Bytes,
    idr_pic_id: u16,
    body: Bytes,
}

#[derive(Debug)]
pub(crate) struct Filler {
    last: Option<Last>,
    media_at: Option<Instant>,
    /// Of the newest frame, of use or not.
    arrived_at: Option<Instant>,
    video_at: Option<Instant>,
    /// Without any media for so long the publisher is absent.
    silent: Duration,
    frame_us: i64,
    /// How far apart frames come, whatever that is.
    pace_us: i64,
    slate: Option<Slate>,
    /// The slate as it was coded last, for the next absence.
    coded_slate: Option<Prepared>,
    active: Option<Active>,
}

/// From the publisher's last frame to its next keyframe.
#[derive(Debug)]
struct Active {
    since: Instant,
    next_at: Instant,
    /// The publisher is gone, and not only silent for a moment.
    holding: bool,
    repeater: Option<Repeater>,
    /// What the last frame stands under.
    config: Rc<ParameterSets>,
    /// Some frame of ours is in the ring.
    seen: bool,
    keyframe_wanted: bool,
    keyframes: usize,
    numbered: Option<Numbered>,
    /// What was asked for last.
    asked: Option<Shown>,
    answered: bool,
    prepared: Option<Prepared>,
}

impl Default for Filler {
    fn default() -> Self {
        Self {
            last: None,
            media_at: None,
            arrived_at: None,
            video_at: None,
            silent: Duration::from_millis(SILENT_MS),
            frame_us: *FRAME_US.start(),
            pace_us: *FRAME_US.start(),
            slate: None,
            coded_slate: None,
            active: None,
        }
    }
}

impl Filler {
    /// Takes over the slate, or that there is none.
    pub(crate) fn set_slate(&mut self, slate: Option<Slate>) {
        self.slate = slate;
        self.coded_slate = None;
    }

    /// The publisher sends what is not H.264: nothing can stand beside it.
    pub(super) fn forget(&mut self) {
        self.last = None;
        self.active = None;
    }

    pub(crate) fn slate(&self) -> Option<&Slate> {
        self.slate.as_ref()
    }

    /// Frames of ours are sent.
    pub(crate) fn is_seen(&self) -> bool {
        self.active.as_ref().is_some_and(|active| active.seen)
    }

    /// Whether the stream has video: once it has, it always will, from the publisher or from here.
    pub(crate) fn has_pictures(&self) -> bool {
        self.last.is_some()
    }

    /// Another publisher begins: an encoder, or a browser.
    pub(super) fn expect(&mut self, encoder: bool) {
        self.silent = Duration::from_millis(match encoder {
            true => ENCODER_SILENT_MS,
            false => SILENT_MS,
        });
    }

    /// Media of the publisher has arrived, decodable or not.
    pub(super) fn media(&mut self, now: Instant) {
        self.media_at = Some(now);
    }

    /// A frame of the publisher has arrived, decodable or not.
    pub(super) fn arrival(&mut self, now: Instant) {
        self.media_at = Some(now);
        let Some(before) = self.arrived_at.replace(now) else {
            return;
        };
        let step_us = i64::try_from((now - before).as_micros()).unwrap_or(i64::MAX);
        if step_us < PACE_US_MAX {
            // The pace slows down faster than it speeds up, so that no publisher is taken for absent by
            // mistake; a single pause counts no more than twice the pace.
            self.pace_us += if step_us > self.pace_us {
                (step_us - self.pace_us).min(self.pace_us) / 4
            } else {
                (step_us - self.pace_us) / 8
            };
            self.frame_us = self.pace_us.clamp(*FRAME_US.start(), *FRAME_US.end());
        }
    }

    /// A frame of the publisher has gone into the ring as number `seq`. Other frames may refer to it if
    /// it is a `reference`.
    pub(super) fn picture(&mut self, now: Instant, unit: &Unit, reference: bool, seq: u64) {
        let Kind::Video { key, config } = &unit.kind else {
            return;
        };
        self.video_at = Some(now);
        self.active = None;
        match &mut self.last {
            Some(last) if !key => {
                if unit.pts_us < last.shown_us {
                    last.references += u32::from(reference);
                } else {
                    last.payload = unit.payload.clone();
                    last.shown_us = unit.pts_us;
                    last.references = 0;
                }
                last.group.end = seq + 1;
            }
            last => {
                *last = Some(Last {
                    config: config.clone(),
                    payload: unit.payload.clone(),
                    shown_us: unit.pts_us,
                    references: 0,
                    keyframe: unit.payload.clone(),
                    group: seq..seq + 1,
                });
            }
        }
    }

    /// Frames of the publisher cannot be used before its next keyframe: one is missing, it is
    /// gone (`holding`), or another one begins.
    pub(super) fn begin(&mut self, now: Instant, holding: bool) {
        let Some(last) = &self.last else { return };
        let active = self.active.get_or_insert_with(|| Active {
            since: now,
            next_at: now,
            holding,
            repeater: repeater(&last.config, &last.payload, last.references),
            config: last.config.clone(),
            seen: false,
            keyframe_wanted: false,
            keyframes: 0,
            numbered: None,
            asked: None,
            answered: false,
            prepared: None,
        });
        // One that returns is away until its first keyframe.
        active.holding |= holding;
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

    /// Whether the publisher has sent nothing decodable for so long that filler has to begin.
    pub(super) fn is_absent(&self, now: Instant) -> bool {
        self.active.is_none() && self.absent_at().is_some_and(|at| now >= at)
    }

    fn absent_at(&self) -> Option<Instant> {
        self.last.as_ref()?;
        let missed = PICTURES_MISSED * Duration::from_micros(self.pace_us.unsigned_abs());
        let silent = self.media_at? + self.silent.max(missed);
        let no_picture = self.video_at? + Duration::from_millis(NO_PICTURE_MS).max(missed);
        Some(silent.min(no_picture))
    }

    /// When nothing at all has come for so long that silence is filled in.
    pub(super) fn silence_due(&self) -> Option<Instant> {
        Some(self.media_at? + self.silent)
    }

    /// The next frame of ours, if one is due. `last_us` is the time of the last frame in the
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
            .map(|(kind, payload)| Unit {
                kind,
                pts_us,
                dts_us: pts_us,
                payload,
            });
        if unit.is_none() {
            // A stream that cannot be repeated: the next keyframe is waited for.
            active.next_at = now + Duration::from_micros(frame_us.unsigned_abs());
        }
        unit
    }

    /// Number in the ring from which on it may be asked for frames: those of the group in which the
    /// publisher stopped, until the last of them is coded by itself.
    pub(super) fn wanted_from(&self) -> Option<u64> {
        let (last, active) = (self.last.as_ref()?, self.active.as_ref()?);
        active.asked.is_none().then_some(last.group.start)
    }

    /// A frame that has to be coded, once for each absence and what is shown in it.
    pub(crate) fn take_request(&mut self, now: Instant, ring: &Ring) -> Option<StillRequest> {
        let (last, active) = (self.last.as_ref()?, self.active.as_mut()?);
        let shown = active.shown(self.slate.as_ref());
        let stands = now.saturating_duration_since(active.since) >= STILL_AFTER;
        if active.asked.as_ref() == Some(&shown) || !(active.holding || stands) {
            return None;
        }
        if let Some(coded) = &self.coded_slate
            && coded.shown == shown
            && Rc::ptr_eq(&coded.under, &last.config)
        {
            active.show(coded.clone());
            return None;
        }
        let source = match (&shown, &self.slate) {
            (Shown::Slate(_), Some(slate)) => StillFrameSource::Image(slate.image.clone()),
            _ => StillFrameSource::LastOf {
                record: last.config.record().clone(),
                access_units: last.access_units(ring),
            },
        };
        active.asked = Some(shown);
        active.answered = false;
        Some(StillRequest {
            source,
            target: last.target(),
        })
    }

    /// The frame that was asked for last, or why there is none.
    pub(crate) fn prepared(&mut self, result: Result<StillFrame, String>) {
        let (Some(last), Some(active)) = (&self.last, &mut self.active) else {
            return;
        };
        let Some(shown) = active.asked.clone() else {
            return;
        };
        active.answered = true;
        let made = result.and_then(|picture| last.place(&picture, IDR_PIC_IDS[0]));
        match made {
            Ok((config, body)) => {
                let prepared = Prepared {
                    shown,
                    under: last.config.clone(),
                    config,
                    body,
                };
                if matches!(prepared.shown, Shown::Slate(_)) {
                    self.coded_slate = Some(prepared.clone());
                }
                active.show(prepared);
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

    /// A slate is shown at once, the last frame when a keyframe is due: it shows nothing new.
    fn show(&mut self, prepared: Prepared) {
        self.keyframe_wanted |= matches!(prepared.shown, Shown::Slate(_));
        self.asked = Some(prepared.shown.clone());
        self.answered = true;
        self.prepared = Some(prepared);
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
                if !self.answered && !wanted && since_us < interval_us + PATIENCE_US {
                    return None;
                }
                (last.config.clone(), last.keyframe.clone())
            }
        };
        let body = self.numbered(&config, body);
        self.keyframe_wanted = false;
        self.seen = true;
        self.repeater = repeater(&config, &body, 0);
        self.config = config.clone();
        Some((Kind::Video { key: true, config }, body))
    }

    /// A keyframe that cannot be taken for its neighbour: the publisher's next one when there are
    /// repetitions between ours, and ours before when there are none.
    fn numbered(&mut self, config: &ParameterSets, body: Bytes) -> Bytes {
        let [even, odd] = IDR_PIC_IDS;
        self.keyframes += 1;
        let turn = self.repeater.is_none() && self.keyframes.is_multiple_of(2);
        let idr_pic_id = if turn { odd } else { even };
        match &self.numbered {
            Some(numbered) if numbered.of == body && numbered.idr_pic_id == idr_pic_id => {
                return numbered.body.clone();
            }
            _ => {}
        }
        let Ok(again) = renumber(config, &body, idr_pic_id)
            .inspect_err(|error| tracing::debug!(%error, "a keyframe keeps its number"))
        else {
            return body;
        };
        self.numbered = Some(Numbered {
            of: body,
            idr_pic_id,
            body: again.clone(),
        });
        again
    }

    /// The frame before again.
    fn repetition(&mut self) -> Option<(Kind, Bytes)> {
        let body = self.repeater.as_mut()?.repeat();
        self.seen = true;
        let config = self.config.clone();
        Some((Kind::Video { key: false, config }, body))
    }
}
