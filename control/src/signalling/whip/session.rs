//! One WHIP or WHEP session, or that of an encoder or a player by RTMP: a signalling socket without a WebSocket. Its task reads what
//! the hub sends to the socket, and ends with the session.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use shardcast_link::BroadcastId;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::super::{
    caller::Caller,
    commands::{self, Sender},
};
use crate::{
    effects, limits,
    publishing::{
        SocketId, Wish,
        message::{ClientMessage, Play, Publish, ServerMessage},
    },
    state::{Answer, Answered, Control, Outgoing, WhipSession},
    webhooks::authenticate,
};

/// A session from its first request to its end. Dropping it ends it as a closed socket does: what it
/// publishes may be taken over, and ends if nobody does.
pub(in crate::signalling) struct Session {
    control: Arc<Control>,
    caller: Caller,
    broadcast: BroadcastId,
    socket: SocketId,
    queue: mpsc::Receiver<Outgoing>,
    /// The name in its URL, once it has one.
    name: Option<String>,
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            self.control.whip.remove(name);
        }
        self.control.sockets.forget(self.socket);
        effects::socket_closed(&self.control, self.socket);
    }
}

impl Session {
    /// `None` when there are too many sockets.
    pub(in crate::signalling) fn open(
        control: &Arc<Control>,
        caller: Caller,
        broadcast: BroadcastId,
    ) -> Option<Self> {
        let (socket, queue) = caller.open(control)?;
        let mut hub = control.lock_hub();
        // It counts as heard from now on only, so that its client takes over from itself when it has lost
        // the URL of its session.
        hub.socket_opened(Instant::now(), socket, caller.client);
        drop(hub);
        Some(Self {
            control: Arc::clone(control),
            caller,
            broadcast,
            socket,
            queue,
            name: None,
        })
    }

    /// Publishes without an offer, up to the hub's consent.
    pub(in crate::signalling) async fn start(
        &mut self,
        attempt: Publish,
    ) -> Result<(), ServerMessage> {
        self.publish(attempt).await?;
        loop {
            if let ServerMessage::Start { .. } = self.next().await? {
                return Ok(());
            }
        }
    }

    pub(in crate::signalling) fn socket(&self) -> SocketId {
        self.socket
    }

    pub(in crate::signalling) fn broadcast(&self) -> &BroadcastId {
        &self.broadcast
    }

    /// Publishes with `offer`; the shard's answer, or the error for the client.
    pub(super) async fn begin(&mut self, attempt: Publish, offer: &str) -> Answered {
        self.publish(attempt).await?;
        loop {
            match self.next().await? {
                ServerMessage::Start { .. } => self.offer(offer),
                ServerMessage::Answer { sdp, .. } => return self.complete(sdp),
                _ => {}
            }
        }
    }

    /// Watches with `offer`; the shard's answer, or the error for the client.
    pub(super) async fn watch(&mut self, play: &Play, offer: String) -> Answered {
        let by = Wish::Browser(Some(offer));
        commands::view(&self.control, self.sender(), play, by);
        loop {
            if let ServerMessage::Answer { sdp, .. } = self.next().await? {
                return self.complete(sdp);
            }
        }
    }

    /// What the hub has said already against what was asked of it.
    pub(in crate::signalling) fn refusal(&mut self) -> Option<ServerMessage> {
        drop(self.control.lock_hub());
        match self.queue.try_recv() {
            Ok(Outgoing::Message(
                message @ (ServerMessage::Error { .. } | ServerMessage::NoStream { .. }),
            )) => Some(message),
            Ok(Outgoing::Message(_)) | Err(mpsc::error::TryRecvError::Empty) => None,
            Ok(Outgoing::Close(_)) | Err(_) => Some(ServerMessage::ServerWillStop),
        }
    }

