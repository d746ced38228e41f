//! Owns the wall clock that jumps. Must not test deadlines as such.

use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agent_guard_tests::guest::{Agent, approve, await_request_in, never_within, request};

use crate::{daemon, file, id_of, is_well};

/// A wall clock that goes ahead by some days as long as this value lives.
struct Ahead(u64);

impl Ahead {
    fn begin(days: u64) -> Self {
        set(i64::try_from(days).unwrap());
        Self(days)
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        set(-i64::try_from(self.0).unwrap());
    }
}

fn set(days: i64) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let then = now.checked_add_signed(days * 86_400).unwrap();
    assert!(Command::new("date").args(["-s", &format!("@{then}")]).output().unwrap().status.success());
}

#[test]
fn fault_a_wall_clock_that_jumps_neither_ends_nor_prolongs_a_question() {
    let daemon = daemon();
    let path = file("held", "clock");
    let mut agent = Agent::guarded("clock");
    agent.begin(&format!("unlink {}", path.display()));
    let asked = id_of(&await_request_in("clock"));
    let left = || request(&asked)["left_ms"].as_u64().unwrap() / 1000;
    let before = left();
    {
        let _ahead = Ahead::begin(3);
        never_within(Duration::from_secs(2), "it has an end", || agent.result().is_some());
        let after = left();
        assert!(after <= before && before - after < 60, "{before} s left, then {after} s");
    }
    // Back again: nothing is prolonged by it either.
    let after = left();
    assert!(after <= before && before - after < 60, "{before} s left, then {after} s");
    approve(&asked);
    assert_eq!(agent.finish().errno, 0);
    assert!(!path.exists());
    is_well(daemon);
}
