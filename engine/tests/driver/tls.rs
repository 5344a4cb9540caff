//! TLS towards a destination: all bytes arrive whole in both directions, both sides send close_notify,
//! and a certificate that is not trusted is reported with a reason, as not retryable.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread::{JoinHandle, spawn},
};

use bytes::Bytes;
use rcgen::{BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};
use shardcast_core::io::{Close, ConnId, Output};
use shardcast_engine::{RootsError, TrustedRoots};

use crate::rig::{PATIENCE, Rig, Seen, system_roots};

const CONN: ConnId = ConnId::numbered(1);

/// A certificate authority of this test, and a file that makes it believed.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: tempfile::NamedTempFile,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(issuer.pem().as_bytes()).unwrap();
        Self { issuer, file }
    }

    fn roots(&self) -> TrustedRoots {
        TrustedRoots::load(Some(self.file.path())).unwrap()
    }

    /// A server with a certificate for `name`; `expired` ended in the year 2001.
    fn serve<T: Send + 'static>(
        &self,
        name: &str,
        expired: bool,
        work: impl FnOnce(StreamOwned<ServerConnection, TcpStream>) -> T + Send + 'static,
    ) -> (SocketAddr, JoinHandle<T>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        if expired {
            params.not_before = rcgen::date_time_ymd(2000, 1, 1);
            params.not_after = rcgen::date_time_ymd(2001, 1, 1);
        }
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        serve(certificate.der().clone(), &key, work)
    }
}

/// A self-signed certificate that calls itself an authority or does not, its key, and a
/// file that lists it.
fn self_signed(name: &str, is_ca: bool, expired: bool) -> (Certificate, KeyPair, TrustedRoots) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    if is_ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    if expired {
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    }
    let certificate = params.self_signed(&key).unwrap();
    let roots = listing(&certificate);
    (certificate, key, roots)
}

fn listing(certificate: &Certificate) -> TrustedRoots {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(certificate.pem().as_bytes()).unwrap();
    TrustedRoots::load(Some(file.path())).unwrap()
}

/// A server with this certificate.
fn serve<T: Send + 'static>(
    certificate: CertificateDer<'static>,
    key: &KeyPair,
    work: impl FnOnce(StreamOwned<ServerConnection, TcpStream>) -> T + Send + 'static,
) -> (SocketAddr, JoinHandle<T>) {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let session = ServerConnection::new(Arc::new(config)).unwrap();
        work(StreamOwned::new(session, stream))
    });
    (address, server)
}

fn connect(rig: &Rig, addr: SocketAddr, server: &str) {
    rig.ask([Output::Connect {
        conn: CONN,
        addr,
        tls: Some(server.into()),
    }]);
}

