//! The signalling WebSocket: frames in, messages to the hub; messages from the hub, frames out.
//!
//! The upgrade is done here and not by axum, because a client that sends a frame over the limit
//! must be told so (close code 1009) while it still writes: what it goes on to send is read and
//! thrown away, or its kernel would discard our close frame with a reset.

use std::{
    collections::HashMap,
    io,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

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
    io::AsyncReadExt,
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
    SocketId,
    message::{self, ClientMessage, Publish, ServerMessage},
    metered::Metered,
    pending::{Pending, Verdict},
};
use crate::{
    commands::{self, Sender},
    control::Control,
    forwarded, limits,
    places::{Network, Place},
    rest::ip_filter::{self, Peer},
    webhooks::authenticate,
};

/// What is on its way to a client.
#[derive(Debug)]
enum Outgoing {
    Text(String),
    Close(u16),
}

/// The queues towards all open sockets.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    open: Mutex<Open>,
    made: AtomicU64,
}

#[derive(Debug, Default)]
struct Open {
    /// Without those that are about to be closed.
    queues: HashMap<SocketId, mpsc::Sender<Outgoing>>,
    /// Every socket until its task has ended, by the network at its other end.
    networks: HashMap<SocketId, Network>,
    per_network: HashMap<Network, usize>,
}

impl Sockets {
    /// Queues a message; a client that does not read loses its socket.
    pub(crate) fn send(&self, socket: SocketId, message: &ServerMessage) {
        self.push(socket, Outgoing::Text(message.to_text()));
    }

    pub(crate) fn close(&self, socket: SocketId, code: u16) {
        self.push(socket, Outgoing::Close(code));
    }

    /// Tells every client that this process goes away, so that the SDK looks for the next one.
    pub(crate) fn close_all(&self) {
        let sockets: Vec<SocketId> = self.lock().queues.keys().copied().collect();
        for socket in sockets {
            self.send(socket, &ServerMessage::ServerWillStop);
            self.close(socket, CloseCode::Restart.into());
        }
    }

    fn push(&self, socket: SocketId, outgoing: Outgoing) {
        let mut open = self.lock();
        let Some(queue) = open.queues.get(&socket) else {
            return;
        };
        if queue.try_send(outgoing).is_err() {
            // Dropping the sender ends the socket's task.
            open.queues.remove(&socket);
        }
    }

    /// `None` when there are too many, in all or of `address` unless that is `trusted`.
    fn open(&self, address: IpAddr, trusted: bool) -> Option<(SocketId, mpsc::Receiver<Outgoing>)> {
        let mut open = self.lock();
        let network = Network::of(address);
        let of_network = open.per_network.get(&network).copied().unwrap_or(0);
        if open.networks.len() >= limits::SOCKETS_MAX
            || (!trusted && of_network >= limits::SOCKETS_PER_ADDRESS_MAX)
        {
            return None;
        }
        let socket = SocketId(self.made.fetch_add(1, Ordering::Relaxed));
        let (sender, receiver) = mpsc::channel(limits::SOCKET_QUEUE_MAX);
        open.queues.insert(socket, sender);
        open.networks.insert(socket, network);
        open.per_network.insert(network, of_network + 1);
        Some((socket, receiver))
    }

