//! What `/proc` says of other processes, and being somebody else.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};

/// The guests' one approver, and the group that may answer.
const APPROVER: u32 = 1001;
const ANSWERING_GROUP: u32 = 900;

/// The state letter of a process, as `/proc/PID/stat` has it; none when it is gone.
#[must_use]
pub fn proc_state(pid: u32) -> Option<char> {
    stat_field(&format!("/proc/{pid}/stat"))
}

/// The state letter of one thread.
#[must_use]
pub fn state_of_thread(pid: u32, tid: u32) -> Option<char> {
    stat_field(&format!("/proc/{pid}/task/{tid}/stat"))
}

fn stat_field(path: &str) -> Option<char> {
    let stat = fs::read_to_string(path).ok()?;
    // The name in parentheses may hold anything.
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

/// Every process id.
fn pids() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Processes whose command line contains a text.
#[must_use]
pub fn pids_of(text: &str) -> Vec<u32> {
    let has_text = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).replace('\0', " ").contains(text)
    };
    pids().filter(has_text).collect()
}

/// Every process, for whoever reads of a test that failed: its state, parent, line, and where in the kernel it is.
#[must_use]
pub fn processes() -> String {
    let of = |pid: u32, file: &str| {
        let text = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        String::from_utf8_lossy(&text).replace(['\0', '\n'], " ")
    };
    let line = |pid: u32| {
        let stat = of(pid, "stat");
        let fields: String = stat.split(' ').take(4).collect::<Vec<_>>().join(" ");
        format!("{fields}: {}[{}] {}\n", of(pid, "cmdline"), of(pid, "syscall"), of(pid, "stack"))
    };
    // Threads of the kernel have no command line.
    pids().filter(|pid| !of(*pid, "cmdline").is_empty()).map(line).collect()
}

/// Makes a command run as one of the guest's users (1000 agent, 1001 approver, 1002 mallory).
pub fn as_user(command: &mut Command, uid: u32) -> &mut Command {
    let become_user = move || {
        let groups: &[Gid] = if uid == APPROVER { &[Gid::from_raw(ANSWERING_GROUP)] } else { &[] };
        setgroups(groups)?;
        setgid(Gid::from_raw(uid))?;
        setuid(Uid::from_raw(uid)).map_err(io::Error::from)
    };
    // SAFETY: the closure makes three system calls and touches no lock and no heap.
    unsafe { command.pre_exec(become_user) }
}
