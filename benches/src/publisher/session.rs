//! The life of a publisher: attempt after attempt, until it is stopped.
//!
//! The delays are those of the SDK: a connection that is not up 3 s after `publish`, or that hears
//! nothing for as long as Chromium takes to call it disconnected and 3 s more, is closed, `stop` is
//! sent, and 500 ms later `publish` again. After the loss of the WebSocket media flows for 500 ms
//! more before the same happens, because the SDK takes so long to act.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use shardcast_link::VideoCodec;
use tokio::{
    net::lookup_host,
    sync::watch,
    time::{Interval, MissedTickBehavior, interval, sleep, sleep_until},
};
use url::Url;

use super::feeder::Feeder;
use super::hostile::Spoiler;
use super::peer::{Offered, Peer, PeerEvent};
use super::signalling::{ServerMessage, Signalling};
use super::{PublisherOptions, PublisherReport, PublisherState, Wish};
use crate::clip::Clip;
use crate::{BenchError, clock};

const CONNECT_PATIENCE: Duration = Duration::from_secs(3);
/// Chromium calls a connection disconnected after 2.5 s without an answer, the SDK waits 3 s more.
const SILENCE_PATIENCE: Duration = Duration::from_millis(5_500);
const AFTER_STOP: Duration = Duration::from_millis(500);
/// From the loss of the WebSocket to the end of the peer connection.
const AFTER_SOCKET_LOSS: Duration = Duration::from_millis(500);
const PING_INTERVAL: Duration = Duration::from_secs(3);
const LATE: Duration = Duration::from_millis(50);

/// Why an attempt ended.
enum Ending {
    /// The owner wished it, or the server said `publish_finished`.
    Finished,
    /// The media connection is gone; the WebSocket stands.
    PeerLost(&'static str),
    SocketLost,
}

pub(super) async fn run(
    clip: Arc<Clip>,
    options: PublisherOptions,
    wish: watch::Receiver<Wish>,
    report: watch::Sender<PublisherReport>,
) {
    let codec = clip.format.codec;
    let spoiler = options.hostility.clone().map(|it| Spoiler::new(codec, it));
    let feeder = Feeder::new(clip, options.number, options.pace, spoiler);
    let mut life = Life {
        options,
        codec,
        feeder,
        wish,
        report,
        born: Instant::now(),
        socket: None,
    };
    while *life.wish.borrow() == Wish::Publish {
        let pause = match life.attempt().await {
            Ok(Ending::Finished) => break,
            Ok(Ending::PeerLost(why)) => {
                life.report.send_modify(|report| report.error(why));
                life.say_stop().await;
                AFTER_STOP
            }
            Ok(Ending::SocketLost) => {
                life.report
                    .send_modify(|report| report.error("the WebSocket was closed"));
                life.socket = None;
                AFTER_STOP
            }
            Err(error) => {
                life.report
                    .send_modify(|report| report.error(error.to_string()));
                life.socket = None;
                AFTER_STOP + AFTER_SOCKET_LOSS
            }
        };
        life.report
            .send_modify(|report| report.state = PublisherState::Returning);
        tokio::select! {
            () = sleep(pause) => {}
            _ = life.wish.changed() => {}
        }
    }
    life.say_stop().await;
    life.report
        .send_modify(|report| report.state = PublisherState::Stopped);
}

struct Life {
    options: PublisherOptions,
    codec: VideoCodec,
    feeder: Feeder,
    wish: watch::Receiver<Wish>,
    report: watch::Sender<PublisherReport>,
    born: Instant,
    /// Kept between attempts.
    socket: Option<Signalling>,
}

impl Life {
    async fn say_stop(&mut self) {
        if let Some(socket) = &mut self.socket {
            // A socket that is gone frees the id by itself.
            let _ = socket.stop(&self.options.stream_id).await;
        }
    }

