//! Receiving: wait for the socket without cost, drain it in batches, take joined datagrams apart.

use std::{
    fmt, io, mem,
    net::{IpAddr, SocketAddr},
    os::fd::AsRawFd,
    ptr,
    time::{Duration, Instant},
};

use glommio::{net::UdpSocket, timer::sleep};
use shardcast_core::io::Input;
use shardcast_log::Limiter;

use super::control::{self, CONTROL_BYTES};
use crate::{
    limits::{
        MODERATION_PAUSE, MODERATION_WAKES_BUSY, MODERATION_WAKES_CALM, MODERATION_WINDOW,
        UDP_RECEIVE_BUFFER_BYTES, UDP_RECEIVE_SLOTS, UDP_ROUNDS_PER_TURN,
    },
    shell::{Shell, ShellHandle},
};

fn log_failure(what: &str, error: &dyn fmt::Display) {
    static FAILED: Limiter = Limiter::refusals();
    if let Some(left_out) = FAILED.admit(Instant::now()) {
        tracing::warn!(left_out, "{what} datagrams failed: {error}");
    }
}

/// Feeds the shard with what arrives, for as long as the shard lives.
pub(crate) async fn run(shell: ShellHandle, socket: UdpSocket, locals: Vec<SocketAddr>) {
    let mut batch = Batch::new();
    let mut moderation = Moderation::new(Instant::now());
    let mut addresses = LocalAddresses {
        locals,
        told: false,
    };
    loop {
        // An io_uring receive that only looks: it costs nothing while nothing comes.
        if !moderation.is_busy()
            && let Err(error) = socket.peek_from(&mut [0]).await
        {
            log_failure("waiting for", &error);
            sleep(Duration::from_millis(10)).await;
        }
        let mut drained = 0;
        for round in 1_usize.. {
            let received = match batch.receive(&socket) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    log_failure("receiving", &error);
                    break;
                }
            };
            drained += shell.with(|shell| feed(shell, &batch, &mut addresses));
            if received < UDP_RECEIVE_SLOTS {
                break;
            }
            if round.is_multiple_of(UDP_ROUNDS_PER_TURN) {
                glommio::yield_if_needed().await;
            }
        }
        match moderation.after_drain(Instant::now(), drained) {
            Some(pause) => {
                shell.with(|shell| shell.looks_at(Instant::now() + pause));
                sleep(pause).await;
            }
            None => glommio::yield_if_needed().await,
        }
    }
}

/// Hands a batch to the shard and lets it answer; how many datagrams there were.
fn feed(shell: &mut Shell, batch: &Batch, addresses: &mut LocalAddresses) -> usize {
    let now = Instant::now();
    let mut datagrams = 0;
    for message in batch.messages() {
        let Some(to) = addresses.resolve(message.to) else {
            continue;
        };
        for payload in segments(message.payload, message.segment_bytes) {
            shell.feed(
                now,
                Input::Datagram {
                    from: message.from,
                    to,
                    payload,
                },
            );
            datagrams += 1;
        }
    }
    shell.drive(now);
    datagrams
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
    told: bool,
}

impl LocalAddresses {
    fn resolve(&mut self, to: Option<IpAddr>) -> Option<SocketAddr> {
        let Some(to) = to else {
            return self.locals.first().copied();
        };
        let known = self.locals.iter().find(|local| local.ip() == to).copied();
        if known.is_none() && !mem::replace(&mut self.told, true) {
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
    /// One buffer of [`UDP_RECEIVE_BUFFER_BYTES`] for each slot.
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
            payloads: vec![0; UDP_RECEIVE_SLOTS * UDP_RECEIVE_BUFFER_BYTES].into_boxed_slice(),
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
        let buffers = self.payloads.chunks_exact_mut(UDP_RECEIVE_BUFFER_BYTES);
        let slots = self.headers.iter_mut().zip(&mut self.vectors).zip(buffers);
        let rooms = self.names.iter_mut().zip(&mut self.controls);
        for (((header, vector), buffer), (name, control)) in slots.zip(rooms) {
            vector.iov_base = buffer.as_mut_ptr().cast();
            vector.iov_len = buffer.len();
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
        let buffers = self.payloads.chunks_exact(UDP_RECEIVE_BUFFER_BYTES);
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

/// Interrupt moderation: whether to wait for a datagram, or to look again after a pause.
///
/// Waking the executor costs more than handling ten datagrams. When datagrams come so often that
/// nearly every pause would find some, looking on time wakes less often than they would. An idle
/// socket is never slept on: its first datagrams are handled at once.
#[derive(Debug)]
struct Moderation {
    window_since: Instant,
    /// Drains in this window that found something.
    fruitful: usize,
    busy: bool,
}

impl Moderation {
    fn new(now: Instant) -> Self {
        Self {
            window_since: now,
            fruitful: 0,
            busy: false,
        }
    }

    fn is_busy(&self) -> bool {
        self.busy
    }

    /// How long to pause after a drain that found so many datagrams.
    fn after_drain(&mut self, now: Instant, datagrams: usize) -> Option<Duration> {
        self.fruitful += usize::from(datagrams > 0);
        let elapsed = now.saturating_duration_since(self.window_since);
        if elapsed >= MODERATION_WINDOW {
            let enough = match self.busy {
                true => MODERATION_WAKES_CALM,
                false => MODERATION_WAKES_BUSY,
            };
            // A window that nobody closed in time was a quiet one.
            self.busy = elapsed < 2 * MODERATION_WINDOW && self.fruitful >= enough;
            self.window_since = now;
            self.fruitful = 0;
        }
        self.busy.then_some(MODERATION_PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

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

    /// Drains at these distances, each finding `datagrams`; whether the receiver ends up busy.
    fn is_busy_after(
        moderation: &mut Moderation,
        now: &mut Instant,
        gap_us: u64,
        datagrams: usize,
    ) -> bool {
        for _ in 0..100 {
            *now += Duration::from_micros(gap_us);
            moderation.after_drain(*now, datagrams);
        }
        moderation.is_busy()
    }

    #[test]
    fn a_socket_is_slept_on_only_while_sleeping_wakes_less_often() {
        let mut now = Instant::now();
        let mut moderation = Moderation::new(now);
        assert!(
            !is_busy_after(&mut moderation, &mut now, 20_000, 1),
            "a lone audio stream"
        );
        assert!(
            !is_busy_after(&mut moderation, &mut now, 2_000, 8),
            "few wakes, many datagrams"
        );
        assert!(
            is_busy_after(&mut moderation, &mut now, 300, 1),
            "many wakes"
        );
        assert!(
            is_busy_after(&mut moderation, &mut now, 1_250, 4),
            "each pause finds some"
        );
        assert!(
            !is_busy_after(&mut moderation, &mut now, 1_250, 0),
            "the pauses find nothing"
        );
    }

    #[test]
    fn the_first_datagram_after_silence_is_not_slept_on() {
        let mut now = Instant::now();
        let mut moderation = Moderation::new(now);
        assert!(is_busy_after(&mut moderation, &mut now, 300, 1));
        now += Duration::from_secs(1);
        assert_eq!(moderation.after_drain(now, 1), None);
    }

    #[test]
    fn a_batch_says_who_sent_and_which_of_our_addresses_it_came_to() {
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
