//! Approvals that take more than one answer: several people, in a group, with a reason, by typing the object once more.

use std::process::{Command, Output};

use agent_guard_tests::guest::{Run, as_user, await_request_in, deny, request};
use serde_json::json;

use crate::{APPROVER, daemon, file, id_of, said};

/// Says yes as root, or as the approver.
fn approve_as(uid: u32, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new("agent-guard");
    command.arg("approve").args(arguments);
    let output: Output = if uid == 0 { command.output() } else { as_user(&mut command, uid).output() }.unwrap();
    said(&output)
}

#[test]
fn approval_by_two_takes_two_people_and_all_that_the_rule_demands_of_each() {
    daemon();
    let file = file("shared", "two");
    let mut run = Run::shell("two", "rm /srv/shared/two; echo rm=$?; read end");
    let id = id_of(&await_request_in("two"));
    let confirmed = ["--confirm", "/srv/shared/two", "--reason", "agreed"];
    for (arguments, missing) in [
        (&confirmed[..2], "demands a reason"),
        (&confirmed[2..], "demands a confirmation"),
        (&["--confirm", "x", "--reason", "y"], "demands a confirmation"),
    ] {
        let (status, said) = approve_as(0, &[&[id.as_str()], arguments].concat());
        assert_eq!(status, 1, "{said}");
        assert!(said.contains(missing), "{said}");
    }
    let all = [&[id.as_str()], &confirmed[..]].concat();
    let (status, said) = approve_as(0, &all);
    assert_eq!((status, said.contains("1 of 2 approvals: root")), (0, true), "{said}");
    let (status, said) = approve_as(0, &all);
    assert_eq!((status, said.contains("user root has approved it already")), (6, true), "{said}");
    assert!(file.exists() && request(&id)["state"] == "pending");
    assert_eq!(request(&id)["approval"]["consents"][0]["user"], "root");
    let (status, said) = approve_as(APPROVER, &all);
    assert_eq!((status, said.starts_with(&format!("approved {id}: delete /srv/shared/two"))), (0, true), "{said}");
    run.await_stdout("rm=0");
    assert!(!file.exists());
    run.wait();
    let whats = |what: &str| {
        let is_it = |record: &&serde_json::Value| record["what"] == what && record["request"] == *id;
        daemon().audit().iter().filter(is_it).map(|record| record["approver"]["user"].clone()).collect::<Vec<_>>()
    };
    assert_eq!((whats("consented"), whats("decided")), (vec![json!("root")], vec![json!("approver")]));
}

#[test]
fn approval_by_two_is_refused_by_one_no() {
    daemon();
    let file = file("shared", "one-no");
    let mut run = Run::shell("one-no", "rm /srv/shared/one-no; echo rm=$?; read end");
    let id = id_of(&await_request_in("one-no"));
    let all = [id.as_str(), "--confirm", "/srv/shared/one-no", "--reason", "agreed"];
    assert_eq!(approve_as(APPROVER, &all).0, 0);
    deny(&id);
    run.await_stdout("rm=1");
    assert!(file.exists());
    run.wait();
}

#[test]
fn approval_of_a_group_is_not_anybody_elses_nor_that_of_the_sessions_own_user() {
    daemon();
    let file = file("grouped", "own");
    let mut run = Run::shell("own", "rm /srv/grouped/own; echo rm=$?; read end");
    let id = id_of(&await_request_in("own"));
    let (status, said) = approve_as(0, &[&id]);
    assert_eq!((status, said.contains("its session is the user's own")), (4, true), "{said}");
    assert!(file.exists());
    assert_eq!(approve_as(APPROVER, &[&id]).0, 0);
    run.await_stdout("rm=0");
    run.wait();
    // A session of the approver's: root is another user, and not in the group.
    let file = self::file("grouped", "others");
    let mut command = Command::new("agent-guard");
    command.args(["run", "--name", "others", "--", "sh", "-c", "rm -f /srv/grouped/others; echo rm=$?; read end"]);
    std::os::unix::fs::chown("/srv/grouped", Some(APPROVER), None).unwrap();
    let mut run = Run::spawn("others", as_user(&mut command, APPROVER));
    let id = id_of(&await_request_in("others"));
    let (status, said) = approve_as(0, &[&id]);
    assert_eq!((status, said.contains("demands somebody in group agent-guard")), (4, true), "{said}");
    deny(&id);
    run.await_stdout("rm=1");
    assert!(file.exists());
    run.wait();
}
