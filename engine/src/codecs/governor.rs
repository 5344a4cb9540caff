//! Degrades the work of a codec worker that cannot keep up, and restores it afterwards.
//!
//! A worker is late when the frames of a broadcast wait long for their turn, or come too late to be
//! encoded at all. The time that the work on a frame takes does not count: ten frames a second of 75 ms
//! each are done in time. Each broadcast is judged by itself, since a punctual one does not excuse a
//! late neighbour.
//!
//! Under overload the worker lowers the preset first, then the frame rate: every second frame, then two
//! of three are left out, one step a second. It takes a step back only after it has been punctual for
//! a while and the step is expected to fit in the idle time; each step back that had to be undone
//! doubles that while.

use std::time::{Duration, Instant};

use super::window::{Punctuality, Turn, Window, permille};
use crate::limits::{
    GOVERNOR_BUSY_PERMILLE_MAX, GOVERNOR_CALM_MAX, GOVERNOR_CALM_MIN, GOVERNOR_UNDONE_WITHIN,
    GOVERNOR_WINDOW,
};

/// Work of one rendition under each preset but the first, in thousandths of that under the preset
/// one faster: decoding, scaling and encoding together, measured at 1280×720.
const PRESET_COST_PERMILLE: [u64; 3] = [1_250, 1_400, 2_000];

/// Only each third picture is left at the end.
const FRAME_DIVISOR_MAX: u32 = 3;

/// What a thread does less than was wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Level {
    /// Presets faster than wanted, not beyond the fastest.
    pub(super) preset_steps: u32,
    /// Every n-th picture is encoded.
    pub(super) frame_divisor: u32,
}

impl Level {
    /// All as wanted.
    pub(super) const FULL: Self = Self {
        preset_steps: 0,
        frame_divisor: 1,
    };

    fn lower(self, preset_steps_max: u32) -> Option<Self> {
        if self.preset_steps < preset_steps_max {
            let preset_steps = self.preset_steps + 1;
            return Some(Self {
                preset_steps,
                ..self
            });
        }
        (self.frame_divisor < FRAME_DIVISOR_MAX).then_some(Self {
            frame_divisor: self.frame_divisor + 1,
            ..self
        })
    }

    /// The next step back, and what it multiplies the work by, in thousandths.
    fn higher(self, preset_steps_max: u32) -> Option<(Self, u64)> {
        if self.frame_divisor > 1 {
            let frame_divisor = self.frame_divisor - 1;
            let level = Self {
                frame_divisor,
                ..self
            };
            // All of the work, although decoding stays the same: better to be on the safe side.
            return Some((
                level,
                u64::from(self.frame_divisor) * 1_000 / u64::from(frame_divisor),
            ));
        }
        let preset_steps = self.preset_steps.checked_sub(1)?;
        let level = Self {
            preset_steps,
            ..self
        };
        // Which step that is for the slowest preset wanted; nothing changes beyond the fastest.
        let cost = preset_steps_max
            .checked_sub(self.preset_steps)
            .and_then(|faster| PRESET_COST_PERMILLE.get(faster as usize));
        Some((level, cost.copied().unwrap_or(1_000)))
    }
}

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// More is given up than before.
    Down,
    /// Less is.
    Back,
    /// More would have to be, and there is no more. Said once.
    Floor,
}

/// A change of level, with what led to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) level: Level,
    pub(super) direction: Direction,
    /// What nine pictures of ten waited at most over the last second: those of the broadcast that
    /// waited longest.
    pub(super) waited: Duration,
    /// Pictures of that broadcast.
    pub(super) missed: u32,
    /// Of the time over which it was judged, in thousandths.
    pub(super) busy_permille: u64,
}

/// A time in which all was well.
#[derive(Clone, Copy, Debug)]
struct Calm {
    since: Instant,
    busy: Duration,
}

/// The governor of one codec worker.
#[derive(Debug)]
pub(super) struct Governor {
    level: Level,
    preset_steps_max: u32,
    window: Window,
    late_windows: u32,
    calm: Option<Calm>,
    stepped_back: Option<Instant>,
    /// How long all has to be well before the next step back.
    patience: Duration,
    /// That there is nothing more to give up was logged.
    at_floor: bool,
}

