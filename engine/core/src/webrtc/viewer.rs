//! One client that watches: ICE-lite, DTLS-SRTP, H.264 and Opus out, nothing in.
//!
//! str0m runs in RTP mode: payloads are shared with all viewers of the broadcast, and a viewer adds
//! its own header. Sequence numbers are gapless: each packet that is written is sent. str0m keeps the
//! last packets, by reference, and repeats those that the client misses (RFC 4588).

use std::{
    iter,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use shardcast_link::{SessionId, ViewEndReason, ViewerReport};
use str0m::{
    Candidate, Event, IceConnectionState, Input, Output, Reason, Rtc, RtcError,
    media::{Mid, Pt},
    rtp::{RtpWrite, SeqNo},
};

use super::{
    data_channel::{DataChannel, DataEvent, Written, is_of_channel},
    delivery::{Delivery, PathSample},
    negotiation::RemoteCandidates,
    route::Route,
    viewer_negotiation::Pending,
};
use crate::{
    bucket::Bucket,
    context::Context,
    limits::{
        ICE_LOST_MS, VIEWER_REPEATED, VIEWER_REPEATED_MAX, VIEWER_VIDEO_KEPT_MS,
        VIEWER_VIDEO_PACKETS_KEPT,
    },
};

/// A report about the viewer waits so long for the next packet, which drives str0m anyway.
const REPORT_WAITS: Duration = Duration::from_millis(50);

/// What a viewer's session tells its broadcast.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ViewerEvent {
    /// ICE and DTLS stand: media may be written.
    Connected,
    /// The client cannot decode before the next keyframe.
    KeyframeWanted,
    /// The data channel has opened or closed, or a message has come.
    Data(DataEvent),
    /// How the path is.
    Path(PathSample),
    /// How the media arrives.
    Reported(Box<ViewerReport>),
    /// The session is over.
    Ended(ViewEndReason),
}

/// What one RTP packet carries.
#[derive(Clone, Debug)]
pub(crate) struct RtpPayload {
    /// Media time in microseconds.
    pub(crate) at_us: i64,
    /// Shared with all viewers.
    pub(crate) payload: Arc<[u8]>,
    /// The last one of an access unit has it.
    pub(crate) marker: bool,
}

/// One track as the client receives it.
#[derive(Debug)]
pub(crate) struct RtpStream {
    mid: Mid,
    payload_type: Pt,
    /// The payload type of packets that the client misses and that are sent again (RFC 4588); none are without.
    repeats: Option<Pt>,
    /// Ticks of the RTP clock in a millisecond.
    ticks_per_ms: i64,
    /// RTP time at the epoch of the media clock.
    offset: u32,
    /// Of the next packet, with its rollovers.
    sequence: u64,
}

impl RtpStream {
    pub(super) fn video(mid: Mid, payload_type: Pt, repeats: Option<Pt>, seed: u64) -> Self {
        Self::new(mid, payload_type, (90, repeats), scatter(seed))
    }

    pub(super) fn audio(mid: Mid, payload_type: Pt, seed: u64) -> Self {
        Self::new(mid, payload_type, (48, None), scatter(seed.wrapping_add(1)))
    }

    /// Sequence number and time begin anywhere (RFC 3550, 5.1), the first in the lower half, so that the
    /// client cannot miss its first rollover (RFC 3711, 3.3.1).
    fn new(
        mid: Mid,
        payload_type: Pt,
        (ticks_per_ms, repeats): (i64, Option<Pt>),
        random: u64,
    ) -> Self {
        Self {
            mid,
            payload_type,
            repeats,
            ticks_per_ms,
            offset: (random >> 32) as u32,
            sequence: random & 0x7fff,
        }
    }

    /// The RTP time of a media time in microseconds.
    fn time(&self, us: i64) -> u32 {
        let ticks = us.saturating_mul(self.ticks_per_ms).div_euclid(1_000);
        self.offset.wrapping_add(ticks as u32)
    }

