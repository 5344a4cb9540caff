//! The task of a publisher: attempt after attempt, until it is stopped.
//!
//! The delays are those of the SDK. It closes a connection that is not up 3 s after `publish`, or
//! that has received nothing for as long as Chromium needs to call it disconnected and 3 s more; it
//! sends `stop`, and `publish` again 500 ms later. After the loss of the WebSocket it sends media
//! for 500 ms more before it does the same, which is the time the SDK needs to react.

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

use super::conversation::Conversation;
use super::corruption::FrameCorruptor;
use super::feeder::Feeder;
use super::peer::{Offered, Peer, PeerEvent};
use super::signalling::ServerMessage;
use super::{PublisherCommand, PublisherOptions, PublisherReport, PublisherState};
use crate::test_clip::TestClip;
use crate::{BenchError, clock};

const CONNECT_TIME_LIMIT: Duration = Duration::from_secs(3);
/// Chromium calls a connection disconnected after 2.5 s without an answer; the SDK waits 3 s more.
const SILENCE_TIME_LIMIT: Duration = Duration::from_millis(5_500);
const AFTER_STOP: Duration = Duration::from_millis(500);
/// From the loss of the WebSocket to the end of the peer connection.
const AFTER_SOCKET_LOSS: Duration = Duration::from_millis(500);
const PING_INTERVAL: Duration = Duration::from_secs(3);
pub(super) const LATE: Duration = Duration::from_millis(50);
/// A delay of which the 99th percentile of a good server stays below.
pub(super) const A_LITTLE_LATE: Duration = Duration::from_millis(5);

/// Why an attempt ended.
enum Ending {
    /// The owner stopped the publisher, or the server sent `publish_finished`.
    Finished,
    /// The media connection is lost; the WebSocket is still open.
    PeerLost(&'static str),
    SocketLost,
}

pub(super) async fn run(
    clip: Arc<TestClip>,
    options: PublisherOptions,
    command: watch::Receiver<PublisherCommand>,
    report: watch::Sender<PublisherReport>,
) {
    let codec = clip.format.codec;
    let corruptor = options
        .corruption
        .clone()
        .map(|it| FrameCorruptor::new(codec, it));
    let feeder = Feeder::new(clip, options.number, options.pace, corruptor);
    let mut task = PublisherTask {
        options,
        codec,
        feeder,
        command,
        report,
        started_at: Instant::now(),
        socket: None,
    };
    while *task.command.borrow() == PublisherCommand::Publish {
        let pause = match task.attempt().await {
            Ok(Ending::Finished) => break,
            Ok(Ending::PeerLost(why)) => {
                task.report.send_modify(|report| report.error(why));
                task.send_stop().await;
                AFTER_STOP
            }
            Ok(Ending::SocketLost) => {
                task.report
                    .send_modify(|report| report.error("the WebSocket was closed"));
                task.socket = None;
                AFTER_STOP
            }
            Err(error) => {
                task.report
                    .send_modify(|report| report.error(error.to_string()));
                task.socket = None;
                AFTER_STOP + AFTER_SOCKET_LOSS
            }
        };
        task.report
            .send_modify(|report| report.state = PublisherState::Returning);
        tokio::select! {
            () = sleep(pause) => {}
            _ = task.command.changed() => {}
        }
    }
    task.send_stop().await;
    task.report
        .send_modify(|report| report.state = PublisherState::Stopped);
}

struct PublisherTask {
    options: PublisherOptions,
    codec: VideoCodec,
    feeder: Feeder,
    command: watch::Receiver<PublisherCommand>,
    report: watch::Sender<PublisherReport>,
    started_at: Instant,
    /// Kept between attempts.
    socket: Option<Conversation>,
}

impl PublisherTask {
    async fn send_stop(&mut self) {
        if let Some(socket) = &mut self.socket {
            // The server frees the id by itself when the socket is gone.
            let _ = socket.stop(&self.options.stream_id).await;
        }
    }

    async fn attempt(&mut self) -> Result<Ending, BenchError> {
        let server = resolve(&self.options.url).await?;
        let mut socket = match self.socket.take() {
            Some(socket) => socket,
            None => Conversation::connect(&self.options.url).await?,
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
            task: self,
            peer,
            offer: Some(offer),
            ping,
            deadline: Instant::now() + CONNECT_TIME_LIMIT,
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

    fn since_start_ms(&self) -> f64 {
        self.started_at.elapsed().as_secs_f64() * 1_000.0
    }
}

struct Attempt<'a> {
    task: &'a mut PublisherTask,
    peer: Peer,
    offer: Option<String>,
    ping: Interval,
    /// The attempt ends then if there is no connection.
    deadline: Instant,
    /// When the first media was sent.
    epoch: Option<Instant>,
    /// When the WebSocket was lost.
    socket_lost: Option<Instant>,
}

impl Attempt<'_> {
    async fn drive(&mut self, socket: &mut Conversation) -> Result<Ending, BenchError> {
        loop {
            let wake_at = self.wake_at();
            let mut ending = None;
            tokio::select! {
                biased;
                _ = self.task.command.changed() => return Ok(Ending::Finished),
                () = sleep_until(wake_at.into()) => self.wake().await?,
                readable = self.peer.readable() => {
                    readable?;
                    self.peer.receive().await?;
                }
                message = socket.next(), if self.socket_lost.is_none() => {
                    ending = self.process_message(message, socket).await?;
                }
                _ = self.ping.tick(), if self.socket_lost.is_none() => {
                    if socket.ping().await.is_err() {
                        self.socket_lost = Some(Instant::now());
                    }
                }
            }
            if let Some(ending) = ending.or_else(|| self.process_events()) {
                return Ok(ending);
            }
        }
    }

