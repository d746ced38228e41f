//! Owns how a user's shell script is run, under guard or not, and what was said meanwhile: by it, and by the guard.
//!
//! Must not know what the script does.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{Daemon, Run, as_user};

const AGENT: u32 = 1000;
/// Emulation takes its time for whole programs.
const PATIENCE: Duration = Duration::from_secs(1500);

/// What a script said.
#[derive(Debug)]
pub struct Said {
    /// Its exit status.
    pub status: i32,
    /// What it wrote to its standard output.
    pub stdout: String,
    /// What the guard wrote, each once.
    pub remarks: BTreeSet<String>,
}

/// Runs a shell script as a user in a fresh home, under guard or not, to its end.
pub fn run(daemon: fn() -> &'static Daemon, name: &str, is_guarded: bool, script: &str) -> Said {
    daemon();
    let home = format!("/home/agent/{name}-{}", if is_guarded { "guarded" } else { "free" });
    fs::create_dir_all(&home).unwrap();
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
    nix::unistd::chown(home.as_str(), Some(AGENT.into()), Some(AGENT.into())).unwrap();
    let mut command = Command::new(if is_guarded { "agent-guard" } else { "bash" });
    if is_guarded {
        command.args(["run", "--profile", "autonomous", "--name", name, "--", "bash"]);
    }
    command.args(["-ec", script]).current_dir(&home).env("HOME", &home).env("TMPDIR", &home);
    let mut run = Run::spawn(if is_guarded { name } else { "" }, as_user(&mut command, AGENT));
    run.close();
    let start = Instant::now();
    while !run.has_ended() {
        assert!(start.elapsed() < PATIENCE, "it does not end: {run:?}");
        sleep(Duration::from_millis(100));
    }
    let status = run.wait();
    eprintln!("{name}: {} s {}", start.elapsed().as_secs(), if is_guarded { "guarded" } else { "free" });
    let remarks =
        run.stderr().lines().filter_map(|line| Some(line.split_once("agent-guard: ")?.1.to_owned())).collect();
    Said { status, stdout: run.stdout(), remarks }
}
