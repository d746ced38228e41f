//! An agent that does what it is told, one system call at a time: `agent-guard-act`, under guard or without.
//!
//! `src/bin/act/` is the other side. An act is a line of words; its result is a line of JSON.

use serde_json::Value;

use super::run::Run;
use super::wait::eventually;

const ACT: &str = "/usr/local/bin/agent-guard-act";

/// Results of the kernel that no program may ever see.
const RESTARTS: std::ops::RangeInclusive<i64> = 512..=516;

/// What acts call the errnos of the acts inside of them, where they do not count them by errno.
const INNER: [&str; 3] = ["act", "handler", "left"];

/// The errnos that a value tells: of counts the keys, and what stands under one of the names.
fn errnos(value: &Value) -> Vec<i64> {
    let fields = value.as_object().into_iter().flatten();
    let of_field = |(name, field): (&String, &Value)| {
        let named = INNER.contains(&name.as_str()).then(|| field.as_i64()).flatten();
        errnos(field).into_iter().chain(name.parse().ok()).chain(named).collect::<Vec<_>>()
    };
    fields.flat_map(of_field).collect()
}

/// What came of an act.
#[derive(Debug, Clone, PartialEq)]
pub struct Done {
    /// The errno; 0 for success.
    pub errno: i64,
    /// What the call returned, or the act found out.
    pub value: Value,
}

/// An agent.
#[derive(Debug)]
pub struct Agent {
    /// The program that acts.
    pub run: Run,
    /// Results that were read.
    read: usize,
}

impl Agent {
    /// An agent in a session of this name.
    #[must_use]
    pub fn guarded(name: &str) -> Self {
        Self { run: Run::guarded(name, &[ACT, "serve"]), read: 0 }
    }

    /// An agent under a profile.
    #[must_use]
    pub fn under(profile: &str, name: &str) -> Self {
        Self { run: Run::under(profile, name, &[ACT, "serve"]), read: 0 }
    }

    /// The same agent without guard.
    #[must_use]
    pub fn unguarded() -> Self {
        Self { run: Run::unguarded(&[ACT, "serve"]), read: 0 }
    }

    /// An agent that was started in another way.
    #[must_use]
    pub fn of(run: Run) -> Self {
        Self { run, read: 0 }
    }

    /// Begins an act, which may be held.
    pub fn begin(&mut self, act: &str) {
        self.run.send(act);
    }

    /// What came of the act that was begun; none while it is held.
    pub fn result(&mut self) -> Option<Done> {
        let stdout = self.run.stdout();
        let is_whole = stdout.ends_with('\n');
        let lines: Vec<&str> = stdout.lines().collect();
        let is_there = self.read + 1 < lines.len() || (self.read + 1 == lines.len() && is_whole);
        if !is_there {
            return None;
        }
        let line = lines[self.read];
        self.read += 1;
        let done: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(done["error"].is_null(), "the act itself is wrong: {line}");
        let errno = done["errno"].as_i64().unwrap();
        let mut all = errnos(&done["value"]).into_iter().chain([errno]);
        assert!(!all.any(|errno| RESTARTS.contains(&errno)), "a kernel-internal errno reached a program: {line}");
        Some(Done { errno, value: done["value"].clone() })
    }

    /// Waits for what comes of the act that was begun.
    pub fn finish(&mut self) -> Done {
        let what = format!("the result of an act of {:?}", self.run);
        eventually(&what, || self.result())
    }

    /// Does an act that is not held.
    pub fn act(&mut self, act: &str) -> Done {
        self.begin(act);
        self.finish()
    }

    /// The errno of an act that is not held.
    pub fn errno(&mut self, act: &str) -> i64 {
        self.act(act).errno
    }

    /// The agent's own process.
    pub fn pid(&mut self) -> u32 {
        u32::try_from(self.act("getpid").value.as_u64().unwrap()).unwrap()
    }
}
