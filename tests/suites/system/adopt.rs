//! Processes that run already are taken into a session: all of the tree, and nobody else.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use agent_guard_tests::guest::{Agent, Run, as_user, cli, eventually, never_within, pids_of, proc_state};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::policy::LABELLED;
use crate::{EPERM, await_record, daemon, directory};

const AGENT: u32 = 1000;

fn adopt(pid: u32, name: &str) -> Output {
    daemon();
    cli(&["adopt", &pid.to_string(), "--profile", "denying", "--name", name])
}

fn refusal(output: &Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn tag_is_on_a_running_tree_with_all_its_descendants_once_it_is_adopted() {
    let path = directory(LABELLED, "adopt");
    let mut agent = Agent::unguarded();
    let mut bystander = Agent::unguarded();
    let child = agent.act(&format!("start until {path}/over 1000 unlink {path}/child")).value.as_u64().unwrap();
    let (pid, child) = (agent.pid(), u32::try_from(child).unwrap());
    for file in ["a", "b", "child"] {
        fs::write(format!("{path}/{file}"), "data").unwrap();
    }
    assert_eq!(agent.errno(&format!("unlink {path}/a")), 0, "untagged");
    eventually("the child's deletion, untagged", || (!Path::new(&path).join("child").exists()).then_some(()));
    let adopted = adopt(pid, "adopted");
    assert!(adopted.status.success(), "{adopted:?}");
    assert!(
        String::from_utf8_lossy(&adopted.stdout).contains("adopted, under profile denying (2 tasks)"),
        "{adopted:?}"
    );
    fs::write(format!("{path}/child"), "data").unwrap();
    assert_eq!(agent.errno(&format!("unlink {path}/b")), EPERM);
    await_record("refused", "adopted", "delete", &format!("{path}/b"));
    await_record("refused", "adopted", "delete", &format!("{path}/child"));
    assert!(Path::new(&path).join("child").exists());
    assert_eq!(bystander.errno(&format!("unlink {path}/b")), 0, "nobody else is in it");
    assert!(refusal(&adopt(pid, "again")).contains("in a session already"));
    assert!(cli(&["kill", "adopted"]).status.success());
    eventually("the end of the tree", || proc_state(child).is_none_or(|state| state == 'Z').then_some(()));
}

#[test]
fn escape_by_forking_while_being_adopted_leaves_nobody_outside() {
    daemon();
    // Each of these forks for itself, as fast as it can.
    let storm = "i=0; while [ $i -lt 6 ]; do (while :; do (sleep 77.77 & sleep 0.05); done) & i=$((i+1)); done; wait";
    let run = Run::unguarded(&["/bin/sh", "-c", storm]);
    eventually("the storm", || (pids_of("sleep 77.77").len() > 20).then_some(()));
    let adopted = adopt(run.pid(), "storm");
    assert!(adopted.status.success(), "{adopted:?}");
    assert!(cli(&["kill", "storm"]).status.success());
    // Those that had lost their parents before are no descendants any more; they fork no longer.
    eventually("the end of whoever forks", || pids_of("while :").is_empty().then_some(()));
    never_within(Duration::from_secs(1), "somebody forks on", || !pids_of("while :").is_empty());
    for pid in pids_of("sleep 77.77") {
        // It may have ended by itself.
        let _gone = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
    }
}

#[test]
fn approval_adopting_is_refused_where_it_would_take_what_is_not_ones_own() {
    daemon();
    assert!(refusal(&adopt(1, "init")).contains("this daemon is in the tree of process 1"));
    assert!(refusal(&adopt(std::process::id(), "suite")).contains("is in the tree of process"));
    assert!(refusal(&adopt(4_000_000, "none")).contains("there is no process 4000000"));
    let roots = Run::unguarded(&["/bin/sh", "-c", "read line"]);
    let mut client = Command::new("agent-guard");
    client.args(["adopt", &roots.pid().to_string()]);
    // Not of the group: the control socket is closed to it.
    let output = as_user(&mut client, AGENT).output().unwrap();
    assert!(refusal(&output).contains("permission denied"));
    let mut client = Command::new("agent-guard");
    client.args(["adopt", &roots.pid().to_string()]);
    let output = as_user(&mut client, 1001).output().unwrap();
    assert!(refusal(&output).contains("only root may adopt it"), "{output:?}");
    let mut guarded = Run::under("auditing", "adopts", &["agent-guard", "adopt", &roots.pid().to_string()]);
    assert_ne!(guarded.wait(), 0);
    assert!(guarded.stderr().contains("a guarded process may not adopt processes"), "{guarded:?}");
}
