//! Owns what the kernel programs promise, hook family by hook family, on one daemon.
//!
//! Must not test how the daemon fails (`fault`) nor what its API says (`approval`).

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod create;
mod escape;
mod exec;
mod file;
mod hold;
mod limit;
mod loss;
mod net;
mod policy;
mod stress;
mod tree;

use std::fs;
use std::path::Path;

use agent_guard_tests::guest::{Agent, Daemon, http};
use serde_json::Value;

/// The daemon that all tests share.
fn daemon() -> &'static Daemon {
    Daemon::shared(policy::prepare)
}

/// An agent under guard. A session's name tells tests apart, so each has its own.
fn agent(name: &str) -> Agent {
    daemon();
    Agent::guarded(name)
}

/// A fresh directory of a test below one that the policy names.
fn directory(parent: &str, test: &str) -> String {
    let path = format!("{parent}/{test}");
    drop(fs::remove_dir_all(&path));
    fs::create_dir_all(&path).unwrap();
    path
}

/// A fresh directory below the held one, with files.
fn files(test: &str, names: &[&str]) -> String {
    let path = directory(policy::HELD, test);
    for name in names {
        fs::write(format!("{path}/{name}"), "data").unwrap();
    }
    path
}

/// The other half of a refusal: the same act passes where there is no tag.
fn passes_untagged(act: &str) {
    assert_eq!(Agent::unguarded().errno(act), 0, "untagged: {act}");
}

fn exists(path: &str) -> bool {
    Path::new(path).symlink_metadata().is_ok()
}

/// Every request that a session has ever made.
fn asked(session: &str) -> Vec<Value> {
    let path = format!("/v1/requests?session={session}");
    let response = http(agent_guard_tests::guest::CONTROL_SOCKET, "GET", &path, None).unwrap();
    response.json().as_array().unwrap().clone()
}

/// The requests of a session that wait for an answer.
fn pending(session: &str) -> Vec<String> {
    let path = format!("/v1/requests?state=pending&session={session}");
    let response = http(agent_guard_tests::guest::CONTROL_SOCKET, "GET", &path, None).unwrap();
    response.json().as_array().unwrap().iter().map(id).collect()
}

/// A request's id.
fn id(request: &Value) -> String {
    request["id"].as_str().unwrap().to_owned()
}

const EPERM: i64 = 1;
