//! What gets lost: room for questions, the daemon, and whoever would wake a held process. Nothing passes because of it.

use std::fs;
use std::time::Duration;

use agent_guard_common::control::HEARTBEAT;
use agent_guard_tests::guest::{
    Agent, PinnedMap, approve, await_request, await_request_in, eventually, failures_at, never_within, proc_state,
    request,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::policy::{ALLOWED, AUDITED, DENIED};
use crate::{EPERM, agent, daemon, directory, exists, files, id, passes_untagged};

/// More than one half of the ring holds, and less than both.
const AUDITS: u64 = 1000;
/// Well below what the other half holds.
const QUESTIONS: u64 = 700;

#[test]
fn hold_for_which_the_ring_has_no_room_is_a_refusal_and_is_counted() {
    let mut agent = agent("ring-full");
    let path = files("ring-full", &["one", "two", "before", "after"]);
    let (free, audited, denied) =
        (directory(ALLOWED, "ring-full"), directory(AUDITED, "ring-full"), directory(DENIED, "ring-full"));
    fs::write(format!("{audited}/f"), "data").unwrap();
    let held = agent.act(&format!("start unlink {path}/before")).value;
    let before = id(&await_request_in("ring-full"));
    let lost = || (failures_at("question refused for want of ring space"), failures_at("event lost"));
    let (questions, events) = lost();
    // Nobody empties the ring. What is done here may take longer under emulation than a daemon may be silent, and must
    // be refused for this reason and for no other, so its last heartbeat is one for ever.
    daemon().signal(Signal::SIGSTOP);
    PinnedMap::open("CONTROL", 4).insert(&HEARTBEAT.to_ne_bytes(), &u64::MAX.to_ne_bytes()).unwrap();
    // What only informs leaves one half alone, and passes all the same.
    assert_eq!(agent.act(&format!("times {AUDITS} open {audited}/f r")).value, json!({ "0": AUDITS }));
    let last = agent.act(&format!("ask-without-end {path}/one {path}/two"));
    assert_eq!(last.errno, EPERM, "{last:?}");
    assert!(last.value.as_u64().unwrap() > QUESTIONS, "refused while there was room: {last:?}");
    assert_eq!(agent.errno(&format!("unlink {path}/one")), EPERM);
    // One that was held before finds no room for its question any more when it is woken.
    assert_eq!(agent.errno(&format!("signal {held} 18")), 0);
    assert_eq!(agent.act(&format!("reap {held}")).errno, EPERM);
    assert_eq!(agent.errno(&format!("mkdir {free}/d")), 0, "what is allowed needs no room");
    assert_eq!(agent.errno(&format!("mkdir {denied}/d")), EPERM);
    daemon().signal(Signal::SIGCONT);
    eventually("both kinds of loss in the status", || {
        let now = lost();
        (now.0 > questions && now.1 > events).then_some(())
    });
    assert!(["one", "two", "before"].iter().all(|name| exists(&format!("{path}/{name}"))));
    eventually("the end of the request before", || (request(&before)["state"] == "invalidated").then_some(()));
    // With room again, a question is one again.
    agent.begin(&format!("unlink {path}/after"));
    approve(&id(&await_request(|request| request["object"] == format!("{path}/after"))));
    assert_eq!(agent.finish().errno, 0);
    passes_untagged(&format!("unlink {path}/one"));
}

#[test]
fn hold_becomes_a_refusal_when_the_daemon_is_killed_and_works_again_after_its_restart() {
    let mut agent = agent("gone");
    let path = files("gone", &["f", "unkept"]);
    let (free, denied) = (directory(ALLOWED, "gone"), directory(DENIED, "gone"));
    // A tree whose keeper is stopped: nobody but its own processes will wake what is held in it.
    let mut unkept = Agent::guarded("gone-unkept");
    let keeper = Pid::from_raw(unkept.run.pid().cast_signed());
    let child = unkept.act(&format!("start unlink {path}/unkept")).value;
    drop(await_request_in("gone-unkept"));
    kill(keeper, Signal::SIGSTOP).unwrap();
    let act = format!("unlink {path}/f");
    agent.begin(&act);
    drop(await_request_in("gone"));
    daemon().kill9();
    // The last heartbeat is still young: whoever is woken is held again, by programs that nobody listens to.
    unkept.act(&format!("times 100 signal {child} 18"));
    assert!(exists(&format!("{path}/unkept")));
    // The other tree's keeper wakes what is held when the heartbeat is old.
    assert_eq!(agent.finish().errno, EPERM);
    assert!(exists(&format!("{path}/f")));
    let child_pid = u32::try_from(child.as_u64().unwrap()).unwrap();
    assert_eq!(proc_state(child_pid), Some('T'), "somebody has woken it");
    unkept.act(&format!("spam {child} 0.3"));
    assert_eq!(unkept.act(&format!("reap {child}")).errno, EPERM);
    assert!(exists(&format!("{path}/unkept")));
    assert_eq!(agent.errno(&act), EPERM, "a new question is refused at once");
    assert_eq!(agent.errno(&format!("mkdir {free}/d")), 0, "what is allowed needs no daemon");
    assert_eq!(agent.errno(&format!("mkdir {denied}/d")), EPERM);
    passes_untagged(&format!("mkdir {denied}/d"));
    passes_untagged(&format!("unlink {path}/unkept"));
    assert!(exists(&format!("{path}/f")));
    kill(keeper, Signal::SIGCONT).unwrap();
    daemon().launch();
    agent.begin(&act);
    let request = await_request_in("gone");
    never_within(Duration::from_millis(200), "it went on", || !exists(&format!("{path}/f")));
    approve(&id(&request));
    assert_eq!(agent.finish().errno, 0);
    assert!(!exists(&format!("{path}/f")));
}
