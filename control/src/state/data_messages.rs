//! Messages of data channels that wait for their receiver, the application's `dataChannelWebHookURL`.
//!
//! They are in memory alone: a store that syncs for each would be as slow as its disk, and of a chat the newest
//! counts.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use shardcast_link::BroadcastId;
use tokio::sync::Notify;

use crate::{backend::ClientMessage, limits};

/// All that wait: of a stream at most [`limits::DATA_MESSAGES_PER_STREAM_MAX`] of
/// [`limits::DATA_BYTES_PER_STREAM_MAX`], and [`limits::DATA_BYTES_MAX`] in all.
#[derive(Debug, Default)]
pub(crate) struct DataMessages {
    waiting: Mutex<Waiting>,
    /// Notified when there is one more.
    pub(crate) arrived: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    streams: HashMap<BroadcastId, Stream>,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Stream {
    messages: VecDeque<ClientMessage>,
    bytes: usize,
}

impl DataMessages {
    /// Appends `message` of `id`; how many others, or itself, had to go for that.
    pub(crate) fn push(&self, id: BroadcastId, message: ClientMessage) -> u64 {
        let mut waiting = self.lock();
        let Waiting { streams, bytes } = &mut *waiting;
        let others = streams.get(&id).map_or(0, |it| it.messages.len());
        if others <= 1 && *bytes + message.payload.len() > limits::DATA_BYTES_MAX {
            return 1;
        }
        let stream = streams.entry(id).or_default();
        *bytes += message.payload.len();
        stream.bytes += message.payload.len();
        stream.messages.push_back(message);
        let mut dropped = 0;
        while stream.messages.len() > limits::DATA_MESSAGES_PER_STREAM_MAX
            || stream.bytes > limits::DATA_BYTES_PER_STREAM_MAX
            || *bytes > limits::DATA_BYTES_MAX
        {
            // The first is being delivered: were it dropped, its pauses would begin anew with the next one, and a
            // receiver that is away would be called at the pace of the messages.
            let Some(gone) = stream.messages.remove(1) else {
                break;
            };
            dropped += 1;
            *bytes -= gone.payload.len();
            stream.bytes -= gone.payload.len();
        }
        drop(waiting);
        self.arrived.notify_one();
        dropped
    }

    /// The oldest of `id`, which stays until [`Self::remove_first`].
    pub(crate) fn first(&self, id: &BroadcastId) -> Option<ClientMessage> {
        self.lock().streams.get(id)?.messages.front().cloned()
    }

    /// The oldest of `id` was delivered or given up.
    pub(crate) fn remove_first(&self, id: &BroadcastId) {
        let mut waiting = self.lock();
        let Waiting { streams, bytes } = &mut *waiting;
        let Some(stream) = streams.get_mut(id) else {
            return;
        };
        if let Some(gone) = stream.messages.pop_front() {
            *bytes -= gone.payload.len();
            stream.bytes -= gone.payload.len();
        }
        if stream.messages.is_empty() {
            streams.remove(id);
        }
    }

    /// Streams of which some wait, in no order.
    pub(crate) fn streams(&self) -> Vec<BroadcastId> {
        self.lock().streams.keys().cloned().collect()
    }

    pub(crate) fn len(&self) -> usize {
        let waiting = self.lock();
        let streams = waiting.streams.values();
        streams.map(|stream| stream.messages.len()).sum()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use shardcast_link::DataSender;

    use super::*;

    fn id(stream: &str) -> BroadcastId {
        BroadcastId::new("app", stream).unwrap()
    }

    fn message(number: u64, bytes: usize) -> ClientMessage {
        ClientMessage {
            sender: DataSender::Viewer,
            is_text: true,
            payload: vec![b'x'; bytes].into(),
            at_unix_ms: number,
        }
    }

    /// What is left of `id`, by number.
    fn rest(messages: &DataMessages, id: &BroadcastId) -> Vec<u64> {
        let take = || {
            let first = messages.first(id)?;
            messages.remove_first(id);
            Some(first.at_unix_ms)
        };
        std::iter::from_fn(take).collect()
    }

    #[test]
    fn a_full_stream_loses_the_oldest_that_is_not_under_way_and_no_other_stream_does() {
        let messages = DataMessages::default();
        let most = limits::DATA_MESSAGES_PER_STREAM_MAX as u64;
        for number in 0..most {
            assert_eq!(messages.push(id("one"), message(number, 1)), 0);
        }
        assert_eq!(messages.push(id("two"), message(0, 1)), 0);
        assert_eq!(messages.push(id("one"), message(most, 1)), 1);
        let left = rest(&messages, &id("one"));
        assert_eq!(left[..2], [0, 2]);
        assert_eq!(left.last(), Some(&most));
        assert_eq!((messages.len(), messages.lock().bytes), (1, 1));
        assert_eq!(messages.streams(), [id("two")]);
    }

    #[test]
    fn bytes_of_a_stream_and_of_all_streams_are_bounded() {
        let messages = DataMessages::default();
        let half = limits::DATA_BYTES_PER_STREAM_MAX / 2;
        for (number, dropped) in [(0, 0), (1, 0), (2, 1)] {
            assert_eq!(messages.push(id("one"), message(number, half)), dropped);
        }
        assert_eq!(rest(&messages, &id("one")), [0, 2]);
        let streams = limits::DATA_BYTES_MAX / half;
        for stream in 0..streams {
            messages.push(id(&stream.to_string()), message(0, half));
        }
        assert_eq!(messages.push(id("0"), message(1, half)), 1);
        assert_eq!(messages.lock().bytes, limits::DATA_BYTES_MAX);
    }
}
