//! Bounds of an SDP offer. Any client may send one, and parsing it takes time on the executor that
//! carries other broadcasts. Control checks it before it passes it on, and the shard checks again.
//!
//! The bounds are five times what browsers send: Chromium's offer of sound, picture and data has
//! 6 KB, three sections and 170 lines; four cameras and their candidates have 18 KB and 540 lines.

/// Longest offer, in bytes.
pub const OFFER_BYTES_MAX: usize = 32 << 10;
/// Most lines, of all kinds.
const LINES_MAX: usize = 1_024;
/// Most media sections (`m=`, RFC 8866 §5.14): a studio with several cameras has about eight.
const SECTIONS_MAX: usize = 16;
/// Most payload types of one section: Chromium names 23, or some 45 with hardware codecs. Parsing time
/// grows with their square.
const FORMATS_MAX: usize = 64;
/// Most lines of those attributes that cost more than their line.
const ATTRIBUTES: [(&str, usize); 7] = [
    // Four cameras have 100, or some 200.
    ("a=rtpmap:", 384),
    // RFC 8839 §5.1: a browser names some five for each section, one with many interfaces forty.
    ("a=candidate:", 256),
    // RFC 5576: one with its repair stream for each layer, each in up to four lines.
    ("a=ssrc:", 128),
    ("a=ssrc-group:", 32),
    // RFC 8851: layers of simulcast; Chromium sends three, and no browser more than four.
    ("a=rid:", 32),
    // RFC 8285: ids go to 14 in the short form; Chromium sends some twelve for each section.
    ("a=extmap:", 256),
    // RFC 8122.
    ("a=fingerprint:", 32),
];

/// An offer exceeds a bound. The publisher's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OfferTooLarge {
    /// More than [`OFFER_BYTES_MAX`].
    #[error("the SDP offer has more than {OFFER_BYTES_MAX} bytes")]
    Bytes,
    /// Too many lines.
    #[error("the SDP offer has more than {LINES_MAX} lines")]
    Lines,
    /// Too many media sections.
    #[error("the SDP offer has more than {SECTIONS_MAX} media sections")]
    Sections,
    /// Too many payload types in one section.
    #[error("a media section of the SDP offer has more than {FORMATS_MAX} payload types")]
    Formats,
    /// Too many lines of one attribute.
    #[error("the SDP offer has more than {most} lines of '{attribute}'")]
    Attributes {
        /// How these lines begin.
        attribute: &'static str,
        /// How many there may be.
        most: usize,
    },
}

/// Counts what `sdp` holds. It does not parse it otherwise.
///
/// # Errors
/// When a bound is exceeded.
pub fn check_offer(sdp: &str) -> Result<(), OfferTooLarge> {
    if sdp.len() > OFFER_BYTES_MAX {
        return Err(OfferTooLarge::Bytes);
    }
    let mut sections = 0;
    let mut attributes = [0; ATTRIBUTES.len()];
    // Readers of SDP take a line feed, a carriage return or both for the end of a line.
    let lines = sdp.split(['\r', '\n']).filter(|line| !line.is_empty());
    for (n, line) in lines.enumerate() {
        if n == LINES_MAX {
            return Err(OfferTooLarge::Lines);
        }
        if line.starts_with("m=") {
            sections += 1;
            // Behind the kind, the port and the protocol.
            if line.split_ascii_whitespace().skip(3).count() > FORMATS_MAX {
                return Err(OfferTooLarge::Formats);
            }
        }
        for (found, (attribute, most)) in attributes.iter_mut().zip(ATTRIBUTES) {
            *found += usize::from(line.starts_with(attribute));
            if *found > most {
                return Err(OfferTooLarge::Attributes { attribute, most });
            }
        }
    }
    if sections > SECTIONS_MAX {
        return Err(OfferTooLarge::Sections);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bound_is_kept_to_the_line() {
        let grid = ATTRIBUTES.map(|(attribute, most)| (format!("{attribute}1 x"), most));
        let bounds = [
            ("a=x".to_owned(), LINES_MAX - 1),
            ("m=video 9 UDP/TLS/RTP/SAVPF 96".to_owned(), SECTIONS_MAX),
        ];
        for (line, most) in grid.into_iter().chain(bounds) {
            for end in ["\r\n", "\n", "\r"] {
                let offer =
                    |count: usize| format!("v=0{end}{}", format!("{line}{end}").repeat(count));
                assert_eq!(check_offer(&offer(most)), Ok(()), "{line}");
                assert!(check_offer(&offer(most + 1)).is_err(), "{line} {end:?}");
            }
        }
    }

    #[test]
    fn bytes_and_payload_types_are_bounded_too() {
        let formats = |count| format!("m=video 9 X{}\r\n", " 96".repeat(count));
        assert_eq!(check_offer(&formats(FORMATS_MAX)), Ok(()));
        assert_eq!(
            check_offer(&formats(FORMATS_MAX + 1)),
            Err(OfferTooLarge::Formats)
        );
        let long = "x".repeat(OFFER_BYTES_MAX);
        assert_eq!(check_offer(&long), Ok(()));
        assert_eq!(check_offer(&format!("{long}x")), Err(OfferTooLarge::Bytes));
    }

    #[test]
    fn what_browsers_send_is_far_within_every_bound() {
        let [sdk, simulcast, cameras] = [
            include_str!("../tests/offers/chromium_sdk.sdp"),
            include_str!("../tests/offers/chromium_simulcast.sdp"),
            include_str!("../tests/offers/chromium_four_cameras.sdp"),
        ];
        assert_eq!(check_offer(cameras), Ok(()));
        for offer in [sdk, simulcast] {
            for times in 1..=5 {
                assert_eq!(check_offer(&offer.repeat(times)), Ok(()), "{times}");
            }
        }
    }
}