impl Governor {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            level: Level::FULL,
            preset_steps_max: 0,
            window: Window::new(now),
            late_windows: 0,
            calm: None,
            stepped_back: None,
            patience: GOVERNOR_CALM_MIN,
            at_floor: false,
        }
    }

    pub(super) fn level(&self) -> Level {
        self.level
    }

    /// How many presets the slowest one that is wanted is behind the fastest.
    pub(super) fn set_preset_steps_max(&mut self, steps: u32) {
        self.preset_steps_max = steps;
    }

    /// The thread is done with a unit at `now`; the level from now on, if it is another one.
    pub(super) fn observe(&mut self, now: Instant, turn: Turn) -> Option<Step> {
        self.window.add(turn);
        if now.saturating_duration_since(self.window.since()) < GOVERNOR_WINDOW {
            return None;
        }
        let window = std::mem::replace(&mut self.window, Window::new(now));
        self.judge(now, &window)
    }

    fn judge(&mut self, now: Instant, window: &Window) -> Option<Step> {
        let held = |at| at + GOVERNOR_UNDONE_WITHIN <= now;
        if self.level == Level::FULL && self.stepped_back.is_some_and(held) {
            self.stepped_back = None;
            self.patience = GOVERNOR_CALM_MIN;
        }
        let punctuality = window.punctuality();
        if punctuality.iter().any(Punctuality::is_late) {
            self.calm = None;
            self.late_windows = self.late_windows.saturating_add(1);
            // What was held up on its way arrives all at once, and makes one second late.
            let lasting = self.late_windows >= 2;
            let late = punctuality.into_iter().filter(Punctuality::is_late);
            let worst = late
                .filter(|transcoder| transcoder.ends_late && (lasting || transcoder.misses_many()))
                .max_by_key(|transcoder| (transcoder.waited, transcoder.missed))?;
            let busy_permille = permille(window.busy(), now - window.since());
            return self.step_down(&worst, busy_permille);
        }
        self.late_windows = 0;
        if !punctuality.iter().all(Punctuality::is_punctual) {
            self.calm = None;
            return None;
        }
        let waited = punctuality.iter().map(|transcoder| transcoder.waited).max();
        let calm = self.calm.get_or_insert(Calm {
            since: window.since(),
            busy: Duration::ZERO,
        });
        calm.busy += window.busy();
        let calm = *calm;
        let span = now.saturating_duration_since(calm.since);
        if span < self.patience {
            return None;
        }
        self.step_back(now, waited.unwrap_or_default(), permille(calm.busy, span))
    }

    fn step_down(&mut self, worst: &Punctuality, busy_permille: u64) -> Option<Step> {
        let direction = match self.level.lower(self.preset_steps_max) {
            Some(level) => {
                self.level = level;
                Direction::Down
            }
            None if self.at_floor => return None,
            None => {
                self.at_floor = true;
                Direction::Floor
            }
        };
        if self.stepped_back.take().is_some() {
            self.patience = (self.patience * 2).min(GOVERNOR_CALM_MAX);
        }
        Some(Step {
            level: self.level,
            direction,
            waited: worst.waited,
            missed: worst.missed,
            busy_permille,
        })
    }

    fn step_back(&mut self, now: Instant, waited: Duration, busy_permille: u64) -> Option<Step> {
        // Judged anew over as long a time: load may have gone by then.
        self.calm = None;
        let (level, cost_permille) = self.level.higher(self.preset_steps_max)?;
        if busy_permille * cost_permille / 1_000 > GOVERNOR_BUSY_PERMILLE_MAX {
            return None;
        }
        self.level = level;
        self.stepped_back = Some(now);
        self.at_floor = false;
        Some(Step {
            level,
            direction: Direction::Back,
            waited,
            missed: 0,
            busy_permille,
        })
    }
}

#[cfg(test)]
mod tests {
    use shardcast_core::io::VideoTranscoderId;

    use super::{
        Direction::{Back, Down, Floor},
        *,
    };

    const TRANSCODER: VideoTranscoderId = VideoTranscoderId::numbered(1);
    const NEIGHBOUR: VideoTranscoderId = VideoTranscoderId::numbered(2);

