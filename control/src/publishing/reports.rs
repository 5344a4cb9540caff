//! Reports of shards about sessions and about themselves, and the messages to sockets that follow.

use std::{collections::HashSet, time::Instant};

use shardcast_link::{BroadcastId, EndReason, Fault, Problem, SessionId};

use super::{
    client::SocketId,
    effect::{Effect, notify},
    hub::Hub,
    message::ServerMessage,
    session::{Phase, Session},
};

impl Hub {
    /// A shard has become reachable: offers that wait are tried again.
    pub(crate) fn shard_reachable(&self, out: &mut Vec<Effect>) {
        for (id, session) in &self.sessions {
            if let Phase::AwaitingShard { sdp } = &session.phase {
                out.push(Effect::Offer {
                    session: id.clone(),
                    broadcast: session.broadcast.clone(),
                    sdp: sdp.clone(),
                    start_timeout_ms: session.start_timeout_ms,
                });
            }
        }
    }

    /// The engine behind `shard` is another one than before: its sessions are lost. The SDK comes
    /// back at once when it receives that, instead of after its own time-outs.
    pub(crate) fn engine_replaced(&mut self, shard: u16, out: &mut Vec<Effect>) {
        let on_shard = |(_, session): &(&SessionId, &Session)| session.shard == Some(shard);
        let lost: Vec<SessionId> = self
            .sessions
            .iter()
            .filter(on_shard)
            .map(|(id, _)| id.clone())
            .collect();
        let mut sockets: HashSet<SocketId> = self.views_lost(shard, out).into_iter().collect();
        for id in lost {
            let Some(session) = self.drop_session(&id) else {
                continue;
            };
            if !matches!(
                session.phase,
                Phase::Stopping { .. } | Phase::Superseded { .. }
            ) {
                sockets.insert(session.socket);
            }
        }
        for socket in sockets {
            if self.sockets.contains_key(&socket) {
                out.push(Effect::Send {
                    socket,
                    message: ServerMessage::ServerWillStop,
                });
                out.push(Effect::Close { socket, code: 1012 });
            }
        }
    }

    pub(crate) fn answered(
        &mut self,
        id: &SessionId,
        sdp: String,
        candidates: Vec<String>,
        offers_media: bool,
        out: &mut Vec<Effect>,
    ) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let is_first = session.phase == Phase::Offered;
        if is_first {
            session.phase = Phase::Answered;
        } else if !session.renegotiation.end() {
            return;
        }
        let (socket, stream) = (session.socket, session.broadcast.stream().to_owned());
        if !self.sockets.contains_key(&socket) {
            return;
        }
        let mid = first_mid(&sdp);
        let mut send = |message| out.push(Effect::Send { socket, message });
        send(ServerMessage::Answer {
            stream: stream.clone(),
            sdp,
        });
        for candidate in candidates {
            send(ServerMessage::Candidate {
                stream: stream.clone(),
                mid: mid.clone(),
                candidate,
            });
        }
        // A client that removes its last track does so on purpose.
        if is_first && !offers_media {
            send(ServerMessage::Error {
                stream: Some(stream),
                definition: "no_media_offered",
                message: Some(NO_MEDIA_OFFERED.to_owned()),
            });
        }
    }

    pub(crate) fn refused(&mut self, id: &SessionId, problem: Problem, out: &mut Vec<Effect>) {
        let Some(session) = self.drop_session(id) else {
            return;
        };
        let definition = match problem.fault {
            Fault::Publisher | Fault::Destination => "notSetRemoteDescription",
            Fault::Operator => "highResourceUsage",
            Fault::Internal => "server_error_check_logs",
        };
        let stream = Some(session.broadcast.stream().to_owned());
        let message = ServerMessage::Error {
            stream,
            definition,
            message: Some(problem.message),
        };
        self.send_if_open(session.socket, message, out);
    }

    pub(crate) fn publishing(
        &mut self,
        id: &SessionId,
        broadcast: &BroadcastId,
        out: &mut Vec<Effect>,
    ) {
        let (mut name, mut meta_data, mut by_rtmp) = (String::new(), String::new(), false);
        if let Some(session) = self.sessions.get_mut(id) {
            if !session.is_starting() {
                return;
            }
            session.phase = Phase::Publishing;
            by_rtmp = session.by_rtmp;
            name.clone_from(&session.name);
            meta_data.clone_from(&session.meta_data);
            if self.sockets.contains_key(&session.socket) {
                out.push(notify(session.socket, broadcast, "publish_started"));
            }
        } else if self.was_made_here(id) {
            // Ended here while the report was on its way. One of an earlier process counts.
            return;
        }
        self.views_go_on(broadcast, out);
        // In front: the client may call REST as soon as it reads the notification.
        out.insert(
            0,
            Effect::Started {
                broadcast: broadcast.clone(),
                by_rtmp,
                name,
                meta_data,
            },
        );
    }

    pub(crate) fn ended(
        &mut self,
        now: Instant,
        id: &SessionId,
        reason: EndReason,
        out: &mut Vec<Effect>,
    ) {
        let Some(session) = self.drop_session(id) else {
            return;
        };
        let (socket, broadcast) = (session.socket, &session.broadcast);
        let closed_live = reason == EndReason::PeerClosed && session.phase == Phase::Publishing;
        if let Some(socket) = self.sockets.get_mut(&socket).filter(|_| closed_live) {
            socket.closing.insert(broadcast.clone(), now);
        }
        // The same socket has published again: news of the old session would only confuse it.
        if self.is_held_by(broadcast, socket) {
            return;
        }
        let was_publishing = !session.is_starting();
        let stream = broadcast.stream();
        let message = match reason {
            EndReason::NoMediaOffered | EndReason::StartTimeout => {
                out.push(Effect::TimedOut {
                    broadcast: broadcast.clone(),
                });
                ServerMessage::error(stream, "publishTimeoutError")
            }
            EndReason::Internal => ServerMessage::error(stream, "server_error_check_logs"),
            _ if was_publishing => {
                let stream = stream.to_owned();
                ServerMessage::Notification {
                    stream,
                    definition: "publish_finished",
                }
            }
            _ => return,
        };
        self.send_if_open(socket, message, out);
    }
}

/// What the console of a page shows when its adaptor had no stream to publish.
pub(crate) const NO_MEDIA_OFFERED: &str = "the offer holds neither audio nor video. The adaptor \
    had no local stream when publish() was called: give it as localStream in the constructor's \
    options, or set adaptor.mediaManager.localStream; adaptor.localStream is not read by the SDK";

/// The identification of the first media section, which candidates are labelled with (RFC 8843:
/// all sections share one transport).
pub(super) fn first_mid(sdp: &str) -> String {
    let mid = sdp
        .lines()
        .find_map(|line| line.trim().strip_prefix("a=mid:"));
    mid.unwrap_or("0").to_owned()
}
