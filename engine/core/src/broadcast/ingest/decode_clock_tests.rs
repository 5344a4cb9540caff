//! Pictures in the order of decoding, with the times at which they are shown: what goes into the
//! ring has a DTS that rises, is never behind the PTS, and is the PTS where there are no B-frames.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use proptest::prelude::*;
use shardcast_link::VideoCodec;

use super::Ingest;
use crate::broadcast::ring::Unit;

/// `profile_idc` of baseline and main.
const BASELINE: u8 = 66;
const MAIN: u8 = 77;
/// Width of `pic_order_cnt_lsb` in the streams of these tests.
const ORDER_BITS: u32 = 6;

/// Bits of a raw byte sequence payload, as text.
#[derive(Default)]
struct Bits(String);

impl Bits {
    fn u(mut self, value: u64, bits: u32) -> Self {
        for at in (0..bits).rev() {
            self.0.push(if value >> at & 1 == 1 { '1' } else { '0' });
        }
        self
    }

    fn ue(self, value: u64) -> Self {
        let bits = (value + 1).ilog2();
        self.u(0, bits).u(value + 1, bits + 1)
    }

    /// The NAL unit behind a start code, with emulation prevention.
    fn nal(self, header: &[u8]) -> Vec<u8> {
        let bits = self.u(1, 1).0;
        let mut nal = vec![0, 0, 0, 1];
        nal.extend_from_slice(header);
        let mut zeros = 0;
        for byte in bits.as_bytes().chunks(8) {
            let text = format!("{:0<8}", String::from_utf8_lossy(byte));
            let byte = u8::from_str_radix(&text, 2).unwrap();
            if zeros >= 2 && byte <= 3 {
                nal.push(3);
                zeros = 0;
            }
            zeros = if byte == 0 { zeros + 1 } else { 0 };
            nal.push(byte);
        }
        nal
    }
}

/// What the VUI says of reordering.
#[derive(Clone, Copy, Debug)]
enum Vui {
    None,
    ReorderFrames(u64),
}

/// 1280x720; pictures are numbered in four and [`ORDER_BITS`] bits.
fn sps(profile: u8, vui: Vui) -> Vec<u8> {
    let bits = Bits::default()
        .ue(0)
        .ue(0) // log2_max_frame_num_minus4
        .ue(0) // pic_order_cnt_type
        .ue(u64::from(ORDER_BITS) - 4)
        .ue(4) // max_num_ref_frames
        .u(0, 1)
        .ue(79)
        .ue(44)
        .u(0b110, 3); // frames alone, direct_8x8_inference, no cropping
    let bits = match vui {
        Vui::None => bits.u(0, 1),
        Vui::ReorderFrames(frames) => bits
            .u(1, 1)
            .u(0, 8) // nothing of aspect, overscan, signal, chroma, timing, HRD, structure
            .u(0b11, 2) // bitstream_restriction, motion vectors over boundaries
            .ue(0)
            .ue(0)
            .ue(9)
            .ue(9)
            .ue(frames)
            .ue(4),
    };
    bits.nal(&[0x67, profile, 0, 31])
}

/// A picture in the order of decoding.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Coded {
    /// Its place in the order of display, from the keyframe on.
    place: u64,
    key: bool,
    b: bool,
    reference: bool,
}

impl Coded {
    fn annex_b(&self, sps: &[u8], order_step: u64) -> Vec<u8> {
        let mut unit = Vec::new();
        if self.key {
            unit.extend_from_slice(sps);
            unit.extend_from_slice(&[0, 0, 0, 1, 0x68, 0xcb, 0x83, 0xcb, 0x20]);
        }
        let slice_type = if self.key { 7 } else { 5 + u64::from(self.b) };
        let mut bits = Bits::default().ue(0).ue(slice_type).ue(0);
        bits = bits.u(self.place % 16, 4);
        if self.key {
            bits = bits.ue(0);
        }
        let header = match (self.key, self.reference) {
            (true, _) => 0x65,
            (false, true) => 0x41,
            (false, false) => 0x01,
        };
        let order = self.place * order_step % (1 << ORDER_BITS);
        // No change of references, sliding window, and the rest is zero in Exp-Golomb codes.
        let rest = if self.key { 0x3FFF } else { 0x1FFF };
        unit.extend(bits.u(order, ORDER_BITS).u(rest, 16).nal(&[header]));
        unit
    }
}

