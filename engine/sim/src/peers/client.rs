//! A browser's worth of WebRTC client: offers, connects, sends access units and Opus packets.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use str0m::{
    Candidate, Event, IceConnectionState, Input, Output, Rtc, RtcConfig,
    change::{SdpAnswer, SdpApi, SdpPendingOffer},
    format::Codec,
    media::{Direction, Frequency, MediaKind, MediaTime, Mid, Rid, Simulcast, SimulcastLayer},
    net::{Protocol, Receive},
};

use super::{
    messages::Messages,
    skew::{faster, nanos, slower},
};
use crate::udp::Traffic;
use crate::{
    b_frames::BFrames,
    picture::{Picture, vp8},
};

/// So many pictures of a client have numbers of their own.
const NUMBER_BITS: u32 = 18;
/// CELT, 20 ms, one frame; the number of the packet follows.
const OPUS: [u8; 2] = [0xfc, 0xff];
/// The same with three frames, each of a third of what follows.
const OPUS_60_MS: [u8; 4] = [0xff, 3, 0, 0];
/// Samples of a frame, at 48 kHz.
const FRAME_SAMPLES: u64 = 960;

/// What a client sends.
#[derive(Clone, Copy, Debug)]
pub struct Sends {
    /// Has a video track.
    pub video: bool,
    /// Has an audio track.
    pub audio: bool,
    /// 640x360 and not 1280x720.
    pub small: bool,
    /// About the size of a picture; a keyframe has six times as much.
    pub frame_bytes: usize,
    /// Distance of two pictures; 0 is 30 a second.
    pub frame_ms: u64,
    /// Opus packets of 60 ms and not of 20.
    pub long_packets: bool,
    /// Two B-frames between P-frames.
    pub b_frames: bool,
    /// Of the video.
    pub codec: Codec,
    /// Sends a small and a large layer (simulcast) and no other picture.
    pub layers: bool,
}

impl Default for Sends {
    fn default() -> Self {
        Self {
            video: true,
            audio: true,
            small: false,
            frame_bytes: 5_000,
            frame_ms: 0,
            long_packets: false,
            b_frames: false,
            codec: Codec::H264,
            layers: false,
        }
    }
}

/// A layer of simulcast.
pub struct Layer {
    rid: Rid,
    small: bool,
    /// Pictures are sent in it.
    pub alive: bool,
    /// They cannot be put together: a STAP-A is shorter than it says (RFC 6184, 5.7.1).
    pub unreadable: bool,
    rtp_start: u64,
    since_keyframe: u64,
    wants_keyframe: bool,
    /// Keyframes in this layer.
    pub keyframes_sent: u64,
}

