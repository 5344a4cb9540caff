//! The microphone of a simulated session: it stalls and comes back, its RTP clock stands still
//! meanwhile or goes on, packets get lost and come late. The packets go through the core's audio
//! receiver, and audio that flows is not filled in for.

use std::{sync::Arc, time::Instant};

use shardcast_core::simulation_hook::{SimulatedMicrophone, SimulatedPublisher};

use super::{
    plan::SessionPlan,
    world::{SimEvent, Verdict, World, ms},
};
use crate::picture::OPUS_60_MS;

const PACKET_MS: u64 = 60;
const PACKET_US: i64 = 60_000;
/// Once audio has flowed for so long, no sample of it is filled in.
const FLOWS_MS: u128 = 1_500;

/// A slewing clock is followed by less than a packet at a time; more is audio that was replaced.
const CORRECTION_SAMPLES: u64 = 2_880;

#[derive(Debug)]
pub(super) struct Microphone {
    receiver: SimulatedMicrophone,
    sequence: u64,
    rtp_us: i64,
    stalled_until: Option<Instant>,
    /// Since when every packet came, and what was filled in until then.
    flows: Option<(Instant, u64)>,
}

impl Microphone {
    pub(super) fn new() -> Self {
        Self {
            receiver: SimulatedMicrophone::default(),
            sequence: 0,
            rtp_us: 0,
            stalled_until: None,
            flows: None,
        }
    }
}

impl World {
    /// The microphone of session `number` sends another packet, if it does not stall.
    pub(super) fn audio_packet(&mut self, number: u64) -> Verdict {
        let now = self.now;
        let Some(session) = self.publisher.session_of(number) else {
            return Ok(());
        };
        let plan = session.plan;
        if plan.encoder.is_some() {
            return self.encode_audio(number, plan.stall_percent);
        }
        self.after(ms(PACKET_MS), SimEvent::Audio(number));
        let lost = self.random.chance(plan.loss_percent);
        let begins_stall = self.random.chance(plan.stall_percent);
        let stall_ms = self.random.between(100, 4_000);
        let clock_stands = self.random.chance(70);
        let late_us = i64::try_from(self.random.between(0, 20)).unwrap() * 1_000;
        let us = self.us() - plan.lag_ms * 1_000;
        let Some(session) = self.publisher.session_of(number) else {
            return Ok(());
        };
        let microphone = &mut session.microphone;
        if microphone.stalled_until.is_some_and(|until| now < until) {
            microphone.receiver.timeout(now);
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
            self.tally.count("audio lost");
            microphone.flows = None;
            return Ok(());
        }
        microphone.receiver.packet(
            now,
            microphone.sequence,
            u64::try_from(microphone.rtp_us).unwrap() * 48 / 1_000,
            us + late_us,
            Arc::from(OPUS_60_MS),
        );
        self.hear(plan)
    }

    /// Hands what the receiver has placed to the broadcast.
    fn hear(&mut self, plan: SessionPlan) -> Verdict {
        let now = self.now;
        let Some(mut session) = self.publisher.take_session() else {
            return Ok(());
        };
        let microphone = &mut session.microphone;
        let mut verdict = Ok(());
        let publisher = SimulatedPublisher::of(&mut self.shard);
        let filled = publisher.and_then(|mut it| it.audio(now, &mut microphone.receiver));
        if let Some(filled) = filled {
            let stalls = microphone.stalled_until.is_some_and(|until| now < until);
            if stalls || plan.is_strange() {
                microphone.flows = None;
            } else {
                let (since, before) = *microphone.flows.get_or_insert((now, filled));
                if (now - since).as_millis() < FLOWS_MS {
                    microphone.flows = Some((since, filled));
                } else if filled - before > CORRECTION_SAMPLES {
                    verdict = Err(format!(
                        "{} samples were filled in while all audio came",
                        filled - before
                    ));
                }
            }
        }
        self.publisher.put_session(session);
        verdict?;
        self.process_outputs()
    }
}
