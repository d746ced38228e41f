//! The one policy of the suite: for each kind of object, one label a verdict, so that tests name what they want.

use std::fs::{self, File};
use std::process::Command;

use nix::mount::{MsFlags, mount};

/// Where everything lies.
pub(crate) const ALLOWED: &str = "/t/allowed";
pub(crate) const AUDITED: &str = "/t/audited";
pub(crate) const HELD: &str = "/t/held";
pub(crate) const DENIED: &str = "/t/denied";
/// Held, and nobody has long to answer.
pub(crate) const EXPIRING: &str = "/t/expiring";
/// Only truncation is held.
pub(crate) const KEPT: &str = "/t/kept";
/// Below a directory without a label: what is above it must not move.
pub(crate) const NESTED: &str = "/t/parent/nested";
/// A single file.
pub(crate) const SINGLE: &str = "/t/single/file";
/// A file that did not exist when the policy was loaded, and its directory neither.
pub(crate) const MISSING: &str = "/t/missing/below/file";
/// On a disk, whose names the kernel may forget: creation is held, and all else allowed.
pub(crate) const GROWN: &str = "/t/disk/grown";
/// The same, with creation denied.
pub(crate) const SEALED: &str = "/t/disk/sealed";
/// Programs.
pub(crate) const PROGRAMS: &str = "/t/bin";
/// Where programs leave their marks.
pub(crate) const MARKS: &str = "/t/marks";

/// The policy.
pub(crate) const TEXT: &str = r#"
version: 1
timeout: 120s
labels:
  audited: { paths: [/t/audited] }
  held: { paths: [/t/held, /t/parent/nested, /t/missing/below/file] }
  denied: { paths: [/t/denied, /t/single/file] }
  expiring: { paths: [/t/expiring] }
  kept: { paths: [/t/kept] }
  grown: { paths: [/t/disk/grown] }
  sealed: { paths: [/t/disk/sealed] }
  net-audited: { endpoints: [{ cidr: 127.0.0.5/32 }] }
  net-held:
    endpoints:
      - { cidr: 127.0.0.2/32, ports: [7000-7009, 7020] }
      - { cidr: "fd00::2/128", ports: [7000-7009, 7020] }
  net-denied:
    endpoints:
      - { cidr: 127.0.0.3/32 }
      - { cidr: "fd00:3::/32" }
      - { cidr: 127.0.0.4/32, protocol: udp }
  net-expiring: { endpoints: [{ cidr: 127.0.0.6/32 }] }
  command-audited: { commands: ["marker peek **"] }
  command-held: { commands: ["marker evil", "marker evil-*", "teardown prod **", "nested ** destroy", "marker long * * * stop"] }
  command-denied: { commands: ["marker ruin **"] }
profiles:
  autonomous: { default: allow, questions: 1000000 }
  other: { default: allow }
rules:
  - { name: audit-files, profiles: [autonomous], operations: all, labels: [audited], verdict: audit }
  - { name: hold-files, profiles: [autonomous], operations: all, labels: [held], verdict: hold, message: Ask first. }
  - { name: deny-files, profiles: [autonomous], operations: all, labels: [denied], verdict: deny }
  - { name: expire-files, profiles: [autonomous], operations: all, labels: [expiring], verdict: hold, timeout: 2s }
  - { name: keep-contents, profiles: [autonomous], operations: [truncate], labels: [kept], verdict: hold }
  - { name: hold-growth, profiles: [autonomous], operations: [create], labels: [grown], verdict: hold }
  - { name: deny-growth, profiles: [autonomous], operations: [create], labels: [sealed], verdict: deny }
  - { name: audit-net, profiles: [autonomous], operations: [connect], labels: [net-audited], verdict: audit }
  - { name: hold-net, profiles: [autonomous], operations: [connect], labels: [net-held], verdict: hold }
  - { name: deny-net, profiles: [autonomous], operations: [connect], labels: [net-denied], verdict: deny }
  - { name: expire-net, profiles: [autonomous], operations: [connect], labels: [net-expiring], verdict: hold, timeout: 2s }
  - { name: audit-commands, profiles: [autonomous], operations: [command], labels: [command-audited], verdict: audit }
  - { name: hold-commands, profiles: [autonomous], operations: [command], labels: [command-held], verdict: hold }
  - { name: deny-commands, profiles: [autonomous], operations: [command], labels: [command-denied], verdict: deny }
"#;

/// Makes what the policy names, and returns the policy.
pub(crate) fn prepare() -> String {
    fs::create_dir_all("/t").unwrap();
    mount(Some("t"), "/t", Some("tmpfs"), MsFlags::empty(), Some("mode=755")).unwrap();
    mount_disk("/t/disk");
    for directory in [ALLOWED, AUDITED, HELD, DENIED, EXPIRING, KEPT, NESTED, "/t/single", GROWN, SEALED, PROGRAMS] {
        fs::create_dir_all(directory).unwrap();
    }
    fs::write(SINGLE, "single").unwrap();
    let marker = format!("{PROGRAMS}/marker");
    fs::copy("/usr/local/bin/agent-guard-act", &marker).unwrap();
    for name in ["teardown", "nested"] {
        script(&format!("{PROGRAMS}/{name}"), "#!/bin/sh\n: > $2/$1\n");
    }
    // An agent may run as anybody, and leaves its marks all the same.
    fs::create_dir_all(MARKS).unwrap();
    // Without udev nobody makes it, and scripts that are executed by descriptor are read through it.
    drop(std::os::unix::fs::symlink("/proc/self/fd", "/dev/fd"));
    for address in ["fd00::2/128", "fd00:3::1/128"] {
        tool("ip", &["-6", "addr", "add", address, "dev", "lo"]);
    }
    TEXT.to_owned()
}

/// Mounts a small disk: of a file system in memory the kernel forgets nothing.
fn mount_disk(place: &str) {
    let image = "/tmp/disk";
    File::create(image).unwrap().set_len(8 << 20).unwrap();
    fs::create_dir_all(place).unwrap();
    tool("modprobe", &["loop"]);
    tool("mke2fs", &["-F", image]);
    tool("mount", &["-t", "ext4", "-o", "loop", image, place]);
}

fn tool(name: &str, args: &[&str]) {
    let output = Command::new(name).args(args).output().unwrap();
    assert!(output.status.success(), "{name} {args:?}: {output:?}");
}

/// Writes a program text that can be executed.
pub(crate) fn script(path: &str, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}
