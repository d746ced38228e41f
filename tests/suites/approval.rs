//! Owns who may answer: people outside of every tree, once, while it is asked; and what is shown and recorded of it.
//!
//! Must not test what is held, only who lets it go. One daemon serves all tests; each has files and sessions of its own.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{IoSliceMut, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use agent_guard_tests::guest::{
    AGENT_SOCKET, CONTROL_SOCKET, Daemon, Run, answer, approve, as_user, await_request_in, cli, deny, eventually, http,
    never_within, proc_state, request, requests, sessions,
};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use serde_json::{Value, json};

const POLICY: &str = "\
version: 1
timeout: 5m
labels:
  held: { paths: [/srv/held] }
  brief: { paths: [/srv/brief] }
  denied: { paths: [/srv/denied] }
  audited: { paths: [/srv/audited] }
profiles:
  autonomous: { default: allow }
rules:
  - { name: asked, profiles: all, operations: [delete, create, rename], labels: held, verdict: hold, message: Ask. }
  - { name: asked-briefly, profiles: all, operations: delete, labels: brief, verdict: hold, timeout: 3s }
  - { name: refused, profiles: all, operations: delete, labels: denied, verdict: deny, message: Never. }
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
            }
        });
        let daemon = Daemon::shared(|| {
            for directory in ["held", "brief", "denied", "audited"] {
                fs::create_dir_all(format!("/srv/{directory}")).unwrap();
            }
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
        let script = format!("rm /srv/held/{name} & held=$!\nread id\n{script}\necho over\nwait $held; echo rm=$?");
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

/// A way to approve from inside, and what must come of it.
fn is_no_way(name: &str, way: &str, expected: &str) {
    let mut held = Held::with(name, way);
    let said = held.said();
    assert!(said.contains(expected), "{said}\n{}", held.run.stderr());
    held.goes_on_when_approved();
}

fn knock(way: &str, socket: &str) -> String {
    format!("agent-guard-knock {way} {socket} POST /v1/requests/$id/approve")
}

// Doors.

#[test]
fn approval_sockets_never_had_other_modes_than_theirs() {
    daemon();
    let mode = |socket: &str| fs::symlink_metadata(socket).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(CONTROL_SOCKET), mode(AGENT_SOCKET)), (0o660, 0o666));
    // Closed while it belongs to nobody in particular, then of its group, then open to it.
    let allowed = [
        (CONTROL_SOCKET, 0o600, 0, 0),
        (CONTROL_SOCKET, 0o600, 0, 900),
        (CONTROL_SOCKET, 0o660, 0, 900),
        (AGENT_SOCKET, 0o600, 0, 0),
        (AGENT_SOCKET, 0o666, 0, 0),
    ];
    look_at_sockets();
    let seen = SEEN.lock().unwrap();
    assert!(seen.contains(&allowed[2]) && seen.contains(&allowed[4]), "{seen:?}");
    assert!(seen.iter().all(|one| allowed.contains(one)), "{seen:?}");
}

#[test]
fn approval_by_a_user_takes_membership_in_the_group() {
    let held = Held::simple("group");
    for outsider in [AGENT, MALLORY] {
        let mut approve = Command::new("agent-guard");
        let (status, said) = said(&as_user(approve.args(["approve", &held.id]), outsider).output().unwrap());
        assert_eq!(status, 4, "{said}");
        assert!(said.contains("permission denied at /run/agent-guard/control.sock: add yourself to group"), "{said}");
        let mut raw = Command::new("agent-guard-knock");
        raw.args(["self", CONTROL_SOCKET, "POST", &format!("/v1/requests/{}/approve", held.id)]);
        assert!(!as_user(&mut raw, outsider).output().unwrap().status.success());
    }
    held.still_waits();
    let mut approve = Command::new("agent-guard");
    let (status, said) = said(&as_user(approve.args(["approve", &held.id]), APPROVER).output().unwrap());
    assert_eq!((status, said), (0, format!("approved {}: delete /srv/held/group\n", held.id)));
    let Held { mut run, file, id } = held;
    assert_eq!(run.wait(), 0);
    assert!(!file.exists());
    assert_eq!(request(&id)["decision"]["user"], "approver");
}

