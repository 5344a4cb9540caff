//! The signalling WebSocket: frames in, messages to the hub; messages from the hub, frames out.
//!
//! The upgrade is done here and not by axum, because a client that sends a frame over the limit
//! must receive close code 1009 while it still writes: what it goes on to send is read and
//! thrown away, or its kernel would discard our close frame with a reset.

use std::{io, sync::Arc, time::Instant};

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use shardcast_link::BroadcastId;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    sync::mpsc,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error as WsError, Message,
        error::CapacityError,
        handshake::derive_accept_key,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

use super::{
    caller::Caller,
    commands::{self, Sender},
    metered::Metered,
    pending::Pending,
};
use crate::{
    access,
    backend::Verdict,
    connection_limits::ConnectionPermit,
    effects, limits,
    publishing::{
        SocketId,
        message::{self, ClientMessage, Publish, ServerMessage},
    },
    state::{Control, Outgoing},
    webhooks::authenticate,
};

/// Answers the upgrade request of a socket for `application` (RFC 6455 §4.2).
pub(crate) fn upgrade(control: &Arc<Control>, application: String, request: Request) -> Response {
    let Some(accept) = accept_key(request.headers()) else {
        let text = "this is the signalling WebSocket: connect with ws:// or wss://\n";
        return (
            StatusCode::UPGRADE_REQUIRED,
            [(header::UPGRADE, "websocket")],
            text,
        )
            .into_response();
    };
    if let Err(refusal) = access::check_publisher_origin(&control.settings, request.headers()) {
        return (StatusCode::FORBIDDEN, format!("{refusal}.\n")).into_response();
    }
    let caller = Caller::of(
        control,
        &application,
        request.headers(),
        request.extensions(),
    );
    let Some((socket, queue)) = caller.open(control) else {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            "too many signalling sockets\n",
        )
            .into_response();
    };
    let Caller {
        client: origin,
        from_allowed_address,
        ..
    } = caller;
    let control = Arc::clone(control);
    let permit = request.extensions().get::<Arc<ConnectionPermit>>().cloned();
    tokio::spawn(async move {
        let opened = Instant::now();
        control.lock_hub().socket_opened(opened, socket, origin);
        match hyper::upgrade::on(request).await {
            Ok(upgraded) => {
                let client = Client {
                    application,
                    socket,
                    from_allowed_address,
                    pending: Pending::default(),
                };
                serve(&control, client, upgraded, queue).await;
            }
            Err(error) => tracing::debug!(%error, "a socket was not upgraded"),
        }
        control.sockets.forget(socket);
        effects::socket_closed(&control, socket);
        drop(permit);
    });
    switching_protocols(accept)
}

/// The server's side of the opening handshake (RFC 6455 §4.2.2).
fn switching_protocols(accept: String) -> Response {
    let headers = [
        (header::UPGRADE, "websocket".to_owned()),
        (header::CONNECTION, "Upgrade".to_owned()),
        (header::SEC_WEBSOCKET_ACCEPT, accept),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers, Body::empty()).into_response()
}

fn accept_key(headers: &HeaderMap) -> Option<String> {
    let has = |name, word: &str| {
        let value = headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        value
            .split(',')
            .any(|part| part.trim().eq_ignore_ascii_case(word))
    };
    let key = headers.get(header::SEC_WEBSOCKET_KEY)?;
    let asked = has(header::UPGRADE, "websocket")
        && has(header::CONNECTION, "upgrade")
        && has(header::SEC_WEBSOCKET_VERSION, "13");
    asked.then(|| derive_accept_key(key.as_bytes()))
}

/// The other end of a socket.
#[derive(Debug)]
struct Client {
    application: String,
    socket: SocketId,
    from_allowed_address: bool,
    pending: Pending,
}

