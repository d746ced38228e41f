//! Files that become code without being executed themselves: mapped by a loader, or named by a script.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use agent_guard_tests::guest::Agent;

use crate::policy::{FREE, LABELLED};
use crate::{EPERM, await_record, denied, directory};

const ACT: &str = "/usr/local/bin/agent-guard-act";

#[test]
fn escape_by_a_loader_or_a_script_that_runs_a_labelled_file_is_refused() {
    let (path, other) = (directory(LABELLED, "code"), directory(FREE, "code"));
    let mut agent = denied("code");
    let mut free = Agent::unguarded();
    for directory in [&path, &other] {
        fs::copy(ACT, format!("{directory}/act")).unwrap();
    }
    let script = format!("{other}/script");
    fs::write(&script, format!("#!{path}/act once\n")).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    for act in ["map-code @/act", "map-code-in-steps @/act"] {
        assert_eq!(free.errno(&act.replace('@', &path)), 0, "untagged: {act}");
        assert_eq!(agent.errno(&act.replace('@', &path)), EPERM, "{act}");
        assert_eq!(agent.errno(&act.replace('@', &other)), 0, "what no label names: {act}");
    }
    // The script itself may run, and its interpreter may not.
    assert_ne!(free.errno(&format!("exec execve {script}")), EPERM, "untagged");
    assert_eq!(agent.errno(&format!("exec execve {script}")), EPERM);
    assert_eq!(agent.errno(&format!("exec execve {path}/act once getpid")), EPERM);
    await_record("refused", "code", "exec", &format!("{path}/act"));
}
