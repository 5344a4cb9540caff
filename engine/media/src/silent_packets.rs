//! Knows packets of silence again. A muted microphone goes on sending, the same few bytes each time.

/// The packet of digital silence has three bytes: nothing is coded but that it is silent (RFC 6716,
/// 4.3, `silence`).
const PACKET_BYTES_MAX: usize = 8;

/// So many equal packets have to decode to silence (half a second of 20 ms each) before one is not
/// decoded: what a decoder remembers of the sound before has faded by then, and another packet of
/// silence changes nothing in it.
const PACKETS_UNTIL_KNOWN: u32 = 25;

/// The packets of silence that came last.
#[derive(Debug, Default)]
pub(crate) struct SilentPackets {
    packet: [u8; PACKET_BYTES_MAX],
    bytes: usize,
    /// Samples (per channel) that it stands for.
    samples: usize,
    /// How many in a row were equal and decoded to silence.
    count: u32,
}

impl SilentPackets {
    /// Samples (per channel) of silence that the packet stands for; `None` if it has to be decoded.
    pub(crate) fn known(&self, packet: &[u8]) -> Option<usize> {
        let is_known = self.count >= PACKETS_UNTIL_KNOWN && self.is_last(packet);
        is_known.then_some(self.samples)
    }

    /// A packet was decoded to `samples` (per channel), all of them silent where `is_silent` says so.
    pub(crate) fn decoded(
        &mut self,
        packet: &[u8],
        samples: usize,
        is_silent: impl FnOnce() -> bool,
    ) {
        if packet.len() > PACKET_BYTES_MAX || !is_silent() {
            self.count = 0;
            return;
        }
        if !self.is_last(packet) {
            self.count = 0;
            self.bytes = packet.len();
            self.samples = samples;
            let copy = self.packet.iter_mut().zip(packet);
            copy.for_each(|(to, from)| *to = *from);
        }
        self.count = self.count.saturating_add(1);
    }

    /// Something else was made of the decoder: it has to settle again.
    pub(crate) fn interrupted(&mut self) {
        self.count = 0;
    }

    fn is_last(&self, packet: &[u8]) -> bool {
        self.count > 0 && self.packet.get(..self.bytes) == Some(packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE: [u8; 3] = [0xfc, 0xff, 0xfe];

    fn settled() -> SilentPackets {
        let mut silent = SilentPackets::default();
        for _ in 0..PACKETS_UNTIL_KNOWN {
            assert_eq!(silent.known(&SILENCE), None);
            silent.decoded(&SILENCE, 960, || true);
        }
        silent
    }

    #[test]
    fn a_packet_is_known_once_it_was_silent_often_enough() {
        let silent = settled();
        assert_eq!(silent.known(&SILENCE), Some(960));
        assert_eq!(silent.known(&SILENCE[..2]), None);
        assert_eq!(silent.known(&[0xfc, 0xff, 0xff]), None);
    }

    #[test]
    fn sound_another_packet_and_a_loss_each_begin_the_count_anew() {
        let sound = |silent: &mut SilentPackets| silent.decoded(&SILENCE, 960, || false);
        let long = |silent: &mut SilentPackets| silent.decoded(&[0; 100], 960, || true);
        let other = |silent: &mut SilentPackets| silent.decoded(&[0xf8, 0xff, 0xfe], 960, || true);
        for other in [sound, long, other, SilentPackets::interrupted] {
            let mut silent = settled();
            other(&mut silent);
            assert_eq!(silent.known(&SILENCE), None);
            silent.decoded(&SILENCE, 960, || true);
            assert_eq!(silent.known(&SILENCE), None);
        }
    }
}
