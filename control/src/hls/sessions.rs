//! Who watches by HLS. There is no connection that would tell: a watcher is somebody who has asked for the
//! playlist within the last seconds. Browsers are told apart by a cookie, others by address and program.

use std::{
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use siphasher::sip::SipHasher13;

use crate::limits;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Watcher {
    /// From the cookie, once the client has it.
    pub(crate) session: Option<u128>,
    /// Of address and program.
    pub(crate) client: u64,
}

impl Watcher {
    pub(crate) fn new(session: Option<u128>, address: IpAddr, program: &[u8]) -> Self {
        let mut client = address.to_string().into_bytes();
        client.extend_from_slice(program);
        Self {
            session,
            client: SipHasher13::new().hash(&client),
        }
    }
}

/// A session, or a client without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    Session(u128),
    Client(u64),
}

/// The watchers of one broadcast.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    all: HashMap<Key, Session>,
    /// Those that are gone and were not told of yet.
    gone: usize,
}

/// What is known of who has been sent a playlist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// It has not watched before.
    pub(crate) is_new: bool,
    /// It plays by the ladder.
    pub(crate) by_ladder: bool,
}

#[derive(Debug)]
struct Session {
    seen: Instant,
    /// The token with which it was let in, which may expire while it watches.
    token: u64,
    /// It plays by the multivariant playlist, so it may change to a rung at any time.
    by_ladder: bool,
}

impl Sessions {
    /// Somebody has asked for a playlist; `of_ladder`: for the multivariant one, or that of a rung.
    pub(super) fn seen(
        &mut self,
        now: Instant,
        watcher: Watcher,
        token: &str,
        of_ladder: bool,
    ) -> Seen {
        let client = Key::Client(watcher.client);
        let (key, before) = match watcher.session {
            // Its first request came without the cookie.
            Some(session) => (Key::Session(session), self.all.remove(&client)),
            None => (client, None),
        };
        let known = self.all.get(&key).or(before.as_ref());
        let by_ladder = of_ladder || known.is_some_and(|it| it.is_here(now) && it.by_ladder);
        let mut seen = Seen {
            is_new: known.is_none(),
            by_ladder,
        };
        if self.all.len() >= limits::HLS_SESSIONS_MAX && !self.all.contains_key(&key) {
            self.expire(now);
            if self.all.len() >= limits::HLS_SESSIONS_MAX {
                // Its end would not be seen.
                seen.is_new = false;
                return seen;
            }
        }
        let session = Session {
            seen: now,
            token: hash(token),
            by_ladder,
        };
        self.all.insert(key, session);
        seen
    }

    fn expire(&mut self, now: Instant) {
        let before = self.all.len();
        self.all.retain(|_, session| session.is_here(now));
        self.gone += before - self.all.len();
    }

    /// How many have gone since this was asked last.
    pub(super) fn take_gone(&mut self, now: Instant) -> usize {
        self.expire(now);
        std::mem::take(&mut self.gone)
    }

    /// Whether this one watches, and was let in with this token.
    pub(super) fn knows(&self, now: Instant, watcher: Watcher, token: &str) -> bool {
        let keys = [
            watcher.session.map(Key::Session),
            Some(Key::Client(watcher.client)),
        ];
        let mut sessions = keys
            .into_iter()
            .flatten()
            .filter_map(|key| self.all.get(&key));
        sessions.any(|session| session.is_here(now) && session.token == hash(token))
    }

    /// How many watch.
    pub(super) fn count(&self, now: Instant) -> usize {
        self.all
            .values()
            .filter(|session| session.is_here(now))
            .count()
    }
}

impl Session {
    fn is_here(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.seen) < SEEN_FOR
    }
}

/// Players ask once in a target duration, and more often for parts.
const SEEN_FOR: Duration = limits::HLS_WATCHER_SEEN;

fn hash(token: &str) -> u64 {
    SipHasher13::new().hash(token.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watcher(session: Option<u128>, last: u8, program: &str) -> Watcher {
        Watcher::new(session, IpAddr::from([192, 0, 2, last]), program.as_bytes())
    }

    #[test]
    fn a_browser_counts_once_with_its_cookie_and_before_it() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        let mut seen = |watcher| sessions.seen(now, watcher, "", false);
        seen(watcher(None, 1, "browser"));
        seen(watcher(Some(7), 1, "browser"));
        // Another behind the same address.
        seen(watcher(Some(8), 1, "browser"));
        seen(watcher(None, 1, "player"));
        seen(watcher(None, 2, "player"));
        assert_eq!(sessions.count(now), 4);
        assert_eq!(sessions.count(now + SEEN_FOR), 0);
    }

    #[test]
    fn each_watcher_is_new_once_and_gone_once() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        let (before, with_cookie) = (watcher(None, 1, "one"), watcher(Some(7), 1, "one"));
        let is_new =
            |sessions: &mut Sessions, watcher| sessions.seen(now, watcher, "", false).is_new;
        assert!(is_new(&mut sessions, before) && !is_new(&mut sessions, before));
        assert!(!is_new(&mut sessions, with_cookie) && !is_new(&mut sessions, with_cookie));
        assert!(is_new(&mut sessions, watcher(None, 2, "two")));
        assert_eq!(sessions.take_gone(now), 0);
        assert_eq!(sessions.take_gone(now + SEEN_FOR), 2);
        assert_eq!(sessions.take_gone(now + SEEN_FOR), 0);
        assert!(is_new(&mut sessions, with_cookie));
    }

    #[test]
    fn who_has_read_the_multivariant_playlist_plays_by_the_ladder_while_it_watches() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        let (before, with_cookie) = (watcher(None, 1, "one"), watcher(Some(7), 1, "one"));
        let mut seen = |at, watcher, of_ladder| sessions.seen(at, watcher, "", of_ladder).by_ladder;
        assert!(!seen(now, before, false));
        assert!(seen(now, before, true) && seen(now, before, false));
        assert!(seen(now, with_cookie, false) && seen(now, with_cookie, false));
        assert!(!seen(now, watcher(Some(8), 1, "one"), false));
        assert!(!seen(now + SEEN_FOR, with_cookie, false));
    }

    #[test]
    fn who_watches_is_known_by_the_token_that_let_it_in() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        let one = watcher(None, 1, "player");
        sessions.seen(now, one, "token", false);
        assert!(sessions.knows(now, one, "token"));
        assert!(!sessions.knows(now, one, "other"));
        assert!(!sessions.knows(now, watcher(None, 2, "player"), "token"));
        assert!(!sessions.knows(now + SEEN_FOR, one, "token"));
    }

    #[test]
    fn strangers_fill_no_more_than_the_limit() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        for session in 0..limits::HLS_SESSIONS_MAX as u128 + 5 {
            sessions.seen(now, watcher(Some(session), 1, ""), "", false);
        }
        assert_eq!(sessions.count(now), limits::HLS_SESSIONS_MAX);
        sessions.seen(now + SEEN_FOR, watcher(Some(1 << 100), 1, ""), "", false);
        assert_eq!(sessions.count(now + SEEN_FOR), 1);
    }
}
