//! When each picture of the publisher is decoded (DTS) and shown (PTS).
//!
//! RTP carries the time at which a picture is shown, and packets come in the order of decoding. RTMP
//! wants both times. Without B-frames they are the same. With B-frames the DTS is made here, from
//! what has come and without waiting for what will:
//!
//! ```text
//!  comes        I0  P3  B1  B2  P6  B4  B5
//!  PTS           0   3   1   2   6   4   5     frames
//!  DTS, depth 1  0   0+  1   2   3   4   5     the second largest PTS so far
//! ```
//!
//! The DTS of a picture is the PTS that is `depth` places below the largest one so far, where `depth`
//! is how many pictures were seen to come before one that is shown ahead of them. That gives the even
//! steps that the encoder had in mind. Before the depth is known, the picture order count tells that
//! pictures are missing below the one that came (P3 above), and the DTS stays right behind the last
//! picture that has none missing before it (`0+`), so that those still to come find room.

use crate::codec::h264::OrderCounter;

/// The least distance of two units of one kind, in microseconds; RTMP counts milliseconds.
pub(crate) const STEP_US_MIN: i64 = 1_000;
/// Most pictures that come before one that is shown ahead of them: `MaxDpbFrames` (clause A.3.1) is
/// at most 16.
const DEPTH_MAX: usize = 16;
/// The picture order count grows by two from frame to frame, one for each field, unless an encoder
/// is seen to count otherwise.
const ORDER_STEP: i64 = 2;

/// When a picture is decoded and shown, in microseconds on the broadcast's media clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Not before `dts_us`, by whole milliseconds: so both round to RTMP's clock alike.
    pub(crate) pts_us: i64,
    /// At least [`STEP_US_MIN`] behind the picture before.
    pub(crate) dts_us: i64,
}

/// A picture of the publisher, in the order of decoding.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    /// When it is shown.
    pub(crate) pts_us: i64,
    pub(crate) key: bool,
    pub(crate) order: Order,
    /// It has B slices.
    pub(crate) b_slices: bool,
    /// No other picture refers to it.
    pub(crate) disposable: bool,
}

/// What is known of a picture's place in the order of display.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// It is shown behind all that came before it.
    AsDecoded,
    /// By its picture order count, which grows within a group of pictures.
    Counted(i64),
    Unknown,
}

/// Makes the DTS of the pictures of one broadcast. It goes on from one publisher to the next, since
/// destinations do.
#[derive(Debug, Default)]
pub(crate) struct DecodeClock {
    last_dts_us: Option<i64>,
    /// The largest PTS so far.
    last_pts_us: Option<i64>,
    /// By how much later than its publisher says a picture is shown.
    shift_us: i64,
    /// PTS of the last keyframe: what comes behind it is shown behind it.
    keyframe_us: Option<i64>,
    b_frames: ByGroup<bool>,
    depth: ByGroup<usize>,
    /// The largest PTS of this publisher.
    largest: Largest,
    counter: OrderCounter,
    awaited: Awaited,
}

/// Something of this group of pictures and of the last.
#[derive(Clone, Copy, Debug, Default)]
struct ByGroup<T> {
    now: T,
    before: T,
}

impl<T: Copy + Default + Ord> ByGroup<T> {
    fn turn(&mut self) {
        self.before = std::mem::take(&mut self.now);
    }

    fn raise(&mut self, to: T) {
        self.now = self.now.max(to);
    }

    fn max(self) -> T {
        self.now.max(self.before)
    }
}

impl DecodeClock {
    /// Another publisher begins. Nothing that was learnt of the one before holds for it.
    pub(crate) fn start(&mut self) {
        self.b_frames = ByGroup::default();
        self.depth = ByGroup::default();
        self.forget_order();
        self.awaited.step = ORDER_STEP;
        self.shift_us = 0;
    }

    /// Drops what is known of the order of pictures, which begins anew.
    fn forget_order(&mut self) {
        self.largest.count = 0;
        self.awaited.complete = None;
        self.awaited.waiting.clear();
    }

    /// The largest PTS so far.
    pub(crate) fn last_pts_us(&self) -> Option<i64> {
        self.last_pts_us
    }

    /// Pictures with B slices were seen since the last keyframe but one.
    pub(crate) fn has_b_frames(&self) -> bool {
        self.b_frames.max()
    }

    /// Numbers the pictures of a stream that may reorder them.
    pub(crate) fn counter(&mut self) -> &mut OrderCounter {
        &mut self.counter
    }

    /// A picture that is not the publisher's was put behind everything else.
    pub(crate) fn filled(&mut self, pts_us: i64) {
        self.last_dts_us = Some(pts_us);
        self.last_pts_us = Some(pts_us);
        self.forget_order();
    }

