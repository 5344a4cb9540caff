//! One client that publishes to us: ICE-lite, DTLS-SRTP, video and Opus in, nothing out.
//!
//! str0m does the protocols: reordering, NACK, RTX, depacketising. What is added here: the answer
//! prefers what can be passed on unchanged, frames are placed on the media clock, and the session
//! knows when it has started, gone stale, and ended.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use shardcast_link::{EndReason, SessionId, VideoCodec};
use str0m::{
    Candidate, Event, IceConnectionState, Input, Output, Rtc, RtcError,
    media::{KeyframeRequestKind, MediaData, MediaKind, Mid},
    net::{Protocol, Receive},
};

use super::{
    audio_receiver::{AudioReceiver, OpusArrival, PlacedOpus},
    layers::Layers,
    negotiation::Agreement,
    offer::{Offers, video_codec},
    source::{SourceId, Splice},
    superframe::with_index,
};
use crate::{
    frame_size::keyframe_pixels,
    limits::{ICE_LOST_MS, KEYFRAME_REQUEST_MS_MIN, MEDIA_LOST_MS},
    timeline::{Stream, Timeline},
};

/// Something a publisher wants done or known.
#[derive(Debug)]
pub(crate) enum PublisherOutput {
    Datagram {
        from: SocketAddr,
        to: SocketAddr,
        payload: Vec<u8>,
    },
    Video {
        pts_us: i64,
        codec: VideoCodec,
        /// As a decoder takes it: H.264 in Annex B.
        access_unit: Arc<[u8]>,
        /// Nothing was lost since the unit before.
        contiguous: bool,
    },
    /// A picture came that cannot be put together, and what follows leans on it.
    Unreadable,
    Audio(PlacedOpus),
    /// Audio came whose place is decided later; it is there from this time on, in microseconds.
    AudioHeld(i64),
    /// The session is over, by the peer or by time.
    Ended(EndReason),
}

/// What the last second looked like.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reception {
    pub(crate) bytes: u64,
    pub(crate) packets_lost: u64,
    pub(crate) jitter_ms: u32,
    pub(crate) rtt_ms: u32,
}

#[derive(Debug)]
pub(crate) struct Publisher {
    pub(crate) session: SessionId,
    pub(super) rtc: Rtc,
    /// Start of the shard's clock.
    pub(super) epoch: Instant,
    pub(super) timeline: Timeline,
    pub(super) audio_receiver: AudioReceiver,
    /// All tracks that were ever offered, in the order of their media sections.
    pub(super) tracks: Vec<(Mid, MediaKind)>,
    /// The first track of each kind that sends; further ones (a second camera) are not used.
    pub(super) video: Option<Mid>,
    pub(super) audio: Option<Mid>,
    pub(super) layers: Layers,
    /// Of video and of audio.
    pub(super) splices: [Splice; 2],
    pub(super) offers: Offers,
    pub(super) agreement: Agreement,
    pub(super) outputs: VecDeque<PublisherOutput>,
    pub(super) rtc_timeout: Instant,
    /// Without media until then, the session ends.
    pub(super) start_deadline: Instant,
    pub(super) first_media: Option<Instant>,
    pub(super) last_media: Instant,
    pub(super) disconnected_since: Option<Instant>,
    pub(super) keyframe_requested: Option<Instant>,
    pub(super) reception: Reception,
    pub(super) stream_bytes: [(u64, u64); 2],
    pub(super) remote: Option<SocketAddr>,
    pub(super) ended: bool,
}

impl Publisher {
    pub(crate) fn offers(&self) -> Offers {
        self.offers
    }

    pub(crate) fn reception(&self) -> &Reception {
        &self.reception
    }

    pub(crate) fn remote(&self) -> Option<SocketAddr> {
        self.remote
    }

