//! Approvals that reach further than one act, as people say, see and take them back.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod common;

use agent_guard::api::types::{AnswerBody, ApprovalScope, Grant};
use common::{Daemon, grant};
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

const CONTROL: &str = "control.sock";
const AGENT: &str = "agent.sock";

fn verb(daemon: &Daemon, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent-guard"));
    command.arg("--run-dir").arg(&daemon.dir).args(words).stdin(Stdio::null()).output().unwrap()
}

/// The same at a terminal, where a person types a line.
fn verb_at_a_terminal(daemon: &Daemon, words: &str, typed: &str) -> (i32, String) {
    let line = format!("{} --run-dir {} {words}", env!("CARGO_BIN_EXE_agent-guard"), daemon.dir.display());
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    let mut child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(typed.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

fn text(output: &Output) -> String {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8(both).unwrap()
}

fn answers(daemon: &Daemon) -> Vec<AnswerBody> {
    daemon.script.lock().unwrap().answers.iter().map(|(_, _, said)| said.clone()).collect()
}

#[test]
fn what_an_approval_reaches_to_is_shown_and_nothing_is_approved_unless_that_is_meant() {
    let daemon = Daemon::start();
    let output = verb(&daemon, &["approve", "7K2M", "--session", "--for", "90s"]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    let expected = [
        "what rule prod\\x1b[2J holds of session demo, for 1m 30s:",
        "  delete, rename",
        "  of production-data",
        "2 other requests that wait now are approved with it.",
        "agent-guard: nothing was approved: add --yes to mean all of that",
    ];
    for line in expected {
        assert!(said.contains(line), "{line} is not in:\n{said}");
    }
    assert!(answers(&daemon).is_empty());
    let output = verb(&daemon, &["approve", "7K2M", "--session", "--for", "90s", "--yes"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let AnswerBody { scope, seconds, .. } = answers(&daemon).remove(0);
    assert_eq!((scope, seconds), (ApprovalScope::Session, Some(90)));
}

#[test]
fn a_person_at_a_terminal_is_asked_and_only_a_yes_is_one() {
    let daemon = Daemon::start();
    for typed in ["\n", "n\n", "yess\n"] {
        let (status, said) = verb_at_a_terminal(&daemon, "approve 7K2M --process", typed);
        assert!(said.contains("process 4242 (rm), until it ends") && said.contains("[y/N]"), "{said}");
        assert_eq!(status, 1, "{said}");
        assert!(said.contains("nothing was approved"), "{said}");
    }
    assert!(answers(&daemon).is_empty());
    let (status, said) = verb_at_a_terminal(&daemon, "approve 7K2M --process", "y\n");
    assert_eq!(status, 0, "{said}");
    let AnswerBody { scope, seconds, .. } = answers(&daemon).remove(0);
    assert_eq!((scope, seconds), (ApprovalScope::Process, None));
}

#[test]
fn one_act_is_approved_without_further_questions() {
    let daemon = Daemon::start();
    assert_eq!(verb(&daemon, &["approve", "7K2M"]).status.code(), Some(0));
    assert_eq!(answers(&daemon)[0].scope, ApprovalScope::Once);
}

#[test]
fn what_holds_on_is_listed_shown_and_taken_back() {
    let daemon = Daemon::start();
    daemon.script.lock().unwrap().grants = vec![grant("7K2M", 0), grant("OTHR", 4_000_000)];
    let listed = text(&verb(&daemon, &["grants"]));
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines[0], "ID    LEFT     SCOPE     USED  RULE  SESSION");
    assert_eq!(lines[1], "7K2M  process  pid 4242  3     prod  demo");
    let all: Vec<Grant> = serde_json::from_slice(&verb(&daemon, &["grants", "--json"]).stdout).unwrap();
    assert_eq!(all.len(), 2);
    let revoked = verb(&daemon, &["revoke", "7K2M"]);
    assert_eq!(text(&revoked), "revoked 7K2M: pid 4242 of rule prod, after 3 more acts\n");
    let unknown = verb(&daemon, &["revoke", "NONE"]);
    assert_eq!(unknown.status.code(), Some(5));
    assert!(text(&unknown).contains("`agent-guard grants` lists those there are"), "{}", text(&unknown));
}

#[test]
fn the_agent_socket_shows_what_holds_of_ones_own_sessions() {
    let daemon = Daemon::start();
    daemon.script.lock().unwrap().grants = vec![grant("7K2M", 4_000_000), grant("OTHR", 4_000_001)];
    daemon.script.lock().unwrap().standing =
        agent_guard::api::Standing::Guarded { session: Some("S4000000".to_owned()) };
    let (status, own) = daemon.call(AGENT, "GET", "/v1/grants", "");
    assert_eq!((status, own.contains("7K2M"), own.contains("OTHR")), (200, true, false), "{own}");
    assert_eq!(daemon.call(AGENT, "GET", "/v1/grants/OTHR", "").0, 404);
    assert_eq!(daemon.call(CONTROL, "POST", "/v1/grants/7K2M/revoke", "").0, 403);
}
