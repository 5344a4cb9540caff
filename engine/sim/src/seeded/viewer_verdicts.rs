//! What is promised of viewers: why their sessions end, and when; and that destinations do not notice them.

use shardcast_link::{Event, SessionId, ViewEndReason};

use super::{
    consumer_plan::Beside,
    players,
    trace::{Trace, note},
    viewer_checker::{Terms, ViewerChecker},
    viewer_plan::{Leaving, Manner},
    viewers::{ViewerEvent, Watcher},
    world::{Verdict, World, ms},
};

/// After the end everything that was under way has arrived.
const ARRIVES_MS: u64 = 1_000;

fn index_of(SessionId(name): &SessionId) -> Option<usize> {
    name.strip_prefix('v')?.parse().ok()
}

impl World {
    /// The shard reports something about a viewer or a player.
    pub(super) fn viewer_reported(&mut self, event: Event) -> Verdict {
        match event {
            Event::ViewDescribed { session, sdp, .. } => {
                if let Some(index) = index_of(&session) {
                    self.viewers.list[index].described = Some(Ok(sdp));
                }
            }
            Event::ViewRefused {
                session, refusal, ..
            } => match (index_of(&session), players::index_of(&session.0)) {
                (Some(viewer), _) => self.viewers.list[viewer].described = Some(Err(refusal)),
                (_, Some(player)) => self.player_refused(player, refusal),
                _ => {}
            },
            Event::Viewing { session, .. } => {
                if let Some(index) = index_of(&session) {
                    return self.viewer_connected(index);
                }
            }
            Event::ViewEnded {
                session, reason, ..
            } => match (index_of(&session), players::index_of(&session.0)) {
                (Some(viewer), _) => return self.viewer_ended(viewer, reason),
                (_, Some(player)) => return self.player_ended(player, reason),
                _ => {}
            },
            Event::ViewSwitched { session, height } => {
                note!(self, "viewer {session} is sent {height} lines");
                self.tally.count("viewer sent another rung");
            }
            Event::ViewerReport { .. } => self.tally.count("viewer reported"),
            _ => {}
        }
        Ok(())
    }

    fn viewer_connected(&mut self, index: usize) -> Verdict {
        let now = self.now;
        note!(self, "viewer {index} is connected");
        self.tally.count("viewer connected");
        let viewer = &mut self.viewers.list[index];
        if viewer.connected.replace(now).is_some() || !viewer.is_there() {
            return Err(format!("viewer {index} connects again"));
        }
        viewer.due = viewer.due.filter(|_| viewer.left.is_some());
        Ok(())
    }

    fn viewer_ended(&mut self, index: usize, reason: ViewEndReason) -> Verdict {
        let now = self.now;
        note!(self, "viewer {index} ends: {reason:?}");
        let is_on_air = self.view().is_on_air();
        let may_be_unplayable = self.may_be_unplayable();
        let viewer = &mut self.viewers.list[index];
        if !viewer.is_there() {
            return Err(format!("viewer {index} ends twice"));
        }
        let Watcher { plan, left, .. } = viewer;
        let never_starts = plan.manner == Manner::NeverStarts || left.is_some();
        let vanishes = plan.manner == Manner::Vanishes;
        let is_connected = viewer.connected.is_some();
        let (what, is_right) = match reason {
            ViewEndReason::Requested => (
                "viewer ended on request",
                left.is_some() && plan.leaving == Leaving::Removed,
            ),
            ViewEndReason::BroadcastEnded => ("viewer ended with the broadcast", !is_on_air),
            ViewEndReason::PeerClosed => (
                "viewer ended by its client",
                left.is_some() && is_connected && !vanishes,
            ),
            ViewEndReason::StartTimeout => ("viewer never came", !is_connected && never_starts),
            ViewEndReason::Lost => ("viewer lost", left.is_some() && is_connected && vanishes),
            ViewEndReason::Unplayable => ("viewer ended: video unplayable", may_be_unplayable),
            _ => ("", false),
        };
        if !is_right {
            return Err(format!("viewer {index} ends by {reason:?}"));
        }
        self.tally.count(what);
        viewer.ended = Some(now);
        viewer.due = None;
        self.viewer_later(index, ARRIVES_MS, ViewerEvent::Concludes);
        Ok(())
    }

    /// Destinations are sent the same in a run to which nobody comes.
    pub(super) fn is_same_without_viewers(&mut self, seed: u64) -> Verdict {
        let Some(watched) = self.viewers.all_written() else {
            return Ok(());
        };
        let mut world = Self::new(seed, Trace::default(), Beside::Planned);
        world.viewers.send_away();
        world.players.send_away();
        world.run()?;
        let unwatched = world.viewers.all_written();
        if let Some(difference) = unwatched.and_then(|it| watched.difference(it)) {
            return Err(format!(
                "destinations are sent something else without viewers: {difference}"
            ));
        }
        self.tally.count("run without its viewers");
        Ok(())
    }

    /// What was to have happened by now.
    pub(super) fn check_viewers(&self) -> Verdict {
        let mut dues = self.viewers.list.iter().enumerate();
        let overdue = dues.find_map(|(index, it)| {
            let (_, what) = it.due.filter(|(at, _)| *at < self.now)?;
            Some(format!("viewer {index} {what}"))
        });
        overdue.map_or(Ok(()), Err)
    }

    /// Judges what a viewer has received, now that all of it is there.
    pub(super) fn judge_viewer(&mut self, index: usize) -> Verdict {
        // Of what comes bunched parts may be left out.
        let is_strange = self.publisher.foreign || self.publisher.stalled;
        let viewer = &mut self.viewers.list[index];
        let (Some(client), Some(ended)) = (viewer.client.take(), viewer.ended) else {
            return Ok(());
        };
        let Some(connected) = viewer.connected else {
            return Ok(());
        };
        let plan = &viewer.plan;
        let is_plain = !is_strange && !self.viewers.has_ladder && !plan.is_choosy();
        let hears = !matches!(plan.manner, Manner::Vanishes);
        let until = viewer.left.map_or(ended, |left| left.min(ended));
        let terms = Terms {
            log: &self.viewers.log,
            video_at: &viewer.ledger.video_at,
            first_video: viewer.ledger.first_video(),
            connected,
            until: until.checked_sub(ms(plan.one_way_ms)).unwrap_or(until),
            is_whole: plan.manner == Manner::Well || !hears,
            is_plain: is_plain && viewer.takes_video,
            is_prompt: is_plain,
        };
        let mut checker = ViewerChecker::new(terms);
        let verdict = checker.check(client.packets);
        let (pictures, restarts, switches) = (checker.pictures, checker.restarts, checker.switches);
        let (audio, repeated) = (viewer.ledger.audio_count(), viewer.ledger.repeated_count());
        verdict.map_err(|broken| format!("viewer {index}: {broken}"))?;
        note!(self, "viewer {index} has seen {pictures} pictures");
        self.tally.add("pictures seen by viewers", pictures);
        self.tally.add("viewer went on at a keyframe", restarts);
        self.tally.add("viewer went over to other video", switches);
        self.tally.add("audio sent to viewers", audio);
        self.tally.add("packets sent to viewers again", repeated);
        Ok(())
    }
}
