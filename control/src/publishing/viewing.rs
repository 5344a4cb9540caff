//! Viewers: which socket watches which broadcast, from `play` to the shard's word that it is over.
//!
//! A viewer claims nothing: any number of sockets watch a broadcast, and a socket watches any number of
//! broadcasts, each once.

mod restart;
mod waiting;
mod wish;

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use shardcast_link::{
    BroadcastId, Command, Problem, SessionId, ViewEndReason, ViewRefusal, ViewerReport,
};

pub(crate) use self::wish::{ViewRequest, Wish};
use super::{
    client::{Client, ClientKey, SocketId},
    effect::{Effect, notify},
    hub::Hub,
    message::ServerMessage,
    offer_queue::Bucket,
    reports::first_mid,
};
use crate::limits;

/// One viewer.
#[derive(Debug)]
pub(super) struct ViewSession {
    broadcast: BroadcastId,
    socket: SocketId,
    client: ClientKey,
    subscriber_id: String,
    shard: u16,
    /// It is no SDK, which makes offers and tries again by itself: it came by WHEP or RTMP.
    offers: bool,
    /// Media flows.
    is_watching: bool,
    /// Its broadcast is not on air yet, and it is waited for.
    is_waiting: bool,
    /// It is for so long at most.
    waits_until: Instant,
    start_timeout_ms: u64,
    /// When it is given up if media does not flow by then.
    deadline: Instant,
    candidate_count: usize,
    wants_video: bool,
    wants_audio: bool,
}

/// All viewers, and how often clients and shards may begin one.
#[derive(Debug, Default)]
pub(super) struct Views {
    sessions: HashMap<SessionId, ViewSession>,
    by_place: HashMap<(SocketId, BroadcastId), SessionId>,
    clients: HashMap<ClientKey, Bucket>,
    shards: HashMap<u16, Bucket>,
}

impl Views {
    fn get(&self, socket: SocketId, broadcast: &BroadcastId) -> Option<&SessionId> {
        self.by_place.get(&(socket, broadcast.clone()))
    }

    fn get_mut(
        &mut self,
        socket: SocketId,
        broadcast: &BroadcastId,
    ) -> Option<(SessionId, &mut ViewSession)> {
        let id = self.get(socket, broadcast)?.clone();
        let session = self.sessions.get_mut(&id)?;
        Some((id, session))
    }

    fn remove(&mut self, id: &SessionId) -> Option<ViewSession> {
        let session = self.sessions.remove(id)?;
        let place = (session.socket, session.broadcast.clone());
        self.by_place.remove(&place);
        debug_assert_eq!(self.sessions.len(), self.by_place.len());
        Some(session)
    }

    /// The word of refusal, if `client` may not begin another one now.
    fn refusal(&self, socket: SocketId, client: Client) -> Option<&'static str> {
        let sessions = self.sessions.values();
        let starting = sessions.clone().filter(|session| !session.is_watching);
        let of_client = starting.filter(|session| session.client == client.key());
        let most = if client.is_trusted {
            limits::STARTING_PER_TRUSTED_CLIENT_MAX
        } else {
            limits::STARTING_PER_CLIENT_MAX
        };
        let of_socket = sessions.filter(|session| session.socket == socket);
        (self.sessions.len() >= limits::VIEWERS_MAX
            || of_client.count() >= most
            || of_socket.count() >= limits::STREAMS_PER_SOCKET_MAX)
            .then_some("viewerLimitReached")
    }

    /// Whether the budgets of the client and of the shard have one more; it is taken from them then.
    fn take(&mut self, now: Instant, client: Client, shard: u16) -> bool {
        let rate = if client.is_trusted {
            limits::VIEWS_PER_TRUSTED_CLIENT
        } else {
            limits::VIEWS_PER_CLIENT
        };
        let of_shard = self.shards.entry(shard);
        let of_shard = of_shard.or_insert_with(|| Bucket::new(limits::VIEWS_PER_SHARD));
        let of_client = self.clients.entry(client.key());
        let of_client = of_client.or_insert_with(|| Bucket::new(rate));
        let has = of_shard.has(now, 1) && of_client.has(now, 1);
        if has {
            of_shard.spend(1);
            of_client.spend(1);
        }
        has
    }

    fn ids(&self, which: impl Fn(&ViewSession) -> bool) -> Vec<SessionId> {
        let found = self.sessions.iter().filter(|(_, session)| which(session));
        found.map(|(id, _)| id.clone()).collect()
    }
}

