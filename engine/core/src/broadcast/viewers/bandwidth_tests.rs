//! Proves, in simulated time: a viewer whose network becomes slower is on a rung that it carries within four seconds,
//! and back within twenty of its return, with one change each way; loss of radio changes nothing; and a network that
//! is slow for good is tried without a change. Ways are a bottleneck with a queue, a delay and bursts of loss.

use shardcast_sim::bottleneck::{Bottleneck, Way};

use super::*;

const FRAME: Duration = Duration::from_micros(33_333);
/// How often the client reports, and how often the path is looked at: by the reports of each packet, and by receiver
/// reports.
const EACH_PACKET: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(100)];
const RECEIVER_REPORTS: [Duration; 2] = [Duration::from_secs(1); 2];
const PACKET_BYTES: u64 = 1_100;
/// Until the first keyframe of a rung that is asked for.
const RUNG_BEGINS_S: f64 = 0.3;
/// 360p, 480p and a source of 720p, with audio.
const RUNGS: [u64; 3] = [864_000, 1_564_000, 2_564_000];

const GOOD: Way = Way {
    rate_bps: 4_000_000,
    queue: Duration::from_millis(200),
    delay: Duration::from_millis(20),
    loss_permille: 0,
    burst: 1,
};

#[derive(Clone, Copy, Debug)]
struct Packet {
    sent: Instant,
    arrives: Option<Instant>,
}

/// One viewer: what it is sent, its network, and what it reports.
struct Show {
    start: Instant,
    now: Instant,
    /// How often the client reports.
    reports: Duration,
    /// How often the path is looked at.
    samples: Duration,
    frame: u64,
    network: Bottleneck<()>,
    packets: Vec<Packet>,
    bytes: u64,
    sampled_bytes: u64,
    padding_bytes: f64,
    bandwidth: Bandwidth,
    in_use: usize,
    selected: usize,
    /// When that was selected.
    selected_s: f64,
    /// Second and choice of each change.
    changes: Vec<(f64, usize)>,
}

impl Show {
    fn new(way: Way, seed: u64) -> Self {
        let start = Instant::now();
        Self {
            start,
            now: start,
            reports: EACH_PACKET[0],
            samples: EACH_PACKET[1],
            frame: 0,
            network: Bottleneck::new(way, seed),
            packets: Vec::new(),
            bytes: 0,
            sampled_bytes: 0,
            padding_bytes: 0.0,
            bandwidth: Bandwidth::new(start),
            in_use: RUNGS.len() - 1,
            selected: RUNGS.len() - 1,
            selected_s: 0.0,
            changes: Vec::new(),
        }
    }

    fn seconds(&self) -> f64 {
        (self.now - self.start).as_secs_f64()
    }

    fn run_until(&mut self, second: f64) {
        while self.seconds() < second {
            self.frame();
        }
    }

    /// A group of two seconds begins with a keyframe of six times the size. A smaller rung begins with one.
    fn frame(&mut self) {
        let is_made = self.seconds() >= self.selected_s + RUNG_BEGINS_S;
        if self.selected < self.in_use && is_made {
            self.frame = 0;
        }
        let in_group = self.frame % 60;
        if in_group == 0 && self.selected != self.in_use {
            self.in_use = self.selected;
            self.changes.push((self.seconds(), self.in_use));
        }
        if self.bandwidth.is_full(self.now) && self.selected != self.in_use {
            return self.pass();
        }
        let mean = RUNGS[self.in_use] / 8 / 30;
        let size = mean * if in_group == 0 { 6 } else { 1 } * 60 / 65;
        let padding = match self.bandwidth.trial_bps(self.now) {
            Some(bps) => {
                (self.padding_bytes + bps as f64 / 8.0 / 30.0 - size as f64).max(-20_000.0)
            }
            None => 0.0,
        };
        let paddings = (padding / PACKET_BYTES as f64).max(0.0) as u64;
        self.padding_bytes = padding - (paddings * PACKET_BYTES) as f64;
        for _ in 0..size / PACKET_BYTES + paddings {
            self.send(PACKET_BYTES);
        }
        self.send(size % PACKET_BYTES);
        self.pass();
    }

