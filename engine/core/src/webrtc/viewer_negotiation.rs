//! Offer and answer of a viewer, whichever side makes the offer.

use std::time::{Duration, Instant};

use shardcast_link::{Fault, Problem, SessionId, ViewRefusal, check_offer};
use str0m::{
    Rtc, RtcConfig,
    change::{SdpAnswer, SdpOffer, SdpPendingOffer},
    format::Codec,
    media::{Direction, MediaKind, Mid, Pt},
    rtp::Extension,
};

use super::{
    Identity,
    negotiation::{Answer, hosts},
    offer::{add_opus, common},
    viewer::{RtpStream, Viewer, keep_sent},
};
use crate::{
    context::Context,
    limits::{
        VIEWER_AUDIO_PACKETS_KEPT, VIEWER_PATH_MS, VIEWER_PATH_WITHOUT_LADDER_MS,
        VIEWER_VIDEO_PACKETS_KEPT,
    },
};

/// Payload types of H.264, of its retransmissions, and the profile (RFC 6184, 8.1). All browsers decode
/// constrained baseline, so it is first; the level says nothing, since `level-asymmetry-allowed` is set.
const H264: [(u8, u8, u32); 4] = [
    (108, 109, 0x0042_e01f),
    (127, 121, 0x0042_001f),
    (123, 119, 0x004d_001f),
    (114, 115, 0x0064_001f),
];
/// Header extensions (RFC 8285) of what is sent: the first tells which track a new SSRC is of; by the second clients
/// report when each packet came, which is asked for where there is a ladder to choose from.
const MID_EXTENSION: u8 = 4;
const TRANSPORT_SEQUENCE_EXTENSION: u8 = 3;
/// One sender report a second for either stream: browsers keep sound and picture together by them.
const REPORTS: Duration = Duration::from_secs(1);

/// What a client asks for.
#[derive(Debug)]
pub(crate) struct View<'a> {
    pub(crate) session: SessionId,
    /// How the client is to name the session in STUN.
    pub(crate) ufrag: String,
    /// Its SDP offer; `None`: the shard offers.
    pub(crate) offer: Option<&'a str>,
    /// ICE and DTLS have to stand within so long.
    pub(crate) start_timeout: Duration,
    /// What the broadcast has, for the shard's own offer.
    pub(crate) has_video: bool,
    /// Whether that has a data channel too.
    pub(crate) has_data: bool,
    /// Whether there is a ladder now: the path decides which rung is sent, and the client is asked when each packet
    /// came. Where the ladder is set later, its receiver reports have to do.
    pub(crate) has_ladder: bool,
    /// Of all that is random about the session but its keys.
    pub(crate) seed: u64,
}

/// An offer of the shard that was not answered yet.
pub(super) struct Pending(SdpPendingOffer);

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pending")
    }
}

impl Viewer {
    /// Begins a session: answers the client's offer, or makes one.
    ///
    /// # Errors
    /// When the client's offer is not SDP, or has no media that this server sends.
    pub(crate) fn begin(
        ctx: &Context,
        view: View<'_>,
    ) -> Result<(Self, Answer), (ViewRefusal, Problem)> {
        let mut rtc = session_for(ctx.now, &ctx.identity, view.ufrag.clone(), view.has_ladder);
        let (sdp, pending) = match view.offer {
            Some(offer) => (answered(&mut rtc, &view.session, offer)?, None),
            None => offered(&mut rtc, &view).ok_or_else(|| bad("no SDP offer could be made"))?,
        };
        let mut viewer = Self::new(
            view.session,
            rtc,
            pending,
            ctx.now,
            (view.start_timeout, look_ms(view.has_ladder)),
            view.seed,
        );
        if viewer.pending.is_none() {
            viewer.negotiated(&sdp);
            if viewer.video.is_none() && viewer.audio.is_none() {
                return Err(bad("the SDP offer asks for neither H.264 nor Opus"));
            }
        }
        let answer = viewer.described(&ctx.identity, sdp);
        Ok((viewer, answer))
    }

