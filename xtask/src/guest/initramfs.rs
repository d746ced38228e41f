//! Owns the first file system of a guest: what lies where in it, and the guest's users.
//!
//! Must not know how QEMU is started. `tests/src/bin/init.rs` is the other side of what lies under `/guest`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::apt::Apt;
use crate::guest::cpio::Archive;
use crate::guest::kernels::Image;
use crate::paths;
use crate::process::Run as _;

/// Users of every guest: name, number. The approver is the one who may answer.
pub(crate) const USERS: &[(&str, u32)] = &[("agent", 1000), ("approver", 1001), ("mallory", 1002)];
/// The group that may use the control socket, and its number.
pub(crate) const GROUP: (&str, u32) = ("agent-guard", 900);
/// The one member of that group.
pub(crate) const APPROVER: &str = "approver";

/// A file of this machine that a guest gets.
#[derive(Debug, Clone)]
pub(crate) struct Payload {
    /// Where it lies here.
    pub(crate) host: PathBuf,
    /// Where it will lie there: an absolute path.
    pub(crate) guest: String,
}

/// What one guest's first file system is made of.
#[derive(Debug)]
pub(crate) struct Initramfs<'a> {
    /// The kernel, for its modules.
    pub(crate) kernel: &'a Image,
    /// The static program that becomes process 1.
    pub(crate) init: &'a Path,
    /// What this run adds.
    pub(crate) payload: &'a [Payload],
    /// What the guest is to do.
    pub(crate) command: &'a [String],
    /// Whether a Debian root file system follows; it then has its own users and tools.
    pub(crate) has_rootfs: bool,
}

impl Initramfs<'_> {
    /// Writes the archive.
    pub(crate) fn build(&self) -> Result<Vec<u8>> {
        let mut archive = Archive::default();
        // The kernel opens it for process 1 before anything is mounted.
        archive.device("dev/console", 0o600, (5, 1));
        for name in ["bin", "sbin", "lib"] {
            archive.directory(&format!("usr/{name}"));
            archive.link(name, &format!("usr/{name}"));
        }
        archive.file("guest/init", 0o755, &paths::read(self.init)?);
        archive.file("guest/command", 0o644, self.command.join("\0").as_bytes());
        self.add_modules(&mut archive)?;
        let busybox = busybox()?;
        archive.file("guest/busybox", 0o755, &paths::read(&busybox)?);
        // Where a root file system follows, the payload waits for it: init copies it over.
        let top = if self.has_rootfs { "guest/files" } else { "" };
        archive.directory("guest/files");
        for file in self.payload {
            let mode =
                fs::metadata(&file.host).with_context(|| format!("no `{}`", file.host.display()))?.permissions().mode();
            let path = format!("{top}/{}", merged(&file.guest));
            archive.file(path.trim_start_matches('/'), mode & 0o777, &paths::read(&file.host)?);
        }
        if !self.has_rootfs {
            add_system(&mut archive, &busybox)?;
        }
        Ok(archive.finish())
    }

    fn add_modules(&self, archive: &mut Archive) -> Result<()> {
        let release = self.kernel.release()?;
        for entry in fs::read_dir(self.kernel.modules())? {
            let entry = entry?;
            let path = format!("usr/lib/modules/{release}/{}", entry.file_name().to_string_lossy());
            archive.file(&path, 0o644, &paths::read(entry.path())?);
        }
        Ok(())
    }
}

/// Adds what makes a usable system of busybox: its tools, users, and the directories that programs expect.
fn add_system(archive: &mut Archive, busybox: &Path) -> Result<()> {
    for applet in Command::new(busybox).arg("--list").read()?.lines().filter(|name| *name != "busybox") {
        archive.link(&format!("usr/bin/{applet}"), "/guest/busybox");
    }
    archive.link("usr/bin/busybox", "/guest/busybox");
    // The kernel looks for it there and nowhere else.
    archive.link("usr/sbin/modprobe", "/guest/busybox");
    for directory in ["etc/agent-guard", "root", "home", "srv", "mnt", "var/lib", "var/log", "usr/local/bin"] {
        archive.directory(directory);
    }
    archive.link("var/run", "/run");
    archive.file("etc/passwd", 0o644, passwd().as_bytes());
    archive.file("etc/group", 0o644, group().as_bytes());
    archive.file("etc/hosts", 0o644, b"127.0.0.1 localhost guest\n::1 localhost\n");
    archive.file("etc/nsswitch.conf", 0o644, b"passwd: files\ngroup: files\nhosts: files dns\n");
    Ok(())
}

/// Debian's `/bin` is a link into `/usr`; so is the guest's.
fn merged(path: &str) -> String {
    let path = path.trim_start_matches('/');
    let is_moved = ["bin/", "sbin/", "lib/"].iter().any(|top| path.starts_with(top));
    if is_moved { format!("usr/{path}") } else { path.to_owned() }
}

fn passwd() -> String {
    let users = USERS.iter().map(|(name, id)| format!("{name}:x:{id}:{id}:{name}:/home/{name}:/bin/sh\n"));
    let nobody = "nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n";
    format!("root:x:0:0:root:/root:/bin/sh\n{}{nobody}", users.collect::<String>())
}

fn group() -> String {
    let users = USERS.iter().map(|(name, id)| format!("{name}:x:{id}:\n"));
    let (name, id) = GROUP;
    format!("root:x:0:\ntty:x:5:\n{name}:x:{id}:{APPROVER}\n{}nogroup:x:65534:\n", users.collect::<String>())
}

/// Returns Debian's static busybox, from the cache or from the archive.
fn busybox() -> Result<PathBuf> {
    let cache = paths::vm("busybox")?;
    let program = cache.join("busybox");
    if !program.exists() {
        println!("setup: fetching busybox");
        let scratch = paths::scratch(&cache)?;
        Apt::open()?.unpack(&["busybox-static".to_owned()], &scratch)?;
        fs::rename(scratch.join("bin/busybox"), &program).context("no busybox in its package")?;
        fs::remove_dir_all(scratch)?;
    }
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::{group, merged, passwd};

    #[test]
    fn files_go_where_debian_has_them() {
        assert_eq!(merged("/bin/tool"), "usr/bin/tool");
        assert_eq!(merged("/usr/bin/tool"), "usr/bin/tool");
        assert_eq!(merged("/libexec/tool"), "libexec/tool");
    }

    #[test]
    fn the_approver_is_in_the_group_and_the_agent_is_not() {
        assert!(group().contains("agent-guard:x:900:approver\n"));
        assert!(passwd().contains("agent:x:1000:1000:agent:/home/agent:/bin/sh\n"));
    }
}
