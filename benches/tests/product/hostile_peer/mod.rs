//! One viewer that means harm, on a thread of its own: a str0m session with a plain socket.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use shardcast_bench::harness::send as http_send;
use str0m::{
    Candidate, Event, Input, Output, Rtc, RtcConfig,
    change::{SdpAnswer, SdpOffer, SdpPendingOffer},
    media::{Direction, Frequency, KeyframeRequestKind, MediaKind},
    net::{Protocol, Receive},
    rtp::Ssrc,
};

const TURN: Duration = Duration::from_millis(1);

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Conduct {
    /// Connects over TCP, and stops reading once media comes.
    ReadsNothing,
    /// Throws nine of ten packets away, asks for them and for keyframes all the time.
    Floods,
    /// Tests the path and says nothing by DTLS.
    NeverDtls,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Done {
    pub(crate) connected: bool,
    pub(crate) sent: u64,
    pub(crate) received: u64,
}

pub(crate) struct HostilePeer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Done>,
}

enum Socket {
    Udp(UdpSocket),
    Tcp(TcpStream, Vec<u8>),
}

struct Session {
    rtc: Rtc,
    socket: Socket,
    conduct: Conduct,
    local: SocketAddr,
    server: SocketAddr,
    video: Option<Ssrc>,
    media: u64,
    done: Done,
}

/// An offer as that of a viewer; nobody stands behind it.
pub(crate) fn offer_of_nobody() -> String {
    let mut rtc = build();
    offer(&mut rtc).0.to_sdp_string()
}

fn build() -> Rtc {
    let config = RtcConfig::new().clear_codecs().enable_h264(true);
    let config = config.enable_opus(true, false).set_rtp_mode(true);
    config.build(Instant::now())
}

fn offer(rtc: &mut Rtc) -> (SdpOffer, SdpPendingOffer) {
    let mut changes = rtc.sdp_api();
    for kind in [MediaKind::Audio, MediaKind::Video] {
        changes.add_media(kind, Direction::RecvOnly, None, None, None);
    }
    changes.apply().unwrap()
}

/// The address of the shard that an answer offers.
fn shard(answer: &str, protocol: &str) -> SocketAddr {
    let candidates = answer
        .lines()
        .filter_map(|line| line.strip_prefix("a=candidate:"));
    let mut words = candidates.map(|line| line.split(' ').collect::<Vec<_>>());
    let words = words.find(|words| words[2] == protocol).unwrap();
    format!("{}:{}", words[4], words[5]).parse().unwrap()
}

impl HostilePeer {
    pub(crate) async fn start(http: SocketAddr, path: &str, conduct: Conduct) -> Self {
        let mut rtc = build();
        let (offer, pending) = offer(&mut rtc);
        let body = Some(("application/sdp", offer.to_sdp_string()));
        let answer = http_send(http, "POST", path, body).await.unwrap();
        assert_eq!(answer.status, 201, "{}", answer.text);
        let over_tcp = conduct == Conduct::ReadsNothing;
        let protocol = if over_tcp { "tcp" } else { "udp" };
        let server = shard(&answer.text, protocol);
        let (socket, local) = if over_tcp {
            let stream = TcpStream::connect(server).unwrap();
            stream.set_read_timeout(Some(TURN)).unwrap();
            let local = stream.local_addr().unwrap();
            (Socket::Tcp(stream, Vec::new()), local)
        } else {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_read_timeout(Some(TURN)).unwrap();
            let local = socket.local_addr().unwrap();
            (Socket::Udp(socket), local)
        };
        rtc.add_local_candidate(Candidate::host(local, protocol).unwrap());
        let answer = SdpAnswer::from_sdp_string(&answer.text).unwrap();
        rtc.sdp_api().accept_answer(pending, answer).unwrap();
        let mut session = Session {
            rtc,
            socket,
            conduct,
            local,
            server,
            video: None,
            media: 0,
            done: Done::default(),
        };
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                session.turn();
            }
            session.done
        });
        Self { stop, thread }
    }

    pub(crate) fn stop(self) -> Done {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

impl Session {
    fn turn(&mut self) {
        if self.conduct == Conduct::ReadsNothing && self.media > 50 {
            return std::thread::sleep(TURN);
        }
        for datagram in self.read() {
            self.take(&datagram);
        }
        if let Some(video) = self.video.filter(|_| self.conduct == Conduct::Floods) {
            let mut api = self.rtc.direct_api();
            if let Some(stream) = api.stream_rx(&video) {
                stream.request_keyframe(KeyframeRequestKind::Pli);
            }
        }
        let _ = self.rtc.handle_input(Input::Timeout(Instant::now()));
        self.poll();
    }

    fn read(&mut self) -> Vec<Vec<u8>> {
        let mut buffer = [0; 4_096];
        match &mut self.socket {
            Socket::Udp(socket) => {
                let read = socket.recv(&mut buffer).ok();
                read.map(|length| buffer[..length].to_vec())
                    .into_iter()
                    .collect()
            }
            Socket::Tcp(stream, received) => {
                if let Ok(length) = stream.read(&mut buffer) {
                    received.extend_from_slice(&buffer[..length]);
                }
                let mut datagrams = Vec::new();
                while let Some((length, rest)) = received.split_first_chunk::<2>() {
                    let length = usize::from(u16::from_be_bytes(*length));
                    let Some(datagram) = rest.get(..length).map(<[u8]>::to_vec) else {
                        break;
                    };
                    received.drain(..2 + length);
                    datagrams.push(datagram);
                }
                datagrams
            }
        }
    }

    fn take(&mut self, datagram: &[u8]) {
        self.done.received += 1;
        let is_media = datagram.first().is_some_and(|first| *first >= 128);
        self.media += u64::from(is_media);
        let is_thrown_away =
            self.conduct == Conduct::Floods && is_media && !self.media.is_multiple_of(10);
        if is_thrown_away {
            return;
        }
        let protocol = match self.socket {
            Socket::Udp(_) => Protocol::Udp,
            Socket::Tcp(..) => Protocol::Tcp,
        };
        if let Ok(receive) = Receive::new(protocol, self.server, self.local, datagram) {
            let _ = self
                .rtc
                .handle_input(Input::Receive(Instant::now(), receive));
        }
        self.poll();
    }

    fn poll(&mut self) {
        while let Ok(output) = self.rtc.poll_output() {
            match output {
                Output::Timeout(_) => return,
                Output::Transmit(transmit) => self.send(&transmit.contents),
                Output::Event(Event::Connected) => self.done.connected = true,
                Output::Event(Event::RtpPacket(packet))
                    if packet.time.frequency() == Frequency::NINETY_KHZ =>
                {
                    self.video = Some(packet.header.ssrc);
                }
                Output::Event(_) => {}
            }
        }
    }

    fn send(&mut self, datagram: &[u8]) {
        // RFC 7983: DTLS.
        let is_dtls = datagram
            .first()
            .is_some_and(|first| (20..=63).contains(first));
        if is_dtls && self.conduct == Conduct::NeverDtls {
            return;
        }
        self.done.sent += 1;
        match &mut self.socket {
            Socket::Udp(socket) => {
                let _ = socket.send_to(datagram, self.server);
            }
            Socket::Tcp(stream, _) => {
                let length = u16::try_from(datagram.len()).unwrap().to_be_bytes();
                let _ = stream.write_all(&[&length, datagram].concat());
            }
        }
    }
}
