//! The completion channel from codec workers to the executor of their shard.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::AcqRel},
    mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
};

use shardcast_core::io::{VideoResult, VideoTranscoderId};

use crate::{
    limits::{CODEC_RESULTS_INLINE_MAX, CODEC_RESULTS_WAITING_MAX},
    os::signals::Bell,
};

/// The end of the codec workers. The standard library's bounded channel is one array of slots
/// that both sides claim by compare-and-swap; a lock is taken only to wake a side that sleeps, and
/// the executor never sleeps on it: it is woken by the bell, which io_uring reads.
///
/// It is not free of waiting. Who comes to a slot that the other side has claimed and not yet filled
/// spins until it is. When the kernel takes a codec worker off its core between these few
/// instructions, the executor of the same core spins until its own turn is over and the thread has
/// one: behind it by nice values that is some slices of the scheduler, under `SCHED_IDLE` it can be hundreds of
/// milliseconds. It is rare, since a slot is claimed some hundred times a second and for nanoseconds,
/// and nothing is lost by it but time.
#[derive(Clone, Debug)]
pub(super) struct CompletionSender {
    results: SyncSender<(VideoTranscoderId, VideoResult)>,
    rung: Rung,
    bell: Bell,
    /// Something was pushed since the last ring.
    fresh: bool,
    /// The executor itself does the work, and takes nothing meanwhile.
    inline: bool,
    hung_up: bool,
}

/// The end that the executor has.
#[derive(Debug)]
pub(super) struct CompletionReceiver {
    results: Receiver<(VideoTranscoderId, VideoResult)>,
    rung: Rung,
}

/// The bell has been rung, and the executor has not been woken since.
#[derive(Clone, Debug, Default)]
pub(super) struct Rung(Arc<AtomicBool>);

impl Rung {
    /// The executor has been woken, and is about to take results. Whatever is pushed from now on
    /// rings again.
    pub(super) fn clear(&self) {
        self.0.swap(false, AcqRel);
    }

    /// Whether the bell is to be rung.
    fn set(&self) -> bool {
        !self.0.swap(true, AcqRel)
    }
}

/// `inline` has room for all that the executor gives itself to do in one round, since it takes none of
/// it meanwhile.
pub(super) fn completion_channel(
    bell: Bell,
    inline: bool,
) -> (CompletionSender, CompletionReceiver) {
    let places = if inline {
        CODEC_RESULTS_INLINE_MAX
    } else {
        CODEC_RESULTS_WAITING_MAX
    };
    let (sender, receiver) = sync_channel(places);
    let rung = Rung::default();
    let completion_channel = CompletionSender {
        results: sender,
        rung: rung.clone(),
        bell,
        fresh: false,
        inline,
        hung_up: false,
    };
    let results = CompletionReceiver {
        results: receiver,
        rung,
    };
    (completion_channel, results)
}

impl CompletionSender {
    /// Says something; [`Self::ring`] makes the executor look. Waits while the queue is full, which
    /// is as long as the executor does not run: then pictures get late, and late ones are left out.
    /// Where the executor itself does the work, that wait would never end, and the result is lost.
    pub(super) fn push(&mut self, transcoder: VideoTranscoderId, result: VideoResult) {
        self.fresh = true;
        match self.results.try_send((transcoder, result)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) if self.inline => {
                tracing::error!(
                    transcoder = %transcoder,
                    "a result of a codec is lost: too many at once"
                );
            }
            Err(TrySendError::Full(result)) => {
                self.ring();
                self.fresh = true;
                self.hung_up |= self.results.send(result).is_err();
            }
            Err(TrySendError::Disconnected(_)) => self.hung_up = true,
        }
    }

    /// Wakes the executor for what was pushed; one system call however much it is.
    pub(super) fn ring(&mut self) {
        if std::mem::take(&mut self.fresh) && self.rung.set() {
            self.bell.ring();
        }
    }

    /// The shard has ended.
    pub(super) fn has_hung_up(&self) -> bool {
        self.hung_up
    }
}

impl CompletionReceiver {
    pub(super) fn rung(&self) -> Rung {
        self.rung.clone()
    }

    pub(super) fn take(&self) -> Option<(VideoTranscoderId, VideoResult)> {
        self.results.try_recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use std::{os::fd::AsFd, thread, time::Duration};

    use super::*;
    use crate::os::signals::wait;

    fn has_rung(bell: &Bell) -> bool {
        wait(bell.as_fd(), bell.as_fd(), Some(Duration::ZERO))
            .unwrap()
            .0
    }

    #[test]
    fn many_results_ring_once_until_the_executor_has_looked() {
        let bell = Bell::new().unwrap();
        let (mut out, results) = completion_channel(bell.clone(), false);
        out.ring();
        assert!(!has_rung(&bell), "for nothing");
        out.push(VideoTranscoderId::numbered(1), VideoResult::KeyframeWanted);
        out.ring();
        assert!(has_rung(&bell));
        bell.clear();
        out.push(VideoTranscoderId::numbered(2), VideoResult::KeyframeWanted);
        out.ring();
        assert!(!has_rung(&bell), "the executor has yet to look");
        results.rung().clear();
        let transcoders: Vec<_> = std::iter::from_fn(|| results.take())
            .map(|(transcoder, _)| transcoder)
            .collect();
        assert_eq!(
            transcoders,
            [
                VideoTranscoderId::numbered(1),
                VideoTranscoderId::numbered(2)
            ]
        );
        out.push(VideoTranscoderId::numbered(3), VideoResult::KeyframeWanted);
        out.ring();
        assert!(has_rung(&bell));
    }

    #[test]
    fn an_executor_that_works_itself_never_waits_for_itself() {
        let (mut out, results) = completion_channel(Bell::new().unwrap(), true);
        for _ in 0..CODEC_RESULTS_INLINE_MAX + 10 {
            out.push(VideoTranscoderId::numbered(1), VideoResult::KeyframeWanted);
        }
        let taken = std::iter::from_fn(|| results.take()).count();
        assert_eq!(taken, CODEC_RESULTS_INLINE_MAX);
        assert!(!out.has_hung_up());
    }

    #[test]
    fn a_full_queue_wakes_the_executor_and_waits_and_ends_with_the_shard() {
        let bell = Bell::new().unwrap();
        let (mut out, results) = completion_channel(bell.clone(), false);
        let work = thread::spawn(move || {
            let transcoder = VideoTranscoderId::numbered(1);
            while !out.has_hung_up() {
                out.push(transcoder, VideoResult::KeyframeWanted);
            }
        });
        bell.clear();
        for _ in 0..2 * CODEC_RESULTS_WAITING_MAX {
            while results.take().is_none() {
                thread::yield_now();
            }
        }
        drop(results);
        work.join().unwrap();
    }
}