    /// Whether a datagram is a packet of it that is sent again.
    fn is_repeated(&self, datagram: &[u8]) -> bool {
        // RFC 7983. RTCP is there too, under types that RTP does not use (RFC 5761, 4).
        match datagram {
            [128..=191, second, ..] => self.repeats == Some(Pt::from(second & 0x7f)),
            _ => false,
        }
    }
}

/// SplitMix64: neighbouring seeds give numbers that have nothing in common.
fn scatter(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[derive(Debug)]
pub(crate) struct Viewer {
    pub(crate) session: SessionId,
    pub(super) rtc: Rtc,
    rtc_due: Instant,
    /// The shard's offer, until it is answered.
    pub(super) pending: Option<Pending>,
    pub(super) remote_candidates: RemoteCandidates,
    pub(super) seed: u64,
    /// `None` where the client does not receive it.
    pub(super) video: Option<RtpStream>,
    pub(super) audio: Option<RtpStream>,
    /// Without ICE and DTLS until then, the session ends.
    start_deadline: Instant,
    is_connected: bool,
    disconnected_since: Option<Instant>,
    delivery: Delivery,
    data: DataChannel,
    /// What may be sent again.
    repeats: Bucket,
    /// Where its datagrams come from.
    remote: Option<SocketAddr>,
    ended: bool,
}

impl Viewer {
    pub(super) fn new(
        session: SessionId,
        rtc: Rtc,
        pending: Option<Pending>,
        now: Instant,
        (start_timeout, look_ms): (Duration, u64),
        seed: u64,
    ) -> Self {
        Self {
            session,
            rtc,
            rtc_due: now,
            pending,
            remote_candidates: RemoteCandidates::default(),
            seed,
            video: None,
            audio: None,
            start_deadline: now + start_timeout,
            is_connected: false,
            disconnected_since: None,
            delivery: Delivery::new(now, look_ms),
            data: DataChannel::new(),
            repeats: Bucket::new(VIEWER_REPEATED),
            remote: None,
            ended: false,
        }
    }

    /// Whether ICE and DTLS stand.
    pub(crate) fn is_connected(&self) -> bool {
        self.is_connected
    }

    pub(crate) fn takes_video(&self) -> bool {
        self.video.is_some()
    }

    pub(crate) fn takes_audio(&self) -> bool {
        self.audio.is_some()
    }

    /// Whether a datagram from an address that is not known yet is authentic (RFC 8445, 7.3).
    pub(crate) fn accepts(&self, now: Instant, route: Route, payload: &[u8]) -> bool {
        let receive = route.receive(payload);
        receive.is_some_and(|receive| self.rtc.accepts(&Input::Receive(now, receive)))
    }

    pub(crate) fn datagram(&mut self, now: Instant, route: Route, payload: &[u8]) {
        let Some(receive) = route.receive(payload) else {
            return;
        };
        self.remote = Some(route.from);
        if self.is_connected && !self.data.admits(now, payload) {
            return;
        }
        if let Err(error) = self.rtc.handle_input(Input::Receive(now, receive)) {
            self.note(&error);
        }
    }

    /// A candidate that the client trickled.
    pub(crate) fn candidate(&mut self, candidate: &str) {
        if self.remote_candidates.admit()
            && let Ok(candidate) = Candidate::from_sdp_string(candidate)
        {
            self.rtc.add_remote_candidate(candidate);
        }
    }

    /// Writes video packets; whether there were some. They are taken one by one, so that where there is none the session is
    /// not looked into.
    pub(crate) fn write_video(
        &mut self,
        ctx: &Context,
        mut packets: impl Iterator<Item = RtpPayload>,
    ) -> bool {
        let Some((stream, first)) = self.video.as_mut().zip(packets.next()) else {
            return false;
        };
        let delivery = &mut self.delivery;
        let counted = |packet: &RtpPayload| {
            if packet.marker {
                delivery.picture();
            }
        };
        let packets = iter::once(first).chain(packets).inspect(counted);
        write(&mut self.rtc, stream, ctx, packets);
        true
    }

    /// Writes an Opus packet. The marker begins a talk spurt (RFC 3551, 4.1), and there is one.
    pub(crate) fn write_audio(&mut self, ctx: &Context, at_us: i64, payload: &Arc<[u8]>) {
        if let Some(stream) = &mut self.audio {
            let packet = RtpPayload {
                at_us,
                payload: Arc::clone(payload),
                marker: false,
            };
            write(&mut self.rtc, stream, ctx, iter::once(packet));
        }
    }

    /// Repeats nothing of what was sent so far.
    pub(crate) fn forget_sent(&mut self) {
        if let Some(stream) = &self.video {
            keep_sent(&mut self.rtc, stream.mid);
        }
    }

    /// Writes a message to the data channel.
    pub(crate) fn write_data(&mut self, binary: bool, payload: &[u8]) -> Written {
        self.data.write(&mut self.rtc, binary, payload)
    }

    /// Gives str0m the time: what was written goes out by the next [`Self::poll`].
    pub(crate) fn run(&mut self, now: Instant) {
        if let Err(error) = self.rtc.handle_input(Input::Timeout(now)) {
            self.note(&error);
        }
    }

    pub(crate) fn timeout(&mut self, now: Instant) {
        if now >= self.rtc_due {
            self.run(now);
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let own = match self.disconnected_since {
            _ if !self.is_connected => Some(self.start_deadline),
            since => since.map(|since| since + Duration::from_millis(ICE_LOST_MS)),
        };
        let due = own.map_or(self.rtc_due, |own| own.min(self.rtc_due));
        (!self.ended).then_some(due)
    }

    /// What the session tells; ask until `None` after everything that is done to it. Datagrams go out
    /// on the way.
    pub(crate) fn poll(&mut self, ctx: &mut Context) -> Option<ViewerEvent> {
        while !self.ended {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    self.rtc_due = match self.rtc.last_timeout_reason() {
                        Reason::Stats => at + REPORT_WAITS,
                        _ => at,
                    };
                    if let Some(reason) = self.overdue(ctx.now) {
                        return Some(self.end(reason));
                    }
                    return self.report(ctx.now);
                }
                Ok(Output::Transmit(transmit)) => {
                    self.count_repeated(ctx.now, &transmit.contents);
                    ctx.transmit(transmit);
                }
                Ok(Output::Event(event)) if is_of_channel(&event) => {
                    if let Some(event) = self.data.event(&mut self.rtc, event) {
                        return Some(ViewerEvent::Data(event));
                    }
                }
                Ok(Output::Event(event)) => {
                    if let Some(event) = self.event(ctx.now, &event) {
                        return Some(event);
                    }
                }
                Err(error) => {
                    self.note(&error);
                    self.rtc.disconnect();
                    return Some(self.end(ViewEndReason::Lost));
                }
            }
        }
        None
    }

    /// A flood of NACKs is answered up to a bound.
    fn count_repeated(&mut self, now: Instant, datagram: &[u8]) {
        let video = self.video.as_ref();
        let is_repeated = video.is_some_and(|stream| stream.is_repeated(datagram));
        if is_repeated && !self.repeats.take(now, datagram.len() as u64) {
            self.forget_sent();
        }
    }

    /// Says goodbye to the client. Nothing is told any more.
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

    fn event(&mut self, now: Instant, event: &Event) -> Option<ViewerEvent> {
        match event {
            Event::Connected if !self.is_connected => {
                self.is_connected = true;
                self.delivery.connected(now);
                return Some(ViewerEvent::Connected);
            }
            Event::KeyframeRequest(_) => return Some(ViewerEvent::KeyframeWanted),
            Event::IceConnectionStateChange(state) => {
                let down = *state == IceConnectionState::Disconnected;
                self.disconnected_since = down.then(|| self.disconnected_since.unwrap_or(now));
            }
            Event::PeerStats(stats) => self.delivery.peer(stats),
            Event::MediaEgressStats(stats) => {
                let video = self.video.as_ref().map(|stream| stream.mid);
                self.delivery.track(stats, video);
            }
            Event::Closed => return Some(self.end(ViewEndReason::PeerClosed)),
            _ => {}
        }
        None
    }

    /// str0m has told all that it has to tell now.
    fn report(&mut self, now: Instant) -> Option<ViewerEvent> {
        if let Some(path) = self.delivery.path(now) {
            return Some(ViewerEvent::Path(path));
        }
        let mut report = self.delivery.take(now, self.video.is_some())?;
        report.remote = self.remote.map(|at| at.to_string()).unwrap_or_default();
        Some(ViewerEvent::Reported(Box::new(report)))
    }

    fn overdue(&self, now: Instant) -> Option<ViewEndReason> {
        if !self.is_connected {
            return (now >= self.start_deadline).then_some(ViewEndReason::StartTimeout);
        }
        let lost = self.disconnected_since.is_some_and(|since| {
            now.saturating_duration_since(since) >= Duration::from_millis(ICE_LOST_MS)
        });
        lost.then_some(ViewEndReason::Lost)
    }

    fn end(&mut self, reason: ViewEndReason) -> ViewerEvent {
        self.ended = true;
        ViewerEvent::Ended(reason)
    }

    fn note(&self, error: &RtcError) {
        tracing::debug!(session = %self.session, %error, "a viewer sent what WebRTC does not allow");
    }
}