#[test]
fn approval_by_the_agent_socket_is_nobodys_right() {
    let held = Held::simple("agent-socket");
    let calls = [
        ("GET", "/v1/status".to_owned()),
        ("GET", "/v1/doctor".to_owned()),
        ("POST", format!("/v1/requests/{}/approve", held.id)),
        ("POST", format!("/v1/requests/{}/deny", held.id)),
        ("POST", format!("/v1/requests/{}/cancel", held.id)),
        ("POST", "/v1/sessions/agent-socket/halt".to_owned()),
        ("POST", "/v1/sessions/agent-socket/resume".to_owned()),
        ("POST", "/v1/sessions/agent-socket/kill".to_owned()),
        ("POST", "/v1/policy/check".to_owned()),
        ("POST", "/v1/policy/reload".to_owned()),
    ];
    for (method, path) in &calls {
        let body = if path.ends_with("check") { json!({"text": ""}) } else { json!({}) };
        let reply = http(AGENT_SOCKET, method, path, (*method == "POST").then_some(&body)).unwrap();
        assert_eq!(reply.status, 403, "{method} {path}: {reply:?}");
        assert_eq!(reply.json()["error"]["code"], "forbidden");
    }
    held.goes_on_when_approved();
}

#[test]
fn approval_by_the_agent_socket_sessions_are_started_only_around_ones_own_child() {
    daemon();
    let start = |pid: u32| {
        let mut knock = Command::new("agent-guard-knock");
        let body = json!({"child_pid": pid, "argv": ["x"], "cwd": "/"}).to_string();
        knock.args(["self", AGENT_SOCKET, "POST", "/v1/sessions", &body]);
        text(&as_user(&mut knock, MALLORY).output().unwrap().stdout)
    };
    for stranger in [1, std::process::id(), u32::MAX] {
        let said = start(stranger);
        assert!(said.starts_with("422 ") && said.contains("is not a child of the caller"), "{said}");
    }
    assert_eq!(sessions().iter().filter(|session| session["user"] == "mallory").count(), 0);
}

#[test]
fn approval_by_the_agent_socket_one_sees_only_what_is_ones_own() {
    let held = Held::simple("roots-own");
    fs::create_dir_all("/srv/held/open").unwrap();
    fs::set_permissions("/srv/held/open", fs::Permissions::from_mode(0o777)).unwrap();
    let mut command = Command::new("agent-guard");
    command.args(["run", "--name", "agents-own", "--", "touch", "/srv/held/open/x"]);
    let mut run = Run::spawn("agents-own", as_user(&mut command, AGENT));
    let own = id_of(&await_request_in("agents-own"));
    let ask = |uid: u32, args: &[&str]| said(&as_user(Command::new("agent-guard").args(args), uid).output().unwrap());
    let (status, listed) = ask(AGENT, &["requests", "--state", "pending", "--json"]);
    let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
    assert_eq!((status, listed.iter().map(id_of).collect::<Vec<_>>()), (0, vec![own.clone()]));
    assert_eq!(ask(AGENT, &["show", &own]).0, 0);
    assert_eq!(ask(AGENT, &["show", &held.id]).0, 5);
    assert_eq!(ask(MALLORY, &["show", &own]).0, 5);
    assert_eq!(ask(MALLORY, &["requests", "--json"]).1.trim(), "[]");
    assert!(!ask(MALLORY, &["sessions", "--json"]).1.contains("agents-own"));
    assert_eq!(ask(APPROVER, &["show", &own]).0, 0);
    deny(&own);
    assert_ne!(run.wait(), 0);
    assert!(!Path::new("/srv/held/open/x").exists());
    held.goes_on_when_approved();
}

// No tree answers itself, root's neither.

