//! Opening the UDP socket of a shard.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::fd::OwnedFd,
};

use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    error::EngineError,
    limits::{ADVERTISED_MAX, UDP_KERNEL_RECEIVE_BYTES, UDP_KERNEL_SEND_BYTES},
    os::sockets::set_option,
};

/// What a socket is opened with.
#[derive(Clone, Debug)]
pub struct UdpOptions {
    /// Where to receive; port 0 picks a free one.
    pub address: SocketAddr,
    /// The addresses of this machine; needed when `address` is unspecified.
    pub interfaces: Vec<IpAddr>,
}

/// A bound socket and what it has learned about itself.
#[derive(Debug)]
pub struct BoundUdp {
    pub(crate) fd: OwnedFd,
    /// The address it is bound to, with the real port.
    pub address: SocketAddr,
    /// The addresses that datagrams may come to.
    pub locals: Vec<SocketAddr>,
}

impl BoundUdp {
    /// Binds without SO_REUSEPORT, so that a second engine on the same port is refused instead of
    /// taking half of the datagrams.
    ///
    /// # Errors
    /// [`EngineError::UdpPortInUse`], or [`EngineError::Udp`] for everything else.
    pub fn bind(options: &UdpOptions) -> Result<Self, EngineError> {
        let address = options.address;
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => EngineError::UdpPortInUse { address },
            _ => EngineError::Udp { address, source },
        };
        let socket = Socket::new(
            Domain::for_address(address),
            Type::DGRAM,
            Some(Protocol::UDP),
        )
        .map_err(failed)?;
        if address.is_ipv6() {
            socket
                .set_only_v6(!address.ip().is_unspecified())
                .map_err(failed)?;
        }
        socket.bind(&address.into()).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        if address.ip().is_unspecified() {
            let (level, option) = match address {
                SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO),
                SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
            };
            set_option(&socket, level, option, 1).map_err(failed)?;
        }
        enlarge_queues(&socket);
        if let Err(error) = set_option(&socket, libc::SOL_UDP, libc::UDP_GRO, 1) {
            tracing::warn!(
                "datagrams are received one by one, this kernel has no UDP_GRO: {error}"
            );
        }
        let bound = socket
            .local_addr()
            .map_err(failed)?
            .as_socket()
            .unwrap_or(address);
        Ok(Self {
            fd: socket.into(),
            address: bound,
            locals: locals(bound, &options.interfaces),
        })
    }

    /// The addresses to offer to clients: `advertise` when given, otherwise the local ones, the
    /// loopback ones only when there are no others.
    pub fn candidates(&self, advertise: &[IpAddr]) -> Vec<SocketAddr> {
        let port = self.address.port();
        if !advertise.is_empty() {
            return advertise
                .iter()
                .map(|ip| SocketAddr::new(*ip, port))
                .collect();
        }
        let (loopback, others): (Vec<_>, Vec<_>) = self
            .locals
            .iter()
            .copied()
            .partition(|address| address.ip().is_loopback());
        if others.is_empty() {
            loopback
        } else {
            of_both_families(others)
        }
    }
}

/// At most [`ADVERTISED_MAX`] of `addresses`. The kernel lists IPv4 first, and a machine with containers has many of those:
/// each family has half of the room, and what the other leaves, since a client may have one family alone.
fn of_both_families(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let (mut v4, mut v6): (Vec<_>, Vec<_>) = addresses.into_iter().partition(SocketAddr::is_ipv4);
    v4.truncate(ADVERTISED_MAX - v6.len().min(ADVERTISED_MAX / 2));
    v6.truncate(ADVERTISED_MAX - v4.len());
    v4.append(&mut v6);
    v4
}

/// Bytes of the queues that the kernel gives a socket that asks as a shard's does: receive, send.
///
/// # Errors
/// When the kernel gives no socket.
pub(crate) fn queues_given() -> io::Result<(usize, usize)> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    enlarge_queues(&socket);
    // The kernel reports twice what was asked for.
    Ok((
        socket.recv_buffer_size()? / 2,
        socket.send_buffer_size()? / 2,
    ))
}