impl Hub {
    /// A client wants to watch.
    pub(crate) fn view(
        &mut self,
        now: Instant,
        socket: SocketId,
        request: ViewRequest,
        out: &mut Vec<Effect>,
    ) {
        // A socket that has closed in the meantime watches nothing.
        let Some(entry) = self.sockets.get_mut(&socket) else {
            return;
        };
        let (client, broadcast) = (entry.client, request.broadcast);
        let is_playing = self.views.get(socket, &broadcast).is_some();
        let shard = match request.admission {
            _ if is_playing => Err("already_playing"),
            Err(message) => return out.push(Effect::Send { socket, message }),
            Ok(shard) => match self.views.refusal(socket, client) {
                Some(word) => Err(word),
                None if !self.views.take(now, client, shard) => Err("highResourceUsage"),
                None => Ok(shard),
            },
        };
        let shard = match shard {
            Ok(shard) => shard,
            Err(word) => {
                let message = ServerMessage::error(broadcast.stream(), word);
                return out.push(Effect::Send { socket, message });
            }
        };
        entry.used = true;
        let id = self.new_session_id();
        let start_timeout = Duration::from_millis(request.start_timeout_ms);
        let session = ViewSession {
            broadcast: broadcast.clone(),
            socket,
            client: client.key(),
            subscriber_id: request.subscriber_id,
            shard,
            offers: !matches!(request.by, Wish::Browser(None)),
            is_watching: false,
            is_waiting: false,
            waits_until: now + limits::VIEW_WAITS,
            start_timeout_ms: request.start_timeout_ms,
            deadline: now + start_timeout + limits::SHARD_CONFIRM,
            candidate_count: 0,
            wants_video: true,
            wants_audio: true,
        };
        let place = (socket, broadcast.clone());
        self.views.by_place.insert(place, id.clone());
        self.views.sessions.insert(id.clone(), session);
        let command = request.by.command(id, broadcast, request.start_timeout_ms);
        out.push(Effect::View { shard, command });
    }

    /// Whether `socket` watches something.
    pub(crate) fn has_view_of(&self, socket: SocketId) -> bool {
        self.views.sessions.values().any(|it| it.socket == socket)
    }

    /// How many watch `broadcast`, or are about to.
    pub(crate) fn viewer_count(&self, broadcast: &BroadcastId) -> usize {
        let sessions = self.views.sessions.values();
        sessions.filter(|it| it.broadcast == *broadcast).count()
    }

    /// The client's answer to the shard's offer.
    pub(crate) fn view_answer(
        &mut self,
        socket: SocketId,
        broadcast: &BroadcastId,
        sdp: Option<String>,
        out: &mut Vec<Effect>,
    ) {
        let refuse = |definition| Effect::Send {
            socket,
            message: ServerMessage::error(broadcast.stream(), definition),
        };
        let view = self.views.get_mut(socket, broadcast);
        let view = view.filter(|(_, view)| !view.offers);
        let Some(((session, view), sdp)) = view.zip(sdp) else {
            return out.push(refuse("notSetRemoteDescription"));
        };
        let shard = view.shard;
        let command = Command::ViewAnswer { session, sdp };
        out.push(Effect::View { shard, command });
    }

    /// A candidate of a viewer; whether there is such a viewer.
    pub(crate) fn view_candidate(
        &mut self,
        socket: SocketId,
        broadcast: &BroadcastId,
        candidate: &str,
        out: &mut Vec<Effect>,
    ) -> bool {
        let Some((session, view)) = self.views.get_mut(socket, broadcast) else {
            return false;
        };
        if !candidate.is_empty()
            && candidate.len() <= limits::CANDIDATE_BYTES_MAX
            && view.candidate_count < limits::CANDIDATES_PER_SESSION_MAX
        {
            view.candidate_count += 1;
            out.push(Effect::Candidate {
                session,
                shard: view.shard,
                candidate: candidate.to_owned(),
            });
        }
        true
    }

    /// Which tracks a viewer wants; what is `None` stays as it is.
    pub(crate) fn view_tracks(
        &mut self,
        socket: SocketId,
        broadcast: &BroadcastId,
        (video, audio): (Option<bool>, Option<bool>),
        out: &mut Vec<Effect>,
    ) {
        let Some((session, view)) = self.views.get_mut(socket, broadcast) else {
            return;
        };
        view.wants_video = video.unwrap_or(view.wants_video);
        view.wants_audio = audio.unwrap_or(view.wants_audio);
        let command = Command::ViewTracks {
            session,
            video: view.wants_video,
            audio: view.wants_audio,
        };
        let shard = view.shard;
        out.push(Effect::View { shard, command });
    }

