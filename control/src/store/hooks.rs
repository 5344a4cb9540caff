//! Calls of webhooks that are owed, in the order in which they came about.
//!
//! They are rows of the store like the others: what made a call necessary and the call itself are
//! written in one commit, so neither a kill nor a restart loses one or makes it twice.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use shardcast_link::BroadcastId;

use crate::limits;

/// One call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct HookRecord {
    /// Place in the queue, over all streams; given by [`HookQueue::push`].
    pub(crate) sequence: u64,
    /// The same with every attempt, so that a receiver knows a repetition.
    pub(crate) delivery: String,
    pub(crate) broadcast: BroadcastId,
    pub(crate) action: Action,
    /// May hold a secret of the receiver, so it is never logged whole.
    pub(crate) url: String,
    /// The body, under the names of Ant Media Server.
    pub(crate) fields: Map<String, Value>,
}

/// What has happened, as Ant Media Server names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Action {
    EndpointFailed,
    LiveStreamEnded,
    LiveStreamStarted,
    LiveStreamStatus,
    PlayStarted,
    PlayStopped,
    PublishTimeoutError,
    VodReady,
}

impl Action {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::EndpointFailed => "endpointFailed",
            Self::LiveStreamEnded => "liveStreamEnded",
            Self::LiveStreamStarted => "liveStreamStarted",
            Self::LiveStreamStatus => "liveStreamStatus",
            Self::PlayStarted => "playStarted",
            Self::PlayStopped => "playStopped",
            Self::PublishTimeoutError => "publishTimeoutError",
            Self::VodReady => "vodReady",
        }
    }

    /// Whether it goes first when there are too many: the next status says the same anew, and
    /// any client that reaches the signalling port can cause time-outs, and can watch.
    pub(crate) fn is_expendable(self) -> bool {
        matches!(
            self,
            Self::LiveStreamStatus
                | Self::PlayStarted
                | Self::PlayStopped
                | Self::PublishTimeoutError
        )
    }
}

/// All of them; of one stream at most [`limits::HOOKS_PER_STREAM_MAX`], and at most
/// [`limits::HOOKS_MAX`] together.
#[derive(Debug, Default)]
pub(crate) struct HookQueue {
    waiting: BTreeMap<u64, Arc<HookRecord>>,
    of_stream: HashMap<BroadcastId, BTreeSet<u64>>,
    expendable: BTreeSet<u64>,
    next: u64,
}

/// What became of [`HookQueue::push`].
#[derive(Debug, PartialEq)]
pub(super) struct Pushed {
    /// Places whose calls came or went.
    pub(super) changed: Vec<u64>,
    /// The call that is dropped: an older one, or the new one.
    pub(super) dropped: Option<Arc<HookRecord>>,
}

enum Room {
    Free,
    /// When this one goes.
    Instead(u64),
    Full,
}

impl HookQueue {
    pub(super) fn new(rows: Vec<HookRecord>) -> Self {
        let mut queue = Self::default();
        for row in rows {
            queue.insert(row);
        }
        queue
    }

    /// Appends `hook`, if there is room or something may go for it.
    pub(super) fn push(&mut self, mut hook: HookRecord) -> Pushed {
        let replaced = self.stale_status(&hook);
        if let Some(sequence) = replaced {
            self.remove(sequence);
        }
        let dropped = match self.room(&hook) {
            Room::Free => None,
            Room::Instead(sequence) => self.remove(sequence),
            Room::Full => {
                return Pushed {
                    changed: replaced.into_iter().collect(),
                    dropped: Some(Arc::new(hook)),
                };
            }
        };
        hook.sequence = self.next;
        let changed = [
            Some(hook.sequence),
            replaced,
            dropped.as_ref().map(|dropped| dropped.sequence),
        ];
        self.insert(hook);
        Pushed {
            changed: changed.into_iter().flatten().collect(),
            dropped,
        }
    }

    /// The status that `hook` makes worthless: one that waits behind others. The first of a stream
    /// is being delivered; were it replaced, its pauses would begin anew with each status and a
    /// receiver that is away would be called at the pace of the statuses.
    fn stale_status(&self, hook: &HookRecord) -> Option<u64> {
        if hook.action != Action::LiveStreamStatus {
            return None;
        }
        let waiting = self.of_stream.get(&hook.broadcast)?.iter().skip(1);
        let is_status = |sequence: &u64| {
            let waiting = self.waiting.get(sequence);
            waiting.is_some_and(|waiting| waiting.action == Action::LiveStreamStatus)
        };
        waiting.copied().find(is_status)
    }

    fn insert(&mut self, hook: HookRecord) {
        let sequence = hook.sequence;
        self.next = self.next.max(sequence + 1);
        if hook.action.is_expendable() {
            self.expendable.insert(sequence);
        }
        self.of_stream
            .entry(hook.broadcast.clone())
            .or_default()
            .insert(sequence);
        self.waiting.insert(sequence, Arc::new(hook));
    }

