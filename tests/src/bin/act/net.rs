//! Acts on the network.

use std::fs::File;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::ptr;

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

/// A socket for an address; `kind` is `tcp`, `udp`, `udplite`, `mptcp`, or one of them with `-nonblock`.
pub(crate) fn socket(address: SocketAddr, kind: &str) -> Option<OwnedFd> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let (name, blocks) = kind.strip_suffix("-nonblock").map_or((kind, 0), |name| (name, libc::SOCK_NONBLOCK));
    let (kind, protocol) = match name {
        "tcp" => (libc::SOCK_STREAM, 0),
        "udp" => (libc::SOCK_DGRAM, 0),
        "udplite" => (libc::SOCK_DGRAM, libc::IPPROTO_UDPLITE),
        "mptcp" => (libc::SOCK_STREAM, libc::IPPROTO_MPTCP),
        _ => return None,
    };
    // SAFETY: the descriptor is new, and owned from here on.
    unsafe {
        let fd = libc::socket(family, kind | blocks, protocol);
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

/// A message of one part; a sending kernel writes to none of it.
pub(crate) fn message(to: &libc::sockaddr_storage, length: libc::socklen_t, part: &libc::iovec) -> libc::msghdr {
    // SAFETY: an all-zero header is valid.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = ptr::from_ref(to).cast_mut().cast();
    message.msg_namelen = length;
    message.msg_iov = ptr::from_ref(part).cast_mut();
    message.msg_iovlen = 1;
    message
}

/// Sends a datagram to each address with one call.
fn send_many(socket: &OwnedFd, addresses: &[SocketAddr]) -> Done {
    let data = *b"hello";
    let names: Vec<_> = addresses.iter().map(|address| raw(*address)).collect();
    let part = libc::iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: data.len() };
    let header = |(name, length): &_| libc::mmsghdr { msg_hdr: message(name, *length, &part), msg_len: 0 };
    let mut messages: Vec<libc::mmsghdr> = names.iter().map(header).collect();
    let count = u32::try_from(messages.len()).unwrap();
    // SAFETY: the headers and all they point to live until the call returns.
    Done::of(unsafe { libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), count, 0) })
}

/// Sends a datagram to each address as programs do, which call again for what is left; the value is what each call
/// said.
fn send_all(socket: &OwnedFd, mut addresses: &[SocketAddr]) -> Done {
    let mut sent = Vec::new();
    while !addresses.is_empty() {
        let done = send_many(socket, addresses);
        if done.errno != 0 {
            return Done { value: json!(sent), ..done };
        }
        let count = done.value.as_u64().unwrap();
        addresses = &addresses[usize::try_from(count).unwrap()..];
        sent.push(count);
    }
    Done::found(json!(sent))
}

/// Connects, and whatever came of that, sends the beginning of a file without it ever being the program's own.
fn send_file(socket: &OwnedFd, address: SocketAddr) -> Done {
    let connected = connect(socket, address);
    let file = File::open("/proc/self/exe").unwrap();
    // SAFETY: both descriptors are open, and there is no offset.
    let sent = unsafe { libc::sendfile(socket.as_raw_fd(), file.as_raw_fd(), ptr::null_mut(), 5) };
    if connected.errno != 0 && sent < 0 { connected } else { Done::of(i64::try_from(sent).unwrap()) }
}

/// Acts on the network, by name.
pub(crate) fn act(words: &[&str]) -> Option<Done> {
    let at = |text: &str| text.parse::<SocketAddr>().ok();
    let done = match *words {
        ["connect", kind, address] => connect(&socket(at(address)?, kind)?, at(address)?),
        // By whatever address a name has at this moment.
        ["connect-name", kind, name] => match name.to_socket_addrs().map(|mut found| found.next()) {
            Ok(Some(address)) => connect(&socket(address, kind)?, address),
            Ok(None) | Err(_) => return None,
        },
        ["sendto", address] => send(&socket(at(address)?, "udp")?, at(address)?, 0, false),
        ["sendto-unspec", address] => send(&socket(at(address)?, "udp")?, at(address)?, 0, true),
        ["fast-open", address] => send(&socket(at(address)?, "tcp")?, at(address)?, libc::MSG_FASTOPEN, false),
        ["sendmmsg", ref addresses @ ..] => {
            let addresses = addresses.iter().map(|text| at(text)).collect::<Option<Vec<_>>>()?;
            send_many(&socket(*addresses.first()?, "udp")?, &addresses)
        }
        ["sendmmsg-all", ref addresses @ ..] => {
            let addresses = addresses.iter().map(|text| at(text)).collect::<Option<Vec<_>>>()?;
            send_all(&socket(*addresses.first()?, "udp")?, &addresses)
        }
        ["sendfile", kind, address] => send_file(&socket(at(address)?, kind)?, at(address)?),
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
        _ => return None,
    };
    Some(done)
}
