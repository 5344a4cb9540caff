//! What the head of an Opus packet tells without decoding it.

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
}