#[test]
fn approval_from_inside_is_refused_to_the_client() {
    is_no_way("by-client", "agent-guard approve $id 2>&1; echo rc=$?", "rc=4");
}

#[test]
fn approval_from_inside_is_refused_to_raw_http_on_the_control_socket() {
    is_no_way("by-control", &knock("self", CONTROL_SOCKET), "403 ");
}

#[test]
fn approval_from_inside_is_refused_to_raw_http_on_the_agent_socket() {
    is_no_way("by-agent", &knock("self", AGENT_SOCKET), "403 ");
}

#[test]
fn approval_from_inside_is_refused_to_a_double_forked_orphan() {
    is_no_way("by-orphan", &knock("orphan", CONTROL_SOCKET), "403 ");
}

#[test]
fn approval_from_inside_is_refused_to_a_thread_of_a_dead_leader() {
    is_no_way("by-thread", &knock("thread", CONTROL_SOCKET), "403 ");
}

#[test]
fn approval_from_inside_is_refused_to_a_process_that_is_gone_before_it_is_looked_at() {
    let mut held =
        Held::with("by-leaver", &format!("for i in 1 2 3 4 5; do {}; done", knock("leaver", CONTROL_SOCKET)));
    assert_eq!(held.said().matches("left").count(), 5);
    never_within(Duration::from_secs(1), "the file goes", || !held.file.exists());
    held.goes_on_when_approved();
}

#[test]
fn approval_from_inside_is_refused_over_a_connection_that_a_dead_child_has_made() {
    is_no_way("by-proxy", &knock("proxy", CONTROL_SOCKET), "403 ");
}

#[test]
fn approval_from_inside_is_refused_to_a_member_of_the_group() {
    is_no_way("by-su", "su approver -c \"agent-guard approve $id\" 2>&1; echo rc=$?", "rc=4");
}

#[test]
fn approval_over_a_connection_from_inside_is_refused_whoever_speaks() {
    let gift = "/tmp/gift.sock";
    let listener = UnixListener::bind(gift).unwrap();
    let way = format!("agent-guard-knock gift {CONTROL_SOCKET} x x {gift}");
    let held = Held::with("by-gift", &way);
    let (giver, _) = listener.accept().unwrap();
    let mut connection = UnixStream::from(descriptor(&giver));
    let call = format!("POST /v1/requests/{}/approve HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n", held.id);
    connection.write_all(call.as_bytes()).unwrap();
    let mut reply = String::new();
    connection.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 403 "), "{reply}");
    drop(giver);
    held.goes_on_when_approved();
}

/// A descriptor that a peer passes.
fn descriptor(from: &UnixStream) -> OwnedFd {
    let (mut byte, mut space) = ([0], nix::cmsg_space!(i32));
    let mut slices = [IoSliceMut::new(&mut byte)];
    let message = recvmsg::<()>(from.as_raw_fd(), &mut slices, Some(&mut space), MsgFlags::empty()).unwrap();
    let rights = message.cmsgs().unwrap().find_map(|message| match message {
        ControlMessageOwned::ScmRights(descriptors) => descriptors.first().copied(),
        _ => None,
    });
    // SAFETY: the kernel has just made this descriptor for this process; nobody else knows its number.
    unsafe { OwnedFd::from_raw_fd(rights.unwrap()) }
}

#[test]
fn approval_is_not_the_only_thing_that_is_refused_inside() {
    let calls = "\
for socket in /run/agent-guard/control.sock /run/agent-guard/agent.sock; do
  for path in requests/$id/approve requests/$id/deny requests/$id/cancel sessions sessions/all-verbs/halt \
      sessions/all-verbs/resume sessions/all-verbs/kill sessions/all-verbs/release policy/reload policy/check; do
    agent-guard-knock self $socket POST /v1/$path '{\"text\":\"\",\"child_pid\":1,\"argv\":[],\"cwd\":\"/\"}'
  done
  for path in status doctor sessions/all-verbs/notices; do agent-guard-knock self $socket GET /v1/$path; done
done";
    let mut held = Held::with("all-verbs", calls);
    let said = held.said();
    // A body that does not fit its call is refused before anybody asks who speaks.
    let refused = said.lines().filter(|line| line.starts_with("403 ") || line.starts_with("400 ")).count();
    assert_eq!(refused, 26, "{said}");
    assert!(said.lines().filter(|line| line.starts_with("403 ")).count() >= 14, "{said}");
    held.goes_on_when_approved();
}

