//! Carries out the schedule: what the operator does, and the fault modes of hosts.

use shardcast_core::io::{ConnId, Input};
use shardcast_link::{Command, DestinationId, RetryPolicy, VideoSettings, WantedDestination};

use super::{
    consumer_plan::ConsumerEvent,
    expected_state::ExpectedState,
    plan::{Finale, Onset, ScheduledEvent},
    trace::note,
    world::{SimEvent, Verdict, World},
};
use crate::rtmp_server::{Failure, FaultMode};

impl World {
    pub(super) fn scheduled(&mut self, event: ScheduledEvent) -> Verdict {
        if self.publisher.is_over() {
            return Ok(());
        }
        note!(self, "{event:?}");
        match event {
            ScheduledEvent::Publish(plan) => self.publish(plan),
            ScheduledEvent::Lose => self.lose_publisher(),
            ScheduledEvent::Stop => self.stop_publisher(),
            ScheduledEvent::Mode { host, mode, onset } => self.set_mode(host, mode, onset),
            ScheduledEvent::Moves { host } => {
                self.hosts[host].version += 1;
                Ok(())
            }
            ScheduledEvent::Add(destination) => self.add(destination),
            ScheduledEvent::Remove(destination) => self.remove(&id_of(destination)),
            ScheduledEvent::Readdress(destination) => self.readdress(destination),
            ScheduledEvent::Policy(destination, policy) => self.policy(destination, policy),
            ScheduledEvent::Slate(plan) => self.slate(plan),
            ScheduledEvent::Video(destination, settings) => self.set_video(destination, settings),
            ScheduledEvent::Encoder(change) => {
                self.encoder(change);
                Ok(())
            }
            ScheduledEvent::Consumer(event) => match event {
                ConsumerEvent::Record(plan) => self.set_recording(plan),
                ConsumerEvent::Disk(mode) => self.set_disk(mode),
                ConsumerEvent::Package(hls) => self.set_hls(hls),
            },
            ScheduledEvent::Repeat => {
                // Without a broadcast it would not be the same again.
                self.idle = self.view().has_broadcast();
                self.want()?;
                self.idle = false;
                Ok(())
            }
            ScheduledEvent::Forget => self.forget(),
        }
    }

    /// Control sends all that it wants of the broadcast.
    pub(super) fn want(&mut self) -> Verdict {
        let broadcast = self.wanted.clone();
        self.handle(Input::Command(Command::Want { broadcast }))
    }

    fn add(&mut self, destination: usize) -> Verdict {
        let id = id_of(destination);
        if self.expected.contains_key(&id) {
            return Ok(());
        }
        let policy = self.plan.policies[destination];
        let picture = self.plan.settings[destination];
        let host = destination + 1;
        self.wanted.destinations.push(WantedDestination {
            retry: policy,
            video: picture,
            ..WantedDestination::new(DestinationId(id.clone()), self.url(host, &id))
        });
        let expected = ExpectedState::new(self.now, host, policy, picture);
        self.expected.insert(id, expected);
        self.want()
    }

    fn url(&self, host: usize, key: &str) -> String {
        let scheme = if self.plan.tls[host] { "rtmps" } else { "rtmp" };
        format!("{scheme}://host{host}.example/app/{key}")
    }

    fn remove(&mut self, id: &str) -> Verdict {
        let Some(expected) = self.expected.remove(id) else {
            return Ok(());
        };
        self.tally.count(removed_while(&expected));
        self.wanted.destinations.retain(|each| each.id.0 != id);
        self.end_requested = true;
        self.want()?;
        self.assert_gone(id)
    }

    /// To the host that no other destination uses, or back, under another key.
    fn readdress(&mut self, destination: usize) -> Verdict {
        let id = id_of(destination);
        let Some(expected) = self.expected.get_mut(&id) else {
            return Ok(());
        };
        let host = if expected.host == 0 {
            destination + 1
        } else {
            0
        };
        let policy = expected.policy;
        *expected = ExpectedState::new(self.now, host, policy, expected.settings);
        self.tally.count("URL changed");
        let url = self.url(host, &format!("{id}-at-{}", self.wanted.destinations.len()));
        for each in &mut self.wanted.destinations {
            if each.id.0 == id {
                each.url.clone_from(&url);
            }
        }
        self.end_requested = true;
        self.want()
    }

