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

/// What this machine calls itself.
#[must_use]
pub fn name() -> String {
    nix::sys::utsname::uname().map(|name| name.nodename().to_string_lossy().into_owned()).unwrap_or_default()
}

/// The security modules in force, separated by commas.
pub fn security_modules() -> io::Result<String> {
    fs::read_to_string(LSM_LIST).map(|list| list.trim_end().to_owned())
}

/// Whether the kernel may take the CPU away from a task at almost any point inside of it. What cannot be read counts as
/// the usual: that it may not.
#[must_use]
pub fn is_fully_preemptible() -> bool {
    let version = fs::read_to_string("/proc/version").unwrap_or_default();
    let parameters = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    // The model in force stands in brackets; debugfs need not be mounted.
    let model = fs::read_to_string("/sys/kernel/debug/sched/preempt").unwrap_or_default();
    fully_preemptible(&version, &parameters, &model)
}

fn fully_preemptible(version: &str, parameters: &str, model: &str) -> bool {
    let is_built_so = version.split_ascii_whitespace().any(|word| matches!(word, "PREEMPT" | "PREEMPT_RT"));
    is_built_so || parameters.split_ascii_whitespace().any(|word| word == "preempt=full") || model.contains("(full)")
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

#[cfg(test)]
mod tests {
    use super::fully_preemptible;

    #[test]
    fn full_preemption_is_built_in_or_chosen_at_the_start() {
        assert!(!fully_preemptible("Linux version 6.1.0 #1 SMP PREEMPT_DYNAMIC Debian", "quiet", ""));
        assert!(fully_preemptible("Linux version 6.1.0 #1 SMP PREEMPT_DYNAMIC Debian", "quiet preempt=full", ""));
        assert!(fully_preemptible("Linux version 6.1.0 #1 SMP PREEMPT Debian", "", ""));
        assert!(fully_preemptible("Linux version 6.1.0 #1 SMP PREEMPT_DYNAMIC Debian", "", "none voluntary (full)"));
    }
}