#[test]
fn approval_requests_of_others_are_not_there_for_a_guarded_process() {
    let other = Held::simple("other");
    let script = format!(
        "agent-guard requests --json; agent-guard sessions --json; agent-guard show $id >/dev/null; echo own=$?; \
         agent-guard show {0} 2>&1; echo other=$?; agent-guard-knock self {CONTROL_SOCKET} GET /v1/requests/{0}",
        other.id
    );
    let mut held = Held::with("reader", &script);
    let said = held.said();
    assert!(said.contains("own=0") && said.contains("other=5") && said.contains("404 "), "{said}");
    assert!(said.contains("/srv/held/reader") && !said.contains("/srv/held/other"), "{said}");
    held.goes_on_when_approved();
    other.goes_on_when_approved();
}

#[test]
fn approval_is_not_got_by_stopping_the_keeper() {
    let mut held = Held::with("keeper-stopped", "kill -STOP $PPID; echo stopped=$?");
    assert!(held.said().contains("stopped=0"));
    eventually("a stopped keeper", || (proc_state(held.run.pid()) == Some('T')).then_some(()));
    never_within(Duration::from_secs(5), "the file goes", || !held.file.exists());
    held.still_waits();
    let (status, said) = said(&Command::new("kill").args(["-CONT", &held.run.pid().to_string()]).output().unwrap());
    assert_eq!(status, 0, "{said}");
    held.goes_on_when_approved();
}

#[test]
fn approval_is_not_got_by_killing_the_keeper() {
    let mut held = Held::with("keeper-killed", "kill -KILL $PPID");
    assert!(held.said().contains("over"));
    eventually("the keeper's end", || held.run.has_ended().then_some(()));
    never_within(Duration::from_secs(5), "the file goes", || !held.file.exists());
    held.still_waits();
    deny(&held.id);
    eventually("the refusal", || held.run.stdout().contains("rm=1").then_some(()));
    assert!(held.file.exists());
}

#[test]
fn approval_is_not_got_by_waking_a_held_sibling() {
    let wake = "i=0; while [ $i -lt 200 ]; do kill -CONT $held; kill -USR1 $$ ; i=$((i+1)); done";
    let mut held = Held::with("woken", &format!("trap : USR1\n{wake}"));
    held.said();
    held.goes_on_when_approved();
}

// Answers.

#[test]
fn approval_comes_once_and_the_second_is_told_who_was_first() {
    let first = Held::simple("twice");
    let second = Held::simple("twice-denied");
    let ids = [first.id.clone(), second.id.clone()];
    let mut by_approver = Command::new("agent-guard");
    as_user(by_approver.args(["approve", &ids[0]]), APPROVER).output().unwrap();
    deny(&ids[1]);
    for (id, word, who) in [(&ids[0], "approved", "approver"), (&ids[1], "denied", "root")] {
        for choice in ["approve", "deny"] {
            let (status, said) = said(&cli(&[choice, id]));
            assert_eq!(status, 6, "{said}");
            assert!(said.contains(&format!("request {id} is already {word} by {who} at 20")), "{said}");
            assert_eq!(answer(id, choice).status, 409);
        }
    }
    let (mut first, mut second) = (first, second);
    assert_eq!((first.run.wait(), second.run.wait()), (0, 0));
    assert!(!first.file.exists() && second.file.exists());
    assert_eq!(decisions(&ids[0]).len() + decisions(&ids[1]).len(), 2, "a second answer is no decision");
}

