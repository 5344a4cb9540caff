//! Publishes by RTMP: the client of the engine on a socket of tokio, and a publisher that sends a test
//! clip with it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use shardcast_core::rtmp::{
    MediaKind, PublishClient, PublishConfig, PublishOutput, RtmpUrl,
    flv::{
        AAC_RAW_HEADER, AudioMetadata, Metadata, aac_sequence_header, avc_header,
        avc_sequence_header,
    },
};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    sync::watch,
    time::{sleep_until, timeout},
};

use super::feeder::Feeder;
use super::session::{A_LITTLE_LATE, LATE};
use super::{PublisherCommand, PublisherOptions, PublisherReport, PublisherState};
use crate::limits::SIGNALLING_TIMEOUT;
use crate::test_clip::{AAC_FRAME_SAMPLES, AUDIO_RATE_HZ, TestClip, aac_config};
use crate::{BenchError, clock};

const READ_BYTES: usize = 4_096;

/// A connection that publishes one stream to an RTMP server.
pub struct RtmpConnection {
    tcp: TcpStream,
    client: PublishClient,
}

impl std::fmt::Debug for RtmpConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RtmpConnection").finish_non_exhaustive()
    }
}

impl RtmpConnection {
    /// Connects to `rtmp://host:port/app/key`, and waits until the server takes the stream.
    ///
    /// # Errors
    /// When the server is not reachable, refuses, or does not answer in time.
    pub async fn publish(url: &str) -> Result<Self, BenchError> {
        let connecting = timeout(SIGNALLING_TIMEOUT, Self::connect(url)).await;
        connecting.map_err(|_| BenchError::Late {
            what: "answer of the RTMP server".to_owned(),
            waited: SIGNALLING_TIMEOUT,
        })?
    }

    async fn connect(url: &str) -> Result<Self, BenchError> {
        let url = RtmpUrl::parse(url).map_err(|e| BenchError::Argument(e.to_string()))?;
        let tcp = TcpStream::connect((url.host(), url.port())).await?;
        tcp.set_nodelay(true)?;
        let client = PublishClient::new(&url, PublishConfig::default());
        let mut connection = Self { tcp, client };
        let first = connection.client.start();
        connection.tcp.write_all(&first).await?;
        while !connection.client.is_publishing() {
            connection.read().await?;
        }
        Ok(connection)
    }

    /// Waits until the server has said something. Safe to cancel.
    ///
    /// # Errors
    /// When the socket fails.
    pub async fn readable(&self) -> Result<(), BenchError> {
        Ok(self.tcp.readable().await?)
    }

    /// Reads and answers what the server says.
    ///
    /// # Errors
    /// When the connection is closed, or the server ends the stream.
    pub async fn read(&mut self) -> Result<(), BenchError> {
        self.tcp.readable().await?;
        let mut buffer = [0; READ_BYTES];
        let length = match self.tcp.try_read(&mut buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
            other => other?,
        };
        if length == 0 {
            return Err(BenchError::network(
                "RTMP",
                "the server closed the connection",
            ));
        }
        let read = buffer.get(..length).unwrap_or_default();
        self.client
            .handle(read)
            .map_err(|e| BenchError::network("RTMP", e))?;
        while let Some(output) = self.client.poll() {
            if let PublishOutput::Send(bytes) = output {
                self.tcp.write_all(&bytes).await?;
            }
        }
        Ok(())
    }

    /// Sends a message: an FLV tag body with this head.
    ///
    /// # Errors
    /// When the connection is broken.
    pub async fn send(
        &mut self,
        kind: MediaKind,
        time_ms: u32,
        head: &[u8],
        payload: &Bytes,
    ) -> Result<(), BenchError> {
        let slices = self.client.media_behind(kind, time_ms, head, payload);
        // One write, as of a server: a write for each chunk would be the generator's own cost.
        self.tcp.write_all(&slices.concat()).await?;
        Ok(())
    }

    /// Ends the stream with the commands of a clean end.
    pub async fn finish(mut self) {
        let last = self.client.finish();
        // A server that is gone needs no end.
        let _ = self.tcp.write_all(&last).await;
        let _ = self.tcp.shutdown().await;
    }
}

/// Publishes until stopped, with the stamps of a WebRTC publisher. A connection that ends is an error, and is not made again.
pub(super) async fn run(
    clip: Arc<TestClip>,
    options: PublisherOptions,
    mut command: watch::Receiver<PublisherCommand>,
    report: watch::Sender<PublisherReport>,
) {
    let started = Instant::now();
    if let Err(error) = publish(&clip, &options, &mut command, &report, started).await {
        report.send_modify(|report| report.error(error.to_string()));
    }
    report.send_modify(|report| report.state = PublisherState::Stopped);
}