    /// Which height of video a viewer wants; `None`: the publisher's.
    pub(crate) fn view_quality(
        &mut self,
        socket: SocketId,
        broadcast: &BroadcastId,
        height: Option<u32>,
        out: &mut Vec<Effect>,
    ) {
        if let Some((session, view)) = self.views.get_mut(socket, broadcast) {
            let (shard, command) = (view.shard, Command::ViewQuality { session, height });
            out.push(Effect::View { shard, command });
        }
    }

    /// A viewer has sent `stop`; whether there is such a viewer.
    pub(crate) fn stop_view(
        &mut self,
        socket: SocketId,
        broadcast: &BroadcastId,
        out: &mut Vec<Effect>,
    ) -> bool {
        let Some(id) = self.views.get(socket, broadcast).cloned() else {
            return false;
        };
        self.drop_view(&id, out);
        out.push(notify(socket, broadcast, "play_finished"));
        true
    }

    /// The socket is about to close: what it watches is over.
    pub(crate) fn end_views_of(&mut self, socket: SocketId, out: &mut Vec<Effect>) {
        for id in self.views.ids(|view| view.socket == socket) {
            self.drop_view(&id, out);
        }
    }

    /// The shard's offer or answer.
    pub(crate) fn view_described(
        &mut self,
        id: &SessionId,
        sdp: String,
        candidates: Vec<String>,
        out: &mut Vec<Effect>,
    ) {
        let Some(view) = self.views.sessions.get(id) else {
            return;
        };
        let (socket, stream) = (view.socket, view.broadcast.stream());
        let mid = first_mid(&sdp);
        let stream_of = || stream.to_owned();
        let description = match view.offers {
            true => ServerMessage::Answer {
                stream: stream_of(),
                sdp,
            },
            false => ServerMessage::Offer {
                stream: stream_of(),
                sdp,
            },
        };
        let candidates = candidates
            .into_iter()
            .map(|candidate| ServerMessage::Candidate {
                stream: stream_of(),
                mid: mid.clone(),
                candidate,
            });
        for message in std::iter::once(description).chain(candidates) {
            out.push(Effect::Send { socket, message });
        }
    }

    pub(crate) fn view_refused(
        &mut self,
        id: &SessionId,
        refusal: ViewRefusal,
        problem: Problem,
        out: &mut Vec<Effect>,
    ) {
        if refusal == ViewRefusal::NotOnAir && self.view_waits(id) {
            return;
        }
        let Some(view) = self.views.remove(id) else {
            return;
        };
        let stream = view.broadcast.stream().to_owned();
        let definition = match refusal {
            ViewRefusal::NotOnAir => {
                let message = ServerMessage::NoStream { stream };
                return self.send_if_open(view.socket, message, out);
            }
            ViewRefusal::Full => "viewerLimitReached",
            ViewRefusal::Unplayable => "webrtc_not_enabled",
            ViewRefusal::BadDescription => "notSetRemoteDescription",
            _ => "server_error_check_logs",
        };
        let message = ServerMessage::Error {
            stream: Some(stream),
            definition,
            message: Some(problem.message),
        };
        self.send_if_open(view.socket, message, out);
    }

    /// The shard could not be asked.
    pub(crate) fn view_unreachable(&mut self, id: &SessionId, out: &mut Vec<Effect>) {
        if let Some(view) = self.views.remove(id) {
            let message = ServerMessage::error(view.broadcast.stream(), "highResourceUsage");
            self.send_if_open(view.socket, message, out);
        }
    }

    /// Media of a viewer flows.
    pub(crate) fn viewing(&mut self, id: &SessionId, out: &mut Vec<Effect>) {
        if let Some(view) = self.views.sessions.get_mut(id) {
            if !std::mem::replace(&mut view.is_watching, true) {
                out.push(Effect::PlayStarted {
                    broadcast: view.broadcast.clone(),
                    subscriber_id: view.subscriber_id.clone(),
                });
            }
            out.push(notify(view.socket, &view.broadcast, "play_started"));
        }
    }