#[test]
fn approval_of_what_there_is_not_is_told_so() {
    let held = Held::simple("unknown");
    for id in ["ZZZZ", "0000", "zzzz9", "..", "../status", "%2e%2e", "a b", "", "\u{202e}7K2M", "-1", "💥"] {
        for verb in ["approve", "deny", "show"] {
            let (status, said) = said(&cli(&[verb, "--", id]));
            // The empty one is no path of any call.
            assert_eq!(status, 5, "{verb} {id:?}: {said}");
            assert!(!said.contains('\u{202e}'), "{said:?}");
        }
    }
    let long = "7".repeat(10_000);
    assert_eq!(said(&cli(&["approve", &long])).0, 5);
    for verb in ["halt", "resume", "kill"] {
        assert_eq!(said(&cli(&[verb, "no-such-session"])).0, 5);
    }
    held.goes_on_when_approved();
}

#[test]
fn approval_after_the_deadline_comes_too_late() {
    daemon();
    let file = file("brief", "late");
    let mut run = Run::shell("late", "rm /srv/brief/late; echo rm=$?");
    let id = id_of(&await_request_in("late"));
    assert_eq!(run.wait(), 0);
    assert!(run.stdout().contains("rm=1"), "{run:?}");
    let (status, said) = said(&cli(&["approve", &id]));
    assert_eq!(status, 6, "{said}");
    assert!(said.contains(&format!("request {id} is already expired at 20")), "{said}");
    assert!(file.exists());
    assert_eq!(request(&id)["state"], "expired");
    let stderr = run.stderr();
    assert!(stderr.contains("agent-guard: expired: delete /srv/brief/late"), "{stderr}");
}

#[test]
fn approval_denied_tells_the_held_process_why() {
    let mut held = Held::simple("why");
    let (status, said) = said(&cli(&["deny", &held.id, "--reason", "patch it \u{1b}[2J instead"]));
    assert_eq!((status, said), (0, format!("denied {}: delete /srv/held/why\n", held.id)));
    assert_eq!(held.run.wait(), 0);
    assert!(held.run.stdout().contains("rm=1") && held.file.exists(), "{:?}", held.run);
    let stderr = held.run.stderr();
    let line =
        stderr.lines().find(|line| line.starts_with("agent-guard: refused:")).unwrap_or_else(|| panic!("{stderr}"));
    assert!(line.contains("delete /srv/held/why") && line.contains("patch it"), "{line}");
    assert!(!stderr.contains('\u{1b}'), "{stderr:?}");
    assert_eq!(request(&held.id)["decision"]["reason"], "patch it \u{1b}[2J instead");
}

// What is shown.

#[test]
fn approval_requests_are_listed_and_watched() {
    daemon();
    let mut watch = Run::unguarded(&["agent-guard", "requests", "--watch", "--json", "--session", "watched"]);
    let held = Held::simple("watched");
    let id = held.id.clone();
    watch.await_stdout("pending");
    let (status, listed) = said(&cli(&["requests", "--json", "--state", "pending"]));
    let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
    let listed = listed.iter().find(|request| request["id"] == *id).unwrap();
    assert_eq!(status, 0);
    for (field, value) in
        [("operation", "delete"), ("object", "/srv/held/watched"), ("label", "held"), ("tier", "gated")]
    {
        assert_eq!(listed[field], value);
    }
    assert_eq!((&listed["session"]["name"], &listed["rule"]["message"]), (&json!("watched"), &json!("Ask.")));
    assert_eq!((&listed["process"]["comm"], &listed["process"]["user"]), (&json!("rm"), &json!("root")));
    let left = listed["left_ms"].as_u64().unwrap();
    assert!(left > 200_000 && left <= 300_000, "{left}");
    let table = said(&cli(&["requests"])).1;
    assert!(table.lines().any(|line| line.starts_with(&id) && line.contains("/srv/held/watched")), "{table}");
    held.goes_on_when_approved();
    watch.await_stdout("approved");
    let states: Vec<Value> = watch.stdout().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(states.iter().all(|request| request["id"] == *id), "{states:?}");
    assert_eq!(states.iter().map(|request| &request["state"]).collect::<Vec<_>>(), ["pending", "approved"]);
}

