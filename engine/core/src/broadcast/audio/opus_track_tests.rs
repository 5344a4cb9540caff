//! Proves: whatever is lost of a publisher's Opus, the units that are made of it have no gap, begin where
//! the AAC of the same samples begins, and hold every packet that is heard once and unchanged.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    broadcast::{
        Ingest,
        ring::{Kind, Unit},
    },
    codec::{
        aac::SAMPLE_RATE,
        opus::{FILL_SAMPLES_MIN, duration_samples},
    },
    webrtc::audio_receiver::PlacedPacket,
};

/// A publisher's packets on their way through the ingest, and the units that come of them.
struct Show {
    epoch: Instant,
    ingest: Ingest,
    units: Vec<Unit>,
    /// Samples that audio transcoders would have been fed, and the position of the first.
    fed: i64,
    start: Option<i64>,
    sent: Vec<Arc<[u8]>>,
}

impl Show {
    fn new() -> Self {
        let epoch = Instant::now();
        let mut ingest = Ingest::new(Duration::from_secs(2));
        ingest.start(epoch, false);
        Self {
            epoch,
            ingest,
            units: Vec::new(),
            fed: 0,
            start: None,
            sent: Vec::new(),
        }
    }

    fn at(&self, us: i64) -> Instant {
        self.epoch + Duration::from_micros(us.unsigned_abs())
    }

    /// A packet of this first byte that arrives when it is due, with a number of its own in it.
    fn packet(&mut self, pts_us: i64, toc: u8, lost: u32) {
        let [a, b] = (self.sent.len() as u16).to_be_bytes();
        let packet: Arc<[u8]> = Arc::from([toc, a, b, 7, 7]);
        self.sent.push(packet.clone());
        let placed = PlacedPacket {
            pts_us,
            packet,
            lost,
        };
        self.ingest.audio(self.at(pts_us), &placed);
        self.take();
    }

    fn nothing_until(&mut self, us: i64) {
        self.ingest.fill(self.at(us), us);
        self.take();
    }

    fn take(&mut self) {
        while let Some(placed) = self.ingest.audio_inputs.pop_front() {
            self.start.get_or_insert(placed.at);
            self.fed += i64::from(placed.input.samples());
            let units = &mut self.units;
            self.ingest
                .push_opus(&placed, |unit| units.push(unit.clone()));
        }
    }

    /// Each unit begins where the one before ends, up to the rounding of a microsecond.
    fn check(&self, told: &str) {
        let mut end_us: Option<i64> = None;
        let mut samples_in_all = 0;
        for unit in &self.units {
            let Kind::Opus { samples } = unit.kind else {
                panic!("{told}: {unit:?}");
            };
            assert_eq!(duration_samples(&unit.payload), Some(samples), "{told}");
            assert_eq!(unit.pts_us, unit.dts_us);
            if let Some(end_us) = end_us {
                let gap_us = unit.pts_us - end_us;
                assert!((0..=1).contains(&gap_us), "{told}: {gap_us} us at {unit:?}");
            }
            samples_in_all += i64::from(samples);
            end_us = Some(unit.pts_us + i64::from(samples) * 1_000_000 / SAMPLE_RATE);
        }
        let short = self.fed - samples_in_all;
        assert!(
            (0..i64::from(FILL_SAMPLES_MIN)).contains(&short),
            "{told}: AAC is made of {short} samples more"
        );
        let first_us = self.units.first().map(|unit| unit.pts_us);
        let start_us = self.start.map(|start| start * 1_000_000 / SAMPLE_RATE);
        assert_eq!(first_us, start_us, "{told}");
    }

    /// Which of the packets that came are in the units, in their order.
    fn heard(&self) -> Vec<usize> {
        let long = self.units.iter().filter(|unit| unit.payload.len() > 3);
        long.map(|unit| {
            let same = |sent: &Arc<[u8]>| unit.payload[..] == sent[..];
            self.sent.iter().position(same).expect("it was sent")
        })
        .collect()
    }
}

