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

use shardcast_link::{EndReason, Fault, Problem, SessionId, VideoCodec};
use str0m::{
    Candidate, Event, IceConnectionState, Input, Output, Rtc, RtcError,
    change::SdpOffer,
    media::{KeyframeRequestKind, MediaData, MediaKind, Mid, Rid},
    net::{Protocol, Receive},
};

use super::{
    Identity,
    offer::{Offers, Terms, configuration, offered, sending_only, video_codec},
};
use crate::{
    limits::{ICE_LOST_MS, KEYFRAME_REQUEST_MS_MIN, MEDIA_LOST_MS, SDP_BYTES_MAX},
    timeline::{Stream, Timeline},
};

/// What a client is told whose offer is no SDP, or asks for what is not possible.
const UNREADABLE: &str =
    "the SDP offer cannot be read: send what RTCPeerConnection.createOffer gives, unchanged";
const UNANSWERABLE: &str =
    "the SDP offer cannot be answered: send what RTCPeerConnection.createOffer gives, unchanged";

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
        /// As str0m reassembles it: H.264 in Annex B.
        access_unit: Arc<[u8]>,
        /// Nothing was lost since the unit before.
        contiguous: bool,
    },
    /// A picture came that cannot be put together, and what follows leans on it.
    Unreadable,
    Audio {
        pts_us: i64,
        packet: Arc<[u8]>,
    },
    /// The session is over, by the peer or by time.
    Ended(EndReason),
}

/// What a client offers, and on which terms.
#[derive(Debug)]
pub(crate) struct Offer<'a> {
    pub(crate) session: SessionId,
    /// How the client is to name the session in STUN.
    pub(crate) ufrag: String,
    pub(crate) sdp: &'a str,
    /// Without media for so long, the session ends.
    pub(crate) start_timeout: Duration,
    pub(crate) terms: &'a Terms,
}

/// The answer to an offer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) sdp: String,
    pub(crate) candidates: Vec<String>,
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
    rtc: Rtc,
    /// Start of the shard's clock.
    epoch: Instant,
    timeline: Timeline,
    /// The first track of each kind; further ones (a second camera) are not used.
    video: Option<Mid>,
    audio: Option<Mid>,
    /// The layer that is used, should the client send several (simulcast).
    rid: Option<Option<Rid>>,
    offers: Offers,
    outputs: VecDeque<PublisherOutput>,
    rtc_timeout: Instant,
    /// Without media until then, the session ends.
    start_deadline: Instant,
    first_media: Option<Instant>,
    last_media: Instant,
    disconnected_since: Option<Instant>,
    keyframe_requested: Option<Instant>,
    reception: Reception,
    stream_bytes: [(u64, u64); 2],
    remote: Option<SocketAddr>,
    ended: bool,
}

impl Publisher {
    /// Takes an SDP offer.
    ///
    /// # Errors
    /// When the offer is not SDP or asks for what no browser asks; the publisher's fault.
    pub(crate) fn accept(
        now: Instant,
        epoch: Instant,
        identity: &Identity,
        offer: Offer<'_>,
    ) -> Result<(Self, Answer), Problem> {
        let Offer {
            session,
            ufrag,
            sdp,
            start_timeout,
            terms,
        } = offer;
        if sdp.len() > SDP_BYTES_MAX {
            return Err(refused(
                "the SDP offer is larger than any browser makes one",
            ));
        }
        let sdp = sending_only(sdp);
        let offer = SdpOffer::from_sdp_string(&sdp)
            .map_err(|error| refused_for(&session, &error, UNREADABLE))?;
        let mut rtc = configuration(identity, ufrag, terms).build(now);
        let mut candidates = Vec::with_capacity(identity.candidates.len());
        for address in &identity.candidates {
            if let Ok(candidate) = Candidate::host(*address, "udp") {
                candidates.push(candidate.to_sdp_string());
                rtc.add_local_candidate(candidate);
            }
        }
        let answer = rtc
            .sdp_api()
            .accept_offer(offer)
            .map_err(|error| refused_for(&session, &error, UNANSWERABLE))?;
        let mut publisher = Self {
            session,
            rtc,
            epoch,
            timeline: Timeline::new(),
            video: None,
            audio: None,
            rid: None,
            offers: offered(&sdp),
            outputs: VecDeque::new(),
            rtc_timeout: now,
            start_deadline: now + start_timeout,
            first_media: None,
            last_media: now,
            disconnected_since: None,
            keyframe_requested: None,
            reception: Reception::default(),
            stream_bytes: [(0, 0); 2],
            remote: None,
            ended: false,
        };
        publisher.drain(now);
        Ok((
            publisher,
            Answer {
                sdp: answer.to_sdp_string(),
                candidates,
            },
        ))
    }

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
        (!self.ended).then(|| self.rtc_timeout.min(own))
    }

    pub(crate) fn poll(&mut self) -> Option<PublisherOutput> {
        self.outputs.pop_front()
    }

    /// Asks for a keyframe, unless that was just done.
    pub(crate) fn request_keyframe(&mut self, now: Instant) {
        let recently = self.keyframe_requested.is_some_and(|at| {
            now.saturating_duration_since(at) < Duration::from_millis(KEYFRAME_REQUEST_MS_MIN)
        });
        let Some(mid) = self.video.filter(|_| !recently) else {
            return;
        };
        let asked = self.rtc.writer(mid).is_some_and(|mut writer| {
            writer
                .request_keyframe(None, KeyframeRequestKind::Pli)
                .is_ok()
        });
        if asked {
            self.keyframe_requested = Some(now);
            self.drain(now);
        }
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

    fn drain(&mut self, now: Instant) {
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
            Event::MediaAdded(media) if media.kind == MediaKind::Video => {
                self.video.get_or_insert(media.mid);
            }
            Event::MediaAdded(media) => {
                self.audio.get_or_insert(media.mid);
            }
            Event::MediaData(data) => self.media(now, data),
            Event::SenderFeedback(feedback) => {
                let Some(stream) = self.stream(feedback.mid) else {
                    return;
                };
                let info = feedback.sender_info;
                let ntp_us = unix_us(info.ntp_time);
                self.timeline
                    .report(stream, info.rtp_time.numer(), ntp_us, self.us(now));
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
        if stream == Stream::Video && *self.rid.get_or_insert(data.rid) != data.rid {
            return;
        }
        self.first_media.get_or_insert(now);
        self.last_media = now;
        let arrived_us = self.us(data.network_time);
        let pts_us = self.timeline.place(stream, data.time.numer(), arrived_us);
        let output = match (stream, video_codec(data.params.spec().codec)) {
            (Stream::Video, Some(codec)) => PublisherOutput::Video {
                pts_us,
                codec,
                access_unit: data.data,
                contiguous: data.contiguous,
            },
            (Stream::Video, None) => return, // Not of the answer.
            (Stream::Audio, _) => PublisherOutput::Audio {
                pts_us,
                packet: data.data,
            },
        };
        self.outputs.push_back(output);
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

/// The client is told `message` alone. Errors of str0m quote what they were made of, up to addresses
/// of objects in memory, so they are for the log.
fn refused_for(session: &SessionId, error: &dyn std::fmt::Display, message: &str) -> Problem {
    tracing::debug!(%session, %error, message, "an offer was refused");
    refused(message)
}

fn refused(message: &str) -> Problem {
    Problem {
        fault: Fault::Publisher,
        message: message.to_owned(),
    }
}

fn unix_us(time: SystemTime) -> i64 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX / 2),
        Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX / 2),
    }
}
