//! Other processes: those outside the session are judged, those inside are not.

use std::process::{Child, Command};

use agent_guard_tests::guest::Agent;

use crate::{EPERM, await_record, denied};

const EACCES: i64 = 13;

/// Acts on a process, and the operation that each is.
const ACTS: &[(&str, &str)] = &[
    ("ptrace", "attach @"),
    ("ptrace", "read-memory @"),
    ("ptrace", "open-memory @"),
    ("ptrace", "take-descriptor @"),
    ("kill", "kill @ 18"),
    ("kill", "kill-thread @ 18"),
    ("kill", "kill-by-descriptor @ 18"),
    ("schedule", "renice @"),
    ("schedule", "reschedule @"),
    ("schedule", "pin @"),
    ("schedule", "prefer @"),
    ("schedule", "limit @"),
];

/// A process that waits, and ends with the test.
struct Bystander(Child);

impl Bystander {
    fn new() -> Self {
        Self(Command::new("sleep").arg("600").spawn().unwrap())
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn results(agent: &mut Agent, pid: impl std::fmt::Display) -> Vec<i64> {
    ACTS.iter().map(|(_, act)| agent.errno(&act.replace('@', &pid.to_string()))).collect()
}

#[test]
fn escape_by_asking_a_process_outside_to_trace_is_refused_and_inside_is_nobodys_business() {
    let mut agent = denied("traced");
    // Its parent is its keeper, which is outside.
    assert_eq!(agent.errno("be-traced"), EPERM);
    await_record("refused", "traced", "ptrace", "");
    assert_eq!(agent.errno("via fork be-traced"), 0, "by its own parent");
    assert_eq!(Agent::unguarded().errno("via fork be-traced"), 0, "untagged");
}

#[test]
fn escape_by_a_process_outside_is_refused_and_inside_is_nobodys_business() {
    let mut agent = denied("outside");
    let mut free = Agent::unguarded();
    let mut bystander = Bystander::new();
    let usual = results(&mut free, bystander.0.id());
    // Where nothing is, to read is EFAULT: whoever may not look is told that instead.
    assert!(usual.iter().all(|errno| matches!(errno, 0 | 14)), "{usual:?}");
    // Whoever may not look into another's memory cannot open its file (kernel/fork.c, `mm_access`).
    let refused: Vec<i64> = ACTS.iter().map(|(_, act)| if act.starts_with("open") { EACCES } else { EPERM }).collect();
    assert_eq!(results(&mut agent, bystander.0.id()), refused);
    for (operation, _) in ACTS {
        await_record("refused", "outside", operation, "(sleep)");
    }
    assert_eq!(agent.errno(&format!("kill {} 0", bystander.0.id())), 0, "to ask whether it is there is free");
    assert_eq!(agent.errno(&format!("kill {} 9", bystander.0.id())), EPERM);
    assert!(bystander.0.try_wait().unwrap().is_none(), "it lives");
    let child = agent.act("start until /t/no-such-file 1000 getpid").value;
    assert_eq!(results(&mut agent, &child), usual, "inside");
    assert_eq!(agent.errno(&format!("kill {child} 9")), 0);
    // Another session's is outside as well.
    let mut other = denied("other-session");
    let pid = other.pid();
    assert_eq!(agent.errno(&format!("kill {pid} 18")), EPERM);
}
