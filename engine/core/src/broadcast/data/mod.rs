//! Messages between the publisher and the viewers of a broadcast, over data channels, and from REST to all of
//! them.
//!
//! ```text
//!  publisher ──┐                        ┌──► viewer (its place in the log)
//!  viewer ─────┼─► Sender ─► Log ───────┼──► viewer
//!  REST ───────┘   (limits)  (bounded)  └──► publisher
//! ```
//!
//! Messages are kept once, in a log, and each client has a place in it. One that reads nothing costs what its own
//! channel buffers; it loses what falls out of the log, and is told so. Messages are delivered in turns that are
//! paced, behind destinations and media.

mod log;
mod reports;
mod sender;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use shardcast_link::{DataFromViewers, DataSender, DataStatus};

use self::{
    log::{Audience, Log, Message, Place},
    reports::Reports,
    sender::{Part, Sender},
};
use super::Broadcast;
use crate::{
    bucket::Bucket,
    context::{Context, TimerKey},
    ids::SessionKey,
    limits::{
        DATA_FAN_OUT, DATA_FAN_OUT_BYTES_MAX, DATA_LARGE_BYTES_MAX, DATA_NOTICE_MS,
        DATA_TURN_BYTES, DATA_TURN_MS,
    },
    webrtc::data_channel::{DataEvent, Written},
};

/// What a message costs beside its bytes.
const MESSAGE_COST_BYTES: usize = 64;

/// A client whose data channel is open.
#[derive(Debug)]
struct Peer {
    place: Place,
    sender: Sender,
    /// What it has to be told before it is sent more.
    notice: Option<String>,
    noticed: Option<Instant>,
    /// It is in the queue of those that are sent something.
    is_ready: bool,
}

#[derive(Debug)]
pub(super) struct Data {
    log: Log,
    peers: BTreeMap<SessionKey, Peer>,
    /// Viewers whose media flows and whose channel has not opened yet, each with the place from which on messages
    /// are for it.
    awaited: BTreeMap<SessionKey, Place>,
    /// Peers that may be sent something, each once, in the order of their turns.
    ready: VecDeque<SessionKey>,
    /// No message is written earlier.
    next_turn: Option<Instant>,
    /// What delivering may cost, by the publisher's messages and by those of all viewers.
    of_publisher: Bucket,
    of_viewers: Bucket,
    reports: Reports,
    status: DataStatus,
}

/// What one client is written.
struct Next {
    is_notice: bool,
    binary: bool,
    payload: Arc<[u8]>,
}

/// Who sends a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Publisher,
    Viewer(DataFromViewers),
}

impl Data {
    pub(super) fn new() -> Self {
        Self {
            log: Log::default(),
            peers: BTreeMap::new(),
            awaited: BTreeMap::new(),
            ready: VecDeque::new(),
            next_turn: None,
            of_publisher: Bucket::new(DATA_FAN_OUT),
            of_viewers: Bucket::new(DATA_FAN_OUT),
            reports: Reports::new(),
            status: DataStatus::default(),
        }
    }

    pub(super) fn status(&self) -> DataStatus {
        DataStatus {
            unreported: self.reports.left_out,
            ..self.status
        }
    }

    /// A viewer watches. Its channel opens some round trips later; what is sent meanwhile waits for it in the log.
    pub(super) fn watches(&mut self, key: SessionKey) {
        self.awaited.insert(key, Place::at_end(&self.log));
    }

    fn opened(&mut self, publisher: bool, key: SessionKey) {
        let place = self.awaited.remove(&key);
        let peer = Peer {
            place: place.unwrap_or_else(|| Place::at_end(&self.log)),
            sender: Sender::new(publisher),
            notice: None,
            noticed: None,
            is_ready: false,
        };
        self.peers.insert(key, peer);
        self.make_ready(key);
    }

    pub(super) fn closed(&mut self, key: SessionKey) {
        self.peers.remove(&key);
        self.awaited.remove(&key);
    }

    /// What is older than a client has to read it in goes.
    pub(super) fn tick(&mut self, now: Instant) {
        self.log.expire(now);
    }

