//! Executing: programs by their file, commands by their arguments, and the proof of what was executed.

use std::fs;
use std::time::Duration;

use agent_guard_tests::guest::{
    Agent, Done, Run, answer, approve, await_request_in, deny, eventually, judged, never_within,
};
use serde_json::{Value, json};

use crate::policy::{AUDITED, DENIED, HELD, MARKS, PROGRAMS, script};
use crate::{EPERM, agent, asked, daemon, directory, exists, id, pending};

/// Every way to execute.
const WAYS: [&str; 7] = ["execve", "execveat", "execveat-fd", "fexecve", "spawn", "thread", "compat"];
const EPERM_STATUS: i32 = 126;

/// Executes the marker with a word; its mark is `MARKS/TEST/WORD`.
fn marker(way: &str, word: &str, marks: &str) -> String {
    format!("exec {way} {PROGRAMS}/marker {word} {marks}")
}

fn ran(done: &Done) -> bool {
    done.errno == 0 && done.value == json!({ "status": 0 })
}

/// The kernel reads a long word in pieces, and each stands for one word all the same.
#[test]
fn hold_a_long_word_is_one_word_to_a_pattern_before_and_after_execve() {
    let mut agent = agent("long-word");
    let marks = directory(MARKS, "long-word");
    let long = "a".repeat(150);
    // One word short of what the pattern describes.
    let done = agent.act(&format!("exec execve {PROGRAMS}/marker long {marks} {long} stop"));
    assert!(ran(&done), "{done:?}");
    assert!(exists(&format!("{marks}/long")));
    agent.begin(&format!("exec execve {PROGRAMS}/marker long {marks} {long} {long} stop"));
    approve(&id(&await_request_in("long-word")));
    assert!(ran(&agent.finish()));
}

/// The other half of a refusal.
fn runs_untagged(act: &str) {
    let done = Agent::unguarded().act(act);
    assert!(ran(&done), "untagged: {act}: {done:?}");
}

#[test]
fn hold_no_exec_of_an_untagged_process_is_seen() {
    daemon();
    let mut agent = Agent::unguarded();
    let before = judged();
    let marks = directory(MARKS, "untagged");
    for way in WAYS {
        for word in ["fine", "peek", "evil", "ruin"] {
            let done = agent.act(&marker(way, word, &marks));
            assert!(ran(&done), "{way} {word}: {done:?}");
            fs::remove_file(format!("{marks}/{word}")).unwrap();
        }
    }
    for parent in [HELD, DENIED] {
        let program = directory(parent, "untagged-exec");
        script(&format!("{program}/run"), "#!/bin/sh\nexit 0\n");
        for way in WAYS {
            assert!(ran(&agent.act(&format!("exec {way} {program}/run"))), "{way} in {parent}");
        }
    }
    assert_eq!(judged(), before);
}

#[test]
fn hold_a_command_runs_after_approval_and_not_before_with_one_question() {
    let mut agent = agent("command-hold");
    let marks = directory(MARKS, "command-hold");
    for (count, way) in WAYS.into_iter().enumerate() {
        let mark = format!("{marks}/evil");
        agent.begin(&marker(way, "evil", &marks));
        let request = await_request_in("command-hold");
        assert_eq!(request["operation"], "command", "{request}");
        assert_eq!(request["label"], "command-held", "{request}");
        assert!(request["object"].as_str().unwrap().contains("evil"), "{way}: {request}");
        assert!(!exists(&mark), "{way}");
        approve(&id(&request));
        let done = agent.finish();
        assert!(ran(&done), "{way}: {done:?}");
        assert!(exists(&mark), "{way}");
        fs::remove_file(mark).unwrap();
        assert_eq!(asked("command-hold").len(), count + 1, "{way}: one question");
    }
}

#[test]
fn hold_a_command_does_not_run_after_a_denial() {
    let mut agent = agent("command-refuse");
    let marks = directory(MARKS, "command-refuse");
    for way in WAYS {
        agent.begin(&marker(way, "evil", &marks));
        deny(&id(&await_request_in("command-refuse")));
        let done = agent.finish();
        assert_eq!(done.errno, EPERM, "{way}: {done:?}");
        assert!(!exists(&format!("{marks}/evil")), "{way}");
    }
}

#[test]
fn hold_a_denied_command_does_not_run_and_nobody_is_asked() {
    let mut agent = agent("command-deny");
    let marks = directory(MARKS, "command-deny");
    for way in WAYS {
        let done = agent.act(&marker(way, "ruin", &marks));
        assert_eq!(done.errno, EPERM, "{way}: {done:?}");
        assert!(!exists(&format!("{marks}/ruin")), "{way}");
    }
    assert_eq!(asked("command-deny").len(), 0);
}

