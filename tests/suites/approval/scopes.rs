//! Approvals that reach further than one act: as far as was said, until they end, and not a step beyond.

use std::fs;

use agent_guard_tests::guest::{Run, await_request_in, cli, deny, eventually, grants, pending, request, requests};
use serde_json::Value;

use crate::{POLICY, daemon, file, id_of, said};

fn guard(arguments: &[&str]) -> (i32, String) {
    said(&cli(arguments))
}

/// Says yes to more than one act, which must be taken.
fn approve_for(id: &str, scope: &[&str]) {
    let (status, said) = guard(&[&["approve", id, "--yes"], scope].concat());
    assert_eq!((status, said.starts_with(&format!("approved {id}"))), (0, true), "{said}");
}

fn grant(id: &str) -> Option<Value> {
    grants().into_iter().find(|grant| grant["id"] == id)
}

fn records(what: &str, grant: &str) -> Vec<Value> {
    daemon().audit().into_iter().filter(|record| record["what"] == what && record["grant"] == grant).collect()
}

/// A session that deletes a file for each line that it reads, each by a process of its own.
fn deleter(name: &str) -> Run {
    daemon();
    let script = "while read file; do rm -f \"$file\"; echo \"$file=$?\"; done";
    Run::shell(name, script)
}

/// Has it delete a file: whether that is done without a question; one is refused.
fn deletes(run: &mut Run, session: &str, path: &str) -> bool {
    run.send(path);
    let asked = eventually(&format!("{path} is deleted or asked about"), || {
        let asked = pending(session).into_iter().next().map(|request| id_of(&request));
        asked.map(Some).or_else(|| run.stdout().contains(&format!("{path}=")).then_some(None))
    });
    if let Some(id) = &asked {
        deny(id);
        run.await_stdout(&format!("{path}=1"));
    }
    assert_eq!(fs::exists(path).unwrap(), asked.is_some(), "{path}: {run:?}");
    asked.is_none()
}

#[test]
fn approval_of_a_process_lets_a_whole_tree_go_and_no_other_process() {
    daemon();
    fs::create_dir_all("/srv/held/tree/sub").unwrap();
    for number in 0..200 {
        fs::write(format!("/srv/held/tree/sub/{number}"), "x").unwrap();
    }
    let other = file("held", "not-of-the-tree");
    let script =
        "rm -f /srv/held/not-of-the-tree & other=$!; rm -rf /srv/held/tree; echo tree=$?; wait $other; echo other=$?";
    let mut run = Run::shell("tree", script);
    let both = eventually("both are asked about", || Some(pending("tree")).filter(|both| both.len() == 2));
    let (of_tree, of_other): (Vec<Value>, Vec<Value>) =
        both.into_iter().partition(|request| request["object"].as_str().unwrap().starts_with("/srv/held/tree"));
    let (id, next) = (id_of(&of_tree[0]), id_of(&of_other[0]));
    approve_for(&id, &["--process"]);
    run.await_stdout("tree=0");
    assert!(!fs::exists("/srv/held/tree").unwrap());
    assert!(other.exists() && request(&next)["state"] == "pending");
    deny(&next);
    run.await_stdout("other=1");
    run.wait();
    let asked = requests().iter().filter(|request| request["session"]["name"] == "tree").count();
    assert_eq!(asked, 2, "one for the tree, and one for the other process");
    // The files, two directories; the first file was the question itself.
    let passed =
        eventually("all that passed is on record", || Some(records("passed", &id)).filter(|all| all.len() >= 201));
    assert_eq!(passed.len(), 201);
    assert!(passed.iter().all(|record| record["act"]["object"].as_str().unwrap().starts_with("/srv/held/tree")));
    let ended = eventually("it ends with its process", || records("grant-ended", &id).pop());
    assert_eq!((ended["reason"].as_str(), ended["times"].as_u64()), (Some("its process is gone"), Some(201)));
    let decided = daemon().audit().into_iter().find(|record| record["what"] == "decided" && record["request"] == *id);
    assert_eq!(decided.unwrap()["scope"], "process");
    assert!(grant(&id).is_none());
}

