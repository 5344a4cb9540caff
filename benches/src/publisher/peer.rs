//! One sending peer connection: a str0m session with its own UDP socket.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use shardcast_link::VideoCodec;
use str0m::{
    Candidate, Event, IceConnectionState, Input, Output, Rtc, RtcConfig,
    change::{SdpAnswer, SdpPendingOffer},
    format::{Codec, PayloadParams},
    media::{Direction, MediaKind, MediaTime, Mid, Pt},
    net::{Protocol, Receive},
};
use tokio::net::UdpSocket;

use super::feeder::{AudioPacket, Frame};
use crate::BenchError;

const DATAGRAM_BYTES_MAX: usize = 2_000;

/// An event of the connection.
#[derive(Debug, PartialEq)]
pub(crate) enum PeerEvent {
    /// ICE and DTLS are up.
    Connected,
    KeyframeRequested,
    Stats {
        lost_fraction: f32,
        rtt: Option<Duration>,
    },
    /// ICE is disconnected, or the server closed the connection.
    Gone,
}

/// The contents of the offer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offered {
    pub(crate) video: bool,
    pub(crate) audio: bool,
    pub(crate) data_channel: bool,
    pub(crate) codec: VideoCodec,
}

#[derive(Clone, Copy, Debug)]
struct Track {
    mid: Mid,
    /// Known after the answer.
    pt: Option<Pt>,
}

