//! A program whose output is collected while it runs: under guard by `agent-guard run`, or without.

use std::ffi::OsStr;
use std::io::{Read, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::api::cli;
use super::wait::eventually;

type Text = Arc<Mutex<String>>;

/// A program that runs.
#[derive(Debug)]
pub struct Run {
    /// The session's name; empty for a program without guard.
    pub name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Text,
    stderr: Text,
    status: Option<i32>,
}

impl Run {
    /// Starts a command in a session of this name.
    pub fn guarded<S: AsRef<OsStr>>(name: &str, argv: &[S]) -> Self {
        let mut command = Command::new("agent-guard");
        command.args(["run", "--name", name, "--"]).args(argv);
        Self::spawn(name, &mut command)
    }

    /// Starts a command in a session of this name, under a profile.
    pub fn under<S: AsRef<OsStr>>(profile: &str, name: &str, argv: &[S]) -> Self {
        let mut command = Command::new("agent-guard");
        command.args(["run", "--profile", profile, "--name", name, "--"]).args(argv);
        Self::spawn(name, &mut command)
    }

    /// Starts a shell script in a session of this name.
    #[must_use]
    pub fn shell(name: &str, script: &str) -> Self {
        Self::guarded(name, &["/bin/sh", "-c", script])
    }

    /// Starts a command without guard.
    pub fn unguarded<S: AsRef<OsStr>>(argv: &[S]) -> Self {
        let mut command = Command::new(argv[0].as_ref());
        command.args(&argv[1..]);
        Self::spawn("", &mut command)
    }

    /// Starts what was prepared; `name` is its session, if it has one.
    pub fn spawn(name: &str, command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self {
            name: name.to_owned(),
            stdin: child.stdin.take(),
            stdout: collect(child.stdout.take().unwrap()),
            stderr: collect(child.stderr.take().unwrap()),
            child,
            status: None,
        }
    }

    /// The process that was started: the keeper, of a guarded run.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes a line to its input.
    pub fn send(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        writeln!(stdin, "{line}").and_then(|()| stdin.flush()).unwrap();
    }

    /// Closes its input.
    pub fn close(&mut self) {
        self.stdin = None;
    }

    /// What it has written so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        self.stdout.lock().unwrap().clone()
    }

    /// What it has written to its standard error so far; of a guarded run, the keeper's notices too.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// Waits until its output contains a text.
    pub fn await_stdout(&mut self, text: &str) {
        eventually(&format!("{text:?} in the output of {self:?}"), || {
            let found = self.stdout.lock().unwrap().contains(text);
            assert!(found || !self.has_ended() || self.stdout.lock().unwrap().contains(text), "it ended: {self:?}");
            found.then_some(())
        });
    }

    /// Waits until its standard error contains a text.
    pub fn await_stderr(&self, text: &str) {
        eventually(&format!("{text:?} on the standard error of {self:?}"), || {
            self.stderr.lock().unwrap().contains(text).then_some(())
        });
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.poll().is_some()
    }

    /// Waits for its end and returns its status: its own, or 128 and its signal.
    pub fn wait(&mut self) -> i32 {
        self.stdin = None;
        let what = format!("the end of {self:?}");
        let status = eventually(&what, || self.poll());
        // The readers end with the last process that holds the pipes, which may be one that the run left behind.
        for _ in 0..100 {
            if Arc::strong_count(&self.stdout) == 1 && Arc::strong_count(&self.stderr) == 1 {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        status
    }

    fn poll(&mut self) -> Option<i32> {
        use std::os::unix::process::ExitStatusExt as _;
        if self.status.is_none() {
            let ended = self.child.try_wait().unwrap();
            self.status = ended.map(|status| status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)));
        }
        self.status
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if self.poll().is_none() {
            if self.name.is_empty() {
                drop(self.child.kill());
            } else {
                drop(cli(&["kill", &self.name]));
            }
        }
        // A keeper whose session cannot be killed must not hang the suite.
        for _ in 0..200 {
            if self.poll().is_some() {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn collect(mut from: impl Read + Send + 'static) -> Text {
    let text = Text::default();
    let to = Arc::clone(&text);
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            to.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    });
    text
}
