//! The broadcasts that are packaged, and what is kept of each.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use shardcast_link::{
    BroadcastId,
    fragment::{FragmentHead, RungName},
};

use super::{
    breaks::Breaks,
    media::Media,
    sessions::{Seen, Sessions, Watcher},
    track::Track,
};
use crate::limits;

/// All broadcasts that are packaged, or shall be.
#[derive(Debug, Default)]
pub(crate) struct Hls {
    streams: Mutex<HashMap<BroadcastId, Arc<Stream>>>,
    /// Of all of them.
    bytes: AtomicUsize,
}

/// One broadcast.
#[derive(Debug)]
pub(crate) struct Stream {
    list_size: usize,
    /// The publisher's video, or what stands in its place.
    source: Arc<Track>,
    state: Mutex<State>,
}

/// The lock of a stream is taken before those of its tracks.
#[derive(Debug)]
struct State {
    /// Those of the ladder, while they are asked for.
    rungs: BTreeMap<RungName, Arc<Track>>,
    /// Of all playlists.
    breaks: Breaks,
    sessions: Sessions,
    asked: Instant,
    /// When somebody has asked for the ladder, or a file of it.
    ladder_asked: Option<Instant>,
    /// When the shard has handed something over.
    fed: Instant,
}

/// What all of it comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Total {
    pub(crate) broadcasts: u64,
    pub(crate) watchers: u64,
    pub(crate) bytes: u64,
}

/// Somebody has asked for a broadcast.
#[derive(Debug)]
pub(crate) enum Asked {
    /// It is packaged, or will be.
    Known(Arc<Stream>),
    /// Nobody has asked before: the shard has to be told.
    New(Arc<Stream>),
    /// There is no memory for another.
    Full,
}

impl Hls {
    /// Whether `id` is to be packaged.
    pub(crate) fn is_asked(&self, id: &BroadcastId) -> bool {
        self.lock().contains_key(id)
    }

    /// Whether the ladder of `id` is to be packaged too.
    pub(crate) fn is_ladder_asked(&self, id: &BroadcastId) -> bool {
        let stream = self.get(id);
        stream.is_some_and(|stream| stream.lock().ladder_asked.is_some())
    }

    /// What is kept of `id`, if somebody has asked for it.
    pub(crate) fn get(&self, id: &BroadcastId) -> Option<Arc<Stream>> {
        self.lock().get(id).cloned()
    }

    /// Somebody asks for `id`; its playlist has `list_size` segments.
    pub(crate) fn ask(&self, now: Instant, id: &BroadcastId, list_size: usize) -> Asked {
        let mut streams = self.lock();
        if let Some(stream) = streams.get(id) {
            stream.lock().asked = now;
            return Asked::Known(Arc::clone(stream));
        }
        if self.bytes.load(Ordering::Relaxed) >= limits::HLS_BYTES_MAX
            || streams.len() >= limits::BROADCASTS_MAX
        {
            return Asked::Full;
        }
        let stream = Arc::new(Stream::new(now, list_size));
        streams.insert(id.clone(), Arc::clone(&stream));
        Asked::New(stream)
    }

    /// Somebody asks for the ladder of `stream`, which has these rungs; whether the shard has to be told.
    pub(crate) fn ask_ladder(&self, now: Instant, stream: &Stream, rungs: &[RungName]) -> bool {
        let mut state = stream.lock();
        let is_new = state.ladder_asked.replace(now).is_none();
        state.retain_rungs(&self.bytes, |rung| rungs.contains(rung));
        for rung in rungs {
            let new = || Arc::new(Track::new(stream.list_size));
            state.rungs.entry(*rung).or_insert_with(new);
        }
        is_new
    }

    /// Takes what a shard has handed over. What nobody has asked for is dropped.
    pub(crate) fn take(&self, now: Instant, head: &FragmentHead, body: Bytes) {
        let Some(stream) = self.get(&head.broadcast) else {
            return;
        };
        let is_squeezed = self.bytes.load(Ordering::Relaxed) > limits::HLS_BYTES_MAX;
        let mut state = stream.lock();
        let state = &mut *state;
        state.fed = now;
        let breaks = &mut state.breaks;
        let tracks = || std::iter::once(&stream.source).chain(state.rungs.values());
        let bytes = || -> usize { tracks().map(|track| track.read(Media::bytes)).sum() };
        let before = bytes();
        if head.ends {
            tracks().for_each(|track| track.take(head, Bytes::new(), breaks, false));
        } else {
            let track = match &head.rung {
                None => Some(&stream.source),
                Some(rung) => state.rungs.get(rung),
            };
            if let Some(track) = track {
                track.take(head, body, breaks, is_squeezed);
            }
        }
        if let Some(made) = head.begins.as_ref().and_then(|it| it.rungs.as_ref()) {
            let left_out = state.rungs.iter().filter(|(rung, _)| !made.contains(rung));
            left_out.for_each(|(_, track)| track.leave_out());
        }
        let after = bytes();
        self.bytes.fetch_add(after, Ordering::Relaxed);
        self.bytes.fetch_sub(before, Ordering::Relaxed);
    }

