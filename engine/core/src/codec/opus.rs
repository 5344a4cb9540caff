//! What the head of an Opus packet tells without decoding it, and packets that can be written without
//! encoding.

use bytes::Bytes;

/// The shortest packet that can fill a gap, in samples at 48 kHz (2.5 ms; RFC 6716, 2.1.4).
pub(crate) const FILL_SAMPLES_MIN: u32 = 120;
/// The longest, so that what fills a gap looks like what a browser sends (20 ms).
const FILL_SAMPLES_MAX: u32 = 960;
/// Configuration 28, CELT, full band, 2.5 ms. The three behind it have twice the duration each (RFC 6716,
/// table 2).
const CELT_CONFIG: u8 = 28;
/// The bit of the first byte that says stereo.
const STEREO: u8 = 4;

/// The longest packet of digital silence that fits into `samples`, which are [`FILL_SAMPLES_MIN`] or more,
/// and how many samples it has. It is a CELT frame in stereo whose silence flag is set (RFC 6716, 4.3), in
/// the three bytes that libopus makes of silence.
pub(crate) fn silent(samples: u32) -> (u32, Bytes) {
    let (step, samples) = celt_step(samples);
    let packet: &[u8] = match step {
        0 => &[0xE4, 0xFF, 0xFE],
        1 => &[0xEC, 0xFF, 0xFE],
        2 => &[0xF4, 0xFF, 0xFE],
        _ => &[0xFC, 0xFF, 0xFE],
    };
    (samples, Bytes::from_static(packet))
}

/// The longest packet without a frame that fits into `samples`, which are [`FILL_SAMPLES_MIN`] or more, and
/// how many samples it has. It stands for one that was lost behind a packet that began with `toc`, and is
/// of the same mode where that has packets so short (RFC 6716, 3.2.1: a frame of 0 bytes).
pub(crate) fn empty(toc: u8, samples: u32) -> (u32, Bytes) {
    let (step, samples) = celt_step(samples);
    let is_long = u8::from(samples == FILL_SAMPLES_MAX);
    let config = match toc >> 3 {
        // SILK and hybrid have no packets shorter than 10 ms.
        _ if samples < FILL_SAMPLES_MAX / 2 && toc >> 3 < 16 => CELT_CONFIG + step,
        config @ ..=11 => (config & !3) + is_long,
        config @ 12..=15 => (config & !1) + is_long,
        config => (config & !3) + step,
    };
    (
        samples,
        Bytes::copy_from_slice(&[config << 3 | toc & STEREO]),
    )
}

/// The longest frame of CELT that fits: how often [`FILL_SAMPLES_MIN`] is doubled for it, and its samples.
fn celt_step(samples: u32) -> (u8, u32) {
    let step = (samples.min(FILL_SAMPLES_MAX) / FILL_SAMPLES_MIN)
        .max(1)
        .ilog2();
    (step as u8, FILL_SAMPLES_MIN << step)
}

/// Samples at 48 kHz in an Opus packet, from its table-of-contents byte (RFC 6716, 3.1). `None`
/// for a packet that is not Opus or longer than the 120 ms that Opus allows.
pub fn duration_samples(packet: &[u8]) -> Option<u32> {
    let toc = *packet.first()?;
    let frame: u32 = match toc >> 3 {
        config @ 0..=11 => match config % 4 {
            0 => 480,
            1 => 960,
            2 => 1920,
            _ => 2880,
        },
        config @ 12..=15 => 480 << (config % 2),
        config => 120 << (config % 4),
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(*packet.get(1)? & 0x3f),
    };
    let duration = frame * frames;
    (1..=5760).contains(&duration).then_some(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_duration_of_opus_packets_is_read_from_their_first_byte() {
        assert_eq!(duration_samples(&[]), None);
        assert_eq!(duration_samples(&[0xf8, 0xff, 0xfe]), Some(960)); // CELT, 20 ms, one frame
        assert_eq!(duration_samples(&[0x78 | 3, 2]), Some(1920)); // hybrid, 20 ms, two frames
        assert_eq!(duration_samples(&[0x18]), Some(2880)); // SILK, 60 ms
        assert_eq!(duration_samples(&[0x1b, 63]), None); // 63 frames of 60 ms
        assert_eq!(duration_samples(&[0xfb]), None); // the count is missing
    }

    #[test]
    fn packets_that_fill_a_gap_are_as_long_as_they_say() {
        for samples in 120..3_000 {
            let longest = match samples {
                ..240 => 120,
                240..480 => 240,
                480..960 => 480,
                _ => 960,
            };
            let (told, packet) = silent(samples);
            assert_eq!((told, duration_samples(&packet)), (longest, Some(longest)));
            for toc in 0..=255 {
                let (told, packet) = empty(toc, samples);
                assert_eq!((told, duration_samples(&packet)), (longest, Some(longest)));
                assert_eq!((packet.len(), packet[0] & STEREO), (1, toc & STEREO));
                let mode = |toc: u8| {
                    [(12, 0), (16, 1)]
                        .iter()
                        .rfind(|it| toc >> 3 >= it.0)
                        .map(|it| it.1)
                };
                assert!(longest < 480 || mode(packet[0]) == mode(toc), "{toc}");
            }
        }
    }
}