#[test]
fn hold_only_the_arguments_that_a_pattern_describes_are_asked_about() {
    let mut agent = agent("command-other");
    let marks = directory(MARKS, "command-other");
    for word in ["fine", "evi", "evill", "EVIL", "peek"] {
        let done = agent.act(&marker("execve", word, &marks));
        assert!(ran(&done), "{word}: {done:?}");
        assert!(exists(&format!("{marks}/{word}")), "{word}");
    }
    // A word with a wildcard is any word to the kernel; the daemon knows better, and asks nobody.
    assert_eq!(asked("command-other").len(), 0);
    agent.begin(&marker("execve", "evil-twin", &marks));
    deny(&id(&await_request_in("command-other")));
    assert_eq!(agent.finish().errno, EPERM);
    runs_untagged(&marker("execve", "evil-twin", &marks));
    daemon().await_record("an audited command", |record| {
        record["what"] == "audited" && record["act"]["session"]["name"] == "command-other"
    });
}

#[test]
fn hold_a_script_is_known_by_its_own_name_and_arguments() {
    let mut agent = agent("command-script");
    let marks = directory(MARKS, "command-script");
    for way in WAYS {
        agent.begin(&format!("exec {way} {PROGRAMS}/teardown prod {marks}"));
        let request = await_request_in("command-script");
        assert_eq!(request["operation"], "command", "{way}: {request}");
        assert!(!exists(&format!("{marks}/prod")), "{way}");
        approve(&id(&request));
        let done = agent.finish();
        assert!(ran(&done), "{way}: {done:?}");
        fs::remove_file(format!("{marks}/prod")).unwrap();
    }
    assert_eq!(asked("command-script").len(), WAYS.len());
    // A double star stands for any words in between.
    agent.begin(&format!("exec execve {PROGRAMS}/nested a {marks} -c destroy"));
    deny(&id(&await_request_in("command-script")));
    assert_eq!(agent.finish().errno, EPERM);
    runs_untagged(&format!("exec execve {PROGRAMS}/nested a {marks} -c destroy"));
    assert!(ran(&agent.act(&format!("exec execve {PROGRAMS}/nested a {marks} -c plan"))));
}

#[test]
fn hold_a_command_is_known_under_another_name_of_its_file() {
    let mut agent = agent("command-name");
    let marks = directory(MARKS, "command-name");
    let (link, other) = (format!("{marks}/innocent"), format!("{marks}/marker"));
    std::os::unix::fs::symlink(format!("{PROGRAMS}/marker"), &link).unwrap();
    std::os::unix::fs::symlink("/usr/local/bin/agent-guard-act", &other).unwrap();
    for program in [&link, &other] {
        agent.begin(&format!("exec execve {program} evil {marks}"));
        deny(&id(&await_request_in("command-name")));
        assert_eq!(agent.finish().errno, EPERM, "{program}");
    }
    assert!(!exists(&format!("{marks}/evil")));
    // The program itself goes by what it is called, and only under this name leaves a mark.
    runs_untagged(&format!("exec execve {other} evil {marks}"));
}

#[test]
fn hold_the_sessions_own_command_is_judged_like_any_other() {
    daemon();
    let marks = directory(MARKS, "root");
    let program = format!("{PROGRAMS}/marker");
    let mut run = Run::guarded("root-deny", &[&program, "ruin", &marks]);
    assert_eq!(run.wait(), EPERM_STATUS, "{run:?}");
    let mut run = Run::guarded("root-hold", &[&program, "evil", &marks]);
    let request = await_request_in("root-hold");
    assert!(!exists(&format!("{marks}/evil")));
    approve(&id(&request));
    assert_eq!(run.wait(), 0, "{run:?}");
    assert!(exists(&format!("{marks}/evil")));
    assert!(!exists(&format!("{marks}/ruin")));
    assert_eq!(Run::unguarded(&[&program, "ruin", &marks]).wait(), 0);
    assert!(exists(&format!("{marks}/ruin")));
}

#[test]
fn hold_a_program_is_judged_by_its_file() {
    let mut agent = agent("exec-file");
    for way in WAYS {
        for parent in [HELD, DENIED, AUDITED] {
            let directory = directory(parent, "exec-file");
            script(&format!("{directory}/run"), "#!/bin/sh\nexit 0\n");
        }
        // By descriptor a script is opened for reading first, which is a question of its own.
        if way != "fexecve" {
            let denied = agent.act(&format!("exec {way} {DENIED}/exec-file/run"));
            assert_eq!(denied.errno, EPERM, "{way}: {denied:?}");
            assert!(ran(&agent.act(&format!("exec {way} {AUDITED}/exec-file/run"))), "{way}");
        }
    }
    agent.begin(&format!("exec execve {HELD}/exec-file/run"));
    let request = await_request_in("exec-file");
    assert_eq!(request["operation"], "exec", "{request}");
    deny(&id(&request));
    assert_eq!(agent.finish().errno, EPERM);
}

