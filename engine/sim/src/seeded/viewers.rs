//! The viewers of a seeded run: real WebRTC clients over networks that lose, delay and are narrow. Some fall silent, ask
//! for everything again, read nothing or never come. What the shard sends them is judged as it leaves the shard
//! (`viewer_ledger`), and by what they made of it (`viewer_checker`).
//!
//! str0m's keys are random, what it sends when is not: ICE and DTLS are lost by nobody, and what of a stream is lost
//! follows from the number of the packet.

use std::{
    hash::{DefaultHasher, Hasher as _},
    time::{Duration, Instant},
};

use bytes::Bytes;
use shardcast_core::{io::Input, simulation_hook::ShardView};
use shardcast_link::{Command, SessionId, ViewRefusal};

use super::{
    connection::Conn,
    trace::note,
    viewer_checker::UnitLog,
    viewer_ledger::ViewerLedger,
    viewer_network::{FLOOD_PLI_MS, FLOOD_TIMES},
    viewer_plan::{Audience, Leaving, Manner, QUEUE_MS, ViewerPlan, Wish},
    world::{SimEvent, Verdict, World, ms},
};
use crate::{
    bottleneck::{Bottleneck, Way},
    viewer_client::Viewer,
};

/// The port of the first viewer.
pub(super) const PORT: u16 = 10_000;
const START_TIMEOUT_MS: u64 = 10_000;
/// A page asks so long after it was told that there is nothing to watch.
const RETRY_MS: u64 = 1_000;
/// ICE and DTLS take some round trips.
const CONNECTS_MS_MAX: u64 = 3_000;
/// str0m takes a peer for disconnected some time after it was heard last, and 8 s later it is lost.
const LOST_MS_MAX: u64 = 45_000;
/// The kernel of a silent server is asked so often, or a little later.
const LOOKS_APART_MS: u64 = 1_100;
/// An input has its effect at once, but for the way there.
const AT_ONCE_MS: u64 = 100;

/// What happens to a viewer.
#[derive(Debug)]
pub(super) enum ViewerEvent {
    Comes,
    /// Its answer is at the shard.
    Answers(String),
    /// A datagram is at the shard, or at the viewer.
    ToShard(Vec<u8>),
    ToViewer(Vec<u8>),
    /// Its client wants the time.
    Wakes,
    Wishes(Wish),
    AsksForKeyframe,
    Leaves,
    /// All that was under way is there.
    Concludes,
}

/// One viewer.
#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) plan: ViewerPlan,
    pub(super) client: Option<Viewer>,
    pub(super) ledger: ViewerLedger,
    pub(super) way: Option<Bottleneck<()>>,
    /// What the shard has said to its wish to watch.
    pub(super) described: Option<Result<String, ViewRefusal>>,
    pub(super) connected: Option<Instant>,
    /// It has left, or was sent away.
    pub(super) left: Option<Instant>,
    pub(super) ended: Option<Instant>,
    /// Something is to have happened by then, or the run is broken.
    pub(super) due: Option<(Instant, &'static str)>,
    pub(super) wakes_at: Option<Instant>,
    pub(super) takes_video: bool,
}

/// What was written to a destination at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    since_start: Duration,
    owner: String,
    bytes: usize,
    hash: u64,
}

/// What destinations were written, up to where that is to be the same without viewers.
#[derive(Debug, Default)]
pub(super) struct AllWritten {
    list: Vec<Written>,
    /// A server that is silent was given up so long after the start.
    given_up: Option<Duration>,
}

