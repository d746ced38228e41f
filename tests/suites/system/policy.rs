//! The suite's policy: profiles that deny, audit or hold whatever can be, and labels for what can be labelled.

use std::fs::{self, File};
use std::process::Command;

use nix::mount::{MsFlags, mount};

/// Where files are that a profile's verdict is about, and where none is.
pub(crate) const LABELLED: &str = "/t/labelled";
pub(crate) const FREE: &str = "/t/free";
/// An overlay of two layers; what lies in its directory `prod` is labelled, and what lies in `other` is not.
pub(crate) const OVERLAY: &str = "/t/overlay";
/// Where credentials lie, by where they lead.
pub(crate) const PRODUCTION_KEYS: &str = "/t/keys/production";
pub(crate) const STAGING_KEYS: &str = "/t/keys/staging";
/// A file system that gives a number again that has become free; its file `kept` is labelled.
pub(crate) const DISK: &str = "/t/disk";

const TEXT: &str = r#"
version: 1
timeout: 120s
labels:
  files: { paths: [/t/labelled, /t/overlay/prod, /t/disk/kept] }
  disks: { devices: [block, char 1:1] }
  cloud:
    endpoints:
      - { cidr: 203.0.113.0/24 }
      - { cidr: 198.51.100.0/24, protocol: udp }
      - { cidr: 127.0.0.1/32, ports: [7777], protocol: tcp }
      - { cidr: "::1/128", ports: [7777], protocol: tcp }
  heard-production: { endpoints: [{ name: "*.prod.test" }] }
  hidden: { endpoints: [{ name: hidden.test }] }
  strangers: { endpoints: [{ name: unnamed }] }
  doors: { sockets: [/t/doors, "@labelled"] }
  production-keys: { credential: production, paths: [/t/keys/production] }
  staging-keys: { credential: staging, paths: [/t/keys/staging] }
  named-keys: { credential: production, names: [.token, "*.pem", .env.*] }
  public-keys: { credential: none, paths: [/t/free/public] }
  public-names: { names: [cacert.pem, .env.example] }
  told-keys: { credential: production, variables: [GUARD_SECRET, "*_TOKEN", VAULT_*] }
  told-staging: { credential: staging, variables: [GUARD_STAGING] }
  own-variables: { variables: [MODEL_TOKEN] }
  agent-sockets: { credential: production, sockets: ["*/agent.*"] }
  key-servers: { credential: production, endpoints: [{ cidr: 127.0.0.1/32, ports: [7779], protocol: tcp }] }
profiles:
  autonomous: { default: allow }
  denying: { default: allow }
  auditing: { default: allow }
  holding: { default: allow }
  keeping: { default: allow }
  careful: { default: allow }
  careful-tree: { default: allow, credentialed: process-tree }
  trusted: { default: allow, variables: keep }
rules:
  - name: hold-who-holds-keys
    profiles: [careful, careful-tree]
    operations: connect
    labels: [cloud, heard-production, strangers]
    when: { credentialed: production }
    verdict: hold
  - { name: deny-named-keys, profiles: denying, operations: read, labels: named-keys, verdict: deny }
  - name: keep-files
    profiles: keeping
    operations: [write, modify]
    labels: [files, disks]
    verdict: deny
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
       terminal, raw-socket, keyring]
    labels: unlabelled
    verdict: deny
  - { name: deny-hidden, profiles: [denying, careful], operations: resolve, labels: hidden, verdict: deny, answer: nxdomain }
  - name: deny-lookups
    profiles: denying
    operations: resolve
    labels: heard-production
    verdict: deny
  - { name: audit-lookups, profiles: auditing, operations: resolve, labels: heard-production, verdict: audit }
  - name: audit-files
    profiles: auditing
    operations: [chmod, chown, attribute, mount]
    labels: files
    verdict: audit
  - name: audit-the-machine
    profiles: auditing
    operations:
      [swap, reboot, module, time, raw-io, quota, handle, bpf, perf, userfaultfd, io-uring, ptrace, kill, schedule,
       terminal, raw-socket, keyring]
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
    for directory in [LABELLED, FREE, "/t/doors", PRODUCTION_KEYS, STAGING_KEYS] {
        fs::create_dir_all(directory).unwrap();
    }
    overlay();
    disk();
    TEXT.to_owned()
}

fn overlay() {
    let layer = |name: &str| format!("/t/layers/{name}");
    for directory in ["lower/prod/sub", "lower/other", "upper", "work"] {
        fs::create_dir_all(layer(directory)).unwrap();
    }
    for file in ["prod/f", "prod/sub/g", "other/f"] {
        fs::write(layer(&format!("lower/{file}")), "lower").unwrap();
    }
    fs::create_dir(OVERLAY).unwrap();
    let options = format!("lowerdir={},upperdir={},workdir={}", layer("lower"), layer("upper"), layer("work"));
    mount(Some("o"), OVERLAY, Some("overlay"), MsFlags::empty(), Some(options.as_str())).unwrap();
}

fn disk() {
    let image = "/t/disk.img";
    File::create(image).unwrap().set_len(8 << 20).unwrap();
    fs::create_dir(DISK).unwrap();
    for command in [&["mke2fs", "-F", image][..], &["mount", "-t", "ext4", "-o", "loop", image, DISK]] {
        let output = Command::new(command[0]).args(&command[1..]).output().unwrap();
        assert!(output.status.success(), "{command:?}: {output:?}");
    }
    fs::write(format!("{DISK}/kept"), "kept").unwrap();
    fs::create_dir(format!("{DISK}/free")).unwrap();
}
