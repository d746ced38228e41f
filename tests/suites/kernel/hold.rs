//! Attacks on a hold (hold-notes, A3 to A6): no act is done but the one that was approved, as often as it was approved.

use std::fs;

use agent_guard_tests::guest::{
    Agent, answer, approve, await_request, await_request_in, deny, eventually, failures_at, proc_state, request,
    unused_answers,
};
use serde_json::json;

use crate::policy::{ALLOWED, DENIED, HELD};
use crate::{EPERM, agent, asked, daemon, directory, exists, files, id, passes_untagged};

fn no_answer_is_left() {
    eventually("no answer in the kernel", || (unused_answers() == 0).then_some(()));
}

#[test]
fn hold_a_path_rewritten_while_held_is_another_question_and_the_precious_file_stays() {
    let mut agent = agent("swap-path");
    let path = files("swap-path", &["junk", "precious"]);
    agent.act(&format!("share {path}/junk"));
    let child = agent.act("start unlink-shared").value;
    let first = await_request_in("swap-path");
    assert_eq!(first["object"], format!("{path}/junk"));
    agent.act(&format!("share {path}/precious"));
    approve(&id(&first));
    let second = await_request_in("swap-path");
    assert_eq!(second["object"], format!("{path}/precious"));
    assert!(exists(&format!("{path}/precious")));
    deny(&id(&second));
    assert_eq!(agent.act(&format!("reap {child}")).errno, EPERM);
    assert!(exists(&format!("{path}/precious")) && exists(&format!("{path}/junk")));
    no_answer_is_left();
    passes_untagged(&format!("unlink {path}/precious"));
}

#[test]
fn hold_an_approval_is_not_spent_on_another_act_of_a_signal_handler() {
    let mut agent = agent("handler");
    let path = files("handler", &["first", "second"]);
    let child = agent.act(&format!("start handle 15 {path}/second unlink {path}/first")).value;
    let first = await_request_in("handler");
    assert_eq!(first["object"], format!("{path}/first"));
    // The handler runs before the call comes back, in the same thread, with the approval already there.
    assert_eq!(agent.errno(&format!("signal {child} 15")), 0);
    approve(&id(&first));
    let second = await_request_in("handler");
    assert_eq!(second["object"], format!("{path}/second"));
    assert!(exists(&format!("{path}/second")));
    deny(&id(&second));
    // The handler's question has made the first one void: it is asked again.
    let third = await_request_in("handler");
    assert_eq!(third["object"], format!("{path}/first"));
    approve(&id(&third));
    let done = agent.act(&format!("reap {child}"));
    assert_eq!(done.value, json!({ "act": 0, "handler": EPERM }));
    assert!(exists(&format!("{path}/second")) && !exists(&format!("{path}/first")));
    no_answer_is_left();
    passes_untagged(&format!("unlink {path}/second"));
}

#[test]
fn hold_an_approval_is_not_spent_after_a_jump_out_of_the_act_that_it_was_for() {
    let mut agent = agent("jump");
    let path = files("jump", &["first", "second"]);
    let act = format!("jump 15 {path}/first unlink {path}/second");
    for jumps_before in [true, false] {
        let child = agent.act(&format!("start {act}")).value;
        let first = await_request_in("jump");
        assert_eq!(first["object"], format!("{path}/first"));
        // The handler runs as soon as the thread goes on, by whomever it is woken.
        assert_eq!(agent.errno(&format!("signal {child} 15")), 0);
        if jumps_before {
            assert_eq!(agent.errno(&format!("signal {child} 18")), 0);
        } else {
            approve(&id(&first));
        }
        let second = await_request(|request| request["object"] == format!("{path}/second"));
        if jumps_before {
            assert_eq!(answer(&id(&first), "approve").status, 409, "its act was left");
        }
        assert!(exists(&format!("{path}/first")) && exists(&format!("{path}/second")));
        deny(&id(&second));
        let done = agent.act(&format!("reap {child}"));
        assert_eq!(done.value, json!({ "left": -1, "act": EPERM }));
        assert!(exists(&format!("{path}/first")) && exists(&format!("{path}/second")));
        no_answer_is_left();
    }
    assert_eq!(asked("jump").len(), 4);
    assert_eq!(Agent::unguarded().act(&act).value, json!({ "left": 0, "act": 0 }));
}