    async fn attempt(&mut self) -> Result<Ending, BenchError> {
        let server = resolve(&self.options.url).await?;
        let mut socket = match self.socket.take() {
            Some(socket) => socket,
            None => Signalling::connect(&self.options.url).await?,
        };
        let PublisherOptions {
            stream_id,
            token,
            video,
            audio,
            data_channel,
            ..
        } = self.options.clone();
        let offered = Offered {
            video,
            audio,
            data_channel,
            codec: self.codec,
        };
        let (peer, offer) = Peer::offer(server, &stream_id, offered).await?;
        socket
            .publish(&stream_id, token.as_deref(), (video, audio))
            .await?;
        self.report.send_modify(|report| {
            report.attempts += 1;
            report.state = PublisherState::Connecting;
        });
        let mut ping = interval(PING_INTERVAL);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut attempt = Attempt {
            life: self,
            peer,
            offer: Some(offer),
            ping,
            deadline: Instant::now() + CONNECT_PATIENCE,
            epoch: None,
            socket_lost: None,
        };
        let ending = attempt.drive(&mut socket).await;
        attempt.peer.close().await;
        if !matches!(ending, Ok(Ending::SocketLost) | Err(_)) {
            self.socket = Some(socket);
        }
        ending
    }

    fn since_birth_ms(&self) -> f64 {
        self.born.elapsed().as_secs_f64() * 1_000.0
    }
}

struct Attempt<'a> {
    life: &'a mut Life,
    peer: Peer,
    offer: Option<String>,
    ping: Interval,
    /// Without a connection until then, it is tried again.
    deadline: Instant,
    /// When media began.
    epoch: Option<Instant>,
    /// When the WebSocket was lost.
    socket_lost: Option<Instant>,
}

