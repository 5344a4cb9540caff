//! One attempt to get on air: name, addresses, connection, RTMP session. A server may ask for user and
//! password, or send the attempt on to another; both go through another connection.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{
    Destination, DestinationOutput, Phase, failure::problem, feed::Feed, race::Dial, race::Race,
};
use crate::{
    io::Close,
    limits::{
        CONNECT_TIMEOUT_MS, HANDSHAKE_TIMEOUT_MS, REDIRECTS_MAX, RESOLVE_TIMEOUT_MS, TLS_TIMEOUT_MS,
    },
    rtmp::{
        PublishClient, PublishOutput, RtmpUrl,
        publish::{Challenge, Login},
    },
};

/// Where an attempt leads.
#[derive(Debug)]
pub(super) struct Route {
    /// At first the destination's own address, then where a server sent the attempt on to.
    pub(super) url: RtmpUrl,
    pub(super) redirects: u32,
    login: Login,
}

impl Route {
    fn to(url: RtmpUrl, redirects: u32) -> Self {
        Self {
            url,
            redirects,
            login: Login::default(),
        }
    }
}

impl Destination {
    /// Begins an attempt.
    pub(super) fn resolve(&mut self, now: Instant) {
        let Some(url) = self.url.clone() else { return };
        self.attempts = self.attempts.saturating_add(1);
        self.look_up(now, Route::to(url, 0));
    }

    fn look_up(&mut self, now: Instant, route: Route) {
        let (host, port) = (route.url.host().to_owned(), route.url.port());
        self.route = Some(route);
        self.outputs
            .push_back(DestinationOutput::Resolve { host, port });
        let until = now + Duration::from_millis(RESOLVE_TIMEOUT_MS);
        self.enter(now, Phase::Resolving { until });
    }

    /// Connects to the addresses that the operator's rules permit.
    pub(super) fn pick(&mut self, now: Instant, addresses: &[SocketAddr]) {
        let permitted = addresses.iter().copied();
        let permitted: Vec<SocketAddr> = permitted
            .filter(|address| self.rules.permit(address.ip()))
            .collect();
        match addresses.first() {
            Some(first) if permitted.is_empty() => self.forbidden(now, first.ip()),
            _ => self.race(now, permitted),
        }
    }

    fn race(&mut self, now: Instant, addresses: Vec<SocketAddr>) {
        let tls_ms = if self.speaks_tls() { TLS_TIMEOUT_MS } else { 0 };
        let patience = Duration::from_millis(CONNECT_TIMEOUT_MS + tls_ms);
        let race = Race::new(now, addresses, self.winner, patience);
        self.enter(now, Phase::Connecting { race });
        self.dial(now);
    }

    /// Begins what connections are due; fails when none is left.
    fn dial(&mut self, now: Instant) {
        let (Phase::Connecting { race }, Some(route)) = (&mut self.phase, &self.route) else {
            return;
        };
        while let Some(address) = race.begin(now, Dial(self.dials)) {
            let dial = Dial(self.dials);
            self.dials += 1;
            let tls = route.url.is_tls().then(|| route.url.host().to_owned());
            self.outputs
                .push_back(DestinationOutput::Connect { dial, address, tls });
        }
        if let Some((words, heals)) = race.lost() {
            self.unreachable(now, words, heals);
        }
    }

    pub(super) fn dial_failed(&mut self, now: Instant, dial: Dial, reason: &str, heals: bool) {
        if let Phase::Connecting { race } = &mut self.phase {
            race.failed(now, dial, reason, heals);
            self.dial(now);
        }
    }

    /// Time is up for a connection, or has come for the next.
    pub(super) fn dial_timeout(&mut self, now: Instant) {
        let words = self.no_answer();
        let Phase::Connecting { race } = &mut self.phase else {
            return;
        };
        while let Some(dial) = race.late(now) {
            race.failed(now, dial, words, true);
            self.outputs
                .push_back(DestinationOutput::Close(Some(dial), Close::Abort));
        }
        self.dial(now);
    }

    fn speaks_tls(&self) -> bool {
        self.route.as_ref().is_some_and(|route| route.url.is_tls())
    }

