//! Acts on unix sockets, and on descriptors that come over them.

use std::io::{self, IoSliceMut, Read as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};

use nix::cmsg_space;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use serde_json::json;

use crate::Done;

fn address(name: &str) -> io::Result<SocketAddr> {
    match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(name),
    }
}

fn connect(name: &str) -> io::Result<UnixStream> {
    UnixStream::connect_addr(&address(name)?)
}

/// Connects, and takes the descriptor that is sent.
fn receive(name: &str) -> io::Result<serde_json::Value> {
    let stream = connect(name)?;
    let (mut byte, mut space) = ([0], cmsg_space!([i32; 1]));
    let mut parts = [IoSliceMut::new(&mut byte)];
    let message = recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
    // What the receiver may not have is left out, and the rest cut off.
    if message.flags.contains(MsgFlags::MSG_CTRUNC) {
        return Ok(json!(0));
    }
    let mut received = 0;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = control {
            received += fds.len();
            // SAFETY: the kernel gave these descriptors to this process, and they are closed at once.
            fds.into_iter().for_each(|fd| drop(unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    Ok(json!(received))
}

/// Listens and connects to itself.
fn meet(name: &str) -> io::Result<serde_json::Value> {
    let listener = UnixListener::bind_addr(&address(name)?)?;
    let mut near = connect(name)?;
    drop(listener.accept()?.0);
    Ok(json!(near.read(&mut [0])?))
}

/// Acts by name.
pub(crate) fn act(words: &[&str]) -> Option<Done> {
    let done = match *words {
        ["unix-connect", name] => connect(name).map(|_| json!(null)),
        ["unix-send", name] => UnixDatagram::unbound()
            .and_then(|socket| socket.send_to_addr(b"x", &address(name)?))
            .map(|sent| json!(sent)),
        ["unix-connect-datagram", name] => {
            UnixDatagram::unbound().and_then(|socket| socket.connect_addr(&address(name)?)).map(|()| json!(null))
        }
        ["unix-meet", name] => meet(name),
        ["receive", name] => receive(name),
        _ => return None,
    };
    Some(Done::std(done))
}
