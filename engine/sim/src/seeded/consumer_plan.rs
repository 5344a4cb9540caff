//! Generates what happens to the recording and the HLS of a run. They have a chance of their own, so that all else
//! of a run is the same without them.

use shardcast_link::{RenditionSpec, WantedHls};

use super::{
    disk::DiskMode,
    plan::{Plan, ScheduledEvent},
};
use crate::random::Random;

/// Of a hundred runs, those in which the broadcast is recorded, and those in which it is packaged for HLS.
const RECORDED_PERCENT: u64 = 25;
const PACKAGED_PERCENT: u64 = 25;
/// Lines of the rungs that are packaged, if rungs are.
const RUNG_LINES: [u32; 2] = [360, 180];
/// Tells this chance from that of the run.
const SALT: u64 = 0x0072_6563_6f72_6400;
/// What comes and goes does so at most so often.
const ROUNDS_MAX: u64 = 6;

/// What control lets the shard make of the publisher's video, where no viewer wants other rungs.
pub(super) fn ladder() -> Vec<RenditionSpec> {
    let rung = |height| RenditionSpec {
        frames_per_second: 10,
        ..RenditionSpec::of_height(height)
    };
    RUNG_LINES.map(rung).to_vec()
}

/// Which consumers a run has beside its destinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beside {
    /// Those that its seed stands for.
    Planned,
    /// The same, on a disk without faults.
    WellDisk,
    Nothing,
}

/// How the operator lets a broadcast be recorded.
#[derive(Clone, Copy, Debug)]
pub(super) struct RecordingPlan {
    pub(super) file_ms_max: u64,
    pub(super) filler: bool,
}

/// What becomes of consumers beside the destinations.
#[derive(Clone, Copy, Debug)]
pub(super) enum ConsumerEvent {
    /// Another recording begins, or the one that there is ends.
    Record(Option<RecordingPlan>),
    Disk(DiskMode),
    /// The first of the players that poll has come, or the last has gone.
    Package(Option<WantedHls>),
}

/// What the seed stands for, in the order in which it was drawn.
#[derive(Debug)]
pub(super) struct ConsumerPlan {
    pub(super) events: Vec<(u64, ScheduledEvent)>,
    pub(super) records: bool,
    pub(super) packages: bool,
    /// The disk has faults.
    pub(super) faults: bool,
    /// Of the disk.
    pub(super) random: Random,
}

impl ConsumerPlan {
    pub(super) fn new(seed: u64, plan: &Plan, beside: Beside) -> Self {
        let mut it = Self {
            events: Vec::new(),
            records: false,
            packages: false,
            faults: false,
            random: Random::new(seed ^ SALT),
        };
        if beside == Beside::Nothing {
            return it;
        }
        if it.random.chance(RECORDED_PERCENT) {
            it.records = true;
            it.record(plan);
            it.disk(plan, beside);
        }
        if it.random.chance(PACKAGED_PERCENT) {
            it.packages = true;
            it.package(plan);
        }
        it
    }

    fn put(&mut self, at_ms: u64, event: ConsumerEvent) {
        self.events.push((at_ms, ScheduledEvent::Consumer(event)));
    }

    /// The operator turns it on and off, or begins another; at the end it is on and mostly stays.
    fn record(&mut self, plan: &Plan) {
        let mut at_ms = self.random.pick(&[0, 0, 1_000, 5_000]);
        for _ in 0..self.random.between(1, ROUNDS_MAX) {
            if at_ms >= plan.calm_ms {
                break;
            }
            let recording = self.recording();
            self.put(at_ms, ConsumerEvent::Record(Some(recording)));
            at_ms += self.random.between(500, 30_000);
            if at_ms < plan.calm_ms && self.random.chance(70) {
                self.put(at_ms, ConsumerEvent::Record(None));
                at_ms += self.random.between(0, 8_000);
            }
        }
        let recording = self.recording();
        self.put(plan.calm_ms, ConsumerEvent::Record(Some(recording)));
    }

    fn recording(&mut self) -> RecordingPlan {
        RecordingPlan {
            file_ms_max: self.random.pick(&[0, 0, 2_000, 7_000]),
            filler: self.random.chance(70),
        }
    }

    fn disk(&mut self, plan: &Plan, beside: Beside) {
        let mut at_ms = self.random.between(0, 10_000);
        for _ in 0..self.random.between(0, ROUNDS_MAX) {
            if at_ms >= plan.calm_ms {
                break;
            }
            let mode = match self.random.index(4) {
                0 => DiskMode::Slow(self.random.between(20, 1_500)),
                1 => DiskMode::StandsStill,
                _ => DiskMode::Full,
            };
            let lasts_ms = self.random.between(300, 20_000);
            if beside == Beside::Planned {
                self.faults = true;
                self.put(at_ms, ConsumerEvent::Disk(mode));
                let until_ms = (at_ms + lasts_ms).min(plan.calm_ms);
                self.put(until_ms, ConsumerEvent::Disk(DiskMode::Well));
            }
            at_ms += lasts_ms + self.random.between(0, 20_000);
        }
    }

    fn package(&mut self, plan: &Plan) {
        let mut at_ms = self.random.pick(&[0, 0, 1_000, 5_000]);
        for _ in 0..self.random.between(1, ROUNDS_MAX) {
            if at_ms >= plan.calm_ms {
                break;
            }
            let hls = self.hls(plan);
            self.put(at_ms, ConsumerEvent::Package(Some(hls)));
            at_ms += self.random.between(500, 30_000);
            // Otherwise control wants them packaged otherwise.
            if at_ms < plan.calm_ms && self.random.chance(80) {
                self.put(at_ms, ConsumerEvent::Package(None));
                at_ms += self.random.between(0, 8_000);
            }
        }
        let hls = self.hls(plan);
        self.put(plan.calm_ms, ConsumerEvent::Package(Some(hls)));
    }

    fn hls(&mut self, plan: &Plan) -> WantedHls {
        let ladder = self.random.chance(60);
        WantedHls {
            segment_ms: self.random.pick(&[1_000, 2_000, 2_000, 4_000]),
            ladder: ladder && plan.transcoders.capacity_permille > 0,
        }
    }
}
