//! Whatever fuzzing has kept meets its property in the plain test run as well, without cargo-fuzz and its compiler.
//!
//! It must not know what has to hold: the properties are the fuzz targets' own files.

use std::fs;
use std::path::{Path, PathBuf};

/// Where the fuzz targets have them.
#[path = "../../fuzz/src/properties/mod.rs"]
pub mod properties;

const FUZZ: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz");

/// What a directory holds; one that is missing holds nothing, and that is never enough.
fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).map(|entries| entries.flatten().map(|entry| entry.path()).collect());
    let mut entries: Vec<PathBuf> = entries.unwrap_or_default();
    entries.sort();
    assert!(!entries.is_empty(), "nothing in {}", directory.display());
    entries
}

/// Runs a target's corpus. Some of it has to be taken for what it might be: else its decoder has gone another way.
fn run(target: &str, holds: fn(&[u8]) -> bool) {
    let mut taken = 0;
    for file in entries(&Path::new(FUZZ).join("corpus").join(target)) {
        // The last one that is printed is the one that fails.
        println!("{}", file.display());
        taken += usize::from(holds(&fs::read(file).unwrap_or_default()));
    }
    assert!(taken > 0, "nothing of the corpus is taken");
}

#[test]
fn records_of_the_ring_are_what_they_say() {
    run("ring", properties::ring::holds);
}

#[test]
fn bodies_of_the_api_keep_their_promises() {
    run("api", properties::api::holds);
}

#[test]
fn policies_decide_or_say_why_not() {
    run("policy", properties::policy::holds);
}

#[test]
fn logs_are_whole_or_not_whatever_stands_in_them() {
    run("audit", properties::audit::holds);
}

#[test]
fn messages_of_names_have_one_meaning() {
    run("dns", properties::dns::holds);
}

#[test]
fn every_target_has_a_corpus_and_every_corpus_a_target() {
    let names = |directory: &str| -> Vec<String> {
        let stem = |path: PathBuf| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        entries(&Path::new(FUZZ).join(directory)).into_iter().filter_map(stem).collect()
    };
    assert_eq!(names("fuzz_targets"), ["api", "audit", "dns", "policy", "ring"]);
    assert_eq!(names("corpus"), names("fuzz_targets"));
}