    fn pass(&mut self) {
        let before = self.now;
        self.frame += 1;
        self.now += FRAME;
        let nth = |at: Instant| (at - self.start).as_micros() / self.samples.as_micros();
        if nth(before) != nth(self.now) {
            self.sample();
        }
    }

    fn send(&mut self, bytes: u64) {
        self.bytes += bytes;
        let arrives = self.network.carry(self.now, bytes as usize + 60);
        self.packets.push(Packet {
            sent: self.now,
            arrives,
        });
    }

    /// Each report of the client takes the delay.
    fn sample(&mut self) {
        let (delay, now) = (self.network.way.delay, self.now);
        let heard = (now - self.start).saturating_sub(delay).as_micros() / self.reports.as_micros();
        let reported = self.start + self.reports * u32::try_from(heard).unwrap();
        let is_known = |packet: &Packet| packet.arrives.is_some_and(|at| at <= reported);
        let known = self.packets.iter().rposition(is_known);
        let packets = &self.packets[..known.map_or(0, |last| last + 1)];
        let recent = packets
            .iter()
            .rev()
            .take_while(|it| now - it.sent <= WINDOW);
        let (lost, all) = recent.fold((0, 0), |(lost, all), packet| {
            (lost + u32::from(packet.arrives.is_none()), all + 1)
        });
        let path = PathSample {
            at: now,
            sent_bps: (self.bytes - self.sampled_bytes) * 8 * 1_000_000
                / self.samples.as_micros() as u64,
            loss: (all > 0).then(|| lost as f32 / all as f32),
            rtt: packets.last().map(|it| {
                let came = it.arrives.unwrap_or(reported) - self.start;
                let nth = came.as_micros().div_ceil(self.reports.as_micros());
                self.start + self.reports * u32::try_from(nth).unwrap() + delay - it.sent
            }),
        };
        self.sampled_bytes = self.bytes;
        let choices = Choices {
            bps: &RUNGS,
            in_use: self.in_use,
            is_settled: self.in_use == self.selected,
        };
        if self.bandwidth.sample(path, choices) {
            let limit = self.bandwidth.limit_bps().unwrap_or(u64::MAX);
            self.selected = choices.within(limit);
            self.selected_s = self.seconds();
        }
    }
}

#[test]
fn a_network_that_becomes_slow_and_fast_again_is_followed_by_one_change_each_way() {
    let mut worst = (0.0_f64, 0.0_f64);
    for (seed, queue_ms) in [(1, 200), (2, 150), (3, 300), (4, 500), (5, 2_000)] {
        for delay_ms in [5, 20, 80] {
            for slow_s in [12.0, 17.7, 25.3, 41.9] {
                let way = Way {
                    queue: Duration::from_millis(queue_ms),
                    delay: Duration::from_millis(delay_ms),
                    ..GOOD
                };
                let mut show = Show::new(way, seed);
                show.run_until(10.0 + slow_s / 10.0);
                assert_eq!(show.changes, []);
                let falls = show.seconds();
                show.network.way.rate_bps = 1_000_000;
                show.run_until(falls + slow_s);
                let returns = show.seconds();
                show.network.way.rate_bps = 4_000_000;
                show.run_until(returns + 40.0);
                let case = format!("queue {queue_ms} ms, delay {delay_ms} ms, {slow_s} s");
                let [(down, low), (up, best)] = show.changes[..] else {
                    panic!(
                        "{case}: falls {falls}, returns {returns}: {:?}",
                        show.changes
                    );
                };
                assert_eq!((low, best), (0, 2), "{case}");
                assert!(down - falls <= 4.0, "{case}: {} s", down - falls);
                assert!(
                    up > returns && up - returns <= 20.0,
                    "{case}: {} s",
                    up - returns
                );
                worst = (worst.0.max(down - falls), worst.1.max(up - returns));
            }
        }
    }
    println!("down within {:.1} s, up within {:.1} s", worst.0, worst.1);
}