#[test]
fn hold_an_approval_dies_with_its_process_and_is_not_inherited_with_the_pid() {
    let mut agent = agent("pid-reuse");
    let path = files("pid-reuse", &["f"]);
    let act = format!("unlink {path}/f");
    let child = agent.act(&format!("start {act}")).value;
    let first = await_request_in("pid-reuse");
    // The signal is pending when the approval comes, and kills before the call comes back.
    assert_eq!(agent.errno(&format!("signal {child} 15")), 0);
    approve(&id(&first));
    assert_eq!(agent.act(&format!("reap {child}")).errno, -1);
    assert!(exists(&format!("{path}/f")));
    agent.begin(&format!("via pid {child} {act}"));
    let second = await_request_in("pid-reuse");
    assert_eq!(second["process"]["pid"], child, "the pid is the same: {second}");
    assert_ne!(first["id"], second["id"]);
    deny(&id(&second));
    assert_eq!(agent.finish().errno, EPERM);
    assert!(exists(&format!("{path}/f")));
    no_answer_is_left();
    passes_untagged(&act);
}

#[test]
fn hold_an_exclusive_creation_leaves_no_approval_behind() {
    let mut agent = agent("exclusive");
    let path = files("exclusive", &[]);
    agent.begin(&format!("open {path}/new cx"));
    let first = await_request_in("exclusive");
    assert!(!exists(&format!("{path}/new")));
    approve(&id(&first));
    assert_eq!(agent.finish().errno, 0);
    assert_eq!(agent.errno(&format!("open {path}/new cx")), 17, "EEXIST, and nobody is asked");
    assert_eq!(asked("exclusive").len(), 1);
    agent.begin(&format!("open {path}/new w"));
    deny(&id(&await_request_in("exclusive")));
    assert_eq!(agent.finish().errno, EPERM);
    agent.begin(&format!("open {path}/other cx"));
    deny(&id(&await_request_in("exclusive")));
    assert_eq!(agent.finish().errno, EPERM);
    assert!(!exists(&format!("{path}/other")), "no empty file is left");
    no_answer_is_left();
    passes_untagged(&format!("open {path}/new w"));
    passes_untagged(&format!("open {path}/other cx"));
}

#[test]
fn hold_is_not_ended_by_stray_wake_ups() {
    let mut agent = agent("spam-file");
    let path = files("spam-file", &["f"]);
    let child = agent.act(&format!("start unlink {path}/f")).value;
    let request = await_request_in("spam-file");
    let without_room = || failures_at("question refused for want of ring space");
    let lost = without_room();
    agent.act(&format!("spam {child} 0.5"));
    assert!(exists(&format!("{path}/f")));
    assert_eq!(asked("spam-file").len(), 1, "one question however often it is put");
    if answer(&id(&request), "approve").status < 300 {
        assert_eq!(agent.act(&format!("reap {child}")).errno, 0);
        assert!(!exists(&format!("{path}/f")));
        return;
    }
    // Woken so often that the kernel has refused it.
    assert_eq!(agent.act(&format!("reap {child}")).errno, EPERM);
    assert!(exists(&format!("{path}/f")));
    passes_untagged(&format!("unlink {path}/f"));
    // Repeats that nobody has read yet may have filled their part of the ring before they were too many.
    if without_room() == lost {
        daemon().await_record("refused for being asked too often", |record| {
            record["act"]["session"]["name"] == "spam-file"
                && record["reason"].as_str().is_some_and(|reason| reason.contains("too often"))
        });
    }
}

