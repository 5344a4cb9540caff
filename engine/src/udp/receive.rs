//! Receiving: wait for the socket without cost, drain it in batches, take joined datagrams apart.

use std::{
    fmt, io, mem,
    net::{IpAddr, SocketAddr},
    os::fd::AsRawFd,
    ptr,
    rc::Rc,
    time::Instant,
};

use glommio::net::UdpSocket;
use shardcast_log::Limiter;

use super::{
    control::{self, CONTROL_BYTES},
    linger::Linger,
};
use crate::{
    limits::{
        MEDIA_FLOWS, RECEIVE_RETRY, UDP_RECEIVE_BUFFER_BYTES, UDP_RECEIVE_SLOTS,
        UDP_RECEIVE_STRIDE_BYTES, UDP_ROUNDS_PER_TURN,
    },
    work::Work,
};

fn log_failure(what: &str, error: &dyn fmt::Display) {
    static FAILED: Limiter = Limiter::refusals();
    if let Some(left_out) = FAILED.admit(Instant::now()) {
        tracing::warn!(left_out, "{what} datagrams failed: {error}");
    }
}

/// Waits until the socket has something: an io_uring receive that only looks, and costs nothing while
/// nothing comes.
pub(crate) async fn readable(socket: &UdpSocket) -> io::Result<()> {
    socket.peek_from(&mut [0]).await?;
    Ok(())
}

/// When the receiver looks into the socket again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Once it is [`readable`].
    Readable,
    /// Then, whether something has come or not.
    At(Instant),
    /// In the next turn: there is more.
    Next,
}

/// A datagram that was received, in the memory of the receiver.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Datagram<'a> {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) payload: &'a [u8],
}

/// The receiving side of a shard's socket. The driver polls it; nothing is queued here.
pub(crate) struct Receiver {
    socket: Rc<UdpSocket>,
    batch: Batch,
    addresses: LocalAddresses,
    linger: Linger,
    /// When a drain last found something.
    found: Option<Instant>,
    work: Rc<Work>,
    /// In this drain so far.
    datagrams: usize,
    rounds: usize,
    began: Instant,
    look: Look,
}

impl Receiver {
    /// `locals` are the addresses that datagrams may come to; never empty.
    pub(crate) fn new(socket: Rc<UdpSocket>, locals: Vec<SocketAddr>, work: Rc<Work>) -> Self {
        Self {
            socket,
            batch: Batch::new(),
            addresses: LocalAddresses {
                locals,
                logged: false,
            },
            linger: Linger::default(),
            found: None,
            work,
            datagrams: 0,
            rounds: 0,
            began: Instant::now(),
            look: Look::Readable,
        }
    }

    /// Whether datagrams have come lately, so that more are to be expected.
    pub(crate) fn is_flowing(&self, now: Instant) -> bool {
        self.found
            .is_some_and(|found| now.saturating_duration_since(found) < MEDIA_FLOWS)
    }

    pub(crate) fn look(&self) -> Look {
        self.look
    }

    /// Waiting for the socket has failed, which is tried again after a while.
    pub(crate) fn waiting_failed(&mut self, now: Instant, error: &io::Error) {
        log_failure("waiting for", error);
        self.look = Look::At(now + RECEIVE_RETRY);
    }

    /// Takes what the kernel has, up to one batch; false when this drain is over, and then
    /// [`Self::look`] says when the next one begins.
    pub(crate) fn receive(&mut self) -> bool {
        if self.rounds == 0 {
            self.began = Instant::now();
        }
        self.rounds += 1;
        match self.batch.receive(&*self.socket) {
            Ok(_) => return true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => log_failure("receiving", &error),
        }
        self.end_drain();
        false
    }

