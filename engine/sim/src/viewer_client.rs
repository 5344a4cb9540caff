//! A browser's worth of WebRTC client that watches: answers the shard's offer or makes one, and keeps
//! every RTP packet that it receives.

use std::{
    fmt,
    net::SocketAddr,
    time::{Duration, Instant},
};

use str0m::{
    Candidate, Event, Input, Output, Rtc, RtcConfig,
    change::{SdpAnswer, SdpOffer, SdpPendingOffer},
    media::{Direction, KeyframeRequestKind, MediaKind, Mid},
    net::{Protocol, Receive},
};

use crate::{
    bottleneck::Bottleneck,
    hostile_feedback::HostileFeedback,
    peers::{SHARD_ADDRESS, messages::Messages},
};

/// Payload types of retransmissions, of each profile of H.264, here and in the shard's offers.
const REPEATED: [u8; 4] = [109, 121, 119, 115];

/// Whether a datagram is RTCP (RFC 5761, 4).
pub(crate) fn is_rtcp(datagram: &[u8]) -> bool {
    matches!(datagram, [128..=191, 200..=207, ..])
}

/// Whether it is an RTP packet that is sent again.
fn is_repeated(datagram: &[u8]) -> bool {
    let is_rtp = matches!(datagram, [128..=191, ..]) && !is_rtcp(datagram);
    is_rtp && REPEATED.contains(&(datagram[1] & 0x7f))
}

/// One RTP packet.
#[derive(Clone, Debug)]
pub struct Received {
    /// When it came.
    pub at: Instant,
    /// Video, or else audio.
    pub is_video: bool,
    /// Sequence number with its rollovers.
    pub sequence: u64,
    /// RTP time.
    pub time: u32,
    /// The last packet of its picture.
    pub marker: bool,
    /// Behind the RTP header.
    pub payload: Vec<u8>,
}

/// See the module's documentation.
pub struct Viewer {
    /// Where it sends from.
    pub address: SocketAddr,
    /// Over what.
    protocol: Protocol,
    rtc: Rtc,
    pending: Option<SdpPendingOffer>,
    /// All that has come, in the order in which it came.
    pub packets: Vec<Received>,
    outbox: Vec<Vec<u8>>,
    timeout: Instant,
    /// ICE and DTLS stand.
    pub is_connected: bool,
    /// Sends nothing more and reads nothing, as a browser whose network is gone.
    pub dead: bool,
    /// Each n-th datagram to it is lost; 0 for none.
    pub lose_every: u64,
    datagrams: u64,
    /// It sends each RTCP packet so many times: nothing in SRTCP keeps it from that.
    pub rtcp_times: usize,
    hostile: HostileFeedback,
    /// Datagrams that were sent again (RFC 4588), those that are lost on the way included.
    pub repeated: u64,
    /// The way of RTP and RTCP to it; without one they arrive at once.
    pub way: Option<Bottleneck<Vec<u8>>>,
    video_mid: Option<Mid>,
    /// Over its data channel.
    pub messages: Messages,
}

impl fmt::Debug for Viewer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut it = f.debug_struct("Viewer");
        it.field("address", &self.address).finish_non_exhaustive()
    }
}

impl Viewer {
    /// A viewer on UDP port `port`.
    pub fn new(now: Instant, port: u16) -> Self {
        Self::over(Protocol::Udp, now, port)
    }

    /// One whose feedback can become hostile.
    pub fn hostile(now: Instant, port: u16) -> Self {
        let hostile = HostileFeedback::default();
        let config = hostile.config();
        Self::with(config, Protocol::Udp, now, port, hostile)
    }

    /// Its feedback is hostile from now on.
    pub fn send_hostile_feedback(&mut self) {
        self.hostile.begin();
    }

    /// One that UDP does not reach: it connects from TCP port `port`.
    pub fn over_tcp(now: Instant, port: u16) -> Self {
        Self::over(Protocol::Tcp, now, port)
    }

    fn over(protocol: Protocol, now: Instant, port: u16) -> Self {
        let config = RtcConfig::new();
        Self::with(config, protocol, now, port, HostileFeedback::default())
    }