    fn wake_at(&self) -> Instant {
        let Some(epoch) = self.epoch else {
            return self.peer.wake_at.min(self.deadline);
        };
        let mut at = self
            .peer
            .wake_at
            .min(self.peer.received_at + SILENCE_TIME_LIMIT);
        if self.task.options.video {
            at = at.min(epoch + self.task.feeder.next_frame_due());
        }
        if self.task.options.audio {
            at = at.min(epoch + self.task.feeder.next_packet_due());
        }
        at
    }

    /// When the loss of the WebSocket ends the attempt.
    fn socket_end(&self) -> Option<Instant> {
        let lost = self
            .socket_lost
            .filter(|_| !self.task.options.outlives_socket)?;
        Some(lost + AFTER_SOCKET_LOSS)
    }

    async fn wake(&mut self) -> Result<(), BenchError> {
        if self.peer.wake_at <= Instant::now() {
            self.peer.wake().await?;
        }
        let Some(epoch) = self.epoch else {
            return Ok(());
        };
        while self.task.options.audio
            && epoch + self.task.feeder.next_packet_due() <= Instant::now()
        {
            self.send_audio(epoch).await?;
        }
        while self.task.options.video && epoch + self.task.feeder.next_frame_due() <= Instant::now()
        {
            self.send_frame(epoch).await?;
        }
        Ok(())
    }

    async fn send_frame(&mut self, epoch: Instant) -> Result<(), BenchError> {
        let due = epoch + self.task.feeder.next_frame_due();
        let late = due.elapsed();
        let Some(frame) = self.task.feeder.next_frame(clock::now_us()) else {
            return Ok(());
        };
        let (bytes, key) = (frame.unit.len() as u64, frame.key);
        self.peer.send_frame(frame, due).await?;
        self.task.report.send_modify(|report| {
            report.frames_sent += 1;
            report.keyframes_sent += u64::from(key);
            report.frames_late += u64::from(late > LATE);
            report.frames_late_5_ms += u64::from(late > A_LITTLE_LATE);
            report.media_bytes_sent += bytes;
        });
        Ok(())
    }

    async fn send_audio(&mut self, epoch: Instant) -> Result<(), BenchError> {
        let due = epoch + self.task.feeder.next_packet_due();
        let Some(packet) = self.task.feeder.next_packet() else {
            return Ok(());
        };
        let bytes = packet.packet.len() as u64;
        self.peer.send_audio(packet, due).await?;
        self.task.report.send_modify(|report| {
            report.audio_packets_sent += 1;
            report.media_bytes_sent += bytes;
        });
        Ok(())
    }

    async fn process_message(
        &mut self,
        message: ServerMessage,
        socket: &mut Conversation,
    ) -> Result<Option<Ending>, BenchError> {
        let stream_id = &self.task.options.stream_id;
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
                    let ms = self.task.since_start_ms();
                    self.task.report.send_modify(|report| {
                        report.publish_started += 1;
                        report.publish_started_ms.get_or_insert(ms);
                    });
                }
                "publish_finished" => return Ok(Some(Ending::Finished)),
                "server_will_stop" => return Ok(Some(Ending::SocketLost)),
                _ => {}
            },
            ServerMessage::Error(definition) => {
                self.task
                    .report
                    .send_modify(|report| report.error(definition));
            }
            ServerMessage::Closed => self.socket_lost = Some(Instant::now()),
            ServerMessage::Pong
            | ServerMessage::Offer(_)
            | ServerMessage::Height(_)
            | ServerMessage::Target(_)
            | ServerMessage::Other(_) => {}
        }
        Ok(None)
    }

    /// Processes the events and deadlines of the connection.
    fn process_events(&mut self) -> Option<Ending> {
        for event in self.peer.events() {
            match event {
                PeerEvent::Connected => self.begin(),
                PeerEvent::KeyframeRequested => {
                    self.task.feeder.request_keyframe();
                    self.task
                        .report
                        .send_modify(|report| report.keyframes_requested += 1);
                }
                PeerEvent::Stats { lost_fraction, rtt } => {
                    self.task.report.send_modify(|report| {
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
        (now >= self.peer.received_at + SILENCE_TIME_LIMIT)
            .then_some(Ending::PeerLost("nothing was received for 5.5 s"))
    }

    fn begin(&mut self) {
        if self.epoch.is_some() {
            return;
        }
        self.epoch = Some(Instant::now());
        self.task.feeder.restart();
        let ms = self.task.since_start_ms();
        self.task.report.send_modify(|report| {
            report.state = PublisherState::Sending;
            report.connect_ms.get_or_insert(ms);
            report.first_media_us = Some(clock::now_us());
        });
    }
}

/// Resolves the host of the signalling URL, which is also that of the media.
pub(crate) async fn resolve(url: &str) -> Result<IpAddr, BenchError> {
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
