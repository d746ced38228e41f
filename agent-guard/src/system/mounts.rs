//! Waiting until something is mounted or unmounted. It must not know what is mounted where, nor who wants to know.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::wait;

/// The mounts that this process sees.
const TABLE: &str = "/proc/self/mountinfo";

/// Changes of the mount table.
#[derive(Debug)]
pub struct MountChanges {
    table: AsyncFd<OwnedFd>,
}

impl MountChanges {
    /// Begins to watch. Must be called inside a tokio runtime.
    pub fn watch() -> io::Result<Self> {
        Self::of(Path::new(TABLE))
    }

    fn of(table: &Path) -> io::Result<Self> {
        // An open table compares the namespace's count of changes with the one that it was polled at last
        // (fs/proc_namespace.c, `mounts_poll`).
        Ok(Self { table: wait::exceptional(File::open(table)?.as_fd())? })
    }

    /// Returns once the table has changed since this last returned. Dropping the future loses nothing.
    pub async fn next(&mut self) -> io::Result<()> {
        self.table.ready(Interest::PRIORITY).await?.clear_ready();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use nix::mount::{MsFlags, mount, umount};
    use nix::sched::{CloneFlags, unshare};

    use super::MountChanges;

    /// Whether there is a change within a moment.
    async fn changes(mounts: &mut MountChanges) -> bool {
        tokio::time::timeout(Duration::from_millis(300), mounts.next()).await.is_ok_and(|next| next.is_ok())
    }

    #[test]
    fn mounting_and_unmounting_are_changes_and_nothing_else_is() {
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let directory = tempfile::tempdir().expect("a directory");
        let place = directory.path().to_owned();
        let test = std::thread::spawn(move || {
            // In a namespace of this thread's own: the machine's mounts stay as they are.
            if let Err(errno) = unshare(CloneFlags::CLONE_NEWNS) {
                assert_eq!(errno, nix::errno::Errno::EPERM);
                return println!("left out: only root has mounts of its own");
            }
            let none: Option<&Path> = None;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("becomes private");
            runtime().block_on(async {
                let mut mounts = MountChanges::of(Path::new("/proc/thread-self/mountinfo")).expect("opens");
                assert!(!changes(&mut mounts).await, "nothing has changed");
                mount(Some("none"), &place, Some("tmpfs"), MsFlags::empty(), none).expect("mounts");
                assert!(changes(&mut mounts).await);
                assert!(!changes(&mut mounts).await, "a change is told once");
                umount(&place).expect("unmounts");
                assert!(changes(&mut mounts).await);
            });
        });
        test.join().expect("ends");
    }

    #[tokio::test]
    async fn the_own_table_can_be_watched() {
        MountChanges::watch().expect("opens");
    }
}
