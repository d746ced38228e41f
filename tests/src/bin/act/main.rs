//! Owns the acts of a guarded program: exact system calls, done on demand, with what came of each.
//!
//! Must not know that there is a guard. It reads an act a line, as words, and writes a line of JSON for each; the other
//! side is `src/guest/agent.rs`. Acts compose: `start via thread unlink /x` unlinks in a thread of a child.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test program fails by panicking")]

mod attack;
mod child;
mod compat;
mod descriptor;
mod dial;
mod exec;
mod file;
mod inode;
mod net;
mod process;
mod ring;
mod stress;
mod system;
mod tree;
mod unix;

use std::collections::BTreeMap;
use std::io::{BufRead as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use serde_json::{Value, json};

/// What came of an act.
pub(crate) struct Done {
    /// The errno; 0 for success, -1 when the process that acted was killed.
    pub(crate) errno: i32,
    /// What the call returned, or the act found out.
    pub(crate) value: Value,
}

impl Done {
    /// The result of a system call as the C library gives it.
    pub(crate) fn of(result: impl Into<i64>) -> Self {
        let result = result.into();
        let errno = if result == -1 { Errno::last_raw() } else { 0 };
        Self { errno, value: json!(result) }
    }

    /// A success that found something out.
    pub(crate) fn found(value: Value) -> Self {
        Self { errno: 0, value }
    }

    /// The result of a call of `std`.
    pub(crate) fn std(result: std::io::Result<Value>) -> Self {
        match result {
            Ok(value) => Self::found(value),
            Err(error) => Self { errno: error.raw_os_error().unwrap_or(-1), value: Value::Null },
        }
    }

    fn line(&self) -> String {
        json!({ "errno": self.errno, "value": self.value }).to_string()
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap()
}

/// Does an act; none for one that is not known.
pub(crate) fn perform(words: &[&str]) -> Option<Done> {
    match words {
        ["getpid"] => Some(Done::found(json!(std::process::id()))),
        // The same act, with pauses, until a file exists: how often each errno came.
        ["until", file, pause, act @ ..] => {
            let pause = Duration::from_micros(pause.parse().ok()?);
            let mut errnos = BTreeMap::<i32, u64>::new();
            while !Path::new(file).exists() {
                *errnos.entry(perform(act)?.errno).or_default() += 1;
                std::thread::sleep(pause);
            }
            Some(Done::found(json!(errnos)))
        }
        // The same act so often: how many nanoseconds it took, at least, at the median, and at most.
        ["timed", count, act @ ..] => {
            let mut times = Vec::new();
            for _ in 0..count.parse::<u32>().ok()? {
                let start = Instant::now();
                match perform(act)? {
                    Done { errno: 0, .. } => times.push(nanoseconds(start.elapsed())),
                    failed => return Some(failed),
                }
            }
            times.sort_unstable();
            let median = times.get(times.len() / 2);
            Some(Done::found(json!({ "minimum": times.first(), "median": median, "maximum": times.last() })))
        }
        // The same act until a file exists: for how many nanoseconds it did not succeed, at most.
        ["longest-gap", file, act @ ..] => {
            let (mut longest, mut last) = (Duration::ZERO, Instant::now());
            while !Path::new(file).exists() {
                let done = perform(act)?;
                if done.errno == 0 && done.value["code"].as_u64().unwrap_or(0) == 0 {
                    longest = longest.max(last.elapsed());
                    last = Instant::now();
                } else {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            Some(Done::found(json!(nanoseconds(longest))))
        }
        // The same act so often.
        ["times", count, act @ ..] => {
            let mut errnos = BTreeMap::<i32, u64>::new();
            for _ in 0..count.parse::<u32>().ok()? {
                *errnos.entry(perform(act)?.errno).or_default() += 1;
            }
            Some(Done::found(json!(errnos)))
        }
        _ => file::act(words)
            .or_else(|| descriptor::act(words))
            .or_else(|| net::act(words))
            .or_else(|| dial::act(words))
            .or_else(|| compat::act(words))
            .or_else(|| exec::act(words))
            .or_else(|| inode::act(words))
            .or_else(|| process::act(words))
            .or_else(|| system::act(words))
            .or_else(|| unix::act(words))
            .or_else(|| ring::act(words))
            .or_else(|| tree::act(words))
            .or_else(|| attack::act(words))
            .or_else(|| stress::act(words)),
    }
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let called = Path::new(words[0]).file_name().map(|name| name.to_string_lossy().into_owned());
    match (called.as_deref(), &words[1..]) {
        // A program that tells that it ran, and with what.
        (Some("marker"), [word, directory, ..]) => {
            std::fs::write(format!("{directory}/{word}"), words.join(" ")).unwrap();
        }
        (_, ["serve"]) => serve(),
        (_, ["once", act @ ..]) => println!("{}", result(act)),
        _ => panic!("usage: act serve | act once WORDS..., not {words:?}"),
    }
}

fn serve() {
    let stdin = std::io::stdin().lock();
    for line in stdin.lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        let result = result(&words);
        let mut stdout = std::io::stdout();
        writeln!(stdout, "{result}").unwrap();
        stdout.flush().unwrap();
    }
}

fn result(words: &[&str]) -> String {
    perform(words).map_or_else(|| json!({ "error": format!("no such act: {words:?}") }).to_string(), |done| done.line())
}
