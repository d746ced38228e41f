//! Hooks as they are really told: by a real shell, and by a real curl to a real server, from the daemon's own module.
//!
//! There is no daemon here: what it would tell is told by the tests.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod common;

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};
use std::{env, io};

use agent_guard::api::types::{Request, RequestState};
use agent_guard::notify::{Event, Hook, Notifier, Schedule, Tally, Way};
use agent_guard::system::user;
use common::request;
use hmac::{Hmac, Mac as _};
use jiff::Timestamp;
use serde_json::Value;

/// As the real one, and a hundred times as fast.
const FAST: Schedule =
    Schedule { first: Duration::from_millis(10), longest: Duration::from_secs(6), life: Duration::from_secs(864) };
const SECRET: &[u8] = b"a secret";
/// What the child of a test finds in its environment.
const CHILD: &str = "AGENT_GUARD_TEST_NOTIFY";

/// What a server was sent.
#[derive(Clone, Debug)]
struct Posted {
    headers: Vec<(String, String)>,
    body: String,
}

impl Posted {
    fn header(&self, name: &str) -> &str {
        let (_, value) = self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name)).unwrap();
        value
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// A server that answers with what it was told to, and then with 200.
struct Server {
    url: String,
    posted: Arc<Mutex<Vec<Posted>>>,
}

impl Server {
    fn start(answers: &'static [u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook?token=a%20b", listener.local_addr().unwrap());
        let posted = Arc::new(Mutex::new(Vec::new()));
        let (kept, mut answers) = (Arc::clone(&posted), answers.iter().copied());
        thread::spawn(move || {
            for stream in listener.incoming() {
                serve(stream.unwrap(), answers.next().unwrap_or(200), &kept).unwrap();
            }
        });
        Self { url, posted }
    }

    fn posted(&self) -> Vec<Posted> {
        self.posted.lock().unwrap().clone()
    }

    fn await_posts(&self, count: usize) -> Vec<Posted> {
        eventually("posts", || Some(self.posted()).filter(|posted| posted.len() >= count))
    }
}

fn serve(mut stream: TcpStream, answer: u16, kept: &Mutex<Vec<Posted>>) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    assert!(line.starts_with("POST /hook?token=a%20b HTTP/1.1"), "{line}");
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_owned(), value.to_owned()));
    }
    let mut posted = Posted { headers, body: String::new() };
    let mut body = vec![0; posted.header("Content-Length").parse().unwrap()];
    reader.read_exact(&mut body)?;
    posted.body = String::from_utf8(body).unwrap();
    kept.lock().unwrap().push(posted);
    write!(stream, "HTTP/1.1 {answer} Told\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
}

/// A directory that a hook without rights may write to.
fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o777)).unwrap();
    fs::write(directory.path().join("secret"), SECRET).unwrap();
    fs::set_permissions(directory.path().join("secret"), Permissions::from_mode(0o600)).unwrap();
    directory
}

fn hook(way: Way) -> Hook {
    Hook { on: Event::ALL.to_vec(), way, limit: Duration::from_secs(20) }
}

fn webhook(directory: &Path, url: &str) -> Hook {
    hook(Way::Webhook { url: url.to_owned(), secret_file: directory.join("secret") })
}

fn shell(user: &str, script: &str) -> Hook {
    let arguments = vec!["-c".to_owned(), script.to_owned()];
    hook(Way::Command { program: PathBuf::from("/bin/sh"), arguments, user: user.to_owned() })
}

/// Somebody whom a command can be run as here.
fn somebody() -> String {
    if user::current() == 0 { "nobody".to_owned() } else { user::name_of(user::current()).unwrap() }
}

fn start(directory: &Path, hooks: &[Hook]) -> Notifier {
    Notifier::start(hooks, &directory.join("notify.db"), FAST).unwrap()
}

fn tell(notifier: &Notifier, id: &str, state: RequestState) {
    notifier.tell(Timestamp::now(), &Arc::new(Request { state, ..request(id, 1000) }));
}

fn tally(notifier: &Notifier, hook: usize) -> (u64, u64, u64) {
    let Tally { sent, failed, dropped, .. } = notifier.tallies().remove(hook - 1);
    (sent, failed, dropped)
}

fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "not in time: {what}");
        sleep(Duration::from_millis(10));
    }
}

fn await_tally(notifier: &Notifier, hook: usize, expected: (u64, u64, u64)) {
    eventually(&format!("{expected:?} of hook {hook}, not {:?}", tally(notifier, hook)), || {
        (tally(notifier, hook) == expected).then_some(())
    });
}

