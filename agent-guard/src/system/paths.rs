//! The daemon's directories and files, with their modes: each is created with its mode, never set right later.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::unistd::geteuid;

/// The configuration file.
pub const CONFIG: &str = "/etc/agent-guard/config.yaml";
/// The policy file.
pub const POLICY: &str = "/etc/agent-guard/policy.yaml";
/// What survives a boot.
pub const STATE: &str = "/var/lib/agent-guard";
/// Sockets.
pub const RUN: &str = "/run/agent-guard";
/// The audit log.
pub const LOG: &str = "/var/log/agent-guard";
/// Pinned maps and links.
pub const BPFFS: &str = "/sys/fs/bpf/agent-guard";
/// The parent of the sessions' cgroups.
pub const CGROUPS: &str = "/sys/fs/cgroup/agent-guard";

/// Mode of directories that only their owner may enter.
const PRIVATE: u32 = 0o700;
/// Mode of the directories on the way to them.
const PUBLIC: u32 = 0o755;
/// Mode of private files.
const PRIVATE_FILE: u32 = 0o600;

/// Why a directory or file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A directory could not be created.
    #[error("cannot create the directory {}: {source}", path.display())]
    Create {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file or directory could not be opened.
    #[error("cannot open {}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What lies there is something else.
    #[error("{} is not {expected}: remove it", path.display())]
    Kind {
        /// The path.
        path: PathBuf,
        /// What it should be.
        expected: &'static str,
    },
    /// It belongs to somebody else, or others may do too much with it.
    #[error("{} has owner {owner} and mode {mode:o}: expected owner {expected_owner} and at most mode {expected_mode:o}", path.display())]
    Access {
        /// The path.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Its mode.
        mode: u32,
        /// The owner it should have.
        expected_owner: u32,
        /// The bits that its mode may have.
        expected_mode: u32,
    },
}

/// A directory that only the daemon's user may enter: created, or found to be one.
pub fn private_directory(path: &Path) -> Result<(), Failure> {
    directory(path, PRIVATE)
}

/// Opens a private file for appending and reading; it is created if it is not there.
pub fn open_append(path: &Path) -> Result<File, Failure> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).mode(PRIVATE_FILE).custom_flags(OFlag::O_NOFOLLOW.bits());
    let open = |source| Failure::Open { path: path.to_owned(), source };
    let file = options.open(path).map_err(open)?;
    let metadata = file.metadata().map_err(open)?;
    if !metadata.is_file() {
        return Err(Failure::Kind { path: path.to_owned(), expected: "a regular file" });
    }
    check(path, &metadata, PRIVATE_FILE)?;
    Ok(file)
}

/// Reads a secret: a regular file of root's or of this user's that nobody else may read, and no longer than this many bytes.
pub fn read_secret(path: &Path, longest: u64) -> Result<Vec<u8>, Failure> {
    let open = |source| Failure::Open { path: path.to_owned(), source };
    // Without waiting: in its place may be a pipe that nobody writes to.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path).map_err(open)?;
    let metadata = file.metadata().map_err(open)?;
    if !metadata.is_file() {
        return Err(Failure::Kind { path: path.to_owned(), expected: "a regular file" });
    }
    if metadata.uid() != 0 || metadata.mode() & 0o7777 & !PRIVATE_FILE != 0 {
        check(path, &metadata, PRIVATE_FILE)?;
    }
    let mut content = Vec::new();
    file.take(longest).read_to_end(&mut content).map_err(open)?;
    Ok(content)
}

/// Opens a place without reading or following it: what it is can be asked, and nothing is set off.
pub fn open_place(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW;
    OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)
}

/// A directory that no other process may claim for as long as this value lives.
#[derive(Debug)]
pub struct Claim {
    _lock: Flock<File>,
}

/// Claims a directory. One that another process has claimed is [`io::ErrorKind::WouldBlock`].
pub fn claim(path: &Path) -> io::Result<Claim> {
    let lock = Flock::lock(File::open(path)?, FlockArg::LockExclusiveNonblock);
    lock.map(|lock| Claim { _lock: lock }).map_err(|(_, errno)| errno.into())
}

fn directory(path: &Path, mode: u32) -> Result<(), Failure> {
    if let Some(parent) = path.parent().filter(|parent| !parent.exists()) {
        directory(parent, PUBLIC)?;
    }
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(source) => return Err(Failure::Create { path: path.to_owned(), source }),
    }
    let metadata = fs::symlink_metadata(path).map_err(|source| Failure::Open { path: path.to_owned(), source })?;
    if !metadata.is_dir() {
        return Err(Failure::Kind { path: path.to_owned(), expected: "a directory" });
    }
    check(path, &metadata, mode)
}

fn check(path: &Path, metadata: &fs::Metadata, expected_mode: u32) -> Result<(), Failure> {
    let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
    let expected_owner = geteuid().as_raw();
    if owner == expected_owner && mode & !expected_mode == 0 {
        return Ok(());
    }
    Err(Failure::Access { path: path.to_owned(), owner, mode, expected_owner, expected_mode })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::{Failure, claim, open_append, private_directory, read_secret};

    #[test]
    fn a_directory_is_made_once_and_found_again() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("a/b");
        private_directory(&path).expect("creates");
        private_directory(&path).expect("finds");
        assert_eq!(fs::metadata(&path).expect("exists").permissions().mode() & 0o7777, 0o700);
    }

    #[test]
    fn a_secret_is_a_file_that_nobody_else_may_read() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("key");
        let set = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("sets it");
        fs::write(&path, "secret").expect("writes");
        for mode in [0o400, 0o600] {
            set(mode);
            assert_eq!(read_secret(&path, 3).expect("reads"), b"sec");
        }
        for mode in [0o640, 0o604, 0o660] {
            set(mode);
            assert!(matches!(read_secret(&path, 3), Err(Failure::Access { .. })), "{mode:o}");
        }
        assert!(matches!(read_secret(root.path(), 3), Err(Failure::Kind { .. })));
        assert!(matches!(read_secret(&root.path().join("none"), 3), Err(Failure::Open { .. })));
    }

    #[test]
    fn a_claim_keeps_others_off_until_it_is_dropped() {
        let root = tempfile::tempdir().expect("a directory");
        let first = claim(root.path()).expect("claims");
        assert_eq!(claim(root.path()).expect_err("held").kind(), std::io::ErrorKind::WouldBlock);
        drop(first);
        claim(root.path()).expect("claims again");
    }

    #[test]
    fn a_directory_that_others_may_write_is_refused() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("a");
        fs::create_dir(&path).expect("creates");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).expect("opens it");
        assert!(matches!(private_directory(&path), Err(Failure::Access { mode: 0o777, .. })));
    }

    #[test]
    fn a_link_in_the_place_of_a_file_or_directory_is_not_followed() {
        let root = tempfile::tempdir().expect("a directory");
        let link = root.path().join("link");
        symlink(root.path(), &link).expect("links");
        assert!(matches!(private_directory(&link), Err(Failure::Kind { .. })));
        assert!(matches!(open_append(&link), Err(Failure::Open { .. })));
    }
}
