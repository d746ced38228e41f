//! Listening unix sockets that nobody can reach before their owner and mode are as they should be.
//!
//! Owns the order of acts: lock the directory, clear what is stale, bind closed, give away, open, listen. It must
//! not know what is spoken over them.

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, Flock, FlockArg, OFlag, open};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat, umask};
use nix::unistd::{Gid, UnlinkatFlags, fchownat, unlinkat};
use std::fs::{self, DirBuilder, File};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// Why there is no socket to listen on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory could not be made.
    #[error("cannot make the directory {path}: {source}")]
    MakeDirectory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The directory could not be opened, or is a symbolic link.
    #[error("cannot open the directory {path}: {source}")]
    OpenDirectory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: Errno,
    },
    /// Others could replace the sockets in it.
    #[error("{path} can be written by others than its owner: `chmod go-w {path}`")]
    OpenToOthers {
        /// The directory.
        path: PathBuf,
    },
    /// Another daemon holds the directory.
    #[error("another daemon holds {path}: stop it first, or give another --run-dir")]
    Held {
        /// The directory.
        path: PathBuf,
    },
    /// Something listens there.
    #[error("something listens on {path} already: stop it first")]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// Something else than a socket lies there.
    #[error("{path} is not a socket, so it is not removed: move it away")]
    NotASocket {
        /// What lies there.
        path: PathBuf,
    },
    /// One step failed.
    #[error("cannot {act} {path}: {source}")]
    Step {
        /// The step.
        act: &'static str,
        /// The socket.
        path: PathBuf,
        /// Why.
        source: Errno,
    },
}

/// A directory of sockets that this process alone may fill, for as long as this value lives.
#[derive(Debug)]
pub struct SocketDirectory {
    path: PathBuf,
    _lock: Flock<File>,
}

impl SocketDirectory {
    /// Makes the directory when it is missing, and locks it.
    pub fn claim(path: &Path) -> Result<Self, Error> {
        match DirBuilder::new().mode(0o755).create(path) {
            Err(source) if source.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(Error::MakeDirectory { path: path.to_owned(), source });
            }
            Ok(()) | Err(_) => {}
        }
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let opened = open(path, flags, Mode::empty())
            .map_err(|source| Error::OpenDirectory { path: path.to_owned(), source })?;
        let directory = File::from(opened);
        let metadata = directory.metadata().map_err(|source| Error::MakeDirectory { path: path.to_owned(), source })?;
        if metadata.mode() & 0o022 != 0 {
            return Err(Error::OpenToOthers { path: path.to_owned() });
        }
        let lock = Flock::lock(directory, FlockArg::LockExclusiveNonblock)
            .map_err(|_held| Error::Held { path: path.to_owned() })?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Listens on a new socket in the directory, owned by `group` when given, with `mode`.
    pub fn listen(&self, name: &str, mode: u32, group: Option<u32>) -> Result<UnixListener, Error> {
        let path = self.path.join(name);
        let step = |act: &'static str| {
            let path = path.clone();
            move |source: Errno| Error::Step { act, path, source }
        };
        clear_stale(&path)?;
        let address = UnixAddr::new(&path).map_err(step("name a socket"))?;
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None).map_err(step("make the socket"))?;
        // Until `listen` nobody can connect; the umask keeps even the file closed until it belongs to its group.
        let before = umask(Mode::from_bits_truncate(0o177));
        let bound = bind(fd.as_raw_fd(), &address);
        umask(before);
        bound.map_err(step("bind"))?;
        if let Some(group) = group {
            fchownat(AT_FDCWD, &path, None, Some(Gid::from_raw(group)), AtFlags::AT_SYMLINK_NOFOLLOW)
                .map_err(step("change the group of"))?;
        }
        fchmodat(AT_FDCWD, &path, Mode::from_bits_truncate(mode), FchmodatFlags::NoFollowSymlink)
            .map_err(step("change the mode of"))?;
        listen(&fd, Backlog::MAXCONN).map_err(step("listen on"))?;
        Ok(UnixListener::from(fd))
    }
}

/// Removes a socket that nobody listens on; leaves everything else alone.
fn clear_stale(path: &Path) -> Result<(), Error> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        return Err(Error::NotASocket { path: path.to_owned() });
    }
    let step = |act: &'static str| move |source: Errno| Error::Step { act, path: path.to_owned(), source };
    let address = UnixAddr::new(path).map_err(step("name a socket"))?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let probe = socket(AddressFamily::Unix, SockType::Stream, flags, None).map_err(step("make a socket to probe"))?;
    match connect(probe.as_raw_fd(), &address) {
        Err(Errno::ECONNREFUSED) => {
            unlinkat(AT_FDCWD, path, UnlinkatFlags::NoRemoveDir).map_err(step("remove the stale socket"))
        }
        // EAGAIN is a full backlog: somebody listens.
        Ok(()) | Err(Errno::EAGAIN) => Err(Error::InUse { path: path.to_owned() }),
        Err(source) => Err(step("probe")(source)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Error, SocketDirectory};
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::os::unix::net::UnixStream;
    use std::path::PathBuf;
    use std::{env, fs, process};

    fn scratch(name: &str) -> PathBuf {
        let path = env::temp_dir().join(format!("agent-guard-socket-{name}-{}", process::id()));
        drop(fs::remove_dir_all(&path));
        path
    }

    #[test]
    fn a_socket_has_its_mode_and_is_reached() {
        let path = scratch("mode");
        let directory = SocketDirectory::claim(&path).unwrap();
        let _listener = directory.listen("a.sock", 0o660, None).unwrap();
        let mode = fs::symlink_metadata(path.join("a.sock")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        UnixStream::connect(path.join("a.sock")).unwrap();
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_living_one_is_not() {
        let path = scratch("stale");
        let directory = SocketDirectory::claim(&path).unwrap();
        let first = directory.listen("a.sock", 0o600, None).unwrap();
        assert!(matches!(directory.listen("a.sock", 0o600, None), Err(Error::InUse { .. })));
        drop(first);
        directory.listen("a.sock", 0o600, None).unwrap();
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn what_is_no_socket_stays_where_it_is_and_links_are_not_followed() {
        let path = scratch("other");
        let directory = SocketDirectory::claim(&path).unwrap();
        fs::write(path.join("precious"), "x").unwrap();
        symlink(path.join("precious"), path.join("a.sock")).unwrap();
        assert!(matches!(directory.listen("a.sock", 0o600, None), Err(Error::NotASocket { .. })));
        assert!(matches!(directory.listen("precious", 0o600, None), Err(Error::NotASocket { .. })));
        symlink(&path, path.join("link")).unwrap();
        assert!(matches!(SocketDirectory::claim(&path.join("link")), Err(Error::OpenDirectory { .. })));
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_directory_belongs_to_one_daemon_and_is_closed_to_writers() {
        let path = scratch("lock");
        let first = SocketDirectory::claim(&path).unwrap();
        assert!(matches!(SocketDirectory::claim(&path), Err(Error::Held { .. })));
        drop(first);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(SocketDirectory::claim(&path), Err(Error::OpenToOthers { .. })));
        fs::remove_dir_all(path).unwrap();
    }
}
