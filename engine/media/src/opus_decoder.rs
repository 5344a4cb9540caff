//! libopus, with a decoder of as many channels as the packets have.
//!
//! A stereo decoder decodes mono packets as well, but it transforms, filters and writes both channels:
//! a fifth more work. So a publisher that sends mono for a while gets a mono decoder. What a decoder
//! makes of a packet depends on the packets before it, less with each one. So a decoder that takes over
//! is first given the last packets once more, and its output of them is thrown away:
//!
//! ```text
//!  packets          m  m  m … m  m  m  m  m  S  S  m  m …
//!  stereo decoder   ├─ a second ─┤  ┆  ┆  ├──────────────
//!  mono decoder            └─────┼────────┤
//!                     warmed up by the last 16, as the stereo decoder is later
//! ```

use std::collections::VecDeque;

use opus::{Channels, Decoder, Error};

use crate::limits::OPUS_SAMPLES_MAX;
use crate::{CHANNELS, SAMPLE_RATE_HZ};

/// Mono packets in a row after which they get a mono decoder: a second of 20 ms each. A change costs
/// [`WARM_UP_PACKETS`] decodings, so that a publisher that changes as often as it can costs a third more.
const MONO_UNTIL_CHANGED: u32 = 50;
/// Packets that a decoder is warmed up with. Of the energies that CELT predicts from frame to frame, each
/// frame of 20 ms leaves a half and one of 10 ms two thirds (RFC 6716, 4.3.2.1).
const WARM_UP_PACKETS: usize = 16;

/// How much was decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decoded {
    /// Per channel.
    pub(crate) samples: usize,
    /// 1 or 2; samples of two are interleaved.
    pub(crate) channels: usize,
}

/// See the module's documentation.
pub(crate) struct OpusDecoder {
    decoder: Decoder,
    channels: Channels,
    /// Nothing was decoded yet.
    is_new: bool,
    /// Packets in a row that a mono decoder may have.
    mono_packets: u32,
    /// The last of them.
    recent: VecDeque<Vec<u8>>,
}

impl OpusDecoder {
    pub(crate) fn new() -> Result<Self, Error> {
        Ok(Self {
            decoder: Decoder::new(SAMPLE_RATE_HZ, Channels::Stereo)?,
            channels: Channels::Stereo,
            is_new: true,
            mono_packets: 0,
            recent: VecDeque::with_capacity(WARM_UP_PACKETS),
        })
    }

    /// Decodes a packet into `pcm`, which has room for [`OPUS_SAMPLES_MAX`] of two channels.
    pub(crate) fn decode(&mut self, packet: &[u8], pcm: &mut [f32]) -> Result<Decoded, Error> {
        let is_mono = is_mono(packet);
        match self.channels {
            Channels::Mono if !is_mono => self.change(Channels::Stereo, pcm),
            Channels::Stereo
                if is_mono && (self.is_new || self.mono_packets >= MONO_UNTIL_CHANGED) =>
            {
                self.change(Channels::Mono, pcm);
            }
            _ => {}
        }
        let room = pcm.get_mut(..OPUS_SAMPLES_MAX * self.channels as usize);
        let samples = self
            .decoder
            .decode_float(packet, room.unwrap_or_default(), false)?;
        self.is_new = false;
        self.remember(packet, is_mono);
        Ok(self.decoded(samples))
    }

    /// Invents so many samples, or takes them from the redundancy that `packet` carries.
    pub(crate) fn fill(
        &mut self,
        packet: Option<&[u8]>,
        samples: usize,
        pcm: &mut [f32],
    ) -> Result<Decoded, Error> {
        // The decoder in use is not what the last packets alone would make of another one.
        self.mono_packets = 0;
        let room = pcm.get_mut(..samples * self.channels as usize);
        let room = room.unwrap_or_default();
        let (packet, redundancy) = packet.map_or((&[][..], false), |packet| (packet, true));
        let samples = self.decoder.decode_float(packet, room, redundancy)?;
        Ok(self.decoded(samples))
    }

