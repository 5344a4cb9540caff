//! One receiving peer connection: a str0m session with its own UDP socket, behind a network that may be
//! impaired.

use std::{
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use str0m::{
    Candidate, Event, IceConnectionState, Input, Output, Rtc, RtcConfig,
    change::{SdpAnswer, SdpOffer, SdpPendingOffer},
    media::{Direction, Frequency, KeyframeRequestKind, MediaKind},
    net::{Protocol, Receive},
    rtp::Ssrc,
};
use tokio::net::UdpSocket;

use super::impairment::{Impairment, ImpairmentOptions};
use super::packet::Content;
use super::reception::VideoPacket;
use crate::publisher::socket_facing;
use crate::{BenchError, arrival, clock};

/// As much as the kernel joins.
const RECEIVED_BYTES_MAX: usize = 65_536;

/// An event of the connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum PeerEvent {
    /// ICE and DTLS are up.
    Connected,
    Video {
        packet: VideoPacket,
        bytes: usize,
    },
    Audio,
    /// ICE is disconnected, or the server closed the connection.
    Gone,
}

struct Datagram {
    from: SocketAddr,
    bytes: Vec<u8>,
}

pub(super) struct Peer {
    rtc: Rtc,
    socket: UdpSocket,
    buffer: Vec<u8>,
    local: SocketAddr,
    pending: Option<SdpPendingOffer>,
    network: Impairment<Datagram>,
    is_impaired: bool,
    video: Option<Ssrc>,
    events: Vec<PeerEvent>,
    rtc_wake_at: Instant,
    /// When the last datagram was received.
    pub(super) received_at: Instant,
    /// When the datagram in work was in the socket, or came out of the impaired network.
    arrived_us: u64,
}

impl Peer {
    /// Opens a socket on the interface that faces `server`, which takes datagrams `one_by_one` or joined.
    pub(super) async fn open(
        server: IpAddr,
        impairment: ImpairmentOptions,
        one_by_one: bool,
    ) -> Result<Self, BenchError> {
        let socket = socket_facing(server).await?;
        arrival::stamp(&socket);
        if !one_by_one {
            arrival::join_datagrams(&socket);
        }
        let local = socket.local_addr()?;
        let now = Instant::now();
        // RTP mode: packets are measured, and str0m neither orders nor joins them.
        let mut rtc = RtcConfig::new()
            .clear_codecs()
            .enable_h264(true)
            .enable_opus(true, false)
            .set_rtp_mode(true)
            .build(now);
        let candidate =
            Candidate::host(local, "udp").map_err(|e| BenchError::network("candidate", e))?;
        rtc.add_local_candidate(candidate);
        Ok(Self {
            rtc,
            socket,
            buffer: vec![0; RECEIVED_BYTES_MAX],
            local,
            pending: None,
            is_impaired: impairment
                != ImpairmentOptions {
                    seed: impairment.seed,
                    ..ImpairmentOptions::default()
                },
            network: Impairment::new(impairment),
            video: None,
            events: Vec::new(),
            rtc_wake_at: now,
            received_at: now,
            arrived_us: 0,
        })
    }

    /// Makes an offer to receive audio and video.
    pub(super) fn offer(&mut self) -> Result<String, BenchError> {
        let mut changes = self.rtc.sdp_api();
        for kind in [MediaKind::Audio, MediaKind::Video] {
            changes.add_media(kind, Direction::RecvOnly, None, None, None);
        }
        let (offer, pending) = changes
            .apply()
            .ok_or_else(|| BenchError::Argument("an offer of nothing cannot be made".to_owned()))?;
        self.pending = Some(pending);
        Ok(offer.to_sdp_string())
    }

    /// Takes the server's answer to the offer.
    pub(super) fn answered(&mut self, sdp: &str) -> Result<(), BenchError> {
        let Some(pending) = self.pending.take() else {
            return Ok(());
        };
        let answer = SdpAnswer::from_sdp_string(sdp).map_err(|e| invalid("the offer", &e))?;
        self.rtc.sdp_api().accept_answer(pending, answer)?;
        self.poll()
    }

    /// Answers an offer of the server.
    pub(super) fn answer(&mut self, sdp: &str) -> Result<String, BenchError> {
        let offer = SdpOffer::from_sdp_string(sdp).map_err(|e| invalid("play", &e))?;
        let answer = self.rtc.sdp_api().accept_offer(offer)?;
        self.poll()?;
        Ok(answer.to_sdp_string())
    }

    pub(super) fn candidate(&mut self, text: &str) -> Result<(), BenchError> {
        // As in a browser, an invalid candidate is ignored.
        if let Ok(candidate) = Candidate::from_sdp_string(text) {
            self.rtc.add_remote_candidate(candidate);
        }
        self.poll()
    }

    /// The local candidate, as a browser trickles it.
    pub(super) fn trickled(&self) -> String {
        Candidate::host(self.local, "udp").map_or_else(|_| String::new(), |c| c.to_sdp_string())
    }