impl AllWritten {
    /// What is another here than in `other`.
    pub(super) fn difference(&self, other: &Self) -> Option<String> {
        let apart = match (self.given_up, other.given_up) {
            (Some(one), Some(other)) => one.abs_diff(other),
            (None, None) if self.list.len() != other.list.len() => Duration::MAX,
            (None, None) => Duration::ZERO,
            _ => Duration::MAX,
        };
        let mut pairs = self.list.iter().zip(&other.list);
        let first = pairs.find(|(one, other)| one != other);
        if apart <= ms(LOOKS_APART_MS) && first.is_none() {
            return None;
        }
        let (one, other) = (self.given_up, other.given_up);
        Some(format!("{first:?}, given up at {one:?} and {other:?}"))
    }
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Viewers {
    pub(super) list: Vec<Watcher>,
    pub(super) log: UnitLog,
    /// Of the next unit of the ring that is to be put down.
    logged: u64,
    pub(super) has_ladder: bool,
    /// Everything that was written to destinations, if it is to be the same without viewers.
    written: Option<AllWritten>,
}

impl Watcher {
    fn new(plan: ViewerPlan, has_ladder: bool) -> Self {
        let way = match plan.manner {
            Manner::Narrow(rate_bps) => Some(Way {
                rate_bps,
                queue: ms(QUEUE_MS),
                delay: ms(plan.one_way_ms),
                loss_permille: 0,
                burst: 1,
            }),
            _ => None,
        };
        Self {
            way: way.map(|way| Bottleneck::new(way, plan.seed)),
            plan,
            client: None,
            ledger: ViewerLedger::new(has_ladder),
            described: None,
            connected: None,
            left: None,
            ended: None,
            due: None,
            wakes_at: None,
            takes_video: false,
        }
    }

    /// A session of it is at the shard.
    pub(super) fn is_there(&self) -> bool {
        matches!(self.described, Some(Ok(_))) && self.ended.is_none()
    }
}

impl Viewers {
    pub(super) fn new(audience: &Audience) -> Self {
        let has_ladder = !audience.ladder.is_empty();
        let viewers = audience.viewers.iter();
        Self {
            list: viewers
                .map(|plan| Watcher::new(plan.clone(), has_ladder))
                .collect(),
            has_ladder,
            written: audience.is_harmless.then(AllWritten::default),
            ..Self::default()
        }
    }

    /// The same show without anybody who watches.
    pub(super) fn send_away(&mut self) {
        self.list.clear();
    }

    /// What destinations were written, where that is to be the same without viewers.
    pub(super) fn all_written(&self) -> Option<&AllWritten> {
        self.written.as_ref()
    }

    /// A server is given up for its silence. When that is follows from when its kernel was asked, which is done when the
    /// shard is awake for anything, and viewers wake it: what is written from here on may be shifted.
    pub(super) fn given_up(&mut self, since_start: Duration) {
        if let Some(written) = &mut self.written {
            written.given_up.get_or_insert(since_start);
        }
    }

    /// This is written to a destination. Handshakes hold random bytes.
    pub(super) fn written(&mut self, since_start: Duration, conn: &Conn, slices: &[Bytes]) {
        if let Some(AllWritten {
            list,
            given_up: None,
        }) = &mut self.written
        {
            let mut hasher = DefaultHasher::new();
            let media = slices.iter().filter(|_| conn.server.publishing);
            media.for_each(|slice| hasher.write(slice));
            list.push(Written {
                since_start,
                owner: conn.owner.clone(),
                bytes: slices.iter().map(Bytes::len).sum(),
                hash: hasher.finish(),
            });
        }
    }

    /// Whether there are some in this run.
    pub(super) fn are_there(&self) -> bool {
        !self.list.is_empty()
    }

    /// Sessions that are at the shard.
    pub(super) fn open(&self) -> usize {
        self.list.iter().filter(|it| it.is_there()).count()
    }
}

fn session(index: usize) -> SessionId {
    SessionId(format!("v{index}"))
}

impl World {
    /// Each viewer comes at its time.
    pub(super) fn invite_viewers(&mut self) {
        for index in 0..self.viewers.list.len() {
            let at_ms = self.viewers.list[index].plan.at_ms;
            self.viewer_later(index, at_ms, ViewerEvent::Comes);
        }
    }

