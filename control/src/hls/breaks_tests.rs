//! All playlists of a broadcast have the same discontinuities, whichever of them is cut off, begins late or goes on
//! elsewhere, and their segments begin at different times.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use bytes::Bytes;
use shardcast_link::{
    BroadcastId,
    fragment::{FragmentHead, RungName},
};

use super::{
    Hls, Media, Stream,
    playlist::{Wish, media_playlist},
    playlist_tests::head,
    store::Asked,
};

const RUNGS: [RungName; 2] = [
    RungName {
        height: 180,
        kbps: 500,
    },
    RungName {
        height: 360,
        kbps: 800,
    },
];
const ALL: [Option<RungName>; 3] = [None, Some(RUNGS[0]), Some(RUNGS[1])];

/// A broadcast with two rungs, into which segments are put.
struct Broadcast {
    hls: Hls,
    stream: Arc<Stream>,
    now: Instant,
    /// Of the shard, for each playlist.
    numbers: [u64; 3],
}

impl Broadcast {
    fn new() -> Self {
        let (hls, now) = (Hls::default(), Instant::now());
        let id = BroadcastId::new("app", "one").unwrap();
        let Asked::New(stream) = hls.ask(now, &id, 15) else {
            panic!("it is new");
        };
        hls.ask_ladder(now, &stream, &RUNGS);
        Self {
            hls,
            stream,
            now,
            numbers: [100, 700, 700],
        }
    }

    /// A whole segment of one part.
    fn segment(&mut self, playlist: usize, at_ms: u64, is_break: bool) {
        let mut head = FragmentHead {
            rung: ALL[playlist],
            ..head(self.numbers[playlist], 0, true)
        };
        self.numbers[playlist] += 1;
        if let Some(begins) = &mut head.begins {
            (begins.at_unix_ms, begins.discontinuity) = (1_795_976_430_000 + at_ms, is_break);
        }
        let body = Bytes::from_static(b"initmedia");
        self.hls.take(self.now, &head, body);
    }

    /// Does not reach control.
    fn lose(&mut self, playlist: usize) {
        self.numbers[playlist] += 1;
    }

    fn read<T>(&self, playlist: usize, read: impl FnOnce(&Media) -> T) -> T {
        self.stream.track(ALL[playlist]).unwrap().read(read)
    }

    /// The discontinuity number of each listed segment, as a player counts it in the text.
    fn numbers_in_text(&self, playlist: usize) -> Vec<(String, u64)> {
        let text = self.read(playlist, |media| {
            media_playlist("one", media, Wish::default())
        });
        let (mut number, mut found) = (0, Vec::new());
        for line in text.lines() {
            if let Some(first) = line.strip_prefix("#EXT-X-DISCONTINUITY-SEQUENCE:") {
                number = first.parse().unwrap();
            } else if line == "#EXT-X-DISCONTINUITY" {
                number += 1;
            } else if !line.starts_with('#') {
                found.push((line.to_owned(), number));
            }
        }
        found
    }

    fn last_number(&self, playlist: usize) -> u64 {
        self.numbers_in_text(playlist).last().unwrap().1
    }
}

#[test]
fn another_size_of_the_publishers_video_is_a_discontinuity_of_each_rung_at_its_next_segment() {
    let mut show = Broadcast::new();
    for n in 0..60 {
        // The publisher's keyframes are 0.7 s behind those of rungs.
        show.segment(0, n * 2_000 + 700, n == 20);
        show.segment(1, n * 2_000, false);
        show.segment(2, n * 2_000, false);
        let [source, small, large] = [0, 1, 2].map(|playlist| show.last_number(playlist));
        assert_eq!(source, u64::from(n >= 20), "{n}");
        assert_eq!((small, large), (u64::from(n >= 21), u64::from(n >= 21)));
        // The number stays when the discontinuity has left the playlist.
        for playlist in 0..3 {
            let listed = show.numbers_in_text(playlist);
            let rises = listed.windows(2).filter(|two| two[1].1 != two[0].1).count();
            assert!(rises <= 1 && listed.len() <= 15);
        }
    }
    // A rung that begins behind it has its number from the beginning.
    let mut late = Broadcast::new();
    (0..5).for_each(|n| late.segment(0, n * 2_000, n == 2 || n == 3));
    late.segment(1, 8_000, false);
    assert_eq!(late.last_number(1), 2);
}

#[test]
fn one_cause_that_all_playlists_see_is_one_discontinuity_whichever_comes_first() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
        let mut show = Broadcast::new();
        for n in 0..10 {
            for playlist in order {
                let at_ms = n * 2_000 + playlist as u64 * 300;
                show.segment(playlist, at_ms, n == 5);
            }
        }
        for playlist in 0..3 {
            assert_eq!(show.last_number(playlist), 1, "{order:?} {playlist}");
        }
    }
}

#[test]
fn playlists_agree_whatever_is_lost_or_cut_off_and_whenever() {
    for seed in 1..300_u64 {
        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut dice = |sides: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % sides
        };
        let mut show = Broadcast::new();
        // What a player has read once does not change.
        let mut known: [BTreeMap<String, u64>; 3] = Default::default();
        for n in 0..80 {
            let is_quiet = n >= 70;
            for (playlist, known) in known.iter_mut().enumerate() {
                let at_ms = n * 2_000 + if playlist == 0 { 700 } else { 0 };
                match dice(12) {
                    0 if !is_quiet => show.lose(playlist),
                    1 if !is_quiet => show.segment(playlist, at_ms, true),
                    _ => show.segment(playlist, at_ms, false),
                }
                for (name, number) in show.numbers_in_text(playlist) {
                    let before = *known.entry(name).or_insert(number);
                    assert_eq!(before, number, "seed {seed}");
                }
            }
        }
        let [source, small, large] = [0, 1, 2].map(|playlist| show.last_number(playlist));
        assert!(
            source > 0 && source == small && small == large,
            "seed {seed}"
        );
    }
}
