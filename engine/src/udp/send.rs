//! Sending: neighbours to the same peer leave in one system call, cut apart by the kernel
//! (`UDP_SEGMENT`) or the network card. That is what makes sending cheap; batching system calls
//! alone gains nothing.

use std::{
    io::{self, IoSlice},
    net::{IpAddr, SocketAddr},
    os::fd::{AsRawFd, BorrowedFd, RawFd},
    rc::Rc,
};

use socket2::{MsgHdr, SockAddr, SockRef};

use super::control::Sent;
use crate::{
    limits::{UDP_SEGMENTED_BYTES_MAX, UDP_SEGMENTS_MAX, UDP_SEND_BATCH},
    work::Work,
};

struct Datagram {
    from: SocketAddr,
    to: SocketAddr,
    payload: Vec<u8>,
}

/// Datagrams that were not sent, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SendCounters {
    /// The kernel's queue was full.
    pub(crate) dropped: u64,
    /// The kernel refused them: no route, no such source address, a firewall.
    pub(crate) refused: u64,
}

/// What waits to be sent on one socket.
pub(crate) struct SendQueue {
    fd: RawFd,
    is_v6: bool,
    /// When bound to all addresses: those that a datagram can be sent from. Any other
    /// source is the outside of a NAT, and the kernel chooses by the route.
    sources: Vec<IpAddr>,
    segmentation: bool,
    waiting: Vec<Datagram>,
    control: Sent,
    pub(crate) counters: SendCounters,
    work: Rc<Work>,
}

impl SendQueue {
    /// # Safety
    /// The descriptor of `socket` stays open for as long as the queue is used.
    pub(crate) unsafe fn new(
        socket: &impl AsRawFd,
        bound: SocketAddr,
        locals: &[SocketAddr],
        work: Rc<Work>,
    ) -> Self {
        let sources = match bound.ip().is_unspecified() {
            true => locals.iter().map(SocketAddr::ip).collect(),
            false => Vec::new(),
        };
        Self {
            fd: socket.as_raw_fd(),
            is_v6: bound.is_ipv6(),
            sources,
            segmentation: true,
            waiting: Vec::with_capacity(UDP_SEND_BATCH),
            control: Sent::default(),
            counters: SendCounters::default(),
            work,
        }
    }

    pub(crate) fn push(&mut self, from: SocketAddr, to: SocketAddr, payload: Vec<u8>) {
        self.waiting.push(Datagram { from, to, payload });
        if self.waiting.len() >= UDP_SEND_BATCH {
            self.flush();
        }
    }

    /// Gives everything that waits to the kernel. What it does not take is dropped and counted:
    /// late media is worse than lost media, and the peer asks again for what matters.
    pub(crate) fn flush(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        let mut rest = waiting.as_slice();
        while !rest.is_empty() {
            let (run, behind) = rest.split_at(run_length(rest, self.segmentation).max(1));
            self.send_run(run);
            rest = behind;
        }
        self.waiting = waiting;
        self.waiting.clear();
    }

    fn send_run(&mut self, run: &[Datagram]) {
        match self.send(run) {
            Err(error) if run.len() > 1 && cannot_segment(&error) => {
                if error.raw_os_error() == Some(libc::EIO) && self.segmentation {
                    self.segmentation = false;
                    tracing::warn!(
                        "datagrams are sent one by one: the network card does not checksum \
                         segments (UDP_SEGMENT: {error}), which costs three times the CPU"
                    );
                }
                for datagram in run {
                    let result = self.send(std::slice::from_ref(datagram));
                    self.count(result, 1);
                }
            }
            result => self.count(result, run.len()),
        }
    }

    /// One system call for datagrams that have the same addresses.
    fn send(&mut self, run: &[Datagram]) -> io::Result<()> {
        let Some(first) = run.first() else {
            return Ok(());
        };
        let mut slices = [IoSlice::new(&[]); UDP_SEGMENTS_MAX];
        for (slice, datagram) in slices.iter_mut().zip(run) {
            *slice = IoSlice::new(&datagram.payload);
        }
        let slices = slices.get(..run.len()).unwrap_or_default();
        self.control.clear();
        if self.sources.contains(&first.from.ip()) {
            self.control.source(first.from.ip(), self.is_v6);
        }
        if run.len() > 1 {
            self.control.segment(first.payload.len());
        }
        let to = SockAddr::from(self.reachable(first.to));
        let mut message = MsgHdr::new().with_addr(&to).with_buffers(slices);
        if !self.control.as_bytes().is_empty() {
            message = message.with_control(self.control.as_bytes());
        }
        // SAFETY: the descriptor is open by the contract of `new`.
        let socket = unsafe { BorrowedFd::borrow_raw(self.fd) };
        loop {
            self.work.udp_sends.add(1);
            match SockRef::from(&socket).sendmsg(&message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
            {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The peer's address in the form that the socket takes.
    fn reachable(&self, to: SocketAddr) -> SocketAddr {
        match to.ip() {
            IpAddr::V4(ip) if self.is_v6 => SocketAddr::new(ip.to_ipv6_mapped().into(), to.port()),
            _ => to,
        }
    }

    fn count(&mut self, result: io::Result<()>, datagrams: usize) {
        let Err(error) = result else { return };
        let full = matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOBUFS));
        let counter = if full {
            &mut self.counters.dropped
        } else {
            &mut self.counters.refused
        };
        let before = *counter;
        *counter += datagrams as u64;
        // At each doubling only, which bounds the log.
        if before.leading_zeros() != counter.leading_zeros() {
            tracing::warn!(datagrams = *counter, "datagrams could not be sent: {error}");
        }
    }
}

/// Whether the failure is about segments and not about the datagrams: no checksum offload (EIO),
/// a segment over the path's MTU (EINVAL, EMSGSIZE), or a kernel without it.
fn cannot_segment(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EIO | libc::EINVAL | libc::EMSGSIZE | libc::EOPNOTSUPP)
    )
}