    /// A worker that encodes pictures of one stream, in simulated time. Each takes `work` at full
    /// quality and less the more is given up; what comes too late is left out.
    struct Worker {
        governor: Governor,
        pictures_per_second: u32,
        now: Instant,
        free: Instant,
        work: Duration,
        count: u32,
    }

    const FULL: Level = Level::FULL;

    fn level(preset_steps: u32, frame_divisor: u32) -> Level {
        Level {
            preset_steps,
            frame_divisor,
        }
    }

    impl Worker {
        fn new(work_ms: u64) -> Self {
            let now = Instant::now();
            let mut governor = Governor::new(now);
            governor.set_preset_steps_max(2);
            Self {
                governor,
                pictures_per_second: 30,
                now,
                free: now,
                work: Duration::from_millis(work_ms),
                count: 0,
            }
        }

        fn picture(&mut self, arrived: Instant) -> Option<Step> {
            let Level {
                preset_steps,
                frame_divisor,
            } = self.governor.level();
            self.count += 1;
            let begun = self.free.max(arrived);
            let missed = begun - arrived > Duration::from_millis(100);
            let skipped = missed || !self.count.is_multiple_of(frame_divisor);
            let busy = if skipped {
                self.work / 5
            } else {
                self.work * [100, 71, 57][preset_steps as usize] / 100
            };
            self.free = begun + busy;
            let turn = Turn {
                transcoder: TRANSCODER,
                waited: Some(begun - arrived),
                busy,
                missed: u32::from(missed),
            };
            self.governor.observe(self.free, turn)
        }

        /// The steps of so many seconds.
        fn run(&mut self, seconds: u32) -> Vec<Step> {
            let distance = Duration::from_secs(1) / self.pictures_per_second;
            (0..seconds * self.pictures_per_second)
                .filter_map(|_| {
                    self.now += distance;
                    self.picture(self.now)
                })
                .collect()
        }
    }

    /// The levels of steps that all go one way.
    fn levels(steps: &[Step], direction: Direction) -> Vec<Level> {
        assert!(
            steps.iter().all(|step| step.direction == direction),
            "{steps:?}"
        );
        steps.iter().map(|step| step.level).collect()
    }

    #[test]
    fn a_thread_that_keeps_up_is_left_alone() {
        assert_eq!(Worker::new(25).run(60), []);
    }

    #[test]
    fn an_overload_that_one_step_mends_costs_one_step() {
        let mut worker = Worker::new(40);
        let steps = worker.run(8);
        assert_eq!(levels(&steps, Down), [level(1, 1)]);
        assert!(steps[0].waited > Duration::from_millis(66), "{steps:?}");
    }

    #[test]
    fn a_broadcast_that_is_late_is_seen_beside_one_that_is_punctual() {
        let mut governor = Governor::new(Instant::now());
        governor.set_preset_steps_max(2);
        let mut now = Instant::now();
        let mut steps = Vec::new();
        // They take turns, and the late one has only one turn of five.
        for n in 0..300 {
            now += Duration::from_millis(10);
            let late = n % 5 == 0;
            let turn = Turn {
                transcoder: if late { TRANSCODER } else { NEIGHBOUR },
                waited: Some(Duration::from_millis(if late { 90 } else { 5 })),
                busy: Duration::from_millis(if late { 30 } else { 2 }),
                missed: 0,
            };
            steps.extend(governor.observe(now, turn));
        }
        assert_eq!(levels(&steps, Down), [level(1, 1), level(2, 1)]);
        assert_eq!(steps[0].waited, Duration::from_millis(90));
    }

    #[test]
    fn pictures_that_are_missed_are_those_of_one_broadcast() {
        let mut governor = Governor::new(Instant::now());
        let mut now = Instant::now();
        // Each of three misses one while an encoder of a fourth is opened.
        for n in 0..400 {
            now += Duration::from_millis(10);
            let turn = Turn {
                transcoder: VideoTranscoderId::numbered(n % 4),
                waited: Some(Duration::from_millis(if n < 4 { 150 } else { 5 })),
                busy: Duration::from_millis(5),
                missed: u32::from(n < 4),
            };
            assert_eq!(governor.observe(now, turn), None);
        }
    }

