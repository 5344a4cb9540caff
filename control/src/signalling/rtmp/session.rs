//! One encoder or player, from its connection to the end of its session. To the hub it is a signalling socket, so
//! tokens, limits, takeover and webhooks are those of browsers.

use std::{
    net::{IpAddr, Shutdown, SocketAddr},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use shardcast_link::{Command, HandedOver, socket_lot};
use shardcast_log::{Limiter, outsider};
use shardcast_rtmp::{ServerOutput, ServerSession};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

use super::{
    greeting::{Greeted, greet},
    leaving, players,
    target::Target,
};
use crate::{
    connection_limits::ConnectionPermit,
    effects, handover, limits,
    publishing::message::{ClientMessage, Publish, ServerMessage},
    signalling::{
        caller::Caller,
        commands,
        whip::{explanation, session::Session},
    },
    state::Control,
};

static NOT_GREETED: Limiter = Limiter::refusals();
static REFUSED: Limiter = Limiter::refusals();

/// The name is taken, or cannot be used.
const BAD_NAME: &str = "NetStream.Publish.BadName";
/// This client may not, or not now.
const DENIED: &str = "NetStream.Publish.Denied";

/// There is nothing to play.
const NOT_ON_AIR: &str = "NetStream.Play.StreamNotFound";

/// Why a client is refused: a code for it, and words for who has set it up.
pub(super) struct Refusal {
    code: &'static str,
    pub(super) words: String,
}

impl Refusal {
    pub(super) fn denied(words: &str) -> Self {
        let words = words.to_owned();
        Self {
            code: DENIED,
            words,
        }
    }

    /// The engine is away, or has no place.
    fn later() -> Self {
        Self::denied("the media server is away for a moment: try again")
    }

    /// There is nothing to play under this name.
    pub(super) fn not_on_air() -> Self {
        let words = "the broadcast is not on air".to_owned();
        Self {
            code: NOT_ON_AIR,
            words,
        }
    }

    /// The code for a client that plays.
    fn play_code(&self) -> &'static str {
        match self.code {
            BAD_NAME | NOT_ON_AIR => NOT_ON_AIR,
            _ => "NetStream.Play.Failed",
        }
    }
}

impl From<ServerMessage> for Refusal {
    fn from(message: ServerMessage) -> Self {
        if let ServerMessage::NoStream { .. } = message {
            return Self::not_on_air();
        }
        let ServerMessage::Error {
            definition,
            message,
            ..
        } = message
        else {
            return Self::later();
        };
        let code = match definition {
            "streamIdInUse" | "already_publishing" | "invalidStreamName" => BAD_NAME,
            _ => DENIED,
        };
        let words = message.unwrap_or_else(|| explanation(definition).to_owned());
        Self { code, words }
    }
}

/// Serves one connection to its end. Its `place` is free again once a shard has it.
pub(super) async fn serve(
    control: Arc<Control>,
    mut stream: TcpStream,
    peer: SocketAddr,
    place: ConnectionPermit,
) {
    // Commands are small messages that must not wait for each other.
    let _ = stream.set_nodelay(true);
    let greeted = match timeout(limits::RTMP_GREETING, greet(&mut stream)).await {
        Ok(Ok(greeted)) => greeted,
        Ok(Err(error)) => return log_not_greeted(peer, &error.to_string()),
        Err(_) => return log_not_greeted(peer, "it did neither publish nor play in time"),
    };
    let Greeted {
        rtmp,
        read,
        application,
        name,
        plays,
    } = greeted;
    let client = Waiting {
        stream,
        rtmp,
        remote: peer,
        read_base64: BASE64.encode(read),
    };
    let address = peer.ip().to_canonical();
    match Target::read(&application, &name, plays) {
        Ok(Target::Sink) => sink(&control, client, address).await,
        Ok(Target::Publish(publish)) => {
            if let Some(session) = begin(&control, client, address, *publish).await {
                drop(place);
                attend(&control, session).await;
            }
        }
        Ok(Target::Play(play)) => {
            if let Some(session) = players::begin(&control, client, address, &play).await {
                drop(place);
                players::attend(&control, session).await;
            }
        }
        Err(error) => {
            let words = error.to_string();
            let code = BAD_NAME;
            client.refuse(Refusal { code, words }).await;
        }
    }
}

fn log_not_greeted(peer: SocketAddr, error: &str) {
    if let Some(left_out) = NOT_GREETED.admit(Instant::now()) {
        let error = outsider(error);
        tracing::debug!(%peer, %error, left_out, "a connection to the RTMP port did neither publish nor play");
    }
}

/// A client that waits for the answer to `publish` or `play`.
pub(super) struct Waiting {
    stream: TcpStream,
    rtmp: ServerSession,
    remote: SocketAddr,
    read_base64: String,
}

