//! Offers of a publisher and their answers: the first one, and those that change a running session.

use std::time::{Duration, Instant};

use shardcast_link::{Fault, Problem, SessionId, check_offer};
use str0m::{Candidate, Rtc, change::SdpOffer, net::TcpType};

use super::{
    Identity,
    audio_receiver::AudioReceiver,
    data_channel::DataChannel,
    layers::Layers,
    offer::{Terms, configuration, offered, sending_only},
    publisher::{Publisher, Reception},
    rtc_timer::RtcTimer,
    source::Splice,
    totals::Totals,
};
use crate::{context::Context, limits::REMOTE_CANDIDATES_MAX, timeline::Timeline};

/// The problem of an offer that is no SDP, or asks for what is not possible.
const UNREADABLE: &str =
    "the SDP offer cannot be read: send what RTCPeerConnection.createOffer gives, unchanged";
const UNANSWERABLE: &str =
    "the SDP offer cannot be answered: send what RTCPeerConnection.createOffer gives, unchanged";
/// A new certificate needs a new DTLS association (RFC 8842, 5.5), which str0m does not make.
const OTHER_CERTIFICATE: &str = "the SDP offer is of another RTCPeerConnection than the session's: \
     say stop, and publish again";

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
    /// How the client names the session in STUN from now on; another one after an ICE restart.
    pub(crate) ufrag: String,
}

/// What the session was last agreed to be.
#[derive(Debug)]
pub(super) struct Agreement {
    terms: Terms,
    /// The last offer that was accepted, as str0m was given it. At most [`shardcast_link::OFFER_BYTES_MAX`] bytes and
    /// a line for each media section.
    offer: String,
}

/// How many candidates the client has trickled for these ICE credentials. An ICE restart has others on
/// both sides (RFC 8445, 9).
#[derive(Debug, Default)]
pub(super) struct RemoteCandidates {
    /// Ours of the last answer.
    ufrag: String,
    count: usize,
}

impl RemoteCandidates {
    pub(super) fn agreed(&mut self, ufrag: &str) {
        if self.ufrag != ufrag {
            ufrag.clone_into(&mut self.ufrag);
            self.count = 0;
        }
    }

    /// False when there were [`REMOTE_CANDIDATES_MAX`].
    pub(super) fn admit(&mut self) -> bool {
        self.count += usize::from(self.count <= REMOTE_CANDIDATES_MAX);
        self.count <= REMOTE_CANDIDATES_MAX
    }
}

impl Publisher {
    /// Takes the first SDP offer of a session.
    ///
    /// # Errors
    /// When the offer is not SDP or asks for what no browser asks; the publisher's fault.
    pub(crate) fn accept(ctx: &Context, offer: Offer<'_>) -> Result<(Self, Answer), Problem> {
        let (now, identity) = (ctx.now, &ctx.identity);
        let Offer {
            session,
            ufrag,
            sdp,
            start_timeout,
            terms,
        } = offer;
        let sdp = narrowed(sdp)?;
        let mut rtc = session_for(now, identity, ufrag, terms);
        let answer = answer(&mut rtc, &session, &sdp)?;
        let mut publisher = Self {
            session,
            rtc,
            clock: ctx.clock,
            timeline: Timeline::new(),
            audio_receiver: AudioReceiver::default(),
            tracks: Vec::new(),
            video: None,
            audio: None,
            layers: Layers::default(),
            splices: [Splice::new(90_000), Splice::new(48_000)],
            offers: offered(&sdp),
            agreement: Agreement {
                terms: terms.clone(),
                offer: sdp,
            },
            remote_candidates: RemoteCandidates::default(),
            audio_pending: false,
            rtc_timer: RtcTimer::new(now),
            start_deadline: now + start_timeout,
            first_media: None,
            last_media: now,
            disconnected_since: None,
            keyframe_requested: None,
            reception: Reception::default(),
            totals: Totals::default(),
            last_picture: None,
            unreadable: false,
            data: DataChannel::new(),
            remote: None,
            ending: None,
            ended: false,
        };
        let answer = publisher.complete(identity, answer);
        Ok((publisher, answer))
    }

