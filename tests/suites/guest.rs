//! Owns what every other suite takes for granted: the guest is the system that they expect.
//!
//! Must not test agent-guard.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn says(command: &[&str]) -> String {
    let output = Command::new(command[0]).args(&command[1..]).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_kernel_enforces_what_bpf_programs_refuse() {
    let modules = read("/sys/kernel/security/lsm");
    assert!(modules.split(',').any(|module| module.trim() == "bpf"), "{modules}");
}

#[test]
fn the_kernel_describes_its_types() {
    assert!(Path::new("/sys/kernel/btf/vmlinux").exists());
}

#[test]
fn what_the_daemon_needs_is_mounted() {
    let mounts = read("/proc/mounts");
    for mount in ["bpf /sys/fs/bpf bpf", "cgroup2 /sys/fs/cgroup cgroup2", "tmpfs /run tmpfs"] {
        assert!(mounts.contains(mount), "no {mount} in:\n{mounts}");
    }
    assert!(read("/sys/fs/cgroup/cgroup.controllers").contains("pids"));
}

#[test]
fn only_the_approver_is_in_the_group_that_may_answer() {
    assert!(says(&["id", "approver"]).contains("(agent-guard)"));
    assert!(!says(&["id", "agent"]).contains("agent-guard"));
    assert!(!says(&["id", "mallory"]).contains("agent-guard"));
}

#[test]
fn a_user_has_a_home_and_a_shell() {
    assert_eq!(says(&["su", "agent", "-c", "cd && pwd"]), "/home/agent\n");
}

#[test]
fn the_loopback_is_up() {
    TcpListener::bind("127.0.0.1:0").unwrap();
    TcpListener::bind("[::1]:0").unwrap();
}

#[test]
fn the_kernel_loads_a_file_system_when_one_is_mounted() {
    let base = "/tmp/overlay";
    for directory in ["lower", "upper", "work", "merged"] {
        fs::create_dir_all(format!("{base}/{directory}")).unwrap();
    }
    let options = format!("lowerdir={base}/lower,upperdir={base}/upper,workdir={base}/work");
    says(&["mount", "-t", "overlay", "-o", &options, "overlay", &format!("{base}/merged")]);
    says(&["umount", &format!("{base}/merged")]);
}

#[test]
fn orphans_are_buried() {
    says(&["sh", "-c", "(sleep 0.1 &) ; sleep 0.5"]);
    assert!(!says(&["ps"]).contains("[sleep]"));
}

#[test]
fn the_daemon_is_installed() {
    assert!(Path::new("/usr/bin/agent-guard").exists());
    assert!(Path::new("/etc/agent-guard").is_dir());
}
