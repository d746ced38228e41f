//! Other forms of an address, other protocols to it, and descriptors from before: the verdict is that of what is reached.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::process::Command;
use std::thread;

use agent_guard_tests::guest::{Agent, Run};

use crate::policy::{FREE, LABELLED};
use crate::{EPERM, await_record, daemon, denied, directory};

const ACT: &str = "/usr/local/bin/agent-guard-act";

/// Listens on this host, at the port that the policy labels and at one that it does not.
fn listeners() -> Vec<TcpListener> {
    ["127.0.0.1:7777", "[::1]:7777", "127.0.0.1:7778", "[::1]:7778"].map(|at| TcpListener::bind(at).unwrap()).into()
}

#[test]
fn egress_by_another_form_of_an_address_gets_the_verdict_of_the_host_that_it_reaches() {
    daemon();
    let _listeners = listeners();
    let mut agent = denied("forms");
    let mut free = Agent::unguarded();
    for address in ["127.0.0.1", "0.0.0.0", "[::1]", "[::]"] {
        let act = format!("connect tcp {address}:7777");
        assert_eq!(free.errno(&act), 0, "untagged: {act}");
        assert_eq!(agent.errno(&act), EPERM, "{act}");
        // A forwarder is known by its port: others of this host are not meant.
        assert_eq!(agent.errno(&act.replace("7777", "7778")), 0, "{act}");
    }
    let (address, other) = ("[64:ff9b::cb00:710a]:80", "[64:ff9b::cb00:720a]:80");
    let usual = free.errno(&format!("connect tcp {address}"));
    assert_ne!(usual, EPERM, "untagged");
    assert_eq!(agent.errno(&format!("connect tcp {address}")), EPERM, "{address}");
    assert_eq!(agent.errno(&format!("connect tcp {other}")), usual, "{other}");
    await_record("refused", "forms", "connect", "203.0.113.10:80");
}

#[test]
fn egress_by_udp_lite_is_udp_to_whoever_is_at_the_other_end() {
    daemon();
    let mut agent = denied("udplite");
    let mut free = Agent::unguarded();
    let exists = free.errno("socket udplite");
    assert_eq!(agent.errno("socket udplite"), exists, "such a socket is no raw one");
    // Kernels from 7.1 on have none.
    if exists == 0 {
        assert_ne!(free.errno("connect udplite 198.51.100.10:80"), EPERM, "untagged");
        assert_eq!(agent.errno("connect udplite 198.51.100.10:80"), EPERM);
        assert_ne!(agent.errno("connect tcp 198.51.100.10:80"), EPERM, "the label is about UDP");
        await_record("refused", "udplite", "connect", "198.51.100.10:80");
    }
}

/// Answers every question about an IPv4 address with this one, as a resolver of the agent's own would.
fn resolver(address: [u8; 4]) {
    let socket = UdpSocket::bind("127.0.0.1:53").unwrap();
    thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut query) {
            // A name, a NUL, two bytes of type and two of class (RFC 1035, 4.1.2).
            let name = query[12..length].iter().position(|byte| *byte == 0).unwrap();
            let question = &query[12..12 + name + 5];
            let is_ipv4 = question[name + 2] == 1;
            let mut answer = query[..2].to_vec();
            answer.extend([0x81, 0x80, 0, 1, 0, u8::from(is_ipv4), 0, 0, 0, 0]);
            answer.extend(question);
            if is_ipv4 {
                // The name of the question, an IPv4 address of the internet, for a second.
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
                answer.extend(address);
            }
            socket.send_to(&answer, from).unwrap();
        }
    });
}

#[test]
fn egress_by_another_name_of_a_labelled_address_gets_the_verdict_of_the_address() {
    daemon();
    fs::write("/etc/nsswitch.conf", "hosts: files dns\n").unwrap();
    fs::write("/etc/resolv.conf", "nameserver 127.0.0.1\n").unwrap();
    fs::write("/etc/hosts", "203.0.113.10 harmless.example\n203.0.114.10 other.example\n").unwrap();
    resolver([203, 0, 113, 11]);
    let mut agent = denied("names");
    let mut free = Agent::unguarded();
    for name in ["harmless.example:80", "rebound.example:80"] {
        let act = format!("connect-name tcp {name}");
        assert_ne!(free.errno(&act), EPERM, "untagged: {name}");
        assert_eq!(agent.errno(&act), EPERM, "{name}");
    }
    await_record("refused", "names", "connect", "203.0.113.10:80");
    await_record("refused", "names", "connect", "203.0.113.11:80");
    assert_ne!(agent.errno("connect-name tcp other.example:80"), EPERM, "an address without a label");
}

