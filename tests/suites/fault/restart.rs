//! Owns what a restarted daemon makes of the programs that it finds attached.
//!
//! Must not test what becomes of trees and questions meanwhile: that is `death`'s.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::DirEntryExt as _;
use std::path::PathBuf;

use agent_guard_common::ABI_VERSION;
use agent_guard_tests::guest::Run;

use crate::{daemon, file, is_well};

/// The pinned links, each with what tells it from another pin of its name.
fn links() -> BTreeMap<PathBuf, u64> {
    let starts = fs::read_dir(format!("/sys/fs/bpf/agent-guard/v{ABI_VERSION}/links")).unwrap();
    let links = starts.flat_map(|start| fs::read_dir(start.unwrap().path()).unwrap()).map(|link| link.unwrap());
    links.map(|link| (link.path(), link.ino())).collect()
}

/// What became of a guarded deletion: its status.
fn deletion(session: &str) -> i32 {
    file("denied", session);
    Run::shell(session, &format!("rm /srv/denied/{session}")).wait()
}

#[test]
fn fault_a_restarted_daemon_goes_on_with_the_programs_that_are_attached_if_none_is_missing() {
    let daemon = daemon();
    let before = links();
    daemon.restart();
    assert_eq!(links(), before, "what the kernel has verified stays");
    assert_ne!(deletion("judged-on"), 0);
    let lost = before.keys().find(|link| link.ends_with("path_unlink")).unwrap();
    fs::remove_file(lost).unwrap();
    assert_eq!(deletion("not-judged"), 0, "nothing is there to judge a deletion");
    daemon.restart();
    let after = links();
    assert_eq!(after.len(), before.len());
    assert!(after.keys().all(|link| !before.contains_key(link)), "all are attached anew, and none is left over");
    assert_ne!(deletion("judged-again"), 0);
    is_well(daemon);
}
