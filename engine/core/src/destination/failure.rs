//! What follows a failure: a problem in the status, then a retry later, or the end of retries.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use shardcast_link::{Fault, Problem};

use super::{
    Destination, Phase,
    backoff::Failure,
    verdict::{About, Verdict},
};
use crate::{context::Context, ids::ConnId, limits::BACKOFF_RESET_MS, rtmp::PublishError};

impl Destination {
    /// A connection that it owns was closed.
    pub(super) fn closed(
        &mut self,
        ctx: &mut Context,
        conn: ConnId,
        reason: &str,
        retryable: bool,
    ) {
        let now = ctx.now;
        match &self.phase {
            Phase::Connecting { .. } => self.dial_failed(ctx, conn, reason, retryable),
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

    /// The server refused the stream, or broke the protocol.
    pub(super) fn refused(&mut self, ctx: &mut Context, error: &PublishError) {
        let advice = self.key_advice().filter(|_| !error.retryable());
        let words = match advice {
            Some(advice) => format!("{error}; {advice}"),
            None => error.to_string(),
        };
        self.fail_with(ctx, problem(words), error.retryable());
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

    pub(super) fn unreachable(&mut self, now: Instant, words: String, retryable: bool) {
        let failure = if retryable {
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

    pub(super) fn fail(&mut self, ctx: &mut Context, words: &str) {
        self.fail_with(ctx, problem(words.to_owned()), true);
    }

    pub(super) fn fail_with(&mut self, ctx: &mut Context, problem: Problem, retryable: bool) {
        self.abort(ctx);
        let failure = if retryable {
            Failure::Passing
        } else {
            Failure::Refused
        };
        self.back_off(ctx.now, problem, failure);
    }

    fn back_off(&mut self, now: Instant, mut problem: Problem, failure: Failure) {
        if let Phase::Open { since, feed, .. } = &self.phase
            && feed.is_live()
            && now.saturating_duration_since(*since) > Duration::from_millis(BACKOFF_RESET_MS)
        {
            self.backoff.reset();
        }
        if let Phase::Opening { client, .. } = &self.phase {
            // It connects and does not go on from there: the resolver's order holds again.
            self.winner = None;
            // Some servers stumble over what they do not know in `connect`, each in its own way.
            self.plain ^= self.platform.opus && client.connect_failed();
        }
        if let Some(route) = self.route.as_ref().filter(|route| route.redirects > 0) {
            let server = route.url.server_address();
            problem.message = format!("sent on to {server}: {}", problem.message);
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
        Verdict::note(&mut self.verdict, now, About::Connection, problem);
        self.enter(now, phase);
    }

    pub(super) fn unusable(&mut self, now: Instant, words: &str) {
        let unusable = Problem {
            fault: Fault::Operator,
            message: words.to_owned(),
        };
        self.verdict = Some(Verdict::new(now, About::Connection, unusable));
        self.phase = Phase::Unusable;
    }
}

/// Parts are left out for a destination that cannot keep up.
pub(super) fn too_slow() -> Problem {
    let words = "it takes data slower than the stream needs, so parts are left out: lower the bitrate or check its \
                 network";
    problem(words.to_owned())
}

pub(super) fn problem(message: String) -> Problem {
    Problem {
        fault: Fault::Destination,
        message,
    }
}
