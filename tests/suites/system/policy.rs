//! The suite's policy: profiles that deny, audit or hold whatever can be, and labels for what can be labelled.

use std::fs;

use nix::mount::{MsFlags, mount};

/// Where files are that a profile's verdict is about, and where none is.
pub(crate) const LABELLED: &str = "/t/labelled";
pub(crate) const FREE: &str = "/t/free";

const TEXT: &str = r#"
version: 1
timeout: 120s
labels:
  files: { paths: [/t/labelled] }
  disks: { devices: [block, char 1:1] }
  cloud:
    endpoints:
      - { cidr: 203.0.113.0/24 }
      - { cidr: 127.0.0.1/32, ports: [7777], protocol: tcp }
      - { cidr: "::1/128", ports: [7777], protocol: tcp }
  doors: { sockets: [/t/doors, "@labelled"] }
profiles:
  autonomous: { default: allow }
  denying: { default: allow }
  auditing: { default: allow }
  holding: { default: allow }
rules:
  - name: deny-files
    profiles: denying
    operations: [write, create, delete, truncate, chmod, chown, attribute, mount, terminal, exec]
    labels: [files, disks]
    verdict: deny
  - { name: deny-cloud, profiles: denying, operations: connect, labels: cloud, verdict: deny }
  - name: deny-doors
    profiles: denying
    operations: unix-connect
    labels: doors
    verdict: deny
  - name: deny-the-machine
    profiles: denying
    operations:
      [swap, reboot, module, time, raw-io, quota, handle, bpf, perf, userfaultfd, io-uring, ptrace, kill, schedule,
       terminal, raw-socket]
    labels: unlabelled
    verdict: deny
  - name: audit-files
    profiles: auditing
    operations: [chmod, chown, attribute, mount]
    labels: files
    verdict: audit
  - name: audit-the-machine
    profiles: auditing
    operations:
      [swap, reboot, module, time, raw-io, quota, handle, bpf, perf, userfaultfd, io-uring, ptrace, kill, schedule,
       terminal, raw-socket]
    labels: unlabelled
    verdict: audit
  - name: audit-doors
    profiles: auditing
    operations: unix-connect
    labels: [doors, unlabelled]
    verdict: audit
  - name: hold-files
    profiles: holding
    operations: [chmod, chown, mount, write]
    labels: [files, disks]
    verdict: hold
  - name: hold-doors
    profiles: holding
    operations: unix-connect
    labels: doors
    verdict: hold
"#;

/// Makes what the policy names, and returns the policy.
pub(crate) fn prepare() -> String {
    fs::create_dir_all("/t").unwrap();
    mount(Some("t"), "/t", Some("tmpfs"), MsFlags::empty(), Some("mode=755")).unwrap();
    for directory in [LABELLED, FREE, "/t/doors"] {
        fs::create_dir_all(directory).unwrap();
    }
    TEXT.to_owned()
}
