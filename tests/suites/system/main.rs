//! Owns what goes beyond files, the network and programs: what inodes say, mounts, devices, the machine, other processes
//! and unix sockets, on one daemon.
//!
//! Must not test how a call is held: that is `kernel`'s, and here the same body.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod adopt;
mod code;
mod connection;
mod credential;
mod inode;
mod lookup;
mod machine;
mod policy;
mod process;
mod reach;
mod stacked;
mod unix;

use std::fs;

use agent_guard_tests::guest::{Agent, Daemon, eventually};
use serde_json::Value;

const EPERM: i64 = 1;

fn daemon() -> &'static Daemon {
    Daemon::shared(policy::prepare)
}

/// An agent whose profile denies all of it.
fn denied(name: &str) -> Agent {
    daemon();
    Agent::under("denying", name)
}

/// An agent whose profile allows all of it, on the record.
fn audited(name: &str) -> Agent {
    daemon();
    Agent::under("auditing", name)
}

/// A fresh directory below one that the policy names.
fn directory(parent: &str, test: &str) -> String {
    // Whichever test is the first: what the policy names is made with the daemon.
    daemon();
    let path = format!("{parent}/{test}");
    drop(fs::remove_dir_all(&path));
    fs::create_dir_all(&path).unwrap();
    path
}

/// Waits for the record of an act.
fn await_record(what: &str, session: &str, operation: &str, object: &str) {
    let is_it = |record: &Value| {
        record["what"] == what
            && record["act"]["session"]["name"] == session
            && record["act"]["operation"] == operation
            && record["act"]["object"].as_str().is_some_and(|of| of.contains(object))
    };
    eventually(&format!("a record: {what} {operation} {object} in {session}"), || {
        daemon().audit().iter().any(is_it).then_some(())
    });
}