    /// Takes a message of `key`; `origin` is `None` where data channels are off. Gives it back if it was taken.
    fn receive(
        &mut self,
        now: Instant,
        key: SessionKey,
        origin: Option<Origin>,
        (binary, payload): (bool, Vec<u8>),
    ) -> Option<Arc<[u8]>> {
        let others = self.peers.len().saturating_sub(1);
        let peer = self.peers.get_mut(&key)?;
        let seq = self.log.end();
        let part = peer.sender.part(binary, &payload);
        let bytes = match part {
            Part::Chunk(None) => return None,
            Part::Chunk(Some(head)) => {
                let (to, payload) = (audience(origin), Arc::from(payload));
                self.push(now, Some(key), to, (binary, Arc::clone(&payload)), head);
                return Some(payload);
            }
            Part::Head { bytes, .. } => bytes as usize,
            Part::Whole => payload.len(),
        };
        let admitted = match origin {
            None => Err("data channels are off for this application".to_owned()),
            Some(Origin::Viewer(DataFromViewers::None)) => {
                Err("this application takes no messages of viewers".to_owned())
            }
            Some(_) if !peer.sender.may_send(now) => {
                Err("there are too many messages: send fewer a second".to_owned())
            }
            Some(Origin::Publisher) => may_cost(now, &mut self.of_publisher, bytes, others),
            Some(Origin::Viewer(DataFromViewers::Publisher)) => {
                may_cost(now, &mut self.of_viewers, bytes, 1)
            }
            Some(Origin::Viewer(_)) => may_cost(now, &mut self.of_viewers, bytes, others),
        };
        if let Part::Head { token, bytes } = part {
            peer.sender
                .begin(token, bytes, admitted.is_ok().then_some(seq));
        }
        match admitted {
            Ok(()) => {
                let (to, payload) = (audience(origin), Arc::from(payload));
                self.push(now, Some(key), to, (binary, Arc::clone(&payload)), seq);
                Some(payload)
            }
            Err(why) => {
                self.status.refused += 1;
                // The reasons are ours: nothing in them needs an escape.
                let text = format!(r#"{{"eventType":"DATA_REFUSED","reason":"{why}"}}"#);
                self.notify(now, key, text);
                None
            }
        }
    }

    fn push(
        &mut self,
        now: Instant,
        from: Option<SessionKey>,
        to: Audience,
        (binary, payload): (bool, Arc<[u8]>),
        head: u64,
    ) {
        self.status.received += 1;
        let message = Message {
            binary,
            payload,
            from,
            to,
            head,
            at: now,
        };
        self.log.push(message);
        for (key, peer) in &mut self.peers {
            if Some(*key) != from && !std::mem::replace(&mut peer.is_ready, true) {
                self.ready.push_back(*key);
            }
        }
    }

    /// Tells a client, unless it was just told something.
    fn notify(&mut self, now: Instant, key: SessionKey, text: String) {
        let apart = Duration::from_millis(DATA_NOTICE_MS);
        let recently = |at: Instant| now.saturating_duration_since(at) < apart;
        if let Some(peer) = self.peers.get_mut(&key)
            && !peer.noticed.is_some_and(recently)
        {
            peer.noticed = Some(now);
            peer.notice = Some(text);
        }
        self.make_ready(key);
    }

    /// The client may take more than before.
    fn make_ready(&mut self, key: SessionKey) {
        if let Some(peer) = self.peers.get_mut(&key)
            && (peer.notice.is_some() || peer.place.is_behind(&self.log))
            && !std::mem::replace(&mut peer.is_ready, true)
        {
            self.ready.push_back(key);
        }
    }

    fn next_ready(&mut self) -> Option<SessionKey> {
        let key = self.ready.pop_front()?;
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.is_ready = false;
        }
        Some(key)
    }

    /// What `key` is to be sent next.
    fn next_for(&mut self, key: SessionKey, is_publisher: bool) -> Option<Next> {
        let peer = self.peers.get_mut(&key)?;
        let lost = peer.place.catch_up(&self.log);
        if lost > 0 {
            self.status.lost += lost;
            let why = "your connection took messages too slowly; some are left out";
            peer.notice = Some(format!(
                r#"{{"eventType":"DATA_LOST","messages":{lost},"reason":"{why}"}}"#
            ));
        }
        if let Some(notice) = &peer.notice {
            return Some(Next {
                is_notice: true,
                binary: false,
                payload: notice.as_bytes().into(),
            });
        }
        let message = peer.place.next(&self.log, key, is_publisher)?;
        Some(Next {
            is_notice: false,
            binary: message.binary,
            payload: Arc::clone(&message.payload),
        })
    }

    /// It was sent.
    fn sent(&mut self, key: SessionKey, is_notice: bool) {
        if let Some(peer) = self.peers.get_mut(&key) {
            if is_notice {
                peer.notice = None;
            } else {
                peer.place.step();
                self.status.delivered += 1;
            }
            self.make_ready(key);
        }
    }
}

fn audience(origin: Option<Origin>) -> Audience {
    match origin {
        Some(Origin::Viewer(DataFromViewers::Publisher)) => Audience::Publisher,
        _ => Audience::Everybody,
    }
}

