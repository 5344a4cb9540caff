//! How a WebRTC publisher and a server agree: Ant Media's signalling on a WebSocket, or WHIP.

use std::collections::VecDeque;

use super::signalling::{ServerMessage, Signalling};
use crate::BenchError;
use crate::sdp_session::SdpSession;

/// A conversation with a server. The messages of WHIP are given the names of the other one's.
#[derive(Debug)]
pub(super) enum Conversation {
    /// `ws://…`.
    Socket(Box<Signalling>),
    /// `http://…`.
    Whip(Whip),
}

impl Conversation {
    pub(super) async fn connect(url: &str) -> Result<Self, BenchError> {
        if url.starts_with("http:") {
            return Ok(Self::Whip(Whip::new(url).await?));
        }
        Ok(Self::Socket(Box::new(Signalling::connect(url).await?)))
    }

    pub(super) async fn publish(
        &mut self,
        stream_id: &str,
        token: Option<&str>,
        media: (bool, bool),
    ) -> Result<(), BenchError> {
        match self {
            Self::Socket(socket) => socket.publish(stream_id, token, media).await,
            Self::Whip(whip) => {
                whip.said.push_back(ServerMessage::Start);
                Ok(())
            }
        }
    }

    pub(super) async fn offer(&mut self, stream_id: &str, sdp: &str) -> Result<(), BenchError> {
        match self {
            Self::Socket(socket) => socket.offer(stream_id, sdp).await,
            Self::Whip(whip) => whip.offer(sdp).await,
        }
    }

    /// The offer of WHIP has all candidates.
    pub(super) async fn candidate(
        &mut self,
        stream_id: &str,
        mid: &str,
        candidate: &str,
    ) -> Result<(), BenchError> {
        match self {
            Self::Socket(socket) => socket.candidate(stream_id, mid, candidate).await,
            Self::Whip(_) => Ok(()),
        }
    }

    pub(super) async fn stop(&mut self, stream_id: &str) -> Result<(), BenchError> {
        match self {
            Self::Socket(socket) => socket.stop(stream_id).await,
            Self::Whip(whip) => whip.session.delete().await,
        }
    }

    pub(super) async fn ping(&mut self) -> Result<(), BenchError> {
        match self {
            Self::Socket(socket) => socket.ping().await,
            Self::Whip(_) => Ok(()),
        }
    }

    /// Waits for the next message. Safe to cancel.
    pub(super) async fn next(&mut self) -> ServerMessage {
        match self {
            Self::Socket(socket) => socket.next().await,
            Self::Whip(whip) => match whip.said.pop_front() {
                Some(message) => message,
                None => std::future::pending().await,
            },
        }
    }
}

/// A session by WHIP, and what its answers amount to in the other one's messages.
#[derive(Debug)]
pub(super) struct Whip {
    session: SdpSession,
    said: VecDeque<ServerMessage>,
}

impl Whip {
    async fn new(url: &str) -> Result<Self, BenchError> {
        Ok(Self {
            session: SdpSession::new(url).await?,
            said: VecDeque::new(),
        })
    }

    async fn offer(&mut self, sdp: &str) -> Result<(), BenchError> {
        let answer = self.session.offer(sdp).await?;
        self.said.push_back(ServerMessage::Answer(answer));
        let started = "publish_started".to_owned();
        self.said.push_back(ServerMessage::Notification(started));
        Ok(())
    }
}