#[test]
fn hold_arguments_that_change_while_held_are_another_question() {
    let mut agent = agent("argv-swap");
    let marks = directory(MARKS, "argv-swap");
    agent.act("share evil-a");
    let child = agent.act(&format!("start exec execve {PROGRAMS}/marker @ {marks}")).value;
    let first = await_request_in("argv-swap");
    assert!(first["object"].as_str().unwrap().contains("evil-a"), "{first}");
    agent.act("share evil-b");
    approve(&id(&first));
    let second = await_request_in("argv-swap");
    assert!(second["object"].as_str().unwrap().contains("evil-b"), "{second}");
    assert!(!exists(&format!("{marks}/evil-b")), "what was not approved ran");
    deny(&id(&second));
    assert_eq!(agent.act(&format!("reap {child}")).errno, EPERM);
    assert!(!exists(&format!("{marks}/evil-a")) && !exists(&format!("{marks}/evil-b")));
    runs_untagged(&marker("execve", "evil-b", &marks));
}

#[test]
fn hold_a_name_that_changes_while_its_program_is_held_does_not_run() {
    let mut agent = agent("name-swap");
    let marks = directory(MARKS, "name-swap");
    agent.act("share marker");
    let child = agent.act(&format!("start exec named {PROGRAMS}/marker evil {marks}")).value;
    let request = await_request_in("name-swap");
    // What is shown is the file, whatever it is called.
    assert!(request["object"].as_str().unwrap().starts_with(&format!("{PROGRAMS}/marker evil")), "{request}");
    agent.act("share rm");
    approve(&id(&request));
    agent.act(&format!("reap {child}"));
    daemon().await_record("killed for another name", |record| {
        record["what"] == "killed" && record["act"]["session"]["name"] == "name-swap"
    });
    assert!(!exists(&format!("{marks}/evil")));
    let mut free = Agent::unguarded();
    free.act("share marker");
    assert!(ran(&free.act(&format!("exec named {PROGRAMS}/marker evil {marks}"))));
    assert!(exists(&format!("{marks}/evil")));
}

#[test]
fn hold_arguments_that_another_process_keeps_changing_never_run_unapproved() {
    let mut agent = agent("argv-flip");
    let marks = directory(MARKS, "argv-flip");
    agent.begin(&format!("flip 40 {PROGRAMS}/marker fine evil {marks}"));
    // Everything that is asked is refused; what runs all the same ran unapproved.
    let ends = loop {
        if let Some(done) = agent.result() {
            break done;
        }
        for request in pending("argv-flip") {
            drop(answer(&request, "deny"));
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    println!("ends of what flipped: {}", ends.value);
    assert!(!exists(&format!("{marks}/evil")), "{ends:?}");
    assert!(exists(&format!("{marks}/fine")), "the flipping itself was judged: {ends:?}");
    runs_untagged(&marker("execve", "evil", &marks));
}

#[test]
fn hold_a_command_that_is_held_is_never_run_by_waking_it() {
    let mut agent = agent("command-wake");
    let marks = directory(MARKS, "command-wake");
    let (mark, act) = (format!("{marks}/evil"), format!("become execve {PROGRAMS}/marker evil {marks}"));
    // By a sibling that sends SIGCONT as fast as it can, from before the first stop on.
    const ROUNDS: usize = 20;
    for round in 1..=ROUNDS {
        let child = agent.act(&format!("start {act}")).value;
        let sent = agent.act(&format!("spam {child} 0.1")).value.as_u64().unwrap();
        assert!(sent > 10, "{sent}");
        let request = id(&await_request_in("command-wake"));
        assert_eq!(asked("command-wake").len(), round, "a stray wake-up is no question of its own");
        deny(&request);
        assert_eq!(agent.act(&format!("reap {child}")).errno, EPERM);
        assert!(!exists(&mark), "round {round}");
    }
    // By the kernel, which wakes a stopped process group that has lost its parent.
    agent.act(&format!("orphan self no-hangup self new-group {act}"));
    let request = id(&await_request_in("command-wake"));
    never_within(Duration::from_secs(1), "an orphan ran", || exists(&mark));
    deny(&request);
    // By a tracer that lets no stop happen, or that lets it happen and wakes without the signal for that. What such a
    // thread is about to execute can only be read where it happens to stand still: people are asked then, and else it is refused.
    for (count, (how, seen)) in [("stopless", "signals"), ("stopping", "stops")].into_iter().enumerate() {
        let traced = agent.act(&format!("trace {how} 1 {act}"));
        assert!(traced.value[seen].as_u64().unwrap() > 0, "{how}: {traced:?}");
        let expected = ROUNDS + 2 + count;
        eventually("the traced command's verdict", || (recorded("command-wake") >= expected).then_some(()));
        assert!(!exists(&mark), "{how}: {traced:?}");
    }
    runs_untagged(&marker("execve", "evil", &marks));
}

/// How many acts of a session people were asked about, or were refused unasked since they could not be read.
fn recorded(session: &str) -> usize {
    let is_one = |record: &&Value| {
        record["act"]["session"]["name"] == session
            && (record["what"] == "held" || record["what"] == "decided" && record["request"].is_null())
    };
    daemon().audit().iter().filter(is_one).count()
}