    pub(crate) fn media_age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.last_media)
    }

    /// Whether a datagram from an address that is not known yet is authentic (RFC 8445, 7.3: a
    /// request whose integrity does not verify is not from the peer).
    pub(crate) fn accepts(
        &self,
        now: Instant,
        from: SocketAddr,
        to: SocketAddr,
        payload: &[u8],
    ) -> bool {
        Receive::new(Protocol::Udp, from, to, payload)
            .is_ok_and(|receive| self.rtc.accepts(&Input::Receive(now, receive)))
    }

    pub(crate) fn datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        to: SocketAddr,
        payload: &[u8],
    ) {
        let Ok(receive) = Receive::new(Protocol::Udp, from, to, payload) else {
            return; // Not STUN, DTLS or RTP: nothing that a peer of ours sends.
        };
        self.remote = Some(from);
        if let Err(error) = self.rtc.handle_input(Input::Receive(now, receive)) {
            self.note(&error);
        }
        self.drain(now);
    }

    /// A candidate that the client trickled. We answer whoever reaches us, so it only helps str0m
    /// to know the peer earlier; mDNS names and the like are passed over.
    pub(crate) fn candidate(&mut self, now: Instant, candidate: &str) {
        if let Ok(candidate) = Candidate::from_sdp_string(candidate) {
            self.rtc.add_remote_candidate(candidate);
            self.drain(now);
        }
    }

    pub(crate) fn timeout(&mut self, now: Instant) {
        if now >= self.rtc_timeout {
            if let Err(error) = self.rtc.handle_input(Input::Timeout(now)) {
                self.note(&error);
            }
            self.drain(now);
        }
        self.audio_receiver.timeout(now, &mut self.timeline);
        self.pass_audio_on();
        if let Some(reason) = self.overdue(now) {
            self.end(reason);
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let own = match (self.first_media, self.disconnected_since) {
            (None, _) => self.start_deadline,
            (Some(_), Some(since)) => since + Duration::from_millis(ICE_LOST_MS),
            (Some(_), None) => self.last_media + Duration::from_millis(MEDIA_LOST_MS),
        };
        let audio = self.audio_receiver.next_timeout().unwrap_or(own);
        (!self.ended).then(|| self.rtc_timeout.min(own).min(audio))
    }

    pub(crate) fn poll(&mut self) -> Option<PublisherOutput> {
        self.outputs.pop_front()
    }

    /// Asks for a keyframe, unless that was just done.
    pub(crate) fn request_keyframe(&mut self, now: Instant) {
        let recently = self.keyframe_requested.is_some_and(|at| {
            now.saturating_duration_since(at) < Duration::from_millis(KEYFRAME_REQUEST_MS_MIN)
        });
        // Before its first picture a track is asked as one without layers.
        let first = || self.video.map(|mid| SourceId { mid, rid: None });
        let Some(source) = self.layers.current().or_else(first).filter(|_| !recently) else {
            return;
        };
        if self.request_of(source) {
            self.keyframe_requested = Some(now);
            self.drain(now);
        }
    }

    fn request_of(&mut self, source: SourceId) -> bool {
        self.rtc.writer(source.mid).is_some_and(|mut writer| {
            let kind = KeyframeRequestKind::Pli;
            writer.request_keyframe(source.rid, kind).is_ok()
        })
    }

    /// Says goodbye to the client; what that takes comes out of [`Self::poll`].
    pub(crate) fn close(&mut self, now: Instant) {
        self.ended = true;
        if self.rtc.close().is_ok() {
            self.drain(now);
        }
        self.outputs
            .retain(|output| matches!(output, PublisherOutput::Datagram { .. }));
    }

    fn overdue(&self, now: Instant) -> Option<EndReason> {
        let age = |since: Instant| now.saturating_duration_since(since);
        if self.ended {
            None
        } else if self.first_media.is_none() {
            let media = self.offers.video || self.offers.audio;
            (now >= self.start_deadline).then_some(if media {
                EndReason::StartTimeout
            } else {
                EndReason::NoMediaOffered
            })
        } else {
            let lost = self
                .disconnected_since
                .is_some_and(|since| age(since) >= Duration::from_millis(ICE_LOST_MS));
            let silent = age(self.last_media) >= Duration::from_millis(MEDIA_LOST_MS);
            (lost || silent).then_some(EndReason::Lost)
        }
    }

    fn end(&mut self, reason: EndReason) {
        if !self.ended {
            self.ended = true;
            self.outputs.push_back(PublisherOutput::Ended(reason));
        }
    }

    pub(super) fn drain(&mut self, now: Instant) {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    self.rtc_timeout = at;
                    return;
                }
                Ok(Output::Transmit(transmit)) => {
                    self.outputs.push_back(PublisherOutput::Datagram {
                        from: transmit.source,
                        to: transmit.destination,
                        payload: transmit.contents.into(),
                    });
                }
                Ok(Output::Event(event)) => self.event(now, event),
                // One frame that is no frame of its codec; str0m has put it away.
                Err(error @ RtcError::Packet(mid, ..)) => {
                    self.note(&error);
                    if Some(mid) == self.video {
                        self.outputs.push_back(PublisherOutput::Unreadable);
                    }
                }
                Err(error) => {
                    self.note(&error);
                    self.rtc.disconnect();
                    self.end(EndReason::Lost);
                    return;
                }
            }
        }
    }

    fn event(&mut self, now: Instant, event: Event) {
        match event {
            Event::MediaAdded(media) => {
                self.tracks.push((media.mid, media.kind));
                self.choose_tracks();
            }
            Event::MediaChanged(_) => self.choose_tracks(),
            Event::MediaData(data) => self.media(now, data),
            Event::SenderFeedback(feedback) => {
                let Some(stream) = self.stream(feedback.mid) else {
                    return;
                };
                let info = feedback.sender_info;
                let ntp_us = unix_us(info.ntp_time);
                let (mid, rid) = (feedback.mid, feedback.rid);
                let rtp = info.rtp_time.numer();
                let splice = self.splice(stream);
                if let Some(rtp) = splice.report(SourceId { mid, rid }, rtp, ntp_us) {
                    self.timeline.report(stream, rtp, ntp_us, self.us(now));
                }
            }
            Event::IceConnectionStateChange(state) => {
                let down = state == IceConnectionState::Disconnected;
                self.disconnected_since = down.then(|| self.disconnected_since.unwrap_or(now));
            }
            Event::MediaIngressStats(stats) => {
                let index = usize::from(Some(stats.mid) == self.video);
                let ticks_per_ms = if index == 1 { 90 } else { 48 };
                if let Some((packets, bytes)) = self.stream_bytes.get_mut(index) {
                    let received = stats.packets.saturating_sub(*packets);
                    let lost = stats.loss.unwrap_or(0.0).clamp(0.0, 1.0) * received as f32;
                    self.reception.packets_lost += lost as u64;
                    self.reception.bytes += stats.bytes.saturating_sub(*bytes);
                    (*packets, *bytes) = (stats.packets, stats.bytes);
                }
                self.reception.jitter_ms = stats.jitter / ticks_per_ms;
            }
            Event::PeerStats(stats) => {
                let path = stats
                    .selected_candidate_pair
                    .and_then(|pair| pair.current_round_trip_time);
                if let Some(rtt) = stats.rtt.or(path) {
                    self.reception.rtt_ms = u32::try_from(rtt.as_millis()).unwrap_or(u32::MAX);
                }
            }
            Event::Closed => self.end(EndReason::PeerClosed),
            _ => {}
        }
    }

    fn media(&mut self, now: Instant, data: MediaData) {
        let Some(stream) = self.stream(data.mid) else {
            return;
        };
        let codec = video_codec(data.params.spec().codec);
        self.first_media.get_or_insert(now);
        self.last_media = now;
        let (mid, rid) = (data.mid, data.rid);
        let source = SourceId { mid, rid };
        if stream == Stream::Video && !self.is_used(now, source, codec, &data.data) {
            return;
        }
        let arrived_us = self.us(data.network_time);
        let rtp = data.time.numer();
        let rtp = self.splice(stream).place(source, rtp, arrived_us);
        if stream == Stream::Audio {
            let arrival = OpusArrival {
                sequence: **data.seq_range.start(),
                rtp,
                arrived_us,
                packet: data.data,
            };
            self.audio_receiver.packet(now, &mut self.timeline, arrival);
            self.pass_audio_on();
            return;
        }
        let Some(codec) = codec else {
            return; // Not of the answer.
        };
        self.outputs.push_back(PublisherOutput::Video {
            pts_us: self.timeline.place(stream, rtp, arrived_us),
            codec,
            access_unit: with_index(data.data, &data.codec_extra),
            contiguous: data.contiguous,
        });
    }

    fn pass_audio_on(&mut self) {
        while let Some(placed) = self.audio_receiver.poll() {
            self.outputs.push_back(PublisherOutput::Audio(placed));
        }
        if let Some(since_us) = self.audio_receiver.held_since_us() {
            self.outputs.push_back(PublisherOutput::AudioHeld(since_us));
        }
    }

    /// Uses the first track of each kind that sends, and one that is used for as long as it sends.
    pub(super) fn choose_tracks(&mut self) {
        let rtc = &self.rtc;
        // A section that was removed may have been given to another track (RFC 8829, 5.2.2).
        self.tracks.retain(|(mid, _)| rtc.media(*mid).is_some());
        let sends = |mid: Mid| {
            rtc.media(mid)
                .is_some_and(|media| media.direction().is_receiving() && !media.disabled())
        };
        let choose = |used: Option<Mid>, wanted: MediaKind| {
            let mut tracks = self.tracks.iter();
            let mut first = || tracks.find(|(mid, kind)| *kind == wanted && sends(*mid));
            used.filter(|mid| sends(*mid))
                .or_else(|| first().map(|(mid, _)| *mid))
        };
        let (video, audio) = (
            choose(self.video, MediaKind::Video),
            choose(self.audio, MediaKind::Audio),
        );
        if video != self.video {
            self.layers.retain(|source| Some(source.mid) == video);
        }
        (self.video, self.audio) = (video, audio);
    }

    /// Whether this picture is of the stream that the broadcast is sent, as it should be now.
    fn is_used(
        &mut self,
        now: Instant,
        source: SourceId,
        codec: Option<VideoCodec>,
        frame: &[u8],
    ) -> bool {
        if self.layers.is_settled(source) {
            return true;
        }
        let pixels = codec.and_then(|codec| keyframe_pixels(codec, frame));
        let is_used = self.layers.picture(now, source, pixels);
        if let Some(other) = self.layers.take_keyframe_wanted(now) {
            self.request_of(other);
        }
        is_used
    }

    fn splice(&mut self, stream: Stream) -> &mut Splice {
        let [video, audio] = &mut self.splices;
        match stream {
            Stream::Video => video,
            Stream::Audio => audio,
        }
    }

    fn stream(&self, mid: Mid) -> Option<Stream> {
        if Some(mid) == self.video {
            Some(Stream::Video)
        } else {
            (Some(mid) == self.audio).then_some(Stream::Audio)
        }
    }

    fn us(&self, at: Instant) -> i64 {
        let since = at.saturating_duration_since(self.epoch);
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }

    fn note(&self, error: &RtcError) {
        tracing::debug!(session = %self.session, %error, "the peer sent what WebRTC does not allow");
    }
}

fn unix_us(time: SystemTime) -> i64 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX / 2),
        Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX / 2),
    }
}