    /// A viewer is sent video of another height than before.
    pub(crate) fn view_switched(&mut self, id: &SessionId, height: u32, out: &mut Vec<Effect>) {
        if let Some(view) = self.views.sessions.get(id).filter(|view| !view.offers) {
            let stream = view.broadcast.stream().to_owned();
            let message = ServerMessage::ResolutionChange { stream, height };
            self.send_if_open(view.socket, message, out);
        }
    }

    /// A shard has measured how the media of a viewer arrives. The client is told what its way is estimated to
    /// carry, where that is estimated.
    pub(crate) fn view_reported(
        &self,
        id: &SessionId,
        report: &ViewerReport,
        out: &mut Vec<Effect>,
    ) {
        let view = self.views.sessions.get(id);
        if let Some((view, target_bps)) = view.zip(report.estimate_bps) {
            let message = ServerMessage::BitrateMeasurement {
                stream: view.broadcast.stream().to_owned(),
                target_bps,
                video_bps: report.video_bps,
                audio_bps: report.audio_bps,
            };
            self.send_if_open(view.socket, message, out);
        }
    }

    /// A shard says that a viewer's session is over. An SDK whose connectivity was lost is told nothing, since
    /// it tries again by itself.
    pub(crate) fn view_ended(
        &mut self,
        id: &SessionId,
        broadcast: &BroadcastId,
        reason: ViewEndReason,
        out: &mut Vec<Effect>,
    ) {
        let Some(view) = self.views.remove(id) else {
            // One of an earlier process, whose media has flowed.
            let has_watched = matches!(
                reason,
                ViewEndReason::BroadcastEnded | ViewEndReason::Lost | ViewEndReason::PeerClosed
            );
            if has_watched && !self.was_made_here(id) {
                out.push(Effect::PlayStopped {
                    broadcast: broadcast.clone(),
                    subscriber_id: String::new(),
                });
            }
            return;
        };
        play_stopped(&view, out);
        let stream = view.broadcast.stream();
        let message = match reason {
            ViewEndReason::Lost | ViewEndReason::StartTimeout if !view.offers => return,
            ViewEndReason::BadDescription => {
                ServerMessage::error(stream, "notSetRemoteDescription")
            }
            ViewEndReason::Unplayable => ServerMessage::error(stream, "webrtc_not_enabled"),
            ViewEndReason::Internal => ServerMessage::error(stream, "server_error_check_logs"),
            _ => ServerMessage::Notification {
                stream: stream.to_owned(),
                definition: "play_finished",
            },
        };
        self.send_if_open(view.socket, message, out);
    }

    /// The engine behind `shard` is another one than before: its viewers are lost. Returns their
    /// sockets.
    pub(super) fn views_lost(&mut self, shard: u16, out: &mut Vec<Effect>) -> Vec<SocketId> {
        let lost = self.views.ids(|view| view.shard == shard);
        let lost = lost.iter().filter_map(|id| self.views.remove(id));
        let lost = lost.inspect(|view| play_stopped(view, out));
        lost.map(|view| view.socket).collect()
    }

    /// Gives up viewers whose media does not flow in time, though their shard has not said so.
    pub(super) fn tick_views(&mut self, now: Instant, out: &mut Vec<Effect>) {
        self.tick_waiting_views(now, out);
        let is_overdue = |view: &ViewSession| !view.is_watching && now >= view.deadline;
        for id in self.views.ids(is_overdue) {
            if let Some(view) = self.views.sessions.get(&id).filter(|view| view.offers) {
                let message = ServerMessage::error(view.broadcast.stream(), "publishTimeoutError");
                self.send_if_open(view.socket, message, out);
            }
            self.drop_view(&id, out);
        }
        self.views.clients.retain(|_, bucket| !bucket.is_full(now));
    }

    fn drop_view(&mut self, id: &SessionId, out: &mut Vec<Effect>) {
        if let Some(view) = self.views.remove(id) {
            play_stopped(&view, out);
            let (shard, session) = (view.shard, id.clone());
            let command = Command::EndView { session };
            out.push(Effect::View { shard, command });
        }
    }
}

/// The end of what was told by [`Effect::PlayStarted`].
fn play_stopped(view: &ViewSession, out: &mut Vec<Effect>) {
    if view.is_watching {
        out.push(Effect::PlayStopped {
            broadcast: view.broadcast.clone(),
            subscriber_id: view.subscriber_id.clone(),
        });
    }
}
