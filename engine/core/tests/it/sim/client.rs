//! A browser's worth of WebRTC client: offers, connects, sends access units and Opus packets.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::path::Traffic;
use str0m::{
    Candidate, Event, IceConnectionState, Input, Output, Rtc, RtcConfig,
    change::{SdpAnswer, SdpApi, SdpPendingOffer},
    format::Codec,
    media::{Direction, Frequency, MediaKind, MediaTime, Mid, Rid, Simulcast, SimulcastLayer},
    net::{Protocol, Receive},
};

use super::b_frames::BFrames;

const SPS_720P: &[u8] = &[
    0x67, 0x42, 0xc0, 0x1f, 0xd9, 0x00, 0x50, 0x05, 0xbb, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10,
    0x00, 0x00, 0x03, 0x03, 0xc0, 0xf1, 0x83, 0x24, 0x80,
];
pub(crate) const SPS_360P: &[u8] = &[
    0x67, 0x42, 0xc0, 0x1e, 0xd9, 0x00, 0xa0, 0x2f, 0xf9, 0x70, 0x11, 0x00, 0x00, 0x03, 0x00, 0x01,
    0x00, 0x00, 0x03, 0x00, 0x3c, 0x0f, 0x16, 0x2e, 0x48,
];
pub(crate) const PPS: &[u8] = &[0x68, 0xcb, 0x83, 0xcb, 0x20];
/// CELT, 20 ms, one frame.
const OPUS: &[u8] = &[0xfc, 0xff, 0xfe, 0x11, 0x22, 0x33];

#[derive(Clone, Copy, Debug)]
pub(crate) struct Sends {
    pub(crate) video: bool,
    pub(crate) audio: bool,
    pub(crate) small: bool,
    pub(crate) frame_bytes: usize,
    /// Distance of two pictures; 0 is 30 a second.
    pub(crate) frame_ms: u64,
    /// Two B-frames between P-frames.
    pub(crate) b_frames: bool,
    pub(crate) codec: Codec,
    /// Sends a small and a large layer (simulcast) and no other picture.
    pub(crate) layers: bool,
}

impl Default for Sends {
    fn default() -> Self {
        Self {
            video: true,
            audio: true,
            small: false,
            frame_bytes: 5_000,
            frame_ms: 0,
            b_frames: false,
            codec: Codec::H264,
            layers: false,
        }
    }
}

/// A layer of simulcast.
pub(crate) struct Layer {
    rid: Rid,
    small: bool,
    pub(crate) alive: bool,
    rtp_start: u64,
    frame_num: u8,
    wants_keyframe: bool,
    pub(crate) keyframes_sent: u64,
}

/// The small one first, as most pages have it.
fn layers() -> Vec<Layer> {
    let layer = |(rid, small, rtp_start)| Layer {
        rid: Rid::from(rid),
        small,
        alive: true,
        rtp_start,
        frame_num: 0,
        wants_keyframe: true,
        keyframes_sent: 0,
    };
    [("q", true, 0), ("f", false, 3_000_000_000)]
        .map(layer)
        .into()
}

fn simulcast(layers: &[Layer]) -> Simulcast {
    let mut simulcast = Simulcast::new();
    for layer in layers {
        simulcast.add_send_layer(SimulcastLayer::new(&layer.rid.to_string()));
    }
    simulcast
}

pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    /// The last one.
    pub(crate) offer: String,
    /// How the shard names this session in STUN.
    pub(crate) remote_ufrag: String,
    pending: Option<SdpPendingOffer>,
    rtc: Rtc,
    sends: Sends,
    pub(crate) video: Option<Mid>,
    pub(crate) audio: Option<Mid>,
    pub(crate) layers: Vec<Layer>,
    connected: Option<Instant>,
    next_video: Instant,
    next_audio: Instant,
    wants_keyframe: bool,
    outbox: Vec<Vec<u8>>,
    timeout: Instant,
    pub(crate) frames_sent: u64,
    pub(crate) keyframes_sent: u64,
    pub(crate) keyframe_requests: u64,
    /// Its connectivity checks are no longer answered.
    pub(crate) is_disconnected: bool,
    /// Sends nothing more, as a browser whose network is gone.
    pub(crate) dead: bool,
    /// Nothing reaches it.
    pub(crate) deaf: bool,
    /// Sends sound alone, as a page whose canvas does not change.
    pub(crate) no_video: bool,
    /// What the network does once it is connected.
    pub(crate) traffic: Option<Traffic>,
    /// Answers no request for a keyframe and sends none by itself.
    pub(crate) no_keyframes: bool,
    /// Each n-th datagram is lost on its way; 0 for none.
    pub(crate) lose_every: u64,
    datagrams: u64,
    /// Pictures since the last IDR, modulo 256.
    frame_num: u8,
    b_frames: BFrames,
    /// Time of the last keyframe, in ticks of 90 kHz.
    keyframe_ticks: u64,
    /// Puts the number of the frame behind its slice header, so that servers can tell them apart.
    seed: u8,
}

