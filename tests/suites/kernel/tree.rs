//! The tree: whatever way leads from one task to the next, the tag goes along, from the first instruction on.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use agent_guard_tests::guest::{Agent, Run, approve, as_user, await_request_in, eventually, judged};
use serde_json::json;

use crate::policy::{DENIED, HELD, MARKS, PROGRAMS};
use crate::{EPERM, agent, daemon, directory, exists, files, id};

/// Ways from a task to the next one.
const WAYS: &[&str] = &[
    "via fork",
    "via double-fork",
    "via setsid",
    "via vfork",
    "via thread",
    "via clone-parent",
    "via fork via clone-parent",
    "via clone-untraced",
    "via clone-fs",
    "via clone-shared",
    "via cgroup /sys/fs/cgroup/elsewhere",
    "via user-namespace",
    "via mount-namespace",
    "via net-namespace",
    "via pid-namespace",
    "via other-namespaces",
    "via user-namespace via pid-namespace via mount-namespace",
    "via program /usr/local/bin/agent-guard-act",
    "via program /usr/local/bin/agent-guard-act thread-exec",
    "via double-fork via setsid via thread via program /usr/local/bin/agent-guard-act",
    "via user 1000",
    "via thread via fork",
];

/// A directory with a file that anybody may remove.
fn open_directory(parent: &str, test: &str) -> String {
    let path = directory(parent, test);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    fs::write(format!("{path}/f"), "data").unwrap();
    path
}

fn elsewhere() {
    drop(fs::create_dir("/sys/fs/cgroup/elsewhere"));
}

#[test]
fn tag_follows_every_way_to_another_task() {
    let mut agent = agent("tag-ways");
    elsewhere();
    let path = open_directory(DENIED, "tag-ways");
    for way in WAYS {
        let done = agent.act(&format!("{way} unlink {path}/f"));
        assert_eq!(done.errno, EPERM, "{way}: {done:?}");
        assert!(exists(&format!("{path}/f")), "{way}");
    }
    let done = agent.act("via chroot /t unlink /denied/tag-ways/f");
    assert_eq!(done.errno, EPERM, "{done:?}");
}

#[test]
fn tag_is_on_none_of_the_same_ways_of_an_untagged_process() {
    daemon();
    elsewhere();
    let mut agent = Agent::unguarded();
    let before = judged();
    for way in WAYS {
        let path = open_directory(DENIED, "untagged-ways");
        let done = agent.act(&format!("{way} unlink {path}/f"));
        assert_eq!(done.errno, 0, "{way}: {done:?}");
        assert!(!exists(&format!("{path}/f")), "{way}");
    }
    open_directory(DENIED, "untagged-ways");
    assert_eq!(agent.errno("via chroot /t unlink /denied/untagged-ways/f"), 0);
    assert_eq!(judged(), before);
}

#[test]
fn hold_works_at_the_end_of_every_way() {
    let mut agent = agent("hold-ways");
    elsewhere();
    for way in WAYS {
        let path = open_directory(HELD, "hold-ways");
        agent.begin(&format!("{way} unlink {path}/f"));
        let request = await_request_in("hold-ways");
        assert!(exists(&format!("{path}/f")), "{way}");
        approve(&id(&request));
        let done = agent.finish();
        assert_eq!(done.errno, 0, "{way}: {done:?}");
        assert!(!exists(&format!("{path}/f")), "{way}");
    }
}

