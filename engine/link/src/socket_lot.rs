//! How control leaves a connected socket with the engine.
//!
//! Control accepts the connections of encoders and reads them up to `publish`, so that what is idle, slow or
//! hostile never reaches an executor. Then it connects to the Unix socket [`FILE_NAME`] in the link's folder
//! and sends one message: a name of [`NAME_BYTES`] bytes, with the socket's descriptor beside it
//! (`SCM_RIGHTS`, unix(7)). The engine answers with one byte once it has the descriptor. A
//! [`Command`](crate::Command) with that name, sent over the link of a shard afterwards, takes it.

/// The Unix socket's name in the folder of the link.
pub const FILE_NAME: &str = "sockets.sock";
/// Bytes of a name: 32 random characters, so that no two are alike.
pub const NAME_BYTES: usize = 32;
/// What the engine answers.
pub const TAKEN: u8 = b'+';
/// Most of what a client has sent that is handed over, in bytes. Encoders send 3 KB of handshake and at
/// most 2 KB of commands before they wait for the answer to `publish`.
pub const READ_BYTES_MAX: usize = 32 << 10;