    /// The times of a picture. `None` for one that should have been shown before pictures that are
    /// decoded and done with, and that nothing refers to: it is left out rather than shown late.
    pub(crate) fn stamp(&mut self, picture: Frame) -> Option<Stamp> {
        let Frame { key, b_slices, .. } = picture;
        if key {
            self.b_frames.turn();
            self.depth.turn();
        }
        self.b_frames.raise(b_slices);
        let dts_us_min = behind(self.last_dts_us);
        let ahead = key || picture.order == Order::AsDecoded;
        let pts_us_min = behind(if ahead {
            self.last_pts_us
        } else {
            self.keyframe_us
        });
        let mut pts_us = self.shifted(&picture, pts_us_min).max(pts_us_min);
        if pts_us < dts_us_min {
            if b_slices {
                self.depth.raise(1);
                self.awaited.count(picture.order);
                if picture.disposable {
                    return None;
                }
            }
            pts_us = dts_us_min;
        }
        let dts_us = match picture.order {
            Order::AsDecoded => {
                // Should B-frames come all the same, the depth counts from here.
                self.largest.insert(pts_us);
                self.awaited.complete = None;
                pts_us
            }
            _ => self.reordered(pts_us, &picture).max(dts_us_min),
        };
        let stamp = Stamp {
            pts_us,
            dts_us: pts_us - (pts_us - dts_us) / 1_000 * 1_000,
        };
        self.last_dts_us = Some(stamp.dts_us);
        self.last_pts_us = self.last_pts_us.max(Some(pts_us));
        if key {
            self.keyframe_us = Some(pts_us);
        }
        Some(stamp)
    }

    /// The times of a picture whose publisher tells both. They keep their distance. Where they are not
    /// behind those of the picture before (an IDR is shown behind all that came before it), they are led on, by as much as the second value says, in
    /// microseconds.
    pub(crate) fn place(&mut self, stamp: Stamp, key: bool, b_slices: bool) -> (Stamp, i64) {
        if key {
            self.b_frames.turn();
            self.keyframe_us = Some(stamp.pts_us);
        }
        self.b_frames.raise(b_slices);
        let led_us = self.taken_us(stamp, key);
        let dts_us = stamp.dts_us + led_us;
        let stamp = Stamp {
            pts_us: (stamp.pts_us + led_us).max(dts_us),
            dts_us,
        };
        self.last_dts_us = Some(dts_us);
        self.last_pts_us = self.last_pts_us.max(Some(stamp.pts_us));
        (stamp, led_us)
    }

    /// By how much a picture is behind the place that is free, in microseconds.
    pub(crate) fn taken_us(&self, stamp: Stamp, key: bool) -> i64 {
        let decoded = behind(self.last_dts_us).saturating_sub(stamp.dts_us);
        let shown = match key {
            true => behind(self.last_pts_us).saturating_sub(stamp.pts_us),
            false => 0,
        };
        decoded.max(shown).max(0)
    }

    /// The PTS of a picture on a clock that is led on where the publisher's is behind what was sent
    /// already. Pictures keep their order, and the clock comes back by an eighth of the time that
    /// passes, so that up to seven B-frames keep their place before the picture that comes ahead of
    /// them.
    fn shifted(&mut self, picture: &Frame, pts_us_min: i64) -> i64 {
        if picture.order == Order::AsDecoded {
            self.shift_us = 0;
            return picture.pts_us;
        }
        let pts_us = picture.pts_us + self.shift_us;
        let last_us = self.last_pts_us.unwrap_or(i64::MAX);
        if picture.key && pts_us < pts_us_min {
            self.shift_us += pts_us_min - pts_us;
        } else if pts_us > last_us {
            self.shift_us -= self.shift_us.min((pts_us - last_us) / 8);
        }
        picture.pts_us + self.shift_us
    }

    /// The DTS that leaves room for all pictures that are still to come.
    fn reordered(&mut self, pts_us: i64, picture: &Frame) -> i64 {
        let latest = self.last_pts_us.is_none_or(|last_us| pts_us > last_us);
        let room_us = match picture.order {
            Order::Counted(order) if picture.key => self.awaited.begin(order, pts_us),
            Order::Counted(order) => self.awaited.arrive(order, pts_us, latest),
            _ => pts_us,
        };
        self.depth.raise(self.largest.insert(pts_us));
        let depth_us = self.largest.get(self.depth.max()).unwrap_or(pts_us);
        depth_us.min(room_us).min(pts_us)
    }
}

