//! The audit log: what is on record, in which order, and who may read it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use agent_guard_tests::guest::{
    Run, approve, as_user, await_request_in, cli, deny, eventually, request, requests, sessions,
};
use serde_json::{Value, json};

use crate::{AGENT, APPROVER, Held, daemon, file, said};

/// Records about an object, in the file's order.
fn records(object: &Path) -> Vec<Value> {
    let is_about = |record: &Value| record["act"]["object"] == *object.to_str().unwrap();
    daemon().audit().into_iter().filter(is_about).collect()
}

pub(crate) fn decisions(id: &str) -> Vec<Value> {
    let is_it = |record: &Value| record["what"] == "decided" && record["request"] == *id;
    daemon().audit().into_iter().filter(is_it).collect()
}

fn whats(records: &[Value]) -> Vec<&str> {
    records.iter().map(|record| record["what"].as_str().unwrap()).collect()
}

/// What the kernel has told last may still be on its way.
fn settled(object: &Path, count: usize) -> Vec<Value> {
    let found = eventually("the records", || Some(records(object)).filter(|records| records.len() >= count));
    thread::sleep(Duration::from_millis(200));
    assert_eq!(records(object), found, "records come twice");
    found
}

#[test]
fn audit_has_one_record_for_the_question_the_decision_and_the_act_in_this_order() {
    let held = Held::simple("recorded");
    let (file, id) = (held.file.clone(), held.id.clone());
    assert_eq!(cli(&["approve", &id, "--reason", "why not"]).status.code(), Some(0));
    let mut run = held.run;
    assert_eq!(run.wait(), 0);
    let records = settled(&file, 4);
    assert_eq!(whats(&records), ["held", "decided", "passed", "done"]);
    let questions: BTreeSet<u64> = records.iter().map(|record| record["question"].as_u64().unwrap()).collect();
    assert_eq!(questions.len(), 1, "they tell of one act");
    assert!(records.iter().all(|record| record["request"] == *id));
    let decided = &records[1];
    assert_eq!((&decided["decision"], &decided["reason"]), (&json!("approved"), &json!("why not")));
    assert_eq!((&decided["approver"]["user"], &decided["approver"]["uid"]), (&json!("root"), &json!(0)));
    assert_eq!(decided["act"]["session"]["name"], "recorded");
    assert_eq!(decided["act"]["process"]["comm"], "rm");
}

#[test]
fn audit_has_what_came_of_an_approved_act_and_the_session_counts_what_was_done() {
    daemon();
    let counts = |name: &str| {
        let session = sessions().into_iter().find(|session| session["name"] == name).unwrap();
        ["deleted", "renamed", "truncated", "failed"].map(|kind| session["outcomes"][kind].as_u64().unwrap())
    };
    fs::create_dir_all("/srv/held/full/file").unwrap();
    let script = "rmdir /srv/held/full; echo rmdir=$?; : > /srv/one; : > /srv/two; mv /srv/one /srv/three; \
                  : > /srv/two; rm /srv/two /srv/three; rmdir /srv/held; mkdir /srv/none; rmdir /srv/none; echo over; read end";
    let mut run = Run::shell("outcomes", script);
    for object in ["/srv/held/full", "/srv/held"] {
        let asked = await_request_in("outcomes");
        assert_eq!(asked["object"], object);
        let id = asked["id"].as_str().unwrap();
        approve(id);
        // It was approved, it passed, and nothing came of it: the directory is not empty.
        let shown = eventually("its outcome", || {
            let shown = request(id);
            (!shown["outcome"].is_null()).then_some(shown)
        });
        assert_eq!((&shown["state"], &shown["outcome"]["done"]), (&json!("approved"), &json!(false)), "{shown}");
        assert_eq!(shown["outcome"]["error"], "Directory not empty");
        let records = settled(Path::new(object), 4);
        assert_eq!(whats(&records), ["held", "decided", "passed", "failed"]);
        assert_eq!(records[3]["reason"], "Directory not empty");
        let sheet = said(&cli(&["show", id])).1;
        assert!(sheet.contains("failed: Directory not empty"), "{sheet}");
    }
    run.await_stdout("over");
    assert!(Path::new("/srv/held/full/file").exists());
    // Two files and a directory are gone, one was renamed, one truncated that was there; two attempts came to nothing.
    assert_eq!(counts("outcomes"), [3, 1, 1, 2]);
    let free = "touch /srv/two; rm /srv/two; echo over; read end";
    let mut other = Run::shell("other-outcomes", free);
    other.await_stdout("over");
    assert_eq!(counts("other-outcomes"), [1, 0, 0, 0], "each session has its own");
    assert_eq!(counts("outcomes"), [3, 1, 1, 2]);
}

