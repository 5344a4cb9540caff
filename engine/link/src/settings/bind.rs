//! The address that ports are bound to where the operator names none.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
};

/// Every address of this machine: `::`, whose sockets take IPv4 too, or 0.0.0.0 where the kernel has no IPv6
/// (`ipv6.disable=1`). Without an address of IPv6 the sockets of `::` are those of IPv4 all the same.
pub fn default_bind() -> IpAddr {
    every_address(|address| UdpSocket::bind((address, 0)).map(drop))
}

fn every_address(try_to_bind: impl FnOnce(Ipv6Addr) -> io::Result<()>) -> IpAddr {
    match try_to_bind(Ipv6Addr::UNSPECIFIED) {
        Ok(()) => Ipv6Addr::UNSPECIFIED.into(),
        Err(_) => Ipv4Addr::UNSPECIFIED.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_without_ipv6_is_bound_to_by_ipv4() {
        let without = |_| Err(io::Error::from_raw_os_error(97));
        assert_eq!(every_address(without), Ipv4Addr::UNSPECIFIED);
        assert_eq!(every_address(|_| Ok(())), Ipv6Addr::UNSPECIFIED);
    }
}