    async fn publish(&self, attempt: Publish) -> Result<(), ServerMessage> {
        let control = &self.control;
        let admission = commands::admission(control, self.sender(), &attempt);
        let asks = admission.is_ok() && authenticate::url(control, &attempt).is_some();
        if asks {
            let error = |word| ServerMessage::error(self.broadcast.stream(), word);
            let begun = {
                let mut hub = control.lock_hub();
                hub.begin_question(self.socket, &self.broadcast)
            };
            let client = begun.map_err(error)?;
            let verdict = authenticate::allows(control, &attempt, client).await;
            if let Err(word) = verdict {
                control
                    .lock_hub()
                    .end_question(self.socket, &self.broadcast);
                return Err(error(word));
            }
        }
        // What is allowed may have changed meanwhile.
        let admission = commands::admission(control, self.sender(), &attempt);
        commands::publish(control, self.sender(), admission, attempt, asks);
        Ok(())
    }

    fn offer(&self, sdp: &str) {
        let message = ClientMessage::TakeConfiguration {
            broadcast: self.broadcast.clone(),
            is_offer: true,
            sdp: Some(sdp.to_owned()),
        };
        commands::carry_out(&self.control, self.sender(), message);
    }

    pub(in crate::signalling) fn sender(&self) -> Sender<'_> {
        Sender {
            socket: self.socket,
            application: self.broadcast.application(),
            from_allowed_address: self.caller.from_allowed_address,
        }
    }

    /// The next message; what ends the session is an error.
    pub(in crate::signalling) async fn next(&mut self) -> Result<ServerMessage, ServerMessage> {
        let message = match self.queue.recv().await {
            Some(Outgoing::Message(message)) => message,
            Some(Outgoing::Close(_)) | None => ServerMessage::ServerWillStop,
        };
        match message {
            ServerMessage::Error { .. }
            | ServerMessage::NoStream { .. }
            | ServerMessage::Stop { .. }
            | ServerMessage::ServerWillStop
            | ServerMessage::Notification {
                definition: "publish_finished" | "play_finished",
                ..
            } => Err(message),
            message => Ok(message),
        }
    }

    /// The candidates behind an answer. The hub sends all of them while it is locked.
    fn complete(&mut self, sdp: String) -> Answered {
        drop(self.control.lock_hub());
        let mut candidates = Vec::new();
        while let Ok(Outgoing::Message(message)) = self.queue.try_recv() {
            match message {
                ServerMessage::Candidate { candidate, .. } => candidates.push(candidate),
                ServerMessage::Error { .. } => return Err(message),
                _ => {}
            }
        }
        Ok(Answer { sdp, candidates })
    }

    /// Gives the session its URL and runs it to its end. Returns the name and the entity tag.
    pub(super) fn run(mut self, offer: String, watches: bool) -> (String, String) {
        let (name, etag) = (random_name(), random_name());
        let (answers, asked) = mpsc::channel(limits::RENEGOTIATIONS_MAX);
        let session = WhipSession {
            socket: self.socket,
            broadcast: self.broadcast.clone(),
            etag: etag.clone(),
            watches,
            offer,
            answers,
        };
        self.control.whip.insert(name.clone(), session);
        self.name = Some(name.clone());
        tokio::spawn(self.serve(asked));
        (name, etag)
    }

    /// A request waits in `asked` before its offer is made, so an answer finds it there.
    async fn serve(mut self, mut asked: mpsc::Receiver<oneshot::Sender<Answered>>) {
        loop {
            let reply = match self.next().await {
                Ok(ServerMessage::Answer { sdp, .. }) => self.complete(sdp),
                Ok(_) => continue,
                // A further offer that was refused ends nothing.
                Err(error @ ServerMessage::Error { .. }) => Err(error),
                Err(_) => return,
            };
            match (asked.try_recv(), reply) {
                (Ok(request), reply) => drop(request.send(reply)),
                (Err(_), Err(_)) => return,
                (Err(_), Ok(_)) => {}
            }
        }
    }
}

/// Asks the task of `session` for the answer to a further offer, which `send` makes.
pub(super) async fn ask(session: &WhipSession, send: impl FnOnce()) -> Option<Answered> {
    let (reply, answer) = oneshot::channel();
    session.answers.try_send(reply).ok()?;
    send();
    let within = Duration::from_millis(limits::WHIP_ANSWER_MS);
    timeout(within, answer).await.ok()?.ok()
}

/// 128 random bits: who has the URL of a session may end it (RFC 9725, 5).
pub(super) fn random_name() -> String {
    format!("{:032x}", rand::random::<u128>())
}
