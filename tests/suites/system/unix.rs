//! Unix sockets: labelled by path and by abstract name; the session's own are no way out.

use std::fs::{self, File};
use std::io::IoSlice;
use std::os::fd::AsRawFd as _;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::thread;

use agent_guard_tests::guest::{Agent, approve, await_request_in, deny};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use crate::policy::{FREE, LABELLED};
use crate::{EPERM, audited, await_record, daemon, denied, directory};

/// The doors that the policy labels, and one that it does not.
struct Doors {
    _streams: Vec<UnixListener>,
    _datagrams: Vec<UnixDatagram>,
}

const STREAMS: &[&str] = &["/t/doors/stream", "@labelled"];
const DATAGRAM: &str = "/t/doors/datagram";
const OTHER: &str = "/t/free/door";

fn address(name: &str) -> SocketAddr {
    name.strip_prefix('@')
        .map_or_else(|| SocketAddr::from_pathname(name).unwrap(), |name| SocketAddr::from_abstract_name(name).unwrap())
}

impl Doors {
    fn open() -> Self {
        daemon();
        for path in ["/t/doors/stream", DATAGRAM, OTHER] {
            drop(fs::remove_file(path));
        }
        let streams = STREAMS.iter().chain([&OTHER]).map(|name| UnixListener::bind_addr(&address(name)).unwrap());
        Self { _streams: streams.collect(), _datagrams: vec![UnixDatagram::bind(DATAGRAM).unwrap()] }
    }
}

fn acts() -> Vec<String> {
    let connects = STREAMS.iter().map(|name| format!("unix-connect {name}"));
    connects.chain(["unix-send", "unix-connect-datagram"].map(|act| format!("{act} {DATAGRAM}"))).collect()
}

#[test]
fn escape_by_a_unix_socket_that_a_label_names_is_refused_and_the_sessions_own_are_free() {
    let _doors = Doors::open();
    let mut agent = denied("doors-deny");
    let mut free = Agent::unguarded();
    for act in acts() {
        assert_eq!(free.errno(&act), 0, "untagged: {act}");
        assert_eq!(agent.errno(&act), EPERM, "{act}");
        await_record("refused", "doors-deny", "unix-connect", act.split(' ').nth(1).unwrap());
    }
    assert_eq!(agent.errno(&format!("unix-connect {OTHER}")), 0, "what no label names");
    for own in ["/t/doors/own", "@labelled-not"] {
        assert_eq!(agent.errno(&format!("unix-meet {own}")), 0, "{own}");
    }
}

#[test]
fn audit_a_unix_socket_outside_is_recorded_and_one_inside_is_not() {
    let _doors = Doors::open();
    let mut agent = audited("doors-audit");
    assert_eq!(agent.errno(&format!("unix-connect {OTHER}")), 0);
    assert_eq!(agent.errno("unix-meet /t/doors/inside"), 0);
    assert_eq!(agent.errno("unix-connect @labelled"), 0);
    await_record("audited", "doors-audit", "unix-connect", OTHER);
    await_record("audited", "doors-audit", "unix-connect", "@labelled");
    let inside = daemon().audit().iter().any(|record| record["act"]["object"] == "/t/doors/inside");
    assert!(!inside);
}

#[test]
fn hold_a_connection_to_a_unix_socket_goes_on_after_approval_and_not_before() {
    let _doors = Doors::open();
    let mut agent = Agent::under("holding", "doors-hold");
    for act in acts() {
        for yes in [false, true] {
            agent.begin(&act);
            let request = await_request_in("doors-hold");
            assert_eq!(request["operation"], "unix-connect", "{act}");
            assert!(agent.result().is_none(), "{act}");
            let id = request["id"].as_str().unwrap();
            if yes {
                approve(id)
            } else {
                deny(id)
            }
            assert_eq!(agent.finish().errno, if yes { 0 } else { EPERM }, "{act}");
        }
    }
}

/// Serves one client: hands it a descriptor.
fn hand_out(door: &str, path: &str, writes: bool) -> thread::JoinHandle<()> {
    drop(fs::remove_file(door));
    let listener = UnixListener::bind(door).unwrap();
    let file = File::options().read(true).write(writes).open(path).unwrap();
    thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let fds = [file.as_raw_fd()];
        let parts = [IoSlice::new(b"x")];
        sendmsg::<()>(stream.as_raw_fd(), &parts, &[ControlMessage::ScmRights(&fds)], MsgFlags::empty(), None).unwrap();
    })
}

#[test]
fn escape_by_a_descriptor_that_another_process_hands_over_gets_the_verdict_of_its_file() {
    let (path, other) = (directory(LABELLED, "handed"), directory(FREE, "handed"));
    for directory in [&path, &other] {
        fs::write(format!("{directory}/f"), "data").unwrap();
    }
    let mut agent = denied("handed");
    let mut free = Agent::unguarded();
    let door = format!("{other}/door");
    let received = |agent: &mut Agent, directory: &str, writes: bool| {
        let server = hand_out(&door, &format!("{directory}/f"), writes);
        let done = agent.act(&format!("receive {door}"));
        server.join().unwrap();
        assert_eq!(done.errno, 0, "{done:?}");
        done.value.as_u64().unwrap()
    };
    assert_eq!(received(&mut free, &path, true), 1, "untagged");
    assert_eq!(received(&mut agent, &path, true), 0, "the message comes without it");
    assert_eq!(received(&mut agent, &path, false), 1, "to read is allowed");
    assert_eq!(received(&mut agent, &other, true), 1, "what no label names");
    await_record("refused", "handed", "write", &format!("{path}/f"));
}