#[test]
fn tag_stays_on_a_set_user_id_program() {
    daemon();
    let program = format!("{PROGRAMS}/set-user-id");
    fs::copy("/usr/local/bin/agent-guard-act", &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
    let path = directory(DENIED, "set-user-id");
    fs::write(format!("{path}/f"), "data").unwrap();
    let act = format!("via user 1000 via program {program} unlink {path}/f");
    for (mut agent, expected) in [(Agent::guarded("set-user-id"), EPERM), (Agent::unguarded(), 0)] {
        assert_eq!(agent.act(&format!("via user 1000 via program {program} ids")).value, json!([1000, 0]));
        assert_eq!(agent.errno(&act), expected);
    }
    // And holds there.
    let path = files("set-user-id", &["f"]);
    let mut agent = Agent::guarded("set-user-id-held");
    agent.begin(&format!("via user 1000 via program {program} unlink {path}/f"));
    let request = await_request_in("set-user-id-held");
    assert!(exists(&format!("{path}/f")));
    approve(&id(&request));
    assert_eq!(agent.finish().errno, 0);
    assert!(!exists(&format!("{path}/f")));
    fs::remove_file(program).unwrap();
}

#[test]
fn tag_is_on_the_tree_of_a_user_without_rights() {
    daemon();
    let path = open_directory(DENIED, "plain-user");
    let act = ["/usr/local/bin/agent-guard-act", "serve"];
    let mut command = Command::new("agent-guard");
    command.args(["run", "--name", "plain-user", "--"]).args(act);
    let mut agent = Agent::of(Run::spawn("plain-user", as_user(&mut command, 1000)));
    assert_eq!(agent.act("ids").value, json!([1000, 1000]));
    assert_eq!(agent.errno(&format!("unlink {path}/f")), EPERM);
    let held = open_directory(HELD, "plain-user");
    agent.begin(&format!("unlink {held}/f"));
    approve(&id(&await_request_in("plain-user")));
    assert_eq!(agent.finish().errno, 0);
    let mut free = Agent::of(Run::spawn("", as_user(Command::new(act[0]).arg(act[1]), 1000)));
    assert_eq!(free.errno(&format!("unlink {path}/f")), 0, "untagged");
}

#[test]
fn tag_outlives_the_command_that_started_the_session() {
    daemon();
    let path = open_directory(DENIED, "outlives");
    let marks = directory(MARKS, "outlives");
    let rest = format!("sleep 1; rm {path}/f; echo $? > {marks}/status");
    let script = format!("setsid sh -c '{rest}' > /dev/null 2>&1 < /dev/null & exit 7");
    let status = || {
        eventually("the end of what was left behind", || {
            fs::read_to_string(format!("{marks}/status")).ok().filter(|status| !status.is_empty())
        })
    };
    assert_eq!(Run::shell("outlives", &script).wait(), 7);
    assert_ne!(status(), "0\n");
    assert!(exists(&format!("{path}/f")));
    fs::remove_file(format!("{marks}/status")).unwrap();
    assert_eq!(Run::unguarded(&["/bin/sh", "-c", &script]).wait(), 7);
    assert_eq!(status(), "0\n", "untagged");
    assert!(!exists(&format!("{path}/f")));
}

/// A program of a few instructions: `unlink(path)`, and the errno as its status.
fn smallest_program(path: &str) -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    // mov eax, 87; lea rdi, [rip + 13]; syscall; neg eax; mov edi, eax; mov eax, 60; syscall
    const CODE: &[u8] = &[
        0xb8, 87, 0, 0, 0, 0x48, 0x8d, 0x3d, 13, 0, 0, 0, 0x0f, 0x05, 0xf7, 0xd8, 0x89, 0xc7, 0xb8, 60, 0, 0, 0, 0x0f,
        0x05,
    ];
    let size = HEADERS + CODE.len() as u64 + path.len() as u64 + 1;
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let half = |file: &mut Vec<u8>, words: &[u16]| words.iter().for_each(|word| file.extend(word.to_le_bytes()));
    let word = |file: &mut Vec<u8>, words: &[u32]| words.iter().for_each(|word| file.extend(word.to_le_bytes()));
    let long = |file: &mut Vec<u8>, words: &[u64]| words.iter().for_each(|word| file.extend(word.to_le_bytes()));
    half(&mut file, &[2, 62]);
    word(&mut file, &[1]);
    long(&mut file, &[BASE + HEADERS, 64, 0]);
    word(&mut file, &[0]);
    half(&mut file, &[64, 56, 1, 0, 0, 0]);
    word(&mut file, &[1, 5]);
    long(&mut file, &[0, BASE, BASE, size, size, 0x1000]);
    file.extend(CODE);
    file.extend(path.bytes());
    file.push(0);
    file
}

#[test]
fn tag_is_on_the_first_instruction_of_the_guarded_program() {
    daemon();
    let path = open_directory(DENIED, "first");
    let program = format!("{PROGRAMS}/first");
    fs::write(&program, smallest_program(&format!("{path}/f"))).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    for round in 0..10 {
        assert_eq!(Run::guarded(&format!("first-{round}"), &[&program]).wait(), 1);
        assert!(exists(&format!("{path}/f")));
    }
    assert_eq!(Run::unguarded(&[&program]).wait(), 0);
    assert!(!exists(&format!("{path}/f")));
}
