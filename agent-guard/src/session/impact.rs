//! What an act that destroys would take with it: files and bytes below a directory, counted within bounds.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::act::Impact;
use crate::system::clock;

/// Entries that are looked at.
const ENTRIES: u64 = 100_000;
/// Time that the count may take, in nanoseconds.
const TIME_NS: u64 = 200_000_000;

/// Counts what lies at and below a path. Links are counted and not followed, other file systems are left out:
/// they may answer slowly, or never. None when there is nothing.
#[must_use]
pub fn weigh(path: &Path) -> Option<Impact> {
    weigh_within(path, ENTRIES, clock::monotonic_ns() + TIME_NS)
}

fn weigh_within(path: &Path, entries: u64, end_ns: u64) -> Option<Impact> {
    let top = fs::symlink_metadata(path).ok()?;
    let mut impact = Impact { files: 0, bytes: 0, complete: true };
    if !top.is_dir() {
        return Some(Impact { files: 1, bytes: top.len(), ..impact });
    }
    let mut seen = 0;
    let mut open: Vec<PathBuf> = vec![path.to_owned()];
    while let Some(directory) = open.pop() {
        let Ok(listing) = fs::read_dir(&directory) else {
            impact.complete = false;
            continue;
        };
        for entry in listing {
            seen += 1;
            if seen > entries || clock::monotonic_ns() > end_ns {
                return Some(Impact { complete: false, ..impact });
            }
            let Some((entry, metadata)) =
                entry.ok().and_then(|entry| entry.metadata().ok().map(|found| (entry, found)))
            else {
                impact.complete = false;
                continue;
            };
            if !metadata.is_dir() {
                impact.files += 1;
                impact.bytes = impact.bytes.saturating_add(metadata.len());
            } else if metadata.dev() == top.dev() {
                open.push(entry.path());
            }
        }
    }
    Some(impact)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::{weigh, weigh_within};
    use crate::session::Impact;

    fn tree() -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(root.path().join("a/b")).expect("creates");
        fs::write(root.path().join("a/b/one"), [0; 10]).expect("writes");
        fs::write(root.path().join("two"), [0; 5]).expect("writes");
        root
    }

    #[test]
    fn files_and_bytes_below_a_directory_are_counted() {
        assert_eq!(weigh(tree().path()), Some(Impact { files: 2, bytes: 15, complete: true }));
    }

    #[test]
    fn a_file_is_itself_and_what_is_not_there_is_nothing() {
        let root = tree();
        assert_eq!(weigh(&root.path().join("two")), Some(Impact { files: 1, bytes: 5, complete: true }));
        assert_eq!(weigh(&root.path().join("none")), None);
    }

    #[test]
    fn links_are_not_followed() {
        let root = tree();
        symlink("/", root.path().join("a/link")).expect("links");
        assert_eq!(weigh(root.path()).map(|impact| (impact.files, impact.complete)), Some((3, true)));
    }

    #[test]
    fn a_count_that_is_cut_says_at_least() {
        let root = tree();
        assert_eq!(weigh_within(root.path(), 3, u64::MAX).map(|impact| impact.complete), Some(false));
        assert_eq!(weigh_within(root.path(), 100, 0).map(|impact| impact.complete), Some(false));
    }
}