    /// The datagrams of the batch, one by one.
    pub(crate) fn for_each_datagram(&mut self, mut take: impl FnMut(Datagram<'_>)) {
        for message in self.batch.messages() {
            let Some(to) = self.addresses.resolve(message.to) else {
                continue;
            };
            for payload in segments(message.payload, message.segment_bytes) {
                take(Datagram {
                    from: message.from,
                    to,
                    payload,
                });
                self.datagrams += 1;
            }
        }
    }

    /// The batch has been handled. Whether to go on in this turn: a batch that was not full has
    /// emptied the socket, and after some full ones others have their turn.
    pub(crate) fn goes_on(&mut self) -> bool {
        if self.batch.received < UDP_RECEIVE_SLOTS {
            self.end_drain();
            return false;
        }
        self.look = Look::Next;
        !self.rounds.is_multiple_of(UDP_ROUNDS_PER_TURN)
    }

    fn end_drain(&mut self) {
        let datagrams = mem::take(&mut self.datagrams);
        self.rounds = 0;
        self.work.udp_drains.add(1);
        self.work.udp_drains_empty.add(usize::from(datagrams == 0));
        self.work.udp_datagrams.add(datagrams);
        if datagrams > 0 {
            self.found = Some(self.began);
        }
        self.look = self.linger.after_drain(self.began, datagrams > 0);
    }
}

/// Takes apart what GRO has joined: all datagrams have the same length but the last, which may be
/// shorter.
fn segments(payload: &[u8], segment_bytes: Option<usize>) -> impl Iterator<Item = &[u8]> {
    payload.chunks(segment_bytes.unwrap_or(payload.len()).max(1))
}

/// Which of its own addresses a datagram came to.
struct LocalAddresses {
    /// Never empty.
    locals: Vec<SocketAddr>,
    logged: bool,
}

impl LocalAddresses {
    fn resolve(&mut self, to: Option<IpAddr>) -> Option<SocketAddr> {
        debug_assert!(!self.locals.is_empty(), "a socket without an address");
        let Some(to) = to else {
            return self.locals.first().copied();
        };
        let known = self.locals.iter().find(|local| local.ip() == to).copied();
        if known.is_none() && !mem::replace(&mut self.logged, true) {
            tracing::warn!(
                address = %to,
                "datagrams for an address that this machine did not have when the engine started \
                 are left out: restart the engine, or name the address with --bind"
            );
        }
        known
    }
}

struct Message<'a> {
    from: SocketAddr,
    to: Option<IpAddr>,
    segment_bytes: Option<usize>,
    payload: &'a [u8],
}

#[repr(C, align(8))]
#[derive(Clone)]
struct ControlRoom([u8; CONTROL_BYTES]);

/// The memory of one `recvmmsg`, used again and again.
struct Batch {
    /// One buffer for each slot. What was never written takes no memory, and few datagrams are
    /// joined, so that all slots together take a page or two each.
    payloads: Box<[u8]>,
    names: Vec<libc::sockaddr_storage>,
    controls: Vec<ControlRoom>,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    received: usize,
}

impl Batch {
    fn new() -> Self {
        // SAFETY: all three are plain C structures for which zeroes are valid (null pointers and
        // lengths of zero).
        let (name, vector, header) = unsafe { (mem::zeroed(), mem::zeroed(), mem::zeroed()) };
        Self {
            payloads: vec![0; UDP_RECEIVE_SLOTS * UDP_RECEIVE_STRIDE_BYTES].into_boxed_slice(),
            names: vec![name; UDP_RECEIVE_SLOTS],
            controls: vec![ControlRoom([0; CONTROL_BYTES]); UDP_RECEIVE_SLOTS],
            vectors: vec![vector; UDP_RECEIVE_SLOTS],
            headers: vec![header; UDP_RECEIVE_SLOTS],
            received: 0,
        }
    }

    /// Takes what the kernel has, without waiting.
    fn receive(&mut self, socket: &impl AsRawFd) -> io::Result<usize> {
        self.received = 0;
        self.point();
        // SAFETY: `point` has made each header refer to memory of this batch, with its true
        // lengths; none of it moves or is touched until the call returns.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                UDP_RECEIVE_SLOTS as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        self.received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        Ok(self.received)
    }

