//! The simulated microphone of a session: it stalls and comes back, its RTP clock stands still
//! meanwhile or goes on, packets get lost and come late. What the network made of it goes through
//! the real receiver of audio, and what is said is heard.

use std::{sync::Arc, time::Instant};

use super::{
    picture::OPUS_60_MS,
    plan::SessionPlan,
    world::{Happening, Verdict, World, ms},
};
use crate::{
    broadcast::PeerId,
    timeline::Timeline,
    webrtc::audio_receiver::{AudioReceiver, OpusArrival},
};

const PACKET_MS: u64 = 60;
const PACKET_US: i64 = 60_000;
/// Sound that has flowed for so long is all heard.
const FLOWS_MS: u128 = 1_500;

/// Clocks that slew are followed by less than a packet at a time; more is sound that was not heard.
const CORRECTION_SAMPLES: u64 = 2_880;

#[derive(Debug)]
pub(super) struct Microphone {
    timeline: Timeline,
    receiver: AudioReceiver,
    sequence: u64,
    rtp_us: i64,
    stalled_until: Option<Instant>,
    /// Since when every packet came, and what was filled in until then.
    flows: Option<(Instant, u64)>,
}

impl Microphone {
    pub(super) fn new() -> Self {
        Self {
            timeline: Timeline::new(),
            receiver: AudioReceiver::default(),
            sequence: 0,
            rtp_us: 0,
            stalled_until: None,
            flows: None,
        }
    }
}

impl World {
    /// The microphone of session `number` has said another packet, if it does not stall.
    pub(super) fn sound(&mut self, number: u64) -> Verdict {
        let now = self.now;
        let Some(session) = self.stage.session_of(PeerId(number)) else {
            return Ok(());
        };
        let plan = session.plan;
        self.after(ms(PACKET_MS), Happening::Sound(number));
        let lost = self.random.chance(plan.loss_percent);
        let begins_stall = self.random.chance(plan.stall_percent);
        let stall_ms = self.random.between(100, 4_000);
        let clock_stands = self.random.chance(70);
        let late_us = i64::try_from(self.random.between(0, 20)).unwrap() * 1_000;
        let us = self.us() - plan.lag_ms * 1_000;
        let Some(session) = self.stage.session_of(PeerId(number)) else {
            return Ok(());
        };
        let microphone = &mut session.microphone;
        if microphone.stalled_until.is_some_and(|until| now < until) {
            microphone.receiver.timeout(now, &mut microphone.timeline);
            return self.hear(plan);
        }
        if begins_stall {
            self.tally.count("microphone stalled");
            microphone.stalled_until = Some(now + ms(stall_ms));
            microphone.flows = None;
            if !clock_stands {
                microphone.rtp_us += i64::try_from(stall_ms).unwrap() * 1_000;
            }
            return Ok(());
        }
        microphone.sequence += 1;
        microphone.rtp_us += PACKET_US;
        if lost {
            self.tally.count("sound lost");
            microphone.flows = None;
            return Ok(());
        }
        let arrival = OpusArrival {
            sequence: microphone.sequence,
            rtp: u64::try_from(microphone.rtp_us).unwrap() * 48 / 1_000,
            arrived_us: us + late_us,
            packet: Arc::from(OPUS_60_MS),
        };
        microphone
            .receiver
            .packet(now, &mut microphone.timeline, arrival);
        self.hear(plan)
    }

    /// What the receiver has placed goes to the broadcast. Sound that flows is not filled in for.
    fn hear(&mut self, plan: SessionPlan) -> Verdict {
        let now = self.now;
        let Some(mut session) = self.stage.take_session() else {
            return Ok(());
        };
        let microphone = &mut session.microphone;
        let mut verdict = Ok(());
        if let Some(broadcast) = self.broadcast() {
            let intake = &mut broadcast.intake;
            while let Some(opus) = microphone.receiver.poll() {
                intake.audio(now, &opus);
            }
            if let Some(since_us) = microphone.receiver.held_since_us() {
                intake.audio_held(now, since_us);
            }
            let filled = intake.audio_status().samples_filled;
            let stalls = microphone.stalled_until.is_some_and(|until| now < until);
            if stalls || plan.is_strange() {
                microphone.flows = None;
            } else {
                let (since, before) = *microphone.flows.get_or_insert((now, filled));
                if (now - since).as_millis() < FLOWS_MS {
                    microphone.flows = Some((since, filled));
                } else if filled - before > CORRECTION_SAMPLES {
                    verdict = Err(format!(
                        "{} samples were filled in while all sound came",
                        filled - before
                    ));
                }
            }
            broadcast.feed_all(now);
        }
        self.stage.put_session(session);
        verdict?;
        self.settle_stage()
    }
}