#[test]
fn approval_of_a_session_holds_until_it_is_revoked() {
    let mut run = deleter("wide");
    let mut other = deleter("not-wide");
    let files: Vec<String> =
        (0..4).map(|number| file("held", &format!("wide-{number}")).display().to_string()).collect();
    run.send(&files[0]);
    let id = id_of(&await_request_in("wide"));
    approve_for(&id, &["--session", "--for", "1h"]);
    run.await_stdout(&format!("{}=0", files[0]));
    assert!(deletes(&mut run, "wide", &files[1]), "another process of the session");
    assert!(!deletes(&mut other, "not-wide", &files[2]), "another session");
    let shown = eventually("what it has let pass is counted", || grant(&id).filter(|grant| grant["used"] == 1));
    assert_eq!(
        (&shown["scope"], &shown["session"]["name"], &shown["approved"]["user"]),
        (&"session".into(), &"wide".into(), &"root".into())
    );
    let left = shown["left_ms"].as_u64().unwrap();
    assert!((3_000_000..=3_600_000).contains(&left), "{left}");
    let (status, listed) = guard(&["grants"]);
    assert!(status == 0 && listed.lines().any(|line| line.starts_with(&id) && line.contains("asked")), "{listed}");
    let (status, revoked) = guard(&["revoke", &id]);
    assert_eq!((status, revoked.contains("after 1 more act")), (0, true), "{revoked}");
    assert_eq!(records("grant-ended", &id)[0]["approver"]["user"], "root");
    assert!(!deletes(&mut run, "wide", &files[3]));
    let (status, unknown) = guard(&["revoke", &id]);
    assert_eq!((status, unknown.contains("no approval that holds on")), (5, true), "{unknown}");
    for run in [&mut run, &mut other] {
        run.close();
        run.wait();
    }
}

#[test]
fn approval_for_a_time_ends_with_it_and_with_its_policy_and_by_a_halt() {
    for (session, ends) in [
        ("timed", "its time is over"),
        ("reloaded", "another policy is in force"),
        ("halted", "its session was halted"),
    ] {
        let mut run = deleter(session);
        let [first, second] = [0, 1].map(|number| file("held", &format!("{session}-{number}")).display().to_string());
        run.send(&first);
        let id = id_of(&await_request_in(session));
        approve_for(&id, &["--session", "--for", if session == "timed" { "2s" } else { "1h" }]);
        run.await_stdout(&format!("{first}=0"));
        match session {
            "reloaded" => daemon().reload(POLICY),
            "halted" => {
                assert_eq!(guard(&["halt", session]).0, 0);
                assert_eq!(guard(&["resume", session]).0, 0);
            }
            _ => {}
        }
        let ended = eventually("it ends", || records("grant-ended", &id).pop());
        assert_eq!(ended["reason"], ends);
        assert!(!deletes(&mut run, session, &second));
        run.close();
        run.wait();
    }
}

#[test]
fn approval_reaches_no_further_than_its_rule_lets_it() {
    let mut run = deleter("narrow");
    let held = file("held", "narrow").display().to_string();
    run.send(&held);
    let id = id_of(&await_request_in("narrow"));
    let (status, said) = guard(&["approve", &id, "--rule", "--yes"]);
    assert_eq!((status, said.contains("reach no further than `session`")), (1, true), "{said}");
    assert!(fs::exists(&held).unwrap() && request(&id)["state"] == "pending");
    deny(&id);
    run.await_stdout("=1");
    // A rule that lets it: every session.
    let mut other = deleter("elsewhere");
    let [first, second] = [0, 1].map(|number| file("anywhere", &number.to_string()).display().to_string());
    run.send(&first);
    let id = id_of(&await_request_in("narrow"));
    approve_for(&id, &["--rule", "--for", "1h"]);
    run.await_stdout(&format!("{first}=0"));
    assert!(deletes(&mut other, "elsewhere", &second));
    assert_eq!(guard(&["revoke", &id]).0, 0);
    for run in [&mut run, &mut other] {
        run.close();
        run.wait();
    }
}

#[test]
fn approval_says_what_it_reaches_to_and_takes_with_it_what_waits() {
    daemon();
    let files = [file("held", "reach-0"), file("held", "reach-1")];
    let mut run = Run::shell("reach", "rm -f /srv/held/reach-0 & rm -f /srv/held/reach-1 & wait; echo over; read end");
    let waiting = eventually("both are asked about", || Some(pending("reach")).filter(|both| both.len() == 2));
    let id = id_of(&waiting[0]);
    let (status, said) = guard(&["approve", &id, "--session", "--for", "5m"]);
    assert_eq!(status, 2, "{said}");
    let expected = [
        "rule asked holds of session reach, for 5m",
        "create, delete, rename",
        "of held",
        "1 other request",
        "add --yes",
    ];
    for shown in expected {
        assert!(said.contains(shown), "{shown:?} in {said}");
    }
    assert!(files.iter().all(|file| file.exists()) && pending("reach").len() == 2);
    approve_for(&id, &["--session"]);
    run.await_stdout("over");
    assert!(!files.iter().any(|file| file.exists()));
    let other = request(&id_of(&waiting[1]));
    assert_eq!((&other["state"], &other["decision"]["user"]), (&"approved".into(), &"root".into()));
    run.close();
    run.wait();
}