impl Client {
    fn sender(&self) -> Sender<'_> {
        Sender {
            socket: self.socket,
            application: &self.application,
            from_allowed_address: self.from_allowed_address,
        }
    }

    fn carry_out(&mut self, control: &Arc<Control>, message: ClientMessage) {
        match message {
            ClientMessage::Publish(attempt) => self.publish(control, attempt),
            ClientMessage::Stop { broadcast } if self.pending.withdraw(&broadcast) => {
                self.stop_asked(control, broadcast);
            }
            message => commands::carry_out(control, self.sender(), message),
        }
    }

    /// Where there is a backend, it has the last word: no attempt goes on without its yes. What is
    /// refused anyhow is not asked.
    fn publish(&mut self, control: &Arc<Control>, attempt: Publish) {
        let admission = commands::admission(control, self.sender(), &attempt);
        if admission.is_err() || authenticate::url(control, &attempt).is_none() {
            commands::publish(control, self.sender(), admission, attempt, false);
        } else {
            self.ask(control, attempt);
        }
    }

    fn ask(&mut self, control: &Arc<Control>, attempt: Publish) {
        let broadcast = attempt.broadcast.clone();
        let begun = control.lock_hub().begin_question(self.socket, &broadcast);
        let client = match begun {
            Ok(client) => client,
            Err(definition) => return self.refuse(control, &broadcast, definition),
        };
        let (asking, question) = (Arc::clone(control), attempt.clone());
        let call = async move { authenticate::allows(&asking, &question, client).await };
        if let Err(definition) = self.pending.ask(attempt, call) {
            control.lock_hub().end_question(self.socket, &broadcast);
            self.refuse(control, &broadcast, definition);
        }
    }

    /// Goes on with the `stop` of an attempt that was taken back.
    fn stop_asked(&self, control: &Arc<Control>, broadcast: BroadcastId) {
        let (is_held, awaits_stop) = {
            let mut hub = control.lock_hub();
            hub.end_question(self.socket, &broadcast);
            (
                hub.is_held_by(&broadcast, self.socket),
                hub.awaits_stop(self.socket, &broadcast),
            )
        };
        if !is_held {
            let stream = broadcast.stream().to_owned();
            let definition = "publish_finished";
            let message = ServerMessage::Notification { stream, definition };
            control.sockets.send(self.socket, &message);
        }
        if awaits_stop {
            let message = ClientMessage::Stop { broadcast };
            commands::carry_out(control, self.sender(), message);
        }
    }

    /// Goes on with an attempt about which the backend was asked.
    fn answered(&mut self, control: &Arc<Control>, attempt: Publish, verdict: Verdict) {
        match verdict {
            Ok(()) => {
                let admission = commands::admission(control, self.sender(), &attempt);
                commands::publish(control, self.sender(), admission, attempt, true);
            }
            Err(definition) => {
                let broadcast = &attempt.broadcast;
                let is_awaited = control.lock_hub().end_question(self.socket, broadcast);
                if is_awaited {
                    self.refuse(control, broadcast, definition);
                }
            }
        }
    }

    fn refuse(&self, control: &Control, broadcast: &BroadcastId, definition: &'static str) {
        let message = ServerMessage::error(broadcast.stream(), definition);
        control.sockets.send(self.socket, &message);
    }
}

type Stream = WebSocketStream<Metered<TokioIo<Upgraded>>>;