    pub(super) fn viewer_later(&mut self, index: usize, after_ms: u64, event: ViewerEvent) {
        self.after(ms(after_ms), SimEvent::Viewer(index, event));
    }

    /// Puts down which units are new in the publisher's ring.
    pub(super) fn log_units(&mut self) {
        if !self.viewers.are_there() {
            return;
        }
        let end = self.view().ring_end();
        // Another publisher may have another ring.
        let from = if end < self.viewers.logged {
            0
        } else {
            self.viewers.logged
        };
        for unit in ShardView::of(&self.shard).video_units(from) {
            self.viewers.log.push(self.now, unit);
        }
        self.viewers.logged = end;
    }

    pub(super) fn viewer_event(&mut self, index: usize, event: ViewerEvent) -> Verdict {
        match event {
            ViewerEvent::Comes => self.viewer_comes(index),
            ViewerEvent::Answers(sdp) => self.viewer_answers(index, sdp),
            ViewerEvent::ToShard(datagram) => self.datagram_of_viewer(index, &datagram),
            ViewerEvent::ToViewer(datagram) => {
                let now = self.now;
                if let Some(client) = &mut self.viewers.list[index].client {
                    client.receive(now, &datagram);
                }
                self.drive_viewer(index);
                Ok(())
            }
            ViewerEvent::Wakes => {
                self.viewers.list[index].wakes_at = None;
                self.drive_viewer(index);
                Ok(())
            }
            ViewerEvent::Wishes(wish) => self.viewer_wishes(index, wish),
            ViewerEvent::AsksForKeyframe => {
                self.viewer_floods(index);
                Ok(())
            }
            ViewerEvent::Leaves => self.viewer_leaves(index),
            ViewerEvent::Concludes => self.judge_viewer(index),
        }
    }

    fn viewer_comes(&mut self, index: usize) -> Verdict {
        let now = self.now;
        let viewer = &mut self.viewers.list[index];
        let mut client = Viewer::new(now, PORT + u16::try_from(index).unwrap());
        if viewer.plan.manner == Manner::Floods {
            client.rtcp_times = FLOOD_TIMES;
        }
        let offer = viewer.plan.offers.then(|| client.offer());
        viewer.client = Some(client);
        let Some(sdp) = self.viewer_is_described(index, offer)? else {
            // It comes again later, as a page does.
            self.viewer_later(index, RETRY_MS, ViewerEvent::Comes);
            return Ok(());
        };
        let viewer = &mut self.viewers.list[index];
        let plan = viewer.plan.clone();
        note!(self, "viewer {index} comes: {plan:?}");
        viewer.takes_video = plan.offers || sdp.contains("m=video");
        let client = viewer.client.as_mut().unwrap();
        if plan.offers {
            self.tally.count("viewer came by its own offer");
            client.accept(now, &sdp);
            // It has the answer that much later.
            self.viewer_later(index, plan.answers_ms, ViewerEvent::Wakes);
        } else {
            self.tally.count("viewer came by the shard's offer");
            let answer = client.answer(now, &sdp);
            self.viewer_later(index, plan.answers_ms, ViewerEvent::Answers(answer));
        }
        self.viewer_is_due(index, &plan);
        Ok(())
    }

    /// Control hands on the wish to watch: the shard's description, if there is something to watch.
    fn viewer_is_described(
        &mut self,
        index: usize,
        offer: Option<String>,
    ) -> Result<Option<String>, String> {
        self.viewers.list[index].described = None;
        let is_on_air = self.view().is_on_air();
        self.handle(Input::Command(Command::View {
            session: session(index),
            broadcast: self.wanted.id.clone(),
            offer,
            start_timeout_ms: START_TIMEOUT_MS,
        }))?;
        match self.viewers.list[index].described.clone() {
            Some(Ok(sdp)) if is_on_air => return Ok(Some(sdp)),
            Some(Err(ViewRefusal::NotOnAir)) if !is_on_air => {
                self.tally.count("viewer waits for a publisher");
            }
            Some(Err(ViewRefusal::Unplayable)) if self.may_be_unplayable() => {
                self.tally.count("viewer refused: video unplayable");
            }
            told => {
                let air = if is_on_air { "on" } else { "off" };
                return Err(format!("viewer {index} is told {told:?} {air} air"));
            }
        }
        Ok(None)
    }

