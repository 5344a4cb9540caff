//! How a viewer and a server agree: the SDK's `play` on a WebSocket, where the server offers, or WHEP,
//! where the viewer does.

use serde_json::json;

use super::peer::Peer;
use crate::BenchError;
use crate::publisher::{ServerMessage, Signalling};
use crate::sdp_session::SdpSession;

/// A conversation with a server.
#[derive(Debug)]
pub(super) enum Agreement {
    /// `ws://…`.
    Play(Box<Signalling>),
    /// `http://…`.
    Whep(SdpSession),
}

/// What the server said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Nothing that changes a viewer.
    Nothing,
    /// The media begins.
    Started,
    /// The video has this height from now on.
    Height(u32),
    /// The network is taken to carry so many bits a second.
    Target(u64),
    /// The server ended the session.
    Finished,
    /// The definition of an error.
    Error(String),
    /// The socket is closed.
    Closed,
}

impl Agreement {
    /// Asks for the broadcast.
    pub(super) async fn begin(
        url: &str,
        stream_id: &str,
        token: Option<&str>,
        peer: &mut Peer,
    ) -> Result<Self, BenchError> {
        if url.starts_with("http:") {
            let mut session = SdpSession::new(url).await?;
            let answer = session.offer(&peer.offer()?).await?;
            peer.answered(&answer)?;
            return Ok(Self::Whep(session));
        }
        let mut socket = Signalling::connect(url).await?;
        let play = json!({
            "command": "play", "streamId": stream_id, "token": token.unwrap_or_default(),
            "room": "", "trackList": [], "subscriberId": "", "subscriberName": "",
            "subscriberCode": "", "viewerInfo": "", "role": "", "userPublishId": "",
        });
        socket.send(&play).await?;
        Ok(Self::Play(Box::new(socket)))
    }

    /// Waits for the next message. Safe to cancel.
    pub(super) async fn next(&mut self) -> ServerMessage {
        match self {
            Self::Play(socket) => socket.next().await,
            Self::Whep(_) => std::future::pending().await,
        }
    }

    /// Does what a message asks for.
    pub(super) async fn process(
        &mut self,
        message: ServerMessage,
        stream_id: &str,
        peer: &mut Peer,
    ) -> Result<Said, BenchError> {
        match (message, self) {
            (ServerMessage::Offer(sdp), Self::Play(socket)) => {
                let answer = json!({
                    "command": "takeConfiguration", "streamId": stream_id, "type": "answer",
                    "sdp": peer.answer(&sdp)?,
                });
                socket.send(&answer).await?;
                socket.candidate(stream_id, "0", &peer.trickled()).await?;
            }
            (ServerMessage::Candidate(candidate), _) => peer.candidate(&candidate)?,
            (ServerMessage::Notification(definition), _) => match definition.as_str() {
                "play_started" => return Ok(Said::Started),
                "play_finished" => return Ok(Said::Finished),
                _ => {}
            },
            (ServerMessage::Height(height), _) => return Ok(Said::Height(height)),
            (ServerMessage::Target(bps), _) => return Ok(Said::Target(bps)),
            (ServerMessage::Error(definition), _) => return Ok(Said::Error(definition)),
            (ServerMessage::Closed, _) => return Ok(Said::Closed),
            _ => {}
        }
        Ok(Said::Nothing)
    }

    pub(super) async fn ping(&mut self) -> Result<(), BenchError> {
        match self {
            Self::Play(socket) => socket.ping().await,
            Self::Whep(_) => Ok(()),
        }
    }

    pub(super) async fn end(&mut self, stream_id: &str) -> Result<(), BenchError> {
        match self {
            Self::Play(socket) => socket.stop(stream_id).await,
            Self::Whep(session) => session.delete().await,
        }
    }
}