async fn publish(
    clip: &Arc<TestClip>,
    options: &PublisherOptions,
    command: &mut watch::Receiver<PublisherCommand>,
    report: &watch::Sender<PublisherReport>,
    started: Instant,
) -> Result<(), BenchError> {
    report.send_modify(|report| report.attempts += 1);
    let audio = if options.audio {
        clip.aac()?
    } else {
        Vec::new()
    };
    let mut connection = RtmpConnection::publish(&options.url).await?;
    begin(&mut connection, clip, options.audio).await?;
    report.send_modify(|report| {
        report.state = PublisherState::Sending;
        report.connect_ms = Some(started.elapsed().as_secs_f64() * 1_000.0);
        report.publish_started_ms = report.connect_ms;
        report.publish_started += 1;
        report.first_media_us = Some(clock::now_us());
    });
    let mut sender = Sender {
        feeder: Feeder::new(Arc::clone(clip), options.number, options.pace, None),
        audio,
        audio_sent: 0,
        epoch: Instant::now(),
        connection,
        report,
    };
    loop {
        let next = sender.next_due();
        tokio::select! {
            biased;
            _ = command.changed() => break,
            () = sleep_until(next.into()) => sender.send_due().await?,
            readable = sender.connection.readable() => {
                readable?;
                sender.connection.read().await?;
            }
        }
    }
    sender.connection.finish().await;
    Ok(())
}

/// Sends metadata and sequence headers.
async fn begin(
    connection: &mut RtmpConnection,
    clip: &TestClip,
    audio: bool,
) -> Result<(), BenchError> {
    let format = &clip.format;
    let record = clip.record().ok_or_else(|| {
        BenchError::Argument("by RTMP, H.264 is published, and no other codec".to_owned())
    })?;
    let metadata = Metadata {
        width: format.width,
        height: format.height,
        frame_rate: f64::from(format.fps),
        video_kbps: format.video_kbps,
        audio: AudioMetadata::Aac {
            kbps: format.audio_kbps,
            sample_rate: 48_000,
            channels: 2,
        },
    };
    let data = metadata.set_data_frame();
    connection.send(MediaKind::Data, 0, &[], &data).await?;
    let header = avc_sequence_header(record);
    connection.send(MediaKind::Video, 0, &[], &header).await?;
    if audio {
        let header = aac_sequence_header(&aac_config());
        connection.send(MediaKind::Audio, 0, &[], &header).await?;
    }
    Ok(())
}

struct Sender<'a> {
    feeder: Feeder,
    audio: Vec<Bytes>,
    audio_sent: u64,
    epoch: Instant,
    connection: RtmpConnection,
    report: &'a watch::Sender<PublisherReport>,
}

impl Sender<'_> {
    fn audio_due(&self) -> Option<Duration> {
        let samples = self.audio_sent * AAC_FRAME_SAMPLES as u64;
        let due = Duration::from_micros(samples * 1_000_000 / u64::from(AUDIO_RATE_HZ));
        (!self.audio.is_empty()).then_some(due)
    }

    fn next_due(&self) -> Instant {
        let video = self.feeder.next_frame_due();
        self.epoch + self.audio_due().map_or(video, |audio| audio.min(video))
    }

    async fn send_due(&mut self) -> Result<(), BenchError> {
        while let Some(due) = self
            .audio_due()
            .filter(|due| self.epoch + *due <= Instant::now())
        {
            let place = self.audio_sent % self.audio.len().max(1) as u64;
            let frame = self.audio.get(place as usize).cloned().unwrap_or_default();
            let time_ms = due.as_millis() as u32;
            self.connection
                .send(MediaKind::Audio, time_ms, &AAC_RAW_HEADER, &frame)
                .await?;
            self.audio_sent += 1;
            self.report.send_modify(|report| {
                report.audio_packets_sent += 1;
                report.media_bytes_sent += frame.len() as u64;
            });
        }
        while self.epoch + self.feeder.next_frame_due() <= Instant::now() {
            self.send_frame().await?;
        }
        Ok(())
    }

    async fn send_frame(&mut self) -> Result<(), BenchError> {
        let due = self.feeder.next_frame_due();
        let late = (self.epoch + due).elapsed();
        let Some(unit) = self.feeder.next_unit(clock::now_us()) else {
            return Ok(());
        };
        let time_ms = due.as_millis() as u32;
        let head = avc_header(unit.key, 0);
        self.connection
            .send(MediaKind::Video, time_ms, &head, &unit.data)
            .await?;
        self.report.send_modify(|report| {
            report.frames_sent += 1;
            report.keyframes_sent += u64::from(unit.key);
            report.frames_late += u64::from(late > LATE);
            report.frames_late_5_ms += u64::from(late > A_LITTLE_LATE);
            report.media_bytes_sent += unit.data.len() as u64;
        });
        Ok(())
    }
}
