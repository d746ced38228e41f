//! Asking again when nobody has answered: later each time, and never a way to weary an approver.

use std::thread::sleep;
use std::time::Duration;

use agent_guard_tests::guest::{Run, answer, approve, await_request_in, cli, eventually, pending, requests, sessions};

use crate::{daemon, file, id_of};

fn asked(session: &str) -> usize {
    requests().iter().filter(|request| request["session"]["name"] == session).count()
}

#[test]
fn approval_is_not_asked_for_again_at_once_and_other_things_are() {
    daemon();
    let (wanted, other) = (file("brief", "again"), file("brief", "another"));
    let script = "rm -f /srv/brief/again; echo first=$?; rm -f /srv/brief/again; echo second=$?; \
                  rm -f /srv/brief/another; echo other=$?; read go; rm -f /srv/brief/again; echo third=$?; read end";
    let mut run = Run::shell("again", script);
    // Nobody answers: it expires, and is refused at once when it is tried again.
    run.await_stdout("second=1");
    run.await_stderr("it was asked, and nobody answered: people are asked again in ");
    let another = await_request_in("again");
    assert_eq!((&another["object"], asked("again")), (&"/srv/brief/another".into(), 2));
    approve(&id_of(&another));
    run.await_stdout("other=0");
    assert!(wanted.exists() && !other.exists());
    let refused = daemon().audit().into_iter().find(|record| {
        let why = record["reason"].as_str().unwrap_or_default();
        record["act"]["object"] == "/srv/brief/again" && why.contains("asked again in")
    });
    assert_eq!(refused.unwrap()["decision"], "denied");
    // The pause is over.
    sleep(Duration::from_secs(6));
    run.send("go");
    let third = await_request_in("again");
    assert_eq!((&third["object"], asked("again")), (&"/srv/brief/again".into(), 3));
    approve(&id_of(&third));
    run.await_stdout("third=0");
    assert!(!wanted.exists());
    run.wait();
}

#[test]
fn approval_flood_halts_whoever_asks_and_leaves_one_question() {
    daemon();
    let files: Vec<_> = (0..8).map(|number| file("held", &format!("flood-{number}"))).collect();
    let script = "for i in 0 1 2 3 4 5 6 7; do (rm -f /srv/held/flood-$i; echo rm-$i=$?) & done; wait; read end";
    let mut run = Run::under("flooding", "flood", &["/bin/sh", "-c", script]);
    let flooding = || sessions().into_iter().find(|session| session["name"] == "flood");
    let halted = eventually("the end of the flood", || flooding().filter(|session| session["state"] == "halted"));
    assert_eq!(halted["halted"], "it asked more than 3 questions in a minute", "{halted}");
    daemon().await_record("the halt, and why", |record| {
        record["what"] == "session-halted"
            && record["session"]["name"] == "flood"
            && record["reason"].as_str().is_some_and(|why| why.contains("more than 3 questions"))
    });
    // What has been asked before is not answered one by one: whether it goes on is the question.
    let asked = pending("flood");
    let said = answer(&id_of(&asked[0]), "approve");
    assert_eq!((said.status, said.body.contains("resume it first")), (409, true), "{said:?}");
    assert!(files.iter().all(|file| file.exists()));
    // Whoever asks as often as people can answer is asked about as ever.
    let calm = file("held", "calm");
    let mut other = Run::shell("calm", "rm /srv/held/calm; echo rm=$?");
    approve(&id_of(&await_request_in("calm")));
    assert_eq!((other.wait(), calm.exists()), (0, false));
    // A person lets it go on, and it begins anew.
    assert!(cli(&["resume", "flood"]).status.success());
    assert_eq!(flooding().unwrap()["halted"], serde_json::Value::Null);
    approve(&id_of(&pending("flood")[0]));
    eventually("one file is gone", || files.iter().any(|file| !file.exists()).then_some(()));
    assert!(cli(&["kill", "flood"]).status.success());
    run.wait();
    assert!(files.iter().filter(|file| file.exists()).count() >= 6, "one was approved");
}
