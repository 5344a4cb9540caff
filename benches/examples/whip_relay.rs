//! A media server for the tests of `compare`: it takes WebRTC by WHIP and relays the video to RTMP servers.
//!
//! Its configuration is one that the tool writes for SRS; of it, the ports and the destinations are read.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a server of tests that ends at the first surprise"
)]

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use shardcast_bench::publisher::RtmpConnection;
use shardcast_core::{
    h264::ParameterSets,
    rtmp::{
        MediaKind,
        flv::{avc_header, avc_sequence_header},
    },
};
use str0m::{
    Candidate, Event, Input, Output, Rtc, RtcConfig,
    change::SdpOffer,
    media::MediaKind as Kind,
    net::{Protocol, Receive},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream, UdpSocket},
    time::sleep_until,
};

/// What is read of the configuration.
#[derive(Clone, Debug)]
struct Config {
    http: u16,
    destinations: Vec<SocketAddr>,
}

impl Config {
    fn read(path: &str) -> Self {
        let text = std::fs::read_to_string(path).expect("the configuration");
        let behind = |name: &str| {
            let (_, rest) = text.split_once(name).expect(name);
            rest.split_once(';').expect(";").0.trim().to_owned()
        };
        Self {
            http: behind("http_api { enabled on; listen")
                .parse()
                .expect("a port"),
            destinations: behind("destination")
                .split_whitespace()
                .map(|address| address.parse().expect("an address"))
                .collect(),
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let path = std::env::args().nth(1).expect("the configuration file");
    let config = Config::read(&path);
    let listener = TcpListener::bind(("127.0.0.1", config.http))
        .await
        .expect("the port");
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        tokio::spawn(answer(stream, config.clone()));
    }
}

/// One HTTP request: POST begins a session; everything else is agreed to.
async fn answer(stream: TcpStream, config: Config) {
    let mut stream = BufReader::new(stream);
    let (mut first, mut length) = (String::new(), 0);
    stream.read_line(&mut first).await.unwrap();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    let key = first
        .split("stream=")
        .nth(1)
        .and_then(|rest| rest.split([' ', '&']).next());
    let response = match key.filter(|_| first.starts_with("POST")) {
        Some(key) => {
            let (relay, sdp) = Relay::new(&String::from_utf8_lossy(&body)).await;
            tokio::spawn(relay.run(key.to_owned(), config));
            format!(
                "HTTP/1.1 201 Created\r\nLocation: /session/{key}\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
                sdp.len()
            )
        }
        None => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned(),
    };
    stream
        .get_mut()
        .write_all(response.as_bytes())
        .await
        .unwrap();
}

struct Relay {
    rtc: Rtc,
    udp: UdpSocket,
    local: SocketAddr,
    outputs: Vec<RtmpConnection>,
    begun: Option<Instant>,
    closed: bool,
}

impl Relay {
    async fn new(offer: &str) -> (Self, String) {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let local = udp.local_addr().unwrap();
        let mut rtc = RtcConfig::new().set_ice_lite(true).build(Instant::now());
        rtc.add_local_candidate(Candidate::host(local, "udp").unwrap());
        let offer = SdpOffer::from_sdp_string(offer).unwrap();
        let sdp = rtc.sdp_api().accept_offer(offer).unwrap().to_sdp_string();
        let relay = Self {
            rtc,
            udp,
            local,
            outputs: Vec::new(),
            begun: None,
            closed: false,
        };
        (relay, sdp)
    }

    async fn run(mut self, key: String, config: Config) {
        for sink in &config.destinations {
            let url = format!("rtmp://{sink}/live/{key}");
            self.outputs
                .push(RtmpConnection::publish(&url).await.unwrap());
        }
        let mut buffer = [0; 2_000];
        let mut heard = Instant::now();
        while !self.closed && heard.elapsed() < Duration::from_secs(5) {
            let wake_at = self.drain().await;
            tokio::select! {
                Ok((length, from)) = self.udp.recv_from(&mut buffer) => {
                    heard = Instant::now();
                    let receive = Receive::new(Protocol::Udp, from, self.local, &buffer[..length]);
                    if let Ok(receive) = receive {
                        self.rtc.handle_input(Input::Receive(heard, receive)).unwrap();
                    }
                }
                () = sleep_until(wake_at.into()) => {
                    self.rtc.handle_input(Input::Timeout(Instant::now())).unwrap();
                }
            }
        }
        for output in self.outputs {
            output.finish().await;
        }
    }

    async fn drain(&mut self) -> Instant {
        loop {
            match self.rtc.poll_output().unwrap() {
                Output::Timeout(at) => return at,
                Output::Transmit(transmit) => {
                    let to = transmit.destination;
                    // As on any network, a datagram may be lost.
                    let _ = self.udp.send_to(&transmit.contents, to).await;
                }
                Output::Event(Event::MediaData(data)) => {
                    let is_video = self
                        .rtc
                        .media(data.mid)
                        .is_some_and(|media| media.kind() == Kind::Video);
                    if is_video {
                        self.frame(&data.data).await;
                    }
                }
                Output::Event(Event::Closed) => self.closed = true,
                Output::Event(_) => {}
            }
        }
    }

    /// Sends a frame with start codes to all destinations, its parameter sets in a sequence header.
    async fn frame(&mut self, annex_b: &[u8]) {
        let nals = nal_units(annex_b);
        let of = |kind: u8| nals.iter().find(|nal| nal[0] & 0x1f == kind);
        let key = of(5).is_some();
        if self.begun.is_none() && !key {
            return;
        }
        if let (None, Some(sps), Some(pps)) = (self.begun, of(7), of(8)) {
            let sets =
                ParameterSets::new(&Bytes::copy_from_slice(sps), &[Bytes::copy_from_slice(pps)]);
            let header = avc_sequence_header(sets.unwrap().record());
            for output in &mut self.outputs {
                output
                    .send(MediaKind::Video, 0, &[], &header)
                    .await
                    .unwrap();
            }
        }
        let begun = *self.begun.get_or_insert_with(Instant::now);
        let mut unit = Vec::with_capacity(annex_b.len() + 16);
        for nal in nals.iter().filter(|nal| ![7, 8].contains(&(nal[0] & 0x1f))) {
            unit.extend_from_slice(&(nal.len() as u32).to_be_bytes());
            unit.extend_from_slice(nal);
        }
        let (unit, head) = (Bytes::from(unit), avc_header(key, 0));
        let time_ms = begun.elapsed().as_millis() as u32;
        for output in &mut self.outputs {
            output
                .send(MediaKind::Video, time_ms, &head, &unit)
                .await
                .unwrap();
        }
    }
}

/// Cuts a stream with start codes into NAL units.
fn nal_units(annex_b: &[u8]) -> Vec<&[u8]> {
    let mut starts = Vec::new();
    for at in 0..annex_b.len().saturating_sub(3) {
        if annex_b[at..at + 3] == [0, 0, 1] {
            starts.push(at + 3);
        }
    }
    let end_of = |n: usize| match starts.get(n + 1) {
        Some(next) => next - 3,
        None => annex_b.len(),
    };
    let unit = |(n, start): (usize, &usize)| {
        let unit = &annex_b[*start..end_of(n)];
        // The first zero of a start code of four bytes.
        let last = unit.iter().rposition(|byte| *byte != 0)?;
        Some(&unit[..=last])
    };
    starts.iter().enumerate().filter_map(unit).collect()
}