/// Whether `bucket` has what it costs to send `bytes` to so many; it is taken from it then.
fn may_cost(
    now: Instant,
    bucket: &mut Bucket,
    bytes: usize,
    recipients: usize,
) -> Result<(), String> {
    if bytes > DATA_LARGE_BYTES_MAX {
        let most = DATA_LARGE_BYTES_MAX >> 20;
        return Err(format!("the message is over {most} MiB"));
    }
    let cost = bytes.saturating_mul(recipients);
    if cost > DATA_FAN_OUT_BYTES_MAX {
        let most = DATA_FAN_OUT_BYTES_MAX / recipients.max(1);
        return Err(format!(
            "the message is over {most} bytes, the most for {recipients} clients: send them a link"
        ));
    }
    if !bucket.take(now, cost as u64) {
        return Err("the messages of this broadcast are too many bytes a second".to_owned());
    }
    Ok(())
}

impl Broadcast {
    /// Takes what happens to the data channel of one of its sessions.
    pub(super) fn data_event(&mut self, ctx: &mut Context, key: SessionKey, event: DataEvent) {
        let is_viewer = self.viewers.contains(key);
        match event {
            DataEvent::Opened => self.data.opened(!is_viewer, key),
            DataEvent::Closed => self.data.closed(key),
            // The media of another session is used.
            DataEvent::Received { .. } if !is_viewer && !self.publishes(key) => {}
            DataEvent::Received { binary, payload } => {
                let settings = self.wanted.data;
                let origin = if is_viewer {
                    Origin::Viewer(settings.from_viewers)
                } else {
                    Origin::Publisher
                };
                let origin = settings.is_enabled.then_some(origin);
                let message = (binary, payload);
                let taken = self.data.receive(ctx.now, key, origin, message);
                if let Some(payload) = taken.filter(|_| settings.reported) {
                    let sender = match is_viewer {
                        true => DataSender::Viewer,
                        false => DataSender::Publisher,
                    };
                    let id = &self.wanted.id;
                    self.data.reports.report(ctx, id, sender, binary, &payload);
                }
            }
        }
        self.data_due(ctx);
    }

    /// Sends a text to the publisher and all viewers.
    pub(crate) fn send_data(&mut self, ctx: &mut Context, text: &str) {
        if self.wanted.data.is_enabled {
            let message = (false, text.as_bytes().into());
            let head = self.data.log.end();
            self.data
                .push(ctx.now, None, Audience::Everybody, message, head);
            self.data_due(ctx);
        }
    }

    /// A datagram of a session has come: it may have taken what it was sent.
    pub(super) fn data_may_go_on(&mut self, ctx: &mut Context, key: SessionKey) {
        self.data.make_ready(key);
        self.data_due(ctx);
    }

    fn data_due(&mut self, ctx: &mut Context) {
        if !self.data.ready.is_empty() {
            let at = self.data.next_turn.map_or(ctx.now, |at| at.max(ctx.now));
            ctx.timers.bring_forward(TimerKey::Data(self.key), at);
        }
    }

    /// One turn: writes what is due, up to its bytes.
    pub(crate) fn deliver_data(&mut self, ctx: &mut Context) {
        let mut written = 0;
        while written < DATA_TURN_BYTES
            && let Some(key) = self.data.next_ready()
        {
            let is_publisher = self.publishes(key);
            let Some(next) = self.data.next_for(key, is_publisher) else {
                continue;
            };
            let (binary, payload) = (next.binary, next.payload);
            match self.write_data(ctx, key, binary, &payload) {
                Written::Taken => {
                    written += payload.len() + MESSAGE_COST_BYTES;
                    self.data.sent(key, next.is_notice);
                }
                Written::Full => {}
                Written::Gone => self.data.closed(key),
            }
        }
        let turns = written as f64 / DATA_TURN_BYTES as f64;
        let pause = Duration::from_millis(DATA_TURN_MS).mul_f64(turns);
        self.data.next_turn = Some(ctx.now + pause);
        self.data_due(ctx);
    }

    /// Writes to the data channel of one of its sessions.
    fn write_data(
        &mut self,
        ctx: &mut Context,
        key: SessionKey,
        binary: bool,
        payload: &[u8],
    ) -> Written {
        let mut written = Written::Gone;
        if self.viewers.contains(key) {
            self.with_viewer(ctx, key, |session| {
                written = session.viewer.write_data(binary, payload);
            });
            self.receive_viewer(ctx, key);
        } else {
            self.with_session(ctx, key, |session| {
                if let Some(publisher) = session.web_rtc_mut() {
                    written = publisher.write_data(binary, payload);
                }
            });
        }
        written
    }
}