    fn with(
        config: RtcConfig,
        protocol: Protocol,
        now: Instant,
        port: u16,
        hostile: HostileFeedback,
    ) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut rtc = config
            .clear_codecs()
            .enable_h264(true)
            .enable_opus(true, false)
            .set_rtp_mode(true)
            .build(now);
        rtc.add_local_candidate(Candidate::host(address, protocol).unwrap());
        Self {
            address,
            protocol,
            rtc,
            pending: None,
            packets: Vec::new(),
            outbox: Vec::new(),
            timeout: now,
            is_connected: false,
            dead: false,
            lose_every: 0,
            datagrams: 0,
            rtcp_times: 1,
            hostile,
            repeated: 0,
            way: None,
            video_mid: None,
            messages: Messages::default(),
        }
    }

    /// The answer to the shard's offer.
    pub fn answer(&mut self, now: Instant, offer: &str) -> String {
        let offer = SdpOffer::from_sdp_string(offer).unwrap();
        let answer = self.rtc.sdp_api().accept_offer(offer).unwrap();
        self.rtc.handle_input(Input::Timeout(now)).unwrap();
        self.drain(now);
        answer.to_sdp_string()
    }

    /// An offer to receive audio and video, as a WHEP client makes it.
    pub fn offer(&mut self) -> String {
        let mut change = self.rtc.sdp_api();
        for kind in [MediaKind::Audio, MediaKind::Video] {
            let mid = change.add_media(kind, Direction::RecvOnly, None, None, None);
            if kind == MediaKind::Video {
                self.video_mid = Some(mid);
            }
        }
        let (offer, pending) = change.apply().unwrap();
        self.pending = Some(pending);
        offer.to_sdp_string()
    }

    /// Takes the shard's answer to that.
    pub fn accept(&mut self, now: Instant, answer: &str) {
        let answer = SdpAnswer::from_sdp_string(answer).unwrap();
        let pending = self.pending.take().unwrap();
        self.rtc.sdp_api().accept_answer(pending, answer).unwrap();
        self.rtc.handle_input(Input::Timeout(now)).unwrap();
        self.drain(now);
    }

    /// An offer of new ICE credentials, from port `port` on, where the viewer is reached from now on.
    pub fn restart(&mut self, port: u16) -> String {
        self.address.set_port(port);
        let candidate = Candidate::host(self.address, self.protocol).unwrap();
        self.rtc.add_local_candidate(candidate);
        let mut change = self.rtc.sdp_api();
        change.ice_restart(true);
        let (offer, pending) = change.apply().unwrap();
        self.pending = Some(pending);
        offer.to_sdp_string()
    }

    /// Asks for a keyframe, as a decoder does that cannot go on.
    pub fn request_keyframe(&mut self, now: Instant) {
        let mid = self.video_mid.expect("a video track");
        let mut api = self.rtc.direct_api();
        let stream = api.stream_rx_by_mid(mid, None).expect("video has come");
        stream.request_keyframe(KeyframeRequestKind::Pli);
        self.rtc.handle_input(Input::Timeout(now)).unwrap();
        self.drain(now);
    }

    /// Closes its peer connection.
    pub fn close(&mut self, now: Instant) {
        self.rtc.close().unwrap();
        self.drain(now);
    }

    /// Its video packets.
    pub fn video(&self) -> impl Iterator<Item = &Received> {
        self.packets.iter().filter(|packet| packet.is_video)
    }

    /// Its audio packets.
    pub fn audio(&self) -> impl Iterator<Item = &Received> {
        self.packets.iter().filter(|packet| !packet.is_video)
    }

    /// Whether it is on TCP.
    pub fn is_on_tcp(&self) -> bool {
        self.protocol == Protocol::Tcp
    }

    /// A datagram is sent to it.
    pub(crate) fn receive(&mut self, now: Instant, datagram: &[u8]) {
        self.datagrams += 1;
        self.repeated += u64::from(is_repeated(datagram));
        let lost = self.lose_every != 0 && self.datagrams.is_multiple_of(self.lose_every);
        if self.dead || lost && self.is_connected {
            return;
        }
        // ICE and DTLS are not lost (RFC 7983).
        let is_media = matches!(datagram, [128..=191, ..]);
        match self.way.as_mut().filter(|_| is_media) {
            Some(way) => way.push(now, datagram.len(), datagram.to_vec()),
            None => self.arrive(now, datagram),
        }
    }

    fn arrive(&mut self, now: Instant, datagram: &[u8]) {
        let from = SHARD_ADDRESS.parse().unwrap();
        let receive = Receive::new(self.protocol, from, self.address, datagram).unwrap();
        self.rtc.handle_input(Input::Receive(now, receive)).unwrap();
        self.drain(now);
    }

    /// When [`Self::run`] is wanted at the latest.
    pub(crate) fn next_timeout(&self) -> Instant {
        self.timeout
    }

    /// Lets the time pass, and gives what it sends.
    pub(crate) fn run(&mut self, now: Instant) -> Vec<Vec<u8>> {
        if self.dead {
            return Vec::new();
        }
        while let Some(datagram) = self.way.as_mut().and_then(|way| way.pop(now)) {
            self.arrive(now, &datagram);
        }
        if self.messages.write(&mut self.rtc) {
            self.drain(now);
        }
        if now >= self.timeout && self.rtc.is_alive() {
            self.rtc.handle_input(Input::Timeout(now)).unwrap();
            self.drain(now);
        }
        let sends = std::mem::take(&mut self.outbox);
        let times = |datagram: &Vec<u8>| match is_rtcp(datagram) {
            true => self.rtcp_times,
            false => 1,
        };
        let sends = sends.into_iter();
        sends
            .flat_map(|it| std::iter::repeat_n(it.clone(), times(&it)))
            .collect()
    }

    fn drain(&mut self, now: Instant) {
        loop {
            match self.rtc.poll_output().unwrap() {
                Output::Timeout(at) => {
                    self.timeout = at.max(now + Duration::from_millis(1));
                    return;
                }
                Output::Transmit(transmit) => self.outbox.push(transmit.contents.to_vec()),
                Output::Event(Event::Connected) => self.is_connected = true,
                Output::Event(Event::MediaAdded(media)) if media.kind == MediaKind::Video => {
                    self.video_mid = Some(media.mid);
                }
                Output::Event(Event::RtpPacket(packet)) => {
                    // Opus is 111 in all offers here.
                    let is_video = *packet.header.payload_type != 111;
                    self.packets.push(Received {
                        at: now,
                        is_video,
                        sequence: *packet.seq_no,
                        time: packet.header.timestamp,
                        marker: packet.header.marker,
                        payload: packet.payload.to_vec(),
                    });
                }
                Output::Event(event) => self.messages.take(now, event),
            }
        }
    }
}
