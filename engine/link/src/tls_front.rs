//! How control has the engine speak TLS with an encoder.
//!
//! An encoder that publishes by RTMPS is accepted by control, and its media shall flow when control is gone. So TLS
//! ends in the engine, which goes on: control makes a pair of connected sockets, connects to the Unix socket
//! [`FILE_NAME`] in the link's folder and sends one message there, with two descriptors beside its first bytes
//! (`SCM_RIGHTS`, unix(7)): the encoder's socket, and one end of the pair. The other end speaks plain RTMP from then
//! on: control reads it up to `publish`, and leaves it with a shard ([`crate::socket_lot`]), as it does with any.
//!
//! The message is a length of four bytes, and so many bytes of PEM: the certificate chain, then the private key. The
//! engine answers with one byte once it has all.

/// The Unix socket's name in the folder of the link.
pub const FILE_NAME: &str = "tls.sock";
/// What the engine answers.
pub const TAKEN: u8 = b'+';
/// Longest chain with its key, in bytes. Real ones have 4 to 10 KB.
pub const PEM_BYTES_MAX: usize = 64 << 10;