#[test]
fn audit_has_the_refusals() {
    let mut denied = Held::simple("recorded-denied");
    deny(&denied.id);
    denied.run.wait();
    let records_denied = settled(&denied.file, 3);
    assert_eq!(whats(&records_denied), ["held", "decided", "refused"]);
    assert_eq!(records_denied[1]["decision"], "denied");

    let brief = file("brief", "recorded-expired");
    Run::shell("recorded-expired", "rm /srv/brief/recorded-expired").wait();
    let expired = settled(&brief, 3);
    assert_eq!(whats(&expired), ["held", "decided", "refused"]);
    assert_eq!(expired[1]["decision"], "expired");
    assert!(expired[1]["approver"].is_null(), "nobody did: {}", expired[1]);

    let never = file("denied", "recorded-never");
    let mut run = Run::shell("recorded-never", "rm /srv/denied/recorded-never; echo rm=$?; read end");
    run.await_stdout("rm=1");
    let refused = settled(&never, 1);
    assert_eq!(whats(&refused), ["refused"]);
    assert_eq!(refused[0]["act"]["rule"]["name"], "refused");
    run.await_stderr("agent-guard: refused: delete /srv/denied/recorded-never: ");
    run.await_stderr("Never.");
    run.wait();
}

#[test]
fn audit_has_what_passes_under_watch_and_nothing_of_what_is_allowed() {
    daemon();
    let watched = file("audited", "recorded");
    let allowed = PathBuf::from("/srv/allowed");
    fs::write(&allowed, "").unwrap();
    assert_eq!(Run::shell("recorded-audit", "rm /srv/audited/recorded /srv/allowed").wait(), 0);
    assert!(!watched.exists() && !allowed.exists());
    assert_eq!(whats(&settled(&watched, 1)), ["audited"]);
    assert_eq!(records(&allowed), Vec::<Value>::new());
    let outside = file("audited", "outside");
    fs::remove_file(&outside).unwrap();
    let denied = file("denied", "outside");
    fs::remove_file(&denied).unwrap();
    assert_eq!((records(&outside), records(&denied)), (Vec::new(), Vec::new()), "untagged acts are nobody's affair");
}

#[test]
fn audit_is_numbered_without_a_gap_and_closed_to_others() {
    let held = Held::simple("numbered");
    held.goes_on_when_approved();
    let numbers: Vec<u64> = daemon().audit().iter().map(|record| record["sequence"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    for (path, mode) in [("/var/log/agent-guard", 0o40700), ("/var/log/agent-guard/audit.jsonl", 0o100_600)] {
        let metadata = fs::symlink_metadata(path).unwrap();
        assert_eq!((metadata.mode(), metadata.uid()), (mode, 0), "{path}");
    }
    for user in [AGENT, APPROVER] {
        let mut read = Command::new("cat");
        assert!(!as_user(read.arg("/var/log/agent-guard/audit.jsonl"), user).output().unwrap().status.success());
    }
}

#[test]
fn audit_is_whole_and_what_is_changed_in_a_copy_is_found() {
    let held = Held::simple("chained");
    held.goes_on_when_approved();
    assert_eq!(daemon().terminate(), 0);
    daemon().launch();
    let copy = "/tmp/copy";
    fs::create_dir_all(copy).unwrap();
    let log = fs::read_to_string("/var/log/agent-guard/audit.jsonl").unwrap();
    let key = said(&cli(&["audit", "key"])).1;
    fs::write(format!("{copy}/key"), &key).unwrap();
    let verify = |text: &str| {
        fs::write(format!("{copy}/audit.jsonl"), text).unwrap();
        said(&cli(&["audit", "verify", copy, "--key", &format!("{copy}/key")]))
    };
    let (status, text) = verify(&log);
    assert_eq!((status, text.contains("whole, up to record")), (0, true), "{text}");
    assert!(text.contains(key.trim()), "it was ended, and so has a checkpoint: {text}");
    let (status, text) = verify(&log.replacen("/srv/held/chained", "/srv/held/changed", 1));
    assert_eq!((status, text.contains("one of the two was changed")), (1, true), "{text}");
    let (status, _) = verify(&log.lines().skip(1).map(|line| format!("{line}\n")).collect::<String>());
    assert_eq!(status, 1);
}

#[test]
fn audit_has_who_steers_sessions() {
    let mut held = Held::simple("steered");
    for verb in ["halt", "resume", "kill"] {
        assert_eq!(said(&cli(&[verb, "steered"])).0, 0);
    }
    eventually("its end", || held.run.has_ended().then_some(()));
    let is_it = |record: &Value| record["session"]["name"] == "steered";
    let ended = || daemon().audit().into_iter().filter(is_it).collect::<Vec<_>>();
    let records = eventually("its records", || Some(ended()).filter(|records| records.len() >= 5));
    let expected = ["session-started", "session-halted", "session-resumed", "session-killed", "session-ended"];
    assert_eq!(whats(&records), expected);
    assert!(records[1..4].iter().all(|record| record["approver"]["user"] == "root"));
    assert!(held.file.exists());
    let state = requests().into_iter().find(|request| request["id"] == *held.id).unwrap();
    assert_eq!(state["state"], "cancelled");
}
