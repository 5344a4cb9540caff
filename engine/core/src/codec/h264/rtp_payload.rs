//! An access unit as RTP payloads (RFC 6184, non-interleaved mode).
//!
//! Payloads are made once for all viewers, so they hold nothing of one viewer. Fragments of one NAL
//! unit have the same size but for the last, which is what lets the kernel cut one large write into
//! datagrams.

use std::{rc::Rc, sync::Arc};

use super::ParameterSets;

/// Most bytes of one payload: with the RTP header, its extensions, the RTX header and the tag of SRTP
/// a datagram stays within 1,200 bytes, which every path carries.
pub const RTP_PAYLOAD_BYTES_MAX: usize = 1_140;
/// Type of a NAL unit that holds several (RFC 6184, 5.7.1).
const STAP_A: u8 = 24;
/// Type of a fragment of a NAL unit (RFC 6184, 5.8).
const FU_A: u8 = 28;
/// `nal_ref_idc` of a header.
const REFERENCE: u8 = 0x60;

/// The payloads of one access unit in the order in which they are sent; the last one's packet has the
/// marker.
pub type RtpPayloads = Rc<[Arc<[u8]>]>;

/// Cuts a unit of NAL units behind lengths of four bytes into payloads. `sets` are put in front, as a
/// keyframe needs them.
pub fn rtp_payloads(avcc: &[u8], sets: Option<&ParameterSets>) -> RtpPayloads {
    let mut payloads = Vec::with_capacity(avcc.len() / RTP_PAYLOAD_BYTES_MAX + 2);
    if let Some(sets) = sets {
        push_sets(sets, &mut payloads);
    }
    let mut rest = avcc;
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let Some((nal, next)) = behind.split_at_checked(length) else {
            debug_assert!(false, "a unit of the ring is well-formed");
            break;
        };
        push_nal(nal, &mut payloads);
        rest = next;
    }
    payloads.into()
}

/// All sets in one payload, or one each where they are too long for that.
fn push_sets(sets: &ParameterSets, payloads: &mut Vec<Arc<[u8]>>) {
    let nals = || std::iter::once(sets.sps_nal()).chain(sets.pps_nals());
    let bytes: usize = 1 + nals().map(|nal| 2 + nal.len()).sum::<usize>();
    if bytes > RTP_PAYLOAD_BYTES_MAX {
        nals().for_each(|nal| push_nal(nal, payloads));
        return;
    }
    let mut payload = Vec::with_capacity(bytes);
    payload.push(REFERENCE | STAP_A);
    for nal in nals() {
        // It fits: the whole payload is shorter.
        let length = u16::try_from(nal.len()).unwrap_or(u16::MAX);
        payload.extend_from_slice(&length.to_be_bytes());
        payload.extend_from_slice(nal);
    }
    payloads.push(payload.into());
}

fn push_nal(nal: &[u8], payloads: &mut Vec<Arc<[u8]>>) {
    if nal.len() <= RTP_PAYLOAD_BYTES_MAX {
        if !nal.is_empty() {
            payloads.push(nal.into());
        }
        return;
    }
    let Some((header, body)) = nal.split_first() else {
        return;
    };
    // The header of the NAL unit is told by the two bytes in front of each fragment.
    let most = RTP_PAYLOAD_BYTES_MAX - 2;
    let size = body.len().div_ceil(body.len().div_ceil(most));
    let last = body.len().div_ceil(size) - 1;
    for (index, fragment) in body.chunks(size).enumerate() {
        let begins = u8::from(index == 0) << 7;
        let ends = u8::from(index == last) << 6;
        let mut payload = Vec::with_capacity(2 + fragment.len());
        payload.push((header & !0x1f) | FU_A);
        payload.push(begins | ends | (header & 0x1f));
        payload.extend_from_slice(fragment);
        payloads.push(payload.into());
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use shardcast_sim::picture::{PPS, SPS_720P};

    use super::*;

    fn sets() -> ParameterSets {
        ParameterSets::new(&Bytes::from_static(SPS_720P), &[Bytes::from_static(PPS)]).unwrap()
    }

    fn avcc(nals: &[Vec<u8>]) -> Vec<u8> {
        let mut unit = Vec::new();
        for nal in nals {
            unit.extend_from_slice(&u32::try_from(nal.len()).unwrap().to_be_bytes());
            unit.extend_from_slice(nal);
        }
        unit
    }

    /// NAL units that a receiver makes of payloads (RFC 6184, 5.6 to 5.8).
    fn received(payloads: &[Arc<[u8]>]) -> Vec<Vec<u8>> {
        let mut nals: Vec<Vec<u8>> = Vec::new();
        for payload in payloads {
            match payload[0] & 0x1f {
                STAP_A => {
                    let mut rest = &payload[1..];
                    while let Some((length, behind)) = rest.split_first_chunk::<2>() {
                        let (nal, next) = behind.split_at(u16::from_be_bytes(*length).into());
                        nals.push(nal.to_vec());
                        rest = next;
                    }
                }
                FU_A => {
                    if payload[1] & 0x80 != 0 {
                        nals.push(vec![(payload[0] & 0xe0) | (payload[1] & 0x1f)]);
                    }
                    nals.last_mut().unwrap().extend_from_slice(&payload[2..]);
                }
                _ => nals.push(payload.to_vec()),
            }
        }
        nals
    }

    fn nal(header: u8, bytes: usize) -> Vec<u8> {
        let body = (1..bytes).map(|n| (n % 251) as u8);
        std::iter::once(header).chain(body).collect()
    }

    #[test]
    fn a_receiver_puts_the_same_nal_units_together_whatever_their_sizes() {
        let edge = RTP_PAYLOAD_BYTES_MAX;
        for bytes in [1, 2, edge - 1, edge, edge + 1, 2 * edge, 100_000] {
            let nals = [nal(0x06, 20), nal(0x65, bytes), nal(0x41, bytes)];
            let payloads = rtp_payloads(&avcc(&nals), None);
            assert_eq!(received(&payloads), nals, "{bytes} bytes");
            assert!(payloads.iter().all(|payload| payload.len() <= edge));
        }
    }

    #[test]
    fn parameter_sets_are_in_one_payload_in_front_of_the_picture() {
        let picture = nal(0x65, 5_000);
        let payloads = rtp_payloads(&avcc(std::slice::from_ref(&picture)), Some(&sets()));
        assert_eq!(payloads[0][0], REFERENCE | STAP_A);
        let whole = [SPS_720P.to_vec(), PPS.to_vec(), picture];
        assert_eq!(received(&payloads), whole);
    }

    #[test]
    fn fragments_have_one_size_but_for_the_last() {
        for bytes in [1_200, 3_000, 10_007, 123_456] {
            let payloads = rtp_payloads(&avcc(&[nal(0x65, bytes)]), None);
            let sizes: Vec<usize> = payloads.iter().map(|payload| payload.len()).collect();
            let (last, others) = sizes.split_last().unwrap();
            assert!(others.iter().all(|size| *size == sizes[0]), "{sizes:?}");
            assert!(*last <= sizes[0], "{sizes:?}");
        }
    }

    #[test]
    fn what_is_empty_makes_no_payload() {
        assert_eq!(rtp_payloads(&[], None).len(), 0);
        assert_eq!(rtp_payloads(&[0, 0, 0, 0], None).len(), 0);
    }
}