/// A group of pictures: for each P, in which order the B-frames before it are sent, as how many of
/// them are shown before each.
type Group = Vec<Vec<u64>>;

fn coded(group: &Group) -> Vec<Coded> {
    let mut pictures = vec![Coded {
        place: 0,
        key: true,
        b: false,
        reference: true,
    }];
    let mut shown = 0;
    for order in group {
        let count = order.len() as u64;
        let picture = |place, b, reference| Coded {
            place,
            key: false,
            b,
            reference,
        };
        pictures.push(picture(shown + count + 1, false, true));
        let last = order.len().saturating_sub(1);
        for (n, ahead) in order.iter().enumerate() {
            // All but the last of a pyramid are leant on.
            let pyramid = !order.is_sorted();
            pictures.push(picture(shown + 1 + ahead, true, pyramid && n < last));
        }
        shown += count + 1;
    }
    pictures
}

/// Gives pictures to an [`Ingest`] and takes what is new in its ring.
struct Show {
    ingest: Ingest,
    sps: Vec<u8>,
    order_step: u64,
    now: Instant,
    taken: u64,
}

impl Show {
    fn new(profile: u8, vui: Vui) -> Self {
        let now = Instant::now();
        let mut ingest = Ingest::new(Duration::from_secs(2));
        ingest.start(now, true);
        Self {
            ingest,
            sps: sps(profile, vui),
            order_step: 2,
            now,
            taken: 0,
        }
    }

    fn send(&mut self, picture: Coded, pts_us: i64, contiguous: bool) -> Vec<Unit> {
        let unit: Arc<[u8]> = picture.annex_b(&self.sps, self.order_step).into();
        let video = VideoCodec::H264;
        self.ingest
            .video(self.now, pts_us, video, &unit, contiguous);
        self.take()
    }

    /// Sends a group that begins at `from_us`, with a picture every `frame_us`.
    fn send_group(&mut self, group: &Group, from_us: i64, frame_us: i64) -> Vec<Unit> {
        let pictures = coded(group).into_iter();
        let sent = pictures.flat_map(|it| {
            self.now += Duration::from_micros(frame_us.unsigned_abs());
            self.send(it, from_us + it.place as i64 * frame_us, true)
        });
        sent.collect()
    }

    fn take(&mut self) -> Vec<Unit> {
        let ring = &self.ingest.ring;
        let units = (self.taken..ring.end()).filter_map(|seq| ring.get(seq).cloned());
        let units = units.collect();
        self.taken = ring.end();
        units
    }
}

fn cts_ms(unit: &Unit) -> i64 {
    unit.composition_ms().into()
}

fn assert_times(units: &[Unit]) {
    for unit in units {
        assert!(unit.dts_us <= unit.pts_us, "{unit:?}");
        assert_eq!(unit.pts_us - unit.dts_us, cts_ms(unit) * 1_000);
    }
    for two in units.windows(2) {
        assert!(two[0].dts_us + 1_000 <= two[1].dts_us, "{two:?}");
    }
}

fn composition_times(units: &[Unit]) -> Vec<i64> {
    units.iter().map(cts_ms).collect()
}

fn orders() -> impl Strategy<Value = Vec<u64>> {
    (0_u64..=3).prop_flat_map(|count| Just((0..count).collect::<Vec<_>>()).prop_shuffle())
}

fn groups() -> impl Strategy<Value = Vec<Group>> {
    let with = prop::collection::vec(orders(), 0..10);
    let without = (0_usize..10).prop_map(|count| vec![Vec::new(); count]);
    prop::collection::vec(prop_oneof![with, without], 1..8)
}

fn vuis() -> impl Strategy<Value = Vui> {
    prop_oneof![Just(Vui::None), (1_u64..=4).prop_map(Vui::ReorderFrames)]
}

