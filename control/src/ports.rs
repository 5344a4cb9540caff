//! TCP ports of IPv4 and IPv6, and who connects to them.

use std::{io, net::SocketAddr};

use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::limits;

/// Listens at `address`. `::` takes IPv4 too, whatever `net.ipv6.bindv6only` says.
///
/// # Errors
/// When the address is not ours or the port is taken.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if address.is_ipv6() {
        rustix::net::sockopt::set_ipv6_v6only(&socket, !address.ip().is_unspecified())?;
    }
    // Connections that are closing must not keep the next start from binding.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(limits::TCP_BACKLOG)
}

/// The next connection. A peer with IPv4 has its address of IPv4 from here on, though it comes to a socket of IPv6
/// as `::ffff:192.0.2.1`: address ranges, limits, logs and answers never see that form. Linux itself drops packets
/// of IPv6 with such a source, so nobody outside can pretend to be `::ffff:127.0.0.1`.
///
/// # Errors
/// When none could be taken, mostly for want of descriptors.
pub(crate) async fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, peer) = listener.accept().await?;
    Ok((
        stream,
        SocketAddr::new(peer.ip().to_canonical(), peer.port()),
    ))
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use shardcast_link::settings::default_bind;

    use super::*;

    async fn seen(listener: &TcpListener, to: IpAddr) -> SocketAddr {
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect((to, port)).await.unwrap();
        let (_, peer) = accept(listener).await.unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        peer
    }

    #[tokio::test]
    async fn the_default_takes_both_families_and_shows_each_peer_in_its_own() {
        let listener = listen((default_bind(), 0).into()).unwrap();
        let peer = seen(&listener, Ipv4Addr::LOCALHOST.into()).await;
        assert_eq!(peer.ip(), Ipv4Addr::LOCALHOST);
        if default_bind().is_ipv6() {
            let peer = seen(&listener, Ipv6Addr::LOCALHOST.into()).await;
            assert_eq!(peer.ip(), Ipv6Addr::LOCALHOST);
        }
    }

    #[tokio::test]
    async fn a_port_that_is_taken_in_ipv4_is_not_free_for_the_default() {
        let first = listen((Ipv4Addr::UNSPECIFIED, 0).into()).unwrap();
        let port = first.local_addr().unwrap().port();
        let second = listen((default_bind(), port).into()).unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
    }
}
