//! What the kernel knows of a TCP connection.

use std::{io, os::fd::AsRawFd};

use shardcast_core::io::TcpInfo;

/// Offsets in `struct tcp_info` (linux/tcp.h), whose newer fields the libc crate does not have. The
/// kernel only ever appends to it.
mod offset {
    pub(super) const UNACKED: usize = 24;
    pub(super) const RTT: usize = 68;
    pub(super) const BYTES_ACKED: usize = 120;
    pub(super) const NOTSENT_BYTES: usize = 144;
}
/// Up to and with `tcpi_notsent_bytes` (Linux 4.6).
const BYTES: usize = offset::NOTSENT_BYTES + 4;

/// Asks for it.
pub(super) fn read(socket: &impl AsRawFd) -> io::Result<TcpInfo> {
    let mut raw = [0_u8; BYTES];
    let mut length = BYTES as libc::socklen_t;
    // SAFETY: `raw` is valid for writes of `length` bytes, both outlive the call, and the
    // descriptor is open for as long as `socket` is borrowed.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            raw.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let word = |at| u32::from_ne_bytes(field(&raw, at));
    let unsent_bytes = word(offset::NOTSENT_BYTES);
    Ok(TcpInfo {
        acked_bytes: u64::from_ne_bytes(field(&raw, offset::BYTES_ACKED)),
        in_flight: word(offset::UNACKED) > 0 || unsent_bytes > 0,
        unsent_bytes,
        rtt_us: word(offset::RTT),
    })
}

fn field<const N: usize>(raw: &[u8; BYTES], at: usize) -> [u8; N] {
    raw.get(at..)
        .and_then(|rest| rest.first_chunk())
        .copied()
        .unwrap_or([0; N])
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{TcpListener, TcpStream},
        time::{Duration, Instant},
    };

    use super::*;

    #[test]
    fn what_the_peer_has_read_is_acknowledged_and_what_it_has_no_room_for_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut theirs, _) = listener.accept().unwrap();
        let before = read(&ours).unwrap();
        ours.write_all(&[7; 1_000]).unwrap();
        theirs.read_exact(&mut [0; 1_000]).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut after = read(&ours).unwrap();
        while after.in_flight && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
            after = read(&ours).unwrap();
        }
        assert_eq!(after.acked_bytes - before.acked_bytes, 1_000);
        assert!(!after.in_flight && after.unsent_bytes == 0);

        ours.set_nonblocking(true).unwrap();
        while ours.write(&[7; 65_536]).is_ok() {}
        let full = read(&ours).unwrap();
        assert!(full.in_flight && full.unsent_bytes > 0, "{full:?}");
    }
}