impl Attempt<'_> {
    async fn drive(&mut self, socket: &mut Signalling) -> Result<Ending, BenchError> {
        loop {
            let wake_at = self.wake_at();
            let mut ending = None;
            tokio::select! {
                biased;
                _ = self.life.wish.changed() => return Ok(Ending::Finished),
                () = sleep_until(wake_at.into()) => self.wake().await?,
                readable = self.peer.readable() => {
                    readable?;
                    self.peer.receive().await?;
                }
                message = socket.next(), if self.socket_lost.is_none() => {
                    ending = self.take(message, socket).await?;
                }
                _ = self.ping.tick(), if self.socket_lost.is_none() => {
                    if socket.ping().await.is_err() {
                        self.socket_lost = Some(Instant::now());
                    }
                }
            }
            if let Some(ending) = ending.or_else(|| self.look_after()) {
                return Ok(ending);
            }
        }
    }

    fn wake_at(&self) -> Instant {
        let Some(epoch) = self.epoch else {
            return self.peer.wake_at.min(self.deadline);
        };
        let mut at = self.peer.wake_at.min(self.peer.heard_at + SILENCE_PATIENCE);
        if self.life.options.video {
            at = at.min(epoch + self.life.feeder.next_frame_due());
        }
        if self.life.options.audio {
            at = at.min(epoch + self.life.feeder.next_packet_due());
        }
        at
    }

    /// When the loss of the WebSocket ends the attempt.
    fn socket_end(&self) -> Option<Instant> {
        let lost = self
            .socket_lost
            .filter(|_| !self.life.options.outlives_socket)?;
        Some(lost + AFTER_SOCKET_LOSS)
    }

    async fn wake(&mut self) -> Result<(), BenchError> {
        if self.peer.wake_at <= Instant::now() {
            self.peer.wake().await?;
        }
        let Some(epoch) = self.epoch else {
            return Ok(());
        };
        while self.life.options.audio
            && epoch + self.life.feeder.next_packet_due() <= Instant::now()
        {
            self.send_sound(epoch).await?;
        }
        while self.life.options.video && epoch + self.life.feeder.next_frame_due() <= Instant::now()
        {
            self.send_frame(epoch).await?;
        }
        Ok(())
    }

    async fn send_frame(&mut self, epoch: Instant) -> Result<(), BenchError> {
        let due = epoch + self.life.feeder.next_frame_due();
        let late = due.elapsed() > LATE;
        let Some(frame) = self.life.feeder.next_frame(clock::now_us()) else {
            return Ok(());
        };
        let (bytes, key) = (frame.unit.len() as u64, frame.key);
        self.peer.send_frame(frame, due).await?;
        self.life.report.send_modify(|report| {
            report.frames_sent += 1;
            report.keyframes_sent += u64::from(key);
            report.frames_late += u64::from(late);
            report.media_bytes_sent += bytes;
        });
        Ok(())
    }

    async fn send_sound(&mut self, epoch: Instant) -> Result<(), BenchError> {
        let due = epoch + self.life.feeder.next_packet_due();
        let Some(sound) = self.life.feeder.next_packet() else {
            return Ok(());
        };
        let bytes = sound.packet.len() as u64;
        self.peer.send_sound(sound, due).await?;
        self.life.report.send_modify(|report| {
            report.packets_of_sound_sent += 1;
            report.media_bytes_sent += bytes;
        });
        Ok(())
    }

    async fn take(
        &mut self,
        message: ServerMessage,
        socket: &mut Signalling,
    ) -> Result<Option<Ending>, BenchError> {
        let stream_id = &self.life.options.stream_id;
        match message {
            ServerMessage::Start => {
                if let Some(offer) = self.offer.take() {
                    socket.offer(stream_id, &offer).await?;
                    let (mid, candidate) = self.peer.trickled();
                    socket.candidate(stream_id, &mid, &candidate).await?;
                }
            }
            ServerMessage::Answer(sdp) => self.peer.answer(&sdp).await?,
            ServerMessage::Candidate(candidate) => self.peer.candidate(&candidate).await?,
            ServerMessage::Notification(definition) => match definition.as_str() {
                "publish_started" => {
                    let ms = self.life.since_birth_ms();
                    self.life.report.send_modify(|report| {
                        report.publish_started += 1;
                        report.publish_started_ms.get_or_insert(ms);
                    });
                }
                "publish_finished" => return Ok(Some(Ending::Finished)),
                "server_will_stop" => return Ok(Some(Ending::SocketLost)),
                _ => {}
            },
            ServerMessage::Error(definition) => {
                self.life
                    .report
                    .send_modify(|report| report.error(definition));
            }
            ServerMessage::Closed => self.socket_lost = Some(Instant::now()),
            ServerMessage::Pong | ServerMessage::Other(_) => {}
        }
        Ok(None)
    }

    /// Events of the connection, and its deadlines.
    fn look_after(&mut self) -> Option<Ending> {
        for event in self.peer.events() {
            match event {
                PeerEvent::Connected => self.begin(),
                PeerEvent::KeyframeRequested => {
                    self.life.feeder.want_keyframe();
                    self.life
                        .report
                        .send_modify(|report| report.keyframes_requested += 1);
                }
                PeerEvent::Stats { lost_fraction, rtt } => {
                    self.life.report.send_modify(|report| {
                        report.lost_fraction = lost_fraction;
                        report.rtt_ms = rtt.map(|rtt| rtt.as_secs_f64() * 1_000.0);
                    });
                }
                PeerEvent::Gone => return Some(Ending::PeerLost("the connection was closed")),
            }
        }
        let now = Instant::now();
        if self.socket_end().is_some_and(|end| now >= end) {
            return Some(Ending::SocketLost);
        }
        if self.epoch.is_none() {
            return (now >= self.deadline)
                .then_some(Ending::PeerLost("not connected 3 s after publish"));
        }
        (now >= self.peer.heard_at + SILENCE_PATIENCE)
            .then_some(Ending::PeerLost("the server is silent"))
    }

    fn begin(&mut self) {
        if self.epoch.is_some() {
            return;
        }
        self.epoch = Some(Instant::now());
        self.life.feeder.restart();
        let ms = self.life.since_birth_ms();
        self.life.report.send_modify(|report| {
            report.state = PublisherState::Sending;
            report.connect_ms.get_or_insert(ms);
            report.first_media_us = Some(clock::now_us());
        });
    }
}

/// The address to which media will go: that of the signalling.
async fn resolve(url: &str) -> Result<IpAddr, BenchError> {
    let parsed = Url::parse(url).map_err(|e| BenchError::Argument(format!("{url}: {e}")))?;
    let host = parsed.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let mut found = lookup_host((host, 0))
        .await
        .map_err(|e| BenchError::network("name", e))?;
    let address = found
        .next()
        .ok_or_else(|| BenchError::network("name", "no address"))?;
    Ok(address.ip())
}
