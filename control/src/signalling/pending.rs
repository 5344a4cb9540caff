//! Attempts to publish that wait for the answer of the application's backend
//! (`webhookAuthenticateURL`). They belong to the task of their socket, so they end with it, and its
//! other messages go on meanwhile.

use std::{collections::HashMap, future::Future};

use shardcast_link::BroadcastId;
use tokio::task::{AbortHandle, Id, JoinSet};

use crate::{backend::Verdict, limits, publishing::message::Publish};

/// The attempts of one socket, at most one for each broadcast.
#[derive(Debug, Default)]
pub(super) struct Pending {
    calls: JoinSet<Verdict>,
    attempts: HashMap<Id, (Publish, AbortHandle)>,
}

impl Pending {
    /// Begins `call` for `publish`, in place of an earlier one for the same broadcast. An error when
    /// the socket has too many.
    pub(super) fn ask(
        &mut self,
        publish: Publish,
        call: impl Future<Output = Verdict> + Send + 'static,
    ) -> Result<(), &'static str> {
        self.withdraw(&publish.broadcast);
        if self.attempts.len() >= limits::STREAMS_PER_SOCKET_MAX {
            return Err("highResourceUsage");
        }
        let handle = self.calls.spawn(call);
        self.attempts.insert(handle.id(), (publish, handle));
        Ok(())
    }

    /// Withdraws the attempt to publish `broadcast`. Returns whether there was one.
    pub(super) fn withdraw(&mut self, broadcast: &BroadcastId) -> bool {
        let before = self.attempts.len();
        self.attempts.retain(|_, (publish, call)| {
            let stays = publish.broadcast != *broadcast;
            if !stays {
                call.abort();
            }
            stays
        });
        self.attempts.len() < before
    }

    /// The next answer; pending while no question is open. Cancel-safe.
    pub(super) async fn next(&mut self) -> (Publish, Verdict) {
        loop {
            let (id, verdict) = match self.calls.join_next_with_id().await {
                None => std::future::pending().await,
                Some(Ok(answer)) => answer,
                // Withdrawn, or it panicked: that is no yes.
                Some(Err(error)) => (error.id(), Err("server_error_check_logs")),
            };
            if let Some((publish, _)) = self.attempts.remove(&id) {
                return (publish, verdict);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future, time::Duration};

    use super::*;

    fn publish(stream: &str) -> Publish {
        Publish {
            broadcast: BroadcastId::new("app", stream).unwrap(),
            token: String::new(),
            subscriber_id: String::new(),
            subscriber_code: String::new(),
            name: String::new(),
            meta_data: String::new(),
        }
    }

    #[tokio::test]
    async fn the_last_attempt_of_a_broadcast_counts_and_a_withdrawn_one_has_no_word() {
        let mut pending = Pending::default();
        pending
            .ask(publish("a"), future::ready(Err("old")))
            .unwrap();
        pending.ask(publish("a"), future::ready(Ok(()))).unwrap();
        pending.ask(publish("b"), future::pending()).unwrap();
        assert_eq!(pending.next().await, (publish("a"), Ok(())));
        assert!(pending.withdraw(&publish("b").broadcast));
        assert!(!pending.withdraw(&publish("b").broadcast));
        let quiet = tokio::time::timeout(Duration::from_millis(50), pending.next());
        assert!(quiet.await.is_err());
    }

    #[tokio::test]
    async fn a_call_that_breaks_is_a_refusal() {
        let mut pending = Pending::default();
        let broken = async { panic!("it breaks") };
        pending.ask(publish("a"), broken).unwrap();
        assert!(pending.next().await.1.is_err());
    }

    #[tokio::test]
    async fn a_socket_has_no_more_attempts_than_streams() {
        let mut pending = Pending::default();
        for n in 0..limits::STREAMS_PER_SOCKET_MAX {
            let asked = pending.ask(publish(&n.to_string()), future::pending());
            assert_eq!(asked, Ok(()));
        }
        let over = pending.ask(publish("x"), future::pending());
        assert_eq!(over, Err("highResourceUsage"));
        assert_eq!(pending.ask(publish("0"), future::pending()), Ok(()));
    }
}
