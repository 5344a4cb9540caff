//! AAC-LC: the kind that audio transcoders make, and the kinds that an encoder may send.

use bytes::Bytes;

/// AudioSpecificConfig of AAC-LC at 48 kHz in stereo (ISO/IEC 14496-3, 1.6.2.1).
pub const AUDIO_SPECIFIC_CONFIG: [u8; 2] = [0x11, 0x90];
/// Samples of each channel in one frame (ISO/IEC 14496-3, 4.5.2.1.1).
pub const FRAME_SAMPLES: i64 = 1_024;
/// Samples a second of what audio transcoders make.
pub const SAMPLE_RATE: i64 = 48_000;

/// Longest AudioSpecificConfig that is taken, in bytes. AAC-LC takes two, and five where an extension says
/// that there is no SBR.
const CONFIG_BYTES_MAX: usize = 8;
/// `samplingFrequencyIndex` (ISO/IEC 14496-3, table 1.18).
const SAMPLE_RATES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];
/// `audioObjectType` (table 1.17).
const AAC_LC: u64 = 2;
const SBR: u64 = 5;
const PS: u64 = 29;
/// Stands before an extension that old decoders do not look for (1.6.2.1).
const SYNC_EXTENSION: u64 = 0x2B7;

/// A frame of one channel in which all is 0: a single channel element without scale factor bands, and the
/// end (4.4.2.1).
const SILENCE_MONO: [u8; 4] = [0, 0, 0, 0b111];
/// A channel pair element of two such channels, and the end.
const SILENCE_STEREO: [u8; 7] = [0x20, 0, 0, 0, 0, 0, 0b1110];

/// The AAC-LC of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AacConfig {
    bytes: [u8; CONFIG_BYTES_MAX],
    len: usize,
    /// Samples a second.
    pub sample_rate: u32,
    /// 1 or 2.
    pub channels: u32,
}

/// The encoder's audio is not taken. The words are for who has set it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AacError {
    /// SBR, or another tool than those of AAC-LC.
    #[error("the encoder sends HE-AAC, or another AAC than AAC-LC: set it to AAC-LC")]
    NotLc,
    /// A sample rate that platforms do not take.
    #[error("the encoder sends audio at {0} Hz: set it to 48000 or 44100 Hz")]
    SampleRate(u32),
    /// More than two channels.
    #[error("the encoder sends audio in another form than mono or stereo: set it to stereo")]
    Channels,
    /// Cut off, too long, or with frames of 960 samples.
    #[error(
        "the encoder describes its AAC in a form that is not taken: set it to AAC-LC in stereo"
    )]
    Form,
}

impl AacConfig {
    /// What audio transcoders make.
    pub const OURS: Self = Self {
        bytes: [0x11, 0x90, 0, 0, 0, 0, 0, 0],
        len: AUDIO_SPECIFIC_CONFIG.len(),
        sample_rate: 48_000,
        channels: 2,
    };

    /// Reads an AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1).
    ///
    /// # Errors
    /// When it is not AAC-LC at 44.1 or 48 kHz in mono or stereo.
    pub fn read(config: &[u8]) -> Result<Self, AacError> {
        let mut bytes = [0; CONFIG_BYTES_MAX];
        let (2.., Some(place)) = (config.len(), bytes.get_mut(..config.len())) else {
            return Err(AacError::Form);
        };
        place.copy_from_slice(config);
        let word = u64::from_be_bytes(bytes);
        let bits = |from: u32, count: u32| word << from >> (64 - count);
        match bits(0, 5) {
            AAC_LC => {}
            _ => return Err(AacError::NotLc),
        }
        let sample_rate = match usize::try_from(bits(5, 4)).map(|index| SAMPLE_RATES.get(index)) {
            Ok(Some(sample_rate)) => *sample_rate,
            _ => return Err(AacError::Form),
        };
        let channels = match bits(9, 4) {
            1 => 1,
            2 => 2,
            _ => return Err(AacError::Channels),
        };
        // GASpecificConfig (4.4.1): frames of 1,024 samples, no core coder, no extension.
        if bits(13, 3) != 0 {
            return Err(AacError::Form);
        }
        let extended = config.len() >= 5 && bits(16, 11) == SYNC_EXTENSION;
        if extended && matches!(bits(27, 5), SBR | PS) && bits(32, 1) == 1 {
            return Err(AacError::NotLc);
        }
        if !matches!(sample_rate, 44_100 | 48_000) {
            return Err(AacError::SampleRate(sample_rate));
        }
        Ok(Self {
            bytes,
            len: config.len(),
            sample_rate,
            channels,
        })
    }

    /// The AudioSpecificConfig as it came.
    pub fn specific_config(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// A frame of silence.
    pub fn silence(&self) -> Bytes {
        Bytes::from_static(match self.channels {
            1 => &SILENCE_MONO,
            _ => &SILENCE_STEREO,
        })
    }

    /// How long so many frames are, in microseconds.
    pub fn frames_us(&self, frames: i64) -> i64 {
        frames * FRAME_SAMPLES * 1_000_000 / i64::from(self.sample_rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aac_lc_in_mono_and_stereo_at_both_rates_is_taken_as_it_came() {
        for (config, sample_rate, channels) in [
            (&[0x11, 0x90][..], 48_000, 2),
            (&[0x12, 0x10], 44_100, 2),
            (&[0x11, 0x88], 48_000, 1),
            (&[0x12, 0x08], 44_100, 1),
            // FFmpeg's: the extension says that there is no SBR.
            (&[0x12, 0x10, 0x56, 0xE5, 0x00], 44_100, 2),
        ] {
            let read = AacConfig::read(config).unwrap();
            assert_eq!((read.sample_rate, read.channels), (sample_rate, channels));
            assert_eq!(read.specific_config(), config);
        }
        assert_eq!(AacConfig::read(&AUDIO_SPECIFIC_CONFIG), Ok(AacConfig::OURS));
        assert_eq!(AacConfig::OURS.frames_us(375), 8_000_000);
    }

    #[test]
    fn what_is_not_taken_is_told_from_what_is() {
        for (config, error) in [
            (&[0x2B, 0x92, 0x08, 0x00][..], AacError::NotLc), // HE-AAC
            (&[0xEB, 0x09, 0x88, 0x00], AacError::NotLc),     // HE-AAC v2
            (&[0x13, 0x10, 0x56, 0xE5, 0x98], AacError::NotLc),
            (&[0x0A, 0x10], AacError::NotLc), // AAC Main
            (&[0x13, 0x90], AacError::SampleRate(22_050)),
            (&[0x11, 0xB0], AacError::Channels), // 5.1
            (&[0x11, 0x80], AacError::Channels),
            (&[0x11, 0x94], AacError::Form), // 960 samples
            (&[0x17, 0x90], AacError::Form),
            (&[0x11], AacError::Form),
            (&[], AacError::Form),
            (&[0x11, 0x90, 0, 0, 0, 0, 0, 0, 0], AacError::Form),
        ] {
            assert_eq!(AacConfig::read(config), Err(error), "{config:x?}");
        }
    }
}