#[test]
fn a_webhook_is_posted_signed_once_for_each_event() {
    let (directory, server) = (directory(), Server::start(&[]));
    let notifier = start(directory.path(), &[webhook(directory.path(), &server.url)]);
    let states = [RequestState::Pending, RequestState::Denied, RequestState::Denied, RequestState::Expired];
    for state in states {
        tell(&notifier, "J1RZ", state);
    }
    let posted = server.await_posts(3);
    await_tally(&notifier, 1, (3, 0, 0));
    let events: Vec<Value> = posted.iter().map(|post| post.json()["event"].clone()).collect();
    assert_eq!(events, ["new", "decided", "expired"]);
    for post in &posted {
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(SECRET).unwrap();
        mac.update(format!("{}.{}", post.header("X-Agent-Guard-Timestamp"), post.body).as_bytes());
        let signature = format!("{:x}", mac.finalize().into_bytes());
        assert_eq!(post.header("X-Agent-Guard-Signature"), format!("sha256={signature}"));
        let sent: i64 = post.header("X-Agent-Guard-Timestamp").parse().unwrap();
        assert!((0..60).contains(&(Timestamp::now().as_second() - sent)));
        assert_eq!(post.header("Content-Type"), "application/json");
    }
    let shown: Request = serde_json::from_value(posted[0].json()["request"].clone()).unwrap();
    assert_eq!(shown, request("J1RZ", 1000));
    sleep(Duration::from_millis(200));
    assert_eq!(server.posted().len(), 3);
}

#[test]
fn a_webhook_that_fails_is_tried_again_with_the_same_delivery() {
    let (directory, server) = (directory(), Server::start(&[503, 302]));
    let notifier = start(directory.path(), &[webhook(directory.path(), &server.url)]);
    tell(&notifier, "J1RZ", RequestState::Pending);
    let posted = server.await_posts(3);
    await_tally(&notifier, 1, (1, 0, 0));
    let ids: Vec<&str> = posted.iter().map(|post| post.header("X-Agent-Guard-Delivery")).collect();
    assert!(ids[0].len() == 26 && ids[1] == ids[0] && ids[2] == ids[0], "{ids:?}");
    assert!(posted.iter().all(|post| post.body == posted[0].body));
}

#[test]
fn a_webhook_that_nobody_takes_is_given_up() {
    let directory = directory();
    // A port that was free a moment ago.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let hooks = [webhook(directory.path(), &format!("http://{address}/"))];
    let schedule = Schedule { life: Duration::from_millis(300), ..FAST };
    let notifier = Notifier::start(&hooks, &directory.path().join("notify.db"), schedule).unwrap();
    tell(&notifier, "J1RZ", RequestState::Pending);
    await_tally(&notifier, 1, (0, 1, 0));
}

#[test]
fn what_waits_is_posted_after_a_restart() {
    let (directory, server) = (directory(), Server::start(&[503]));
    let hooks = [webhook(directory.path(), &server.url)];
    let slow = Schedule { first: Duration::from_millis(1500), ..FAST };
    let notifier = Notifier::start(&hooks, &directory.path().join("notify.db"), slow).unwrap();
    tell(&notifier, "J1RZ", RequestState::Pending);
    server.await_posts(1);
    tell(&notifier, "J2RZ", RequestState::Pending);
    notifier.close(Duration::from_secs(20));
    let notifier = start(directory.path(), &hooks);
    let posted = server.await_posts(3);
    await_tally(&notifier, 1, (2, 0, 0));
    let deliveries = |id: &str| -> Vec<String> {
        let of_it = posted.iter().filter(|post| post.json()["request"]["id"] == id);
        of_it.map(|post| post.header("X-Agent-Guard-Delivery").to_owned()).collect()
    };
    let (first, second) = (deliveries("J1RZ"), deliveries("J2RZ"));
    assert!(first.len() == 2 && first[0] == first[1] && second.len() == 1, "{first:?} {second:?}");
}

#[test]
fn what_waits_outlives_a_kill() {
    let (directory, server) = (directory(), Server::start(&[503]));
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "a_child_that_is_killed", "--nocapture"])
        .env(CHILD, format!("{} {}", directory.path().display(), server.url))
        .spawn()
        .map(Killed)
        .unwrap();
    server.await_posts(1);
    child.0.kill().unwrap();
    child.0.wait().unwrap();
    let notifier = start(directory.path(), &[webhook(directory.path(), &server.url)]);
    let posted = server.await_posts(2);
    await_tally(&notifier, 1, (1, 0, 0));
    assert_eq!(posted[1].header("X-Agent-Guard-Delivery"), posted[0].header("X-Agent-Guard-Delivery"));
}

/// A child that no failing test leaves behind.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        drop(self.0.kill());
    }
}

/// What another test runs and kills; by itself it does nothing.
#[test]
fn a_child_that_is_killed() {
    let Ok(told) = env::var(CHILD) else { return };
    let (directory, url) = told.split_once(' ').unwrap();
    let hooks = [webhook(Path::new(directory), url)];
    let slow = Schedule { first: Duration::from_secs(5), ..FAST };
    let notifier = Notifier::start(&hooks, &Path::new(directory).join("notify.db"), slow).unwrap();
    tell(&notifier, "J1RZ", RequestState::Pending);
    sleep(Duration::from_secs(120));
}