    /// What is to come of a viewer that was described.
    fn viewer_is_due(&mut self, index: usize, plan: &ViewerPlan) {
        let (within_ms, or_else) = match plan.manner {
            Manner::NeverStarts => (
                START_TIMEOUT_MS + AT_ONCE_MS,
                "has never come, and is waited for",
            ),
            _ => (plan.answers_ms + CONNECTS_MS_MAX, "does not connect"),
        };
        self.viewers.list[index].due = Some((self.now + ms(within_ms), or_else));
        for (after_ms, wish) in &plan.wishes {
            self.viewer_later(index, *after_ms, ViewerEvent::Wishes(*wish));
        }
        if plan.manner == Manner::Floods {
            self.viewer_later(index, FLOOD_PLI_MS, ViewerEvent::AsksForKeyframe);
        }
        if plan.manner != Manner::NeverStarts {
            self.viewer_later(index, plan.stays_ms, ViewerEvent::Leaves);
        }
    }

    /// Somebody publishes a codec that browsers do not take, and a rendition of it may be refused or fail.
    pub(super) fn may_be_unplayable(&self) -> bool {
        let codecs = self.plan.transcoders;
        self.publisher.foreign && !(codecs.is_ample() && codecs.fails_percent == 0)
    }

    fn viewer_answers(&mut self, index: usize, sdp: String) -> Verdict {
        let session = session(index);
        self.handle(Input::Command(Command::ViewAnswer { session, sdp }))?;
        self.drive_viewer(index);
        Ok(())
    }

    fn viewer_wishes(&mut self, index: usize, wish: Wish) -> Verdict {
        if !self.viewers.list[index].is_there() {
            return Ok(());
        }
        note!(self, "viewer {index} wishes {wish:?}");
        let session = session(index);
        let command = match wish {
            Wish::Height(height) => {
                self.tally.count("viewer asks for a height");
                Command::ViewQuality { session, height }
            }
            Wish::Video(video) => {
                self.tally.count("viewer wants video or none");
                let audio = true;
                Command::ViewTracks {
                    session,
                    video,
                    audio,
                }
            }
        };
        self.handle(Input::Command(command))
    }

    fn viewer_leaves(&mut self, index: usize) -> Verdict {
        let now = self.now;
        let viewer = &mut self.viewers.list[index];
        if !viewer.is_there() {
            return Ok(());
        }
        viewer.left = Some(now);
        let client = viewer.client.as_mut().unwrap();
        let (manner, leaving) = (viewer.plan.manner, viewer.plan.leaving);
        note!(self, "viewer {index} leaves");
        if leaving == Leaving::Removed && manner != Manner::Vanishes {
            self.tally.count("viewer removed");
            let session = session(index);
            self.handle(Input::Command(Command::EndView { session }))?;
            return match self.viewers.list[index].is_there() {
                true => Err(format!("viewer {index} was removed and is there")),
                false => Ok(()),
            };
        }
        let until_ms = if manner == Manner::Vanishes || viewer.connected.is_none() {
            client.dead = true;
            self.tally.count("viewer vanished");
            LOST_MS_MAX
        } else {
            client.close(now);
            self.tally.count("viewer closed its page");
            viewer.plan.one_way_ms + AT_ONCE_MS
        };
        viewer.due = Some((
            now + ms(until_ms),
            "has left, and its session has not ended",
        ));
        self.drive_viewer(index);
        Ok(())
    }
}
