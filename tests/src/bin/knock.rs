//! Owns the ways in which a process can come to the daemon's sockets: itself, by a child, by one that is gone, by a friend.
//!
//! Must not know which of them should be let in. `knock WAY SOCKET METHOD PATH [BODY]` prints status and body.

#![expect(clippy::exit, reason = "a process whose first thread is dead ends by another")]

use std::env;
use std::io::{IoSlice, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::libc;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, connect, sendmsg, socket,
};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork, getppid, setsid};

/// One call.
#[derive(Clone)]
struct Call {
    socket: String,
    method: String,
    path: String,
    body: String,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [way, socket, method, path, rest @ ..] = &arguments[..] else { bail!("usage: WAY SOCKET METHOD PATH [BODY]") };
    let body = rest.first().cloned().unwrap_or_default();
    let call = Call { socket: socket.clone(), method: method.clone(), path: path.clone(), body };
    match way.as_str() {
        "self" => call.make(),
        "orphan" => orphan(&call),
        "leaver" => leaver(&call),
        "proxy" => proxy(&call),
        "thread" => thread_of_a_dead_leader(call),
        "gift" => gift(&call),
        other => bail!("no such way: {other}"),
    }
}

impl Call {
    fn make(&self) -> Result<()> {
        println!("{}", self.make_over(UnixStream::connect(&self.socket).context("cannot connect")?)?);
        Ok(())
    }

    /// Makes the call over a connection; the reply as status and body.
    fn make_over(&self, mut stream: UnixStream) -> Result<String> {
        stream.write_all(self.text().as_bytes())?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply)?;
        let status = reply.split(' ').nth(1).unwrap_or("none");
        let body = reply.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        Ok(format!("{status} {}", body.trim_end()))
    }

    fn text(&self) -> String {
        let Self { method, path, body, .. } = self;
        let length = body.len();
        format!("{method} {path} HTTP/1.1\r\nhost: agent-guard\r\ncontent-length: {length}\r\n\r\n{body}")
    }
}

/// A grandchild in a session of its own, whose parent is gone, makes the call.
fn orphan(call: &Call) -> Result<()> {
    let (mut here, there) = UnixStream::pair()?;
    let starter = getppid();
    // SAFETY: this process has one thread.
    if let ForkResult::Parent { child } = unsafe { fork() }? {
        drop(there);
        waitpid(child, None)?;
        let mut told = String::new();
        here.read_to_string(&mut told)?;
        print!("{told}");
        return Ok(());
    }
    setsid()?;
    let middle = nix::unistd::getpid();
    // SAFETY: this process has one thread.
    if let ForkResult::Parent { .. } = unsafe { fork() }? {
        return Ok(());
    }
    while getppid() == middle || getppid() == starter {
        thread::sleep(Duration::from_millis(10));
    }
    writeln!(&there, "{}", call.make_over(UnixStream::connect(&call.socket)?)?)?;
    Ok(())
}

/// A child makes the call and is gone before anybody can look at it.
fn leaver(call: &Call) -> Result<()> {
    // SAFETY: this process has one thread.
    if let ForkResult::Parent { child } = unsafe { fork() }? {
        waitpid(child, None)?;
        println!("left");
        return Ok(());
    }
    let mut stream = UnixStream::connect(&call.socket)?;
    stream.write_all(call.text().as_bytes())?;
    Ok(())
}

/// A child connects and is gone; the call is made over what it has left.
fn proxy(call: &Call) -> Result<()> {
    let end = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    // SAFETY: this process has one thread.
    if let ForkResult::Parent { child } = unsafe { fork() }? {
        waitpid(child, None)?;
        println!("{}", call.make_over(UnixStream::from(end))?);
        return Ok(());
    }
    connect(end.as_raw_fd(), &UnixAddr::new(call.socket.as_str())?)?;
    Ok(())
}

/// A thread makes the call while its process's first thread is dead.
fn thread_of_a_dead_leader(call: Call) -> Result<()> {
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(300));
        let made = call.make();
        process::exit(i32::from(made.is_err()));
    });
    // SAFETY: ends this thread and nothing else; what is on its stack is never used again.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    bail!("the first thread lives on")
}

/// Connects, and gives the connection to whoever listens at `BODY`; ends when that one hangs up.
fn gift(call: &Call) -> Result<()> {
    let connection = OwnedFd::from(UnixStream::connect(&call.socket)?);
    let mut taker = UnixStream::connect(&call.body).context("nobody takes the gift")?;
    let given = [connection.as_raw_fd()];
    let message = [ControlMessage::ScmRights(&given)];
    sendmsg::<()>(taker.as_raw_fd(), &[IoSlice::new(b"!")], &message, MsgFlags::empty(), None)?;
    taker.read_to_end(&mut Vec::new())?;
    Ok(())
}