#[test]
fn a_client_that_reports_once_a_second_is_followed_too() {
    for (seed, queue_ms) in [(1, 200), (3, 300), (4, 500)] {
        for slow_s in [12.0, 17.7, 25.3] {
            let way = Way {
                queue: Duration::from_millis(queue_ms),
                ..GOOD
            };
            let mut show = Show::new(way, seed);
            [show.reports, show.samples] = RECEIVER_REPORTS;
            show.run_until(10.0 + slow_s / 10.0);
            assert_eq!(show.changes, []);
            let falls = show.seconds();
            show.network.way.rate_bps = 1_000_000;
            show.run_until(falls + slow_s);
            let returns = show.seconds();
            show.network.way.rate_bps = 4_000_000;
            show.run_until(returns + 40.0);
            let case = format!("queue {queue_ms} ms, {slow_s} s: {:?}", show.changes);
            let [(down, 0), (up, 2)] = show.changes[..] else {
                panic!("falls {falls}, returns {returns}, {case}");
            };
            assert!(down - falls <= 6.0, "{case}: {} s", down - falls);
            assert!(
                up > returns && up - returns <= 25.0,
                "{case}: {} s",
                up - returns
            );
        }
    }
}

#[test]
fn loss_as_radio_has_it_changes_nothing() {
    for (seed, loss_permille, burst, delay_ms) in [
        (1, 50, 1, 40),
        (2, 50, 3, 40),
        (3, 50, 5, 40),
        (4, 80, 2, 20),
        (5, 20, 8, 100),
    ] {
        let way = Way {
            loss_permille,
            burst,
            delay: Duration::from_millis(delay_ms),
            rate_bps: 8_000_000,
            ..GOOD
        };
        let mut show = Show::new(way, seed);
        show.run_until(300.0);
        assert_eq!(show.changes, [], "{way:?}");
    }
}

#[test]
fn a_network_that_is_slow_for_good_is_tried_and_not_changed() {
    for (rate_bps, choice) in [(2_100_000, 1), (1_000_000, 0), (600_000, 0)] {
        let mut show = Show::new(GOOD, 7);
        show.run_until(5.0);
        show.network.way.rate_bps = rate_bps;
        show.run_until(200.0);
        let choices: Vec<usize> = show.changes.iter().map(|(_, choice)| *choice).collect();
        assert_eq!(choices, [choice], "{rate_bps}: {:?}", show.changes);
        let late = show
            .packets
            .iter()
            .filter(|it| it.sent > show.start + LASTS);
        let (lost, all) = late.fold((0, 0), |(lost, all), packet| {
            (lost + usize::from(packet.arrives.is_none()), all + 1)
        });
        if rate_bps >= 1_000_000 {
            assert!(
                lost * 50 < all,
                "{rate_bps}: {lost} of {all} lost by trials"
            );
        }
    }
}

#[test]
fn a_network_that_changes_all_the_time_does_not_change_the_video_all_the_time() {
    let mut show = Show::new(GOOD, 9);
    for turn in 0..30 {
        show.network.way.rate_bps = if turn % 2 == 0 { 4_000_000 } else { 1_000_000 };
        show.run_until(f64::from(turn + 1) * 12.0);
    }
    let changes = show.changes.len();
    assert!((2..=30).contains(&changes), "{:?}", show.changes);
}

#[test]
fn who_is_sent_the_best_video_is_sent_no_padding() {
    let mut show = Show::new(GOOD, 3);
    while show.seconds() < 60.0 {
        show.frame();
        assert_eq!(show.bandwidth.trial_bps(show.now), None);
    }
}