/// Why it was closed, and whether that is retryable.
fn closed(rig: &Rig) -> (String, bool) {
    loop {
        match rig.next() {
            Seen::Closed(CONN, reason, retryable) => return (reason, retryable),
            Seen::Accepted(..) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_is_written_arrives_whole_and_in_order_before_close_notify() {
    let authority = Authority::new();
    let (address, server) = authority.serve("live.example", false, |mut stream| {
        let mut read = Vec::new();
        // An end without good-bye would be an error here.
        stream.read_to_end(&mut read).map(|_| read)
    });
    let rig = Rig::believing(authority.roots());
    connect(&rig, address, "live.example");
    assert_eq!(rig.next(), Seen::Connected(CONN));
    let piece = |n: usize| Bytes::from(vec![n as u8; 1_000 + n * 37]);
    let slices: Vec<Bytes> = (0..400).map(piece).collect();
    let sent: Vec<u8> = slices.concat();
    for part in slices.chunks(7) {
        rig.write(CONN, part.to_vec());
    }
    let mut accepted = 0;
    while accepted < sent.len() {
        match rig.next() {
            Seen::Accepted(CONN, bytes) => accepted += bytes,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(accepted, sent.len());
    rig.ask([Output::Close {
        conn: CONN,
        how: Close::Flush,
    }]);
    let read = server.join().unwrap().unwrap();
    assert!(read == sent, "{} of {} bytes", read.len(), sent.len());
}

#[test]
fn what_the_server_sends_comes_back_and_its_close_notify_is_an_end() {
    let authority = Authority::new();
    let (address, server) = authority.serve("127.0.0.1", false, |mut stream| {
        stream.write_all(b"hello").unwrap();
        let mut heard = [0; 5];
        stream.read_exact(&mut heard).unwrap();
        stream.write_all(&heard).unwrap();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
        // The connection stays open: good-bye alone has to be enough.
        let _ = stream.sock.read(&mut [0; 100]);
        heard
    });
    let rig = Rig::believing(authority.roots());
    connect(&rig, address, "127.0.0.1");
    assert_eq!(rig.next(), Seen::Connected(CONN));
    assert_eq!(rig.next(), Seen::Received(CONN, b"hello".to_vec()));
    rig.write(CONN, vec![Bytes::from_static(b"12345")]);
    assert_eq!(rig.next(), Seen::Accepted(CONN, 5));
    assert_eq!(rig.next(), Seen::Received(CONN, b"12345".to_vec()));
    let (reason, retryable) = closed(&rig);
    assert!(retryable && reason.contains("closed"), "{reason}");
    assert_eq!(&server.join().unwrap(), b"12345");
}

#[test]
fn what_comes_behind_a_good_bye_is_not_looked_at_and_the_shard_goes_on() {
    let authority = Authority::new();
    let (address, server) = authority.serve("127.0.0.1", false, |mut stream| {
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).unwrap();
        }
        stream.conn.send_close_notify();
        let mut last = Vec::new();
        while stream.conn.wants_write() {
            stream.conn.write_tls(&mut last).unwrap();
        }
        last.extend([0x17; 40_000]);
        stream.sock.write_all(&last).unwrap();
    });
    let rig = Rig::believing(authority.roots());
    connect(&rig, address, "127.0.0.1");
    assert_eq!(rig.next(), Seen::Connected(CONN));
    let (reason, retryable) = closed(&rig);
    assert!(retryable && reason.contains("closed"), "{reason}");
    server.join().unwrap();
    rig.stop();
    assert!(rig.ended().result.is_ok());
}

#[test]
fn a_certificate_that_is_not_trusted_has_a_reason_and_is_not_retryable() {
    let authority = Authority::new();
    let hear = |mut stream: StreamOwned<ServerConnection, TcpStream>| {
        let _ = stream.read(&mut [0; 100]);
    };
    for (roots, name, expired, word) in [
        (authority.roots(), "live.example", true, "expired"),
        (authority.roots(), "other.example", false, "another name"),
        (system_roots(), "live.example", false, "rtmps_ca_file"),
    ] {
        let (address, server) = authority.serve(name, expired, hear);
        let rig = Rig::believing(roots);
        connect(&rig, address, "live.example");
        let (reason, retryable) = closed(&rig);
        assert!(!retryable && reason.contains(word), "{reason}");
        server.join().unwrap();
    }
}

#[test]
fn a_certificate_that_the_operators_file_lists_is_trusted_itself() {
    let hear = |mut stream: StreamOwned<ServerConnection, TcpStream>| {
        let _ = stream.read(&mut [0; 100]);
    };
    let (own, own_key, own_listed) = self_signed("live.example", true, false);
    let (plain, plain_key, plain_listed) = self_signed("live.example", false, false);
    let (_, _, another_listed) = self_signed("live.example", true, false);
    let (other, other_key, other_listed) = self_signed("other.example", true, false);
    let (old, old_key, old_listed) = self_signed("live.example", true, true);
    let stranger = Authority::new();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["live.example".to_owned()]).unwrap();
    let signed = params.signed_by(&key, &stranger.issuer).unwrap();
    let signed_listed = listing(&signed);
    for (certificate, key, roots, refused) in [
        (&own, &own_key, &own_listed, None),
        (&plain, &plain_key, &plain_listed, None),
        (&signed, &key, &signed_listed, None),
        (&own, &own_key, &another_listed, Some("rtmps_ca_file")),
        (&own, &own_key, &system_roots(), Some("rtmps_ca_file")),
        (&other, &other_key, &other_listed, Some("another name")),
        (&old, &old_key, &old_listed, Some("expired")),
    ] {
        let (address, server) = serve(certificate.der().clone(), key, hear);
        let rig = Rig::believing(roots.clone());
        connect(&rig, address, "live.example");
        match refused {
            None => {
                assert_eq!(rig.next(), Seen::Connected(CONN));
                rig.ask([Output::Close {
                    conn: CONN,
                    how: Close::Abort,
                }]);
            }
            Some(words) => {
                let (reason, retryable) = closed(&rig);
                assert!(!retryable && reason.contains(words), "{reason}");
            }
        }
        drop(rig);
        server.join().unwrap();
    }
}

#[test]
fn a_server_without_tls_and_a_name_that_is_none_have_a_reason() {
    let rig = Rig::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    connect(&rig, listener.local_addr().unwrap(), "live.example");
    let (mut stream, _) = listener.accept().unwrap();
    stream
        .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        .unwrap();
    let (reason, retryable) = closed(&rig);
    assert!(!retryable && reason.contains("rtmp://"), "{reason}");

    connect(&rig, listener.local_addr().unwrap(), "live.example");
    drop(listener.accept().unwrap());
    let (reason, retryable) = closed(&rig);
    assert!(retryable && reason.contains("handshake"), "{reason}");

    connect(&rig, listener.local_addr().unwrap(), "not a name");
    let (reason, retryable) = closed(&rig);
    assert!(!retryable && reason.contains("check the host"), "{reason}");
}

#[test]
fn a_handshake_that_hangs_is_left_as_soon_as_the_shard_closes() {
    let rig = Rig::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    connect(&rig, listener.local_addr().unwrap(), "live.example");
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(stream.read(&mut [0; 2_000]).unwrap() > 0);
    rig.ask([Output::Close {
        conn: CONN,
        how: Close::Abort,
    }]);
    // The end, or a reset.
    assert!(!matches!(stream.read(&mut [0; 100]), Ok(1..)));
    rig.stop();
    assert!(rig.ended().result.is_ok());
}

#[test]
fn a_file_without_certificates_is_refused_by_its_name() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = TrustedRoots::load(Some(file.path())).unwrap_err();
    assert!(
        matches!(&error, RootsError::NoCertificate { .. }),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .contains(&file.path().display().to_string())
    );
}
