//! The machine as a whole, and sockets that let no hook see where they lead.

use std::fs;

use agent_guard_tests::guest::Agent;

use crate::policy::FREE;
use crate::{EPERM, audited, await_record, daemon, denied, directory};

/// Acts, the operation that each is, and the call that a record names.
const ACTS: &[(&str, &str, &str)] = &[
    ("swap", "swapon @/f", "swapon"),
    ("reboot", "reboot", "reboot"),
    ("reboot", "kexec", "kexec_load"),
    ("module", "load-module", "init_module"),
    ("module", "remove-module", "delete_module"),
    ("time", "set-clock", "clock_settime"),
    ("time", "steer-clock", "adjtimex"),
    ("raw-io", "ports", "ioperm"),
    ("handle", "by-handle @", "open_by_handle_at"),
    ("keyring", "add-key", "add_key"),
    ("keyring", "clear-keys", "keyctl"),
    ("quota", "quota /t/disk", "quotactl_fd"),
    ("bpf", "bpf", "bpf"),
    ("perf", "perf", "perf_event_open"),
    ("userfaultfd", "user-fault", "userfaultfd"),
    ("io-uring", "make-ring", "io_uring_setup"),
    ("terminal", "type", "ptmx"),
    ("raw-socket", "socket raw", "socket"),
    ("raw-socket", "socket raw6", "socket"),
    ("raw-socket", "socket packet", "socket"),
    ("raw-socket", "socket vsock", "socket"),
    ("raw-socket", "socket sctp", "socket"),
];

fn results(agent: &mut Agent, test: &str) -> Vec<i64> {
    let path = directory(FREE, test);
    fs::write(format!("{path}/f"), "data").unwrap();
    ACTS.iter().map(|(_, act, _)| agent.errno(&act.replace('@', &path))).collect()
}

#[test]
fn escape_by_the_machine_is_refused_where_a_rule_says_so_and_nobody_else_notices() {
    let mut agent = denied("machine-deny");
    let mut free = Agent::unguarded();
    let mut allowed = Agent::under("autonomous", "machine-allow");
    daemon();
    let usual = results(&mut free, "machine");
    let refused: Vec<_> = ACTS.iter().zip(&usual).filter(|(_, errno)| **errno == EPERM).collect();
    assert!(refused.is_empty(), "refused to an untagged process: {refused:?}");
    assert_eq!(results(&mut allowed, "machine"), usual, "what no rule names");
    let results = results(&mut agent, "machine");
    let passed: Vec<_> = ACTS.iter().zip(&results).filter(|(_, errno)| **errno != EPERM).collect();
    assert!(passed.is_empty(), "not refused: {passed:?}");
    for (operation, _, object) in ACTS {
        await_record("refused", "machine-deny", operation, object);
    }
    for plain in ["socket tcp", "socket udp", "socket netlink"] {
        assert_eq!(agent.errno(plain), 0, "{plain}");
    }
}

#[test]
fn audit_what_is_done_to_the_machine_passes_as_ever_and_is_recorded() {
    let mut agent = audited("machine-audit");
    let mut free = Agent::unguarded();
    let usual = results(&mut free, "machine-usual");
    assert_eq!(results(&mut agent, "machine-audit"), usual);
    for (operation, _, object) in ACTS {
        await_record("audited", "machine-audit", operation, object);
    }
}
