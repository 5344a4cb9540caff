//! What of a peer's SCTP reaches str0m.
//!
//! A peer may send data on 65,536 streams (RFC 9260, 3.3.1) without opening a channel on any. The stack below
//! makes each of them, looks at all of them whenever it is asked for output, which is at each packet of media,
//! bounds neither, and tells nothing of a stream without a channel. It also keeps something of each association
//! that a peer begins. So packets are looked at where they leave DTLS: who uses more than anybody needs is
//! answered as one who has closed its connection, and its session ends.
//!
//! The stack finds the next chunk of a packet by what it has understood of the one before, not by the length on
//! the wire. A chunk whose length says more than its content would hide others from this file, so a packet with
//! one is left out ([`fills`]).

use std::time::Instant;

use str0m::crypto::{
    CryptoError,
    dtls::{
        DtlsCert, DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion,
        ProtocolVersion,
    },
};

use crate::limits::{DATA_ASSOCIATIONS_MAX, DATA_STREAMS_MAX};

/// Kinds of chunks (RFC 9260, 3.2; RFC 3758; RFC 6525; RFC 8260).
mod chunk {
    pub(super) const DATA: u8 = 0;
    pub(super) const INIT: u8 = 1;
    pub(super) const INIT_ACK: u8 = 2;
    pub(super) const SACK: u8 = 3;
    pub(super) const HEARTBEAT: u8 = 4;
    pub(super) const ABORT: u8 = 6;
    pub(super) const SHUTDOWN: u8 = 7;
    pub(super) const SHUTDOWN_ACK: u8 = 8;
    pub(super) const ERROR: u8 = 9;
    pub(super) const COOKIE_ECHO: u8 = 10;
    pub(super) const COOKIE_ACK: u8 = 11;
    pub(super) const SHUTDOWN_COMPLETE: u8 = 14;
    pub(super) const RECONFIG: u8 = 130;
    pub(super) const FORWARD_TSN: u8 = 192;
    pub(super) const I_FORWARD_TSN: u8 = 194;
}

/// Kinds of parameters whose length the stack takes as given.
mod parameter {
    pub(super) const RECONFIG_RESPONSE: u16 = 16;
    pub(super) const HMAC_ALGORITHMS: u16 = 0x8004;
    pub(super) const FORWARD_TSN: u16 = 0xc000;
}

/// Bytes before the first chunk, of a chunk's head, and of the fixed part of INIT.
const PACKET_HEAD: usize = 12;
const CHUNK_HEAD: usize = 4;
const INIT_FIXED: usize = 16;

/// DTLS of the crypto that str0m is built with, with the guard behind it.
#[derive(Debug)]
pub(super) struct GuardedDtls;

impl GuardedDtls {
    fn inner() -> &'static dyn DtlsProvider {
        str0m::crypto::from_feature_flags().dtls_provider
    }
}

impl DtlsProvider for GuardedDtls {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        Self::inner().generate_certificate()
    }

    fn new_dtls(
        &self,
        cert: &DtlsCert,
        now: Instant,
        dtls_version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        let inner = Self::inner().new_dtls(cert, now, dtls_version, mtu)?;
        Ok(Box::new(Guarded {
            inner,
            guard: Guard::default(),
        }))
    }

    fn is_test(&self) -> bool {
        Self::inner().is_test()
    }
}

#[derive(Debug)]
struct Guarded {
    inner: Box<dyn DtlsInstance>,
    guard: Guard,
}

impl DtlsInstance for Guarded {
    fn set_active(&mut self, active: bool) {
        self.inner.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.inner.handle_packet(packet)
    }

    fn poll_output<'a>(&mut self, buf: &'a mut [u8]) -> DtlsOutput<'a> {
        match self.inner.poll_output(buf) {
            DtlsOutput::ApplicationData(packet) => match self.guard.look(packet) {
                Verdict::Passes => DtlsOutput::ApplicationData(packet),
                // SCTP leaves an empty packet alone.
                Verdict::LeftOut => DtlsOutput::ApplicationData(&[]),
                Verdict::TooMuch => DtlsOutput::CloseNotify,
            },
            other => other,
        }
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.inner.handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        self.inner.send_application_data(data)
    }

    fn is_active(&self) -> bool {
        self.inner.is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.inner.protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.inner.is_closing()
    }

    fn is_closed(&self) -> bool {
        self.inner.is_closed()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.inner.close()
    }
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Passes,
    LeftOut,
    /// The session is to end.
    TooMuch,
}

/// Of one peer.
#[derive(Debug, Default)]
struct Guard {
    associations: u32,
    is_over: bool,
}

