//! Acts on the network.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use nix::libc;
use serde_json::json;

use crate::Done;

/// A socket address as the kernel takes it.
pub(crate) fn raw(address: SocketAddr) -> (libc::sockaddr_storage, libc::socklen_t) {
    // SAFETY: an all-zero address is valid, and each variant is smaller than the storage that it is written to.
    unsafe {
        let mut storage: libc::sockaddr_storage = std::mem::zeroed();
        let at = &raw mut storage;
        let length = match address {
            SocketAddr::V4(v4) => {
                let mut in4: libc::sockaddr_in = std::mem::zeroed();
                in4.sin_family = libc::AF_INET as u16;
                in4.sin_port = v4.port().to_be();
                in4.sin_addr.s_addr = u32::from(*v4.ip()).to_be();
                at.cast::<libc::sockaddr_in>().write(in4);
                size_of::<libc::sockaddr_in>()
            }
            SocketAddr::V6(v6) => {
                let mut in6: libc::sockaddr_in6 = std::mem::zeroed();
                in6.sin6_family = libc::AF_INET6 as u16;
                in6.sin6_port = v6.port().to_be();
                in6.sin6_addr.s6_addr = v6.ip().octets();
                at.cast::<libc::sockaddr_in6>().write(in6);
                size_of::<libc::sockaddr_in6>()
            }
        };
        (storage, libc::socklen_t::try_from(length).unwrap())
    }
}

/// A socket for an address; `kind` is `tcp`, `udp`, or either with `-nonblock`.
pub(crate) fn socket(address: SocketAddr, kind: &str) -> Option<OwnedFd> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let (name, blocks) = kind.strip_suffix("-nonblock").map_or((kind, 0), |name| (name, libc::SOCK_NONBLOCK));
    let kind = match name {
        "tcp" => libc::SOCK_STREAM,
        "udp" => libc::SOCK_DGRAM,
        _ => return None,
    };
    // SAFETY: the descriptor is new, and owned from here on.
    unsafe {
        let fd = libc::socket(family, kind | blocks, 0);
        assert!(fd >= 0, "{}", std::io::Error::last_os_error());
        Some(OwnedFd::from_raw_fd(fd))
    }
}

fn connect(socket: &OwnedFd, address: SocketAddr) -> Done {
    let (storage, length) = raw(address);
    // SAFETY: the address is as long as said.
    Done::of(unsafe { libc::connect(socket.as_raw_fd(), (&raw const storage).cast(), length) })
}

fn send(socket: &OwnedFd, address: SocketAddr, flags: i32, as_unspecified: bool) -> Done {
    let (mut storage, length) = raw(address);
    if as_unspecified {
        storage.ss_family = libc::AF_UNSPEC as u16;
    }
    let data = b"hello";
    // SAFETY: data and address are as long as said.
    let sent = unsafe {
        let to = (&raw const storage).cast();
        libc::sendto(socket.as_raw_fd(), data.as_ptr().cast(), data.len(), flags | libc::MSG_NOSIGNAL, to, length)
    };
    Done::of(i64::try_from(sent).unwrap())
}

/// Sends a datagram to each address with one call.
fn send_many(socket: &OwnedFd, addresses: &[SocketAddr]) -> Done {
    let data = *b"hello";
    let mut names: Vec<_> = addresses.iter().map(|address| raw(*address)).collect();
    let mut part = libc::iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: data.len() };
    let mut messages: Vec<libc::mmsghdr> = names
        .iter_mut()
        .map(|(name, length)| {
            // SAFETY: an all-zero header is valid.
            let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
            message.msg_hdr.msg_name = std::ptr::from_mut(name).cast();
            message.msg_hdr.msg_namelen = *length;
            message.msg_hdr.msg_iov = &raw mut part;
            message.msg_hdr.msg_iovlen = 1;
            message
        })
        .collect();
    let count = u32::try_from(messages.len()).unwrap();
    // SAFETY: the headers and all they point to live until the call returns.
    Done::of(unsafe { libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), count, 0) })
}

/// Acts on the network, by name.
pub(crate) fn act(words: &[&str]) -> Option<Done> {
    let at = |text: &str| text.parse::<SocketAddr>().ok();
    let done = match *words {
        ["connect", kind, address] => connect(&socket(at(address)?, kind)?, at(address)?),
        ["sendto", address] => send(&socket(at(address)?, "udp")?, at(address)?, 0, false),
        ["sendto-unspec", address] => send(&socket(at(address)?, "udp")?, at(address)?, 0, true),
        ["fast-open", address] => send(&socket(at(address)?, "tcp")?, at(address)?, libc::MSG_FASTOPEN, false),
        ["sendmmsg", ref addresses @ ..] => {
            let addresses = addresses.iter().map(|text| at(text)).collect::<Option<Vec<_>>>()?;
            send_many(&socket(*addresses.first()?, "udp")?, &addresses)
        }
        // Connects where it may, then sends to where it may not.
        ["connected-sendto", first, second] => {
            let socket = socket(at(first)?, "udp")?;
            let done = connect(&socket, at(first)?);
            if done.errno == 0 { send(&socket, at(second)?, 0, false) } else { done }
        }
        // A v6 socket that speaks to a v4 address.
        ["mapped", kind, address] => {
            let SocketAddr::V4(v4) = at(address)? else { return None };
            let mapped = SocketAddr::from((v4.ip().to_ipv6_mapped(), v4.port()));
            connect(&socket(mapped, kind)?, mapped)
        }
        ["resolve-local"] => Done::std(UdpSocket::bind("127.0.0.1:0").map(|_| json!(null))),
        _ => return None,
    };
    Some(done)
}
