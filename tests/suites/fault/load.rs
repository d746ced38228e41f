//! Owns too much of everything: reloads under load, and many sessions with many questions.
//!
//! Must not measure speed.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use agent_guard_tests::guest::{Agent, CONTROL_SOCKET, Daemon, Run, cli, eventually, http, status};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{POLICY, POLICY_FILE, daemon, file, is_well, said};

/// The usual policy, and beside it one directory out of which, and into which, nothing is moved.
fn policy_with(closed: &str) -> String {
    POLICY.replace("profiles:\n", &format!("  closed: {{ paths: [/srv/{closed}] }}\nprofiles:\n")).replace(
        "rules:\n",
        "rules:\n  - { name: closed, profiles: all, operations: rename, labels: closed, verdict: deny }\n",
    )
}

fn generation() -> u64 {
    status()["policy"]["generation"].as_u64().unwrap()
}

fn refusals(daemon: &Daemon) -> usize {
    daemon.log().matches("the policy before stays in force").count()
}

/// Moves a file between two directories of which one is always closed, while the policies change.
fn no_instant_is_open(reloads: u32) {
    let daemon = daemon();
    fs::write("/srv/one/f", "f").unwrap();
    let keep = file("denied", "reload");
    fs::write(POLICY_FILE, policy_with("one")).unwrap();
    assert_eq!(said(&cli(&["policy", "reload"])).0, 0);
    let over = "/tmp/reloads-over";
    let mut mover = Agent::guarded("mover");
    let mut deleter = Agent::guarded("deleter");
    // Both must have begun before the first change.
    assert_eq!(mover.errno("rename /srv/one/f /srv/two/f"), 1);
    assert_eq!(deleter.errno(&format!("unlink {}", keep.display())), 1);
    mover.begin(&format!("until {over} 1000 rename /srv/one/f /srv/two/f"));
    deleter.begin(&format!("until {over} 1000 unlink {}", keep.display()));
    for reload in 0..reloads {
        let (before, refused) = (generation(), refusals(daemon));
        if reload % 3 == 2 {
            fs::write(POLICY_FILE, "version: 1\nrules: everything\n").unwrap();
            daemon.signal(Signal::SIGHUP);
            eventually("a refusal", || (refusals(daemon) > refused).then_some(()));
            assert_eq!(generation(), before, "a broken policy leaves the old one in force");
        } else {
            fs::write(POLICY_FILE, policy_with(if reload % 3 == 0 { "two" } else { "one" })).unwrap();
            daemon.signal(Signal::SIGHUP);
            eventually("the next generation", || {
                assert_eq!(refusals(daemon), refused, "a good policy was refused");
                (generation() > before).then_some(())
            });
        }
    }
    fs::write(over, "").unwrap();
    for agent in [&mut mover, &mut deleter] {
        let errnos = agent.finish().value;
        let counts = errnos.as_object().unwrap();
        assert_eq!(counts.keys().collect::<Vec<_>>(), ["1"], "all were refused, by either policy: {errnos}");
        assert!(counts["1"].as_u64().unwrap() > 100, "hardly a load: {errnos}");
    }
    assert!(Path::new("/srv/one/f").exists() && keep.exists());
    fs::remove_file(over).unwrap();
    fs::write(POLICY_FILE, POLICY).unwrap();
    assert_eq!(said(&cli(&["policy", "reload"])).0, 0);
    // The other half: with neither closed it goes.
    assert_eq!(mover.errno("rename /srv/one/f /srv/two/f"), 0);
    fs::remove_file("/srv/two/f").unwrap();
    is_well(daemon);
}

#[test]
fn fault_each_act_is_judged_by_one_whole_policy_while_policies_change() {
    no_instant_is_open(6);
}

#[test]
fn long_fault_each_act_is_judged_by_one_whole_policy_while_policies_change_a_hundred_times() {
    no_instant_is_open(100);
}

/// Resident memory of a process, in KiB.
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Questions that wait; none while the daemon is too busy to say.
fn pending() -> Option<u64> {
    let response = http(CONTROL_SOCKET, "GET", "/v1/status", None).ok()?;
    response.json()["pending"].as_u64()
}

/// Sessions that there are; none while the daemon is too busy to say.
fn sessions_now() -> Option<u64> {
    let response = http(CONTROL_SOCKET, "GET", "/v1/sessions", None).ok()?;
    response.json().as_array().map(|sessions| sessions.len() as u64)
}

/// So many sessions, with so many questions each, fit into 32 MiB.
fn many_questions_are_small(sessions: u64, questions: u64) {
    let daemon = daemon();
    let (before, failures) = (pending().unwrap(), status()["failures"].clone());
    let flood =
        format!("i=0; while [ $i -lt {questions} ]; do rm /srv/held/none-$i & i=$((i+1)); done; wait; echo over");
    for question in 0..questions {
        file("held", &format!("none-{question}"));
    }
    let mut trees: Vec<Run> = Vec::new();
    for number in 0..sessions {
        trees.push(Run::shell(&format!("many-{number}"), &flood));
        // One user has 64 connections at one time.
        if number % 32 == 31 {
            eventually("the sessions so far", || (sessions_now()? > number).then_some(()));
        }
    }
    let all = before + sessions * questions;
    // Emulation takes its time for so many processes.
    for _ in 0..60 {
        if pending().is_none_or(|pending| pending < all) {
            sleep(Duration::from_secs(6));
        }
    }
    eventually("all questions", || (pending()? >= all).then_some(()));
    let listed: Vec<Value> =
        serde_json::from_str(&said(&cli(&["requests", "--state", "pending", "--json"])).1).unwrap();
    assert!(listed.len() as u64 >= all);
    let memory = resident(daemon.pid());
    let said = format!("{memory} KiB with {sessions} sessions and {all} requests");
    assert!(
        memory < 32 * 1024,
        "{said}: {}",
        fs::read_to_string(format!("/proc/{}/smaps_rollup", daemon.pid())).unwrap()
    );
    eprintln!("the daemon has {said}");
    assert_eq!(status()["failures"], failures, "no act of the kernel's own has failed");
    drop(trees);
    eventually("no more sessions", || (pending()? == before).then_some(()));
    is_well(daemon);
}

#[test]
fn long_fault_the_daemon_stays_small_with_10_sessions_and_200_requests() {
    many_questions_are_small(10, 20);
}

#[test]
fn long_fault_the_daemon_stays_small_with_100_sessions_and_1000_requests() {
    many_questions_are_small(100, 10);
}
