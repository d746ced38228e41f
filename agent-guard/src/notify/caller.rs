//! What a hook needs to be told: its program, found; its user, looked up; its secret, read. And what has come of it so far.
//!
//! All of that is looked at once, when the daemon starts. It must not know when anybody is told.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::curl;
use super::message::{Event, Message};
use super::settings::{Hook, NOBODY, Way};
use super::signature::Secret;
use crate::system::errand::Errand;
use crate::system::paths;
use crate::system::user::{self, Account};
use crate::text::{escape, from_bytes};

const NOTIFY_SEND: &str = "/usr/bin/notify-send";
const WALL: &str = "/usr/bin/wall";
/// The group that may write to terminals.
const TERMINALS: &str = "tty";
/// Bits of a program's mode: that somebody may execute it, and that others than its owner may change it.
const EXECUTABLE: u32 = 0o111;
const WRITABLE: u32 = 0o022;
/// Bytes of a secret that are read.
const SECRET: u64 = 4096;

/// Why a hook cannot be told of anything. The place is that in the list, from 1.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// There is no such user.
    #[error("hook {place} of `notify`: there is no user {name} in /etc/passwd: make one, or name another")]
    User {
        /// Which hook.
        place: usize,
        /// The user.
        name: String,
    },
    /// The program cannot be executed.
    #[error("hook {place} of `notify`: {} is no program that can be executed: install it, or leave the hook out", path.display())]
    Program {
        /// Which hook.
        place: usize,
        /// The program.
        path: PathBuf,
    },
    /// Whoever may change the program would act as the user that it runs as, outside of every guarded tree.
    #[error(
        "hook {place} of `notify`: others than root may change {}: let it be root's, with a mode like 0755",
        path.display()
    )]
    Writable {
        /// Which hook.
        place: usize,
        /// The program.
        path: PathBuf,
    },
    /// The secret cannot be read.
    #[error("hook {place} of `notify`: cannot use its secret: {source}")]
    Secret {
        /// Which hook.
        place: usize,
        /// Why.
        source: paths::Failure,
    },
    /// The secret is empty.
    #[error("hook {place} of `notify`: its secret {} is empty: `openssl rand -hex 32` makes one", path.display())]
    NoSecret {
        /// Which hook.
        place: usize,
        /// Its file.
        path: PathBuf,
    },
    /// A thread cannot be started.
    #[error("cannot start a thread for hooks: {0}")]
    Thread(#[from] io::Error),
    /// Secrets in messages would not be found.
    #[error("cannot prepare the forms of secrets: {0}")]
    Redactor(#[from] regex::Error),
    /// There is no queue, not even in memory.
    #[error("cannot make a queue for webhooks: {0}")]
    Queue(String),
}

/// What a hook is given.
#[derive(Debug)]
pub(super) enum Task {
    /// The JSON, as its input.
    Json,
    /// Lines, as its input.
    Lines,
    /// Lines, as its arguments.
    Arguments,
    /// A signed post.
    Post {
        /// Where to.
        url: String,
        /// What signs it.
        secret: Secret,
    },
}

/// A hook that can be told.
#[derive(Debug)]
pub(super) struct Caller {
    /// Its place in the list and its kind, for people.
    pub(super) name: String,
    pub(super) on: Vec<Event>,
    pub(super) task: Task,
    errand: Errand,
    sent: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
    is_failing: AtomicBool,
}

/// What has come of a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Its place in the list and its kind.
    pub name: String,
    /// What it was told.
    pub sent: u64,
    /// What it was told in vain, or not in time.
    pub failed: u64,
    /// What there was no room for.
    pub dropped: u64,
}