    fn decoded(&self, samples: usize) -> Decoded {
        let channels = self.channels as usize;
        debug_assert!(channels <= CHANNELS, "Opus has two channels at most");
        Decoded { samples, channels }
    }

    fn remember(&mut self, packet: &[u8], is_mono: bool) {
        if !is_mono {
            self.mono_packets = 0;
            self.recent.clear();
            return;
        }
        self.mono_packets = self.mono_packets.saturating_add(1);
        let mut oldest = if self.recent.len() < WARM_UP_PACKETS {
            Vec::new()
        } else {
            self.recent.pop_front().unwrap_or_default()
        };
        oldest.clear();
        oldest.extend_from_slice(packet);
        self.recent.push_back(oldest);
    }

    /// Takes a decoder of so many channels. Without memory for it the one in use goes on: both decode
    /// everything.
    fn change(&mut self, channels: Channels, pcm: &mut [f32]) {
        let Ok(mut decoder) = Decoder::new(SAMPLE_RATE_HZ, channels) else {
            return;
        };
        for packet in &self.recent {
            let room = pcm.get_mut(..OPUS_SAMPLES_MAX * channels as usize);
            // It was decoded before, so it is a packet.
            drop(decoder.decode_float(packet, room.unwrap_or_default(), false));
        }
        self.decoder = decoder;
        self.channels = channels;
    }
}

/// Whether the packet is for a mono decoder, by its first byte (RFC 6716, 3.1): one channel, of CELT alone, in
/// frames of 10 or 20 ms. Of shorter ones more packets would be needed to warm up; SILK still differed, by
/// noise at -42 dB, after 48 of them.
fn is_mono(packet: &[u8]) -> bool {
    packet.first().is_some_and(|toc| {
        let config = toc >> 3;
        toc & 4 == 0 && config >= 16 && config % 4 >= 2
    })
}

#[cfg(test)]
mod tests {
    use opus::{Application, Bitrate, Encoder};

    use super::*;

    const PACKET_SAMPLES: usize = 960;

    /// Packets of one stream. The channels of each are forced.
    fn stream(mode: Application, bps: i32, samples: usize, channels: &[Channels]) -> Vec<Vec<u8>> {
        let mut encoder = Encoder::new(SAMPLE_RATE_HZ, Channels::Stereo, mode).unwrap();
        encoder.set_bitrate(Bitrate::Bits(bps)).unwrap();
        let mut state = 1_u32;
        let mut packet = |(number, channels): (usize, &Channels)| {
            encoder.set_force_channels(Some(*channels)).unwrap();
            let pcm: Vec<f32> = (0..samples * 2)
                .map(|at| {
                    let t = (number * samples + at / 2) as f32 / SAMPLE_RATE_HZ as f32;
                    let hertz = 150.0 + 40.0 * (3.0 * t).sin() + 90.0 * (at % 2) as f32;
                    let harmonics = (1..12)
                        .map(|h| (std::f32::consts::TAU * hertz * h as f32 * t).sin() / h as f32);
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    0.2 * harmonics.sum::<f32>() + 0.02 * (state as f32 / u32::MAX as f32 - 0.5)
                })
                .collect();
            encoder.encode_vec_float(&pcm, 1_500).unwrap()
        };
        channels.iter().enumerate().map(&mut packet).collect()
    }

    /// Makes stereo of it.
    fn interleaved(pcm: &[f32], decoded: Decoded) -> Vec<f32> {
        let pcm = &pcm[..decoded.samples * decoded.channels];
        let twice = |sample: &f32| [*sample; 2];
        match decoded.channels {
            1 => pcm.iter().flat_map(twice).collect(),
            _ => pcm.to_vec(),
        }
    }

    fn energy(pcm: impl Iterator<Item = f32>) -> f64 {
        pcm.map(|sample| f64::from(sample).powi(2)).sum()
    }

