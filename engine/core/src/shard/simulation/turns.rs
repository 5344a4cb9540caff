//! What the operator does and what befalls servers.

use shardcast_link::{Command, DestinationId, RetryPolicy, WantedDestination, WantedPicture};

use super::{
    ledger::Entry,
    plan::{Finale, Mood, Onset, Turn},
    server::Doom,
    trace::note,
    world::{Happening, Verdict, World},
};
use crate::io::{ConnId, Input};

impl World {
    pub(super) fn turn(&mut self, turn: Turn) -> Verdict {
        if self.stage.is_over() {
            return Ok(());
        }
        note!(self, "{turn:?}");
        match turn {
            Turn::Publish(plan) => self.publish(plan),
            Turn::Lose => self.lose_publisher(),
            Turn::Stop => self.stop_publisher(),
            Turn::Mood { site, mood, onset } => self.mood(site, mood, onset),
            Turn::Moves { site } => {
                self.sites[site].version += 1;
                Ok(())
            }
            Turn::Add(destination) => self.add(destination),
            Turn::Remove(destination) => self.remove(&id_of(destination)),
            Turn::Readdress(destination) => self.readdress(destination),
            Turn::Policy(destination, policy) => self.policy(destination, policy),
            Turn::Slate(plan) => self.slate(plan),
            Turn::Wish(destination, wish) => self.wish(destination, wish),
            Turn::Encoder(change) => {
                self.encoder(change);
                Ok(())
            }
            Turn::Repeat => {
                // Without a broadcast it would not be the same again.
                self.idle = self.key().is_some();
                self.want()?;
                self.idle = false;
                Ok(())
            }
            Turn::Forget => self.forget(),
        }
    }

    /// Control says what it wants, as a whole.
    pub(super) fn want(&mut self) -> Verdict {
        let broadcast = self.wanted.clone();
        self.handle(Input::Command(Command::Want { broadcast }))
    }

    fn add(&mut self, destination: usize) -> Verdict {
        let id = id_of(destination);
        if self.entries.contains_key(&id) {
            return Ok(());
        }
        let policy = self.plan.policies[destination];
        let picture = self.plan.wishes[destination];
        let site = destination + 1;
        self.wanted.destinations.push(WantedDestination {
            retry: policy,
            picture,
            ..WantedDestination::new(DestinationId(id.clone()), self.url(site, &id))
        });
        let entry = Entry::new(self.now, site, policy, picture);
        self.entries.insert(id, entry);
        self.want()
    }

    fn url(&self, site: usize, key: &str) -> String {
        let scheme = if self.plan.tls[site] { "rtmps" } else { "rtmp" };
        format!("{scheme}://site{site}.example/app/{key}")
    }

    fn remove(&mut self, id: &str) -> Verdict {
        let Some(entry) = self.entries.remove(id) else {
            return Ok(());
        };
        self.tally.count(removed_while(&entry));
        self.wanted.destinations.retain(|each| each.id.0 != id);
        self.wished = true;
        self.want()?;
        self.assert_gone(id)
    }

    /// To the site where nobody else is, or back, under another key.
    fn readdress(&mut self, destination: usize) -> Verdict {
        let id = id_of(destination);
        let Some(entry) = self.entries.get_mut(&id) else {
            return Ok(());
        };
        let site = if entry.site == 0 { destination + 1 } else { 0 };
        let policy = entry.policy;
        *entry = Entry::new(self.now, site, policy, entry.wish);
        self.tally.count("URL changed");
        let url = self.url(site, &format!("{id}-at-{}", self.wanted.destinations.len()));
        for each in &mut self.wanted.destinations {
            if each.id.0 == id {
                each.url.clone_from(&url);
            }
        }
        self.wished = true;
        self.want()
    }

    fn policy(&mut self, destination: usize, policy: RetryPolicy) -> Verdict {
        let id = id_of(destination);
        let Some(entry) = self.entries.get_mut(&id) else {
            return Ok(());
        };
        entry.set_policy(policy);
        for each in &mut self.wanted.destinations {
            if each.id.0 == id {
                each.retry = policy;
            }
        }
        self.want()
    }

    /// The operator wants another picture to be sent.
    fn wish(&mut self, destination: usize, wish: WantedPicture) -> Verdict {
        let id = id_of(destination);
        let Some(entry) = self.entries.get_mut(&id) else {
            return Ok(());
        };
        entry.wish = wish;
        entry.wished_at = self.now;
        for conn in self.conns.values_mut() {
            if conn.open && conn.owner == id {
                conn.wish(wish.reencode);
            }
        }
        for each in &mut self.wanted.destinations {
            if each.id.0 == id {
                each.picture = wish;
            }
        }
        self.tally.count("another picture wanted");
        self.want()
    }

    fn forget(&mut self) -> Verdict {
        self.tally.count("broadcast taken away");
        self.entries.clear();
        self.wanted.destinations.clear();
        self.wanted.slate = None;
        self.forget_publisher();
        self.wished = true;
        let broadcast = self.wanted.id.clone();
        self.handle(Input::Command(Command::Forget { broadcast }))
    }

    pub(super) fn finale(&mut self) -> Verdict {
        note!(self, "{:?}", self.plan.finale);
        for entry in self.entries.values() {
            self.tally.add("retries", entry.attempts());
            self.tally.count(match entry.back_ms {
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
                let ids: Vec<String> = self.entries.keys().cloned().collect();
                for id in ids {
                    self.remove(&id)?;
                }
            }
            Finale::Stop => self.stop_publisher()?,
        }
        self.forget()?;
        self.stage.close();
        Ok(())
    }

    fn mood(&mut self, site: usize, mood: Mood, onset: Onset) -> Verdict {
        self.sites[site].mood = mood;
        let there: Vec<ConnId> = self
            .conns
            .iter()
            .filter(|(_, conn)| conn.open && conn.site == site && !conn.wire.cut)
            .map(|(id, _)| *id)
            .collect();
        for id in there {
            let crawls = matches!(self.conns[&id].mood, Mood::Crawls(_));
            match onset {
                Onset::Vanishes => self.doomed(id, Doom::Cut)?,
                Onset::Spares if mood == Mood::Well && !crawls => self.mend(id)?,
                Onset::Spares if mood != Mood::Well => {}
                Onset::Spares | Onset::Resets => self.closes(id, "connection reset by peer"),
            }
        }
        Ok(())
    }

    pub(super) fn closes(&mut self, conn: ConnId, reason: &'static str) {
        let one_way = self.conns[&conn].wire.path.one_way;
        self.after(
            one_way,
            Happening::Closed {
                conn,
                reason,
                heals: true,
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
        let left = |key: &crate::broadcast::DestinationKey| {
            let mut slots = self.shard.broadcasts.values().flat_map(|each| &each.slots);
            !slots.any(|slot| slot.key == *key)
        };
        let lookups = self.shard.lookups.values();
        if lookups.map(|(_, key)| key).any(left) {
            return Err(format!("{id} was removed and its look-up is waited for"));
        }
        Ok(())
    }
}

fn id_of(destination: usize) -> String {
    format!("d{destination}")
}

/// For the count: removal has to work from every state.
fn removed_while(entry: &Entry) -> &'static str {
    use shardcast_link::DestinationState::{
        BackingOff, Connecting, Ended, Failed, Handshaking, Idle, Publishing, Resolving,
    };
    match entry.state {
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