#[test]
fn hold_is_not_ended_by_a_tracer_that_lets_no_stop_happen() {
    let mut agent = agent("trace-file");
    let path = files("trace-file", &["f"]);
    // Or that lets it happen, and wakes what it traces without the signal for that.
    for (count, (how, seen)) in [("stopless", "signals"), ("stopping", "stops")].into_iter().enumerate() {
        let done = agent.act(&format!("trace {how} 1 unlink {path}/f"));
        assert!(done.value[seen].as_u64().unwrap() > 0, "{how}: {done:?}");
        assert!(exists(&format!("{path}/f")), "{how}: {done:?}");
        eventually("its question", || (asked("trace-file").len() == count + 1).then_some(()));
    }
    passes_untagged(&format!("unlink {path}/f"));
}

#[test]
fn hold_ends_at_once_with_its_process() {
    let mut agent = agent("killed");
    let path = files("killed", &["f"]);
    let child = agent.act(&format!("start unlink {path}/f")).value;
    let first = id(&await_request_in("killed"));
    assert_eq!(agent.errno(&format!("signal {child} 9")), 0);
    let done = agent.act(&format!("reap {child}"));
    assert_eq!(done.value, json!({ "signal": 9 }));
    assert!(exists(&format!("{path}/f")));
    eventually("the end of its question", || (request(&first)["state"] == "invalidated").then_some(()));
    passes_untagged(&format!("unlink {path}/f"));
}

#[test]
fn hold_is_refused_at_once_where_nothing_can_be_restarted() {
    let mut agent = agent("uring");
    let mut free = Agent::unguarded();
    let _listener = std::net::TcpListener::bind("127.0.0.2:7005").unwrap();
    for mode in ["inline", "async", "poll"] {
        let acts = ["unlink @/f", "mkdir @/new", "rename @/f @/moved", "link @/f @/linked", "write-open @/f"];
        let acts: Vec<String> = acts.iter().map(|act| format!("ring {mode} {act}")).collect();
        for act in &acts {
            for parent in [HELD, DENIED] {
                let path = directory(parent, "uring");
                fs::write(format!("{path}/f"), "data").unwrap();
                let act = act.replace('@', &path);
                assert_eq!(agent.errno(&act), EPERM, "{act}");
                assert_eq!(fs::read_dir(&path).unwrap().count(), 1, "{act}");
                assert!(exists(&format!("{path}/f")), "{act}");
                assert_eq!(free.errno(&act), 0, "untagged: {act}");
            }
            let path = directory(ALLOWED, "uring");
            fs::write(format!("{path}/f"), "data").unwrap();
            assert_eq!(agent.errno(&act.replace('@', &path)), 0, "allowed: {act}");
        }
        for operation in ["connect", "send"] {
            for address in ["127.0.0.2:7005", "127.0.0.3:7005"] {
                let act = format!("ring {mode} {operation} {address}");
                assert_eq!(agent.errno(&act), EPERM, "{act}");
            }
            let act = format!("ring {mode} {operation} 127.0.0.2:7005");
            assert_eq!(free.errno(&act), 0, "untagged: {act}");
        }
        let act = format!("ring {mode} send 127.0.0.1:7005");
        assert_eq!(agent.errno(&act), 0, "allowed: {act}");
    }
    assert_eq!(asked("uring").len(), 0, "nobody is asked about what cannot be held");
    no_answer_is_left();
    daemon().await_record("refused for coming through io_uring", |record| {
        record["what"] == "refused"
            && record["act"]["session"]["name"] == "uring"
            && record["reason"].as_str().is_some_and(|reason| reason.contains("io_uring"))
    });
}

#[test]
fn hold_of_a_child_leaves_its_siblings_working() {
    let mut agent = agent("sibling");
    let path = files("sibling", &["f"]);
    let child = agent.act(&format!("start unlink {path}/f")).value;
    let request = await_request_in("sibling");
    let free = directory(ALLOWED, "sibling");
    for number in 0..20 {
        assert_eq!(agent.errno(&format!("mkdir {free}/{number}")), 0);
    }
    let pid = u32::try_from(child.as_u64().unwrap()).unwrap();
    eventually("its stop", || (proc_state(pid) == Some('T')).then_some(()));
    deny(&id(&request));
    assert_eq!(agent.act(&format!("reap {child}")).errno, EPERM);
    passes_untagged(&format!("unlink {path}/f"));
}
