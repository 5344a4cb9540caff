//! The messages of the last seconds, kept once for all clients, and the places of clients in it.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use crate::{
    ids::SessionKey,
    limits::{DATA_KEPT, DATA_LOG_BYTES_MAX, DATA_LOG_MESSAGES_MAX},
};

/// Whom a message is for, beside not its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    Everybody,
    Publisher,
}

#[derive(Debug)]
pub(super) struct Message {
    pub(super) binary: bool,
    pub(super) payload: Arc<[u8]>,
    /// `None`: REST.
    pub(super) from: Option<SessionKey>,
    pub(super) to: Audience,
    /// The message that a chunk is a part of; itself for others.
    pub(super) head: u64,
    pub(super) at: Instant,
}

/// At most [`DATA_LOG_MESSAGES_MAX`] messages of [`DATA_LOG_BYTES_MAX`].
#[derive(Debug, Default)]
pub(super) struct Log {
    messages: VecDeque<Message>,
    /// The number of the first of them.
    start: u64,
    bytes: usize,
}

impl Log {
    /// The number of the next message.
    pub(super) fn end(&self) -> u64 {
        self.start + self.messages.len() as u64
    }

    pub(super) fn push(&mut self, message: Message) {
        self.bytes += message.payload.len();
        self.messages.push_back(message);
        while self.bytes > DATA_LOG_BYTES_MAX || self.messages.len() > DATA_LOG_MESSAGES_MAX {
            self.pop();
        }
    }

    /// Messages of before [`DATA_KEPT`] go.
    pub(super) fn expire(&mut self, now: Instant) {
        let is_old = |message: &Message| now.saturating_duration_since(message.at) > DATA_KEPT;
        while self.messages.front().is_some_and(is_old) {
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some(message) = self.messages.pop_front() {
            self.start += 1;
            self.bytes -= message.payload.len();
        }
    }

    fn get(&self, seq: u64) -> Option<&Message> {
        let index = usize::try_from(seq.checked_sub(self.start)?).ok()?;
        self.messages.get(index)
    }
}

/// How far a client is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    next: u64,
    /// Chunks of messages that began before are left out: without their head no client can use them.
    whole_from: u64,
}

impl Place {
    pub(super) fn at_end(log: &Log) -> Self {
        Self {
            next: log.end(),
            whole_from: log.end(),
        }
    }

    pub(super) fn is_behind(&self, log: &Log) -> bool {
        self.next < log.end()
    }

    /// Goes on at what is left; how many messages were lost.
    pub(super) fn catch_up(&mut self, log: &Log) -> u64 {
        let lost = log.start.saturating_sub(self.next);
        if lost > 0 {
            (self.next, self.whole_from) = (log.start, log.start);
        }
        lost
    }

    /// The next message that `me` is sent; those for others are passed over.
    pub(super) fn next<'a>(
        &mut self,
        log: &'a Log,
        me: SessionKey,
        is_publisher: bool,
    ) -> Option<&'a Message> {
        loop {
            let message = log.get(self.next)?;
            let is_for_me = message.to == Audience::Everybody || is_publisher;
            if is_for_me && message.from != Some(me) && message.head >= self.whole_from {
                return Some(message);
            }
            self.next += 1;
        }
    }

    /// The next message was sent.
    pub(super) fn step(&mut self) {
        self.next += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::BroadcastKey;

    fn key(number: u64) -> SessionKey {
        let broadcast = BroadcastKey(1);
        SessionKey { broadcast, number }
    }

    fn push(log: &mut Log, from: u64, to: Audience, bytes: usize, head: Option<u64>) -> u64 {
        let seq = log.end();
        log.push(Message {
            binary: head.is_some(),
            payload: vec![0; bytes].into(),
            from: Some(key(from)),
            to,
            head: head.unwrap_or(seq),
            at: Instant::now(),
        });
        seq
    }

    fn read(log: &Log, place: &mut Place, me: u64, is_publisher: bool) -> Vec<u64> {
        let mut read = Vec::new();
        while place.next(log, key(me), is_publisher).is_some() {
            read.push(place.next);
            place.step();
        }
        read
    }

    #[test]
    fn everybody_reads_what_is_for_him_and_not_his_own() {
        let mut log = Log::default();
        let mut places = [Place::at_end(&log); 3];
        let all = push(&mut log, 1, Audience::Everybody, 1, None);
        let to_publisher = push(&mut log, 2, Audience::Publisher, 1, None);
        let [publisher, sender, other] = &mut places;
        assert_eq!(read(&log, publisher, 1, true), [to_publisher]);
        assert_eq!(read(&log, sender, 2, false), [all]);
        assert_eq!(read(&log, other, 3, false), [all]);
    }

    #[test]
    fn chunks_without_their_head_are_left_out() {
        let mut log = Log::default();
        let head = push(&mut log, 1, Audience::Everybody, 8, None);
        let mut late = Place::at_end(&log);
        push(&mut log, 1, Audience::Everybody, 9, Some(head));
        let text = push(&mut log, 1, Audience::Everybody, 1, None);
        assert_eq!(read(&log, &mut late, 2, false), [text]);
    }

    #[test]
    fn the_log_is_bounded_and_who_falls_out_of_it_loses_what_is_gone() {
        let mut log = Log::default();
        let mut place = Place::at_end(&log);
        for _ in 0..3 * DATA_LOG_MESSAGES_MAX {
            push(&mut log, 1, Audience::Everybody, 1, None);
        }
        assert_eq!(log.messages.len(), DATA_LOG_MESSAGES_MAX);
        assert_eq!(place.catch_up(&log), 2 * DATA_LOG_MESSAGES_MAX as u64);
        assert_eq!(
            read(&log, &mut place, 2, false).len(),
            DATA_LOG_MESSAGES_MAX
        );
        for _ in 0..3 {
            push(
                &mut log,
                1,
                Audience::Everybody,
                DATA_LOG_BYTES_MAX / 2,
                None,
            );
        }
        assert_eq!((log.messages.len(), log.bytes), (2, DATA_LOG_BYTES_MAX));
        log.expire(Instant::now() + 2 * DATA_KEPT);
        assert_eq!((log.messages.len(), log.bytes), (0, 0));
    }
}
