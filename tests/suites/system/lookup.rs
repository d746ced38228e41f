//! Lookups of names: they go to the session's resolver whatever server was meant, and what is heard is known.

use std::fs;
use std::net::Ipv4Addr;
use std::sync::OnceLock;

use agent_guard_tests::guest::{Agent, Daemon, NameServer, Record, approve, await_request_in, cli, deny};
use serde_json::Value;

use crate::policy::PRODUCTION_KEYS;
use crate::{EPERM, audited, await_record, denied};

/// A server that is nowhere, and one of IPv6; and the address family's own.
const NOWHERE: &str = "192.0.2.53:53";
const NOWHERE_6: &str = "[2001:db8::53]:53";
const NXDOMAIN: u64 = 3;
const REFUSED: u64 = 5;

/// The machine's own name server, and the daemon.
fn names() -> (&'static NameServer, &'static Daemon) {
    static SERVER: OnceLock<NameServer> = OnceLock::new();
    let server = SERVER.get_or_init(NameServer::start);
    let address = |last: u8| Record::Address(Ipv4Addr::new(198, 18, 0, last));
    server.set("docs.test", address(10));
    server.set("db.prod.test", address(20));
    server.set("www.test", Record::Alias("a.b.prod.test".to_owned()));
    server.set("a.b.prod.test", address(21));
    server.set("hidden.test", address(30));
    (server, crate::daemon())
}

fn credential(test: &str) -> String {
    let key = format!("{PRODUCTION_KEYS}/{test}");
    fs::write(&key, "key").unwrap();
    key
}

fn look_up(agent: &mut Agent, how: &str, server: &str, name: &str) -> Value {
    let done = agent.act(&format!("look-up {how} {server} {name}"));
    assert_eq!(done.errno, 0, "look-up {how} {server} {name}");
    done.value
}

/// That a datagram to an address passes the guard: nothing is there, and there is no way to it.
fn passes(agent: &mut Agent, address: &str) {
    let errno = agent.errno(&format!("connect udp {address}"));
    assert!(errno == 0 || errno == i64::from(nix::libc::ENETUNREACH), "{address}: {errno}");
}

fn is_held(agent: &mut Agent, session: &str, address: &str) -> Value {
    agent.begin(&format!("connect udp {address}"));
    let request = await_request_in(session);
    deny(request["id"].as_str().unwrap());
    assert_eq!(agent.finish().errno, EPERM);
    request
}

#[test]
fn egress_lookups_go_to_the_sessions_resolver_whatever_server_was_meant() {
    let (server, _daemon) = names();
    let mut agent = Agent::under("careful", "look");
    for (how, of) in [
        ("udp", NOWHERE),
        ("udp-connected", NOWHERE),
        ("tcp", NOWHERE),
        ("udp", NOWHERE_6),
        ("udp-connected", NOWHERE_6),
        ("tcp", NOWHERE_6),
        ("udp", "127.0.0.53:53"),
        ("udp-connected", "[::ffff:192.0.2.53]:53"),
        ("tcp", "[::ffff:192.0.2.53]:53"),
        ("udp", "[::ffff:192.0.2.53]:53"),
    ] {
        let told = look_up(&mut agent, how, of, "docs.test");
        assert_eq!(told["last"], "198.18.0.10", "{how} {of}: {told}");
        // Nobody sees that another server has answered.
        for side in ["from", "peer"] {
            assert!(told[side].is_null() || told[side] == of, "{how} {of}: {side} {told}");
        }
    }
    let asked = server.asked();
    let mut free = Agent::unguarded();
    let errno = free.errno(&format!("look-up udp-connected {NOWHERE} docs.test"));
    assert_ne!(errno, 0, "others ask whom they mean");
    assert_eq!(server.asked(), asked);
    assert_eq!(look_up(&mut free, "udp", "127.0.0.53:53", "docs.test")["last"], "198.18.0.10");
}

