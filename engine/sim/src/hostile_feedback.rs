//! Transport-wide feedback that no client sends: a viewer's own, rewritten where it is encrypted, since SRTCP lets nobody
//! else change it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use str0m::{
    RtcConfig,
    crypto::{
        AeadAes256GcmCipher, CryptoError, CryptoProvider, SrtpProvider, SupportedAeadAes128Gcm,
        SupportedAeadAes256Gcm, SupportedAes128CmSha1_80, from_feature_flags,
    },
};

/// RTPFB and its format for transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01, 3.1).
const TYPE: u8 = 205;
const FORMAT: u8 = 15;
/// Behind the SSRC of the media and the base sequence number: five packets, in a run of none that came soon and a run
/// of five that came late, whose deltas are of another size. str0m 0.25 panics at the first of them.
const FIVE_PACKETS: [u8; 2] = [0, 5];
const CHUNKS: [u8; 4] = [0x20, 0x00, 0x40, 0x05];
/// Up to the last delta, and the padding that says how long it is.
const LENGTH_MIN: usize = 16 + 10 + 4;

/// Makes clients whose feedback is hostile while this is set.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostileFeedback(Arc<AtomicBool>);

impl HostileFeedback {
    pub(crate) fn begin(&self) {
        self.0.store(true, Relaxed);
    }

    /// The configuration of such a client. What it borrows lives as long as the tests.
    pub(crate) fn config(&self) -> RtcConfig {
        let own = from_feature_flags();
        let srtp = Srtp {
            own: own.srtp_provider,
            gcm: Box::leak(Box::new(Gcm {
                own: own.srtp_provider.aead_aes_256_gcm(),
                is_hostile: self.0.clone(),
            })),
        };
        RtcConfig::new().set_crypto_provider(Arc::new(CryptoProvider {
            srtp_provider: Box::leak(Box::new(srtp)),
            ..own
        }))
    }
}

/// The suite that str0m's two ends agree on is ours.
#[derive(Debug)]
struct Srtp {
    own: &'static dyn SrtpProvider,
    gcm: &'static Gcm,
}

impl SrtpProvider for Srtp {
    fn aes_128_cm_sha1_80(&self) -> &'static dyn SupportedAes128CmSha1_80 {
        self.own.aes_128_cm_sha1_80()
    }

    fn aead_aes_128_gcm(&self) -> &'static dyn SupportedAeadAes128Gcm {
        self.own.aead_aes_128_gcm()
    }

    fn aead_aes_256_gcm(&self) -> &'static dyn SupportedAeadAes256Gcm {
        self.gcm
    }

    fn srtp_aes_128_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        self.own.srtp_aes_128_ecb_round(key, input, output);
    }

    fn srtp_aes_256_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        self.own.srtp_aes_256_ecb_round(key, input, output);
    }
}

#[derive(Debug)]
struct Gcm {
    own: &'static dyn SupportedAeadAes256Gcm,
    is_hostile: Arc<AtomicBool>,
}

impl SupportedAeadAes256Gcm for Gcm {
    fn create_cipher(&self, key: [u8; 32], encrypt: bool) -> Box<dyn AeadAes256GcmCipher> {
        Box::new(Cipher {
            own: self.own.create_cipher(key, encrypt),
            is_hostile: self.is_hostile.clone(),
        })
    }
}

#[derive(Debug)]
struct Cipher {
    own: Box<dyn AeadAes256GcmCipher>,
    is_hostile: Arc<AtomicBool>,
}

impl AeadAes256GcmCipher for Cipher {
    fn encrypt(
        &mut self,
        iv: &[u8; 12],
        aad: &[u8],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<(), CryptoError> {
        let is_feedback = matches!(aad, [first, TYPE, ..] if first & 0x1F == FORMAT);
        let mut input = input.to_vec();
        if is_feedback && input.len() >= LENGTH_MIN && self.is_hostile.load(Relaxed) {
            input[6..8].copy_from_slice(&FIVE_PACKETS);
            input[12..16].copy_from_slice(&CHUNKS);
        }
        self.own.encrypt(iv, aad, &input, output)
    }

    fn decrypt(
        &mut self,
        iv: &[u8; 12],
        aads: &[&[u8]],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<usize, CryptoError> {
        self.own.decrypt(iv, aads, input, output)
    }
}
