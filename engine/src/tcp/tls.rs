//! TLS of our connections to destinations: rustls between the shard's slices and the socket.
//!
//! ```text
//!   slices ──► plain queue ──(sealed when the wire is idle)──► wire queue ──► kernel
//! ```
//!
//! Only so much is sealed at a time as one round of writing takes, so that what waits stays plain
//! and is counted as the shard counts it.

use std::{
    io::{self, Read, Write},
    sync::Arc,
};

use bytes::Bytes;
use rustls::{ClientConfig, ClientConnection, ProtocolVersion, pki_types::ServerName};

use super::{Ended, error_text, queue::WriteQueue};
use crate::limits::{TLS_SEALED_BYTES_MAX, TLS12_RECORDS_MAX};

/// How many TLS records these are (RFC 8446, 5.1).
fn count(mut records: &[u8]) -> u64 {
    let mut count = 0;
    while let [_, _, _, high, low, rest @ ..] = records {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        records = rest.get(length..).unwrap_or_default();
        count += 1;
    }
    count
}

/// The TLS session of one connection.
#[derive(Debug)]
pub(super) struct Tls {
    session: ClientConnection,
    /// What the shard has written and is not sealed yet.
    pub(super) plain: WriteQueue,
    /// Bytes of it that lie sealed on the wire queue.
    sealed_bytes: usize,
    /// Sealed on this connection.
    records: u64,
    /// A close_notify alert is to be sent (RFC 8446, 6.1).
    closing: bool,
    /// The peer has sent its close_notify alert.
    peer_closed: bool,
}

impl Tls {
    /// # Errors
    /// When `server` can be no name in a certificate.
    pub(super) fn new(config: &Arc<ClientConfig>, server: &str) -> Result<Self, Ended> {
        let name = ServerName::try_from(server.to_owned()).map_err(|_| {
            Ended::permanent(format!(
                "'{server}' cannot be the name in a certificate: check the host in the URL"
            ))
        })?;
        let mut session = ClientConnection::new(Arc::clone(config), name)
            .map_err(|error| error_text::tls(&error))?;
        // What is sealed is bounded here, by what is taken from the plain queue.
        session.set_buffer_limit(None);
        Ok(Self {
            session,
            plain: WriteQueue::default(),
            sealed_bytes: 0,
            records: 0,
            closing: false,
            peer_closed: false,
        })
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.session.is_handshaking()
    }

    /// The peer sends nothing more (RFC 8446, 6.1).
    pub(super) fn is_closed_by_peer(&self) -> bool {
        self.peer_closed
    }

    /// What has been received; plain text is appended to `plain`.
    pub(super) fn open(
        &mut self,
        mut received: &[u8],
        plain: &mut Vec<u8>,
    ) -> Result<(), rustls::Error> {
        // Bytes behind a close_notify are ignored (RFC 8446, 6.1), and rustls takes none of them.
        while !received.is_empty() && !self.peer_closed {
            // Reading from a slice cannot fail; a full buffer is emptied below.
            match self.session.read_tls(&mut received) {
                Ok(1..) => {}
                _ => return Err(rustls::Error::General("too much at once".into())),
            }
            let state = self.session.process_new_packets()?;
            self.peer_closed = state.peer_has_closed();
            let mut reader = self
                .session
                .reader()
                .take(state.plaintext_bytes_to_read() as u64);
            // `WouldBlock` says that there is no more.
            let _ = reader.read_to_end(plain);
        }
        Ok(())
    }

    /// Moves the records of TLS itself, and what is to be sealed while the wire is idle, onto `wire`.
    pub(super) fn seal(&mut self, wire: &mut WriteQueue) -> io::Result<()> {
        if wire.is_empty() && !self.session.is_handshaking() {
            while self.sealed_bytes < TLS_SEALED_BYTES_MAX && !self.plain.is_empty() {
                // Gathered, so that chunk headers do not become records of their own.
                let room = TLS_SEALED_BYTES_MAX - self.sealed_bytes;
                let parts = self.plain.gather(room);
                let taken = self.session.writer().write_vectored(&parts)?;
                if taken == 0 {
                    break;
                }
                self.sealed_bytes += taken;
                self.plain.advance(taken);
            }
            if self.closing && self.plain.is_empty() {
                self.session.send_close_notify();
                self.closing = false;
            }
        }
        let mut records = Vec::new();
        while self.session.wants_write() {
            self.session.write_tls(&mut records)?;
        }
        if !records.is_empty() {
            self.records += count(&records);
            wire.push(vec![Bytes::from(records)]);
        }
        if self.records > TLS12_RECORDS_MAX
            && self.session.protocol_version() == Some(ProtocolVersion::TLSv1_2)
        {
            return Err(io::Error::other(
                "its TLS 1.2 key has sealed as much as one key may; a new connection gets a new key",
            ));
        }
        Ok(())
    }

    /// Plain bytes that the kernel has taken, once all that was sealed has left.
    pub(super) fn accepted(&mut self, wire: &WriteQueue) -> usize {
        if wire.is_empty() {
            std::mem::take(&mut self.sealed_bytes)
        } else {
            0
        }
    }

    /// Sends a close_notify alert behind everything that waits (RFC 8446, 6.1).
    pub(super) fn close(&mut self) {
        self.closing = true;
    }

    /// Whether nothing waits to be sealed.
    pub(super) fn is_idle(&self) -> bool {
        self.plain.is_empty() && !self.closing
    }
}
