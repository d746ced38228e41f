//! What an inode says of its file, mounts, devices, and ioctls that destroy.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use agent_guard_tests::guest::{Agent, approve, await_request_in};
use nix::mount::{MsFlags, mount};

use crate::policy::{FREE, LABELLED};
use crate::{EPERM, audited, await_record, daemon, denied, directory};

const ENOSYS: i64 = 38;

/// Acts on `@/f`, or on `@` itself, and the operation that each is.
const ACTS: &[(&str, &str)] = &[
    ("chmod", "chmod @/f"),
    ("chmod", "fchmod @/f"),
    ("chown", "chown @/f"),
    ("chown", "lchown @/f"),
    ("chown", "fchown @/f"),
    ("attribute", "setxattr @/f"),
    ("attribute", "removexattr @/f"),
    ("attribute", "chattr @/f"),
    ("attribute", "compat chattr @/f"),
    ("attribute", "set-list @/f"),
    ("attribute", "remove-list @/f"),
    ("mount", "mount @/d"),
    ("mount", "umount @/d"),
    ("mount", "mount-in-steps @/d"),
];

/// Does all acts in a fresh directory; what came of each.
fn results(agent: &mut Agent, parent: &str, test: &str) -> Vec<i64> {
    let path = directory(parent, test);
    fs::write(format!("{path}/f"), "data").unwrap();
    fs::create_dir(format!("{path}/d")).unwrap();
    let mut result = |act: &str| {
        if act.starts_with("umount") {
            // Where mounting is refused there is nothing to unmount.
            mount(Some("t"), format!("{path}/d").as_str(), Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
        }
        agent.errno(&act.replace('@', &path))
    };
    let results = ACTS.iter().map(|(_, act)| result(act)).collect();
    // What the last act may have mounted must not outlive the test.
    while nix::mount::umount(format!("{path}/d").as_str()).is_ok() {}
    results
}

#[test]
fn escape_by_what_an_inode_says_or_by_a_mount_is_refused_and_free_elsewhere_and_untagged() {
    let mut agent = denied("inode-deny");
    let mut free = Agent::unguarded();
    daemon();
    let usual = results(&mut free, LABELLED, "inode-free");
    // A file system in memory keeps no flags before 6.6, and says so: to all alike.
    assert!(ACTS.iter().zip(&usual).all(|((_, act), errno)| *errno == 0 || act.contains("chattr")), "{usual:?}");
    assert_eq!(results(&mut agent, FREE, "inode-deny"), usual, "what no label names");
    assert_eq!(results(&mut agent, LABELLED, "inode-deny"), vec![EPERM; ACTS.len()]);
    let path = format!("{LABELLED}/inode-deny/f");
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!((metadata.permissions().mode() & 0o777, metadata.uid()), (0o644, 0));
    for (operation, act) in ACTS {
        let object = act.split('@').nth(1).unwrap();
        await_record("refused", "inode-deny", operation, &format!("{LABELLED}/inode-deny{object}"));
    }
}

#[test]
fn escape_by_a_call_that_not_every_kernel_has_or_by_another_root_is_refused_and_free_untagged() {
    let mut agent = denied("inode-rare");
    let mut free = Agent::unguarded();
    let path = directory(LABELLED, "inode-rare");
    fs::write(format!("{path}/f"), "data").unwrap();
    // The root of a guest is none that can be exchanged.
    let exchange = format!("pivot {path}");
    assert_ne!(free.errno(&exchange), EPERM, "untagged");
    assert_eq!(agent.errno(&exchange), EPERM);
    await_record("refused", "inode-rare", "mount", &path);
    let flags = format!("file-setattr {path}/f");
    match free.errno(&flags) {
        ENOSYS => assert_eq!(agent.errno(&flags), ENOSYS, "a kernel without the call"),
        usual => {
            assert_ne!(usual, EPERM, "untagged");
            assert_eq!(agent.errno(&flags), EPERM);
            await_record("refused", "inode-rare", "attribute", &format!("{path}/f"));
        }
    }
}

#[test]
fn audit_what_an_inode_says_passes_as_ever_and_is_recorded() {
    let mut agent = audited("inode-audit");
    let mut free = Agent::unguarded();
    let usual = results(&mut free, LABELLED, "inode-usual");
    assert_eq!(results(&mut agent, LABELLED, "inode-audit"), usual);
    for operation in ["chmod", "chown", "attribute", "mount"] {
        await_record("audited", "inode-audit", operation, &format!("{LABELLED}/inode-audit"));
    }
}

#[test]
fn hold_a_change_of_mode_or_owner_and_a_mount_go_on_after_approval_and_not_before() {
    daemon();
    let mut agent = Agent::under("holding", "inode-hold");
    let path = directory(LABELLED, "inode-hold");
    fs::write(format!("{path}/f"), "data").unwrap();
    fs::create_dir(format!("{path}/d")).unwrap();
    let holdable = ACTS.iter().filter(|(operation, act)| *operation != "attribute" && !act.contains("steps"));
    for (operation, act) in holdable {
        agent.begin(&act.replace('@', &path));
        let request = await_request_in("inode-hold");
        assert_eq!(request["operation"], *operation, "{act}: {request}");
        assert!(agent.result().is_none(), "{act} before its approval");
        approve(request["id"].as_str().unwrap());
        assert_eq!(agent.finish().errno, 0, "{act}");
    }
}

#[test]
fn escape_by_another_node_for_the_same_device_gets_the_verdict_of_the_device() {
    let mut agent = denied("device");
    let mut free = Agent::unguarded();
    let path = directory(FREE, "device");
    for (kind, major, minor) in [("block", 7, 0), ("char", 1, 1)] {
        let node = format!("{path}/{kind}");
        assert_eq!(agent.errno(&format!("device {kind} {major} {minor} {node}")), 0, "{kind}");
        let usual = free.errno(&format!("open {node} w"));
        assert_ne!(usual, EPERM, "untagged: {kind}");
        assert_eq!(agent.errno(&format!("open {node} w")), EPERM, "{kind}");
        assert_eq!(agent.errno(&format!("open {node} r")), free.errno(&format!("open {node} r")), "to read is free");
        await_record("refused", "device", "write", &node);
    }
    // Others of the same kind are not meant.
    assert_eq!(agent.errno("open /dev/null w"), 0);
}

#[test]
fn escape_by_an_ioctl_on_what_was_opened_for_reading_is_a_write() {
    let mut agent = denied("ioctl");
    let mut free = Agent::unguarded();
    let (path, other) = (directory(LABELLED, "ioctl"), directory(FREE, "ioctl"));
    for directory in [&path, &other] {
        fs::write(format!("{directory}/f"), "data").unwrap();
    }
    let usual = free.errno(&format!("trim {path}/f"));
    assert_ne!(usual, EPERM);
    assert_eq!(agent.errno(&format!("trim {path}/f")), EPERM);
    assert_eq!(agent.errno(&format!("trim {other}/f")), usual);
}
