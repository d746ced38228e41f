//! Owns policies that cannot be put in force: each is refused as a whole, by `check`, at a reload and at a start, and
//! the one before stays.
//!
//! Must not test each fault's words: the unit tests do.

use std::fs;

use std::process::Command;

use agent_guard_tests::guest::{Agent, Run, cli, status};

use crate::tamper::pins;
use crate::{InForce, POLICY, POLICY_FILE, daemon, file, is_well, run, said};

const EPERM: i64 = 1;

/// What a policy may say with one thing changed, and what must be said of it: at least where.
fn malformed() -> Vec<(String, &'static str)> {
    let changed = |from: &str, to: &str| {
        assert!(POLICY.contains(from), "{from}");
        POLICY.replacen(from, to, 1)
    };
    let aliases: String = (0..30).map(|level| format!("  l{level}: &a{level} [*a{level}, *a{level}]\n")).collect();
    vec![
        (String::new(), "1:"),
        ("\0\0\0".to_owned(), "1:"),
        ("# nothing\n".to_owned(), "2:1: expected the policy"),
        ("version: 1\n".to_owned(), "1:1: the policy needs the key `profiles`"),
        ("- version\n".to_owned(), "1:"),
        ("version: 1\nlabels: [\n".to_owned(), "2:9: this is not YAML that can be read"),
        (changed("version: 1", "version: 2"), "1:"),
        (changed("version: 1", "version: 1\nversion: 1"), "2:"),
        (changed("timeout: 10m", "timeout: 10"), "2:"),
        (changed("timeout: 10m", "timeout: 0s"), "2:"),
        (changed("timeout: 10m", "timeout: 90h"), "2:"),
        (changed("timeout:", "timeuot:"), "2:"),
        (changed("/srv/held]", "srv/held]"), "4:"),
        (changed("/srv/held]", "/srv/../srv/held]"), "4:"),
        (changed("/srv/held]", "/srv//held]"), "4:"),
        (changed("/srv/held]", "/srv/held/]"), "4:"),
        (changed("127.9.0.0/16", "127.9.0.1/16"), "6:"),
        (changed("127.9.0.0/16", "127.9.0.0/33"), "6:"),
        (changed("cidr: 127.9.0.0/16", "cidr: 127.9.0.0/16, ports: [9-1]"), "6:"),
        (changed("cidr: 127.9.0.0/16", "cidr: 127.9.0.0/16, ports: [65536]"), "6:"),
        (changed("default: allow", "default: hold"), "8:"),
        (changed("labels: held", "labels: hold"), "11:"),
        (changed("verdict: hold", "verdict: ask"), "11:"),
        (changed("operations: connect", "operations: conect"), "13:"),
        (changed("operations: connect", "operations: delete"), "13:"),
        (changed("profiles: all, operations: connect", "profiles: nobody, operations: connect"), "13:"),
        (changed("name: refused", "name: asked"), "12:"),
        (changed("name: refused", "name: Refused!"), "12:"),
        (format!("version: 1\nlabels:\n{aliases}"), "3:11: anchors and aliases are not part of a policy"),
        (format!("version: 1\nlabels: {}", "[".repeat(10_000)), "recursion limit exceeded"),
        (format!("{POLICY}# {}\n", "x".repeat(1 << 20)), "at most 1048576 are read"),
    ]
}

