//! What this crate refuses to exceed, and why.

/// Longest gap filled by one call of [`OpusToAac::conceal`](crate::OpusToAac::conceal) or
/// [`OpusToAac::silence`](crate::OpusToAac::silence), in samples at 48 kHz: ten seconds. A filled
/// second costs about 10 ms of the core that also moves packets, so a longer gap is to be filled
/// piece by piece as time passes.
pub const FILL_SAMPLES_MAX: u32 = 480_000;

/// Longest run that is invented from what came before, in samples at 48 kHz: 100 ms. libopus fades
/// to silence within it; the rest of a gap is silence.
pub const CONCEAL_SAMPLES_MAX: u32 = 4_800;

/// Bit rates of AAC in stereo, in bits per second. Below the least AAC-LC is no music any more; above
/// the most it does not sound better, and platforms take at most that.
pub const AAC_BITRATES_BPS: std::ops::RangeInclusive<usize> = 32_000..=320_000;

/// Largest Opus packet, in bytes: three frames of 1275 bytes fill the longest packet of one
/// stream, and 48 of 2.5 ms are the most a packet can hold (RFC 6716 §3.2.5 and §3.4).
pub const OPUS_PACKET_BYTES_MAX: usize = 48 * 1275;

/// Longest Opus packet that is made, in bytes: one frame (RFC 6716 §3.2.1).
pub const OPUS_PACKET_BYTES_MADE_MAX: usize = 1_276;

/// Samples per channel of the longest Opus packet: 120 ms (RFC 6716 §3.2.5, rule R5).
pub const OPUS_SAMPLES_MAX: usize = 5_760;

/// Largest AAC frame that is given to the decoder, in bytes: 6144 bits for each of 8 channels
/// (ISO/IEC 14496-3 §4.5.3.2).
pub const AAC_FRAME_BYTES_MAX: usize = 6_144;

/// Largest `AudioSpecificConfig`, in bytes. Real ones have 2 to 7.
pub const AUDIO_SPECIFIC_CONFIG_BYTES_MAX: usize = 64;

/// Longest picture side, in pixels: nothing that reaches a browser's encoder passes 8K.
pub const PICTURE_SIDE_PIXELS_MAX: u32 = 8_192;

/// Largest picture that is decoded or encoded, in pixels: 36 864 macroblocks, the most of level 5.1
/// (ITU-T H.264 table A-1), which is 4096×2304. x264 takes some 40 bytes for each pixel.
pub const PICTURE_PIXELS_MAX: u32 = 36_864 * 256;

/// Longest H.264 access unit that is given to the decoder, in bytes: that of a message over RTMP.
pub const ACCESS_UNIT_BYTES_MAX: usize = 4 << 20;

/// Longest AVCDecoderConfigurationRecord, in bytes: nine parameter sets of the largest size that
/// is taken from a publisher.
pub const AVC_RECORD_BYTES_MAX: usize = 40 << 10;

/// Access units that are decoded to find the last picture of a stream: six seconds, which is as
/// much as is kept of one, at 120 pictures a second.
pub const GOP_ACCESS_UNITS_MAX: usize = 720;

/// Bytes of these: twice what is kept of a stream.
pub const GOP_BYTES_MAX: usize = 8 << 20;

/// Pictures that one access unit may give: those that an H.264 decoder holds back for their order, of
/// which there are at most 16 (ITU-T H.264 §A.3.1), and its own.
pub const PICTURES_PER_UNIT_MAX: usize = 17;

/// Renditions of one source: 16 that are wanted, and as many that are being left for others.
pub const RENDITIONS_MAX: usize = 32;

/// Failures of renditions that wait to be taken: each of them once, and as many that were not begun.
pub const FAILURES_MAX: usize = 2 * RENDITIONS_MAX;

/// Shortest side of a rendition, in pixels: one macroblock.
pub const RENDITION_SIDE_PIXELS_MIN: u32 = 16;

/// Frame rate of a rendition: no platform takes more than 60, and none is known to show more than 120.
pub const RENDITION_FPS_MAX: u32 = 120;

/// Bit rates of a rendition, in bits per second. Below the least x264's buffer cannot hold a keyframe
/// of the smallest sizes; the most is what a platform takes for 4K (YouTube: 51 Mbit/s), twice.
pub const VIDEO_BPS_MIN: u32 = 50_000;
/// See [`VIDEO_BPS_MIN`].
pub const VIDEO_BPS_MAX: u32 = 100_000_000;

/// Distance of keyframes, in milliseconds. More of them than four a second would leave nothing for
/// other pictures; platforms close a connection after eight to twenty seconds without one.
pub const GOP_MS_MIN: u32 = 250;
/// See [`GOP_MS_MIN`].
pub const GOP_MS_MAX: u32 = 20_000;

/// Longest time without pictures that is filled with the last one, in milliseconds. Each repetition costs an
/// encoding, so after a longer gap the time of the rendition jumps.
pub const REPEAT_MS_MAX: i64 = 2_000;

/// Repetitions of each rendition in one call: a quarter of a second at 30 a second. A call holds its
/// thread for as many encodings, while other broadcasts wait.
pub const REPETITIONS_PER_CALL_MAX: usize = 8;

/// Most that a governor leaves out of the frame rate: two of three pictures, 10 of 30 a second. Below
/// that it is no moving picture, and the rendition should not be made.
pub const FRAME_DIVISOR_MAX: u32 = 3;

/// Longest side of a slate that has more than [`PICTURE_PIXELS_MAX`], in pixels: the largest square.
pub const SLATE_SIDE_PIXELS_MAX: u32 = 3_072;

/// Largest image file, in bytes. One of 1920×1080 as PNG has 2 to 4 MB.
pub const IMAGE_BYTES_MAX: usize = 4 << 20;

/// Longest side of an image, in pixels. No picture that it is drawn into is wider than 4096 (see
/// [`PICTURE_PIXELS_MAX`]), so more would only be thrown away.
pub const IMAGE_SIDE_PIXELS_MAX: u32 = 4_096;

/// Memory that the decoder of an image may take, in bytes: 4096×4096 pixels of four bytes, and as
/// much again to work in.
pub const IMAGE_MEMORY_BYTES_MAX: u64 = 128 << 20;

/// A still picture is made coarser until it has at most a byte for so many pixels: 184 kB for
/// 1280×720, a quarter of a second of a stream of 6 Mbit/s.
pub const STILL_FRAME_PIXELS_PER_BYTE: usize = 5;

/// A still picture of so many bytes is small enough whatever its size.
pub const STILL_FRAME_BYTES_MIN: usize = 16 << 10;
