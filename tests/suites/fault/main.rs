//! Owns what must not go wrong when things go wrong: killed daemons, full disks, bad files, bad clients, too much of all.
//!
//! Must not test what is held or who may answer. The tests share one daemon, which some of them end: each begins with
//! [`daemon`], which starts it where it is not there.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod client;
mod clock;
mod death;
mod halves;
mod hang;
mod load;
mod policy;
mod restart;
mod service;
mod start;
mod tamper;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use agent_guard_tests::guest::{CONTROL_SOCKET, Daemon, cli, http};
use serde_json::Value;

/// The policy that every test finds in force and leaves in force.
const POLICY: &str = "\
version: 1
timeout: 10m
labels:
  held: { paths: [/srv/held] }
  denied: { paths: [/srv/denied] }
  far: { endpoints: [{ cidr: 127.9.0.0/16 }] }
profiles:
  autonomous: { default: allow, questions: 1000000 }
  other: { default: allow }
rules:
  - { name: asked, profiles: all, operations: [write, create, delete, rename, truncate, link], labels: held, verdict: hold }
  - { name: refused, profiles: all, operations: [write, create, delete, rename, truncate, link], labels: denied, verdict: deny }
  - { name: unreachable, profiles: all, operations: connect, labels: far, verdict: deny }
";

const POLICY_FILE: &str = "/etc/agent-guard/policy.yaml";

/// The running daemon.
fn daemon() -> &'static Daemon {
    let daemon = Daemon::shared(|| {
        for directory in ["held", "denied", "one", "two"] {
            fs::create_dir_all(format!("/srv/{directory}")).unwrap();
        }
        POLICY.to_owned()
    });
    if http(CONTROL_SOCKET, "GET", "/v1/status", None).is_err() {
        daemon.launch();
    }
    daemon
}

/// Another policy, in force as long as this value lives. The daemon may be ended meanwhile.
struct InForce;

impl InForce {
    fn begin(policy: &str) -> Self {
        daemon().reload(policy);
        Self
    }
}

impl Drop for InForce {
    fn drop(&mut self) {
        fs::write(POLICY_FILE, POLICY).unwrap();
        daemon();
        // Where it was started again it has read the file already.
        drop(cli(&["policy", "reload"]));
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// An output as its exit status and one text.
fn said(output: &Output) -> (i32, String) {
    (output.status.code().unwrap_or(-1), text(&output.stdout) + &text(&output.stderr))
}

fn run(program: &str, args: &[&str]) -> (i32, String) {
    said(&Command::new(program).args(args).output().unwrap())
}

/// A file in one of the labelled directories.
fn file(label: &str, name: &str) -> PathBuf {
    let path = PathBuf::from(format!("/srv/{label}/{name}"));
    fs::write(&path, name).unwrap();
    path
}

fn id_of(request: &Value) -> String {
    request["id"].as_str().unwrap().to_owned()
}

/// Nothing that a client or a file can say makes the daemon stumble.
fn is_well(daemon: &Daemon) {
    let status = http(CONTROL_SOCKET, "GET", "/v1/status", None).unwrap();
    assert_eq!(status.status, 200, "{status:?}");
    assert_eq!(status.json()["pid"], daemon.pid());
    let log = daemon.log();
    assert!(!log.contains("panicked"), "{log}");
}
