//! Acts on connections that stay open from one act to the next, and lookups of names.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::ptr;
use std::time::Duration;

use nix::libc;
use serde_json::{Value, json};

use crate::Done;
use crate::net::{raw, socket};

thread_local! {
    static OPEN: RefCell<BTreeMap<String, OwnedFd>> = const { RefCell::new(BTreeMap::new()) };
}

fn keep(name: &str, socket: OwnedFd) {
    OPEN.with_borrow_mut(|open| open.insert(name.to_owned(), socket));
}

fn kept(name: &str) -> OwnedFd {
    OPEN.with_borrow(|open| open[name].try_clone().unwrap())
}

fn connect(socket: &OwnedFd, address: SocketAddr) -> Done {
    let (storage, length) = raw(address);
    // SAFETY: the address is as long as said.
    Done::of(unsafe { libc::connect(socket.as_raw_fd(), (&raw const storage).cast(), length) })
}

/// Sends on a connection, in each way that the kernel has.
fn say(socket: &OwnedFd, how: &str) -> Option<Done> {
    let (fd, data) = (socket.as_raw_fd(), b"hello");
    let part = libc::iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: data.len() };
    // SAFETY: all that the calls are given lives until they return, and is as long as said.
    let sent = unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = (&raw const part).cast_mut();
        message.msg_iovlen = 1;
        match how {
            "write" => libc::write(fd, data.as_ptr().cast(), data.len()),
            "writev" => libc::writev(fd, &raw const part, 1),
            "send" => libc::send(fd, data.as_ptr().cast(), data.len(), libc::MSG_NOSIGNAL),
            "sendmsg" => libc::sendmsg(fd, &raw const message, libc::MSG_NOSIGNAL),
            "sendmmsg" => {
                let mut header = libc::mmsghdr { msg_hdr: message, msg_len: 0 };
                isize::try_from(libc::sendmmsg(fd, &raw mut header, 1, libc::MSG_NOSIGNAL)).unwrap()
            }
            "sendfile" => {
                let file = File::open("/proc/self/exe").unwrap();
                libc::sendfile(fd, file.as_raw_fd(), ptr::null_mut(), 5)
            }
            _ => return None,
        }
    };
    Some(Done::of(i64::try_from(sent).unwrap()))
}

/// A query for the address of a name.
fn query(name: &str) -> Vec<u8> {
    let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(u8::try_from(label.len()).unwrap());
        query.extend(label.bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    query
}

/// What came back, from whom, and whom the socket says it is connected to.
fn told(answer: &[u8], from: Option<SocketAddr>, peer: Option<SocketAddr>) -> Value {
    let last: Vec<String> = answer[answer.len().saturating_sub(4)..].iter().map(ToString::to_string).collect();
    let answers = u16::from_be_bytes([answer[6], answer[7]]);
    json!({ "code": answer[3] & 15, "answers": answers, "last": last.join("."), "from": from, "peer": peer })
}

fn look_up(how: &str, server: SocketAddr, name: &str) -> io::Result<Value> {
    let any: SocketAddr = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }.parse().unwrap();
    // Somebody who asks again soon: what is lost is not waited for.
    let (how, patience) = how.strip_suffix("-briefly").map_or((how, 10_000), |how| (how, 50));
    let patience = Some(Duration::from_millis(patience));
    let mut answer = vec![0; 512];
    match how {
        "udp" | "udp-connected" => {
            let socket = UdpSocket::bind(any)?;
            socket.set_read_timeout(patience)?;
            let peer = if how == "udp" {
                socket.send_to(&query(name), server)?;
                None
            } else {
                socket.connect(server)?;
                socket.send(&query(name))?;
                Some(socket.peer_addr()?)
            };
            let (length, from) = socket.recv_from(&mut answer)?;
            Ok(told(&answer[..length], Some(from), peer))
        }
        "tcp" => {
            let mut stream = TcpStream::connect(server)?;
            stream.set_read_timeout(patience)?;
            let query = query(name);
            stream.write_all(&[&u16::try_from(query.len()).unwrap().to_be_bytes()[..], &query].concat())?;
            let mut length = [0; 2];
            stream.read_exact(&mut length)?;
            answer.truncate(usize::from(u16::from_be_bytes(length)));
            stream.read_exact(&mut answer)?;
            Ok(told(&answer, None, Some(stream.peer_addr()?)))
        }
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Takes a connection that was made to a listening socket.
fn accept(listener: &OwnedFd) -> io::Result<OwnedFd> {
    // SAFETY: the descriptor is that of a listening socket, and the copy is owned by the listener alone.
    let listener = unsafe { TcpListener::from_raw_fd(libc::dup(listener.as_raw_fd())) };
    Ok(listener.accept()?.0.into())
}

/// Acts by name.
pub(crate) fn act(words: &[&str]) -> Option<Done> {
    let at = |text: &str| text.parse::<SocketAddr>().ok();
    match *words {
        ["dial", name, kind, address] => {
            let socket = socket(at(address)?, kind)?;
            let done = connect(&socket, at(address)?);
            keep(name, socket);
            Some(done)
        }
        ["redial", name, address] => Some(connect(&kept(name), at(address)?)),
        // SAFETY: the descriptor is open.
        ["relisten", name] => Some(Done::of(unsafe { libc::listen(kept(name).as_raw_fd(), 1) })),
        ["listen", name, address] => {
            let listener = TcpListener::bind(at(address)?);
            Some(Done::std(listener.map(|listener| json!(keep(name, listener.into())))))
        }
        ["accept", name, listener] => Some(Done::std(accept(&kept(listener)).map(|socket| json!(keep(name, socket))))),
        ["dial-from", name, source, address] => {
            let socket = socket(at(address)?, "tcp")?;
            let (storage, length) = raw(at(source)?);
            // What others had there may not be over.
            let on: libc::c_int = 1;
            // SAFETY: option and address are as long as said.
            unsafe {
                libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_REUSEADDR, (&raw const on).cast(), 4)
            };
            // SAFETY: as above.
            let bound = Done::of(unsafe { libc::bind(socket.as_raw_fd(), (&raw const storage).cast(), length) });
            let done = if bound.errno == 0 { connect(&socket, at(address)?) } else { bound };
            keep(name, socket);
            Some(done)
        }
        ["hear", name] => {
            let mut bytes = [0; 64];
            let count = File::from(kept(name)).read(&mut bytes);
            Some(Done::std(count.map(|count| json!(String::from_utf8_lossy(&bytes[..count])))))
        }
        ["say", name, how] => say(&kept(name), how),
        ["look-up", how, server, name] => Some(Done::std(look_up(how, at(server)?, name))),
        _ => None,
    }
}