    /// Makes the headers refer to the buffers again; the kernel overwrites their lengths.
    fn point(&mut self) {
        let buffers = self.payloads.chunks_exact_mut(UDP_RECEIVE_STRIDE_BYTES);
        let slots = self.headers.iter_mut().zip(&mut self.vectors).zip(buffers);
        let rooms = self.names.iter_mut().zip(&mut self.controls);
        for (((header, vector), buffer), (name, control)) in slots.zip(rooms) {
            vector.iov_base = buffer.as_mut_ptr().cast();
            vector.iov_len = UDP_RECEIVE_BUFFER_BYTES;
            header.msg_len = 0;
            header.msg_hdr.msg_name = ptr::from_mut(name).cast();
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = CONTROL_BYTES as _;
            header.msg_hdr.msg_flags = 0;
        }
    }

    /// What the last [`Self::receive`] brought. Empty and cut datagrams are left out.
    fn messages(&self) -> impl Iterator<Item = Message<'_>> {
        let buffers = self.payloads.chunks_exact(UDP_RECEIVE_STRIDE_BYTES);
        let rooms = self.names.iter().zip(&self.controls);
        let slots = self
            .headers
            .iter()
            .zip(buffers)
            .zip(rooms)
            .take(self.received);
        slots.filter_map(|((header, buffer), (name, control))| {
            if header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
                return None;
            }
            let payload = buffer
                .get(..header.msg_len as usize)
                .filter(|p| !p.is_empty())?;
            let control = control::read(control.0.get(..header.msg_hdr.msg_controllen)?);
            Some(Message {
                from: read_name(name)?,
                to: control.to,
                segment_bytes: control.segment_bytes,
                payload,
            })
        })
    }
}

/// The address of a peer; IPv4 in its plain form, also on an IPv6 socket.
fn read_name(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    let name = ptr::from_ref(name);
    match i32::from(
        // SAFETY: the reference is valid, and the family is its first field in every form.
        unsafe { (*name).ss_family },
    ) {
        libc::AF_INET => {
            // SAFETY: a sockaddr_storage is large enough and aligned for every address, and the
            // family says which one the kernel has written.
            let name = unsafe { *name.cast::<libc::sockaddr_in>() };
            let ip = IpAddr::from(name.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddr::new(ip, u16::from_be(name.sin_port)))
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let name = unsafe { *name.cast::<libc::sockaddr_in6>() };
            let ip = IpAddr::from(name.sin6_addr.s6_addr).to_canonical();
            Some(SocketAddr::new(ip, u16::from_be(name.sin6_port)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::{net::UdpSocket, time::Duration};

    use super::*;
    use crate::udp::socket::{BoundUdp, UdpOptions};

    #[test]
    fn joined_datagrams_come_apart_as_they_were_sent() {
        let payload: Vec<u8> = (0..10).collect();
        let split = |size| {
            segments(&payload, size)
                .map(<[u8]>::len)
                .collect::<Vec<_>>()
        };
        assert_eq!(split(Some(4)), [4, 4, 2]);
        assert_eq!(split(Some(5)), [5, 5]);
        assert_eq!(split(Some(10)), [10]);
        assert_eq!(split(Some(99)), [10]);
        assert_eq!(split(None), [10]);
        assert_eq!(segments(&[], None).count(), 0);
    }

    #[test]
    fn a_batch_has_the_sender_and_the_local_address_of_each_datagram() {
        let here = IpAddr::from([127, 0, 0, 1]);
        for bind in ["0.0.0.0:0", "[::]:0"] {
            let options = UdpOptions {
                address: bind.parse().unwrap(),
                interfaces: vec![here],
            };
            let bound = BoundUdp::bind(&options).unwrap();
            let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
            let target = SocketAddr::new(here, bound.address.port());
            let mut batch = Batch::new();
            for text in ["one", "", "three"] {
                peer.send_to(text.as_bytes(), target).unwrap();
            }
            let mut texts = Vec::new();
            let deadline = Instant::now() + Duration::from_secs(10);
            while texts.len() < 2 && Instant::now() < deadline {
                if batch.receive(&bound.fd).is_err() {
                    std::thread::sleep(Duration::from_millis(5));
                    continue;
                }
                for message in batch.messages() {
                    assert_eq!(message.from, peer.local_addr().unwrap(), "{bind}");
                    assert_eq!(message.to, Some(here), "{bind}");
                    texts.push(String::from_utf8(message.payload.to_vec()).unwrap());
                }
            }
            assert_eq!(texts, ["one", "three"], "{bind}");
        }
    }
}