proptest! {
    #[test]
    fn whatever_the_order_the_dts_rises_up_to_the_pts_which_stays_what_it_was(
        groups in groups(),
        vui in vuis(),
        durations in prop::collection::vec(16_000_i64..70_000, 64),
        losses in prop::collection::vec(prop::bool::weighted(0.03), 64),
    ) {
        let mut show = Show::new(MAIN, vui);
        let (mut from_us, mut sent, mut all) = (0, 0_usize, Vec::new());
        let (mut complete, mut lost) = (false, false);
        for group in &groups {
            let pictures = coded(group);
            let mut times_us = vec![from_us];
            for n in 0..pictures.len() {
                times_us.push(times_us[n] + durations[(sent + n) % 64]);
            }
            for picture in &pictures {
                sent += 1;
                if losses[sent % 64] {
                    lost = true;
                    continue;
                }
                complete = picture.key || (complete && !lost);
                let pts_us = times_us[picture.place as usize];
                let units = show.send(*picture, pts_us, !std::mem::take(&mut lost));
                let came: Vec<i64> = units.iter().map(|unit| unit.pts_us).collect();
                let expected: &[i64] = if complete { &[pts_us] } else { &[] };
                prop_assert_eq!(came.as_slice(), expected);
                all.extend(units);
            }
            from_us = times_us[pictures.len()];
        }
        assert_times(&all);
        if groups.iter().flatten().all(Vec::is_empty) {
            prop_assert!(all.iter().all(|unit| unit.dts_us == unit.pts_us));
        }
    }

    #[test]
    fn a_stream_without_b_frames_is_decoded_when_it_is_shown_whatever_its_clock_does(
        steps_us in prop::collection::vec(-40_000_i64..70_000, 100),
        vui in vuis(),
        profile in prop_oneof![Just(BASELINE), Just(MAIN)],
    ) {
        let mut show = Show::new(profile, vui);
        let (mut pts_us, mut last_us) = (0, -1_000);
        for (n, step_us) in (0..).zip(steps_us) {
            let place = n % 30;
            let picture = Coded { place, key: place == 0, b: false, reference: n % 2 == 0 };
            pts_us = if n == 0 { 0 } else { pts_us + step_us };
            let units = show.send(picture, pts_us, true);
            prop_assert_eq!(units.len(), 1);
            prop_assert_eq!(units[0].dts_us, units[0].pts_us);
            prop_assert!(units[0].pts_us >= last_us + 1_000);
            if profile == BASELINE {
                // A clock that steps back is led on in single milliseconds.
                prop_assert_eq!(units[0].pts_us, pts_us.max(last_us + 1_000));
            }
            last_us = units[0].pts_us;
        }
    }

    #[test]
    fn however_a_stream_without_b_frames_counts_its_frames_its_third_picture_has_one_time(
        order_step in 1_u64..=7,
        pictures in 3_u64..60,
    ) {
        let mut show = Show::new(MAIN, Vui::None);
        show.order_step = order_step;
        for n in 0..pictures {
            let picture = Coded { place: n % 30, key: n % 30 == 0, b: false, reference: true };
            let units = show.send(picture, n as i64 * 33_333, true);
            prop_assert!(n == 1 || units[0].dts_us == units[0].pts_us);
        }
    }
}

#[test]
fn b_frames_give_even_decoding_times_as_soon_as_their_depth_is_known() {
    let mut show = Show::new(MAIN, Vui::None);
    let (plain, pyramid) = (vec![vec![0, 1]; 3], vec![vec![1, 0, 2]; 3]);
    show.send_group(&plain, 0, 40_000);
    let units = show.send_group(&plain, 400_000, 40_000);
    // An IDR one frame early, P three, B none: a depth of one.
    let times = [40, 120, 0, 0, 120, 0, 0, 120, 0, 0];
    assert_eq!(composition_times(&units), times);
    for (unit, n) in units.iter().zip(9..) {
        assert_eq!(unit.dts_us, n * 40_000);
    }
    show.send_group(&pyramid, 800_000, 40_000);
    let units = show.send_group(&pyramid, 1_320_000, 40_000);
    let times = [80, 200, 80, 0, 40, 200, 80, 0, 40, 200, 80, 0, 40];
    assert_eq!(composition_times(&units), times);
    for (unit, n) in units.iter().zip(31..) {
        assert_eq!(unit.dts_us, n * 40_000);
    }
}

