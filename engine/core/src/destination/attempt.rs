//! One attempt to get on air: name, address, connection, RTMP session.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{Destination, DestinationOutput, Phase, feed::Feed};
use crate::{
    io::Close,
    limits::{
        ADDRESSES_MAX, CONNECT_TIMEOUT_MS, HANDSHAKE_TIMEOUT_MS, RESOLVE_TIMEOUT_MS, TLS_TIMEOUT_MS,
    },
    rtmp::{PublishClient, PublishOutput},
};

impl Destination {
    pub(super) fn resolve(&mut self, now: Instant) {
        let Some(url) = &self.url else { return };
        self.attempts = self.attempts.saturating_add(1);
        let (host, port) = (url.host().to_owned(), url.port());
        self.outputs
            .push_back(DestinationOutput::Resolve { host, port });
        let until = now + Duration::from_millis(RESOLVE_TIMEOUT_MS);
        self.enter(now, Phase::Resolving { until });
    }

    /// Connects to the first address that the operator's rules permit.
    pub(super) fn pick(&mut self, now: Instant, addresses: &[SocketAddr]) {
        let permitted = addresses.iter().copied();
        let permitted: VecDeque<SocketAddr> = permitted
            .filter(|address| self.rules.permit(address.ip()))
            .take(ADDRESSES_MAX)
            .collect();
        match addresses.first() {
            Some(first) if permitted.is_empty() => self.forbidden(now, first.ip()),
            _ => self.connect(now, permitted, None),
        }
    }

    fn connect(
        &mut self,
        now: Instant,
        mut addresses: VecDeque<SocketAddr>,
        refusal: Option<String>,
    ) {
        let (Some(address), Some(url)) = (addresses.pop_front(), &self.url) else {
            return;
        };
        let tls = url.is_tls().then(|| url.host().to_owned());
        let timeout_ms = CONNECT_TIMEOUT_MS + tls.as_ref().map_or(0, |_| TLS_TIMEOUT_MS);
        self.outputs
            .push_back(DestinationOutput::Connect { address, tls });
        self.enter(
            now,
            Phase::Connecting {
                until: now + Duration::from_millis(timeout_ms),
                address,
                others: addresses,
                refusal,
            },
        );
    }