fn behind(last_us: Option<i64>) -> i64 {
    last_us.map_or(i64::MIN, |last_us| last_us + STEP_US_MIN)
}

/// The largest PTS so far, as many as can matter, in rising order.
#[derive(Debug, Default)]
struct Largest {
    times_us: [i64; DEPTH_MAX + 1],
    count: usize,
}

impl Largest {
    /// Puts in another one; returns how many are larger.
    fn insert(&mut self, pts_us: i64) -> usize {
        let known = self.times_us.get(..self.count).unwrap_or_default();
        let below = known.partition_point(|it| *it < pts_us);
        let larger = self.count - below;
        if self.count < self.times_us.len() {
            self.count += 1;
            if let Some(moved) = self.times_us.get_mut(below..self.count) {
                moved.rotate_right(1);
            }
            if let Some(place) = self.times_us.get_mut(below) {
                *place = pts_us;
            }
        } else if let Some(place) = below.checked_sub(1) {
            // The smallest one goes.
            if let Some(moved) = self.times_us.get_mut(..below) {
                moved.rotate_left(1);
            }
            if let Some(place) = self.times_us.get_mut(place) {
                *place = pts_us;
            }
        }
        larger.min(DEPTH_MAX)
    }

    /// The one that is so many places below the largest.
    fn get(&self, depth: usize) -> Option<i64> {
        let place = self.count.checked_sub(depth + 1)?;
        self.times_us.get(place).copied()
    }
}

/// Pictures that are missing in the order of display, by their picture order count.
#[derive(Debug)]
struct Awaited {
    /// By how much the count grows from one frame to the next.
    step: i64,
    /// Count and PTS of the last picture that has none missing before it.
    complete: Option<(i64, i64)>,
    /// The same of those that have, in rising order; at most [`DEPTH_MAX`]. Empty, and without
    /// memory, in a stream that does not reorder.
    waiting: Vec<(i64, i64)>,
}

impl Default for Awaited {
    fn default() -> Self {
        Self {
            step: ORDER_STEP,
            complete: None,
            waiting: Vec::new(),
        }
    }
}

impl Awaited {
    /// The first picture of a group.
    fn begin(&mut self, order: i64, pts_us: i64) -> i64 {
        self.waiting.clear();
        self.complete = Some((order, pts_us));
        pts_us
    }

    /// The next picture; `latest` says that none so far is shown behind it. Returns the PTS of the
    /// last one that has none missing before it: what is still to come is shown behind that.
    fn arrive(&mut self, order: i64, pts_us: i64, latest: bool) -> i64 {
        let Some((complete, _)) = self.complete else {
            return pts_us; // Nothing is known before the next keyframe.
        };
        if order <= complete {
            if latest {
                // The encoder counts anew (memory_management_control_operation 5, clause 8.2.1).
                return self.begin(order, pts_us);
            }
            self.count(Order::Counted(order));
            return pts_us;
        }
        let last = self.waiting.last().map(|(last, _)| *last);
        if last.is_some_and(|last| order > last) || self.waiting.len() == DEPTH_MAX {
            self.forgive(order);
        }
        let place = self.waiting.partition_point(|(it, _)| *it < order);
        self.waiting.insert(place, (order, pts_us));
        self.collect();
        self.complete.map_or(pts_us, |(_, complete_us)| complete_us)
    }

    /// Pictures without one missing before them are done with.
    fn collect(&mut self) {
        let Some((mut complete, _)) = self.complete else {
            return;
        };
        let step = self.step;
        let done = self.waiting.iter().take_while(|(order, _)| {
            let next = *order <= complete + step;
            complete = if next { *order } else { complete };
            next
        });
        let done = done.count();
        if let Some(last) = self.waiting.drain(..done).next_back() {
            self.complete = Some(last);
        }
    }

    /// A picture of a later group comes while some seem to be missing: none are, and the encoder
    /// counts in larger steps, or has left out pictures.
    fn forgive(&mut self, order: i64) {
        let Some((mut before, _)) = self.complete else {
            return;
        };
        let mut step = i64::MAX;
        for next in self.waiting.iter().map(|(it, _)| *it).chain([order]) {
            step = step.min((next - before).abs());
            before = next;
        }
        self.step = step.max(1);
        self.complete = self.waiting.last().copied().or(self.complete);
        self.waiting.clear();
    }

    /// A picture comes that nobody waited for: the encoder counts in smaller steps than was thought.
    fn count(&mut self, order: Order) {
        if let (Order::Counted(order), Some((complete, _))) = (order, self.complete) {
            let apart = (complete - order).abs().max(1);
            self.step = self.step.min(apart);
        }
    }
}