    /// Restarts ICE: `sdp` is the client's first offer under other credentials, as control makes it. Media
    /// goes on.
    ///
    /// # Errors
    /// When the credentials are none; the session goes on as it was.
    pub(crate) fn restart(
        &mut self,
        now: Instant,
        identity: &Identity,
        sdp: &str,
    ) -> Result<Answer, Problem> {
        let problem = |(_, problem)| problem;
        // str0m stops in the middle of an offer that is wrong.
        let mut rehearsal = session_for(now, identity, "rehearsal".into(), false);
        answered(&mut rehearsal, &self.session, sdp).map_err(problem)?;
        let answer = answered(&mut self.rtc, &self.session, sdp).map_err(problem)?;
        Ok(self.described(identity, answer))
    }

    fn described(&mut self, identity: &Identity, sdp: String) -> Answer {
        let candidates = hosts(identity).map(|candidate| candidate.to_sdp_string());
        let ufrag = self.rtc.direct_api().local_ice_credentials().ufrag;
        self.remote_candidates.agreed(&ufrag);
        Answer {
            sdp,
            candidates: candidates.collect(),
            ufrag,
        }
    }

    /// Takes the client's answer to the shard's offer; whether it can be used. Another answer than the
    /// first is passed over.
    pub(crate) fn answer(&mut self, sdp: &str) -> bool {
        let Some(Pending(pending)) = self.pending.take() else {
            return true;
        };
        let session = &self.session;
        if let Err(error) = check_offer(sdp) {
            tracing::debug!(%session, %error, "a viewer's answer was refused");
            return false;
        }
        let accepted = SdpAnswer::from_sdp_string(sdp)
            .map_err(|error| error.to_string())
            .and_then(|answer| {
                let api = self.rtc.sdp_api();
                api.accept_answer(pending, answer)
                    .map_err(|error| error.to_string())
            });
        if let Err(error) = accepted {
            tracing::debug!(%session, %error, "a viewer's answer was refused");
            return false;
        }
        self.negotiated(sdp);
        self.video.is_some() || self.audio.is_some()
    }

    /// Takes over which tracks the client receives, and under which payload types. `sdp` is an answer, of
    /// either side.
    fn negotiated(&mut self, sdp: &str) {
        let stream = |kind: MediaKind, rtc: &mut Rtc, mids: &[Mid]| {
            let mid = mids.iter().copied().find(|mid| {
                rtc.media(*mid).is_some_and(|media| {
                    media.kind() == kind && media.direction().is_sending() && !media.disabled()
                })
            })?;
            let (payload_type, repeats) = payload_types(rtc, mid, kind)?;
            rtc.direct_api().stream_tx_by_mid(mid, None)?;
            Some((mid, payload_type, repeats))
        };
        let mids: Vec<Mid> = sdp
            .lines()
            .filter_map(|line| line.trim().strip_prefix("a=mid:"))
            .map(Mid::from)
            .collect();
        let video = stream(MediaKind::Video, &mut self.rtc, &mids);
        let audio = stream(MediaKind::Audio, &mut self.rtc, &mids);
        if let Some((mid, ..)) = video {
            keep_sent(&mut self.rtc, mid);
        }
        let seed = self.seed;
        self.video = video.map(|(mid, pt, repeats)| RtpStream::video(mid, pt, repeats, seed));
        self.audio = audio.map(|(mid, pt, _)| RtpStream::audio(mid, pt, seed));
    }
}

/// The payload types under which a track is sent, and sent again: the first of ours that the client takes. What it is
/// sent in truth is said by the parameter sets.
fn payload_types(rtc: &Rtc, mid: Mid, kind: MediaKind) -> Option<(Pt, Option<Pt>)> {
    let taken = rtc.media(mid)?.remote_pts();
    let mut params = rtc.codec_config().params().iter().filter(|param| {
        let spec = param.spec();
        let fits = match kind {
            MediaKind::Audio => spec.codec == Codec::Opus,
            MediaKind::Video => {
                spec.codec == Codec::H264 && spec.format.packetization_mode == Some(1)
            }
        };
        fits && taken.contains(&param.pt())
    });
    params.next().map(|param| (param.pt(), param.resend()))
}

