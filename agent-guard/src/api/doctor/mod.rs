//! What this machine can enforce, in words for its operator. It judges facts that `system::host` reads, and works
//! without a daemon and without rights.

mod forwarders;
mod program;

use super::types::{Doctor, Finding, FindingLevel};
use crate::kernel::support::{self, OperationSupport, Support};
use crate::system::host;

/// Oldest kernel that is tested, as major and minor number.
const OLDEST_KERNEL: (u32, u32) = (6, 1);

/// Looks at the machine.
#[must_use]
pub fn examine() -> Doctor {
    let mut findings = vec![kernel(), lsm(), btf(), cgroup(), bpffs()];
    findings.extend(operations());
    findings.extend(outcomes());
    let (forwarders, unseen_forwarders) = forwarders::find().unwrap_or_else(|error| {
        let detail = format!("cannot look for local forwarders: {error}");
        findings.push(finding("forwarder", FindingLevel::Limited, detail));
        (Vec::new(), 0)
    });
    let able = findings.iter().all(|finding| finding.level != FindingLevel::Missing);
    Doctor { able, findings, forwarders, unseen_forwarders }
}

fn finding(name: &str, level: FindingLevel, detail: impl Into<String>) -> Finding {
    Finding { name: name.to_owned(), level, detail: detail.into() }
}

fn kernel() -> Finding {
    let release = host::kernel_release();
    let level = match version(&release) {
        Some(version) if version >= OLDEST_KERNEL => FindingLevel::Good,
        Some(_) | None => FindingLevel::Missing,
    };
    let detail = match level {
        FindingLevel::Good => release,
        FindingLevel::Limited | FindingLevel::Missing => {
            format!("{release}: Linux {}.{} or later is needed", OLDEST_KERNEL.0, OLDEST_KERNEL.1)
        }
    };
    finding("kernel", level, detail)
}

/// Major and minor number of a release such as `6.1.0-32-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn lsm() -> Finding {
    match host::security_modules() {
        Ok(list) if list.split(',').any(|name| name == "bpf") => finding("lsm", FindingLevel::Good, list),
        // Programs would load, attach and enforce nothing.
        Ok(list) => finding(
            "lsm",
            FindingLevel::Missing,
            format!("bpf is not in the list ({list}): add it to lsm= on the kernel's command line and reboot"),
        ),
        Err(error) => finding(
            "lsm",
            FindingLevel::Missing,
            format!("cannot read {} ({error}): `mount -t securityfs none /sys/kernel/security`", host::LSM_LIST),
        ),
    }
}

fn btf() -> Finding {
    if host::has_btf() {
        finding("btf", FindingLevel::Good, host::BTF)
    } else {
        finding(
            "btf",
            FindingLevel::Missing,
            format!("no {}: a kernel with CONFIG_DEBUG_INFO_BTF is needed", host::BTF),
        )
    }
}

fn cgroup() -> Finding {
    if host::is_cgroup2() {
        finding("cgroup2", FindingLevel::Good, host::CGROUP)
    } else {
        let detail = format!("no cgroup2 at {}: sessions cannot be limited, listed or killed as one", host::CGROUP);
        finding("cgroup2", FindingLevel::Missing, detail)
    }
}

fn bpffs() -> Finding {
    if host::is_bpffs() {
        finding("bpffs", FindingLevel::Good, host::BPFFS)
    } else {
        let detail = format!("no bpffs at {0}: `mount -t bpf bpf {0}`", host::BPFFS);
        finding("bpffs", FindingLevel::Missing, detail)
    }
}

/// How far each operation can be enforced, by what the kernel's types say and never by its version.
fn operations() -> Vec<Finding> {
    // Unreadable types are a finding of their own.
    let operations = support::probe().unwrap_or_default();
    operations.iter().map(operation).collect()
}

fn operation(found: &OperationSupport) -> Finding {
    let hooks = found.hooks.join(", ");
    let (level, detail) = match found.support {
        Support::Full => (FindingLevel::Good, format!("enforced by {hooks}")),
        Support::Partly => (
            FindingLevel::Limited,
            format!("partly enforced, by {hooks}: the kernel has no hook {}", found.missing.join(", ")),
        ),
        Support::No => {
            (FindingLevel::Missing, format!("not enforced: the kernel has no hook {}", found.missing.join(", ")))
        }
    };
    finding(found.operation.name(), level, detail)
}

/// Whether it can be told what came of the acts that passed. Nothing that is enforced depends on it.
fn outcomes() -> Option<Finding> {
    let (there, missing) = support::outcomes().ok()?;
    let (level, detail) = if missing.is_empty() {
        (FindingLevel::Good, format!("told by {}", there.join(", ")))
    } else {
        (FindingLevel::Limited, format!("not told of all acts: the kernel has no function {}", missing.join(", ")))
    };
    Some(finding("outcomes", level, detail))
}

#[cfg(test)]
mod tests {
    use super::{examine, version};

    #[test]
    fn releases_of_all_kinds_have_a_version() {
        assert_eq!(version("6.1.0-32-cloud-amd64"), Some((6, 1)));
        assert_eq!(version("7.2-rc1+"), Some((7, 2)));
        assert_eq!(version("odd"), None);
    }

    #[test]
    fn every_finding_says_something() {
        let doctor = examine();
        for name in ["kernel", "lsm", "btf", "cgroup2", "bpffs"] {
            assert!(doctor.findings.iter().any(|finding| finding.name == name), "{name}");
        }
        assert!(doctor.findings.iter().all(|finding| !finding.detail.is_empty()));
    }
}