impl Guard {
    fn look(&mut self, packet: &[u8]) -> Verdict {
        if self.is_over {
            return Verdict::LeftOut;
        }
        let Some(mut rest) = packet.get(PACKET_HEAD..) else {
            return Verdict::LeftOut;
        };
        while !rest.is_empty() {
            let Some((kind, body, behind)) = next_chunk(rest) else {
                return Verdict::LeftOut;
            };
            if !fills(kind, body) {
                return Verdict::LeftOut;
            }
            self.associations += u32::from(kind == chunk::INIT);
            if self.associations > DATA_ASSOCIATIONS_MAX || streams_beyond(kind, body) {
                tracing::debug!("a peer uses more SCTP streams or associations than it may");
                self.is_over = true;
                return Verdict::TooMuch;
            }
            rest = behind;
        }
        Verdict::Passes
    }
}

/// The first chunk: its kind, what is in it, and what comes behind.
fn next_chunk(rest: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let length = usize::from(number(rest, 2)?);
    let body = rest.get(CHUNK_HEAD..length)?;
    let behind = rest.get(length.next_multiple_of(4)..)?;
    Some((*rest.first()?, body, behind))
}

/// Whether the content of a chunk is as long as the chunk, as the stack below understands it. Of kinds that the
/// stack does not know it takes no packet.
fn fills(kind: u8, body: &[u8]) -> bool {
    let length = body.len();
    match kind {
        chunk::DATA => length >= 12,
        chunk::INIT | chunk::INIT_ACK => {
            let parameters = body.get(INIT_FIXED..);
            parameters.is_some_and(|it| parameters_fill(it, usize::MAX))
        }
        chunk::SACK => {
            let [gaps, duplicates] = [8, 10].map(|at| number(body, at).map(usize::from));
            let blocks = gaps.zip(duplicates);
            blocks.is_some_and(|(gaps, duplicates)| length == 12 + 4 * (gaps + duplicates))
        }
        // One parameter, or one cause.
        chunk::HEARTBEAT | chunk::ERROR => is_one(body),
        chunk::ABORT => body.is_empty() || is_one(body),
        chunk::SHUTDOWN => length == 4,
        chunk::SHUTDOWN_ACK | chunk::SHUTDOWN_COMPLETE | chunk::COOKIE_ACK => body.is_empty(),
        chunk::COOKIE_ECHO => true,
        chunk::RECONFIG => !body.is_empty() && parameters_fill(body, 2),
        chunk::FORWARD_TSN => length >= 4 && length.is_multiple_of(4),
        chunk::I_FORWARD_TSN => length >= 4 && (length - 4).is_multiple_of(8),
        _ => false,
    }
}

fn is_one(body: &[u8]) -> bool {
    number(body, 2).is_some_and(|length| usize::from(length) == body.len())
}

/// At most so many parameters, one behind the other, padded to words but for the last (RFC 9260, 3.2.1).
fn parameters_fill(mut rest: &[u8], at_most: usize) -> bool {
    for _ in 0..at_most {
        if rest.is_empty() {
            return true;
        }
        let (Some(kind), Some(length)) = (number(rest, 0), number(rest, 2)) else {
            return false;
        };
        let length = usize::from(length);
        let is_known = match kind {
            parameter::FORWARD_TSN => length == 4,
            parameter::RECONFIG_RESPONSE => length == 12,
            parameter::HMAC_ALGORITHMS => length >= 4 && length.is_multiple_of(2),
            _ => length >= 4,
        };
        if !is_known || length > rest.len() {
            return false;
        }
        rest = match rest.get(length.next_multiple_of(4)..) {
            Some(behind) => behind,
            None if length == rest.len() => return true,
            None => return false,
        };
    }
    rest.is_empty()
}

/// Whether a chunk names a stream beyond those that a peer may use.
fn streams_beyond(kind: u8, body: &[u8]) -> bool {
    let beyond = |stream: u16| stream >= DATA_STREAMS_MAX;
    let any = |entry: usize| {
        let mut entries = body.get(4..).unwrap_or_default().chunks(entry);
        entries.any(|entry| number(entry, 0).is_some_and(beyond))
    };
    match kind {
        chunk::DATA => number(body, 4).is_some_and(beyond),
        chunk::FORWARD_TSN => any(4),
        chunk::I_FORWARD_TSN => any(8),
        _ => false,
    }
}

