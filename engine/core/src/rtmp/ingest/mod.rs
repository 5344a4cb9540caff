//! Connections that control has accepted, read up to `publish` or `play` and handed over: encoders, players, and
//! the test sink, to which an engine alone takes connections by itself.

pub(crate) mod clock;
mod publisher;
mod test_sink;

pub(crate) use self::{
    publisher::{EncoderOffer, RtmpPublisher},
    test_sink::TestSink,
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use shardcast_link::HandedOver;

use super::{ServerConfig, ServerOutput, ServerSession};

/// The session of a connection that was handed over, as it stands behind what the client has sent.
///
/// The session is fed the same bytes as that of control was, so it is in the same state. What it would answer
/// has been sent already. `None` when it does not wait for the answer to `publish`: the two processes are not
/// of one version.
fn resumed(connection: &HandedOver) -> Option<(ServerSession, String)> {
    resumed_where(connection, |output| match output {
        ServerOutput::Publish { stream_key } => Some(stream_key),
        _ => None,
    })
}

/// The same of a client that waits for the answer to `play`.
pub(crate) fn resumed_player(connection: &HandedOver) -> Option<ServerSession> {
    let resumed = resumed_where(connection, |output| match output {
        ServerOutput::Play { stream_key } => Some(stream_key),
        _ => None,
    });
    resumed.map(|(session, _)| session)
}

fn resumed_where(
    connection: &HandedOver,
    asks: impl Fn(ServerOutput) -> Option<String>,
) -> Option<(ServerSession, String)> {
    let read = BASE64.decode(&connection.read_base64).ok()?;
    let mut session = ServerSession::new(ServerConfig::default());
    session.handle(&read).ok()?;
    let outputs = std::iter::from_fn(|| session.poll());
    let asked = outputs.filter_map(asks).last();
    asked.map(|stream_key| (session, stream_key))
}
