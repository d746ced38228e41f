//! Owns the other half of every refusal: once the tree is killed, or the guard is detached, the very same act passes.
//!
//! Must not test holds and refusals as such: the suite `kernel` does.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use agent_guard_tests::guest::{Agent, Done, await_request_in, cli, eventually, request};
use serde_json::json;

use crate::{InForce, daemon, id_of, said};

const EPERM: i64 = 1;
const ENDPOINT: &str = "127.9.1.1:7000";
const TOOLS: &str = "/srv/half-tools";
/// What the programs leave that are executed.
const MARK: &str = "/srv/half-mark";

/// Every operation that has a hook, and opening for reading apart, under one verdict.
fn policy(verdict: &str) -> String {
    format!(
        "\
version: 1
timeout: 10m
labels:
  things: {{ paths: [/srv/half] }}
  tools: {{ commands: [\"ruin ** all\"] }}
  endpoint: {{ endpoints: [{{ cidr: 127.9.1.0/24 }}] }}
profiles:
  autonomous: {{ default: allow }}
  other: {{ default: allow }}
rules:
  - {{ name: things, profiles: all, operations: [write, create, delete, rename, truncate, link, exec], labels: things, verdict: {verdict} }}
  - {{ name: tools, profiles: all, operations: command, labels: tools, verdict: {verdict} }}
  - {{ name: endpoint, profiles: all, operations: connect, labels: endpoint, verdict: {verdict} }}
"
    )
}

/// One act, what it is to the policy, and whether it has left a trace.
struct Act {
    operation: &'static str,
    words: &'static str,
    has_happened: fn(&World) -> bool,
}

const fn act(operation: &'static str, words: &'static str, has_happened: fn(&World) -> bool) -> Act {
    Act { operation, words, has_happened }
}

const ACTS: [Act; 10] = [
    act("delete", "unlink /srv/half/f", |_| !exists("/srv/half/f")),
    act("create", "mkdir /srv/half/new", |_| exists("/srv/half/new")),
    act("rename", "rename /srv/half/f /srv/half/new", |_| exists("/srv/half/new")),
    act("truncate", "truncate /srv/half/f", |_| fs::read("/srv/half/f").unwrap().is_empty()),
    act("link", "link /srv/half/f /srv/half/new", |_| exists("/srv/half/new")),
    // An opening leaves none: that it succeeds is all.
    act("write", "open /srv/half/f w", |_| false),
    act("exec", "exec execve /srv/half/run", |_| exists(MARK)),
    act("command", "exec execve /srv/half-tools/ruin them all", |_| exists(MARK)),
    act("connect", "connect tcp 127.9.1.1:7000", |world| world.stream.accept().is_ok()),
    act("connect", "sendto 127.9.1.1:7000", |world| world.datagrams.recv(&mut [0; 16]).is_ok()),
];

fn exists(path: &str) -> bool {
    Path::new(path).exists()
}

/// What the acts are about.
struct World {
    stream: TcpListener,
    datagrams: UdpSocket,
}

impl World {
    fn new() -> Self {
        let world =
            Self { stream: TcpListener::bind(ENDPOINT).unwrap(), datagrams: UdpSocket::bind(ENDPOINT).unwrap() };
        world.stream.set_nonblocking(true).unwrap();
        world.datagrams.set_nonblocking(true).unwrap();
        // The directory is the label's: it stays, and what is in it changes.
        fs::create_dir_all("/srv/half").unwrap();
        fs::create_dir_all(TOOLS).unwrap();
        world.renew();
        world
    }

    /// Makes everything as it was before any act.
    fn renew(&self) {
        drop(fs::remove_file("/srv/half/new"));
        drop(fs::remove_dir("/srv/half/new"));
        drop(fs::remove_file(MARK));
        fs::write("/srv/half/f", "data").unwrap();
        for program in ["/srv/half/run", "/srv/half-tools/ruin"] {
            fs::write(program, format!("#!/bin/sh\n: > {MARK}\n")).unwrap();
            fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
        }
        while self.stream.accept().is_ok() || self.datagrams.recv(&mut [0; 16]).is_ok() {}
    }

    fn is_untouched(&self, act: &Act) -> bool {
        !(act.has_happened)(self)
    }

    /// Whether an act has passed and left its trace.
    fn has_passed(&self, act: &Act, done: &Done) -> bool {
        let executes = ["exec", "command"].contains(&act.operation);
        let has_ended_well = !executes || done.value == json!({ "status": 0 });
        done.errno == 0 && has_ended_well && (act.operation == "write" || (act.has_happened)(self))
    }
}

#[test]
fn fault_after_detach_nothing_is_refused_any_more() {
    let daemon = daemon();
    let world = World::new();
    let in_force = InForce::begin(&policy("deny"));
    let (status, held_back) = said(&cli(&["detach"]));
    assert_eq!(status, 7, "{held_back}");
    assert!(held_back.contains("a daemon works with what is pinned in /sys/fs/bpf/agent-guard: stop it first"));
    let mut agent = Agent::guarded("half-detach");
    let refuses = |agent: &mut Agent, when: &str| {
        for act in &ACTS {
            world.renew();
            let done = agent.act(act.words);
            assert!(done.errno == EPERM && world.is_untouched(act), "{when}: {}: {done:?}", act.words);
        }
    };
    refuses(&mut agent, "with a daemon");
    daemon.terminate();
    refuses(&mut agent, "without one");
    let (status, detached) = said(&cli(&["detach"]));
    assert_eq!((status, detached.as_str()), (0, "nothing is enforced any more, until the daemon is started again\n"));
    assert!(!Path::new("/sys/fs/bpf/agent-guard").exists());
    for act in &ACTS {
        // The kernel lets go of its programs a moment after the verb has returned, each by itself.
        eventually(act.words, || {
            world.renew();
            let done = agent.act(act.words);
            world.has_passed(act, &done).then_some(())
        });
    }
    assert_eq!(said(&cli(&["detach"])).0, 0, "twice is no mistake");
    agent.run.close();
    agent.run.wait();
    drop(in_force);
}

#[test]
fn fault_after_kill_every_act_that_was_held_is_undone_and_passes_without_the_tree() {
    daemon();
    let world = World::new();
    let in_force = InForce::begin(&policy("hold"));
    let mut free = Agent::unguarded();
    for (number, act) in ACTS.iter().enumerate() {
        let name = format!("half-{number}");
        world.renew();
        let mut agent = Agent::guarded(&name);
        agent.begin(act.words);
        let asked = await_request_in(&name);
        assert_eq!(asked["operation"], act.operation, "{asked}");
        assert_eq!(said(&cli(&["kill", &name])).0, 0);
        eventually("its end", || agent.run.has_ended().then_some(()));
        eventually("the end of its request", || (request(&id_of(&asked))["state"] != "pending").then_some(()));
        assert!(world.is_untouched(act), "{}", act.words);
        let done = free.act(act.words);
        assert_eq!(done.errno, 0, "without guard: {}: {done:?}", act.words);
        // Who connects may hear of it before who listens does.
        eventually(act.words, || world.has_passed(act, &done).then_some(()));
    }
    drop(in_force);
}
