//! Owns the agent: it runs `tests/egress/tools.sh` as a user, under guard or not, and what it is asked about meanwhile is
//! answered.
//!
//! Must not know which answer is right, nor what should come of it.

use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::guest::{Run, answer, as_user, pending};

const PROGRAMS: &[(&str, &str)] = &[
    ("tools.sh", include_str!("../../egress/tools.sh")),
    ("reach.py", include_str!("../../egress/reach.py")),
    ("reach.js", include_str!("../../egress/reach.js")),
];
const PLACE: &str = "/opt/egress";
const HOME: &str = "/home/agent";
const USER: u32 = 1000;
/// Each start of the AWS CLI costs a guest under emulation seconds; a busy host more.
const PATIENCE: Duration = Duration::from_secs(300);

/// Puts the agent's programs where its user can run them.
pub(super) fn install() {
    fs::create_dir_all(PLACE).unwrap();
    for (name, text) in PROGRAMS {
        fs::write(format!("{PLACE}/{name}"), text).unwrap();
    }
}

/// What came of one attempt to reach something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The tool.
    pub tool: String,
    /// The version of IP.
    pub version: char,
    /// The tool's exit status.
    pub status: i32,
    /// What it printed.
    pub text: String,
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// Its attempts, in their order.
    pub attempts: Vec<Attempt>,
    /// The requests that were answered meanwhile, in their order.
    pub asked: Vec<Value>,
}

impl Outcome {
    /// What was asked about, without the names that the session knows it by.
    #[must_use]
    pub fn objects(&self) -> Vec<&str> {
        self.asked.iter().map(|request| nameless(request["object"].as_str().unwrap())).collect()
    }
}

/// An endpoint without its names.
#[must_use]
pub fn nameless(object: &str) -> &str {
    object.split_once(" (").map_or(object, |(address, _)| address)
}

/// Runs the agent's tools, in a session of this name or in none, and answers each request by `choose`: `approve`, `deny`.
pub fn run(session: &str, is_guarded: bool, words: &[&str], mut choose: impl FnMut(&Value) -> &'static str) -> Outcome {
    let guard: &[&str] =
        if is_guarded { &["agent-guard", "run", "--profile", "autonomous", "--name", session, "--"] } else { &[] };
    let tools = format!("{PLACE}/tools.sh");
    let argv = [guard, &["bash", &tools], words].concat();
    let mut command = Command::new(argv[0]);
    command.args(&argv[1..]).current_dir(HOME).env("HOME", HOME).env("SESSION", session);
    let mut run = Run::spawn(if is_guarded { session } else { "" }, as_user(&mut command, USER));
    run.close();
    let (start, mut asked) = (Instant::now(), Vec::new());
    while !run.has_ended() {
        assert!(start.elapsed() < PATIENCE, "it does not end: {run:?}, asked {asked:?}");
        sleep(Duration::from_millis(50));
        for request in pending(session) {
            let response = answer(request["id"].as_str().unwrap(), choose(&request));
            assert!(response.status < 300, "{response:?}: {request}");
            asked.push(request);
        }
    }
    let status = run.wait();
    eprintln!("{session}: {:.1} s, {} questions", start.elapsed().as_secs_f32(), asked.len());
    assert_eq!(status, 0, "{run:?}");
    Outcome { attempts: attempts(&run.stdout()), asked }
}

/// Reads what the tools' script says of its attempts.
fn attempts(stdout: &str) -> Vec<Attempt> {
    let begin = |line: &str| {
        let (tool, version) = line.strip_prefix("== ")?.split_once(' ')?;
        Some((tool.to_owned(), version.chars().next()?))
    };
    let (mut attempts, mut current, mut text) = (Vec::new(), None, String::new());
    for line in stdout.lines() {
        if let Some(begun) = begin(line) {
            (current, text) = (Some(begun), String::new());
        } else if let Some(status) = line.strip_prefix("-- ").and_then(|status| status.parse().ok()) {
            let (tool, version) = current.take().unwrap_or_else(|| panic!("it ends and did not begin: {stdout}"));
            attempts.push(Attempt { tool, version, status, text: std::mem::take(&mut text) });
        } else {
            text += line;
            text.push('\n');
        }
    }
    assert!(current.is_none(), "the last one does not end: {stdout}");
    attempts
}