fn session_for(now: Instant, identity: &Identity, ufrag: String, has_ladder: bool) -> Rtc {
    let mut config = configuration(identity, ufrag);
    config = config.set_stats_interval(Some(Duration::from_millis(look_ms(has_ladder))));
    if has_ladder {
        config = config.set_extension(
            TRANSPORT_SEQUENCE_EXTENSION,
            Extension::TransportSequenceNumber,
        );
    }
    let mut rtc = config.build(now);
    for candidate in hosts(identity) {
        rtc.add_local_candidate(candidate);
    }
    rtc
}

/// How far apart str0m tells how the path is, in milliseconds.
fn look_ms(has_ladder: bool) -> u64 {
    match has_ladder {
        true => VIEWER_PATH_MS,
        false => VIEWER_PATH_WITHOUT_LADDER_MS,
    }
}

fn configuration(identity: &Identity, ufrag: String) -> RtcConfig {
    let mut config = common(identity, ufrag)
        .set_rtp_mode(true)
        .set_rtcp_report_interval_audio(REPORTS)
        .set_rtcp_report_interval_video(REPORTS)
        .set_send_buffer_audio(VIEWER_AUDIO_PACKETS_KEPT)
        .set_send_buffer_video(VIEWER_VIDEO_PACKETS_KEPT)
        .set_extension(MID_EXTENSION, Extension::RtpMid);
    // Browsers play mono where the sender does not say that it sends stereo.
    add_opus(&mut config, true);
    for (payload_type, resend, profile) in H264 {
        let codecs = config.codec_config();
        codecs.add_h264(payload_type.into(), Some(resend.into()), true, profile);
    }
    config
}

/// The shard's offer. Both tracks are of one stream, so that browsers play them together.
fn offered(rtc: &mut Rtc, view: &View<'_>) -> Option<(String, Option<Pending>)> {
    let stream = view.session.0.as_str();
    let mut api = rtc.sdp_api();
    let mut add = |kind, track: &str| {
        let (stream, track) = (Some(stream.to_owned()), Some(track.to_owned()));
        api.add_media(kind, Direction::SendOnly, stream, track, None);
    };
    add(MediaKind::Audio, "audio");
    if view.has_video {
        add(MediaKind::Video, "video");
    }
    if view.has_data {
        api.add_channel(stream.to_owned());
    }
    let (offer, pending) = api.apply()?;
    Some((offer.to_sdp_string(), Some(Pending(pending))))
}

fn answered(
    rtc: &mut Rtc,
    session: &SessionId,
    sdp: &str,
) -> Result<String, (ViewRefusal, Problem)> {
    check_offer(sdp).map_err(|error| bad(&error.to_string()))?;
    let refused = |error: &dyn std::fmt::Display, message| {
        tracing::debug!(%session, %error, message, "a viewer's offer was refused");
        bad(message)
    };
    let offer = SdpOffer::from_sdp_string(sdp).map_err(|error| {
        refused(
            &error,
            "the SDP offer cannot be read: send what RTCPeerConnection.createOffer gives, unchanged",
        )
    })?;
    let answer = rtc.sdp_api().accept_offer(offer).map_err(|error| {
        refused(
            &error,
            "the SDP offer cannot be answered: send what RTCPeerConnection.createOffer gives, \
             unchanged",
        )
    })?;
    Ok(answer.to_sdp_string())
}

fn bad(message: &str) -> (ViewRefusal, Problem) {
    let problem = Problem {
        fault: Fault::Publisher,
        message: message.to_owned(),
    };
    (ViewRefusal::BadDescription, problem)
}
