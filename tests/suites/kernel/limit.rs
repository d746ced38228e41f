//! Limits and steering: full maps, a policy that changes under load, and sessions that are halted, resumed and killed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::thread;
use std::time::Duration;

use agent_guard_common::answer::{Answer, AnswerKey};
use agent_guard_common::limits::SESSIONS;
use agent_guard_common::session::Enrolment;
use agent_guard_tests::guest::{
    AGENT_SOCKET, Agent, PinnedMap, Response, Run, answer, approve, as_user, await_request_in, cli, eventually, http,
    judged, never_within, pids_of, request, sessions,
};
use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork};
use serde_json::json;

use crate::policy::{ALLOWED, DENIED, MARKS};
use crate::{EPERM, agent, daemon, directory, exists, files, id, passes_untagged, policy};

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
fn audit_a_path_too_long_to_be_told_loses_its_beginning_and_says_so() {
    let mut agent = agent("long-path");
    let mut path = directory(DENIED, "long-path");
    for number in 0..14 {
        path.push_str(&format!("/{number:0>200}"));
        fs::create_dir(&path).unwrap();
    }
    let file = format!("{path}/file");
    fs::write(&file, "data").unwrap();
    assert_eq!(agent.errno(&format!("unlink {file}")), EPERM);
    let record = eventually("the record of the refusal", || {
        let is_it = |record: &serde_json::Value| record["act"]["session"]["name"] == "long-path";
        daemon().audit().into_iter().find(|record| is_it(record) && record["what"] == "refused")
    });
    let object = record["act"]["object"].as_str().unwrap();
    assert_eq!(record["act"]["cut"], true, "{record}");
    assert!(object.ends_with("13/file") && object.len() < 1400, "{} bytes: {object}", object.len());
    assert_eq!(Agent::unguarded().errno(&format!("unlink {file}")), 0);
}

#[test]
fn hold_a_full_map_of_enrolments_starts_no_session() {
    daemon();
    let marks = directory(MARKS, "full-enrol");
    with_full_map("ENROL", (4, size_of::<Enrolment>()), || {
        let mut run = Run::shell("full-enrol", &format!(": > {marks}/ran"));
        assert_eq!(run.wait(), 125, "{run:?}");
        assert!(!exists(&format!("{marks}/ran")), "it ran without guard");
        assert_eq!(Run::unguarded(&["/bin/true"]).wait(), 0, "untagged");
    });
    let mut run = Run::shell("full-enrol-after", &format!(": > {marks}/ran"));
    assert_eq!(run.wait(), 0, "{run:?}");
}

/// A user's share of the sessions.
const QUARTER: usize = SESSIONS as usize / 4;
const USER: u32 = 1000;

/// Children of this process that wait for ever, as a user.
struct Idle(Vec<Pid>);

impl Idle {
    fn start(count: usize) -> Self {
        let start = |_| {
            // SAFETY: the child makes a few system calls and touches no lock and no heap. Raw calls, since those of the
            // C library tell all threads, of which the child has lost most.
            unsafe {
                match fork().unwrap() {
                    ForkResult::Parent { child } => child,
                    ForkResult::Child => {
                        libc::syscall(libc::SYS_setresgid, USER, USER, USER);
                        libc::syscall(libc::SYS_setresuid, USER, USER, USER);
                        loop {
                            libc::pause();
                        }
                    }
                }
            }
        };
        Self((0..count).map(start).collect())
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        for pid in &self.0 {
            kill(*pid, Signal::SIGKILL).unwrap();
            waitpid(*pid, None).unwrap();
        }
    }
}

/// Starts a session around each, as their user.
fn start_sessions(idle: &Idle) -> Vec<Response> {
    let start = || {
        // SAFETY: a raw call changes this thread's own user and no other's; it ends with this closure.
        assert_eq!(unsafe { libc::syscall(libc::SYS_setresuid, USER, USER, USER) }, 0);
        let start = |pid: &Pid| {
            let body = json!({ "child_pid": pid.as_raw(), "argv": ["quarter"], "cwd": "/" });
            http(AGENT_SOCKET, "POST", "/v1/sessions", Some(&body)).unwrap()
        };
        idle.0.iter().map(start).collect()
    };
    thread::scope(|scope| scope.spawn(start).join().unwrap())
}