    fn policy(&mut self, destination: usize, policy: RetryPolicy) -> Verdict {
        let id = id_of(destination);
        let Some(expected) = self.expected.get_mut(&id) else {
            return Ok(());
        };
        expected.set_policy(policy);
        for each in &mut self.wanted.destinations {
            if each.id.0 == id {
                each.retry = policy;
            }
        }
        self.want()
    }

    /// The operator changes the video settings of a destination.
    fn set_video(&mut self, destination: usize, settings: VideoSettings) -> Verdict {
        let id = id_of(destination);
        let Some(expected) = self.expected.get_mut(&id) else {
            return Ok(());
        };
        expected.settings = settings;
        expected.settings_since = self.now;
        for conn in self.conns.values_mut() {
            if conn.open && conn.owner == id {
                conn.allow(settings.reencode);
            }
        }
        for each in &mut self.wanted.destinations {
            if each.id.0 == id {
                each.video = settings;
            }
        }
        self.tally.count("video settings changed");
        self.want()
    }

    fn forget(&mut self) -> Verdict {
        self.tally.count("broadcast taken away");
        self.expected.clear();
        self.wanted.destinations.clear();
        self.wanted.slate = None;
        self.forget_publisher();
        self.end_requested = true;
        let broadcast = self.wanted.id.clone();
        self.handle(Input::Command(Command::Forget { broadcast }))
    }

    pub(super) fn finale(&mut self) -> Verdict {
        note!(self, "{:?}", self.plan.finale);
        for expected in self.expected.values() {
            self.tally.add("retries", expected.attempts());
            self.tally.count(match expected.back_ms {
                Some(0..1_000) => "back within a second",
                Some(1_000..10_000) => "back within ten seconds",
                Some(10_000..60_000) => "back within a minute",
                Some(_) => "back later",
                None => "was never away, or given up",
            });
        }
        match self.plan.finale {
            Finale::Forget => {}
            Finale::RemoveEach => {
                let ids: Vec<String> = self.expected.keys().cloned().collect();
                for id in ids {
                    self.remove(&id)?;
                }
            }
            Finale::Stop => self.stop_publisher()?,
        }
        self.forget()?;
        self.publisher.close();
        // At once: a deadline that is left would pass by before the end.
        self.assert_nothing_is_left()
    }

    fn set_mode(&mut self, host: usize, mode: FaultMode, onset: Onset) -> Verdict {
        self.hosts[host].mode = mode;
        let there: Vec<ConnId> = self
            .conns
            .iter()
            .filter(|(_, conn)| conn.open && conn.host == host && !conn.wire.cut)
            .map(|(id, _)| *id)
            .collect();
        for id in there {
            let crawls = matches!(self.conns[&id].server.mode, FaultMode::Crawls(_));
            match onset {
                Onset::Vanishes => self.fails(id, Failure::Cut)?,
                Onset::Spares if mode == FaultMode::Well && !crawls => self.mend(id)?,
                Onset::Spares if mode != FaultMode::Well => {}
                Onset::Spares | Onset::Resets => self.closes(id, "connection reset by peer"),
            }
        }
        Ok(())
    }

    pub(super) fn closes(&mut self, conn: ConnId, reason: &'static str) {
        let one_way = self.conns[&conn].wire.path.one_way;
        self.after(
            one_way,
            SimEvent::Closed {
                conn,
                reason,
                retryable: true,
            },
        );
    }

    /// Nothing of a destination that was removed is left, whatever it was doing.
    fn assert_gone(&self, id: &str) -> Verdict {
        if self
            .conns
            .values()
            .any(|conn| conn.open && conn.owner == id)
        {
            return Err(format!("{id} was removed and its connection is open"));
        }
        Ok(())
    }
}

fn id_of(destination: usize) -> String {
    format!("d{destination}")
}

/// For the count: removal has to work from every state.
fn removed_while(expected: &ExpectedState) -> &'static str {
    use shardcast_link::DestinationState::{
        BackingOff, Connecting, Ended, Failed, Handshaking, Idle, Publishing, Resolving,
    };
    match expected.state {
        Idle => "removed while idle",
        Resolving => "removed while resolving",
        Connecting => "removed while connecting",
        Handshaking => "removed while handshaking",
        Publishing => "removed while publishing",
        BackingOff => "removed while backing off",
        Ended => "removed while ended",
        Failed => "removed after it gave up",
        _ => "removed while live",
    }
}
