//! File systems over others, and numbers that are given again: a label is on what its path leads to, and on nothing else.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use agent_guard_tests::guest::{Agent, eventually};

use crate::policy::{DISK, OVERLAY};
use crate::{EPERM, await_record, daemon, denied};

#[test]
fn escape_through_an_overlay_gets_the_verdict_of_its_label_before_and_after_a_copy_up() {
    daemon();
    let mut agent = denied("overlay");
    let mut free = Agent::unguarded();
    let acts = ["open @ w", "truncate @", "open @ wt", "chmod @", "unlink @"];
    let mut refused = |file: &str, when: &str| {
        for act in acts {
            assert_eq!(agent.errno(&act.replace('@', file)), EPERM, "{act} {file}, {when}");
        }
    };
    let files = [format!("{OVERLAY}/prod/f"), format!("{OVERLAY}/prod/sub/g")];
    for file in &files {
        refused(file, "in the lower layer");
        assert_eq!(fs::read_to_string(file).unwrap(), "lower");
        await_record("refused", "overlay", "delete", file);
        assert_eq!(free.errno(&format!("open {file} w")), 0, "untagged");
        refused(file, "copied up by somebody else");
    }
    let new = format!("{OVERLAY}/prod/new");
    assert_eq!(agent.errno(&format!("open {new} c")), EPERM);
    fs::write(&new, "upper").unwrap();
    let mut refused = |file: &str| assert_eq!(agent.errno(&format!("unlink {file}")), EPERM, "{file}");
    refused(&new);
    for act in acts {
        let file = format!("{OVERLAY}/other/f");
        assert_eq!(agent.errno(&act.replace('@', &file)), 0, "no label names it: {act}");
    }
    for file in files.iter().chain([&new]) {
        assert_eq!(free.errno(&format!("unlink {file}")), 0, "untagged: {file}");
    }
}

#[test]
fn escape_by_the_number_of_a_file_that_is_gone_is_none_and_costs_nobody_its_own_file() {
    daemon();
    let mut agent = denied("number");
    let kept = format!("{DISK}/kept");
    let number = |path: &str| fs::metadata(path).unwrap().ino();
    let old = number(&kept);
    assert_eq!(agent.errno(&format!("open {kept} w")), EPERM);
    fs::remove_file(&kept).unwrap();
    let paths = (0..64).map(|index| format!("{DISK}/free/{index}"));
    // The number becomes free when the last one has closed the file, and the daemon may just be looking at it.
    let heir = eventually("a file that gets the number again", || {
        let mut made = paths.clone();
        let heir = made.find(|path| {
            fs::write(path, "mine").unwrap();
            number(path) == old
        });
        if heir.is_none() {
            paths.clone().for_each(|path| fs::remove_file(path).unwrap());
        }
        heir
    });
    // Until the daemon has looked, the number's new owner is taken for the old one: refused, and not let pass.
    eventually("a file of its own", || (agent.errno(&format!("open {heir} w")) == 0).then_some(()));
    // Under its name the file is labelled at once, whatever its number.
    assert_eq!(agent.errno(&format!("open {kept} c")), EPERM, "made again by the agent");
    fs::write(&kept, "kept").unwrap();
    assert_ne!(number(&kept), old);
    for act in ["open @ w", "unlink @", "truncate @"] {
        assert_eq!(agent.errno(&act.replace('@', &kept)), EPERM, "{act}");
    }
    assert_eq!(agent.errno(&format!("unlink {heir}")), 0);
    let mut free = Agent::unguarded();
    assert_eq!(free.errno(&format!("open {kept} w")), 0, "untagged");
}