/// A UDP socket on the interface that faces `server`.
pub(crate) async fn socket_facing(server: IpAddr) -> std::io::Result<UdpSocket> {
    let any: SocketAddr = match server {
        IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        IpAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    // Connecting a UDP socket sends nothing, but chooses the local address that faces the server.
    let probe = UdpSocket::bind(any).await?;
    probe.connect((server, 9)).await?;
    UdpSocket::bind((probe.local_addr()?.ip(), 0)).await
}

pub(crate) struct Peer {
    rtc: Rtc,
    pub(crate) socket: UdpSocket,
    local: SocketAddr,
    pending: Option<SdpPendingOffer>,
    video: Option<Track>,
    audio: Option<Track>,
    events: Vec<PeerEvent>,
    /// When str0m needs its next timeout.
    pub(crate) wake_at: Instant,
    /// When the last datagram was received.
    pub(crate) received_at: Instant,
}

impl Peer {
    /// Opens a socket on the interface that faces `server`, and makes the offer.
    pub(crate) async fn offer(
        server: IpAddr,
        stream_id: &str,
        offered: Offered,
    ) -> Result<(Self, String), BenchError> {
        let socket = socket_facing(server).await?;
        let local = socket.local_addr()?;

        let now = Instant::now();
        let mut rtc = RtcConfig::new()
            .clear_codecs()
            .enable_h264(offered.codec == VideoCodec::H264)
            .enable_vp8(offered.codec == VideoCodec::Vp8)
            .enable_vp9(offered.codec == VideoCodec::Vp9)
            .enable_av1(offered.codec == VideoCodec::Av1)
            .enable_opus(true, false)
            .set_stats_interval(Some(Duration::from_secs(1)))
            .build(now);
        let candidate =
            Candidate::host(local, "udp").map_err(|e| BenchError::network("candidate", e))?;
        rtc.add_local_candidate(candidate);
        let mut changes = rtc.sdp_api();
        let mut track = |wanted: bool, kind| {
            let stream = Some(stream_id.to_owned());
            let add = || changes.add_media(kind, Direction::SendOnly, stream, None, None);
            wanted.then(add).map(|mid| Track { mid, pt: None })
        };
        let audio = track(offered.audio, MediaKind::Audio);
        let video = track(offered.video, MediaKind::Video);
        if offered.data_channel {
            changes.add_channel(stream_id.to_owned());
        }
        let (offer, pending) = changes
            .apply()
            .ok_or_else(|| BenchError::Argument("an offer of nothing cannot be made".to_owned()))?;
        let peer = Self {
            rtc,
            socket,
            local,
            pending: Some(pending),
            video,
            audio,
            events: Vec::new(),
            wake_at: now,
            received_at: now,
        };
        Ok((peer, offer.to_sdp_string()))
    }

    /// The local candidate, as a browser trickles it, and the `mid` of its media section.
    pub(crate) fn trickled(&self) -> (String, String) {
        let candidate = Candidate::host(self.local, "udp").map(|c| c.to_sdp_string());
        let mid = self
            .audio
            .or(self.video)
            .map_or_else(|| "0".to_owned(), |track| track.mid.to_string());
        (mid, candidate.unwrap_or_default())
    }

    pub(crate) async fn answer(&mut self, sdp: &str) -> Result<(), BenchError> {
        let Some(pending) = self.pending.take() else {
            return Ok(());
        };
        let refused = |answer: String| BenchError::Refused {
            what: "the offer",
            answer,
        };
        let answer = SdpAnswer::from_sdp_string(sdp).map_err(|e| refused(e.to_string()))?;
        self.rtc.sdp_api().accept_answer(pending, answer)?;
        if let Some(Track { mid, .. }) = self.video {
            self.video = Some(Track {
                mid,
                pt: self.choose_payload_type(mid),
            });
        }
        if let Some(Track { mid, .. }) = self.audio {
            self.audio = Some(Track {
                mid,
                pt: self.choose_payload_type(mid),
            });
        }
        self.drain().await
    }

    pub(crate) async fn candidate(&mut self, text: &str) -> Result<(), BenchError> {
        // As in a browser, an invalid candidate is ignored.
        if let Ok(candidate) = Candidate::from_sdp_string(text) {
            self.rtc.add_remote_candidate(candidate);
        }
        self.drain().await
    }

    /// Waits until a datagram can be received. Safe to cancel.
    pub(crate) async fn readable(&self) -> std::io::Result<()> {
        self.socket.readable().await
    }

    pub(crate) async fn receive(&mut self) -> Result<(), BenchError> {
        let mut buffer = [0; DATAGRAM_BYTES_MAX];
        while let Ok((length, from)) = self.socket.try_recv_from(&mut buffer) {
            let now = Instant::now();
            let datagram = buffer.get(..length).unwrap_or_default();
            // Datagrams that are neither STUN, DTLS nor RTP are ignored.
            if let Ok(receive) = Receive::new(Protocol::Udp, from, self.local, datagram) {
                self.received_at = now;
                self.rtc.handle_input(Input::Receive(now, receive))?;
                self.drain().await?;
            }
        }
        Ok(())
    }

    pub(crate) async fn wake(&mut self) -> Result<(), BenchError> {
        self.rtc.handle_input(Input::Timeout(Instant::now()))?;
        self.drain().await
    }

    /// Sends a frame that was due at `wallclock`.
    pub(crate) async fn send_frame(
        &mut self,
        frame: Frame,
        wallclock: Instant,
    ) -> Result<(), BenchError> {
        self.send(self.video, wallclock, frame.time, frame.unit)
            .await
    }

    /// Sends an audio packet that was due at `wallclock`.
    pub(crate) async fn send_audio(
        &mut self,
        packet: AudioPacket,
        wallclock: Instant,
    ) -> Result<(), BenchError> {
        self.send(self.audio, wallclock, packet.time, packet.packet.as_ref())
            .await
    }

    async fn send(
        &mut self,
        track: Option<Track>,
        wallclock: Instant,
        time: MediaTime,
        data: impl Into<Arc<[u8]>>,
    ) -> Result<(), BenchError> {
        let Some(Track { mid, pt: Some(pt) }) = track else {
            return Ok(());
        };
        if let Some(writer) = self.rtc.writer(mid) {
            writer.write(pt, wallclock, time, data)?;
        }
        self.drain().await?;
        // str0m packetises on its next timeout. It gets one now, so that a frame that is counted as
        // sent has left, whatever happens next.
        self.wake().await
    }

    /// Chooses a payload type of the answer. H.264 frames are sent as FU-A, which needs packetization
    /// mode 1 (RFC 6184 6.3), and test clips of VP9 have profile 0.
    fn choose_payload_type(&mut self, mid: Mid) -> Option<Pt> {
        let writer = self.rtc.writer(mid)?;
        let mut params = writer.payload_params().copied();
        let first = params.next()?;
        let fits = |params: &PayloadParams| {
            let spec = params.spec();
            match spec.codec {
                Codec::H264 => spec.format.packetization_mode == Some(1),
                Codec::Vp9 => spec.format.profile_id.is_none_or(|profile| profile == 0),
                _ => true,
            }
        };
        let chosen = [first]
            .into_iter()
            .chain(params)
            .find(fits)
            .unwrap_or(first);
        Some(chosen.pt())
    }

    /// The events since the last call.
    pub(crate) fn events(&mut self) -> Vec<PeerEvent> {
        std::mem::take(&mut self.events)
    }

    /// Closes as a browser does, with a DTLS `close_notify`.
    pub(crate) async fn close(&mut self) {
        if self.rtc.close().is_ok() {
            // A failed send is no error: the peer may be gone already.
            let _ = self.drain().await;
        }
        self.rtc.disconnect();
    }

    async fn drain(&mut self) -> Result<(), BenchError> {
        loop {
            match self.rtc.poll_output()? {
                Output::Timeout(at) => {
                    self.wake_at = at;
                    return Ok(());
                }
                Output::Transmit(transmit) => {
                    // A datagram that cannot be sent is lost, as on any network.
                    let _ = self
                        .socket
                        .send_to(&transmit.contents, transmit.destination)
                        .await;
                }
                Output::Event(event) => self.process(event),
            }
        }
    }

    fn process(&mut self, event: Event) {
        match event {
            Event::Connected => self.events.push(PeerEvent::Connected),
            Event::KeyframeRequest(_) => self.events.push(PeerEvent::KeyframeRequested),
            Event::IceConnectionStateChange(IceConnectionState::Disconnected) | Event::Closed => {
                self.events.push(PeerEvent::Gone);
            }
            Event::PeerStats(stats) => self.events.push(PeerEvent::Stats {
                lost_fraction: stats.egress_loss_fraction.unwrap_or_default(),
                rtt: stats.rtt,
            }),
            _ => {}
        }
    }
}