    /// What is said when nothing has come of a connection in time.
    fn no_answer(&self) -> &'static str {
        if self.speaks_tls() {
            "no answer to the connection attempt, or none to the TLS handshake: check host and \
             port, and write rtmp:// if that port speaks plain RTMP"
        } else {
            "no answer to the connection attempt"
        }
    }

    /// The first connection that stands is used, and the others are left.
    pub(super) fn connected(&mut self, now: Instant, dial: Dial) {
        let Phase::Connecting { race } = &mut self.phase else {
            return;
        };
        let (Some((address, losers)), Some(route)) = (race.won(dial), &self.route) else {
            return;
        };
        let losers = losers.into_iter();
        self.outputs
            .extend(losers.map(|loser| DestinationOutput::Close(Some(loser), Close::Abort)));
        let config = self.platform.publish_config();
        let login = route.login.clone();
        let mut client = Box::new(PublishClient::logging_in(&route.url, config, login));
        self.outputs
            .push_back(DestinationOutput::Write(vec![client.start()]));
        let until = now + Duration::from_millis(HANDSHAKE_TIMEOUT_MS);
        self.enter(
            now,
            Phase::Opening {
                until,
                address,
                client,
            },
        );
        self.pump(now);
    }

    /// The server wants user and password, on another connection.
    fn log_in(&mut self, now: Instant, challenge: &Challenge) {
        let (Phase::Opening { address, .. }, Some(route)) = (&self.phase, &mut self.route) else {
            return;
        };
        let address = *address;
        route.login = Login::answer(&route.url, challenge, self.backoff.nonce());
        self.outputs
            .push_back(DestinationOutput::Close(None, Close::Abort));
        self.race(now, vec![address]);
    }

    /// The server sends this attempt on to another one.
    fn follow(&mut self, now: Instant, tc_url: &str) {
        let Some(route) = &self.route else { return };
        let next = match route.url.redirected(tc_url) {
            Ok(_) if route.redirects >= REDIRECTS_MAX => Err((
                format!("the server sends it on for more than {REDIRECTS_MAX} times"),
                true,
            )),
            Ok(next) if route.url.is_tls() && !next.is_tls() => Err((
                "the server sends it on from rtmps:// to rtmp://, where anybody on the way could \
                 read the stream key: refused; ask whoever runs it"
                    .to_owned(),
                false,
            )),
            Ok(next) => Ok(Route::to(next, route.redirects + 1)),
            Err(error) => Err((
                format!("the server sends it on to where nothing can be sent ({error})"),
                true,
            )),
        };
        match next {
            Ok(route) => {
                self.outputs
                    .push_back(DestinationOutput::Close(None, Close::Abort));
                self.look_up(now, route);
            }
            Err((words, heals)) => self.fail_with(now, problem(words), heals),
        }
    }

    pub(super) fn received(&mut self, now: Instant, bytes: &[u8]) {
        let result = match &mut self.phase {
            Phase::Opening { client, .. } | Phase::Open { client, .. } => client.handle(bytes),
            _ => return,
        };
        self.pump(now);
        // One end is enough: the pump may have found the connection flooded.
        let is_open = matches!(self.phase, Phase::Opening { .. } | Phase::Open { .. });
        if let Err(error) = result
            && is_open
        {
            self.refused(now, &error);
        }
    }

    /// Moves what the RTMP session wants to say, and notices when it may send media.
    fn pump(&mut self, now: Instant) {
        loop {
            if let Phase::Open { feed, .. } = &self.phase
                && feed.is_flooded()
            {
                self.fail(now, "it asks for answers and does not take them");
                return;
            }
            let output = match &mut self.phase {
                Phase::Opening { client, .. } | Phase::Open { client, .. } => client.poll(),
                _ => return,
            };
            match output {
                Some(PublishOutput::Send(bytes)) => {
                    if let Phase::Open { feed, .. } = &mut self.phase {
                        feed.progress.written(now, bytes.len());
                    }
                    self.outputs
                        .push_back(DestinationOutput::Write(vec![bytes]));
                }
                Some(PublishOutput::Publishing { .. }) => self.open(now),
                Some(PublishOutput::LogIn(challenge)) => return self.log_in(now, &challenge),
                Some(PublishOutput::Redirected { tc_url }) => return self.follow(now, &tc_url),
                Some(_) => {}
                None => return,
            }
        }
    }

    fn open(&mut self, now: Instant) {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Opening {
                client, address, ..
            } => {
                self.winner = Some(address.ip());
                let feed = Box::new(Feed::new(self.platform));
                self.enter(
                    now,
                    Phase::Open {
                        client,
                        feed,
                        since: now,
                    },
                );
                // What is acknowledged before the first media is no sign of life.
                self.outputs.push_back(DestinationOutput::Inspect);
            }
            other => self.phase = other,
        }
    }
}

#[cfg(test)]
#[path = "attempt_tests.rs"]
mod tests;
