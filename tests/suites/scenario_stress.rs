//! Owns what a guarded tree that does everything at once leaves behind: a kernel that is well, and maps that are empty.
//!
//! Must not test what is refused: other suites do.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

use agent_guard_tests::guest::{Daemon, PinnedMap, eventually, script, sessions, status};

const POLICY: &str = include_str!("../../agent-guard/policies/default.yaml");

fn daemon() -> &'static Daemon {
    Daemon::shared(|| POLICY.to_owned())
}

/// What the kernel says when something is wrong with it.
const ALARMS: &[&str] =
    &["WARNING:", "BUG:", "Oops", "lockup", "rcu_sched", "rcu_preempt", "hung_task", "blocked for more"];

/// Lines of the kernel's log that are alarms.
fn alarms() -> Vec<String> {
    let log = Command::new("dmesg").output().unwrap();
    let log = String::from_utf8_lossy(&log.stdout).into_owned();
    log.lines().filter(|line| ALARMS.iter().any(|alarm| line.contains(alarm))).map(str::to_owned).collect()
}

/// Whether the kernel's maps hold nothing of any session any more. The size of a key is that of the ABI.
fn nothing_is_left() -> bool {
    let is_empty = |(map, key): &(&str, usize)| PinnedMap::open(map, *key).keys().is_empty();
    sessions().is_empty() && [("ENROL", 4), ("ANSWERS", 16)].iter().all(is_empty)
}

/// Runs the stressors of some classes of stress-ng one after the other under guard, each for so long.
fn the_kernel_is_well_after(name: &str, classes: &str, each: u32, in_all: u32) {
    daemon();
    assert_eq!(alarms(), Vec::<String>::new(), "before anything");
    // From the beginning again, until the time is over.
    let script = format!(
        "end=$((SECONDS + {in_all}))
        while [ $SECONDS -lt $end ]; do
            timeout $((end - SECONDS)) stress-ng --class {classes} --seq 2 -t {each} --vm-bytes 16M --no-rand-seed -q || true
        done"
    );
    // Stressors do what no agent may as well (raw sockets, others' priorities): here it is about what that does to the kernel.
    assert_eq!(script::run(daemon, name, true, &script).status, 0);
    eventually("empty maps", || nothing_is_left().then_some(()));
    assert_eq!(alarms(), Vec::<String>::new());
    // Some of them make directories deeper than anything is decided about; that is refused, and counted.
    let mut failures = self::status()["failures"].as_array().unwrap().clone();
    failures.retain(|failure| failure["place"] != "path too deep");
    assert_eq!(failures, Vec::<serde_json::Value>::new(), "nothing was lost in the kernel");
}

#[test]
fn scenario_stress_leaves_a_kernel_well_and_its_maps_empty() {
    the_kernel_is_well_after("stress", "pipe", 1, 20);
}

#[test]
fn long_scenario_stress_of_ten_minutes_leaves_a_kernel_well_and_its_maps_empty() {
    the_kernel_is_well_after("stress-long", "filesystem,os,scheduler,network,pipe,memory,vm", 2, 600);
}
