//! What follows a failure: words, a retry later, or the end of retries.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use shardcast_link::{Fault, Problem};

use super::{
    Destination, DestinationOutput, Phase,
    backoff::Failure,
    race::Dial,
    trouble::{About, Trouble},
};
use crate::{io::Close, limits::BACKOFF_RESET_MS, rtmp::PublishError};

impl Destination {
    pub(super) fn closed(&mut self, now: Instant, dial: Dial, reason: &str, heals: bool) {
        match &self.phase {
            Phase::Connecting { .. } => self.dial_failed(now, dial, reason, heals),
            Phase::Opening {
                address, client, ..
            } => {
                // A server that takes C0 and C1 for broken TLS hangs up without a word of RTMP.
                let route = self.route.as_ref();
                let is_plain = route.is_some_and(|route| !route.url.is_tls());
                let words = if is_plain && !client.has_heard() {
                    format!(
                        "{address} ended the connection at the first bytes of RTMP ({reason}): if \
                         this port speaks TLS write rtmps://, else check host and port"
                    )
                } else {
                    format!(
                        "{address} ended the connection before it accepted the stream ({reason}): \
                         {}",
                        self.key_advice().unwrap_or("check the stream key")
                    )
                };
                self.gone(now, words);
            }
            Phase::Open { .. } => self.gone(now, format!("the connection was lost: {reason}")),
            _ => {}
        }
    }

    /// The server, or the session with it, says that it cannot go on.
    pub(super) fn refused(&mut self, now: Instant, error: &PublishError) {
        let advice = self.key_advice().filter(|_| !error.heals());
        let words = match advice {
            Some(advice) => format!("{error}; {advice}"),
            None => error.to_string(),
        };
        self.fail_with(now, problem(words), error.heals());
    }

    /// What to look at first when the address ends before a stream key: platforms show server and
    /// key apart, and people copy the server alone.
    fn key_advice(&self) -> Option<&'static str> {
        let url = self.url.as_ref()?;
        url.stream_key()
            .is_empty()
            .then_some("the address has no stream key behind the application: is it complete?")
    }

    /// Fails for a connection that no longer exists.
    fn gone(&mut self, now: Instant, words: String) {
        self.back_off(now, problem(words), Failure::Passing);
    }

    pub(super) fn unreachable(&mut self, now: Instant, words: String, heals: bool) {
        let failure = if heals {
            Failure::Unreachable
        } else {
            Failure::Refused
        };
        self.back_off(now, problem(words), failure);
    }

    /// The operator's rules forbid every address of its name.
    pub(super) fn forbidden(&mut self, now: Instant, address: IpAddr) {
        let problem = Problem {
            fault: Fault::Operator,
            message: format!(
                "its address {address} is not permitted on this server: see destination_allow and \
                 destination_deny"
            ),
        };
        self.back_off(now, problem, Failure::Refused);
    }

    pub(super) fn fail(&mut self, now: Instant, words: &str) {
        self.fail_with(now, problem(words.to_owned()), true);
    }

    pub(super) fn fail_with(&mut self, now: Instant, problem: Problem, heals: bool) {
        if matches!(
            self.phase,
            Phase::Connecting { .. } | Phase::Opening { .. } | Phase::Open { .. }
        ) {
            self.outputs
                .push_back(DestinationOutput::Close(None, Close::Abort));
        }
        let failure = if heals {
            Failure::Passing
        } else {
            Failure::Refused
        };
        self.back_off(now, problem, failure);
    }

    fn back_off(&mut self, now: Instant, mut problem: Problem, failure: Failure) {
        if let Phase::Open { since, feed, .. } = &self.phase
            && feed.is_live()
            && now.saturating_duration_since(*since) > Duration::from_millis(BACKOFF_RESET_MS)
        {
            self.backoff.reset();
        }
        if matches!(self.phase, Phase::Opening { .. }) {
            // It connects and does not go on from there: the resolver's order holds again.
            self.winner = None;
        }
        if let Some(route) = self.route.as_ref().filter(|route| route.redirects > 0) {
            problem.message = format!("sent on to {}: {}", route.url.redacted(), problem.message);
        }
        let since_live = self.live_at.map(|at| now.saturating_duration_since(at));
        let delay = self.backoff.next_delay(now, failure, since_live);
        let phase = match delay {
            _ if !self.on_air => Phase::Ended,
            Some(delay) => Phase::BackingOff { until: now + delay },
            None => {
                problem.message = format!(
                    "{}; given up after {} failed attempts: add it again, or allow more retries",
                    problem.message,
                    self.backoff.failures()
                );
                Phase::GivenUp
            }
        };
        Trouble::note(&mut self.trouble, now, About::Connection, problem);
        self.enter(now, phase);
    }

    pub(super) fn unusable(&mut self, now: Instant, words: &str) {
        let unusable = Problem {
            fault: Fault::Operator,
            message: words.to_owned(),
        };
        self.trouble = Some(Trouble::new(now, About::Connection, unusable));
        self.phase = Phase::Unusable;
    }
}

pub(super) fn problem(message: String) -> Problem {
    Problem {
        fault: Fault::Destination,
        message,
    }
}
