//! The WHIP and WHEP sessions of this process, by the random name in their URL (RFC 9725, 4.2).

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use shardcast_link::BroadcastId;
use tokio::sync::mpsc;

use crate::{
    limits,
    publishing::{SocketId, message::ServerMessage},
};

/// The sessions, at most as many as there may be sockets, since each has one.
#[derive(Debug, Default)]
pub(crate) struct WhipSessions(Mutex<HashMap<String, WhipSession>>);

/// What a request to the URL of a session needs of it.
#[derive(Clone, Debug)]
pub(crate) struct WhipSession {
    pub(crate) socket: SocketId,
    pub(crate) broadcast: BroadcastId,
    /// Name of the ICE session, which an ICE restart changes (RFC 9725, 4.3.1).
    pub(crate) etag: String,
    /// It watches; else it publishes.
    pub(crate) watches: bool,
    /// The last offer, from which that of an ICE restart is made.
    pub(crate) offer: String,
    /// The requests that wait for an answer of the shard.
    pub(crate) answers: mpsc::Sender<tokio::sync::oneshot::Sender<Answered>>,
}

/// The shard's answer to an offer, or why there is none.
pub(crate) type Answered = Result<Answer, ServerMessage>;

/// An answer with all candidates of the shard.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) sdp: String,
    /// `candidate:…` each.
    pub(crate) candidates: Vec<String>,
}

impl WhipSessions {
    pub(crate) fn insert(&self, name: String, session: WhipSession) {
        let mut sessions = self.lock();
        debug_assert!(
            sessions.len() < limits::SOCKETS_MAX,
            "each session has a socket"
        );
        sessions.insert(name, session);
    }

    /// The session `name`, if it publishes or watches `broadcast`.
    pub(crate) fn get(&self, name: &str, broadcast: &BroadcastId) -> Option<WhipSession> {
        let session = self.lock().get(name).cloned();
        session.filter(|session| session.broadcast == *broadcast)
    }

    /// The ICE session of `name` is another one from now on.
    pub(crate) fn restarted(&self, name: &str, etag: String, offer: String) {
        if let Some(session) = self.lock().get_mut(name) {
            session.etag = etag;
            session.offer = offer;
        }
    }

    pub(crate) fn remove(&self, name: &str) {
        self.lock().remove(name);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, WhipSession>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