#[test]
fn a_broken_queue_is_put_aside_and_nothing_is_held_up() {
    let (directory, server) = (directory(), Server::start(&[]));
    fs::write(directory.path().join("notify.db"), "no database".repeat(1000)).unwrap();
    fs::set_permissions(directory.path().join("notify.db"), Permissions::from_mode(0o600)).unwrap();
    let notifier = start(directory.path(), &[webhook(directory.path(), &server.url)]);
    tell(&notifier, "J1RZ", RequestState::Pending);
    await_tally(&notifier, 1, (1, 0, 0));
    assert!(directory.path().join("notify.db.damaged").exists());
}

#[test]
fn a_queue_that_breaks_while_it_is_used_is_begun_anew() {
    let (directory, server) = (directory(), Server::start(&[]));
    let notifier = start(directory.path(), &[webhook(directory.path(), &server.url)]);
    tell(&notifier, "J1RZ", RequestState::Pending);
    await_tally(&notifier, 1, (1, 0, 0));
    for side in ["", "-wal"] {
        let file = fs::OpenOptions::new().write(true).open(directory.path().join(format!("notify.db{side}"))).unwrap();
        file.set_len(0).unwrap();
        (&file).write_all(&[0xa5; 20_000]).unwrap();
    }
    let (mut told, before) = (0, server.posted().len());
    eventually("a post by a new queue", || {
        tell(&notifier, &format!("K{told}"), RequestState::Pending);
        told += 1;
        sleep(Duration::from_millis(100));
        (server.posted().len() > before + 1).then_some(())
    });
}

#[test]
fn a_command_reads_the_message_without_rights_and_without_an_environment() {
    let directory = directory();
    let out = directory.path().join("out");
    let script =
        format!("cat >{0}; echo >>{0}; id -u >>{0}; export -p >>{0}; pwd >>{0}; mv {0} {0}.done", out.display());
    let notifier = start(directory.path(), &[Hook { on: vec![Event::Decided], ..shell(&somebody(), &script) }]);
    tell(&notifier, "J1RZ", RequestState::Pending);
    tell(&notifier, "J1RZ", RequestState::Approved);
    await_tally(&notifier, 1, (1, 0, 0));
    let text = fs::read_to_string(out.with_extension("done")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let message: Value = serde_json::from_str(lines[0]).unwrap();
    assert_eq!((&message["event"], &message["request"]["state"]), (&"decided".into(), &"approved".into()));
    let uid = if user::current() == 0 { 65534 } else { user::current() };
    assert_eq!(lines[1..], [&uid.to_string(), "export PWD='/'", "/"]);
}

#[test]
fn hooks_that_hang_flood_or_fail_keep_no_other_from_being_told() {
    let directory = directory();
    let out = directory.path().join("out");
    let user = somebody();
    let hooks = [
        Hook { limit: Duration::from_secs(2), ..shell(&user, "sleep 600") },
        Hook { limit: Duration::from_secs(2), ..shell(&user, "while :; do echo flood; echo flood >&2; done") },
        shell(&user, "echo wrong >&2; exit 1"),
        shell(&user, &format!("echo told >>{}", out.display())),
    ];
    let notifier = start(directory.path(), &hooks);
    for state in [RequestState::Pending, RequestState::Denied] {
        tell(&notifier, "J1RZ", state);
    }
    await_tally(&notifier, 4, (2, 0, 0));
    assert_eq!((tally(&notifier, 1), tally(&notifier, 2)), ((0, 0, 0), (0, 0, 0)));
    for hook in 1..=3 {
        await_tally(&notifier, hook, (0, 2, 0));
    }
    assert_eq!(fs::read_to_string(out).unwrap(), "told\ntold\n");
}

#[test]
fn telling_never_waits_and_what_finds_no_room_is_counted() {
    let directory = directory();
    let notifier = start(directory.path(), &[shell(&somebody(), "sleep 600")]);
    let start = Instant::now();
    for number in 0..5000 {
        tell(&notifier, &number.to_string(), RequestState::Pending);
    }
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    eventually("what is dropped", || (tally(&notifier, 1).2 > 3000).then_some(()));
    assert_eq!((tally(&notifier, 1).0, tally(&notifier, 1).1), (0, 0));
    let start = Instant::now();
    notifier.close(Duration::from_secs(20));
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[test]
fn without_hooks_there_is_nothing() {
    let directory = directory();
    let notifier = start(directory.path(), &[]);
    assert!(!notifier.has_hooks());
    tell(&notifier, "J1RZ", RequestState::Pending);
    assert!(notifier.tallies().is_empty() && !directory.path().join("notify.db").exists());
    notifier.close(Duration::ZERO);
}