    #[test]
    fn pictures_that_take_long_and_come_seldom_are_in_time() {
        for (pictures_per_second, work_ms) in [(15, 45), (10, 75), (5, 160)] {
            let mut worker = Worker::new(work_ms);
            worker.pictures_per_second = pictures_per_second;
            assert_eq!(worker.run(30), [], "{pictures_per_second} a second");
        }
    }

    #[test]
    fn quality_comes_back_to_pictures_that_take_long_and_come_seldom() {
        let mut worker = Worker::new(90);
        worker.pictures_per_second = 15;
        worker.run(9);
        assert_ne!(worker.governor.level(), FULL);
        worker.work = Duration::from_millis(40);
        worker.run(80);
        assert_eq!(worker.governor.level(), FULL);
    }

    #[test]
    fn presets_go_first_and_then_pictures_one_step_a_second() {
        let mut worker = Worker::new(120);
        let begun = worker.now;
        let mut steps = worker.run(9);
        assert_eq!(steps.pop().map(|step| step.direction), Some(Floor));
        let expected = [level(1, 1), level(2, 1), level(2, 2), level(2, 3)];
        assert_eq!(levels(&steps, Down), expected);
        assert!(worker.now - begun > Duration::from_secs(4));
        assert_eq!(worker.run(20), [], "the floor is reported once");
    }

    #[test]
    fn nothing_faster_than_the_fastest_preset_is_tried() {
        let mut worker = Worker::new(120);
        worker.governor.set_preset_steps_max(0);
        let mut steps = worker.run(9);
        assert_eq!(steps.pop().map(|step| step.direction), Some(Floor));
        assert_eq!(levels(&steps, Down), [level(0, 2), level(0, 3)]);
    }

    #[test]
    fn when_the_load_has_gone_all_is_taken_back_slowly() {
        let mut worker = Worker::new(120);
        worker.run(9);
        worker.work = Duration::from_millis(8);
        assert_eq!(worker.run(9), []);
        let steps = worker.run(60);
        let expected = [level(2, 2), level(2, 1), level(1, 1), FULL];
        assert_eq!(levels(&steps, Back), expected);
        assert!(steps.iter().all(|step| step.missed == 0));
    }

    #[test]
    fn a_step_that_would_not_fit_is_not_tried() {
        // At one step down it is busy for 85 %: all of it would be more than there is.
        let mut worker = Worker::new(40);
        assert_eq!(levels(&worker.run(300), Down), [level(1, 1)]);
    }

    #[test]
    fn attempts_that_fail_become_rare() {
        // Easy on average, but each quarter of a minute one second is too much for full quality.
        let mut worker = Worker::new(20);
        let mut steps = Vec::new();
        for second in 0..600 {
            let hard = second % 15 == 14 && worker.governor.level() == FULL;
            worker.work = Duration::from_millis(if hard { 90 } else { 20 });
            steps.extend(worker.run(1));
        }
        let back = steps.iter().filter(|step| step.direction == Back).count();
        assert!((3..=9).contains(&back), "{back}: {steps:?}");
    }

    #[test]
    fn pictures_that_were_held_up_on_their_way_are_no_overload() {
        let mut worker = Worker::new(15);
        for _ in 0..30 {
            assert_eq!(worker.run(2), []);
            // A seventh of a second of pictures comes in one moment.
            worker.now += Duration::from_millis(170);
            for _ in 0..5 {
                assert_eq!(worker.picture(worker.now), None);
            }
        }
    }

    #[test]
    fn a_few_pictures_left_out_while_an_encoder_opens_are_no_overload() {
        let mut worker = Worker::new(15);
        worker.free += Duration::from_millis(190);
        assert_eq!(worker.run(10), []);
    }

    #[test]
    fn a_stream_of_few_pictures_is_not_judged_by_them() {
        let mut governor = Governor::new(Instant::now());
        let mut now = Instant::now();
        for _ in 0..60 {
            now += Duration::from_secs(1);
            let turn = Turn {
                transcoder: TRANSCODER,
                waited: Some(Duration::from_millis(90)),
                busy: Duration::from_millis(60),
                missed: 0,
            };
            assert_eq!(governor.observe(now, turn), None);
        }
    }
}