#[test]
fn the_first_b_frames_of_a_stream_find_room_without_a_hole_and_the_last_ones_leave_none() {
    let mut show = Show::new(MAIN, Vui::None);
    let (without, with) = (vec![vec![]; 9], vec![vec![1, 0, 2]; 3]);
    let mut units = show.send_group(&without, 0, 40_000);
    assert_eq!(composition_times(&units), [0; 10]);
    units.extend(show.send_group(&with, 400_000, 40_000));
    for from_us in [920_000, 1_320_000, 1_720_000] {
        units.extend(show.send_group(&without, from_us, 40_000));
    }
    assert_times(&units);
    // The depth of the group before last is kept, then forgotten.
    assert_eq!(composition_times(&units[33..43]), [0; 10]);
    let steps = units.windows(2).map(|two| two[1].dts_us - two[0].dts_us);
    assert!(steps.max() <= Some(3 * 40_000));
}

#[test]
fn parameter_sets_that_rule_reordering_out_wrongly_cost_the_first_b_frames_alone() {
    let mut show = Show::new(MAIN, Vui::ReorderFrames(0));
    let mut units = show.send_group(&vec![vec![0, 1]; 5], 0, 40_000);
    assert_eq!(units.len(), 14);
    units.extend(show.send_group(&vec![vec![0, 1]; 5], 640_000, 40_000));
    assert_eq!(units.len(), 30);
    assert_times(&units);
}

#[test]
fn another_publisher_goes_on_behind_the_one_before_whatever_its_clock_says() {
    let mut show = Show::new(MAIN, Vui::None);
    let group = vec![vec![1, 0, 2]; 5];
    let mut units = show.send_group(&group, 0, 40_000);
    show.ingest.start(show.now, true);
    units.extend(show.send_group(&group, 500_000, 40_000));
    units.extend(show.send_group(&group, 1_340_000, 40_000));
    assert_eq!(units.len(), 63);
    assert_times(&units);
    let order = |units: &[Unit]| {
        let mut order: Vec<usize> = (0..units.len()).collect();
        order.sort_by_key(|n| units[*n].pts_us);
        order
    };
    assert_eq!(order(&units[21..42]), order(&units[..21]));
    // The clock of the second is behind by 300 ms, and led on less and less.
    let late_us = |n: usize, from_us: i64| units[n].pts_us - units[n % 21].pts_us - from_us;
    assert_eq!(late_us(21, 500_000), 301_000);
    assert!(late_us(41, 500_000) < 220_000);
    assert!(late_us(62, 1_340_000) < 130_000);
}

#[test]
fn what_stands_in_behind_b_frames_goes_on_behind_the_last_picture_that_is_shown() {
    let mut show = Show::new(MAIN, Vui::None);
    let mut units = show.send_group(&vec![vec![1, 0, 2]; 5], 0, 40_000);
    let last_us = 20 * 40_000;
    show.ingest.stop(show.now);
    let mut now_us = last_us;
    for _ in 0..100 {
        show.now += Duration::from_millis(40);
        now_us += 40_000;
        show.ingest.fill(show.now, now_us);
    }
    let filled = show.take();
    let filled: Vec<Unit> = filled
        .into_iter()
        .filter(|unit| matches!(unit.kind, crate::broadcast::ring::Kind::Video { .. }))
        .collect();
    assert!(filled.len() > 50, "{} pictures stand in", filled.len());
    assert!((filled[0].pts_us - last_us - 40_000).abs() < 1_000);
    assert!(filled.iter().all(|unit| cts_ms(unit) == 0));
    units.extend(filled);
    show.ingest.start(show.now, true);
    units.extend(show.send_group(&vec![vec![1, 0, 2]; 5], now_us, 40_000));
    assert_times(&units);
}
