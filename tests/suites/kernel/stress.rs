//! Many holds at once, with signals and stray wake-ups in between: one question an operation, no kernel-internal errno,
//! no answer left behind, nobody left stopped.

use std::collections::BTreeSet;
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use agent_guard_tests::guest::{
    Agent, Done, answer, approve, eventually, failures, proc_state, state_of_thread, unused_answers,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::policy::HELD;
use crate::{agent, daemon, directory, exists, pending};

/// How long a whole stress may take.
const LIMIT: Duration = Duration::from_secs(1200);

/// Approves all that is asked until the act is done; returns what came of it and the questions.
fn approve_all(agent: &mut Agent, session: &str, mut disturb: impl FnMut()) -> (Done, BTreeSet<String>) {
    let start = Instant::now();
    let mut questions = BTreeSet::new();
    loop {
        if let Some(done) = agent.result() {
            return (done, questions);
        }
        assert!(start.elapsed() < LIMIT, "{session} is stuck after {} questions", questions.len());
        for request in pending(session) {
            // Decided between the list and the answer: then it was no question of a living thread.
            if answer(&request, "approve").status < 300 {
                assert!(questions.insert(request.clone()), "{request} was asked twice");
            }
        }
        disturb();
    }
}

fn nothing_is_left(pid: u32) {
    eventually("no answer in the kernel", || (unused_answers() == 0).then_some(()));
    eventually("nobody stopped", || (proc_state(pid) != Some('T')).then_some(()));
    for task in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let tid = task.unwrap().file_name().to_string_lossy().parse().unwrap();
        assert_ne!(state_of_thread(pid, tid), Some('T'));
    }
}

/// Has threads delete files that are held, while signals and stray wake-ups come.
fn stress(name: &str, threads: usize, each: usize) {
    let session = format!("{name}-{threads}");
    let mut agent = agent(&session);
    let pid = agent.pid();
    let path = directory(HELD, &session);
    for thread in 0..threads {
        for number in 0..each {
            fs::write(format!("{path}/{thread}-{number}"), "").unwrap();
        }
    }
    let failures_before = failures();
    agent.begin(&format!("threads {path} {threads} {each}"));
    let process = Pid::from_raw(pid.cast_signed());
    let mut signals = 0_u64;
    let (done, questions) = approve_all(&mut agent, &session, || {
        // The first signals would come before there is a handler.
        if signals > 0 || proc_state(pid) == Some('T') {
            signals += 1;
            kill(process, Signal::SIGUSR1).unwrap();
            kill(process, Signal::SIGCONT).unwrap();
        }
    });
    let total = threads * each;
    assert_eq!(done.value["errnos"], json!({ "0": total }), "{session}: {done:?}");
    assert!(done.value["handled"].as_u64().unwrap() > 0, "{session}: {done:?}");
    assert_eq!(questions.len(), total, "{session}: one question an operation");
    assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
    nothing_is_left(pid);
    assert_eq!(failures(), failures_before, "nothing was lost");
}

#[test]
fn hold_stress_of_threads_signals_and_stray_wake_ups_asks_once_an_operation() {
    for threads in [1, 2, 4, 16] {
        stress("stress", threads, 64 / threads);
    }
}

#[test]
fn long_hold_stress_of_five_thousand_approvals() {
    for threads in [1, 2, 4, 16] {
        stress("long", threads, 1250 / threads);
    }
}

#[test]
fn hold_flood_is_asked_or_refused_to_the_last_one() {
    const COUNT: usize = 100;
    let mut agent = agent("flood");
    let pid = agent.pid();
    let path = directory(HELD, "flood");
    for number in 0..COUNT {
        fs::write(format!("{path}/0-{number}"), "").unwrap();
    }
    // A daemon that is busy for a while must not lose a question.
    daemon().signal(Signal::SIGSTOP);
    agent.begin(&format!("flood {path} {COUNT}"));
    sleep(Duration::from_millis(1500));
    daemon().signal(Signal::SIGCONT);
    let (done, questions) = approve_all(&mut agent, "flood", || {});
    let count = |errno: &str| done.value["errnos"][errno].as_u64().unwrap_or(0);
    assert_eq!(count("0") + count("1"), COUNT as u64, "{done:?}");
    assert_eq!(count("0"), questions.len() as u64, "what was approved happened, and nothing else: {done:?}");
    assert_eq!(fs::read_dir(&path).unwrap().count() as u64, count("1"));
    nothing_is_left(pid);
}

#[test]
fn hold_of_two_processes_answers_each_by_itself() {
    let mut agent = agent("pair");
    let path = directory(HELD, "pair");
    for number in 0..2 {
        fs::write(format!("{path}/0-{number}"), "").unwrap();
    }
    agent.begin(&format!("flood {path} 2"));
    let both = eventually("both questions", || Some(pending("pair")).filter(|pending| pending.len() == 2));
    let object = |id: &str| agent_guard_tests::guest::request(id)["object"].as_str().unwrap().to_owned();
    let (yes, no) = (object(&both[0]), object(&both[1]));
    approve(&both[0]);
    eventually("the approved one", || (!exists(&yes)).then_some(()));
    assert!(exists(&no), "an answer is for its own process");
    assert!(agent.result().is_none());
    assert!(answer(&both[1], "deny").status < 300);
    assert_eq!(agent.finish().value["errnos"], json!({ "0": 1, "1": 1 }));
    assert!(exists(&no));
}
