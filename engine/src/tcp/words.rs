//! Why a connection failed, in words for whoever runs the destination or owns the stream key.

use std::io;

/// Why it could not be made.
pub(super) fn not_connected(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED) => {
            "connection refused: nothing listens on that port, or a firewall rejects us".into()
        }
        Some(libc::ETIMEDOUT) => "connecting timed out: the server does not answer".into(),
        Some(libc::EHOSTUNREACH) => "no route to the host".into(),
        Some(libc::ENETUNREACH | libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT) => {
            "this machine has no network towards that address".into()
        }
        Some(libc::EACCES | libc::EPERM) => {
            "a firewall on this machine forbids the connection".into()
        }
        Some(libc::EMFILE | libc::ENFILE) => {
            "this machine has no more file descriptors: raise the limit (LimitNOFILE)".into()
        }
        _ => format!("cannot connect: {error}"),
    }
}

/// Why it ended.
pub(super) fn broken(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ECONNRESET) => "connection reset by the server".into(),
        Some(libc::EPIPE) => "the server closed the connection while we were sending".into(),
        Some(libc::ETIMEDOUT) => "timed out: the server stopped acknowledging".into(),
        Some(libc::EHOSTUNREACH | libc::ENETUNREACH) => {
            "the network towards the server was lost".into()
        }
        _ => format!("the connection broke: {error}"),
    }
}

/// The peer has closed its side.
pub(super) const CLOSED_BY_PEER: &str = "the server closed the connection";