#[test]
fn approval_is_not_deceived_by_what_a_name_holds() {
    daemon();
    // Short enough not to be cut in a table.
    let name = "\n\u{1b}[2J\u{202e}\u{9b}y";
    let directory = "/srv/held/d";
    fs::create_dir_all(directory).unwrap();
    let file = Path::new(directory).join(name);
    fs::write(&file, "x").unwrap();
    let mut run = Run::guarded("deceit", &["rm", "-r", "-f", file.to_str().unwrap()]);
    let id = id_of(&await_request_in("deceit"));
    run.await_stderr("held");
    let shown = [
        ("requests", said(&cli(&["requests"])).1),
        ("show", said(&cli(&["show", &id])).1),
        ("sessions", said(&cli(&["sessions"])).1),
        ("the held line", run.stderr()),
        ("deny", said(&cli(&["deny", &id])).1),
    ];
    for (what, text) in &shown {
        let deceives = |character: char| {
            (character.is_control() && character != '\n') || matches!(character, '\u{200b}' | '\u{202a}'..='\u{202e}')
        };
        // Where the client colours its own words there is a terminal; here is none.
        assert!(!text.contains(deceives), "{what}: {text:?}");
        assert!(text.contains("\\u{202e}") || *what == "sessions", "{what} leaves it out: {text:?}");
    }
    assert_eq!(shown[3].1.lines().filter(|line| line.contains("held")).count(), 1, "{:?}", shown[3].1);
    // Programs get what it is, not what is shown of it.
    assert_eq!(request(&id)["object"], file.to_str().unwrap());
    run.wait();
    assert!(file.exists());
}

// The audit log.

/// Records about an object, in the file's order.
fn records(object: &Path) -> Vec<Value> {
    let is_about = |record: &Value| record["act"]["object"] == *object.to_str().unwrap();
    daemon().audit().into_iter().filter(is_about).collect()
}

fn decisions(id: &str) -> Vec<Value> {
    let is_it = |record: &Value| record["what"] == "decided" && record["request"] == *id;
    daemon().audit().into_iter().filter(is_it).collect()
}

fn whats(records: &[Value]) -> Vec<&str> {
    records.iter().map(|record| record["what"].as_str().unwrap()).collect()
}

/// What the kernel has told last may still be on its way.
fn settled(object: &Path, count: usize) -> Vec<Value> {
    let found = eventually("the records", || Some(records(object)).filter(|records| records.len() >= count));
    thread::sleep(Duration::from_millis(200));
    assert_eq!(records(object), found, "records come twice");
    found
}

#[test]
fn audit_has_one_record_for_the_question_the_decision_and_the_act_in_this_order() {
    let held = Held::simple("recorded");
    let (file, id) = (held.file.clone(), held.id.clone());
    assert_eq!(cli(&["approve", &id, "--reason", "why not"]).status.code(), Some(0));
    let mut run = held.run;
    assert_eq!(run.wait(), 0);
    let records = settled(&file, 3);
    assert_eq!(whats(&records), ["held", "decided", "passed"]);
    let questions: BTreeSet<u64> = records.iter().map(|record| record["question"].as_u64().unwrap()).collect();
    assert_eq!(questions.len(), 1, "they tell of one act");
    assert!(records.iter().all(|record| record["request"] == *id));
    let decided = &records[1];
    assert_eq!((&decided["decision"], &decided["reason"]), (&json!("approved"), &json!("why not")));
    assert_eq!((&decided["approver"]["user"], &decided["approver"]["uid"]), (&json!("root"), &json!(0)));
    assert_eq!(decided["act"]["session"]["name"], "recorded");
    assert_eq!(decided["act"]["process"]["comm"], "rm");
}

