//! Owns what a tree does against its guard: it ends no daemon that is not its own, and takes no program off a hook.
//!
//! Must not test what root can do where the policy labels nothing: the ledger says that.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use agent_guard_common::ABI_VERSION;
use agent_guard_tests::guest::{Agent, Run, as_user, cli, eventually};
use serde_json::json;

use crate::{InForce, POLICY, daemon, file, is_well, said};

const AGENT: u32 = 1000;
const EPERM: i64 = 1;
const PINS: &str = "/sys/fs/bpf/agent-guard";

/// Every pin: the maps, and the links that hold the programs on their hooks.
pub(crate) fn pins() -> Vec<PathBuf> {
    fn below(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { below(&path, found) } else { found.push(path) }
        }
    }
    let mut found = Vec::new();
    below(Path::new(PINS), &mut found);
    found.sort();
    assert!(found.len() > 20, "{found:?}");
    found
}

#[test]
fn fault_a_guarded_user_neither_stops_the_daemon_nor_detaches_what_refuses() {
    let daemon = daemon();
    let before = pins();
    let pid = daemon.pid();
    let tries = [
        format!("kill -KILL {pid}"),
        format!("kill -STOP {pid}"),
        "agent-guard detach".to_owned(),
        "agent-guard daemon".to_owned(),
        format!("ls {PINS}/v{ABI_VERSION}/maps"),
        format!("cat {PINS}/v{ABI_VERSION}/maps/ANSWERS"),
        format!("rm -r -f {PINS}"),
        format!("mv {PINS} /sys/fs/bpf/away"),
        "umount /sys/fs/bpf".to_owned(),
        "rm -f /run/agent-guard/control.sock".to_owned(),
        "mv /run/agent-guard /run/away".to_owned(),
        "cp /bin/sh /usr/bin/agent-guard".to_owned(),
        "cp /dev/null /etc/agent-guard/policy.yaml".to_owned(),
    ];
    let script: String = tries.iter().map(|attempt| format!("{attempt} >/dev/null 2>&1; echo $?\n")).collect();
    let mut command = Command::new("agent-guard");
    command.args(["run", "--name", "tamper-user", "--", "/bin/sh", "-c", &script]);
    let mut run = Run::spawn("tamper-user", as_user(&mut command, AGENT));
    run.wait();
    let statuses = run.stdout();
    assert_eq!(statuses.lines().count(), tries.len(), "{run:?}");
    let succeeded = tries.iter().zip(statuses.lines()).filter(|(_, status)| *status == "0");
    assert_eq!(succeeded.collect::<Vec<_>>(), [], "{run:?}");
    assert_eq!(pins(), before);
    is_well(daemon);
    let denied = file("denied", "tamper-user");
    assert_eq!(Agent::guarded("tamper-user-after").errno(&format!("unlink {}", denied.display())), EPERM);
}

/// The suite's policy, and beside it what guards this machine.
fn policy_of_the_guard_itself() -> String {
    let label =
        "  guard: { paths: [/sys/fs/bpf/agent-guard, /usr/bin/agent-guard, /etc/agent-guard, /run/agent-guard] }\n";
    let rule = "  - { name: guard, profiles: all, operations: [write, create, delete, rename, truncate, link], labels: guard, verdict: deny }\n";
    POLICY.replace("profiles:\n", &format!("{label}profiles:\n")).replace("rules:\n", &format!("rules:\n{rule}"))
}

#[test]
fn fault_root_in_a_tree_removes_no_pin_that_is_labelled_with_or_without_a_daemon() {
    let daemon = daemon();
    let denied = file("denied", "tamper-root");
    let unlink = format!("unlink {}", denied.display());
    let in_force = InForce::begin(&policy_of_the_guard_itself());
    let before = pins();
    let mut agent = Agent::guarded("tamper-root");
    let acts = [
        format!("rename {PINS} /sys/fs/bpf/away"),
        format!("rmdir {PINS}/v{ABI_VERSION}/maps"),
        format!("mkdir {PINS}/other"),
        "unlink /usr/bin/agent-guard".to_owned(),
        "rename /usr/bin/agent-guard /usr/bin/away".to_owned(),
        "rename /srv/other /usr/bin/agent-guard".to_owned(),
        "open /etc/agent-guard/policy.yaml wt".to_owned(),
        "unlink /etc/agent-guard/policy.yaml".to_owned(),
        "rename /etc/agent-guard /etc/away".to_owned(),
        "unlink /run/agent-guard/control.sock".to_owned(),
        "rename /run/agent-guard /run/away".to_owned(),
    ];
    fs::write("/srv/other", "").unwrap();
    let refuses = |agent: &mut Agent, when: &str| {
        let unpins = before.iter().map(|pin| format!("unlink {}", pin.display()));
        for act in unpins.chain(acts.clone()) {
            assert_eq!(agent.errno(&act), EPERM, "{when}: {act}");
        }
        let detached = agent.act("exec execve /usr/bin/agent-guard detach");
        assert_eq!(detached.value, json!({ "status": 7 }), "{when}");
        assert_eq!(pins(), before, "{when}");
        assert_eq!(agent.errno(&unlink), EPERM, "{when}");
    };
    refuses(&mut agent, "with a daemon");
    // Root may kill it, which opens nothing.
    daemon.kill9();
    refuses(&mut agent, "without one");
    // The other half: the same verb by somebody else.
    assert_eq!(said(&cli(&["detach"])).0, 0);
    assert!(!Path::new(PINS).exists());
    eventually("the same act of the same process", || (agent.errno(&unlink) == 0).then_some(()));
    agent.run.close();
    agent.run.wait();
    drop(in_force);
}