#[test]
fn hold_a_user_with_a_quarter_of_all_sessions_starts_no_more_and_takes_nobody_elses() {
    daemon();
    let marks = directory(MARKS, "quarter");
    fs::set_permissions(&marks, fs::Permissions::from_mode(0o777)).unwrap();
    let run = |uid: u32, mark: &str| {
        let mut command = Command::new("agent-guard");
        command.args(["run", "--name", "quarter-of", "--", "/bin/touch", &format!("{marks}/{mark}")]);
        Run::spawn("quarter-of", as_user(&mut command, uid))
    };
    let idle = Idle::start(QUARTER);
    for response in start_sessions(&idle) {
        assert_eq!(response.status, 201, "{response:?}");
    }
    let mut refused = run(USER, "refused");
    assert_eq!(refused.wait(), 125, "{refused:?}");
    assert!(refused.stderr().contains(&format!("{QUARTER} sessions of this user are running")), "{refused:?}");
    assert!(!exists(&format!("{marks}/refused")), "it ran without guard");
    for (uid, mark) in [(1002, "another"), (0, "root")] {
        assert_eq!(run(uid, mark).wait(), 0, "{mark}");
        assert!(exists(&format!("{marks}/{mark}")));
    }
    drop(idle);
    eventually("the end of the sessions", || (!sessions().iter().any(|session| session["uid"] == USER)).then_some(()));
    assert_eq!(run(USER, "after").wait(), 0);
    assert!(exists(&format!("{marks}/after")));
}

#[test]
fn hold_a_full_map_of_answers_approves_nothing() {
    let mut agent = agent("full-answers");
    let path = files("full-answers", &["f", "g"]);
    let act = format!("unlink {path}/f");
    agent.begin(&act);
    let asked = id(&await_request_in("full-answers"));
    with_full_map("ANSWERS", (size_of::<AnswerKey>(), size_of::<Answer>()), || {
        let response = answer(&asked, "approve");
        assert_eq!(response.status, 500, "{response:?}");
        assert_eq!(request(&asked)["state"], "denied");
        never_within(Duration::from_secs(1), "an answer that could not be delivered passed", || {
            !exists(&format!("{path}/f"))
        });
        passes_untagged(&format!("unlink {path}/g"));
    });
    assert_eq!(agent.finish().errno, EPERM);
    // With room again, an answer is one again.
    agent.begin(&act);
    approve(&id(&await_request_in("full-answers")));
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
        let refused = judged()["refused"];
        eventually("refusals by this policy", || (judged()["refused"] >= refused + 15).then_some(()));
    }
    fs::write(format!("{marks}/enough"), "").unwrap();
    let done = agent.finish();
    daemon().reload(text);
    let errnos = done.value.as_object().unwrap();
    assert_eq!(errnos.keys().collect::<Vec<_>>(), ["1"], "{done:?}");
    assert!(exists(&format!("{path}/f")));
    passes_untagged(&format!("unlink {path}/f"));
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
    passes_untagged(&format!("unlink {path}/f"));
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
    // The kernel freezes what runs on its way to user space, and says when the last one has come by.
    let sessions = sessions();
    let busy = sessions.iter().find(|session| session["name"] == "busy").unwrap();
    let events = format!("{}/cgroup.events", busy["cgroup"].as_str().unwrap());
    eventually("a frozen tree", || fs::read_to_string(&events).unwrap().contains("frozen 1").then_some(()));
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
    let path = files("halt-held", &["f"]);
    agent.begin(&format!("unlink {path}/f"));
    let request = id(&await_request_in("halt-held"));
    assert!(cli(&["halt", "halt-held"]).status.success());
    let response = answer(&request, "approve");
    assert_eq!(response.status, 409, "{response:?}");
    never_within(Duration::from_millis(500), "a halted session went on", || !exists(&format!("{path}/f")));
    assert!(cli(&["kill", "halt-held"]).status.success());
    eventually("its end", || agent.run.has_ended().then_some(()));
    assert!(exists(&format!("{path}/f")));
    passes_untagged(&format!("unlink {path}/f"));
}