    fn show() -> Vec<Channels> {
        let turns = [
            (Channels::Mono, 120),
            (Channels::Stereo, 30),
            (Channels::Mono, 90),
            (Channels::Stereo, 1),
            (Channels::Mono, 20),
            (Channels::Stereo, 20),
        ];
        let turn = |(channels, packets)| std::iter::repeat_n(channels, packets);
        turns.into_iter().flat_map(turn).collect()
    }

    #[test]
    fn a_change_of_channels_sounds_as_from_one_stereo_decoder() {
        // At low rates the encoder uses SILK, alone or for the low frequencies.
        for (mode, bps, samples, mono_min) in [
            (Application::Audio, 96_000, PACKET_SAMPLES, 140),
            (Application::Audio, 64_000, PACKET_SAMPLES / 2, 140),
            (Application::Voip, 32_000, PACKET_SAMPLES, 0),
            (Application::Voip, 16_000, PACKET_SAMPLES, 0),
            (Application::Voip, 24_000, 2 * PACKET_SAMPLES, 0),
        ] {
            let packets = stream(mode, bps, samples, &show());
            let mut decoder = OpusDecoder::new().unwrap();
            let mut reference = Decoder::new(SAMPLE_RATE_HZ, Channels::Stereo).unwrap();
            let (mut pcm, mut expected) = (vec![0.0; 11_520], vec![0.0; 11_520]);
            let mut mono = 0;
            for (number, packet) in packets.iter().enumerate() {
                let decoded = decoder.decode(packet, &mut pcm).unwrap();
                let count = reference.decode_float(packet, &mut expected, false);
                assert_eq!(count.unwrap(), decoded.samples);
                mono += usize::from(decoded.channels == 1);
                let expected = &expected[..2 * decoded.samples];
                let pairs = interleaved(&pcm, decoded);
                let noise = energy(pairs.iter().zip(expected).map(|(a, b)| a - b));
                let signal = energy(expected.iter().copied());
                assert!(
                    noise <= 1e-5 * signal + 1e-9,
                    "{mode:?} {bps} {samples}: packet {number} has {noise} of {signal}"
                );
            }
            assert!(mono >= mono_min, "{mono} packets had a mono decoder");
        }
    }

    #[test]
    fn packets_that_change_all_the_time_stay_in_the_stereo_decoder() {
        let channels = [Channels::Stereo, Channels::Mono, Channels::Mono].repeat(40);
        let packets = stream(Application::Audio, 96_000, PACKET_SAMPLES, &channels);
        let mut decoder = OpusDecoder::new().unwrap();
        let mut pcm = vec![0.0; 11_520];
        for packet in &packets {
            assert_eq!(decoder.decode(packet, &mut pcm).unwrap().channels, 2);
        }
    }

    #[test]
    fn a_gap_is_filled_with_the_channels_of_the_decoder_in_use() {
        for channels in [Channels::Mono, Channels::Stereo] {
            let packets = stream(Application::Audio, 96_000, PACKET_SAMPLES, &[channels; 9]);
            let mut decoder = OpusDecoder::new().unwrap();
            let mut pcm = vec![0.0; 11_520];
            for packet in &packets {
                decoder.decode(packet, &mut pcm).unwrap();
            }
            let expected = Decoded {
                samples: PACKET_SAMPLES,
                channels: channels as usize,
            };
            for packet in [None, Some(&packets[8][..])] {
                let filled = decoder.fill(packet, PACKET_SAMPLES, &mut pcm);
                assert_eq!(filled.unwrap(), expected);
            }
        }
    }

    #[test]
    fn what_is_no_packet_changes_nothing() {
        let packets = stream(
            Application::Audio,
            64_000,
            PACKET_SAMPLES,
            &[Channels::Mono; 20],
        );
        let mut decoder = OpusDecoder::new().unwrap();
        let mut pcm = vec![0.0; 11_520];
        for packet in &packets {
            decoder.decode(packet, &mut pcm).unwrap();
            assert!(decoder.decode(&[0xfb], &mut pcm).is_err());
            assert_eq!(decoder.recent.back(), Some(packet));
        }
    }
}
