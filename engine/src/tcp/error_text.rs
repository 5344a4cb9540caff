//! Why a connection failed: texts for the operator of a destination and the owner of a stream key.

use std::io;

use super::{Ended, trust::is_authority};

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
pub(super) const CLOSED_IN_HANDSHAKE: &str = "the server closed the connection during the TLS handshake: does this port speak TLS? For plain \
     RTMP write rtmp:// and its port";

/// Why TLS did not come about or broke. What somebody has to change (a certificate, the address, the
/// server's software) does not heal by itself.
pub(super) fn tls(error: &rustls::Error) -> Ended {
    use rustls::Error;
    match error {
        Error::InvalidCertificate(reason) => Ended::permanent(certificate(reason)),
        Error::NoCertificatesPresented => {
            Ended::permanent("the server shows no certificate: whoever runs it has to install one")
        }
        Error::InvalidMessage(_) => Ended::permanent(
            "what answers there does not speak TLS: for plain RTMP write rtmp:// and its port",
        ),
        Error::PeerIncompatible(_) => Ended::permanent(
            "the server speaks no TLS that is safe enough: it needs TLS 1.2 or 1.3 with ciphers \
             of today, so whoever runs it has to update it",
        ),
        Error::AlertReceived(alert) => alert_received(*alert),
        Error::DecryptError => Ended::retryable(
            "what came from the server was damaged on its way, or something between changes it",
        ),
        Error::PeerMisbehaved(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::PeerSentOversizedRecord => Ended::retryable(
            "the server breaks the rules of TLS: whoever runs it has to update it, or something \
             between changes what it says",
        ),
        other => {
            tracing::debug!("TLS failed: {other}");
            Ended::retryable("TLS failed on this server; its log at level debug has the details")
        }
    }
}

/// Why a certificate is not trusted, and what mends it.
fn certificate(reason: &rustls::CertificateError) -> String {
    use rustls::CertificateError as C;
    match reason {
        C::Expired | C::ExpiredContext { .. } => {
            "its certificate has expired: whoever runs it has to renew it (or this machine's \
             clock is wrong)"
        }
        C::NotValidYet | C::NotValidYetContext { .. } => {
            "its certificate is not valid yet: this machine's clock is wrong, or the server's \
             certificate is"
        }
        C::NotValidForName | C::NotValidForNameContext { .. } => {
            "its certificate is for another name: check the host in the URL, or the server's \
             certificate"
        }
        C::UnknownIssuer | C::BadSignature => {
            "its certificate is by nobody whom this machine trusts: for a private CA, or a \
             self-signed certificate, give its file with rtmps_ca_file"
        }
        C::Other(error) if is_authority(error) => {
            "its certificate is self-signed and this machine does not know it: give its file with \
             rtmps_ca_file"
        }
        C::Revoked => "its certificate is revoked: whoever runs it has to get another one",
        C::InvalidPurpose | C::InvalidPurposeContext { .. } => {
            "its certificate is not one for a server: whoever runs it has to get one with the \
             purpose 'serverAuth'"
        }
        C::UnsupportedSignatureAlgorithmContext { .. }
        | C::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "its certificate is signed in a way that is no longer safe (SHA-1, for one): whoever \
             runs it has to get another one"
        }
        other => {
            tracing::debug!("a certificate was refused: {other:?}");
            "its certificate is not made as it should be: whoever runs it has to get another one"
        }
    }
    .to_owned()
}

/// The server has ended TLS and says why (RFC 8446, 6.2).
fn alert_received(alert: rustls::AlertDescription) -> Ended {
    use rustls::AlertDescription as A;
    match alert {
        A::HandshakeFailure | A::ProtocolVersion | A::InsufficientSecurity => Ended::permanent(
            "the server and this one have no TLS in common: it needs TLS 1.2 or 1.3 with ciphers \
             of today, so whoever runs it has to update it",
        ),
        A::UnrecognisedName => Ended::permanent(
            "the server has no certificate for this name: check the host in the URL",
        ),
        A::CertificateRequired | A::BadCertificate | A::NoCertificate | A::AccessDenied => {
            Ended::permanent(
                "the server wants a certificate of this machine, which RTMPS destinations are not \
                 given: ask whoever runs it for an address without",
            )
        }
        A::InternalError => Ended::retryable("the server had an error of its own during TLS"),
        other => Ended::retryable(format!(
            "the server ended TLS for a reason of its own (alert {} of RFC 8446)",
            u8::from(other)
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::{
        AlertDescription as A, CertificateError as C, Error, InvalidMessage, OtherError,
        PeerIncompatible, PeerMisbehaved,
    };

    use super::*;

    #[test]
    fn every_tls_error_has_a_plain_reason_and_is_retryable_or_not() {
        let authority = OtherError(Arc::new(webpki::Error::CaUsedAsEndEntity));
        let odd = OtherError(Arc::new(webpki::Error::UnsupportedCertVersion));
        for (error, retryable, says) in [
            (C::Expired.into(), false, "renew"),
            (C::UnknownIssuer.into(), false, "rtmps_ca_file"),
            (C::Other(authority).into(), false, "rtmps_ca_file"),
            (C::Other(odd).into(), false, "another one"),
            (C::InvalidPurpose.into(), false, "serverAuth"),
            (C::BadEncoding.into(), false, "another one"),
            (C::UnhandledCriticalExtension.into(), false, "another one"),
            (Error::NoCertificatesPresented, false, "install"),
            (InvalidMessage::InvalidContentType.into(), false, "rtmp://"),
            (
                PeerIncompatible::NoCipherSuitesInCommon.into(),
                false,
                "TLS 1.2",
            ),
            (
                PeerMisbehaved::IllegalTlsInnerPlaintext.into(),
                true,
                "update",
            ),
            (Error::DecryptError, true, "damaged"),
            (Error::AlertReceived(A::ProtocolVersion), false, "TLS 1.2"),
            (Error::AlertReceived(A::UnrecognisedName), false, "host"),
            (
                Error::AlertReceived(A::CertificateRequired),
                false,
                "certificate",
            ),
            (
                Error::AlertReceived(A::InternalError),
                true,
                "error of its own",
            ),
            (Error::AlertReceived(A::DecodeError), true, "alert 50"),
            (Error::General("raw words".into()), true, "log"),
        ] {
            let ended = tls(&error);
            assert_eq!(ended.retryable, retryable, "{error:?}: {ended:?}");
            assert!(ended.reason.contains(says), "{error:?}: {}", ended.reason);
            // The names of enums are two capitals in one word.
            let raw = |word: &str| {
                let capitals = |c: char| c.is_ascii_uppercase();
                word.chars().any(char::is_lowercase) && word.matches(capitals).count() > 1
            };
            let words = ended.reason.split(|c: char| !c.is_alphanumeric());
            assert!(!words.clone().any(raw), "{}", ended.reason);
        }
    }
}