    /// Requests a keyframe (PLI).
    pub(super) fn request_keyframe(&mut self) {
        let Some(ssrc) = self.video else {
            return;
        };
        if let Some(stream) = self.rtc.direct_api().stream_rx(&ssrc) {
            stream.request_keyframe(KeyframeRequestKind::Pli);
        }
    }

    /// Changes the rate of the bottleneck.
    pub(super) fn set_rate(&mut self, rate_bps: Option<u64>) {
        self.is_impaired = true;
        self.network.set_rate(rate_bps);
    }

    /// Datagrams that the network lost.
    pub(super) fn lost(&self) -> u64 {
        self.network.lost
    }

    /// When [`wake`](Self::wake) is due.
    pub(super) fn wake_at(&self) -> Instant {
        let network = self.network.next_at();
        network.map_or(self.rtc_wake_at, |at| at.min(self.rtc_wake_at))
    }

    /// Waits until a datagram can be received. Safe to cancel.
    pub(super) async fn readable(&self) -> std::io::Result<()> {
        self.socket.readable().await
    }

    /// Takes what has come.
    pub(super) fn receive(&mut self) -> Result<(), BenchError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        while let Ok(received) = arrival::try_receive(&self.socket, &mut buffer) {
            let now = Instant::now();
            self.arrived_us = received.at_us;
            self.received_at = now;
            let bytes = buffer.get(..received.bytes).unwrap_or_default();
            for datagram in bytes.chunks(received.datagram_bytes) {
                self.reach(now, received.from, datagram)?;
            }
        }
        self.buffer = buffer;
        self.arrive()
    }

    /// A datagram reaches the network, if that is impaired.
    fn reach(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) -> Result<(), BenchError> {
        if !self.is_impaired {
            return self.input(now, from, bytes);
        }
        let first = bytes.first().copied().unwrap_or_default();
        let (length, bytes) = (bytes.len(), bytes.to_vec());
        self.network
            .push(now, first, length, Datagram { from, bytes });
        Ok(())
    }

    /// Does what is due.
    pub(super) fn wake(&mut self) -> Result<(), BenchError> {
        let now = Instant::now();
        if self.rtc_wake_at <= now {
            self.rtc.handle_input(Input::Timeout(now))?;
        }
        self.arrive()
    }

    fn arrive(&mut self) -> Result<(), BenchError> {
        let now = Instant::now();
        while let Some(Datagram { from, bytes }) = self.network.pop(now) {
            self.arrived_us = clock::now_us();
            self.input(now, from, &bytes)?;
        }
        self.poll()
    }

    /// Gives str0m one datagram. Its outputs are taken later, once for many datagrams, but for events, of
    /// which str0m keeps few.
    fn input(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) -> Result<(), BenchError> {
        // Datagrams that are neither STUN, DTLS nor RTP are ignored.
        if let Ok(receive) = Receive::new(Protocol::Udp, from, self.local, bytes) {
            self.rtc.handle_input(Input::Receive(now, receive))?;
            self.poll()?;
        }
        Ok(())
    }

    /// The events since the last call.
    pub(super) fn events(&mut self) -> Vec<PeerEvent> {
        std::mem::take(&mut self.events)
    }

    /// Closes as a browser does, with a DTLS `close_notify`.
    pub(super) fn close(&mut self) {
        if self.rtc.close().is_ok() {
            // A failed send is no error: the peer may be gone already.
            let _ = self.poll();
        }
        self.rtc.disconnect();
    }

    fn poll(&mut self) -> Result<(), BenchError> {
        loop {
            match self.rtc.poll_output()? {
                Output::Timeout(at) => {
                    self.rtc_wake_at = at;
                    return Ok(());
                }
                Output::Transmit(transmit) => {
                    // A datagram that cannot be sent at once is lost, as on any network.
                    let _ = self
                        .socket
                        .try_send_to(&transmit.contents, transmit.destination);
                }
                Output::Event(event) => self.process(event),
            }
        }
    }

    fn process(&mut self, event: Event) {
        match event {
            Event::Connected => self.events.push(PeerEvent::Connected),
            Event::RtpPacket(packet) if packet.time.frequency() == Frequency::NINETY_KHZ => {
                self.video = Some(packet.header.ssrc);
                let seen = VideoPacket {
                    sequence: *packet.seq_no,
                    rtp_time: packet.time.numer(),
                    marker: packet.header.marker,
                    content: Content::of(&packet.payload),
                    at_us: self.arrived_us,
                };
                let bytes = packet.payload.len();
                self.events.push(PeerEvent::Video {
                    packet: seen,
                    bytes,
                });
            }
            Event::RtpPacket(_) => self.events.push(PeerEvent::Audio),
            Event::IceConnectionStateChange(IceConnectionState::Disconnected) | Event::Closed => {
                self.events.push(PeerEvent::Gone);
            }
            _ => {}
        }
    }
}

fn invalid(what: &'static str, error: &dyn std::fmt::Display) -> BenchError {
    BenchError::Refused {
        what,
        answer: error.to_string(),
    }
}