/// The small one first, as most pages have it.
fn layers() -> Vec<Layer> {
    let layer = |(rid, small, rtp_start)| Layer {
        rid: Rid::from(rid),
        small,
        alive: true,
        unreadable: false,
        rtp_start,
        since_keyframe: 0,
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

/// A browser that publishes.
pub struct Client {
    /// Where it sends from.
    pub address: SocketAddr,
    /// Its last SDP offer.
    pub offer: String,
    /// How the shard names this session in STUN.
    pub remote_ufrag: String,
    pending: Option<SdpPendingOffer>,
    rtc: Rtc,
    sends: Sends,
    /// The video track.
    pub video: Option<Mid>,
    /// The audio track.
    pub audio: Option<Mid>,
    /// Layers of simulcast; none if it sends one picture only.
    pub layers: Vec<Layer>,
    connected: Option<Instant>,
    next_video: Instant,
    next_audio: Instant,
    wants_keyframe: bool,
    outbox: Vec<Vec<u8>>,
    timeout: Instant,
    /// Pictures so far, whichever layers they were in.
    pub frames_sent: u64,
    /// Keyframes among them.
    pub keyframes_sent: u64,
    /// Keyframe requests that have reached it.
    pub keyframe_requests: u64,
    /// Its connectivity checks are no longer answered.
    pub is_disconnected: bool,
    /// Sends nothing more, as a browser whose network is gone.
    pub dead: bool,
    /// Nothing reaches it.
    pub deaf: bool,
    /// Sends audio alone, as a page whose canvas does not change.
    pub no_video: bool,
    /// Sends no audio, as a page whose microphone was taken away. Its RTP clock goes on.
    pub no_audio: bool,
    /// By how many millionths its machine's clock is faster than the shard's.
    pub clock_ppm: u64,
    /// The same of its sound card, against its machine.
    pub sound_card_ppm: u64,
    began: Instant,
    /// By its machine's clock, when it took each picture, from the time on that it was connected.
    pub pictures_taken: Vec<Duration>,
    /// What the network does once it is connected.
    pub traffic: Option<Traffic>,
    /// Answers no request for a keyframe and sends none by itself.
    pub no_keyframes: bool,
    /// Each n-th datagram is lost on its way; 0 for none.
    pub lose_every: u64,
    datagrams: u64,
    /// Pictures since the last IDR.
    since_keyframe: u64,
    b_frames: BFrames,
    /// Time of the last keyframe, in ticks of 90 kHz.
    keyframe_ticks: u64,
    /// The number of the first picture, which no other client has.
    first_number: u64,
    /// Over its data channel.
    pub messages: Messages,
}

impl Client {
    /// A client on port `port`, with an offer and no session yet.
    pub fn new(now: Instant, port: u16, sends: Sends) -> Self {
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
            no_audio: false,
            clock_ppm: 0,
            sound_card_ppm: 0,
            began: now,
            pictures_taken: Vec::new(),
            traffic: None,
            no_keyframes: false,
            lose_every: 0,
            datagrams: 0,
            since_keyframe: 0,
            b_frames: BFrames::default(),
            keyframe_ticks: 0,
            first_number: u64::from(port) << NUMBER_BITS,
            messages: Messages::default(),
        }
    }

    /// Takes the shard's SDP answer.
    pub fn answer(&mut self, now: Instant, sdp: &str) {
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
    pub fn offer_again(&mut self, change: impl FnOnce(&mut SdpApi<'_>)) {
        let mut api = self.rtc.sdp_api();
        change(&mut api);
        let (offer, pending) = api.apply().expect("something to negotiate");
        self.offer = offer.to_sdp_string();
        self.pending = Some(pending);
    }

    /// The offer was refused: everything is as before.
    pub fn roll_back(&mut self) {
        self.pending = None;
    }

    /// Sends from another address from now on, after an ICE restart without its candidates.
    pub fn move_to(&mut self, port: u16) {
        self.address.set_port(port);
        let candidate = Candidate::host(self.address, "udp").unwrap();
        self.rtc.add_local_candidate(candidate);
    }

    /// A datagram of the shard has come.
    pub fn receive(&mut self, now: Instant, datagram: &[u8]) {
        let now = self.began + faster(now - self.began, self.clock_ppm);
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
    pub fn run(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let now = self.began + faster(now - self.began, self.clock_ppm);
        if self.dead {
            return Vec::new();
        }
        if self.messages.write(&mut self.rtc) {
            self.drain(now);
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
            self.send_audio(now, since, mid);
        }
        if let Some(mid) = self
            .video
            .filter(|_| now >= self.next_video && !self.no_video)
        {
            let apart = match self.sends.frame_ms {
                0 => Duration::from_micros(33_333),
                ms => Duration::from_millis(ms),
            };
            // What a camera has not taken while it paused is not made up for.
            let paused = now - self.next_video > apart;
            self.next_video = if paused { now } else { self.next_video } + apart;
            let mut key = std::mem::take(&mut self.wants_keyframe) && !self.no_keyframes;
            let mut ticks = u64::try_from(since.as_micros()).unwrap() * 90 / 1000;
            if self.sends.layers {
                self.send_layers(now, mid, ticks);
                return;
            }
            let codec = self.sends.codec;
            let unit = match codec {
                Codec::Vp8 => vp8(self.number(), key, self.sends.frame_bytes),
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
            self.pictures_taken.push(since);
            self.write(now, mid, codec, MediaTime::from_90khz(ticks), unit);
        }
    }

    /// The packet that the sound card has filled.
    fn send_audio(&mut self, now: Instant, since: Duration, mid: Mid) {
        let frames = if self.sends.long_packets { 3 } else { 1 };
        let samples = frames * FRAME_SAMPLES;
        let heard = nanos(faster(since, self.sound_card_ppm));
        let ticks = heard * 48 / 1_000_000 / samples * samples;
        // Rounded up, so that the next one is whole when it is due.
        let rounding = Duration::from_nanos(self.sound_card_ppm.min(1));
        self.next_audio = now + self.audio_taken(ticks + samples) + rounding - since;
        if self.no_audio {
            return;
        }
        let time = MediaTime::new(ticks, Frequency::FORTY_EIGHT_KHZ);
        let number = u32::try_from(ticks / FRAME_SAMPLES).unwrap().to_be_bytes();
        let packet = match self.sends.long_packets {
            true => [&OPUS_60_MS[..], &number].concat(),
            false => [&OPUS[..], &number].concat(),
        };
        self.write(now, mid, Codec::Opus, time, packet);
    }

    /// By its machine's clock, when it took a sample of its audio, from the time on that it was connected.
    pub fn audio_taken(&self, sample: u64) -> Duration {
        let by_its_card = Duration::from_nanos(sample * 1_000_000 / 48);
        slower(by_its_card, self.sound_card_ppm)
    }

    /// One picture in each layer that is alive; RTP times begin elsewhere in each.
    fn send_layers(&mut self, now: Instant, mid: Mid, ticks: u64) {
        self.frames_sent += 1;
        let mut layers = std::mem::take(&mut self.layers);
        for layer in layers.iter_mut().filter(|layer| layer.alive) {
            let key = std::mem::take(&mut layer.wants_keyframe);
            self.sends.small = layer.small;
            self.since_keyframe = layer.since_keyframe;
            let unit = match layer.unreadable {
                true => vec![0, 0, 0, 1, 0x78, 0xff, 0xff, 0x41],
                false => self.access_unit(key),
            };
            layer.since_keyframe = self.since_keyframe;
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
    pub fn resize(&mut self, small: bool) {
        self.sends.small = small;
        self.wants_keyframe = true;
    }

    /// The number of its first picture; each that follows has the next one.
    pub fn first_number(&self) -> u64 {
        self.first_number
    }

    /// Of the next picture.
    fn number(&self) -> u64 {
        self.first_number + self.frames_sent
    }

    fn access_unit(&mut self, key: bool) -> Vec<u8> {
        self.since_keyframe = if key { 0 } else { self.since_keyframe + 1 };
        let config = u8::from(self.sends.small);
        let picture = Picture {
            // The same for all keyframes, as many encoders have it.
            idr_pic_id: key.then_some(0),
            ..Picture::sent(self.number(), config, self.since_keyframe)
        };
        picture.annex_b(self.sends.frame_bytes * if key { 6 } else { 1 })
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
                Output::Event(event) => self.messages.take(now, event),
            }
        }
    }
}
