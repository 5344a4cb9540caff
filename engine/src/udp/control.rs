//! Control messages (`cmsg(3)`) as bytes: what a datagram carries beside its payload.
//!
//! Written and read without pointers, so that it can be tested byte for byte.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Room for the control messages of one datagram: a packet info of IPv6 and a segment size take
/// 40 + 24 bytes.
pub(crate) const CONTROL_BYTES: usize = 128;

const ALIGN: usize = size_of::<usize>();
/// `struct cmsghdr`: its length as a `size_t`, then level and type as `int`.
const HEADER_BYTES: usize = ALIGN + 8;
const IN_PKTINFO_BYTES: usize = 12;
const IN6_PKTINFO_BYTES: usize = 20;

/// What was received beside the payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Received {
    /// Length of each datagram that GRO has joined into this one; the last may be shorter.
    pub(crate) segment_bytes: Option<usize>,
    /// The local address it came to.
    pub(crate) to: Option<IpAddr>,
}

/// Reads the control messages of one datagram. Unknown or damaged ones are passed over.
pub(crate) fn read(mut control: &[u8]) -> Received {
    let mut received = Received::default();
    while let Some((message_bytes, level, kind)) = read_header(control) {
        let Some(data) = control.get(HEADER_BYTES..message_bytes) else {
            break;
        };
        match (level, kind) {
            (libc::SOL_UDP, libc::UDP_GRO) => {
                received.segment_bytes = data
                    .first_chunk()
                    .and_then(|size| usize::try_from(i32::from_ne_bytes(*size)).ok())
                    .filter(|size| *size > 0);
            }
            // struct in_pktinfo: interface, the address it was routed to, the address it named.
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                received.to = data
                    .get(8..IN_PKTINFO_BYTES)
                    .and_then(|address| <[u8; 4]>::try_from(address).ok())
                    .map(|address| IpAddr::V4(Ipv4Addr::from(address)));
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                received.to = data
                    .first_chunk::<16>()
                    .map(|address| IpAddr::V6(Ipv6Addr::from(*address)).to_canonical());
            }
            _ => {}
        }
        let Some(rest) = control.get(message_bytes.next_multiple_of(ALIGN)..) else {
            break;
        };
        control = rest;
    }
    received
}

fn read_header(control: &[u8]) -> Option<(usize, i32, i32)> {
    let length = usize::from_ne_bytes(*control.first_chunk()?);
    let level = i32::from_ne_bytes(*control.get(ALIGN..)?.first_chunk()?);
    let kind = i32::from_ne_bytes(*control.get(ALIGN + 4..)?.first_chunk()?);
    (HEADER_BYTES..=control.len())
        .contains(&length)
        .then_some((length, level, kind))
}

/// Control messages for one send.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    bytes: Vec<u8>,
}

impl Sent {
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The payload is to be cut into datagrams of this size. A size over 65,535 cannot be asked
    /// for, and no datagram has it.
    pub(crate) fn segment(&mut self, bytes: usize) {
        let bytes = u16::try_from(bytes).unwrap_or(u16::MAX);
        self.push(libc::SOL_UDP, libc::UDP_SEGMENT, &bytes.to_ne_bytes());
    }

    /// The datagram leaves from `from`. On an IPv6 socket an IPv4 address is given mapped.
    pub(crate) fn source(&mut self, from: IpAddr, socket_is_v6: bool) {
        match from {
            IpAddr::V4(from) if !socket_is_v6 => {
                let mut info = [0; IN_PKTINFO_BYTES];
                // ipi_spec_dst, behind the interface index.
                for (to, octet) in info.iter_mut().skip(4).zip(from.octets()) {
                    *to = octet;
                }
                self.push(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
            }
            from => {
                let from = match from {
                    IpAddr::V4(from) => from.to_ipv6_mapped(),
                    IpAddr::V6(from) => from,
                };
                let mut info = [0; IN6_PKTINFO_BYTES];
                for (to, octet) in info.iter_mut().zip(from.octets()) {
                    *to = octet;
                }
                self.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
            }
        }
    }

    fn push(&mut self, level: i32, kind: i32, data: &[u8]) {
        self.bytes
            .extend_from_slice(&(HEADER_BYTES + data.len()).to_ne_bytes());
        self.bytes.extend_from_slice(&level.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(data);
        self.bytes
            .resize(self.bytes.len().next_multiple_of(ALIGN), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(level: i32, kind: i32, data: &[u8]) -> Vec<u8> {
        let mut sent = Sent::default();
        sent.push(level, kind, data);
        sent.bytes
    }

    #[test]
    fn a_segment_size_and_an_address_are_read_in_any_order() {
        let gro = message(libc::SOL_UDP, libc::UDP_GRO, &1_200_i32.to_ne_bytes());
        let info = message(
            libc::IPPROTO_IP,
            libc::IP_PKTINFO,
            &[1, 0, 0, 0, 10, 0, 0, 1, 192, 0, 2, 7],
        );
        let expected = Received {
            segment_bytes: Some(1_200),
            to: Some(IpAddr::from([192, 0, 2, 7])),
        };
        assert_eq!(read(&[gro.clone(), info.clone()].concat()), expected);
        assert_eq!(read(&[info, gro].concat()), expected);
    }

    #[test]
    fn an_unknown_message_is_passed_over() {
        let other = message(libc::SOL_SOCKET, libc::SO_TIMESTAMP, &[9; 16]);
        let gro = message(libc::SOL_UDP, libc::UDP_GRO, &33_i32.to_ne_bytes());
        assert_eq!(read(&[other, gro].concat()).segment_bytes, Some(33));
    }

    #[test]
    fn control_cut_anywhere_or_with_a_wrong_length_is_survived() {
        let whole = message(libc::SOL_UDP, libc::UDP_GRO, &1_200_i32.to_ne_bytes());
        for end in 0..whole.len() {
            read(&whole[..end]);
        }
        for length in [0_usize, 1, HEADER_BYTES - 1, 4_096, usize::MAX] {
            let mut damaged = whole.clone();
            damaged[..ALIGN].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(read(&damaged), Received::default(), "length {length}");
        }
    }

    #[test]
    fn an_ipv4_source_on_an_ipv6_socket_is_given_mapped_and_read_back_plain() {
        let mut sent = Sent::default();
        sent.source(IpAddr::from([192, 0, 2, 7]), true);
        assert_eq!(read(sent.as_bytes()).to, Some(IpAddr::from([192, 0, 2, 7])));
        assert_eq!(sent.as_bytes().len() % ALIGN, 0);
    }

    #[test]
    fn all_that_is_sent_with_one_datagram_fits_the_room_for_it() {
        let mut sent = Sent::default();
        sent.source(IpAddr::from([0; 16]), true);
        sent.segment(1_200);
        assert!(sent.as_bytes().len() <= CONTROL_BYTES);
    }
}
