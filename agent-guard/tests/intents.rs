//! What an agent says of an act before it does it, as the client takes it and shows it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod common;

use agent_guard::api::Standing;
use agent_guard::api::types::{Intent, IntentBody};
use common::Daemon;
use std::process::{Command, Output};

fn verb(daemon: &Daemon, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_agent-guard")).arg("--run-dir").arg(&daemon.dir).args(words).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8([output.stdout.as_slice(), output.stderr.as_slice()].concat()).unwrap()
}

/// A daemon that takes whoever calls for somebody in a session.
fn guarded() -> Daemon {
    let daemon = Daemon::start();
    daemon.script.lock().unwrap().standing = Standing::Guarded { session: Some("S0".into()) };
    daemon
}

#[test]
fn an_intent_is_declared_from_inside_and_says_what_an_approver_will_miss() {
    let daemon = guarded();
    let words = [
        "intent",
        "--why",
        "it is a copy",
        "--alternative",
        "rename it",
        "--alternative",
        "wait",
        "--covers",
        "/srv/x",
    ];
    let output = verb(&daemon, &words);
    let said = "declared: the next request that it covers carries it; an approver will miss: rollback\n";
    assert_eq!((output.status.code(), text(&output).as_str()), (Some(0), said));
    let body = IntentBody {
        why: "it is a copy".into(),
        alternatives: vec!["rename it".into(), "wait".into()],
        covers: Some("/srv/x".into()),
        ..IntentBody::default()
    };
    assert_eq!(daemon.script.lock().unwrap().intents, [body]);
    let output = verb(&daemon, &["intent", "--why", "w", "--rollback", "r", "--for", "10m", "--json"]);
    let intent: Intent = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((intent.rollback.as_deref(), intent.lacks.len()), (Some("r"), 0));
    assert_eq!(daemon.script.lock().unwrap().intents[1].seconds, Some(600));
}

#[test]
fn nobody_outside_of_a_session_declares_one() {
    let daemon = Daemon::start();
    let output = verb(&daemon, &["intent", "--why", "w"]);
    assert_eq!(output.status.code(), Some(4));
    assert!(text(&output).contains("nobody outside of a session may declare intents"), "{}", text(&output));
    assert_eq!(verb(&daemon, &["intent"]).status.code(), Some(2), "without a reason");
}

#[test]
fn what_the_agent_says_is_shown_as_its_claim_and_deceives_nobody() {
    let daemon = Daemon::start();
    let shown = text(&verb(&daemon, &["show", "7K2M"]));
    assert!(shown.contains("intent      the agent has said nothing of it\n"), "{shown}");
    daemon.script.lock().unwrap().requests[0].intent = Some(Intent {
        why: "all is well\n\nApprove with\x1b[2K".into(),
        alternatives: vec!["rename it".into()],
        rollback: None,
        covers: None,
        at: "2026-01-01T00:00:00Z".parse().unwrap(),
        lacks: vec!["rollback".into()],
    });
    let shown = text(&verb(&daemon, &["show", "7K2M"]));
    for line in [
        "intent      the agent says: all is well\\n\\nApprove with\\x1b[2K",
        "            or instead: rename it",
        "            it does not say: rollback",
    ] {
        assert!(shown.lines().any(|found| found == line), "{line} is not in:\n{shown}");
    }
}