/// First bytes of packets with one frame: CELT of 20, 10 and 2.5 ms, hybrid of 20, SILK of 20 and 60 ms; in
/// stereo and mono.
const TOCS: [u8; 7] = [0xFC, 0xF8, 0xF4, 0xE4, 0x7C, 0x4C, 0x58];

#[test]
fn whatever_is_lost_units_follow_each_other_without_a_gap() {
    for toc in TOCS {
        let samples = i64::from(duration_samples(&[toc]).unwrap());
        for period in 2..=12 {
            for burst in 1..=15 {
                let mut show = Show::new();
                let (mut position, mut count) = (48_000, 0);
                for n in 0..400 {
                    let lost = if n > 0 && n % period == 0 { burst } else { 0 };
                    position += i64::from(lost) * samples;
                    // As much as RTP times and the slewing of clocks put a packet off.
                    let off_us = [0, 300, -200, 900, -900][n as usize % 5];
                    show.packet(position * 1_000 / 48 + off_us, toc, lost);
                    position += samples;
                    count += 1;
                }
                let told = format!("{toc:#x}, {burst} lost each {period}");
                show.check(&told);
                assert_eq!(show.heard(), Vec::from_iter(0..count), "{told}");
            }
        }
    }
}

#[test]
fn a_lost_packet_is_a_byte_of_its_mode_and_a_longer_gap_is_silence() {
    let mut show = Show::new();
    for n in [0, 1, 3, 4, 104] {
        show.packet(n * 20_000, 0x78, u32::from(n == 3));
    }
    show.check("");
    let payloads: Vec<&[u8]> = show.units.iter().map(|unit| &unit.payload[..]).collect();
    assert_eq!(payloads[2], [0x78], "in the place of the third");
    assert_eq!(payloads[5..104], [&[0xFC, 0xFF, 0xFE][..]; 99]);
    assert_eq!(show.units.len(), 105);
}

#[test]
fn silence_takes_the_place_of_a_publisher_that_is_gone_and_audio_returns() {
    for gone_ms in (500..1_900).step_by(33) {
        let mut show = Show::new();
        for n in 0..50 {
            show.packet(n * 20_000, 0xFC, 0);
        }
        for ms in (1_000..1_000 + gone_ms).step_by(50) {
            show.nothing_until(ms * 1_000);
        }
        let silent = show.units.len();
        for n in 0..50 {
            show.packet((1_000 + gone_ms + n * 20) * 1_000, 0xFC, 0);
        }
        show.check(&format!("{gone_ms} ms"));
        assert!(silent > 50, "silence was made meanwhile");
        assert!(show.heard().len() >= 96, "{gone_ms} ms: {:?}", show.heard());
    }
}

#[test]
fn times_jump_only_where_the_timeline_does() {
    let mut show = Show::new();
    show.packet(0, 0xFC, 0);
    let hour_us = 3_600_000_000;
    show.packet(hour_us, 0xFC, 0);
    let last = show.units.last().unwrap();
    assert!((last.pts_us - hour_us).abs() < 3_000, "{last:?}");
    let jumps = show
        .units
        .windows(2)
        .filter(|pair| pair[1].pts_us - pair[0].pts_us > 20_001);
    assert_eq!(jumps.count(), 1);
    // Two seconds of it are filled, as for AAC.
    assert_eq!(show.units.len(), 102);
}

#[test]
fn units_that_are_wanted_again_go_on_at_the_right_time() {
    let mut show = Show::new();
    for n in 0..100 {
        if (50..75).contains(&n) {
            // Nobody takes Opus for half a second.
            let placed = PlacedPacket {
                pts_us: n * 20_000,
                packet: Arc::from([0xFC, 1]),
                lost: 0,
            };
            show.ingest.audio(show.at(n * 20_000), &placed);
            show.ingest.audio_inputs.clear();
        } else {
            show.packet(n * 20_000, 0xFC, 0);
        }
    }
    let times: Vec<i64> = show.units.iter().map(|unit| unit.pts_us).collect();
    assert_eq!(times[..50], Vec::from_iter((0..50).map(|n| n * 20_000)));
    assert_eq!(times[50..].first(), Some(&1_500_000));
    assert!(times.is_sorted_by(|a, b| a < b));
}
