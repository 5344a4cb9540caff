//! Asks a STUN server from which address packets of this machine come (RFC 8489).

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs, UdpSocket},
    time::Duration,
};

/// How long one answer is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// Requests that are sent; datagrams are lost.
const TRIES: usize = 3;
/// Binding request and its success response (RFC 8489, 5 and 18.1).
const REQUEST: [u8; 2] = [0x00, 0x01];
const RESPONSE: [u8; 2] = [0x01, 0x01];
/// RFC 8489, 5.
const COOKIE: u32 = 0x2112_A442;
const HEAD_BYTES: usize = 20;
/// Attribute XOR-MAPPED-ADDRESS (RFC 8489, 14.2).
const XOR_MAPPED_ADDRESS: [u8; 2] = [0x00, 0x20];
const FAMILY_IPV4: u8 = 1;

/// Host and port of `stun:host:port`; the port is 3478 if it is not named (RFC 7064).
pub(super) fn server_of(uri: &str) -> Option<(&str, u16)> {
    let rest = uri.strip_prefix("stun:")?;
    match rest.rsplit_once(':') {
        Some((host, port)) => Some((host, port.parse().ok()?)),
        None => Some((rest, 3_478)),
    }
}

/// The IPv4 address that the server sees.
///
/// # Errors
/// Why it did not say, for people.
pub(super) fn ask((host, port): (&str, u16), patience: Duration) -> Result<IpAddr, String> {
    let shown = format!("the STUN server {host}:{port}");
    let server = (host, port)
        .to_socket_addrs()
        .map_err(|error| format!("{shown} is not found: {error}"))?
        .find(SocketAddr::is_ipv4)
        .ok_or_else(|| format!("{shown} has no IPv4 address"))?;
    let failed = |error: std::io::Error| format!("{shown} cannot be asked: {error}");
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).map_err(failed)?;
    socket.set_read_timeout(Some(patience)).map_err(failed)?;
    socket.connect(server).map_err(failed)?;
    let transaction: [u8; 12] = rand::random();
    let request = [
        &REQUEST[..],
        &[0, 0],
        &COOKIE.to_be_bytes(),
        &transaction[..],
    ]
    .concat();
    for _ in 0..TRIES {
        socket.send(&request).map_err(failed)?;
        let mut answer = [0; 576];
        let Ok(bytes) = socket.recv(&mut answer) else {
            continue;
        };
        let answer = answer.get(..bytes).unwrap_or_default();
        if let Some(address) = mapped(answer, &transaction) {
            return Ok(address.into());
        }
    }
    Err(format!("{shown} does not answer"))
}

/// The address in an answer to the request with this transaction id.
fn mapped(answer: &[u8], transaction: &[u8]) -> Option<Ipv4Addr> {
    let (head, mut attributes) = answer.split_at_checked(HEAD_BYTES)?;
    if !head.starts_with(&RESPONSE) || !head.ends_with(transaction) {
        return None;
    }
    while let Some((kind, rest)) = attributes.split_at_checked(4) {
        let [a, b, high, low] = *kind else {
            return None;
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (value, rest) = rest.split_at_checked(length)?;
        if let ([a, b], [_, FAMILY_IPV4, _, _, address @ ..]) = ([a, b], value)
            && [a, b] == XOR_MAPPED_ADDRESS
        {
            let address = u32::from_be_bytes(address.try_into().ok()?);
            return Some(Ipv4Addr::from(address ^ COOKIE));
        }
        // Attributes end at a multiple of four bytes.
        attributes = rest.get(length.next_multiple_of(4) - length..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn the_address_that_a_server_sees_is_read_behind_other_attributes() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        thread::spawn(move || {
            let mut request = [0; 100];
            let (bytes, from) = server.recv_from(&mut request).unwrap();
            assert_eq!((bytes, &request[..4]), (HEAD_BYTES, &[0, 1, 0, 0][..]));
            // SOFTWARE of three bytes and one that fills up, then the address 203.0.113.9.
            let mut answer = vec![1, 1, 0, 20];
            answer.extend(&request[4..HEAD_BYTES]);
            answer.extend([0x80, 0x22, 0, 3, b'a', b'b', b'c', 0]);
            answer.extend([0, 0x20, 0, 8, 0, FAMILY_IPV4, 0, 0]);
            answer.extend((u32::from_be_bytes([203, 0, 113, 9]) ^ COOKIE).to_be_bytes());
            server.send_to(&answer, from).unwrap();
        });
        let patience = Duration::from_secs(20);
        let seen = ask(("127.0.0.1", port), patience);
        assert_eq!(seen, Ok([203, 0, 113, 9].into()));
    }

    #[test]
    fn answers_that_are_cut_or_not_ours_say_nothing() {
        let transaction = [7; 12];
        let mut answer = vec![1, 1, 0, 12];
        answer.extend(COOKIE.to_be_bytes());
        answer.extend(transaction);
        answer.extend([0, 0x20, 0, 8, 0, FAMILY_IPV4, 0, 0, 1, 2, 3, 4]);
        assert!(mapped(&answer, &transaction).is_some());
        assert!(mapped(&answer, &[8; 12]).is_none());
        for bytes in 0..answer.len() {
            assert_eq!(mapped(&answer[..bytes], &transaction), None);
        }
    }

    #[test]
    fn a_server_is_read_from_its_uri() {
        let uri = "stun:stun1.example.com:19302";
        assert_eq!(server_of(uri), Some(("stun1.example.com", 19_302)));
        assert_eq!(server_of("stun:a.example"), Some(("a.example", 3_478)));
        assert_eq!(server_of("turn:a.example:1"), None);
    }
}
