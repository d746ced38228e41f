//! Answers: one for each request, in time, and with a reason that arrives.

use std::process::Command;

use agent_guard_tests::guest::{Run, answer, as_user, await_request_in, cli, deny, request};

use crate::audit::decisions;
use crate::{APPROVER, Held, daemon, file, id_of, said};

#[test]
fn approval_comes_once_and_the_second_is_told_who_was_first() {
    let first = Held::simple("twice");
    let second = Held::simple("twice-denied");
    let ids = [first.id.clone(), second.id.clone()];
    let mut by_approver = Command::new("agent-guard");
    as_user(by_approver.args(["approve", &ids[0]]), APPROVER).output().unwrap();
    deny(&ids[1]);
    for (id, word, who) in [(&ids[0], "approved", "approver"), (&ids[1], "denied", "root")] {
        for choice in ["approve", "deny"] {
            let (status, said) = said(&cli(&[choice, id]));
            assert_eq!(status, 6, "{said}");
            assert!(said.contains(&format!("request {id} is already {word} by {who} at 20")), "{said}");
            assert_eq!(answer(id, choice).status, 409);
        }
    }
    let (mut first, mut second) = (first, second);
    assert_eq!((first.run.wait(), second.run.wait()), (0, 0));
    assert!(!first.file.exists() && second.file.exists());
    assert_eq!(decisions(&ids[0]).len() + decisions(&ids[1]).len(), 2, "a second answer is no decision");
}

#[test]
fn approval_of_what_there_is_not_is_told_so() {
    let held = Held::simple("unknown");
    for id in ["ZZZZ", "0000", "zzzz9", "..", "../status", "%2e%2e", "a b", "", "\u{202e}7K2M", "-1", "💥"] {
        for verb in ["approve", "deny", "show"] {
            let (status, said) = said(&cli(&[verb, "--", id]));
            // The empty one is no path of any call.
            assert_eq!(status, 5, "{verb} {id:?}: {said}");
            assert!(!said.contains('\u{202e}'), "{said:?}");
        }
    }
    let long = "7".repeat(10_000);
    assert_eq!(said(&cli(&["approve", &long])).0, 5);
    for verb in ["halt", "resume", "kill"] {
        assert_eq!(said(&cli(&[verb, "no-such-session"])).0, 5);
    }
    held.goes_on_when_approved();
}

#[test]
fn approval_after_the_deadline_comes_too_late() {
    daemon();
    let file = file("brief", "late");
    let mut run = Run::shell("late", "rm /srv/brief/late; echo rm=$?; read end");
    let id = id_of(&await_request_in("late"));
    run.await_stdout("rm=1");
    let (status, said) = said(&cli(&["approve", &id]));
    assert_eq!(status, 6, "{said}");
    assert!(said.contains(&format!("request {id} is already expired at 20")), "{said}");
    assert!(file.exists());
    assert_eq!(request(&id)["state"], "expired");
    run.await_stderr("agent-guard: expired: delete /srv/brief/late");
    run.wait();
}

#[test]
fn approval_denied_tells_the_held_process_why() {
    let mut held = Held::simple("why");
    let (status, said) = said(&cli(&["deny", &held.id, "--reason", "patch it \u{1b}[2J instead"]));
    assert_eq!((status, said), (0, format!("denied {}: delete /srv/held/why\n", held.id)));
    held.run.await_stdout("rm=1");
    held.run.await_stderr(" instead\n");
    assert!(held.file.exists(), "{:?}", held.run);
    let stderr = held.run.stderr();
    let line =
        stderr.lines().find(|line| line.starts_with("agent-guard: refused:")).unwrap_or_else(|| panic!("{stderr}"));
    assert!(line.contains("delete /srv/held/why") && line.contains("patch it"), "{line}");
    assert!(!stderr.contains('\u{1b}'), "{stderr:?}");
    assert_eq!(request(&held.id)["decision"]["reason"], "patch it \u{1b}[2J instead");
    assert_eq!(held.run.wait(), 0);
}