async fn serve(
    control: &Arc<Control>,
    mut client: Client,
    upgraded: Upgraded,
    mut queue: mpsc::Receiver<Outgoing>,
) {
    let config = WebSocketConfig::default()
        .max_message_size(Some(limits::MESSAGE_BYTES_MAX))
        .max_frame_size(Some(limits::MESSAGE_BYTES_MAX))
        .read_buffer_size(limits::SOCKET_BUFFER_BYTES)
        .write_buffer_size(limits::SOCKET_BUFFER_BYTES);
    let io = Metered::new(TokioIo::new(upgraded));
    let mut stream = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
    let mut pings = interval(limits::SOCKET_PING);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = Instant::now();
    let mut budget = Budget::new(heard);
    let close = loop {
        tokio::select! {
            frame = stream.next() => {
                heard = Instant::now();
                control.lock_hub().socket_heard(heard, client.socket);
                match take(control, &mut client, frame, &mut budget) {
                    Next::Go => {}
                    Next::Close(code) => break Some(code),
                    Next::Gone => break None,
                }
            }
            outgoing = queue.recv() => {
                let sent = match outgoing {
                    Some(Outgoing::Message(message)) => {
                        write(&mut stream, Message::text(message.to_text())).await
                    }
                    Some(Outgoing::Close(code)) => break Some(CloseCode::from(code)),
                    None => break Some(CloseCode::Policy),
                };
                if !sent {
                    break None;
                }
            }
            (attempt, verdict) = client.pending.next() => {
                client.answered(control, attempt, verdict);
            }
            _ = pings.tick() => {
                if heard.elapsed() > limits::SOCKET_IDLE {
                    break Some(CloseCode::Away);
                }
                if !write(&mut stream, Message::Ping(bytes::Bytes::new())).await {
                    break None;
                }
            }
        }
    };
    // A client that neither reads nor closes is not waited for.
    let _ = match close {
        Some(code) => timeout(limits::BODY_DRAIN, end(stream, code)).await,
        None => timeout(limits::BODY_DRAIN, async { drop(stream.close(None).await) }).await,
    };
}

/// Whether the frame was written in time.
async fn write(stream: &mut Stream, frame: Message) -> bool {
    let sent = timeout(limits::SOCKET_WRITE, stream.send(frame)).await;
    matches!(sent, Ok(Ok(())))
}

/// What follows a frame.
enum Next {
    Go,
    Close(CloseCode),
    Gone,
}

fn take(
    control: &Arc<Control>,
    client: &mut Client,
    frame: Option<Result<Message, WsError>>,
    budget: &mut Budget,
) -> Next {
    if !budget.take(Instant::now()) {
        return Next::Close(CloseCode::Policy);
    }
    match frame {
        Some(Ok(Message::Text(text))) => {
            match message::parse(&client.application, &text) {
                Ok(message) => client.carry_out(control, message),
                Err(malformed) => control.sockets.send(client.socket, &malformed.answer()),
            }
            Next::Go
        }
        // RFC 6455 §7.4.1: a type of data that it cannot accept.
        Some(Ok(Message::Binary(_))) => Next::Close(CloseCode::Unsupported),
        Some(Ok(Message::Close(_))) | None => Next::Gone,
        Some(Ok(_)) => Next::Go,
        Some(Err(WsError::Capacity(CapacityError::MessageTooLong { .. }))) => {
            Next::Close(CloseCode::Size)
        }
        Some(Err(WsError::Utf8(_))) => Next::Close(CloseCode::Invalid),
        Some(Err(WsError::Protocol(_))) => Next::Close(CloseCode::Protocol),
        Some(Err(WsError::Io(error))) if error.kind() == io::ErrorKind::QuotaExceeded => {
            Next::Close(CloseCode::Policy)
        }
        Some(Err(_)) => Next::Gone,
    }
}

/// Says why, then reads on until the client has closed. That is its close frame: it waits for the server to close the
/// connection (RFC 6455 §7.1.1), a browser for 2 s. Where its frames cannot be read, it is the end of what it sends.
async fn end<Io>(mut stream: WebSocketStream<Metered<Io>>, code: CloseCode)
where
    Io: AsyncRead + AsyncWrite + Unpin,
{
    let frame = CloseFrame {
        code,
        reason: reason(code).into(),
    };
    if stream.send(Message::Close(Some(frame))).await.is_err() {
        return;
    }
    while let Some(Ok(message)) = stream.next().await {
        if message.is_close() {
            return;
        }
    }
    // What is thrown away is not metered.
    let mut io = stream.into_inner().into_inner();
    let mut scratch = vec![0; limits::SOCKET_BUFFER_BYTES];
    let mut read = 0;
    while read < limits::BODY_DRAIN_BYTES_MAX {
        match io.read(&mut scratch).await {
            Ok(0) | Err(_) => return,
            Ok(n) => read += n,
        }
    }
}