    fn forget(&self, socket: SocketId) {
        let mut open = self.lock();
        open.queues.remove(&socket);
        let Some(network) = open.networks.remove(&socket) else {
            return;
        };
        let left = open.per_network.remove(&network).unwrap_or(1) - 1;
        if left > 0 {
            open.per_network.insert(network, left);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

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
    if let Err(refusal) = ip_filter::check_publisher_origin(&control.settings, request.headers()) {
        return (StatusCode::FORBIDDEN, format!("{refusal}.\n")).into_response();
    }
    let address = request.extensions().get::<Peer>();
    let address = address.map_or(IpAddr::from([0, 0, 0, 0]), |peer| {
        peer.0.ip().to_canonical()
    });
    let allowed = control
        .application(&application)
        .and_then(|application| application.allowed_publisher_cidr.as_ref());
    let from_allowed_address = ip_filter::may_publish(allowed, address, request.headers());
    let trusted = control.settings.remote_allowed_cidr.contains(address);
    let Some((socket, queue)) = control.sockets.open(address, trusted) else {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            "too many signalling sockets\n",
        )
            .into_response();
    };
    let allowed = &control.settings.remote_allowed_cidr;
    let address = forwarded::client(address, request.headers(), allowed);
    let origin = super::Client {
        address,
        is_trusted: allowed.contains(address),
    };
    let control = Arc::clone(control);
    let place = request.extensions().get::<Arc<Place>>().cloned();
    tokio::spawn(async move {
        control.socket_opened(socket, origin);
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
        control.socket_closed(socket);
        drop(place);
    });
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
            ClientMessage::Publish(attempt) if self.must_ask(control, &attempt) => {
                self.ask(control, attempt);
            }
            ClientMessage::Stop { broadcast } if self.pending.withdraw(&broadcast) => {
                let stream = broadcast.stream().to_owned();
                let definition = "publish_finished";
                let message = ServerMessage::Notification { stream, definition };
                control.sockets.send(self.socket, &message);
            }
            message => commands::carry_out(control, self.sender(), message),
        }
    }

    /// Whether the backend has the last word. What is refused anyhow is not asked.
    fn must_ask(&self, control: &Control, attempt: &Publish) -> bool {
        authenticate::url(control, attempt).is_some()
            && commands::admission(control, self.sender(), attempt).is_ok()
    }

    fn ask(&mut self, control: &Arc<Control>, attempt: Publish) {
        let broadcast = attempt.broadcast.clone();
        let (asking, question) = (Arc::clone(control), attempt.clone());
        let call = async move { authenticate::allows(&asking, &question).await };
        if let Err(definition) = self.pending.ask(attempt, call) {
            self.refuse(control, &broadcast, definition);
        }
    }

    /// Goes on with an attempt about which the backend was asked.
    fn answered(&mut self, control: &Arc<Control>, attempt: Publish, verdict: Verdict) {
        match verdict {
            Ok(()) => {
                commands::carry_out(control, self.sender(), ClientMessage::Publish(attempt));
            }
            Err(definition) => self.refuse(control, &attempt.broadcast, definition),
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
                control.with_hub(|hub, _| hub.socket_heard(heard, client.socket));
                match take(control, &mut client, frame, &mut budget) {
                    Next::Go => {}
                    Next::Close(code) => break Some(code),
                    Next::Gone => break None,
                }
            }
            outgoing = queue.recv() => {
                let sent = match outgoing {
                    Some(Outgoing::Text(text)) => write(&mut stream, Message::text(text)).await,
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

/// Says why, then reads on until the client has closed.
async fn end(mut stream: Stream, code: CloseCode) {
    let frame = CloseFrame {
        code,
        reason: reason(code).into(),
    };
    if stream.send(Message::Close(Some(frame))).await.is_err() {
        return;
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
    fn a_socket_counts_until_its_task_has_ended_and_one_address_does_not_take_them_all() {
        let sockets = Sockets::default();
        let [one, other] = [[203, 0, 113, 1], [203, 0, 113, 2]].map(IpAddr::from);
        let mut open: Vec<_> = std::iter::from_fn(|| sockets.open(one, false)).collect();
        assert_eq!(open.len(), limits::SOCKETS_PER_ADDRESS_MAX);
        assert!(sockets.open(other, false).is_some());
        assert!(sockets.open(one, true).is_some());
        sockets.forget(open.remove(0).0);
        sockets.forget(open.remove(0).0);
        let (slow, queue) = sockets.open(one, false).unwrap();
        for _ in 0..=limits::SOCKET_QUEUE_MAX {
            sockets.send(slow, &ServerMessage::Pong);
        }
        assert!(queue.is_closed() || queue.len() == limits::SOCKET_QUEUE_MAX);
        assert!(sockets.open(one, false).is_none(), "it still counts");
        sockets.forget(slow);
        assert!(sockets.open(one, false).is_some());
    }

    #[test]
    fn a_flood_of_messages_runs_out_of_budget_and_earns_it_back() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        let taken = (0..10_000).take_while(|_| budget.take(start)).count();
        assert_eq!(taken, limits::MESSAGES_BURST as usize);
        assert!(budget.take(start + Duration::from_secs(1)));
    }
}