impl Client {
    pub(crate) fn new(now: Instant, port: u16, sends: Sends) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut rtc = RtcConfig::new()
            .clear_codecs()
            .enable_h264(sends.codec == Codec::H264)
            .enable_vp8(sends.codec == Codec::Vp8)
            .enable_opus(true, false)
            .build(now);
        rtc.add_local_candidate(Candidate::host(address, "udp").unwrap());
        let mut change = rtc.sdp_api();
        let layers = if sends.layers { layers() } else { Vec::new() };
        let simulcast = sends.layers.then(|| simulcast(&layers));
        let mut media =
            |kind, simulcast| change.add_media(kind, Direction::SendOnly, None, None, simulcast);
        let audio = sends.audio.then(|| media(MediaKind::Audio, None));
        let video = sends.video.then(|| media(MediaKind::Video, simulcast));
        change.add_channel("show".into());
        let (offer, pending) = change.apply().unwrap();
        Self {
            address,
            offer: offer.to_sdp_string(),
            remote_ufrag: String::new(),
            pending: Some(pending),
            rtc,
            sends,
            video,
            audio,
            layers,
            connected: None,
            next_video: now,
            next_audio: now,
            wants_keyframe: true,
            outbox: Vec::new(),
            timeout: now,
            frames_sent: 0,
            keyframes_sent: 0,
            keyframe_requests: 0,
            is_disconnected: false,
            dead: false,
            deaf: false,
            no_video: false,
            traffic: None,
            no_keyframes: false,
            lose_every: 0,
            datagrams: 0,
            frame_num: 0,
            b_frames: BFrames::default(),
            keyframe_ticks: 0,
            seed: u8::try_from(port % 251).unwrap(),
        }
    }

    pub(crate) fn answer(&mut self, now: Instant, sdp: &str) {
        let ufrag = sdp
            .lines()
            .find_map(|line| line.trim().strip_prefix("a=ice-ufrag:"));
        self.remote_ufrag = ufrag.unwrap().to_owned();
        let answer = SdpAnswer::from_sdp_string(sdp).unwrap();
        self.rtc
            .sdp_api()
            .accept_answer(self.pending.take().unwrap(), answer)
            .unwrap();
        self.rtc.handle_input(Input::Timeout(now)).unwrap();
        self.drain(now);
    }

    /// Makes a further offer; media goes on once it is answered.
    pub(crate) fn offer_again(&mut self, change: impl FnOnce(&mut SdpApi<'_>)) {
        let mut api = self.rtc.sdp_api();
        change(&mut api);
        let (offer, pending) = api.apply().expect("something to negotiate");
        self.offer = offer.to_sdp_string();
        self.pending = Some(pending);
    }

    /// The offer was refused: everything is as before.
    pub(crate) fn roll_back(&mut self) {
        self.pending = None;
    }

    /// Sends from another address from now on, after an ICE restart without its candidates.
    pub(crate) fn move_to(&mut self, port: u16) {
        self.address.set_port(port);
        let candidate = Candidate::host(self.address, "udp").unwrap();
        self.rtc.add_local_candidate(candidate);
    }

    pub(crate) fn receive(&mut self, now: Instant, datagram: &[u8]) {
        if self.dead || self.deaf {
            return;
        }
        if let Some(traffic) = self.traffic.as_mut().filter(|_| self.connected.is_some()) {
            traffic.answer(now, datagram);
            return;
        }
        self.take(now, datagram);
    }

    fn take(&mut self, now: Instant, datagram: &[u8]) {
        let from = super::SHARD_ADDRESS.parse().unwrap();
        let receive = Receive::new(Protocol::Udp, from, self.address, datagram).unwrap();
        self.rtc.handle_input(Input::Receive(now, receive)).unwrap();
        self.drain(now);
    }

    /// Sends what is due; returns the datagrams that reach the network.
    pub(crate) fn run(&mut self, now: Instant) -> Vec<Vec<u8>> {
        if self.dead {
            return Vec::new();
        }
        if now >= self.timeout {
            self.rtc.handle_input(Input::Timeout(now)).unwrap();
            self.drain(now);
        }
        if self.connected.is_some() && self.pending.is_none() {
            self.send_due(now);
        }
        let outbox = std::mem::take(&mut self.outbox);
        if self.connected.is_some()
            && let Some(mut traffic) = self.traffic.take()
        {
            for datagram in outbox {
                traffic.send(now, datagram);
            }
            for datagram in traffic.answered(now) {
                self.take(now, &datagram);
            }
            let arrived = traffic.arrived(now);
            self.traffic = Some(traffic);
            return arrived;
        }
        outbox
            .into_iter()
            .filter(|_| {
                self.datagrams += 1;
                self.lose_every == 0 || !self.datagrams.is_multiple_of(self.lose_every)
            })
            .collect()
    }

    fn send_due(&mut self, now: Instant) {
        let since = now - self.connected.unwrap();
        if let Some(mid) = self.audio.filter(|_| now >= self.next_audio) {
            self.next_audio += Duration::from_millis(20);
            let ticks = u64::try_from(since.as_micros()).unwrap() * 48 / 1000 / 960 * 960;
            let time = MediaTime::new(ticks, Frequency::FORTY_EIGHT_KHZ);
            self.write(now, mid, Codec::Opus, time, OPUS.to_vec());
        }
        if let Some(mid) = self
            .video
            .filter(|_| now >= self.next_video && !self.no_video)
        {
            self.next_video += match self.sends.frame_ms {
                0 => Duration::from_micros(33_333),
                ms => Duration::from_millis(ms),
            };
            let mut key = std::mem::take(&mut self.wants_keyframe) && !self.no_keyframes;
            let mut ticks = u64::try_from(since.as_micros()).unwrap() * 90 / 1000;
            if self.sends.layers {
                self.send_layers(now, mid, ticks);
                return;
            }
            let codec = self.sends.codec;
            let unit = match codec {
                Codec::Vp8 => self.vp8(key),
                _ if self.sends.b_frames => {
                    let (is_key, place, unit) = self.b_frames.next(key, self.sends.frame_bytes);
                    self.wants_keyframe = key && !is_key;
                    if is_key {
                        self.keyframe_ticks = ticks;
                    }
                    (key, ticks) = (is_key, self.keyframe_ticks + place * 3_000);
                    unit
                }
                _ => self.access_unit(key),
            };
            self.frames_sent += 1;
            self.keyframes_sent += u64::from(key);
            self.write(now, mid, codec, MediaTime::from_90khz(ticks), unit);
        }
    }

    /// One picture in each layer that is alive; RTP times begin elsewhere in each.
    fn send_layers(&mut self, now: Instant, mid: Mid, ticks: u64) {
        self.frames_sent += 1;
        let mut layers = std::mem::take(&mut self.layers);
        for layer in layers.iter_mut().filter(|layer| layer.alive) {
            let key = std::mem::take(&mut layer.wants_keyframe);
            self.sends.small = layer.small;
            self.frame_num = layer.frame_num;
            let unit = self.access_unit(key);
            layer.frame_num = self.frame_num;
            layer.keyframes_sent += u64::from(key);
            let time = MediaTime::from_90khz(ticks + layer.rtp_start);
            let writer = self.rtc.writer(mid).unwrap();
            let pt = writer.payload_params().next().unwrap().pt();
            writer.rid(layer.rid).write(pt, now, time, unit).unwrap();
        }
        self.layers = layers;
        self.drain(now);
    }

    /// Another size from the next keyframe on.
    pub(crate) fn resize(&mut self, small: bool) {
        self.sends.small = small;
        self.wants_keyframe = true;
    }

    /// A frame tag, and the start code of a keyframe.
    fn vp8(&self, key: bool) -> Vec<u8> {
        let head = [u8::from(!key) | 0x10, 0, 0, 0x9D, 0x01, 0x2A];
        let mut frame = head.to_vec();
        frame.resize(self.sends.frame_bytes, 0x5A);
        frame
    }

    fn access_unit(&mut self, key: bool) -> Vec<u8> {
        self.frame_num = if key {
            0
        } else {
            self.frame_num.wrapping_add(1)
        };
        let mut unit = Vec::new();
        let mut nal = |bytes: &[u8]| {
            unit.extend_from_slice(&[0, 0, 0, 1]);
            unit.extend_from_slice(bytes);
        };
        if key {
            nal(if self.sends.small { SPS_360P } else { SPS_720P });
            nal(PPS);
        }
        // The header of an I or a P slice under those parameter sets; the data is made up.
        let frame_num = self.frame_num % 16;
        let mut slice = match key {
            true => vec![0x65, 0x88, 0x84, 0xff],
            false => vec![0x41, 0x9a | frame_num >> 3, frame_num << 5 | 0x03, 0xff],
        };
        slice.extend([0x9a, self.seed]);
        // Never three zero bytes in a row, as emulation prevention sees to.
        slice.extend(self.frames_sent.to_be_bytes().map(|byte| byte | 0x80));
        slice.resize(
            if key {
                self.sends.frame_bytes * 6
            } else {
                self.sends.frame_bytes
            },
            0x5a,
        );
        nal(&slice);
        unit
    }

    fn write(&mut self, now: Instant, mid: Mid, codec: Codec, time: MediaTime, data: Vec<u8>) {
        let Some(writer) = self.rtc.writer(mid) else {
            return;
        };
        let pt = writer
            .payload_params()
            .find(|params| params.spec().codec == codec)
            .map(|p| p.pt());
        writer.write(pt.unwrap(), now, time, data).unwrap();
        self.drain(now);
    }

    fn drain(&mut self, now: Instant) {
        loop {
            match self.rtc.poll_output().unwrap() {
                Output::Timeout(at) => {
                    self.timeout = at;
                    return;
                }
                Output::Transmit(transmit) => self.outbox.push(transmit.contents.to_vec()),
                Output::Event(Event::Connected) => {
                    self.connected = Some(now);
                    self.next_video = now;
                    self.next_audio = now;
                }
                Output::Event(Event::KeyframeRequest(request)) => {
                    self.keyframe_requests += 1;
                    let mut layers = self.layers.iter_mut();
                    if let Some(layer) = layers.find(|layer| Some(layer.rid) == request.rid) {
                        layer.wants_keyframe = true;
                    }
                    self.wants_keyframe = true;
                }
                Output::Event(Event::IceConnectionStateChange(state)) => {
                    self.is_disconnected = state == IceConnectionState::Disconnected;
                }
                Output::Event(_) => {}
            }
        }
    }
}
