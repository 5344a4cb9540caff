//! What an encoder says over TLS reaches the plain end to the byte, and back, whatever is torn or large; what is no
//! TLS ends; and each end ends the other.

use std::{
    io::IoSlice,
    net::{TcpListener, TcpStream},
    os::fd::AsFd,
};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::*;

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (other, _) = listener.accept().unwrap();
    one.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    other
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    (one, other)
}

fn leave(path: &Path, pem: &[u8], outer: &TcpStream, inner: &TcpStream) -> Vec<u8> {
    let mut stream = UnixStream::connect(path).unwrap();
    let sockets = [outer.as_fd(), inner.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    assert!(beside.push(SendAncillaryMessage::ScmRights(&sockets)));
    let length = u32::try_from(pem.len()).unwrap().to_be_bytes();
    let parts = [IoSlice::new(&length)];
    sendmsg(&stream, &parts, &mut beside, SendFlags::empty()).unwrap();
    stream.write_all(pem).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

/// A front, its certificate, and a client's configuration that trusts it.
fn front(folder: &Path) -> (std::path::PathBuf, Vec<u8>, Arc<ClientConfig>) {
    let path = folder.join("tls.sock");
    listen(&path).unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let pem = made.cert.pem() + &made.signing_key.serialize_pem();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (path, pem.into_bytes(), Arc::new(config))
}

/// An encoder, and the plain end.
fn connect(
    path: &Path,
    pem: &[u8],
    config: &Arc<ClientConfig>,
) -> (StreamOwned<ClientConnection, TcpStream>, TcpStream) {
    let ((encoder, outer), (inner, plain)) = (pair(), pair());
    assert_eq!(leave(path, pem, &outer, &inner), [TAKEN]);
    let name = "localhost".try_into().unwrap();
    let tls = ClientConnection::new(Arc::clone(config), name).unwrap();
    (StreamOwned::new(tls, encoder), plain)
}

#[test]
fn bytes_pass_both_ways_and_each_end_ends_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let (path, pem, config) = front(folder.path());
    let sent: Vec<u8> = (0..3_000_000_u32).map(|n| (n / 7) as u8).collect();
    for _ in 0..2 {
        let (mut encoder, mut plain) = connect(&path, &pem, &config);
        let upload = sent.clone();
        let reader = thread::spawn(move || {
            let mut received = vec![0; upload.len()];
            plain.read_exact(&mut received).unwrap();
            assert!(received == upload);
            plain.write_all(&upload).unwrap();
            drop(plain);
        });
        for part in sent.chunks(70_001) {
            encoder.write_all(part).unwrap();
        }
        let mut received = vec![0; sent.len()];
        encoder.read_exact(&mut received).unwrap();
        assert!(received == sent);
        assert_eq!(encoder.read(&mut [0; 9]).unwrap_or(0), 0, "it ends");
        reader.join().unwrap();
    }
    let (mut encoder, mut plain) = connect(&path, &pem, &config);
    encoder.write_all(b"last words").unwrap();
    encoder.conn.send_close_notify();
    let _ = encoder.flush();
    drop(encoder);
    let mut received = Vec::new();
    let _ = plain.read_to_end(&mut received);
    assert_eq!(received, b"last words");
}

#[test]
fn what_is_no_tls_ends_and_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let (path, pem, config) = front(folder.path());
    let ((mut stranger, outer), (inner, mut plain)) = (pair(), pair());
    assert_eq!(leave(&path, &pem, &outer, &inner), [TAKEN]);
    drop((outer, inner));
    stranger.write_all(&[3; 2_000]).unwrap();
    assert_eq!(plain.read(&mut [0; 9]).unwrap_or(0), 0);
    let ((_, outer), (inner, _)) = (pair(), pair());
    assert_eq!(leave(&path, b"no certificate", &outer, &inner), b"");
    let (mut encoder, mut plain) = connect(&path, &pem, &config);
    encoder.write_all(b"hello").unwrap();
    let mut received = [0; 5];
    plain.read_exact(&mut received).unwrap();
    assert_eq!(&received, b"hello");
}
