//! What this crate refuses to exceed, and why.

/// Longest gap filled by one call of [`OpusToAac::conceal`](crate::OpusToAac::conceal) or
/// [`OpusToAac::silence`](crate::OpusToAac::silence), in samples at 48 kHz: ten seconds. A filled
/// second costs about 10 ms of the core that also moves packets, so a longer gap is to be filled
/// piece by piece as time passes.
pub const FILL_SAMPLES_MAX: u32 = 480_000;

/// Longest run that is invented from what came before, in samples at 48 kHz: 100 ms. libopus fades
/// to silence within it; the rest of a gap is silence.
pub const CONCEAL_SAMPLES_MAX: u32 = 4_800;

/// Largest Opus packet, in bytes: three frames of 1275 bytes fill the longest packet of one
/// stream, and 48 of 2.5 ms are the most a packet can hold (RFC 6716 §3.2.5 and §3.4).
pub const OPUS_PACKET_BYTES_MAX: usize = 48 * 1275;

/// Samples per channel of the longest Opus packet: 120 ms (RFC 6716 §3.2.5, rule R5).
pub const OPUS_SAMPLES_MAX: usize = 5_760;

/// Largest AAC frame that is given to the decoder, in bytes: 6144 bits for each of 8 channels
/// (ISO/IEC 14496-3 §4.5.3.2).
pub const AAC_FRAME_BYTES_MAX: usize = 6_144;

/// Largest `AudioSpecificConfig`, in bytes. Real ones have 2 to 7.
pub const AUDIO_SPECIFIC_CONFIG_BYTES_MAX: usize = 64;