/// A number of 16 bits at an offset.
fn number(bytes: &[u8], at: usize) -> Option<u16> {
    let two = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_be_bytes(*two))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk_of(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len() + 4).unwrap().to_be_bytes();
        let mut chunk = [&[kind, 3], &length[..], body].concat();
        chunk.resize(chunk.len().next_multiple_of(4), 0);
        chunk
    }

    fn data(stream: u16) -> Vec<u8> {
        let stream = stream.to_be_bytes();
        chunk_of(
            chunk::DATA,
            &[&[0, 0, 0, 1], &stream[..], &[0, 0, 0, 0, 0, 51, b'x']].concat(),
        )
    }

    fn packet(chunks: &[Vec<u8>]) -> Vec<u8> {
        [vec![0; PACKET_HEAD], chunks.concat()].concat()
    }

    fn look(chunks: &[Vec<u8>]) -> Verdict {
        Guard::default().look(&packet(chunks))
    }

    fn sack(gaps: u16, body: usize) -> Vec<u8> {
        let gaps = gaps.to_be_bytes();
        let mut body_of = [&[0; 8], &gaps[..], &[0, 0]].concat();
        body_of.resize(body, 0);
        chunk_of(chunk::SACK, &body_of)
    }

    #[test]
    fn what_browsers_send_passes() {
        let init = chunk_of(
            chunk::INIT,
            &[&[0; 16], &[0xc0, 0, 0, 4, 0x80, 8, 0, 6, 192, 130][..]].concat(),
        );
        let reset = [
            &[0, 13, 0, 18],
            &[0; 12][..],
            &[0, 1, 0, 0],
            &[0, 16, 0, 12, 0, 0, 0, 0, 0, 0, 0, 1],
        ];
        for chunks in [
            vec![init],
            vec![chunk_of(chunk::COOKIE_ECHO, &[1; 7]), data(0)],
            vec![sack(0, 12), data(1), data(DATA_STREAMS_MAX - 1)],
            vec![
                sack(2, 20),
                chunk_of(chunk::RECONFIG, &reset.concat()),
                data(2),
            ],
            vec![chunk_of(chunk::HEARTBEAT, &[0, 1, 0, 6, 9, 9]), data(0)],
            vec![chunk_of(chunk::FORWARD_TSN, &[0, 0, 0, 1, 0, 1, 0, 9])],
            vec![chunk_of(chunk::ABORT, &[])],
        ] {
            assert_eq!(look(&chunks), Verdict::Passes, "{chunks:?}");
        }
    }

    #[test]
    fn a_stream_beyond_what_a_peer_may_use_ends_the_session_wherever_it_stands() {
        let forward = |kind, entry: usize| {
            let mut body = vec![0; 4 + 3 * entry];
            body[4 + 2 * entry] = 0x80;
            chunk_of(kind, &body)
        };
        for chunks in [
            vec![data(DATA_STREAMS_MAX)],
            vec![data(0), sack(1, 16), data(u16::MAX)],
            vec![forward(chunk::FORWARD_TSN, 4)],
            vec![forward(chunk::I_FORWARD_TSN, 8)],
        ] {
            let mut guard = Guard::default();
            assert_eq!(guard.look(&packet(&chunks)), Verdict::TooMuch, "{chunks:?}");
            assert_eq!(guard.look(&packet(&[data(0)])), Verdict::LeftOut);
        }
    }

    #[test]
    fn a_chunk_that_says_to_be_longer_than_its_content_hides_nothing() {
        let hidden = data(u16::MAX);
        let behind = |head: &[u8]| [head, &hidden].concat();
        let three = [&[0, 16, 0, 12, 0, 0, 0, 0, 0, 0, 0, 1][..]; 2];
        for chunk in [
            sack(0, 12 + hidden.len()),
            chunk_of(chunk::HEARTBEAT, &behind(&[0, 1, 0, 4])),
            chunk_of(chunk::ERROR, &behind(&[0, 3, 0, 4])),
            chunk_of(chunk::ABORT, &behind(&[0, 12, 0, 4])),
            chunk_of(chunk::COOKIE_ACK, &hidden),
            chunk_of(chunk::RECONFIG, &behind(&[0, 16, 0, 32])),
            chunk_of(chunk::RECONFIG, &[three[0], three[1], &hidden[..]].concat()),
            chunk_of(
                chunk::INIT_ACK,
                &behind(&[&[0; 16], &[0xc0, 0, 0, 32][..]].concat()),
            ),
            chunk_of(5, &[0, 1, 0, 4]),
        ] {
            let chunks = [chunk, data(0)];
            assert_ne!(look(&chunks), Verdict::Passes, "{chunks:?}");
        }
    }

    #[test]
    fn a_peer_that_begins_associations_without_end_is_ended() {
        let mut guard = Guard::default();
        let init = packet(&[chunk_of(chunk::INIT, &[0; 16])]);
        for _ in 0..DATA_ASSOCIATIONS_MAX {
            assert_eq!(guard.look(&init), Verdict::Passes);
        }
        assert_eq!(guard.look(&init), Verdict::TooMuch);
    }

    #[test]
    fn a_packet_that_is_cut_anywhere_is_no_error() {
        let whole = packet(&[sack(1, 16), data(3), chunk_of(chunk::INIT, &[0; 20])]);
        for length in 0..whole.len() {
            Guard::default().look(&whole[..length]);
        }
    }
}
