//! Why a connection failed, in words for whoever runs the destination or owns the stream key.

use std::io;

use super::Ended;

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

/// The peer has closed its side before TLS stood.
pub(super) const CLOSED_IN_HANDSHAKE: &str =
    "the server closed the connection during the TLS handshake: is it an rtmp:// address or port?";

/// Why TLS did not come about or broke. A certificate that is not believed stays so until somebody
/// changes it.
pub(super) fn tls(error: &rustls::Error) -> Ended {
    use rustls::{CertificateError as C, Error};
    match error {
        Error::InvalidCertificate(reason) => Ended::lasting(match reason {
            C::Expired | C::ExpiredContext { .. } => {
                "its certificate has expired: whoever runs it has to renew it (or this machine's \
                 clock is wrong)"
                    .to_owned()
            }
            C::NotValidYet | C::NotValidYetContext { .. } => {
                "its certificate is not valid yet: this machine's clock is wrong, or the server's \
                 certificate is"
                    .to_owned()
            }
            C::NotValidForName | C::NotValidForNameContext { .. } => {
                "its certificate is for another name: check the host in the URL, or the server's \
                 certificate"
                    .to_owned()
            }
            C::UnknownIssuer | C::BadSignature => {
                "its certificate is by nobody whom this machine trusts: for a private CA give its \
                 file with rtmps_ca_file"
                    .to_owned()
            }
            C::Revoked => "its certificate is revoked".to_owned(),
            other => format!("its certificate is not believed ({other:?})"),
        }),
        Error::InvalidMessage(_) => Ended::lasting(
            "what answers there does not speak TLS: is it an rtmp:// address or port?",
        ),
        Error::PeerIncompatible(what) => Ended::lasting(format!(
            "the server speaks no TLS that is safe enough ({what:?})"
        )),
        Error::AlertReceived(alert) => Ended::passing(format!("the server ended TLS ({alert:?})")),
        other => Ended::passing(format!("TLS failed: {other}")),
    }
}
