//! One client that publishes to us: ICE-lite, DTLS-SRTP, video and Opus in, nothing out.
//!
//! str0m does the protocols: reordering, NACK, RTX, depacketising. What is added here: the answer
//! prefers what can be passed on unchanged, frames are placed on the media clock, and the session
//! knows when it has started, gone stale, and ended.

use std::{
    net::SocketAddr,
    time::{Duration, Instant, SystemTime},
};

use shardcast_link::{EndReason, SessionId, VideoCodec};
use str0m::{
    Candidate, Event, IceConnectionState, Input, Output, Rtc, RtcError,
    media::{KeyframeRequestKind, MediaData, MediaKind, Mid},
    stats::MediaIngressStats,
};

use super::{
    audio_receiver::{AudioReceiver, OpusArrival},
    data_channel::{DataChannel, Written, is_of_channel},
    layers::Layers,
    negotiation::{Agreement, RemoteCandidates},
    offer::{Offers, video_codec},
    route::Route,
    rtc_timer::RtcTimer,
    source::{SourceId, Splice},
    superframe::with_index,
    totals::{Received, Totals},
};
use crate::{
    codec::frame_size::keyframe_pixels,
    context::{Clock, Context},
    ingest_event::IngestEvent,
    limits::{ICE_LOST_MS, KEYFRAME_REQUEST_MS_MIN, MEDIA_LOST_MS},
    timeline::{Stream, Timeline},
};

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
    pub(super) clock: Clock,
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
    pub(super) remote_candidates: RemoteCandidates,
    /// The audio receiver has been given something since it was last asked.
    pub(super) audio_pending: bool,
    pub(super) rtc_timer: RtcTimer,
    /// Without media until then, the session ends.
    pub(super) start_deadline: Instant,
    pub(super) first_media: Option<Instant>,
    pub(super) last_media: Instant,
    pub(super) disconnected_since: Option<Instant>,
    pub(super) keyframe_requested: Option<Instant>,
    pub(super) reception: Reception,
    pub(super) totals: Totals,
    /// The source and the last RTP sequence number of the last picture that was used.
    pub(super) last_picture: Option<(SourceId, u64)>,
    /// A picture of some layer could not be put together since then.
    pub(super) unreadable: bool,
    pub(super) data: DataChannel,
    pub(super) remote: Option<SocketAddr>,
    /// Why the session ends, until that was handed on.
    pub(super) ending: Option<EndReason>,
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
    pub(crate) fn accepts(&self, now: Instant, route: Route, payload: &[u8]) -> bool {
        let receive = route.receive(payload);
        receive.is_some_and(|receive| self.rtc.accepts(&Input::Receive(now, receive)))
    }

    /// Takes a datagram. What comes of it is handed on by [`Self::poll`], here as everywhere.
    pub(crate) fn datagram(&mut self, now: Instant, route: Route, payload: &[u8]) {
        let Some(receive) = route.receive(payload) else {
            return;
        };
        self.remote = Some(route.from);
        if self.first_media.is_some() && !self.data.admits(now, payload) {
            return;
        }
        if let Err(error) = self.rtc.handle_input(Input::Receive(now, receive)) {
            self.note(&error);
        }
        if self.first_media.is_some() {
            self.rtc_timer.driven(now);
        }
    }

    /// Writes a message to the data channel.
    pub(crate) fn write_data(&mut self, binary: bool, payload: &[u8]) -> Written {
        self.data.write(&mut self.rtc, binary, payload)
    }

    /// A candidate that the client trickled. ICE-lite answers every address that authenticates, so it
    /// only lets str0m know the peer earlier; mDNS names and the like are passed over.
    pub(crate) fn candidate(&mut self, candidate: &str) {
        if self.remote_candidates.admit()
            && let Ok(candidate) = Candidate::from_sdp_string(candidate)
        {
            self.rtc.add_remote_candidate(candidate);
        }
    }

    pub(crate) fn timeout(&mut self, now: Instant) {
        if self.rtc_timer.is_due(now)
            && let Err(error) = self.rtc.handle_input(Input::Timeout(now))
        {
            self.note(&error);
        }
        self.audio_pending = true;
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let own = match (self.first_media, self.disconnected_since) {
            (None, _) => self.start_deadline,
            (Some(_), Some(since)) => since + Duration::from_millis(ICE_LOST_MS),
            (Some(_), None) => self.last_media + Duration::from_millis(MEDIA_LOST_MS),
        };
        let audio = self.audio_receiver.next_timeout().unwrap_or(own);
        (!self.ended).then(|| self.rtc_timer.wake_at().min(own).min(audio))
    }

    /// What the session hands to its broadcast; ask until `None` after everything that is done to
    /// the session. Datagrams go out on the way.
    pub(crate) fn poll(&mut self, ctx: &mut Context) -> Option<IngestEvent> {
        loop {
            if let Some(event) = self.poll_audio() {
                return Some(event);
            }
            if let Some(reason) = self.ending.take() {
                return Some(IngestEvent::Ended(reason));
            }
            if self.ended {
                return None;
            }
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    let reason = self.rtc.last_timeout_reason();
                    self.rtc_timer.set(ctx.now, at, reason);
                    self.audio_receiver.timeout(ctx.now, &mut self.timeline);
                    if let Some(event) = self.poll_audio() {
                        return Some(event);
                    }
                    self.end(self.overdue(ctx.now)?);
                }
                Ok(Output::Transmit(transmit)) => {
                    ctx.transmit(transmit);
                }
                Ok(Output::Event(event)) if is_of_channel(&event) => {
                    if let Some(event) = self.data.event(&mut self.rtc, event) {
                        return Some(IngestEvent::Data(event));
                    }
                }
                Ok(Output::Event(event)) => {
                    if let Some(event) = self.event(ctx.now, event) {
                        return Some(event);
                    }
                }
                // One frame that is no frame of its codec; str0m has put it away.
                Err(error @ RtcError::Packet(mid, ..)) => {
                    self.note(&error);
                    // It names no layer. With layers the next frame of the one in use tells by
                    // its sequence number whether it was of that one.
                    let has_layers = self.layers.current().is_some_and(|it| it.rid.is_some());
                    if Some(mid) == self.video && !has_layers {
                        return Some(IngestEvent::Unreadable);
                    }
                    self.unreadable |= Some(mid) == self.video;
                }
                Err(error) => {
                    self.note(&error);
                    self.rtc.disconnect();
                    self.end(EndReason::Lost);
                }
            }
        }
    }

    /// Asks for a keyframe, unless that was just done; whether it was asked for.
    pub(crate) fn request_keyframe(&mut self, now: Instant) -> bool {
        let recently = self.keyframe_requested.is_some_and(|at| {
            now.saturating_duration_since(at) < Duration::from_millis(KEYFRAME_REQUEST_MS_MIN)
        });
        // Before its first frame a track is asked as one without layers.
        let first = || self.video.map(|mid| SourceId { mid, rid: None });
        let Some(source) = self.layers.current().or_else(first).filter(|_| !recently) else {
            return false;
        };
        let requested = self.request_of(source);
        if requested {
            self.keyframe_requested = Some(now);
        }
        requested
    }

    fn request_of(&mut self, source: SourceId) -> bool {
        self.rtc.writer(source.mid).is_some_and(|mut writer| {
            let kind = KeyframeRequestKind::Pli;
            writer.request_keyframe(source.rid, kind).is_ok()
        })
    }

    /// Says goodbye to the client. Nothing is handed on any more.
    pub(crate) fn close(&mut self, ctx: &mut Context) {
        self.ended = true;
        if self.rtc.close().is_err() {
            return;
        }
        while let Ok(output) = self.rtc.poll_output() {
            match output {
                Output::Timeout(_) => return,
                Output::Transmit(transmit) => {
                    ctx.transmit(transmit);
                }
                Output::Event(_) => {}
            }
        }
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
            self.ending = Some(reason);
        }
    }

    fn event(&mut self, now: Instant, event: Event) -> Option<IngestEvent> {
        match event {
            Event::MediaAdded(media) => {
                self.tracks.push((media.mid, media.kind));
                self.choose_tracks();
            }
            Event::MediaChanged(_) => self.choose_tracks(),
            Event::MediaData(data) => return self.media(now, data),
            Event::SenderFeedback(feedback) => {
                let stream = self.stream(feedback.mid)?;
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
            Event::MediaIngressStats(stats) => self.received(&stats),
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
        None
    }

    /// Adds the totals of one RTP stream. The jitter is that of the frame in use, or of audio
    /// where there is no frame.
    fn received(&mut self, stats: &MediaIngressStats) {
        let Some(stream) = self.stream(stats.mid) else {
            return;
        };
        let source = SourceId {
            mid: stats.mid,
            rid: stats.rid,
        };
        let total = Received {
            packets: stats.packets,
            bytes: stats.bytes,
        };
        let since = self.totals.since_last(source, total);
        let lost = stats.loss.unwrap_or(0.0).clamp(0.0, 1.0) * since.packets as f32;
        self.reception.packets_lost += lost as u64;
        self.reception.bytes += since.bytes;
        match (stream, self.layers.current()) {
            (Stream::Video, Some(current)) if current == source => {
                self.reception.jitter_ms = stats.jitter / 90;
            }
            (Stream::Audio, None) => self.reception.jitter_ms = stats.jitter / 48,
            _ => {}
        }
    }

    fn media(&mut self, now: Instant, data: MediaData) -> Option<IngestEvent> {
        let stream = self.stream(data.mid)?;
        let codec = video_codec(data.params.spec().codec);
        self.first_media.get_or_insert(now);
        self.last_media = now;
        let (mid, rid) = (data.mid, data.rid);
        let source = SourceId { mid, rid };
        if stream == Stream::Video && !self.is_used(now, source, codec, &data.data) {
            return None;
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
            self.audio_pending = true;
            return None;
        }
        let follows = self.follows(source, **data.seq_range.start(), **data.seq_range.end());
        let codec = codec?; // Else it is none of the answer.
        Some(IngestEvent::Video {
            pts_us: self.timeline.place(stream, rtp, arrived_us),
            codec,
            access_unit: with_index(data.data, &data.codec_extra),
            contiguous: data.contiguous && follows,
        })
    }

    /// Whether no unreadable picture of the same source stands before this one, whose RTP packets
    /// have the sequence numbers `first` to `last`. str0m takes unreadable ones for received.
    fn follows(&mut self, source: SourceId, first: u64, last: u64) -> bool {
        let before = self.last_picture.replace((source, last));
        let unreadable = std::mem::take(&mut self.unreadable);
        !(unreadable
            && before.is_some_and(|(of, end)| of == source && first > end.saturating_add(1)))
    }

    fn poll_audio(&mut self) -> Option<IngestEvent> {
        if let Some(placed) = self.audio_receiver.poll() {
            return Some(IngestEvent::Audio(placed));
        }
        if std::mem::take(&mut self.audio_pending) {
            let since_us = self.audio_receiver.held_since_us()?;
            return Some(IngestEvent::AudioHeld(since_us));
        }
        None
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
        let tracks = &self.tracks;
        self.totals
            .retain(|mid| tracks.iter().any(|(kept, _)| *kept == mid));
        if video != self.video {
            self.layers.retain(|source| Some(source.mid) == video);
        }
        (self.video, self.audio) = (video, audio);
    }

    /// Whether this frame is of the stream that the broadcast is sent, as it should be now.
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
        self.clock.us(at)
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