impl Waiting {
    /// Answers in words, and closes the connection once the client has read them.
    pub(super) async fn refuse(mut self, refusal: Refusal) {
        // Only that has an effect for which the client waits.
        self.rtmp.reject_publish(refusal.code, &refusal.words);
        self.rtmp.reject_play(refusal.play_code(), &refusal.words);
        let mut answer = Vec::new();
        while let Some(output) = self.rtmp.poll() {
            if let ServerOutput::Send(bytes) = output {
                answer.extend_from_slice(&bytes);
            }
        }
        let last_words = async {
            self.stream.write_all(&answer).await?;
            self.stream.shutdown().await?;
            // Closing with unread data would send a reset, which can destroy what it has not read yet.
            let (mut left, mut chunk) = (limits::RTMP_UNREAD_BYTES_MAX, [0; 4_096]);
            while left > 0 {
                match self.stream.read(&mut chunk).await? {
                    0 => break,
                    bytes => left = left.saturating_sub(bytes),
                }
            }
            std::io::Result::Ok(())
        };
        let _ = timeout(limits::RTMP_LAST_WORDS, last_words).await;
    }

    /// Leaves the connection with the engine and has `send` tell a shard of it. When that fails the client is
    /// refused.
    pub(super) async fn hand_over(
        self,
        control: &Control,
        send: impl FnOnce(HandedOver) -> Result<(), Refusal>,
    ) -> bool {
        let Self {
            stream,
            rtmp,
            remote,
            read_base64,
        } = self;
        let lot = control.settings.link_dir.join(socket_lot::FILE_NAME);
        let Ok(stream) = stream.into_std() else {
            return false;
        };
        let left = tokio::task::spawn_blocking(move || {
            let left = leaving::leave(&lot, &stream);
            (left, stream)
        });
        let Ok((left, stream)) = left.await else {
            return false;
        };
        let sent = match left {
            Ok(socket) => {
                let connection = HandedOver {
                    socket,
                    remote: remote.to_string(),
                    read_base64: read_base64.clone(),
                };
                send(connection)
            }
            Err(error) => {
                tracing::debug!(%error, "the engine did not take a connection over");
                Err(Refusal::later())
            }
        };
        let Err(refusal) = sent else {
            return true;
        };
        // The engine may have it too, and would keep it open.
        let usable = stream.set_nonblocking(true).and_then(|()| {
            let other = stream.try_clone()?;
            Ok((TcpStream::from_std(stream)?, other))
        });
        if let Ok((stream, other)) = usable {
            let encoder = Self {
                stream,
                rtmp,
                remote,
                read_base64,
            };
            encoder.refuse(refusal).await;
            let _ = other.shutdown(Shutdown::Both);
        }
        false
    }
}

/// The test sink, for this machine alone: whoever may use it could fill the machine's log and time.
async fn sink(control: &Control, encoder: Waiting, address: IpAddr) {
    let local = encoder.stream.local_addr();
    let is_here =
        address.is_loopback() || local.is_ok_and(|local| local.ip().to_canonical() == address);
    if !is_here {
        let words = "the test sink is for the machine that it runs on";
        return encoder.refuse(Refusal::denied(words)).await;
    }
    let send = |connection| {
        let shard = control.shards.any_connected();
        let sent =
            shard.is_some_and(|shard| control.shards.send(shard, Command::Sink { connection }));
        if sent { Ok(()) } else { Err(Refusal::later()) }
    };
    encoder.hand_over(control, send).await;
}

/// Lets the hub decide about `publish`, and hands the encoder to its shard.
async fn begin(
    control: &Arc<Control>,
    encoder: Waiting,
    address: IpAddr,
    publish: Publish,
) -> Option<Session> {
    let broadcast = publish.broadcast.clone();
    let caller = Caller::of_peer(control, broadcast.application(), address);
    let session = admit(control, caller, publish).await;
    let session = match session {
        Ok(session) => session,
        Err(refusal) => {
            if let Some(left_out) = REFUSED.admit(Instant::now()) {
                let words = outsider(&refusal.words);
                tracing::info!(%broadcast, %address, %words, left_out, "an encoder was refused");
            }
            encoder.refuse(refusal).await;
            return None;
        }
    };
    let socket = session.socket();
    let send = |connection| {
        effects::with_hub(control, |hub, out| {
            handover::hand_over_encoder(control, hub, socket, &broadcast, connection, out)
        })
        .map_err(|definition| ServerMessage::error(broadcast.stream(), definition).into())
    };
    encoder.hand_over(control, send).await.then_some(session)
}

async fn admit(
    control: &Arc<Control>,
    caller: Caller,
    publish: Publish,
) -> Result<Session, Refusal> {
    if control.stopping.load(Ordering::Relaxed) {
        return Err(Refusal::denied("this server is stopping"));
    }
    let session = Session::open(control, caller, publish.broadcast.clone());
    let mut session = session.ok_or_else(|| Refusal::denied("too many publishers"))?;
    session.start(publish).await?;
    Ok(session)
}

/// Waits for the end of a session that a shard has.
async fn attend(control: &Arc<Control>, mut session: Session) {
    loop {
        tokio::select! {
            message = session.next() => match message {
                Ok(_) => {}
                Err(ServerMessage::Notification { .. }) => break,
                Err(_) => return,
            },
            () = sleep(Duration::from_secs(2)) => {
                if !control.lock_hub().has_session_of(session.socket()) {
                    return;
                }
            }
        }
    }
    // Whether the encoder has ended its stream or has lost its connection, the hub knows from the shard. In the
    // second case this is without effect.
    let broadcast = session.broadcast().clone();
    commands::carry_out(control, session.sender(), ClientMessage::Stop { broadcast });
}