#[test]
fn egress_by_mptcp_is_tcp_to_whoever_is_at_the_other_end() {
    daemon();
    let _listeners = listeners();
    let mut agent = denied("mptcp");
    let mut free = Agent::unguarded();
    assert_eq!(free.errno("connect mptcp 127.0.0.1:7777"), 0, "untagged");
    assert_eq!(agent.errno("connect mptcp 127.0.0.1:7777"), EPERM);
    assert_eq!(agent.errno("connect mptcp 127.0.0.1:7778"), 0);
}

#[test]
fn escape_by_a_descriptor_from_before_the_session_changes_nothing_where_a_rule_names_modify() {
    daemon();
    let (path, other) = (directory(LABELLED, "modified"), directory(FREE, "modified"));
    fs::write(format!("{other}/from"), "F").unwrap();
    let served = |name: &str, wrapper: &str, file: &str| {
        fs::write(file, "before").unwrap();
        let line = format!("exec 3<>{file}; exec {wrapper} {ACT} serve");
        Agent::of(Run::spawn(name, Command::new("sh").args(["-c", &line])))
    };
    let guarded =
        |name: &str, file: &str| served(name, &format!("agent-guard run --profile keeping --name {name} --"), file);
    let mut agent = guarded("modified", &format!("{path}/f"));
    let mut elsewhere = guarded("modified-elsewhere", &format!("{other}/f"));
    let mut free = served("", "", &format!("{path}/g"));
    let from = format!("{other}/from");
    let acts = ["fd-write 3 W", "fd-write-at 3 P", "fd-punch 3", "fd-store 3", "fd-store-in-steps 3", "fd-splice 3"];
    let acts = acts.into_iter().map(str::to_owned).chain([format!("fd-copy 3 {from}"), format!("fd-send 3 {from}")]);
    for act in acts {
        for (agent, file) in [(&mut free, format!("{path}/g")), (&mut elsewhere, format!("{other}/f"))] {
            fs::write(&file, "before").unwrap();
            assert_eq!(agent.errno(&act), 0, "{act}: {file}");
            assert_ne!(fs::read(&file).unwrap(), b"before", "{act}: {file}");
        }
        assert_eq!(agent.errno(&act), EPERM, "{act}");
        assert_eq!(fs::read_to_string(format!("{path}/f")).unwrap(), "before", "{act}");
    }
    await_record("refused", "modified", "modify", &format!("{path}/f"));
}

#[test]
fn escape_by_a_descriptor_from_before_the_session_writes_and_does_not_truncate() {
    daemon();
    let path = directory(LABELLED, "inherited");
    let content = |text: &str| assert_eq!(fs::read_to_string(format!("{path}/f")).unwrap(), text);
    fs::write(format!("{path}/f"), "before ").unwrap();
    let line = format!("exec 3>>{path}/f; exec agent-guard run --profile denying --name inherited -- {ACT} serve");
    let mut agent = Agent::of(Run::spawn("inherited", Command::new("sh").args(["-c", &line])));
    // Reading and writing are judged when a file is opened: that was before.
    assert_eq!(agent.errno("fd-write 3 after"), 0);
    content("before after");
    assert_eq!(agent.errno("fd-truncate 3"), EPERM);
    content("before after");
    assert_eq!(agent.errno(&format!("open {path}/f w")), EPERM, "to open it again");
    let mut free =
        Agent::of(Run::spawn("", Command::new("sh").args(["-c", &format!("exec 3>>{path}/f; exec {ACT} serve")])));
    assert_eq!(free.errno("fd-truncate 3"), 0, "untagged");
    content("");
}

#[test]
fn escape_by_a_copied_and_renamed_binary_is_judged_by_what_it_does() {
    let (path, other) = (directory(LABELLED, "copied"), directory(FREE, "copied"));
    let mut agent = denied("copied");
    fs::write(format!("{path}/f"), "data").unwrap();
    let mut bytes = fs::read(ACT).unwrap();
    // Another hash, and the same program.
    bytes.push(0);
    fs::write(format!("{other}/np"), bytes).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(format!("{other}/np"), mode).unwrap();
    agent.act(&format!("exec execve {other}/np once unlink {path}/f"));
    await_record("refused", "copied", "delete", &format!("{path}/f"));
    assert!(fs::exists(format!("{path}/f")).unwrap());
    Agent::unguarded().act(&format!("exec execve {other}/np once unlink {path}/f"));
    assert!(!fs::exists(format!("{path}/f")).unwrap(), "untagged");
}