    /// Takes a further SDP offer of this session (RFC 8829, 5.3): tracks are added or removed, or ICE
    /// is restarted. The session goes on meanwhile.
    ///
    /// str0m changes a session while it reads an offer, and stops in the middle of one that is wrong.
    /// So the offer is first given to a session of the same kind that is thrown away.
    ///
    /// # Errors
    /// When the offer is not SDP, or no change of this session; the publisher's fault. The session
    /// is then as it was.
    pub(crate) fn renegotiate(
        &mut self,
        now: Instant,
        identity: &Identity,
        sdp: &str,
    ) -> Result<Answer, Problem> {
        let sdp = narrowed(sdp)?;
        let is_known = |it| fingerprints(&self.agreement.offer).any(|known| known == it);
        if !fingerprints(&sdp).all(is_known) {
            return Err(refused(OTHER_CERTIFICATE));
        }
        let mut rehearsal = session_for(now, identity, "rehearsal".into(), &self.agreement.terms);
        answer(&mut rehearsal, &self.session, &self.agreement.offer)?;
        answer(&mut rehearsal, &self.session, &sdp)?;
        let answer = answer(&mut self.rtc, &self.session, &sdp)?;
        self.offers = offered(&sdp);
        self.agreement.offer = sdp;
        self.choose_tracks();
        Ok(self.complete(identity, answer))
    }

    fn complete(&mut self, identity: &Identity, sdp: String) -> Answer {
        let candidates = hosts(identity).map(|candidate| candidate.to_sdp_string());
        let ufrag = self.rtc.direct_api().local_ice_credentials().ufrag;
        self.remote_candidates.agreed(&ufrag);
        Answer {
            sdp,
            candidates: candidates.collect(),
            ufrag,
        }
    }
}

/// The offer as one that this server can do, if it holds no more than a browser's.
fn narrowed(sdp: &str) -> Result<String, Problem> {
    check_offer(sdp).map_err(|error| refused(&error.to_string()))?;
    Ok(sending_only(sdp))
}

fn session_for(now: Instant, identity: &Identity, ufrag: String, terms: &Terms) -> Rtc {
    let mut rtc = configuration(identity, ufrag, terms).build(now);
    for candidate in hosts(identity) {
        rtc.add_local_candidate(candidate);
    }
    rtc
}

/// UDP first; TCP has the lower priority too (RFC 6544, 4.2).
pub(super) fn hosts(identity: &Identity) -> impl Iterator<Item = Candidate> {
    let addresses = identity.candidates.iter();
    let udp = addresses
        .clone()
        .map(|address| Candidate::host(*address, "udp"));
    let tcp = addresses
        .filter(|_| identity.tcp_candidates)
        .map(|address| {
            let host = Candidate::builder().tcp().host(*address);
            host.tcptype(TcpType::Passive).build()
        });
    udp.chain(tcp).filter_map(Result::ok)
}

fn answer(rtc: &mut Rtc, session: &SessionId, sdp: &str) -> Result<String, Problem> {
    let offer =
        SdpOffer::from_sdp_string(sdp).map_err(|error| refused_for(session, &error, UNREADABLE))?;
    let answer = rtc
        .sdp_api()
        .accept_offer(offer)
        .map_err(|error| refused_for(session, &error, UNANSWERABLE))?;
    Ok(answer.to_sdp_string())
}

/// Those of the certificates that an offer is made with; each section may state them anew.
fn fingerprints(sdp: &str) -> impl Iterator<Item = &str> {
    sdp.lines()
        .filter_map(|line| line.strip_prefix("a=fingerprint:"))
}

/// The client is sent `message` alone. Errors of str0m quote what they were made of, up to addresses
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_are_bounded_for_each_generation_of_credentials() {
        let mut candidates = RemoteCandidates::default();
        for (ufrag, more) in [
            ("one", REMOTE_CANDIDATES_MAX),
            ("one", 0),
            ("two", REMOTE_CANDIDATES_MAX),
        ] {
            candidates.agreed(ufrag);
            let admitted = (0..1_000).filter(|_| candidates.admit()).count();
            assert_eq!(admitted, more, "{ufrag}");
        }
    }
}
