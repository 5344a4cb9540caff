//! How a WebRTC publisher and a server agree: Ant Media's signalling on a WebSocket, or WHIP.

use std::{collections::VecDeque, net::SocketAddr};

use tokio::net::lookup_host;
use url::Url;

use super::signalling::{ServerMessage, Signalling};
use crate::BenchError;
use crate::harness::send;

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
            Self::Whip(whip) => whip.stop().await,
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

/// A session by WHIP (RFC 9725): one POST with the offer, and a DELETE at the end.
#[derive(Debug)]
pub(super) struct Whip {
    server: SocketAddr,
    /// Path and query of the endpoint.
    endpoint: String,
    /// Path and query of the session, once there is one.
    session: Option<String>,
    said: VecDeque<ServerMessage>,
}

impl Whip {
    async fn new(url: &str) -> Result<Self, BenchError> {
        let parsed = Url::parse(url).map_err(|e| BenchError::Argument(format!("{url}: {e}")))?;
        let port = parsed.port_or_known_default().unwrap_or(80);
        let host = parsed.host_str().unwrap_or_default();
        let mut found = lookup_host((host, port))
            .await
            .map_err(|e| BenchError::network("name", e))?;
        let server = found.next();
        Ok(Self {
            server: server.ok_or_else(|| BenchError::network("name", "no address"))?,
            endpoint: path_and_query(&parsed),
            session: None,
            said: VecDeque::new(),
        })
    }

    async fn offer(&mut self, sdp: &str) -> Result<(), BenchError> {
        let body = Some(("application/sdp", sdp.to_owned()));
        let response = send(self.server, "POST", &self.endpoint, body).await?;
        // 201 is what the RFC says; some servers answer 200.
        if !(200..300).contains(&response.status) {
            return Err(BenchError::Refused {
                what: "the offer",
                answer: format!("{}: {}", response.status, response.text),
            });
        }
        let base = Url::parse(&format!("http://{}{}", self.server, self.endpoint)).ok();
        self.session = response
            .location
            .and_then(|to| Some(path_and_query(&base?.join(&to).ok()?)));
        self.said.push_back(ServerMessage::Answer(response.text));
        let started = "publish_started".to_owned();
        self.said.push_back(ServerMessage::Notification(started));
        Ok(())
    }

    async fn stop(&mut self) -> Result<(), BenchError> {
        let Some(session) = self.session.take() else {
            return Ok(());
        };
        send(self.server, "DELETE", &session, None).await?;
        Ok(())
    }
}

fn path_and_query(url: &Url) -> String {
    let query = url.query().map(|query| format!("?{query}"));
    format!("{}{}", url.path(), query.unwrap_or_default())
}