    /// What is said when nothing has come of a connection in time.
    pub(super) fn no_answer(&self) -> &'static str {
        if self.url.as_ref().is_some_and(super::RtmpUrl::is_tls) {
            "no answer to the connection attempt, or none to the TLS handshake: check host and \
             port, and write rtmp:// if that port speaks plain RTMP"
        } else {
            "no answer to the connection attempt"
        }
    }

    /// The first address that a person has to look at decides, in whichever order they were tried:
    /// that another is only away for a moment makes no certificate right.
    pub(super) fn next_address(&mut self, now: Instant, reason: &str, heals: bool) {
        let Phase::Connecting {
            address,
            others,
            refusal,
            ..
        } = &mut self.phase
        else {
            return;
        };
        let words = format!("no connection to {address}: {reason}");
        let (others, mut refusal) = (std::mem::take(others), refusal.take());
        if !heals {
            refusal.get_or_insert_with(|| words.clone());
        }
        if others.is_empty() {
            let heals = refusal.is_none();
            self.unreachable(now, refusal.unwrap_or(words), heals);
        } else {
            self.outputs
                .push_back(DestinationOutput::Close(Close::Abort));
            self.connect(now, others, refusal);
        }
    }

    pub(super) fn connected(&mut self, now: Instant) {
        let (Phase::Connecting { address, .. }, Some(url)) = (&self.phase, &self.url) else {
            return;
        };
        let address = *address;
        let config = self.platform.publish_config();
        let mut client = Box::new(PublishClient::new(url, config));
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
                Some(_) => {}
                None => return,
            }
        }
    }

    fn open(&mut self, now: Instant) {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Opening { client, .. } => {
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
mod tests {
    use std::rc::Rc;

    use shardcast_link::{DestinationId, WantedDestination};

    use super::*;
    use crate::{
        destination::AddressRules,
        io::TcpEvent,
        limits::{DESTINATION_FLOODED_BYTES, REFUSED_DELAY_MS_MIN},
        rtmp::{ServerConfig, ServerOutput, ServerSession},
    };

    /// A destination that is on air, with these addresses.
    fn connecting(now: Instant, addresses: &[&str]) -> Destination {
        let id = DestinationId("one".to_owned());
        let wanted = WantedDestination::new(id, "rtmp://host.example/app/key".to_owned());
        let rules = Rc::new(AddressRules::default());
        let mut destination = Destination::new(now, &wanted, rules, 7);
        destination.set_on_air(now, true);
        let addresses = addresses.iter().map(|address| address.parse().unwrap());
        destination.resolved(now, Ok(addresses.collect()));
        destination
    }

    fn closes(destination: &mut Destination) -> usize {
        let outputs = std::iter::from_fn(|| destination.poll());
        outputs
            .filter(|output| matches!(output, DestinationOutput::Close(_)))
            .count()
    }

    fn message(destination: &Destination) -> &str {
        &destination.last_problem.as_ref().unwrap().message
    }

    #[test]
    fn the_address_that_a_person_has_to_look_at_decides_in_either_order() {
        for heals in [[true, false], [false, true], [false, false]] {
            let now = Instant::now();
            let mut destination = connecting(now, &["192.0.2.1:443", "192.0.2.2:443"]);
            for (heals, reason) in heals.into_iter().zip(["reason one", "reason two"]) {
                let reason = reason.to_owned();
                destination.tcp(now, TcpEvent::Closed { reason, heals });
            }
            let wanted = if heals[0] {
                "no connection to 192.0.2.2:443: reason two"
            } else {
                "no connection to 192.0.2.1:443: reason one"
            };
            assert_eq!(message(&destination), wanted);
            let seldom = now + Duration::from_millis(REFUSED_DELAY_MS_MIN);
            assert!(destination.next_timeout() >= Some(seldom), "{heals:?}");
        }
    }

    #[test]
    fn addresses_that_are_only_away_are_tried_again_at_once() {
        let now = Instant::now();
        let mut destination = connecting(now, &["192.0.2.1:443", "192.0.2.2:443"]);
        for _ in 0..2 {
            let reason = "refused".to_owned();
            let heals = true;
            destination.tcp(now, TcpEvent::Closed { reason, heals });
        }
        assert_eq!(destination.next_timeout(), Some(now));
    }

    #[test]
    fn a_flooded_connection_on_which_the_server_also_errs_fails_once() {
        let now = Instant::now();
        let mut destination = connecting(now, &["192.0.2.1:1935"]);
        destination.tcp(now, TcpEvent::Connected);
        let mut server = ServerSession::new(ServerConfig::default());
        while let Some(output) = destination.poll() {
            let DestinationOutput::Write(slices) = output else {
                continue;
            };
            slices
                .iter()
                .for_each(|slice| server.handle(slice).unwrap());
            while let Some(output) = server.poll() {
                match output {
                    ServerOutput::Send(bytes) => {
                        destination.tcp(now, TcpEvent::Received(&bytes));
                    }
                    ServerOutput::Publish { .. } => server.accept_publish(),
                    _ => {}
                }
            }
        }
        let Phase::Open { feed, .. } = &mut destination.phase else {
            panic!("{:?}", destination.phase);
        };
        feed.progress.written(now, DESTINATION_FLOODED_BYTES + 1);

        let message_of_16_mb = [9, 0, 0, 0, 0xFF, 0xFF, 0xFF, 9, 0, 0, 0, 0];
        destination.tcp(now, TcpEvent::Received(&message_of_16_mb));
        assert_eq!(destination.backoff.failures(), 1);
        assert_eq!(closes(&mut destination), 1);
        assert!(message(&destination).contains("does not take them"));
    }
}
