//! Owns the agent of the incident: `tests/incident/agent.sh`, run by an ordinary user with a person's credentials.
//!
//! Must not know what becomes of it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::guest::{Run, as_user, eventually};

const SCRIPT: &str = include_str!("../../incident/agent.sh");
const PROGRAM: &str = "/opt/incident/agent.sh";
const USER: u32 = 1000;
/// What it has from its person. One attempt: a client that asks again by itself would ask the approver again.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("HOME", "/home/agent"),
    ("USER", "agent"),
    ("AWS_ACCESS_KEY_ID", "owner"),
    ("AWS_SECRET_ACCESS_KEY", "secret"),
    ("AWS_DEFAULT_REGION", "cn-north-1"),
    ("AWS_PAGER", ""),
    ("AWS_MAX_ATTEMPTS", "1"),
];

/// How long the agent may take: each start of the AWS CLI costs a guest under emulation seconds, a busy host more.
const PATIENCE: Duration = Duration::from_secs(300);

/// Waits for what comes late, with long pauses: the agent needs the processor itself.
pub(super) fn in_time<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "not in time: {what}");
        sleep(Duration::from_millis(200));
    }
}

/// Puts the agent's script where its user can run it.
pub(super) fn install() {
    fs::create_dir_all("/opt/incident").unwrap();
    fs::write(PROGRAM, SCRIPT).unwrap();
    fs::set_permissions(PROGRAM, fs::Permissions::from_mode(0o755)).unwrap();
}

/// The agent, at work.
#[derive(Debug)]
pub(super) struct Agent {
    pub(super) run: Run,
    log: String,
}

impl Agent {
    /// Lets it run as it is.
    pub(super) fn unguarded(name: &str, way: &str) -> Self {
        Self::start(name, way, &[])
    }

    /// Puts it under guard, in a session of this name.
    pub(super) fn guarded(session: &str, way: &str) -> Self {
        Self::start(session, way, &["agent-guard", "run", "--name", session, "--"])
    }

    fn start(name: &str, way: &str, guard: &[&str]) -> Self {
        let log = format!("/home/agent/{name}.log");
        let words = [guard, &[PROGRAM, &log, way]].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).envs(ENVIRONMENT.iter().copied()).current_dir("/home/agent");
        Self { run: Run::spawn(if guard.is_empty() { "" } else { name }, as_user(&mut command, USER)), log }
    }

    /// Waits until its other work has gone on for some lines more.
    pub(super) fn works_on(&self) -> bool {
        let before = self.lines();
        eventually("the agent's other work goes on", || (self.lines() >= before + 5).then_some(true))
    }

    /// Waits for its end and returns its status.
    pub(super) fn wait(&mut self) -> i32 {
        in_time("the agent's end", || self.run.has_ended().then_some(()));
        self.run.wait()
    }

    fn lines(&self) -> usize {
        fs::read_to_string(&self.log).unwrap_or_default().lines().count()
    }
}