#[test]
fn egress_to_what_a_name_stands_for_is_judged_by_the_name_and_to_a_stranger_as_to_one() {
    let (_server, daemon) = names();
    let key = credential("named");
    let mut agent = Agent::under("careful", "named");
    for name in ["docs.test", "db.prod.test", "www.test"] {
        look_up(&mut agent, "udp", NOWHERE, name);
    }
    let everywhere = ["198.18.0.10:443", "198.18.0.20:5432", "198.18.0.21:80", "198.18.0.99:443"];
    for address in everywhere {
        passes(&mut agent, address);
    }
    assert_eq!(agent.errno(&format!("open {key} r")), 0);
    for _ in 0..2 {
        passes(&mut agent, "198.18.0.10:443");
        passes(&mut agent, "127.0.0.1:443");
        let request = is_held(&mut agent, "named", "198.18.0.20:5432");
        assert_eq!(request["label"], "heard-production");
        assert!(request["object"].as_str().unwrap().ends_with("(db.prod.test)"), "{request}");
        // By an alias of it, whatever the first name was.
        assert_eq!(is_held(&mut agent, "named", "198.18.0.21:80")["label"], "heard-production");
        assert_eq!(is_held(&mut agent, "named", "198.18.0.99:443")["label"], "strangers");
        // What was heard outlives the policy and the daemon.
        assert!(cli(&["policy", "reload"]).status.success());
        is_held(&mut agent, "named", "198.18.0.20:5432");
        daemon.restart();
        look_up(&mut agent, "udp", NOWHERE, "docs.test");
    }
    // What one session has heard the next has not.
    let mut other = Agent::under("careful", "named-other");
    assert_eq!(other.errno(&format!("open {key} r")), 0);
    assert_eq!(is_held(&mut other, "named-other", "198.18.0.10:443")["label"], "strangers");
    look_up(&mut other, "tcp", NOWHERE, "docs.test");
    passes(&mut other, "198.18.0.10:443");
    passes(&mut Agent::unguarded(), "198.18.0.99:443");
}

#[test]
fn egress_is_known_by_its_name_before_the_session_hears_the_address() {
    let (server, _daemon) = names();
    let key = credential("race");
    let mut agent = Agent::under("careful", "race");
    assert_eq!(agent.errno(&format!("open {key} r")), 0);
    for number in 100..150 {
        let name = format!("n{number}.docs.test");
        server.set(&name, Record::Address(Ipv4Addr::new(198, 18, 1, number)));
        let told = look_up(&mut agent, "udp", NOWHERE, &name);
        let address = told["last"].as_str().unwrap();
        passes(&mut agent, &format!("{address}:443"));
    }
}

#[test]
fn egress_to_a_name_server_that_is_none_is_no_lookup() {
    names();
    let key = credential("none");
    let mut agent = Agent::under("careful", "none");
    assert_eq!(agent.errno(&format!("open {key} r")), 0);
    // Other protocols, and other ports.
    assert_eq!(is_held(&mut agent, "none", "192.0.2.53:5353")["label"], "strangers");
    agent.begin("connect mptcp 192.0.2.53:53");
    let request = await_request_in("none");
    assert_eq!(request["label"], "strangers");
    approve(request["id"].as_str().unwrap());
    agent.finish();
}

#[test]
fn escape_by_a_lookup_that_a_rule_denies_gets_the_answer_that_the_rule_gives() {
    names();
    let mut agent = denied("hidden");
    let mut free = Agent::unguarded();
    assert_eq!(look_up(&mut agent, "udp", NOWHERE, "hidden.test")["code"], NXDOMAIN);
    assert_eq!(look_up(&mut agent, "udp", NOWHERE, "DB.Prod.Test")["code"], REFUSED);
    assert_eq!(look_up(&mut agent, "tcp", NOWHERE, "db.prod.test")["code"], REFUSED);
    assert_eq!(look_up(&mut agent, "udp", NOWHERE, "docs.test")["code"], 0);
    await_record("refused", "hidden", "resolve", "hidden.test");
    assert_eq!(look_up(&mut free, "udp", "127.0.0.53:53", "hidden.test")["last"], "198.18.0.30");
    let mut watched = audited("watched");
    assert_eq!(look_up(&mut watched, "udp", NOWHERE, "db.prod.test")["code"], 0);
    await_record("audited", "watched", "resolve", "db.prod.test");
}

#[test]
fn audit_names_that_carry_data_are_told_of() {
    names();
    let mut agent = audited("tunnel");
    look_up(&mut agent, "udp", NOWHERE, &format!("{}.docs.test", "a".repeat(60)));
    await_record("tunnelling", "tunnel", "resolve", "docs.test");
}
