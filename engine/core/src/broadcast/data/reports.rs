//! Tells control the messages that were taken from clients, for a backend that collects them.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use shardcast_link::{BroadcastId, DataMessage, DataSender, Event};

use crate::{bucket::Bucket, context::Context, limits::DATA_REPORTED};

/// Those of one broadcast.
#[derive(Debug)]
pub(super) struct Reports {
    bytes: Bucket,
    /// Messages that were too many bytes a second.
    pub(super) left_out: u64,
}

impl Reports {
    pub(super) fn new() -> Self {
        Self {
            bytes: Bucket::new(DATA_REPORTED),
            left_out: 0,
        }
    }

    /// Tells control one message, within the limits of the broadcast and of the shard.
    pub(super) fn report(
        &mut self,
        ctx: &mut Context,
        broadcast: &BroadcastId,
        sender: DataSender,
        binary: bool,
        payload: &[u8],
    ) {
        let cost = payload.len() as u64;
        if !(self.bytes.take(ctx.now, cost) && ctx.data_reports.take(ctx.now, cost)) {
            self.left_out += 1;
            return;
        }
        let text = std::str::from_utf8(payload).ok().filter(|_| !binary);
        let message = match text {
            Some(text) => DataMessage::Text { text: text.into() },
            None => DataMessage::Binary {
                base64: BASE64.encode(payload),
            },
        };
        ctx.event(Event::DataMessage {
            broadcast: broadcast.clone(),
            sender,
            message,
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::limits::DATA_REPORTED_OF_SHARD;

    const BYTES: usize = 64 << 10;

    /// Reports so many messages; how many control was told.
    fn report(reports: &mut Reports, ctx: &mut Context, messages: usize) -> usize {
        let id = BroadcastId::new("app", "s1").unwrap();
        ctx.outputs.clear();
        for _ in 0..messages {
            reports.report(ctx, &id, DataSender::Viewer, true, &[7; BYTES]);
        }
        ctx.outputs.len()
    }

    #[test]
    fn a_broadcast_is_told_in_a_burst_and_then_at_its_rate_and_the_rest_is_counted() {
        let mut ctx = Context::for_tests(Instant::now());
        let mut reports = Reports::new();
        let burst = DATA_REPORTED.burst as usize / BYTES;
        assert_eq!(report(&mut reports, &mut ctx, 2 * burst), burst);
        assert_eq!(reports.left_out, burst as u64);
        ctx.now += Duration::from_secs(1);
        let earned = DATA_REPORTED.per_second as usize / BYTES;
        assert_eq!(report(&mut reports, &mut ctx, burst), earned);
    }

    #[test]
    fn all_broadcasts_of_a_shard_share_a_burst() {
        let mut ctx = Context::for_tests(Instant::now());
        let all: usize = (0..10)
            .map(|_| report(&mut Reports::new(), &mut ctx, 1_000))
            .sum();
        assert_eq!(all, DATA_REPORTED_OF_SHARD.burst as usize / BYTES);
    }
}
