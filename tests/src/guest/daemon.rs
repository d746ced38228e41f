//! The daemon of a guest: its policy, its start, its several ends.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt as _;
use std::panic;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex, MutexGuard, Once, OnceLock};

use agent_guard_common::ABI_VERSION;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::api::cli;
use super::http::{CONTROL_SOCKET, http};
use super::wait::eventually;

const POLICY: &str = "/etc/agent-guard/policy.yaml";
/// The directories of pinned programs, by start.
static LINKS: LazyLock<String> = LazyLock::new(|| format!("/sys/fs/bpf/agent-guard/v{ABI_VERSION}/links"));
const LOG: &str = "/tmp/daemon.log";
const AUDIT: &str = "/var/log/agent-guard/audit.jsonl";
/// Hooks that the guest is to do without, one a line; `xtask/src/test/guests.rs` is the other side.
const WITHOUT: &str = "/etc/agent-guard-without";
/// Lines of the daemon's log that a failing test shows.
const LOG_LINES: usize = 20;

/// A guest has one daemon.
static SHARED: OnceLock<Daemon> = OnceLock::new();

/// The daemon.
#[derive(Debug)]
pub struct Daemon {
    child: Mutex<Option<Child>>,
}

impl Daemon {
    /// Starts a daemon with a policy and waits until it answers.
    #[must_use]
    pub fn start(policy: &str) -> Self {
        write_policy(policy);
        show_log_on_panic();
        let daemon = Self { child: Mutex::new(None) };
        daemon.launch();
        daemon
    }

    /// The daemon that a suite's tests share; the first of them starts it, after `prepare` made what the policy names.
    pub fn shared(prepare: fn() -> String) -> &'static Self {
        SHARED.get_or_init(|| Self::start(&prepare()))
    }

    /// Starts it and waits until it answers.
    pub fn launch(&self) {
        let log = File::options().create(true).append(true).open(LOG).unwrap();
        let mut command = Command::new("agent-guard");
        command.arg("daemon").stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        *self.child() = Some(command.spawn().unwrap());
        eventually("the daemon's answer", || {
            let ended = self.child().as_mut().and_then(|child| child.try_wait().unwrap());
            assert!(ended.is_none(), "the daemon ended with {ended:?}: {}", self.log());
            http(CONTROL_SOCKET, "GET", "/v1/status", None).ok().filter(|response| response.status == 200)
        });
        take_hooks_away();
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child().as_ref().unwrap().id()
    }

    /// Kills it, as no handler can see.
    pub fn kill9(&self) {
        self.end(Signal::SIGKILL);
    }

    /// Asks it to end, and returns its status: its own, or 128 and its signal.
    pub fn terminate(&self) -> i32 {
        self.end(Signal::SIGTERM)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid().cast_signed()), signal).unwrap();
    }

    fn end(&self, signal: Signal) -> i32 {
        self.signal(signal);
        let status = self.child().take().unwrap().wait().unwrap();
        status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
    }

    /// Kills it and starts it again.
    pub fn restart(&self) {
        self.kill9();
        self.launch();
    }

    /// Puts another policy in force.
    pub fn reload(&self, policy: &str) {
        write_policy(policy);
        let output = cli(&["policy", "reload"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// What it has written to its terminal.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(LOG).unwrap_or_default()
    }

    /// Its audit log, a record a line.
    #[must_use]
    pub fn audit(&self) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(AUDIT).unwrap_or_default();
        // The last line may be one that is being written.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
    }

    /// Waits for a record of its audit log, which may be written behind what it is about.
    pub fn await_record(&self, what: &str, is_it: impl Fn(&serde_json::Value) -> bool) {
        eventually(&format!("a record: {what}"), || self.audit().iter().any(&is_it).then_some(()));
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap()
    }
}

fn write_policy(policy: &str) {
    fs::create_dir_all(Path::new(POLICY).parent().unwrap()).unwrap();
    fs::write(POLICY, policy).unwrap();
}

/// Takes those hooks away that the guest is to do without: a test that passes all the same proves nothing of them.
fn take_hooks_away() {
    let without = fs::read_to_string(WITHOUT).unwrap_or_default();
    for hook in without.lines() {
        for start in fs::read_dir(LINKS.as_str()).unwrap() {
            fs::remove_file(start.unwrap().path().join(hook)).unwrap();
        }
    }
}

/// A guest is gone when its suite has ended: whoever reads of a failure has nothing but what is printed.
fn show_log_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |about| {
            usual(about);
            let log = fs::read_to_string(LOG).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("the daemon's log ends:\n{}", lines[lines.len().saturating_sub(LOG_LINES)..].join("\n"));
        }));
    });
}