fn reason(code: CloseCode) -> &'static str {
    match code {
        CloseCode::Size => "a message is at most 256 KiB",
        CloseCode::Unsupported => "messages are JSON texts",
        CloseCode::Policy => "too many messages, or they are not read",
        CloseCode::Away => "nothing was heard for 30 s",
        CloseCode::Restart => "come back on a new socket",
        _ => "",
    }
}

/// Tokens for messages, refilled over time.
#[derive(Debug)]
struct Budget {
    tokens: f64,
    at: Instant,
}

impl Budget {
    fn new(now: Instant) -> Self {
        Self {
            tokens: f64::from(limits::MESSAGES_BURST),
            at: now,
        }
    }

    fn take(&mut self, now: Instant) -> bool {
        let earned = now.saturating_duration_since(self.at).as_secs_f64()
            * f64::from(limits::MESSAGES_PER_SECOND);
        self.tokens = (self.tokens + earned).min(f64::from(limits::MESSAGES_BURST)) - 1.0;
        self.at = now;
        self.tokens >= 0.0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_flood_of_messages_runs_out_of_budget_and_earns_it_back() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        let taken = (0..10_000).take_while(|_| budget.take(start)).count();
        assert_eq!(taken, limits::MESSAGES_BURST as usize);
        assert!(budget.take(start + Duration::from_secs(1)));
    }

    #[tokio::test]
    async fn a_client_that_has_answered_the_close_frame_sees_the_connection_closed() {
        let (io, far) = tokio::io::duplex(4_096);
        let stream = WebSocketStream::from_raw_socket(Metered::new(io), Role::Server, None).await;
        let mut client = WebSocketStream::from_raw_socket(far, Role::Client, None).await;
        client.send(Message::text("under way")).await.unwrap();
        let closes = async {
            assert!(client.next().await.unwrap().unwrap().is_close());
            assert!(client.next().await.is_none());
        };
        let both = async { tokio::join!(end(stream, CloseCode::Restart), closes) };
        timeout(limits::BODY_DRAIN, both)
            .await
            .expect("each waits for the other");
    }

    #[tokio::test]
    async fn nobody_passes_the_backend_while_what_is_allowed_changes() {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = crate::settings::Settings::in_folder(folder.path());
        let name = settings.application.keys().next().unwrap().clone();
        for application in settings.application.values_mut() {
            // Nobody listens there, so nobody says yes.
            application.webhooks.authenticate_url = "http://127.0.0.1:1/".to_owned();
        }
        let store = crate::store::RedbStore::open(&folder.path().join("store.redb")).unwrap();
        let catalog = crate::store::Catalog::open(store).unwrap();
        let control = Arc::new(Control::new(settings, catalog));
        let socket = SocketId(1);
        let origin = crate::publishing::Client {
            address: [192, 0, 2, 1].into(),
            is_trusted: false,
        };
        control
            .lock_hub()
            .socket_opened(Instant::now(), socket, origin);
        let mut client = Client {
            application: name.clone(),
            socket,
            from_allowed_address: true,
            pending: Pending::default(),
        };
        let is_over = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (changing, until) = (Arc::clone(&control), Arc::clone(&is_over));
        let changes = std::thread::spawn(move || {
            while !until.load(std::sync::atomic::Ordering::Relaxed) {
                changing.drain.set(true);
                changing.drain.set(false);
            }
        });
        for n in 0..20_000 {
            let broadcast = BroadcastId::new(&name, &format!("s{}", n % 8)).unwrap();
            let attempt = Publish {
                broadcast: broadcast.clone(),
                token: String::new(),
                subscriber_id: String::new(),
                subscriber_code: String::new(),
                name: String::new(),
                meta_data: String::new(),
            };
            client.carry_out(&control, ClientMessage::Publish(attempt));
            assert!(!control.lock_hub().is_claimed(&broadcast), "after {n}");
        }
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        changes.join().unwrap();
    }
}
