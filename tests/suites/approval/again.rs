//! Asking again when nobody has answered: later each time, and never a way to weary an approver.

use std::thread::sleep;
use std::time::Duration;

use agent_guard_tests::guest::{Run, approve, await_request_in, requests};

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