    /// Whether `hook` can wait, and what goes for it: what is expendable first, be it `hook`
    /// itself, then the oldest.
    fn room(&self, hook: &HookRecord) -> Room {
        let of_stream = self.of_stream.get(&hook.broadcast);
        let (expendable, oldest) =
            if let Some(stream) = of_stream.filter(|s| s.len() >= limits::HOOKS_PER_STREAM_MAX) {
                let expendable = stream.iter().find(|n| self.expendable.contains(n));
                (expendable, stream.first())
            } else if self.waiting.len() >= limits::HOOKS_MAX {
                (self.expendable.first(), self.waiting.keys().next())
            } else {
                return Room::Free;
            };
        match expendable.or(oldest.filter(|_| !hook.action.is_expendable())) {
            Some(sequence) => Room::Instead(*sequence),
            None => Room::Full,
        }
    }

    pub(super) fn remove(&mut self, sequence: u64) -> Option<Arc<HookRecord>> {
        let hook = self.waiting.remove(&sequence)?;
        self.expendable.remove(&sequence);
        if let Some(stream) = self.of_stream.get_mut(&hook.broadcast) {
            stream.remove(&sequence);
            if stream.is_empty() {
                self.of_stream.remove(&hook.broadcast);
            }
        }
        Some(hook)
    }

    pub(super) fn get(&self, sequence: u64) -> Option<&Arc<HookRecord>> {
        self.waiting.get(&sequence)
    }

    /// The oldest of `id`.
    pub(super) fn first(&self, id: &BroadcastId) -> Option<&Arc<HookRecord>> {
        self.waiting.get(self.of_stream.get(id)?.first()?)
    }

    /// The streams that have some, in no order.
    pub(super) fn streams(&self) -> impl Iterator<Item = &BroadcastId> {
        self.of_stream.keys()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(stream: &str, action: Action) -> HookRecord {
        HookRecord {
            sequence: 0,
            delivery: String::new(),
            broadcast: BroadcastId::new("app", stream).unwrap(),
            action,
            url: "http://h/".into(),
            fields: Map::new(),
        }
    }

    #[test]
    fn a_full_stream_loses_its_oldest_status_first_and_then_its_oldest() {
        let mut queue = HookQueue::default();
        queue.push(hook("one", Action::LiveStreamStarted));
        queue.push(hook("one", Action::LiveStreamStatus));
        for _ in 2..limits::HOOKS_PER_STREAM_MAX {
            let pushed = queue.push(hook("one", Action::EndpointFailed));
            assert_eq!(pushed.dropped, None);
        }
        for lost in [Action::LiveStreamStatus, Action::LiveStreamStarted] {
            let pushed = queue.push(hook("one", Action::EndpointFailed));
            assert_eq!(pushed.dropped.unwrap().action, lost);
        }
        assert_eq!(queue.len(), limits::HOOKS_PER_STREAM_MAX);
        // Another stream is not touched by it.
        let pushed = queue.push(hook("two", Action::LiveStreamEnded));
        assert_eq!(pushed.dropped, None);
    }

    #[test]
    fn all_together_are_bounded_and_time_outs_of_strangers_go_before_what_counts() {
        let mut queue = HookQueue::default();
        queue.push(hook("first", Action::LiveStreamStarted));
        for n in 1..limits::HOOKS_MAX {
            queue.push(hook(&format!("s{n}"), Action::PublishTimeoutError));
        }
        let pushed = queue.push(hook("last", Action::LiveStreamStarted));
        assert_eq!(pushed.dropped.unwrap().broadcast.stream(), "s1");
        assert_eq!(queue.len(), limits::HOOKS_MAX);
        assert!(
            queue
                .first(&BroadcastId::new("app", "first").unwrap())
                .is_some()
        );
    }

    #[test]
    fn a_stream_is_forgotten_with_its_last_call() {
        let mut queue = HookQueue::default();
        let pushed = queue.push(hook("one", Action::LiveStreamStarted));
        assert!(queue.remove(pushed.changed[0]).is_some());
        assert_eq!((queue.streams().count(), queue.len()), (0, 0));
    }

    #[test]
    fn a_status_or_time_out_never_takes_the_place_of_what_counts() {
        let mut queue = HookQueue::default();
        for _ in 0..limits::HOOKS_PER_STREAM_MAX {
            queue.push(hook("one", Action::EndpointFailed));
        }
        for action in [Action::LiveStreamStatus, Action::PublishTimeoutError] {
            let pushed = queue.push(hook("one", action));
            assert_eq!(pushed.dropped.unwrap().action, action);
            assert!(pushed.changed.is_empty());
        }
        assert_eq!(queue.len(), limits::HOOKS_PER_STREAM_MAX);
    }

    #[test]
    fn of_the_statuses_that_wait_only_the_newest_is_kept_and_the_one_under_way() {
        let mut queue = HookQueue::default();
        let under_way = queue.push(hook("one", Action::LiveStreamStatus)).changed[0];
        queue.push(hook("one", Action::LiveStreamStatus));
        queue.push(hook("one", Action::EndpointFailed));
        let newest = queue.push(hook("one", Action::LiveStreamStatus));
        assert_eq!((newest.changed.len(), newest.dropped), (2, None));
        assert_eq!(queue.len(), 3);
        assert!(queue.get(under_way).is_some());
        assert!(queue.get(newest.changed[0]).is_some());
    }
}