#[test]
fn audit_has_the_refusals() {
    let mut denied = Held::simple("recorded-denied");
    deny(&denied.id);
    denied.run.wait();
    let records_denied = settled(&denied.file, 3);
    assert_eq!(whats(&records_denied), ["held", "decided", "refused"]);
    assert_eq!(records_denied[1]["decision"], "denied");

    let brief = file("brief", "recorded-expired");
    Run::shell("recorded-expired", "rm /srv/brief/recorded-expired").wait();
    let expired = settled(&brief, 3);
    assert_eq!(whats(&expired), ["held", "decided", "refused"]);
    assert_eq!(expired[1]["decision"], "expired");
    assert!(expired[1]["approver"].is_null(), "nobody did: {}", expired[1]);

    let never = file("denied", "recorded-never");
    let mut run = Run::shell("recorded-never", "rm /srv/denied/recorded-never");
    assert_ne!(run.wait(), 0);
    let refused = settled(&never, 1);
    assert_eq!(whats(&refused), ["refused"]);
    assert_eq!(refused[0]["act"]["rule"]["name"], "refused");
    assert!(run.stderr().contains("agent-guard: refused: delete /srv/denied/recorded-never: "), "{run:?}");
    assert!(run.stderr().contains("Never."), "{run:?}");
}

#[test]
fn audit_has_what_passes_under_watch_and_nothing_of_what_is_allowed() {
    daemon();
    let watched = file("audited", "recorded");
    let allowed = PathBuf::from("/srv/allowed");
    fs::write(&allowed, "").unwrap();
    assert_eq!(Run::shell("recorded-audit", "rm /srv/audited/recorded /srv/allowed").wait(), 0);
    assert!(!watched.exists() && !allowed.exists());
    assert_eq!(whats(&settled(&watched, 1)), ["audited"]);
    assert_eq!(records(&allowed), Vec::<Value>::new());
    let outside = file("audited", "outside");
    fs::remove_file(&outside).unwrap();
    let denied = file("denied", "outside");
    fs::remove_file(&denied).unwrap();
    assert_eq!((records(&outside), records(&denied)), (Vec::new(), Vec::new()), "untagged acts are nobody's affair");
}

#[test]
fn audit_is_numbered_without_a_gap_and_closed_to_others() {
    let held = Held::simple("numbered");
    held.goes_on_when_approved();
    let numbers: Vec<u64> = daemon().audit().iter().map(|record| record["sequence"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    for (path, mode) in [("/var/log/agent-guard", 0o40700), ("/var/log/agent-guard/audit.jsonl", 0o100_600)] {
        let metadata = fs::symlink_metadata(path).unwrap();
        assert_eq!((metadata.mode(), metadata.uid()), (mode, 0), "{path}");
    }
    for user in [AGENT, APPROVER] {
        let mut read = Command::new("cat");
        assert!(!as_user(read.arg("/var/log/agent-guard/audit.jsonl"), user).output().unwrap().status.success());
    }
}

#[test]
fn audit_has_who_steers_sessions() {
    let mut held = Held::simple("steered");
    for verb in ["halt", "resume", "kill"] {
        assert_eq!(said(&cli(&[verb, "steered"])).0, 0);
    }
    eventually("its end", || held.run.has_ended().then_some(()));
    let is_it = |record: &Value| record["session"]["name"] == "steered";
    let ended = || daemon().audit().into_iter().filter(is_it).collect::<Vec<_>>();
    let records = eventually("its records", || Some(ended()).filter(|records| records.len() >= 5));
    let expected = ["session-started", "session-halted", "session-resumed", "session-killed", "session-ended"];
    assert_eq!(whats(&records), expected);
    assert!(records[1..4].iter().all(|record| record["approver"]["user"] == "root"));
    assert!(held.file.exists());
    let state = requests().into_iter().find(|request| request["id"] == *held.id).unwrap();
    assert_eq!(state["state"], "cancelled");
}
