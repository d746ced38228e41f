//! Owns starts that must fail, and say why: bad configurations, missing file systems, another daemon, foreign pins, full disks.
//!
//! Must not test what a running daemon does.

use std::fs;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use agent_guard_common::ABI_VERSION;
use agent_guard_tests::guest::{Agent, Run, answer, approve, await_request_in, cli, deny, eventually, request, status};
use nix::libc;
use nix::mount::{MsFlags, mount, umount};
use serde_json::{Value, json};

use crate::{POLICY, POLICY_FILE, daemon, file, id_of, is_well, run, said};

/// A daemon that must not start, beside the one that runs. Its own directories keep it off the other's.
fn refused_start(config: &str, args: &[&str]) -> String {
    let base = "/tmp/second";
    fs::create_dir_all(base).unwrap();
    let path = format!("{base}/config.yaml");
    fs::write(&path, config).unwrap();
    let run_dir = format!("{base}/run");
    let all = [&["--run-dir", &run_dir, "daemon", "--config", &path], args].concat();
    let (status, said) = run("timeout", &[&["60", "agent-guard"], &all[..]].concat());
    assert_eq!(status, 7, "{said}");
    assert!(said.lines().any(|line| line.starts_with("agent-guard: ")), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}

const ELSEWHERE: &str = "\
state_dir: /tmp/second/state
log_dir: /tmp/second/log
pin_dir: /sys/fs/bpf/second
cgroup_dir: /sys/fs/cgroup/second
";

/// The configuration with one line of its own.
fn elsewhere(line: &str) -> String {
    format!("{ELSEWHERE}{line}\n")
}

#[test]
fn fault_a_configuration_that_cannot_be_used_is_told() {
    let daemon = daemon();
    let cases = [
        ("polcy: /etc/agent-guard/policy.yaml", "polcy"),
        ("policy: etc/policy.yaml", "policy is etc/policy.yaml: an absolute path is expected"),
        ("policy: [1, 2]", "is not valid"),
        ("policy: /tmp/second/absent.yaml", "cannot read the policy /tmp/second/absent.yaml: No such file"),
        ("policy: /etc", "cannot read the policy /etc: Is a directory"),
        ("policy: /dev/zero", "the policy /dev/zero is longer than"),
        ("policy: \"\\0\"", "policy is \\x00: an absolute path is expected"),
        ("{", "is not valid"),
    ];
    for (line, words) in cases {
        let said = refused_start(&elsewhere(line), &[]);
        assert!(said.contains(words), "{line}: {said}");
    }
    let said = run("agent-guard", &["daemon", "--config", "/tmp/second/none.yaml"]);
    assert_eq!(said.0, 7);
    assert!(said.1.contains("cannot read the configuration /tmp/second/none.yaml: No such file"), "{}", said.1);
    assert_eq!(run("agent-guard", &["daemon", "--polcy", "x"]).0, 2);
    // None of them has touched the kernel.
    assert!(!Path::new("/sys/fs/bpf/second").exists());
    is_well(daemon);
}

#[test]
fn fault_a_policy_with_faults_keeps_the_daemon_from_starting_and_all_are_told() {
    let daemon = daemon();
    let path = "/tmp/second-policy.yaml";
    fs::write(path, POLICY.replace("verdict: hold", "verdict: ask").replace("127.9.0.0/16", "127.9.0.1/16")).unwrap();
    let said = refused_start(ELSEWHERE, &["--policy", path]);
    assert!(said.contains(&format!("the policy {path} has 2 faults: 6:")) && said.contains("11:"), "{said}");
    assert!(!Path::new("/sys/fs/bpf/second").exists());
    is_well(daemon);
}

#[test]
fn fault_directories_that_are_not_private_are_refused() {
    daemon();
    for name in ["state", "log"] {
        let path = format!("/tmp/second-{name}");
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let config = ELSEWHERE.replace(&format!("/tmp/second/{name}"), &path);
        let said = refused_start(&config, &[]);
        assert!(said.contains(&format!("{path} has owner 0 and mode 755: expected")), "{said}");
    }
}

#[test]
fn long_fault_a_second_daemon_is_refused_and_the_first_goes_on() {
    let daemon = daemon();
    let (status, said) = run("agent-guard", &["daemon"]);
    assert_eq!(status, 7);
    assert!(said.contains("another daemon holds /run/agent-guard: stop it first"), "{said}");
    // Nor by another door into the same kernel objects.
    let config = ELSEWHERE.replace("/sys/fs/bpf/second", "/sys/fs/bpf/agent-guard");
    let said = refused_start(&config, &[]);
    assert!(said.contains("a daemon works with what is pinned in /sys/fs/bpf/agent-guard: stop it first"), "{said}");
    let mut tree = Run::shell("first-goes-on", "rm /srv/held/first-goes-on");
    file("held", "first-goes-on");
    let id = id_of(&await_request_in("first-goes-on"));
    deny(&id);
    assert_ne!(tree.wait(), 0);
    is_well(daemon);
}

#[test]
fn fault_without_bpffs_the_daemon_says_what_to_mount() {
    let daemon = daemon();
    fs::create_dir_all("/tmp/second").unwrap();
    fs::write("/tmp/second/config.yaml", ELSEWHERE).unwrap();
    let script =
        "umount /sys/fs/bpf && exec agent-guard --run-dir /tmp/second/run daemon --config /tmp/second/config.yaml";
    let (status, said) = run("unshare", &["-m", "sh", "-c", script]);
    assert_eq!(status, 7, "{said}");
    assert!(
        said.contains("cannot create /sys/fs/bpf/second") && said.contains("mount -t bpf bpf /sys/fs/bpf"),
        "{said}"
    );
    is_well(daemon);
}

/// Makes a map that is not the daemon's and pins it where the daemon's would be.
fn pin_foreign_map(path: &str) {
    const MAP_CREATE: libc::c_long = 0;
    const OBJ_PIN: libc::c_long = 6;
    const HASH: u32 = 1;
    let bpf = |command: libc::c_long, attributes: &[u8; 128]| {
        // SAFETY: the attributes are as long as is said, zeroed where they say nothing, and outlive the call.
        unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_ptr(), attributes.len()) }
    };
    let fill = |words: &[u8]| {
        let mut attributes = [0; 128];
        attributes[..words.len()].copy_from_slice(words);
        attributes
    };
    let shape: Vec<u8> = [HASH, 3, 5, 7].iter().flat_map(|word| word.to_ne_bytes()).collect();
    let map = i32::try_from(bpf(MAP_CREATE, &fill(&shape))).unwrap();
    assert!(map >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the kernel has just made this descriptor, and nobody else knows its number.
    let map = unsafe { OwnedFd::from_raw_fd(map) };
    let name = std::ffi::CString::new(path).unwrap();
    let place = name.as_ptr().addr() as u64;
    let words = [&place.to_ne_bytes()[..], &map.as_raw_fd().to_ne_bytes()].concat();
    assert_eq!(bpf(OBJ_PIN, &fill(&words)), 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn fault_a_pinned_map_of_another_shape_is_refused() {
    let daemon = daemon();
    let pins = format!("/sys/fs/bpf/foreign/v{ABI_VERSION}/maps");
    fs::create_dir_all(&pins).unwrap();
    pin_foreign_map(&format!("{pins}/ANSWERS"));
    let said = refused_start(&ELSEWHERE.replace("/sys/fs/bpf/second", "/sys/fs/bpf/foreign"), &[]);
    assert!(said.contains(&format!("the pinned map {pins}/ANSWERS has another shape than this version's")), "{said}");
    assert!(said.contains("agent-guard detach"), "{said}");
    // The remedy works, and leaves the other daemon alone.
    fs::write("/tmp/second/foreign.yaml", "pin_dir: /sys/fs/bpf/foreign\n").unwrap();
    assert_eq!(run("agent-guard", &["detach", "--config", "/tmp/second/foreign.yaml"]).0, 0);
    assert!(!Path::new("/sys/fs/bpf/foreign").exists());
    is_well(daemon);
}

#[test]
fn long_fault_a_full_disk_refuses_approvals_instead_of_granting_them_unrecorded() {
    let daemon = daemon();
    daemon.terminate();
    let log = "/var/log/agent-guard";
    mount(Some("tmpfs"), log, Some("tmpfs"), MsFlags::empty(), Some("size=16k,mode=700")).unwrap();
    daemon.launch();
    let (held, denied) = (file("held", "full"), file("denied", "full"));
    let mut fills = Agent::guarded("fills");
    fills.pid();
    let mut tree = Run::shell("full", "rm /srv/held/full; echo rm=$?");
    let id = id_of(&await_request_in("full"));
    let filled = fs::write(format!("{log}/filler"), vec![0; 1 << 16]);
    assert!(filled.is_err(), "the disk is not full");
    // What is left of the log's own last page goes to refusals; a decision's record is longer than one of theirs.
    eventually("a record that finds no room", || {
        assert_eq!(fills.errno(&format!("unlink {}", denied.display())), 1);
        daemon.log().contains("a record is lost").then_some(())
    });
    let (status, said_approved) = said(&cli(&["approve", &id]));
    assert_ne!(status, 0, "{said_approved}");
    assert!(said_approved.contains("audit log"), "{said_approved}");
    assert_eq!(tree.wait(), 0);
    assert!(tree.stdout().contains("rm=1") && held.exists(), "granted without a record: {tree:?}");
    assert_eq!(request(&id)["state"], "denied");
    let decided = |records: Vec<Value>| records.iter().filter(|record| record["what"] == "decided").count();
    let text = fs::read_to_string(format!("{log}/audit.jsonl")).unwrap();
    let whole: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert_eq!(decided(whole), 0);
    // Nor does a session begin that nobody could account for.
    let (status, said_run) = run("agent-guard", &["run", "--", "touch", "/srv/unrecorded"]);
    assert!(status == 125 && !Path::new("/srv/unrecorded").exists(), "{said_run}");
    is_well(daemon);
    // The other half: with room again it goes on where it was, without a restart.
    fs::remove_file(format!("{log}/filler")).unwrap();
    let mut tree = Run::shell("room", "rm /srv/held/full; echo rm=$?");
    approve(&id_of(&await_request_in("room")));
    assert_eq!(tree.wait(), 0);
    assert!(tree.stdout().contains("rm=0") && !held.exists(), "{tree:?}");
    daemon.terminate();
    umount(log).unwrap();
    crate::daemon();
    assert_eq!(answer(&id, "approve").status, 404, "requests are not remembered beyond a restart");
}

#[test]
fn fault_doctor_tells_what_this_machine_can_do() {
    daemon();
    let (status, text) = run("agent-guard", &["doctor"]);
    assert_eq!(status, 0, "{text}");
    assert!(
        text.lines().count() > 3 && text.lines().all(|line| line.starts_with("good") || line.starts_with("limited"))
    );
    let (status, json) = run("agent-guard", &["doctor", "--json"]);
    let doctor: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((status, &doctor["able"]), (0, &json!(true)));
    // Where the kernel's list of security modules is not to be seen, it says so and what to do.
    let script = "umount /sys/kernel/security && exec agent-guard doctor";
    let (status, blind) = run("unshare", &["-m", "sh", "-c", script]);
    assert_eq!(status, 1, "{blind}");
    assert!(blind.lines().any(|line| line.starts_with("missing") && line.contains("securityfs")), "{blind}");
}

/// Another description of the kernel's types in place of the kernel's own, as long as this value lives.
struct OtherTypes;

impl OtherTypes {
    const OF_KERNEL: &str = "/sys/kernel/btf/vmlinux";

    /// The kernel's types with one name changed to another of the same length.
    fn without(name: &str) -> Self {
        let mut types = fs::read(Self::OF_KERNEL).unwrap();
        let needle = [b"\0", name.as_bytes(), b"\0"].concat();
        let at = types.windows(needle.len()).position(|bytes| bytes == needle).unwrap();
        types[at + 1] = b'_';
        let path = "/tmp/other-types";
        fs::write(path, types).unwrap();
        mount(Some(path), Self::OF_KERNEL, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        Self
    }
}

impl Drop for OtherTypes {
    fn drop(&mut self) {
        // Without the true types every later test would fail for want of them.
        umount(Self::OF_KERNEL).unwrap();
    }
}

#[test]
fn fault_a_policy_that_this_kernel_cannot_enforce_is_refused_and_not_trimmed() {
    let daemon = daemon();
    let denied = file("denied", "no-hook");
    daemon.terminate();
    let types = OtherTypes::without("bpf_lsm_path_rmdir");
    let why = "this kernel cannot enforce delete, which the policy speaks of: it lacks the hooks path_rmdir";
    let started = refused_start(ELSEWHERE, &[]);
    assert!(started.contains(why), "{started}");
    let (_, doctor) = run("agent-guard", &["doctor"]);
    assert!(doctor.lines().any(|line| line.contains("path_rmdir")), "{doctor}");
    // A policy that does not speak of it is in force whole.
    fs::write(POLICY_FILE, POLICY.replace(" delete,", "")).unwrap();
    daemon.launch();
    let mut agent = Agent::guarded("no-hook");
    let (unlink, rename) = (format!("unlink {}", denied.display()), format!("rename {} /srv/moved", denied.display()));
    assert_eq!(agent.errno(&rename), 1);
    let before = status()["policy"]["generation"].clone();
    fs::write(POLICY_FILE, POLICY).unwrap();
    let (code, reloaded) = said(&cli(&["policy", "reload"]));
    assert!(code == 1 && reloaded.contains(why), "{code}: {reloaded}");
    assert_eq!((status()["policy"]["generation"].clone(), agent.errno(&rename)), (before, 1), "the old one stays");
    assert_eq!(agent.errno(&unlink), 0);
    // The other half: with the hook the policy is taken.
    daemon.terminate();
    drop(types);
    daemon.launch();
    file("denied", "no-hook");
    assert_eq!(agent.errno(&unlink), 1);
    is_well(daemon);
}