fn locals(bound: SocketAddr, interfaces: &[IpAddr]) -> Vec<SocketAddr> {
    if !bound.ip().is_unspecified() {
        return vec![bound];
    }
    let mut locals: Vec<_> = interfaces
        .iter()
        .filter(|ip| bound.is_ipv6() || ip.is_ipv4())
        .map(|ip| SocketAddr::new(*ip, bound.port()))
        .collect();
    if locals.is_empty() {
        locals.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), bound.port()));
    }
    locals
}

/// The queues of the kernel: past `net.core.rmem_max` where we may, up to it otherwise.
fn enlarge_queues(socket: &Socket) {
    for (forced, plain, bytes) in [
        (
            libc::SO_RCVBUFFORCE,
            libc::SO_RCVBUF,
            UDP_KERNEL_RECEIVE_BYTES,
        ),
        (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, UDP_KERNEL_SEND_BYTES),
    ] {
        let bytes = bytes as i32;
        if set_option(socket, libc::SOL_SOCKET, forced, bytes).is_err()
            && let Err(error) = set_option(socket, libc::SOL_SOCKET, plain, bytes)
        {
            tracing::warn!("the kernel's UDP queue stays as it is: {error}");
        }
    }
    match socket.recv_buffer_size() {
        // The kernel reports twice what was asked for.
        Ok(bytes) if bytes < UDP_KERNEL_RECEIVE_BYTES => tracing::warn!(
            bytes,
            "the UDP receive queue is small; datagrams may be lost under load: raise sysctl \
             net.core.rmem_max to {UDP_KERNEL_RECEIVE_BYTES}"
        ),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(address: &str, interfaces: &[IpAddr]) -> Result<BoundUdp, EngineError> {
        BoundUdp::bind(&UdpOptions {
            address: address.parse().unwrap(),
            interfaces: interfaces.to_vec(),
        })
    }

    #[test]
    fn a_port_that_is_taken_is_refused_and_the_message_names_it() {
        let first = bind("127.0.0.1:0", &[]).unwrap();
        let second = bind(&first.address.to_string(), &[]).unwrap_err();
        assert!(
            matches!(second, EngineError::UdpPortInUse { .. }),
            "{second}"
        );
        assert!(second.to_string().contains(&first.address.to_string()));
    }

    #[test]
    fn a_socket_for_all_addresses_offers_those_that_others_can_reach() {
        let (here, there) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([192, 0, 2, 7]));
        let bound = bind("0.0.0.0:0", &[here, there]).unwrap();
        let port = bound.address.port();
        assert_eq!(bound.candidates(&[]), [SocketAddr::new(there, port)]);
        let public = IpAddr::from([198, 51, 100, 1]);
        assert_eq!(bound.candidates(&[public]), [SocketAddr::new(public, port)]);
        let lonely = bind("0.0.0.0:0", &[here]).unwrap();
        assert_eq!(
            lonely.candidates(&[]),
            [SocketAddr::new(here, lonely.address.port())]
        );
    }

    #[test]
    fn a_machine_of_many_addresses_offers_some_of_either_family() {
        let addresses = |v4: u8, v6: u8| -> Vec<SocketAddr> {
            let v4 = (1..=v4).map(|n| IpAddr::from([192, 0, 2, n]));
            let v6 = (1..=v6).map(|n| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n.into()]));
            v4.chain(v6).map(|ip| SocketAddr::new(ip, 50_000)).collect()
        };
        for (v4, v6, offered) in [
            (2, 1, (2, 1)),
            (20, 1, (7, 1)),
            (20, 3, (5, 3)),
            (20, 20, (4, 4)),
            (1, 20, (1, 7)),
            (20, 0, (8, 0)),
            (0, 20, (0, 8)),
        ] {
            let (of_v4, of_v6): (Vec<_>, Vec<_>) = of_both_families(addresses(v4, v6))
                .into_iter()
                .partition(SocketAddr::is_ipv4);
            assert_eq!((of_v4.len(), of_v6.len()), offered, "{v4} and {v6}");
        }
    }
}