/// How many of the first datagrams may leave in one segmented send: the same addresses and the
/// same size; the last one may be shorter.
fn run_length(datagrams: &[Datagram], segmentation: bool) -> usize {
    let Some(first) = datagrams.first() else {
        return 0;
    };
    let size = first.payload.len();
    if !segmentation || size == 0 {
        return 1;
    }
    let mut length = 1;
    let mut bytes = size;
    for next in datagrams.iter().take(UDP_SEGMENTS_MAX).skip(1) {
        let next_bytes = next.payload.len();
        bytes += next_bytes;
        let fits = next_bytes > 0 && next_bytes <= size && bytes <= UDP_SEGMENTED_BYTES_MAX;
        if !fits || next.to != first.to || next.from != first.from {
            break;
        }
        length += 1;
        if next_bytes < size {
            break;
        }
    }
    length
}

#[cfg(test)]
mod tests {
    use std::{net::UdpSocket, time::Duration};

    use super::*;
    use crate::udp::socket::{BoundUdp, UdpOptions};

    fn datagrams(sizes: &[usize]) -> Vec<Datagram> {
        let from = SocketAddr::from(([127, 0, 0, 1], 1));
        let to = SocketAddr::from(([127, 0, 0, 1], 2));
        sizes
            .iter()
            .map(|size| Datagram {
                from,
                to,
                payload: vec![0; *size],
            })
            .collect()
    }

    #[test]
    fn a_run_ends_behind_a_shorter_datagram_and_before_a_longer_one() {
        for (sizes, length) in [
            (&[][..], 0),
            (&[100][..], 1),
            (&[100, 100, 100][..], 3),
            (&[100, 100, 60, 60][..], 3),
            (&[100, 101][..], 1),
            (&[60, 100][..], 1),
            (&[0, 0][..], 1),
            (&[100, 0, 100][..], 1),
            (&[1_200; 80][..], 54),
            (&[100; 80][..], UDP_SEGMENTS_MAX),
        ] {
            assert_eq!(run_length(&datagrams(sizes), true), length, "{sizes:?}");
        }
        assert_eq!(run_length(&datagrams(&[100, 100]), false), 1);
    }

    #[test]
    fn a_run_never_mixes_peers_or_sources() {
        let mut mixed = datagrams(&[100, 100, 100]);
        mixed[2].to = "127.0.0.1:9".parse().unwrap();
        assert_eq!(run_length(&mixed, true), 2);
        mixed[1].from = "127.0.0.2:1".parse().unwrap();
        assert_eq!(run_length(&mixed, true), 1);
    }

    /// Sends datagrams of these sizes and returns what a plain socket receives.
    fn through_the_kernel(bind: &str, sizes: &[usize], segmentation: bool) -> Vec<Vec<u8>> {
        let here = IpAddr::from([127, 0, 0, 1]);
        let options = UdpOptions {
            address: bind.parse().unwrap(),
            interfaces: vec![here],
        };
        let bound = BoundUdp::bind(&options).unwrap();
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let from = SocketAddr::new(here, bound.address.port());
        // SAFETY: `bound` lives until the end of this function.
        let mut queue =
            unsafe { SendQueue::new(&bound.fd, bound.address, &bound.locals, Rc::default()) };
        queue.segmentation = segmentation;
        for (n, size) in sizes.iter().enumerate() {
            queue.push(from, peer.local_addr().unwrap(), vec![n as u8; *size]);
        }
        queue.flush();
        assert_eq!(queue.counters, SendCounters::default());
        let mut buffer = [0; 65_536];
        let mut received = Vec::new();
        for _ in sizes {
            let (length, sender) = peer.recv_from(&mut buffer).unwrap();
            assert_eq!(sender, from);
            received.push(buffer[..length].to_vec());
        }
        received
    }

    #[test]
    fn the_peer_receives_what_was_sent_one_by_one_and_from_the_right_address() {
        let sizes = [1_200, 1_200, 1_200, 300, 1_200, 1_201, 1_201, 50, 50, 1];
        let expected: Vec<_> = sizes
            .iter()
            .enumerate()
            .map(|(n, size)| vec![n as u8; *size])
            .collect();
        for bind in ["127.0.0.1:0", "0.0.0.0:0", "[::]:0"] {
            assert_eq!(through_the_kernel(bind, &sizes, true), expected, "{bind}");
            assert_eq!(through_the_kernel(bind, &sizes, false), expected, "{bind}");
        }
    }

    #[test]
    fn a_datagram_that_the_kernel_refuses_is_counted_and_the_next_one_is_sent() {
        let options = UdpOptions {
            address: "127.0.0.1:0".parse().unwrap(),
            interfaces: Vec::new(),
        };
        let bound = BoundUdp::bind(&options).unwrap();
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        // SAFETY: `bound` lives until the end of this function.
        let mut queue =
            unsafe { SendQueue::new(&bound.fd, bound.address, &bound.locals, Rc::default()) };
        // IPv6 cannot be reached from an IPv4 socket.
        queue.push(
            bound.address,
            "[2001:db8::1]:9".parse().unwrap(),
            vec![1; 10],
        );
        queue.push(bound.address, peer.local_addr().unwrap(), vec![2; 10]);
        queue.flush();
        assert_eq!(queue.counters.refused, 1);
        let mut buffer = [0; 100];
        assert_eq!(peer.recv(&mut buffer).unwrap(), 10);
    }
}
