//! Facts of this machine that decide whether the guard can work here. It must not know what follows from them.

use nix::sys::statfs::{BPF_FS_MAGIC, CGROUP2_SUPER_MAGIC, FsType, statfs};
use std::path::Path;
use std::{fs, io};

/// The list of security modules in force.
pub const LSM_LIST: &str = "/sys/kernel/security/lsm";
/// The kernel's type information.
pub const BTF: &str = "/sys/kernel/btf/vmlinux";
/// Where cgroups are mounted.
pub const CGROUP: &str = "/sys/fs/cgroup";
/// Where BPF objects are pinned.
pub const BPFFS: &str = "/sys/fs/bpf";

/// The running kernel's release.
#[must_use]
pub fn kernel_release() -> String {
    nix::sys::utsname::uname().map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default()
}

/// The security modules in force, separated by commas.
pub fn security_modules() -> io::Result<String> {
    fs::read_to_string(LSM_LIST).map(|list| list.trim_end().to_owned())
}

/// Whether the kernel tells its types.
#[must_use]
pub fn has_btf() -> bool {
    Path::new(BTF).exists()
}

/// Whether the unified hierarchy is mounted.
#[must_use]
pub fn is_cgroup2() -> bool {
    is(CGROUP, CGROUP2_SUPER_MAGIC)
}

/// Whether objects can be pinned.
#[must_use]
pub fn is_bpffs() -> bool {
    is(BPFFS, BPF_FS_MAGIC)
}

fn is(path: &str, kind: FsType) -> bool {
    statfs(path).is_ok_and(|found| found.filesystem_type() == kind)
}
