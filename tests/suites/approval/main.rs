//! Owns who may answer: people outside of every tree, once, while it is asked; and what is shown and recorded of it.
//!
//! Must not test what is held, only who lets it go. One daemon serves all tests; each has files and sessions of its own.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod again;
mod answers;
mod audit;
mod doors;
mod inside;
mod intents;
mod kill;
mod quorum;
mod scopes;
mod shown;
mod told;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use agent_guard_tests::guest::{AGENT_SOCKET, CONTROL_SOCKET, Daemon, Run, approve, await_request_in, request};
use serde_json::Value;

const POLICY: &str = "\
version: 1
timeout: 5m
labels:
  held: { paths: [/srv/held] }
  brief: { paths: [/srv/brief] }
  denied: { paths: [/srv/denied] }
  audited: { paths: [/srv/audited] }
  shared: { paths: [/srv/shared] }
  grouped: { paths: [/srv/grouped] }
  anywhere: { paths: [/srv/anywhere] }
profiles:
  autonomous: { default: allow, questions: 1000000 }
  flooding: { default: allow, questions: 3 }
rules:
  - { name: asked, profiles: all, operations: [delete, create, rename], labels: held, verdict: hold, message: Ask. }
  - { name: asked-briefly, profiles: all, operations: delete, labels: brief, verdict: hold, timeout: 3s }
  - { name: refused, profiles: all, operations: delete, labels: denied, verdict: deny, message: Never. }
  - name: asked-of-two
    profiles: all
    operations: delete
    labels: shared
    verdict: hold
    approval: { approvers: 2, demands: [reason, confirmation] }
  - name: asked-of-a-group
    profiles: all
    operations: delete
    labels: grouped
    verdict: hold
    approval: { group: agent-guard, demands: [another-user] }
  - name: asked-for-all
    profiles: all
    operations: delete
    labels: anywhere
    verdict: hold
    approval: { widest: rule }
  - { name: watched, profiles: all, operations: delete, labels: audited, verdict: audit }
";

const AGENT: u32 = 1000;
const APPROVER: u32 = 1001;
const MALLORY: u32 = 1002;

/// What the sockets looked like, from before there were any.
static SEEN: Mutex<BTreeSet<(&str, u32, u32, u32)>> = Mutex::new(BTreeSet::new());

fn daemon() -> &'static Daemon {
    static WATCHED: OnceLock<&'static Daemon> = OnceLock::new();
    WATCHED.get_or_init(|| {
        static DONE: AtomicBool = AtomicBool::new(false);
        let watch = thread::spawn(|| {
            while !DONE.load(Ordering::Relaxed) {
                look_at_sockets();
                // As often as can be until they are open; after that the daemon needs the processor more.
                if are_open() {
                    thread::sleep(Duration::from_millis(10));
                }
            }
        });
        let daemon = Daemon::shared(|| {
            for directory in ["held", "brief", "denied", "audited", "shared", "grouped", "anywhere"] {
                fs::create_dir_all(format!("/srv/{directory}")).unwrap();
            }
            told::prepare();
            POLICY.to_owned()
        });
        DONE.store(true, Ordering::Relaxed);
        watch.join().unwrap();
        daemon
    })
}

fn look_at_sockets() {
    for socket in [CONTROL_SOCKET, AGENT_SOCKET] {
        if let Ok(seen) = fs::symlink_metadata(socket) {
            SEEN.lock().unwrap().insert((socket, seen.mode() & 0o7777, seen.uid(), seen.gid()));
        }
    }
}

fn are_open() -> bool {
    SEEN.lock().unwrap().iter().filter(|(_, mode, ..)| [0o660, 0o666].contains(mode)).count() == 2
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// An output as one text, with its exit status.
fn said(output: &Output) -> (i32, String) {
    (output.status.code().unwrap_or(-1), text(&output.stdout) + &text(&output.stderr))
}

/// A file of a test, in one of the labelled directories.
fn file(label: &str, name: &str) -> PathBuf {
    let path = PathBuf::from(format!("/srv/{label}/{name}"));
    fs::write(&path, name).unwrap();
    path
}

/// A held deletion, in a session whose shell can do more meanwhile.
struct Held {
    run: Run,
    id: String,
    file: PathBuf,
}

impl Held {
    /// A session that begins to delete a file and then does what `script` says, with the request's id in `$id`.
    fn with(name: &str, script: &str) -> Self {
        daemon();
        let file = file("held", name);
        // It ends with its input: until then its keeper shows what it has to say.
        let script = format!(
            "rm /srv/held/{name} & held=$!\nread id\n{script}\necho over\nwait $held; echo rm=$?\nread end || exit 0"
        );
        let mut run = Run::shell(name, &script);
        let id = id_of(&await_request_in(name));
        run.send(&id);
        Self { run, id, file }
    }

    fn simple(name: &str) -> Self {
        Self::with(name, ":")
    }

    /// What the shell has printed, once it has done everything but wait for the deletion.
    fn said(&mut self) -> String {
        self.run.await_stdout("over\n");
        self.run.stdout()
    }

    fn still_waits(&self) {
        assert!(self.file.exists(), "it is gone, and nobody approved it");
        assert_eq!(request(&self.id)["state"], "pending");
    }

    /// The other half: a person's yes lets it go on.
    fn goes_on_when_approved(mut self) {
        self.still_waits();
        approve(&self.id);
        assert_eq!(self.run.wait(), 0);
        assert!(self.run.stdout().contains("rm=0"), "{:?}", self.run);
        assert!(!self.file.exists());
    }
}

fn id_of(request: &Value) -> String {
    request["id"].as_str().unwrap().to_owned()
}
