//! A small media server for one publisher at a time: the server side of the signalling, and a
//! receiving str0m session.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use str0m::{
    Candidate, Event, Input, Output, Rtc, RtcConfig,
    change::SdpOffer,
    media::{KeyframeRequestKind, MediaKind},
    net::{Protocol, Receive},
};
use tokio::{
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinHandle,
    time::sleep_until,
};
use tokio_tungstenite::{WebSocketStream, accept_async, tungstenite::Message};

/// Faults and requests of the server.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReceiverFaults {
    /// Never answers an offer.
    pub(crate) mute: bool,
    /// Requests a keyframe after this many frames, again and again.
    pub(crate) ask_keyframe_every: Option<usize>,
    /// Drops the first socket after this many frames.
    pub(crate) drop_first_after: Option<usize>,
}

/// What the server has received.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) video: Vec<Arc<[u8]>>,
    pub(crate) audio_packets: usize,
    /// Commands received, without pings.
    pub(crate) commands: Vec<String>,
    pub(crate) offer: String,
}

pub(crate) struct Receiver {
    pub(crate) url: String,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Receiver {
    pub(crate) async fn start(faults: ReceiverFaults) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!(
            "ws://{}/StreamLick/websocket",
            listener.local_addr().unwrap()
        );
        let seen = Arc::new(Mutex::new(Seen::default()));
        let shared = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            for socket in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                let socket_faults = ReceiverFaults {
                    drop_first_after: faults.drop_first_after.filter(|_| socket == 0),
                    ..faults.clone()
                };
                Session::new(stream, socket_faults, Arc::clone(&shared))
                    .await
                    .run()
                    .await;
            }
        });
        Self { url, seen, task }
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) async fn wait(&self, time_limit: Duration, fulfilled: impl Fn(&Seen) -> bool) {
        let deadline = Instant::now() + time_limit;
        while !fulfilled(&self.seen.lock().unwrap()) {
            assert!(
                Instant::now() < deadline,
                "not in time; {} frames",
                self.seen().video.len()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Session {
    socket: WebSocketStream<TcpStream>,
    udp: UdpSocket,
    local: SocketAddr,
    rtc: Option<Rtc>,
    wake_at: Instant,
    started: bool,
    frames: usize,
    faults: ReceiverFaults,
    seen: Arc<Mutex<Seen>>,
}

impl Session {
    async fn new(stream: TcpStream, faults: ReceiverFaults, seen: Arc<Mutex<Seen>>) -> Self {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        Self {
            socket: accept_async(stream).await.unwrap(),
            local: udp.local_addr().unwrap(),
            udp,
            rtc: None,
            wake_at: Instant::now(),
            started: false,
            frames: 0,
            faults,
            seen,
        }
    }

    async fn run(mut self) {
        let mut buffer = [0; 2_000];
        loop {
            let wake_at = match self.rtc {
                Some(_) => self.wake_at,
                None => Instant::now() + Duration::from_secs(1),
            };
            tokio::select! {
                message = self.socket.next() => match message {
                    Some(Ok(Message::Text(text))) => self.process_message(&text).await,
                    Some(Ok(_)) => {}
                    _ => return,
                },
                Ok((length, from)) = self.udp.recv_from(&mut buffer) => {
                    let receive = Receive::new(Protocol::Udp, from, self.local, &buffer[..length]);
                    if let (Some(rtc), Ok(receive)) = (&mut self.rtc, receive) {
                        rtc.handle_input(Input::Receive(Instant::now(), receive)).unwrap();
                    }
                    self.drain().await;
                }
                () = sleep_until(wake_at.into()) => {
                    if let Some(rtc) = &mut self.rtc {
                        rtc.handle_input(Input::Timeout(Instant::now())).unwrap();
                    }
                    self.drain().await;
                }
            }
            if self
                .faults
                .drop_first_after
                .is_some_and(|after| self.frames >= after)
            {
                return;
            }
        }
    }

    async fn send(&mut self, message: Value) {
        let _ = self.socket.send(Message::text(message.to_string())).await;
    }

    async fn process_message(&mut self, text: &str) {
        let message: Value = serde_json::from_str(text).unwrap();
        let command = message["command"].as_str().unwrap().to_owned();
        let stream_id = message["streamId"].clone();
        if command == "ping" {
            return self.send(json!({"command": "pong"})).await;
        }
        self.seen.lock().unwrap().commands.push(command.clone());
        match command.as_str() {
            "publish" if !self.faults.mute => {
                self.send(json!({"command": "start", "streamId": stream_id}))
                    .await;
            }
            "takeConfiguration" => {
                let offer = message["sdp"].as_str().unwrap();
                self.seen.lock().unwrap().offer = offer.to_owned();
                let mut rtc = RtcConfig::new().set_ice_lite(true).build(Instant::now());
                rtc.add_local_candidate(Candidate::host(self.local, "udp").unwrap());
                let offer = SdpOffer::from_sdp_string(offer).unwrap();
                let sdp = rtc.sdp_api().accept_offer(offer).unwrap().to_sdp_string();
                self.rtc = Some(rtc);
                self.started = false;
                self.drain().await;
                self.send(json!({
                    "command": "takeConfiguration", "streamId": stream_id,
                    "type": "answer", "sdp": sdp,
                }))
                .await;
            }
            _ => {}
        }
    }

    async fn drain(&mut self) {
        while let Some(rtc) = &mut self.rtc {
            match rtc.poll_output().unwrap() {
                Output::Timeout(at) => {
                    self.wake_at = at;
                    return;
                }
                Output::Transmit(transmit) => {
                    let _ = self
                        .udp
                        .send_to(&transmit.contents, transmit.destination)
                        .await;
                }
                Output::Event(event) => self.process(event).await,
            }
        }
    }

    async fn process(&mut self, event: Event) {
        match event {
            Event::MediaData(data) => {
                if !self.started {
                    self.started = true;
                    self.send(json!({"command": "notification", "definition": "publish_started"}))
                        .await;
                }
                let rtc = self.rtc.as_mut().unwrap();
                if rtc.media(data.mid).unwrap().kind() == MediaKind::Audio {
                    self.seen.lock().unwrap().audio_packets += 1;
                    return;
                }
                self.frames += 1;
                if self
                    .faults
                    .ask_keyframe_every
                    .is_some_and(|every| self.frames.is_multiple_of(every))
                {
                    let mut writer = rtc.writer(data.mid).unwrap();
                    writer
                        .request_keyframe(None, KeyframeRequestKind::Pli)
                        .unwrap();
                }
                self.seen.lock().unwrap().video.push(data.data);
            }
            Event::Closed => self.rtc = None,
            _ => {}
        }
    }
}
