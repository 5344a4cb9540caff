//! One attempt to get on air: name, addresses, connection, RTMP session. A server may ask for user and
//! password, or send the attempt on to another; both go through another connection.

use std::{net::SocketAddr, time::Duration};

use super::{Destination, Phase, failure::problem, feed::Feed, race::Race};
use crate::{
    codec::AudioCodec,
    context::Context,
    ids::{ConnId, LookupId},
    io::{Close, Output},
    limits::{
        CONNECT_TIMEOUT_MS, HANDSHAKE_TIMEOUT_MS, REDIRECTS_MAX, RESOLVE_TIMEOUT_MS, TLS_TIMEOUT_MS,
    },
    rtmp::{
        PublishClient, PublishOutput, RtmpUrl,
        client::{Challenge, Login},
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
    pub(super) fn resolve(&mut self, ctx: &mut Context) {
        let Some(url) = self.url.clone() else { return };
        self.attempts = self.attempts.saturating_add(1);
        self.look_up(ctx, Route::to(url, 0));
    }

    fn look_up(&mut self, ctx: &mut Context, route: Route) {
        let lookup = LookupId {
            broadcast: self.broadcast,
            destination: self.key,
            attempt: self.lookups,
        };
        self.lookups += 1;
        ctx.output(Output::Resolve {
            lookup,
            host: route.url.host().to_owned(),
            port: route.url.port(),
        });
        self.route = Some(route);
        let until = ctx.now + Duration::from_millis(RESOLVE_TIMEOUT_MS);
        self.enter(ctx.now, Phase::Resolving { lookup, until });
    }

    /// Connects to the addresses that the operator's rules permit.
    pub(super) fn pick(&mut self, ctx: &mut Context, addresses: &[SocketAddr]) {
        let permitted = addresses.iter().copied();
        let permitted: Vec<SocketAddr> = permitted
            .filter(|address| self.rules.permit(address.ip()))
            .collect();
        match addresses.first() {
            Some(first) if permitted.is_empty() => self.forbidden(ctx.now, first.ip()),
            _ => self.race(ctx, permitted),
        }
    }

    fn race(&mut self, ctx: &mut Context, addresses: Vec<SocketAddr>) {
        let tls_ms = if self.speaks_tls() { TLS_TIMEOUT_MS } else { 0 };
        let patience = Duration::from_millis(CONNECT_TIMEOUT_MS + tls_ms);
        let race = Race::new(ctx.now, addresses, self.winner, patience);
        self.enter(ctx.now, Phase::Connecting { race });
        self.dial(ctx);
    }

    /// Begins what connections are due; fails when none is left.
    fn dial(&mut self, ctx: &mut Context) {
        let (Phase::Connecting { race }, Some(route)) = (&mut self.phase, &self.route) else {
            return;
        };
        loop {
            let conn = ConnId::of_destination(self.broadcast, self.key, self.dials);
            let Some(addr) = race.begin(ctx.now, conn) else {
                break;
            };
            self.dials += 1;
            let tls = route.url.is_tls().then(|| route.url.host().to_owned());
            ctx.output(Output::Connect { conn, addr, tls });
        }
        if let Some((words, retryable)) = race.lost() {
            self.unreachable(ctx.now, words, retryable);
        }
    }

    pub(super) fn dial_failed(
        &mut self,
        ctx: &mut Context,
        conn: ConnId,
        reason: &str,
        retryable: bool,
    ) {
        if let Phase::Connecting { race } = &mut self.phase {
            race.failed(ctx.now, conn, reason, retryable);
            self.dial(ctx);
        }
    }

    /// Time is up for a connection, or has come for the next.
    pub(super) fn dial_timeout(&mut self, ctx: &mut Context) {
        let words = self.no_answer();
        let Phase::Connecting { race } = &mut self.phase else {
            return;
        };
        while let Some(conn) = race.late(ctx.now) {
            race.failed(ctx.now, conn, words, true);
            let how = Close::Abort;
            ctx.output(Output::Close { conn, how });
        }
        self.dial(ctx);
    }

    fn speaks_tls(&self) -> bool {
        self.route.as_ref().is_some_and(|route| route.url.is_tls())
    }

    /// The reason when a connection was not made in time.
    fn no_answer(&self) -> &'static str {
        if self.speaks_tls() {
            "no answer to the connection attempt, or none to the TLS handshake: check host and \
             port, and write rtmp:// if that port speaks plain RTMP"
        } else {
            "no answer to the connection attempt"
        }
    }

    /// The first connection that stands is used, and the others are left.
    pub(super) fn connected(&mut self, ctx: &mut Context, conn: ConnId) {
        let Phase::Connecting { race } = &mut self.phase else {
            return;
        };
        let (Some((address, losers)), Some(route)) = (race.won(conn), &self.route) else {
            return;
        };
        for loser in losers {
            let (conn, how) = (loser, Close::Abort);
            ctx.output(Output::Close { conn, how });
        }
        let mut config = self.platform.publish_config();
        config.offers_opus &= !self.plain;
        let login = route.login.clone();
        let mut client = Box::new(PublishClient::logging_in(&route.url, config, login));
        let slices = vec![client.start()];
        ctx.output(Output::Write { conn, slices });
        let until = ctx.now + Duration::from_millis(HANDSHAKE_TIMEOUT_MS);
        let phase = Phase::Opening {
            conn,
            until,
            address,
            client,
        };
        self.enter(ctx.now, phase);
        self.pump(ctx);
    }

    /// The server wants user and password, on another connection.
    fn log_in(&mut self, ctx: &mut Context, challenge: &Challenge) {
        let (Phase::Opening { address, .. }, Some(route)) = (&self.phase, &mut self.route) else {
            return;
        };
        let address = *address;
        route.login = Login::answer(&route.url, challenge, self.backoff.nonce());
        self.abort(ctx);
        self.race(ctx, vec![address]);
    }

    /// The server sends this attempt on to another one.
    fn follow(&mut self, ctx: &mut Context, tc_url: &str) {
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
                self.abort(ctx);
                self.look_up(ctx, route);
            }
            Err((words, retryable)) => self.fail_with(ctx, problem(words), retryable),
        }
    }

    pub(super) fn received(&mut self, ctx: &mut Context, bytes: &[u8]) {
        let result = match &mut self.phase {
            Phase::Opening { client, .. } | Phase::Open { client, .. } => client.handle(bytes),
            _ => return,
        };
        self.pump(ctx);
        // One end is enough: the pump may have found the connection flooded.
        let is_open = matches!(self.phase, Phase::Opening { .. } | Phase::Open { .. });
        if let Err(error) = result
            && is_open
        {
            self.refused(ctx, &error);
        }
    }

    /// Writes what the RTMP client has to send, and begins with media once the server takes the stream.
    fn pump(&mut self, ctx: &mut Context) {
        loop {
            if let Phase::Open { feed, .. } = &self.phase
                && feed.is_flooded()
            {
                self.fail(ctx, "it asks for answers and does not take them");
                return;
            }
            let (conn, output) = match &mut self.phase {
                Phase::Opening { conn, client, .. } | Phase::Open { conn, client, .. } => {
                    (*conn, client.poll())
                }
                _ => return,
            };
            match output {
                Some(PublishOutput::Send(bytes)) => {
                    if let Phase::Open { feed, .. } = &mut self.phase {
                        feed.liveness.written(ctx.now, bytes.len());
                    }
                    let slices = vec![bytes];
                    ctx.output(Output::Write { conn, slices });
                }
                Some(PublishOutput::Publishing { .. }) => self.open(ctx),
                Some(PublishOutput::LogIn(challenge)) => return self.log_in(ctx, &challenge),
                Some(PublishOutput::Redirected { tc_url }) => return self.follow(ctx, &tc_url),
                Some(_) => {}
                None => return,
            }
        }
    }

    fn open(&mut self, ctx: &mut Context) {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Opening {
                conn,
                client,
                address,
                ..
            } => {
                self.winner = Some(address.ip());
                let audio = if client.takes_opus() {
                    AudioCodec::Opus
                } else {
                    AudioCodec::Aac
                };
                self.audio = Some(audio);
                let feed = Box::new(Feed::new(self.platform, audio));
                let phase = Phase::Open {
                    conn,
                    client,
                    feed,
                    since: ctx.now,
                };
                self.enter(ctx.now, phase);
                // What is acknowledged before the first media is no sign of life.
                ctx.output(Output::Inspect { conn });
            }
            other => self.phase = other,
        }
    }
}

#[cfg(test)]
#[path = "connect_tests.rs"]
mod tests;