impl Caller {
    /// Finds what the hook at a place of the list needs.
    pub(super) fn new(place: usize, hook: &Hook) -> Result<Self, Failure> {
        let account = |name: &str| user::account(name).ok_or_else(|| Failure::User { place, name: name.to_owned() });
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let mut environment = Vec::new();
        let (program, arguments, account, task) = match &hook.way {
            Way::Command { program, arguments, user } => {
                (program.clone(), arguments.clone(), account(user)?, Task::Json)
            }
            Way::Desktop { user } => {
                let account = account(user)?;
                let directory = format!("/run/user/{}", account.uid);
                environment.push(("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={directory}/bus")));
                environment.push(("XDG_RUNTIME_DIR", directory));
                (PathBuf::from(NOTIFY_SEND), words(&["--app-name=agent-guard", "--"]), account, Task::Arguments)
            }
            Way::Wall => {
                // Where programs gain no rights, its own setgid bit does nothing.
                let account = account(NOBODY)?;
                let gid = user::group_named(TERMINALS).unwrap_or(account.gid);
                (PathBuf::from(WALL), Vec::new(), Account { gid, ..account }, Task::Lines)
            }
            Way::Webhook { url, secret_file } => {
                let content =
                    paths::read_secret(secret_file, SECRET).map_err(|source| Failure::Secret { place, source })?;
                let path = || secret_file.clone();
                let secret = Secret::of(&content).ok_or_else(|| Failure::NoSecret { place, path: path() })?;
                let task = Task::Post { url: url.clone(), secret };
                (PathBuf::from(curl::PROGRAM), words(&curl::ARGUMENTS), account(NOBODY)?, task)
            }
        };
        match fs::metadata(&program) {
            Ok(metadata) if metadata.is_file() && metadata.mode() & EXECUTABLE != 0 => {
                let is_ours = metadata.uid() == 0 || metadata.uid() == user::current();
                if !is_ours || metadata.mode() & WRITABLE != 0 {
                    return Err(Failure::Writable { place, path: program });
                }
            }
            Ok(_) | Err(_) => return Err(Failure::Program { place, path: program }),
        }
        Ok(Self {
            name: format!("hook {place} ({})", hook.way.word()),
            on: hook.on.clone(),
            task,
            errand: Errand { program, arguments, environment, account, limit: hook.limit },
            sent: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            is_failing: AtomicBool::new(false),
        })
    }

    /// Runs its program with a message, to its end.
    pub(super) fn tell(&self, message: &Message) -> Result<(), String> {
        match self.task {
            Task::Json => self.run(&message.body, &[]),
            Task::Lines => self.run(&message.lines(), &[]),
            Task::Arguments => self.run("", &[message.title.clone(), message.markup()]),
            Task::Post { .. } => Err("a webhook is told by post".to_owned()),
        }
    }

    fn run(&self, input: &str, more: &[String]) -> Result<(), String> {
        let mut errand = self.errand.clone();
        errand.arguments.extend_from_slice(more);
        let ended = errand.run(input.as_bytes()).map_err(|failure| failure.to_string())?;
        if ended.status.success() {
            return Ok(());
        }
        Err(format!("{}: {}", ended.status, escape(from_bytes(&ended.said).trim())))
    }

    /// Has curl do what a configuration says.
    pub(super) fn post(&self, configuration: &str) -> Result<(), String> {
        let ended = self.errand.run(configuration.as_bytes()).map_err(|failure| failure.to_string())?;
        curl::outcome(ended.status.success(), &escape(from_bytes(&ended.said).trim_start()))
    }

    /// Notes a success.
    pub(super) fn succeeded(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
        if self.is_failing.swap(false, Ordering::Relaxed) {
            tracing::info!(hook = self.name, "a hook works again");
        }
    }

    /// Tells of a failure. Of very many, the first is the one to be read.
    pub(super) fn fails(&self, why: &str) {
        if self.is_failing.swap(true, Ordering::Relaxed) {
            tracing::debug!(hook = self.name, why, "a hook has failed again");
        } else {
            tracing::warn!(hook = self.name, why, "a hook has failed");
        }
    }

    /// Notes something that it will never be told.
    pub(super) fn lost(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that there was no room for something.
    pub(super) fn dropped(&self, count: u64, why: &str) {
        let before = self.dropped.fetch_add(count, Ordering::Relaxed);
        // Each time that there are twice as many: a flood of them must not be one of messages.
        if count > 0 && (before == 0 || before.ilog2() < (before + count).ilog2()) {
            tracing::warn!(hook = self.name, why, dropped = before + count, "notifications are dropped");
        }
    }

    /// What has come of it.
    pub(super) fn tally(&self) -> Tally {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (sent, failed, dropped) = (read(&self.sent), read(&self.failed), read(&self.dropped));
        Tally { name: self.name.clone(), sent, failed, dropped }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    use super::{Caller, Failure};
    use crate::notify::message::Event;
    use crate::notify::settings::{Hook, Way};

    fn caller(way: Way) -> Result<Caller, Failure> {
        Caller::new(2, &Hook { on: Event::ALL.to_vec(), way, limit: Duration::from_secs(1) })
    }

    fn command(program: &str, user: &str) -> Way {
        Way::Command { program: PathBuf::from(program), arguments: Vec::new(), user: user.to_owned() }
    }

    fn webhook(secret_file: &Path) -> Way {
        Way::Webhook { url: "http://h/".to_owned(), secret_file: secret_file.to_owned() }
    }

    #[test]
    fn what_a_hook_needs_must_be_there_when_the_daemon_starts() {
        let said = |way| caller(way).expect_err("it is not there").to_string();
        let user = "hook 2 of `notify`: there is no user no-one in /etc/passwd: make one, or name another";
        assert_eq!(said(command("/bin/sh", "no-one")), user);
        for program in ["/no/such", "/etc", "/etc/passwd"] {
            let failure = caller(command(program, "root")).expect_err(program);
            assert!(matches!(failure, Failure::Program { place: 2, .. }), "{failure}");
        }
        assert!(
            said(webhook(Path::new("/no/such")))
                .starts_with("hook 2 of `notify`: cannot use its secret: cannot open /no")
        );
    }

    #[test]
    fn a_program_that_others_may_change_is_refused() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("program");
        fs::write(&path, "#!/bin/sh\n").expect("writes");
        for (mode, is_good) in [(0o755, true), (0o500, true), (0o775, false), (0o757, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("sets it");
            let caller = caller(command(&path.display().to_string(), "root"));
            assert!(matches!((caller, is_good), (Ok(_), true) | (Err(Failure::Writable { .. }), false)), "{mode:o}");
        }
    }

    #[test]
    fn a_secret_is_its_files_and_nobody_elses() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("key");
        fs::write(&path, "\n").expect("writes");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("sets it");
        assert!(matches!(caller(webhook(&path)), Err(Failure::NoSecret { .. })));
        fs::write(&path, "key\n").expect("writes");
        assert_eq!(caller(webhook(&path)).expect("is one").name, "hook 2 (webhook)");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("sets it");
        assert!(matches!(caller(webhook(&path)), Err(Failure::Secret { .. })));
    }
}
