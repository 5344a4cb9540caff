//! Padding of a viewer's pictures, to see what its network carries: filler data NAL units (ITU-T H.264, 7.3.2.7) behind
//! the slices, which decoders leave out. They are packets of the stream like all others, so each client takes them, and
//! reports them.

use std::{
    sync::{Arc, LazyLock},
    time::Instant,
};

use crate::limits::VIEWER_PADDING_PACKETS_MAX;

/// `nal_unit_type` of filler data, which is no reference.
const FILLER_DATA: u8 = 12;
const PACKET_BYTES: usize = 1_100;
/// What a keyframe is too large is owed by the pictures behind it, up to so much.
const AHEAD_BYTES_MAX: i64 = 64 << 10;

static PACKET: LazyLock<Arc<[u8]>> = LazyLock::new(|| {
    let mut packet = vec![0xff; PACKET_BYTES];
    if let [first, .., last] = &mut packet[..] {
        *first = FILLER_DATA;
        // The stop bit of an RBSP.
        *last = 0x80;
    }
    packet.into()
});

/// What is owed to the rate that is tried.
#[derive(Debug, Default)]
pub(super) struct Padding {
    owed_bytes: i64,
    since: Option<Instant>,
}

impl Padding {
    /// Video of so many bytes was sent.
    pub(super) fn sent(&mut self, bytes: usize) {
        if self.since.is_some() {
            self.owed_bytes -= i64::try_from(bytes).unwrap_or(i64::MAX);
        }
    }

    /// How many packets go behind the picture that ends now, so that `bps` are sent; `None`: nothing is tried.
    pub(super) fn packets(&mut self, now: Instant, bps: Option<u64>) -> usize {
        let Some(bps) = bps else {
            *self = Self::default();
            return 0;
        };
        if let Some(since) = self.since.replace(now) {
            let passed_us = now.saturating_duration_since(since).as_micros();
            let passed_us = u64::try_from(passed_us).unwrap_or(u64::MAX);
            let bytes = bps.saturating_mul(passed_us) / 8_000_000;
            self.owed_bytes += i64::try_from(bytes).unwrap_or(i64::MAX);
        }
        let packet = PACKET_BYTES as i64;
        let at_most = VIEWER_PADDING_PACKETS_MAX as i64 * packet;
        self.owed_bytes = self.owed_bytes.clamp(-AHEAD_BYTES_MAX, at_most);
        let count = self.owed_bytes.max(0) / packet;
        self.owed_bytes -= count * packet;
        usize::try_from(count).unwrap_or_default()
    }

    /// One of them.
    pub(super) fn packet() -> Arc<[u8]> {
        Arc::clone(&PACKET)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn pictures_and_padding_together_are_the_rate_that_is_tried() {
        let (mut padding, mut now) = (Padding::default(), Instant::now());
        let mut sent = 0;
        for n in 0..=300 {
            let bytes = if n % 60 == 0 { 15_000 } else { 2_000 };
            padding.sent(bytes);
            let packets = padding.packets(now, Some(2_000_000));
            if n > 0 {
                sent += bytes + packets * PACKET_BYTES;
            }
            now += Duration::from_micros(33_333);
        }
        // Ten seconds.
        assert!((2_400_000..2_550_000).contains(&sent), "{sent} bytes");
        assert_eq!(padding.packets(now, None), 0);
        assert_eq!(padding.owed_bytes, 0);
    }

    #[test]
    fn a_pause_is_not_made_up_for_at_once() {
        let (mut padding, now) = (Padding::default(), Instant::now());
        padding.packets(now, Some(50_000_000));
        let after = now + Duration::from_secs(60);
        let packets = padding.packets(after, Some(50_000_000));
        assert_eq!(packets, VIEWER_PADDING_PACKETS_MAX);
    }

    #[test]
    fn a_packet_is_one_filler_data_nal_unit() {
        let packet = Padding::packet();
        assert_eq!((packet[0], packet.len()), (12, PACKET_BYTES));
        let (last, ones) = packet[1..].split_last().unwrap();
        assert!(ones.iter().all(|byte| *byte == 0xff));
        assert_eq!(*last, 0x80);
    }
}
