//! Network namespaces, and sockets on this host's loopback addresses. It must not know what is spoken over them.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsRawFd as _, BorrowedFd};

use nix::libc;

/// Ports that are tried before there is none.
const ATTEMPTS: usize = 32;

/// The cookie of the network namespace that a socket is in: the kernel gives it once (net/core/net_namespace.c).
///
/// # Errors
/// The system call's errno.
pub fn cookie(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut cookie = 0_u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the buffer and its length are alive and of the size that the option has.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}

/// The number of a network interface, by its name.
#[must_use]
pub fn interface(name: &str) -> Option<u32> {
    let is_name = !name.is_empty() && !name.contains('/') && name != "." && name != "..";
    let number = is_name.then(|| std::fs::read_to_string(format!("/sys/class/net/{name}/ifindex")).ok()).flatten()?;
    number.trim().parse().ok()
}

/// A UDP socket and a TCP listener on the same port.
#[derive(Debug)]
pub struct Pair {
    /// For datagrams.
    pub udp: UdpSocket,
    /// For connections.
    pub tcp: TcpListener,
}

/// The sockets of a port of this host.
#[derive(Debug)]
pub struct Loopback {
    /// The port.
    pub port: u16,
    /// On 127.0.0.1.
    pub ipv4: Pair,
    /// On `::1`, where the host has that.
    pub ipv6: Option<Pair>,
}

impl Loopback {
    /// Binds one port, if possible this one; 0: any.
    ///
    /// # Errors
    /// No port is free on all of them.
    pub fn bind(port: u16) -> io::Result<Self> {
        let wanted = (port != 0).then_some(port);
        let mut failed = io::Error::from(io::ErrorKind::AddrInUse);
        for port in wanted.into_iter().chain(std::iter::repeat_n(0, ATTEMPTS)) {
            match Self::try_bind(port) {
                Ok(sockets) => return Ok(sockets),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    fn try_bind(port: u16) -> io::Result<Self> {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, port))?;
        let port = udp.local_addr()?.port();
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        let ipv6 = match pair(SocketAddr::from((Ipv6Addr::LOCALHOST, port))) {
            Ok(pair) => Some(pair),
            // The host has no IPv6, or not there.
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => None,
            Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => None,
            Err(error) => return Err(error),
        };
        Ok(Self { port, ipv4: Pair { udp, tcp }, ipv6 })
    }
}

fn pair(address: SocketAddr) -> io::Result<Pair> {
    Ok(Pair { udp: UdpSocket::bind(address)?, tcp: TcpListener::bind(address)? })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::{Loopback, cookie, interface};

    #[test]
    fn one_port_is_bound_everywhere_and_bound_again_when_it_is_free() {
        let first = Loopback::bind(0).unwrap();
        let port = first.port;
        assert_ne!(Loopback::bind(port).unwrap().port, port, "it is taken");
        assert_eq!(first.ipv4.tcp.local_addr().unwrap().port(), port);
        drop(first);
        assert_eq!(Loopback::bind(port).unwrap().port, port);
    }

    #[test]
    fn an_interface_has_a_number() {
        assert_eq!(interface("lo"), Some(1));
        assert!(interface("no-such-interface").is_none() && interface("../lo").is_none() && interface("").is_none());
    }

    #[test]
    fn sockets_of_one_namespace_have_one_cookie() {
        let (one, other) = (Loopback::bind(0).unwrap(), Loopback::bind(0).unwrap());
        let first = cookie(one.ipv4.udp.as_fd()).unwrap();
        assert_ne!(first, 0);
        assert_eq!(cookie(other.ipv4.tcp.as_fd()).unwrap(), first);
    }
}