    /// Forgets those that nobody has asked for, unless `is_kept`, those that are over, and ladders that nobody has
    /// asked for; gives back the ids of which less is to be packaged from now on.
    pub(crate) fn sweep(
        &self,
        now: Instant,
        is_kept: impl Fn(&BroadcastId) -> bool,
    ) -> Vec<BroadcastId> {
        let mut changed = Vec::new();
        let is_idle = |since: Instant| now.saturating_duration_since(since) >= limits::HLS_IDLE;
        self.lock().retain(|id, stream| {
            let mut state = stream.lock();
            let ended = stream.source.read(Media::is_ended);
            let is_over = ended && is_idle(state.fed);
            let keep = !is_over && (!is_idle(state.asked) || is_kept(id));
            let ladder_ends = state
                .ladder_asked
                .take_if(|asked| is_idle(*asked))
                .is_some();
            if !keep || ladder_ends {
                state.retain_rungs(&self.bytes, |_| false);
                changed.push(id.clone());
            }
            if !keep {
                let bytes = stream.source.read(Media::bytes);
                self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            }
            keep
        });
        changed
    }

    /// How many have gone of those who watched each, since this was asked last.
    pub(crate) fn take_gone(&self, now: Instant) -> Vec<(BroadcastId, usize)> {
        let streams = self.lock();
        let gone = streams.iter().map(|(id, stream)| {
            let gone = stream.lock().sessions.take_gone(now);
            (id, gone)
        });
        let gone = gone.filter(|(_, gone)| *gone > 0);
        gone.map(|(id, gone)| (id.clone(), gone)).collect()
    }

    pub(crate) fn total(&self, now: Instant) -> Total {
        let streams = self.lock();
        let watchers = streams.values().map(|stream| stream.watchers(now) as u64);
        Total {
            broadcasts: streams.len() as u64,
            watchers: watchers.sum(),
            bytes: self.bytes.load(Ordering::Relaxed) as u64,
        }
    }

    /// How many watch `id` by HLS.
    pub(crate) fn watchers(&self, now: Instant, id: &BroadcastId) -> u32 {
        let stream = self.get(id);
        let count = stream.map_or(0, |stream| stream.lock().sessions.count(now));
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<BroadcastId, Arc<Stream>>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Forgets rungs, with the bytes that are counted.
    fn retain_rungs(&mut self, bytes: &AtomicUsize, is_kept: impl Fn(&RungName) -> bool) {
        self.rungs.retain(|rung, track| {
            let is_kept = is_kept(rung);
            if !is_kept {
                bytes.fetch_sub(track.read(Media::bytes), Ordering::Relaxed);
                // Who waits for it is answered.
                track.leave_out();
            }
            is_kept
        });
    }
}

impl Stream {
    fn new(now: Instant, list_size: usize) -> Self {
        let state = State {
            rungs: BTreeMap::new(),
            breaks: Breaks::default(),
            sessions: Sessions::default(),
            asked: now,
            ladder_asked: None,
            fed: now,
        };
        Self {
            list_size,
            source: Arc::new(Track::new(list_size)),
            state: Mutex::new(state),
        }
    }

    /// The publisher's video, or what stands in its place.
    pub(crate) fn source(&self) -> &Arc<Track> {
        &self.source
    }

    /// A rung, if it is asked for; without one the publisher's video.
    pub(crate) fn track(&self, rung: Option<RungName>) -> Option<Arc<Track>> {
        match rung {
            None => Some(Arc::clone(&self.source)),
            Some(rung) => self.lock().rungs.get(&rung).cloned(),
        }
    }

    /// The rungs that are asked for, the largest first.
    pub(crate) fn rungs(&self) -> Vec<(RungName, Arc<Track>)> {
        let state = self.lock();
        let rungs = state.rungs.iter().rev();
        rungs
            .map(|(rung, track)| (*rung, Arc::clone(track)))
            .collect()
    }

    /// Somebody has been sent a playlist; `of_ladder`: one that the ladder is played by.
    pub(crate) fn seen(
        &self,
        now: Instant,
        watcher: Watcher,
        token: &str,
        of_ladder: bool,
    ) -> Seen {
        self.lock().sessions.seen(now, watcher, token, of_ladder)
    }

    /// Whether this one watches, and was let in with this token.
    pub(crate) fn knows(&self, now: Instant, watcher: Watcher, token: &str) -> bool {
        self.lock().sessions.knows(now, watcher, token)
    }

