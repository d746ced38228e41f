//! Limits and steering: full maps, a policy that changes under load, and sessions that are halted, resumed and killed.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use agent_guard_common::answer::{Answer, AnswerKey};
use agent_guard_common::session::Enrolment;
use agent_guard_tests::guest::{
    Agent, PinnedMap, Run, answer, approve, await_request_in, cli, eventually, never_within, pids_of,
};
use nix::errno::Errno;

use crate::policy::{ALLOWED, DENIED, HELD, MARKS};
use crate::{EPERM, agent, daemon, directory, exists, id, policy};

/// A pid that nobody has: pids end at four million.
const NOBODY: u32 = 0x4000_0000;

/// Fills a map with records that nobody will ask for, runs a check, and empties it again.
fn with_full_map(name: &str, (key, value): (usize, usize), check: impl FnOnce()) {
    let map = PinnedMap::open(name, key);
    let value = vec![0_u8; value];
    let mut keys = Vec::new();
    let full = loop {
        let mut bytes = vec![0_u8; key];
        let number = NOBODY + u32::try_from(keys.len()).unwrap();
        let at = key - 4;
        bytes[at..].copy_from_slice(&number.to_ne_bytes());
        match map.insert(&bytes, &value) {
            Ok(()) => keys.push(bytes),
            Err(errno) => break errno,
        }
    };
    assert_eq!(full, Errno::E2BIG, "after {} records", keys.len());
    check();
    for key in keys {
        map.remove(&key);
    }
}

#[test]
fn hold_a_full_map_of_enrolments_starts_no_session() {
    daemon();
    let marks = directory(MARKS, "full-enrol");
    with_full_map("ENROL", (4, size_of::<Enrolment>()), || {
        let mut run = Run::shell("full-enrol", &format!(": > {marks}/ran"));
        assert_eq!(run.wait(), 125, "{run:?}");
        assert!(!exists(&format!("{marks}/ran")), "it ran without guard");
    });
    let mut run = Run::shell("full-enrol-after", &format!(": > {marks}/ran"));
    assert_eq!(run.wait(), 0, "{run:?}");
}

#[test]
fn hold_a_full_map_of_answers_approves_nothing() {
    let mut agent = agent("full-answers");
    let path = directory(HELD, "full-answers");
    fs::write(format!("{path}/f"), "data").unwrap();
    agent.begin(&format!("unlink {path}/f"));
    let request = id(&await_request_in("full-answers"));
    with_full_map("ANSWERS", (size_of::<AnswerKey>(), size_of::<Answer>()), || {
        drop(answer(&request, "approve"));
        never_within(Duration::from_secs(1), "an answer that could not be delivered passed", || {
            !exists(&format!("{path}/f"))
        });
        if let Some(done) = agent.result() {
            assert_eq!(done.errno, EPERM);
        }
    });
    drop(agent);
    assert!(exists(&format!("{path}/f")));
    // With room again, an answer is one again.
    let mut agent = Agent::guarded("full-answers-after");
    agent.begin(&format!("unlink {path}/f"));
    approve(&id(&await_request_in("full-answers-after")));
    assert_eq!(agent.finish().errno, 0);
}

#[test]
fn hold_a_policy_that_is_replaced_under_load_is_always_in_force() {
    let mut agent = agent("reload");
    let path = directory(DENIED, "reload");
    let marks = directory(MARKS, "reload");
    fs::write(format!("{path}/f"), "data").unwrap();
    agent.begin(&format!("until {marks}/enough 5000 unlink {path}/f"));
    let text = policy::TEXT;
    for round in 0..4 {
        // Another number of rules and labels each time, so that every record moves.
        let labels: String =
            (0..=round % 3).map(|number| format!("  extra-{number}: {{ paths: [/t/x{number}] }}\n")).collect();
        daemon().reload(&text.replacen("labels:\n", &format!("labels:\n{labels}"), 1));
    }
    fs::write(format!("{marks}/enough"), "").unwrap();
    let done = agent.finish();
    daemon().reload(text);
    let errnos = done.value.as_object().unwrap();
    assert_eq!(errnos.keys().collect::<Vec<_>>(), ["1"], "{done:?}");
    assert!(errnos["1"].as_u64().unwrap() > 50, "{done:?}");
    assert!(exists(&format!("{path}/f")));
}

#[test]
fn hold_a_policy_with_faults_leaves_the_one_before_in_force() {
    let mut agent = agent("faulty");
    let path = directory(DENIED, "faulty");
    fs::write(format!("{path}/f"), "data").unwrap();
    let text = policy::TEXT;
    fs::write("/etc/agent-guard/policy.yaml", text.replace("verdict: deny", "verdict: maybe")).unwrap();
    let output = cli(&["policy", "reload"]);
    assert!(!output.status.success());
    assert_eq!(agent.errno(&format!("unlink {path}/f")), EPERM);
    daemon().reload(text);
    assert_eq!(agent.errno(&format!("unlink {path}/f")), EPERM);
}

/// What a busy tree has done so far.
fn progress(path: &str) -> u64 {
    let read = |name: &str| fs::read_to_string(format!("{path}/{name}")).ok()?.trim().parse::<u64>().ok();
    (0..3).filter_map(|number| read(&format!("count-{number}"))).sum()
}

#[test]
fn hold_a_busy_tree_halts_at_once_goes_on_when_resumed_and_ends_when_killed() {
    daemon();
    let path = directory(ALLOWED, "busy");
    let worker = format!(
        "work() {{ i=0; while :; do i=$((i+1)); echo $i > {path}/next-$1; mv {path}/next-$1 {path}/count-$1; done; }}; "
    );
    let script = format!("{worker} work 0 & work 1 & (setsid sh -c '{worker} work 2' &) ; wait");
    let mut run = Run::shell("busy", &script);
    let advances = |since: u64| eventually("progress", || Some(progress(&path)).filter(|now| *now > since));
    advances(0);
    assert!(cli(&["halt", "busy"]).status.success());
    sleep(Duration::from_millis(500));
    let halted = progress(&path);
    never_within(Duration::from_secs(1), "a halted tree went on", || progress(&path) != halted);
    assert!(cli(&["resume", "busy"]).status.success());
    let resumed = advances(halted);
    advances(resumed);
    assert!(cli(&["kill", "busy"]).status.success());
    run.wait();
    eventually("the end of every process", || pids_of(&format!("{path}/count-$1")).is_empty().then_some(()));
    let ended = progress(&path);
    never_within(Duration::from_millis(500), "a killed tree went on", || progress(&path) != ended);
}

#[test]
fn hold_a_halted_session_is_killed_with_its_questions() {
    let mut agent = agent("halt-held");
    let path = directory(HELD, "halt-held");
    fs::write(format!("{path}/f"), "data").unwrap();
    agent.begin(&format!("unlink {path}/f"));
    let request = id(&await_request_in("halt-held"));
    assert!(cli(&["halt", "halt-held"]).status.success());
    drop(answer(&request, "approve"));
    never_within(Duration::from_millis(500), "a halted session went on", || !exists(&format!("{path}/f")));
    assert!(cli(&["kill", "halt-held"]).status.success());
    eventually("its end", || agent.run.has_ended().then_some(()));
    assert!(exists(&format!("{path}/f")));
    assert_eq!(Agent::unguarded().errno(&format!("unlink {path}/f")), 0);
}