/// Keeps what is sent from now on for clients that miss some of it.
pub(super) fn keep_sent(rtc: &mut Rtc, video: Mid) {
    if let Some(sender) = rtc.direct_api().stream_tx_by_mid(video, None) {
        let age = Duration::from_millis(VIEWER_VIDEO_KEPT_MS);
        sender.set_rtx_cache(VIEWER_VIDEO_PACKETS_KEPT, age, Some(VIEWER_REPEATED_MAX));
    }
}

fn write(
    rtc: &mut Rtc,
    stream: &mut RtpStream,
    ctx: &Context,
    packets: impl Iterator<Item = RtpPayload>,
) {
    let mut api = rtc.direct_api();
    let Some(sender) = api.stream_tx_by_mid(stream.mid, None) else {
        return;
    };
    for packet in packets {
        let sequence = SeqNo::from(stream.sequence);
        stream.sequence += 1;
        let wallclock = ctx.clock.instant(packet.at_us);
        let time = stream.time(packet.at_us);
        let written = RtpWrite::new(
            stream.payload_type,
            sequence,
            time,
            wallclock,
            packet.payload,
        );
        let is_repeated = stream.repeats.is_some();
        sender.write_rtp(written.marker(packet.marker).nackable(is_repeated));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_begin_at_numbers_that_tell_nothing_and_leave_room_before_the_first_rollover() {
        let stream = |seed| RtpStream::video(Mid::from("0"), Pt::from(108), None, seed);
        let first: Vec<u64> = (0..1_000).map(|seed| stream(seed).sequence).collect();
        assert!(first.iter().all(|sequence| *sequence < 0x8000));
        let distinct: std::collections::HashSet<_> = first.iter().collect();
        assert!(distinct.len() > 900);
    }

    #[test]
    fn rtp_time_follows_the_media_clock_through_its_overflow() {
        let stream = RtpStream::video(Mid::from("0"), Pt::from(108), None, 7);
        let hours_us = 20 * 3_600_000_000;
        for us in [0, 1_000_000, hours_us] {
            let step = stream.time(us + 33_000).wrapping_sub(stream.time(us));
            assert_eq!(step, 2_970);
        }
    }
}