    /// How many watch.
    pub(crate) fn watchers(&self, now: Instant) -> usize {
        self.lock().sessions.count(now)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use shardcast_link::fragment::SegmentHead;

    use super::*;
    use crate::hls::playlist_tests::head;

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

    fn id(stream: &str) -> BroadcastId {
        BroadcastId::new("app", stream).unwrap()
    }

    fn ask(hls: &Hls, now: Instant, stream: &str) -> Arc<Stream> {
        match hls.ask(now, &id(stream), 5) {
            Asked::Known(stream) | Asked::New(stream) => stream,
            Asked::Full => panic!("there is memory"),
        }
    }

    /// A whole segment of one part.
    fn segment(stream: &str, rung: Option<RungName>, made: Option<&[RungName]>) -> FragmentHead {
        let head = head(1, 0, true);
        let begins = head.begins.clone().map(|begins| SegmentHead {
            rungs: made.map(<[_]>::to_vec),
            ..begins
        });
        FragmentHead {
            broadcast: id(stream),
            rung,
            begins,
            ..head
        }
    }

    #[test]
    fn what_nobody_asks_for_any_more_is_forgotten_with_its_bytes() {
        let (hls, now) = (Hls::default(), Instant::now());
        let of = |stream| segment(stream, None, None);
        hls.take(now, &of("unasked"), Bytes::from_static(b"init and media"));
        assert_eq!(hls.bytes.load(Ordering::Relaxed), 0);
        for stream in ["one", "kept", "watched"] {
            assert!(matches!(hls.ask(now, &id(stream), 5), Asked::New(_)));
            hls.take(now, &of(stream), Bytes::from_static(b"init and media"));
        }
        let later = now + limits::HLS_IDLE;
        assert!(matches!(hls.ask(later, &id("watched"), 5), Asked::Known(_)));
        let forgotten = hls.sweep(later, |it| it.stream() == "kept");
        assert_eq!(forgotten, [id("one")]);
        assert_eq!(hls.bytes.load(Ordering::Relaxed), 2 * b" and media".len());
    }

    #[test]
    fn a_ladder_ends_by_itself_and_the_publishers_video_goes_on() {
        let (hls, now) = (Hls::default(), Instant::now());
        let stream = ask(&hls, now, "one");
        let rung = |rung| segment("one", Some(rung), None);
        hls.take(now, &rung(RUNGS[0]), Bytes::from_static(b"init and media"));
        assert_eq!(hls.bytes.load(Ordering::Relaxed), 0, "nobody has asked");
        assert!(hls.ask_ladder(now, &stream, &RUNGS) && !hls.ask_ladder(now, &stream, &RUNGS));
        assert!(hls.is_ladder_asked(&id("one")));
        let all = [None, Some(RUNGS[0]), Some(RUNGS[1])];
        for rung in all {
            let head = segment("one", rung, None);
            hls.take(now, &head, Bytes::from_static(b"init and media"));
            assert!(stream.track(rung).unwrap().read(Media::has_segment));
        }
        assert_eq!(hls.bytes.load(Ordering::Relaxed), 3 * b" and media".len());
        // One of them is not made any more.
        let head = segment("one", None, Some(&RUNGS[..1]));
        hls.take(now, &head, Bytes::from_static(b"init and media"));
        assert!(stream.track(all[1]).unwrap().read(Media::has_segment));
        assert!(stream.track(all[2]).unwrap().read(Media::is_left_out));
        // And is again.
        hls.take(now, &rung(RUNGS[1]), Bytes::from_static(b"init and media"));
        assert!(!stream.track(all[2]).unwrap().read(Media::is_left_out));
        let later = now + limits::HLS_IDLE;
        ask(&hls, later, "one");
        assert_eq!(hls.sweep(later, |_| false), [id("one")]);
        assert!(!hls.is_ladder_asked(&id("one")) && stream.track(all[1]).is_none());
        assert_eq!(hls.bytes.load(Ordering::Relaxed), 2 * b" and media".len());
        assert!(hls.sweep(later, |_| false).is_empty());
    }

    #[test]
    fn the_end_of_a_broadcast_is_that_of_its_rungs() {
        let (hls, now) = (Hls::default(), Instant::now());
        let stream = ask(&hls, now, "one");
        hls.ask_ladder(now, &stream, &RUNGS);
        let all = [None, Some(RUNGS[0]), Some(RUNGS[1])];
        for rung in all {
            let head = segment("one", rung, None);
            hls.take(now, &head, Bytes::from_static(b"init and media"));
        }
        let ends = FragmentHead {
            ends: true,
            begins: None,
            ..segment("one", None, None)
        };
        hls.take(now, &ends, Bytes::new());
        for rung in all {
            assert!(stream.track(rung).unwrap().read(Media::is_ended));
        }
    }

    #[tokio::test]
    async fn who_waits_for_a_part_is_woken_by_it_and_not_for_ever() {
        let (hls, now) = (Arc::new(Hls::default()), Instant::now());
        let Asked::New(stream) = hls.ask(now, &id("one"), 5) else {
            panic!("it is new");
        };
        let long = Duration::from_secs(60);
        let waits = stream.source().wait(long, Media::has_segment);
        let comes = async {
            let head = segment("one", None, None);
            hls.take(now, &head, Bytes::from_static(b"init and media"));
        };
        let (came, ()) = tokio::join!(waits, comes);
        assert!(came);
        let short = Duration::from_millis(10);
        let source = stream.source();
        assert!(!source.wait(short, |media| media.has(9, None)).await);
    }
}