#[test]
fn fault_a_malformed_policy_is_refused_with_its_places_and_the_old_one_stays() {
    let daemon = daemon();
    let denied = file("denied", "malformed");
    let mut agent = Agent::guarded("malformed");
    let before = status()["policy"]["generation"].clone();
    for (number, (policy, place)) in malformed().iter().enumerate() {
        let path = format!("/tmp/malformed-{number}.yaml");
        fs::write(&path, policy).unwrap();
        let (code, checked) = run("agent-guard", &["policy", "check", &path]);
        assert_eq!(code, 1, "{number}: {checked}");
        assert!(checked.contains(place), "{number}, expected {place}: {checked}");
        fs::write(POLICY_FILE, policy).unwrap();
        let (code, reloaded) = said(&cli(&["policy", "reload"]));
        assert_eq!(code, 1, "{number}: {reloaded}");
        assert!(reloaded.contains(POLICY_FILE), "{number}: {reloaded}");
        assert_eq!(agent.errno(&format!("unlink {}", denied.display())), 1, "{number}");
    }
    fs::write(POLICY_FILE, b"version: 1 # \xff\xfe\n").unwrap();
    assert_eq!(said(&cli(&["policy", "reload"])).0, 1);
    fs::remove_file(POLICY_FILE).unwrap();
    let (code, missing) = said(&cli(&["policy", "reload"]));
    assert!(
        code == 1 && missing.contains("cannot read the policy /etc/agent-guard/policy.yaml: No such file"),
        "{missing}"
    );
    fs::write(POLICY_FILE, POLICY).unwrap();
    assert_eq!(status()["policy"]["generation"], before, "none of them was put in force");
    let refused = daemon.audit().iter().filter(|record| record["what"] == "policy-refused").count();
    assert!(refused >= malformed().len() + 2, "{refused}");
    is_well(daemon);
    // The other half: the good one is taken, and is in force.
    assert_eq!(said(&cli(&["policy", "reload"])).0, 0);
    assert!(status()["policy"]["generation"].as_u64() > before.as_u64());
    assert_eq!(agent.errno(&format!("unlink {}", denied.display())), 1);
}

#[test]
fn fault_a_policy_without_a_profile_that_is_in_use_is_refused() {
    let daemon = daemon();
    let denied = file("denied", "in-use");
    let mut agent = Agent::under("other", "in-use");
    agent.pid();
    fs::write(POLICY_FILE, POLICY.replace("  other: { default: allow }\n", "")).unwrap();
    let (code, refused) = said(&cli(&["policy", "reload"]));
    assert_eq!(code, 1, "{refused}");
    assert!(refused.contains("other") && refused.contains("in-use"), "names the profile and its session: {refused}");
    assert_eq!(agent.errno(&format!("unlink {}", denied.display())), 1);
    drop(agent);
    agent_guard_tests::guest::eventually("the reload", || (said(&cli(&["policy", "reload"])).0 == 0).then_some(()));
    let (code, unknown) = said(&cli(&["run", "--profile", "other", "--", "touch", "/srv/other-ran"]));
    assert_eq!(code, 125, "{unknown}");
    assert!(unknown.contains("the policy has no profile other: it has autonomous"), "{unknown}");
    assert!(!std::path::Path::new("/srv/other-ran").exists());
    fs::write(POLICY_FILE, POLICY).unwrap();
    assert_eq!(said(&cli(&["policy", "reload"])).0, 0);
    is_well(daemon);
}

#[test]
fn fault_what_everybody_would_pay_for_is_attached_while_a_policy_names_it_and_no_longer() {
    let daemon = daemon();
    let is_attached = || pins().iter().any(|pin| pin.ends_with("file_permission"));
    assert!(!is_attached(), "no policy has named it");
    let path = file("denied", "demand").display().to_string();
    let line = format!("exec 3>>{path}; exec agent-guard run --name demand -- /usr/local/bin/agent-guard-act serve");
    let mut agent = Agent::of(Run::spawn("demand", Command::new("sh").args(["-c", &line])));
    assert_eq!(agent.errno("fd-write 3 ,one"), 0);
    let naming =
        POLICY.replacen("refused, profiles: all, operations: [", "refused, profiles: all, operations: [modify, ", 1);
    let in_force = InForce::begin(&naming);
    assert!(is_attached());
    assert_eq!(agent.errno("fd-write 3 ,two"), EPERM, "opened before the policy");
    daemon.kill9();
    assert_eq!(agent.errno("fd-write 3 ,three"), EPERM, "without a daemon");
    daemon.launch();
    assert!(is_attached());
    assert_eq!(agent.errno("fd-write 3 ,four"), EPERM, "with another daemon");
    drop(in_force);
    assert!(!is_attached());
    assert_eq!(agent.errno("fd-write 3 ,five"), 0);
    assert_eq!(fs::read_to_string(&path).unwrap(), "demand,one,five");
    is_well(daemon);
}
