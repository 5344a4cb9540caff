//! The one kind of AAC that audio transcoders make.

/// AudioSpecificConfig of AAC-LC at 48 kHz in stereo (ISO/IEC 14496-3, 1.6.2.1).
pub const AUDIO_SPECIFIC_CONFIG: [u8; 2] = [0x11, 0x90];
/// Samples of each channel in one frame (ISO/IEC 14496-3, 4.5.2.1.1).
pub const FRAME_SAMPLES: i64 = 1_024;
/// Samples a second.
pub const SAMPLE_RATE: i64 = 48_000;
