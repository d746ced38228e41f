//! What people wait for: a daemon with ten thousand requests, on this machine, behind a recorded stream of kernel events.
//!
//! `cargo bench -p agent-guard --features rehearsal`. It prints figures, and fails where one is beyond its bound. The daemon is
//! the real one but for its programs; the threads that ask are there, and asleep.

#![expect(clippy::expect_used, clippy::panic, reason = "a measurement fails by panicking")]

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use agent_guard::audit::{Entry, Key, Log, What};
use agent_guard::system::clock;
use agent_guard_common::bytes_of;
use agent_guard_common::event::{Event, Head, kind};
use agent_guard_common::operation::Operation;

const REQUESTS: usize = 10_000;
const SESSIONS: usize = 8;
const PROCESSES: usize = 100;
/// Who answers at one time.
const PEOPLE: usize = 48;
/// Tells this program that it is to sleep.
const SLEEP: &str = "sleep";
const RECORDS: usize = 100_000;
const POLICY: &str = "\
version: 1
timeout: 1h
labels:
  data: { paths: [/srv/data] }
profiles:
  agent: { default: allow }
rules:
  - { name: asked, profiles: all, operations: delete, labels: data, verdict: hold }
";

/// A figure, and what it may be.
struct Figure {
    what: &'static str,
    found: f64,
    unit: &'static str,
    bound: f64,
    /// Whether more is better.
    is_rate: bool,
}

impl Figure {
    fn holds(&self) -> bool {
        if self.is_rate { self.found >= self.bound } else { self.found <= self.bound }
    }
}

fn main() -> ExitCode {
    if std::env::args().nth(1).is_some_and(|word| word == SLEEP) {
        sleep();
    }
    let directory = tempfile::tempdir().expect("a directory");
    let mut figures = vec![records(directory.path())];
    let mut daemon = Daemon::start(directory.path());
    daemon.ask(REQUESTS);
    figures.extend(daemon.listed());
    figures.push(daemon.memory());
    figures.extend(daemon.approved());
    figures.push(daemon.decided());
    let mut all_hold = true;
    for figure in &figures {
        let Figure { what, found, unit, bound, is_rate } = figure;
        let (sign, verdict) = (if *is_rate { ">=" } else { "<=" }, if figure.holds() { "ok" } else { "NOT MET" });
        println!("{what:<52} {found:>12.1} {unit:<4} ({sign} {bound:.0}) {verdict}");
        all_hold &= figure.holds();
    }
    if all_hold { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Records that the audit log takes in a second, where the disk is waited for once for every 64.
fn records(directory: &Path) -> Figure {
    let key = Key::open(&directory.join("bench.key")).expect("a key");
    let mut log = Log::open(&directory.join("bench-log"), "boot".to_owned(), key).expect("a log");
    let entry = Entry { reason: Some("as long as one may be".repeat(8)), ..Entry::new(clock::now(), What::Decided) };
    let start = Instant::now();
    for number in 1..=RECORDS {
        log.append(&entry, false).expect("is appended");
        if number % 64 == 0 {
            log.sync().expect("is on disk");
        }
    }
    let found = RECORDS as f64 / start.elapsed().as_secs_f64();
    Figure { what: "audit log, records, on disk in groups of 64", found, unit: "/s", bound: 20_000.0, is_rate: true }
}

struct Daemon {
    child: Child,
    stream: File,
    run: PathBuf,
    sleepers: Sleepers,
}

impl Daemon {
    fn start(directory: &Path) -> Self {
        let place = |name: &str| directory.join(name);
        fs::write(place("policy.yaml"), POLICY).expect("is written");
        let [pins, cgroups] = [place("pins"), place("cgroups")];
        let config = format!("pin_dir: {}\ncgroup_dir: {}\n", pins.display(), cgroups.display());
        fs::write(place("config.yaml"), config).expect("is written");
        // No session is started: a directory that looks like a cgroup is enough.
        fs::create_dir(&cgroups).expect("a directory");
        fs::write(cgroups.join("cgroup.procs"), "").expect("is written");
        nix::unistd::mkfifo(&place("stream"), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        let mut command = Command::new(env!("CARGO_BIN_EXE_agent-guard"));
        command.arg("--run-dir").arg(place("run")).arg("daemon");
        let flags =
            [("--config", "config.yaml"), ("--policy", "policy.yaml"), ("--state-dir", "state"), ("--log-dir", "log")];
        for (flag, name) in flags {
            command.arg(flag).arg(place(name));
        }
        command.env("AGENT_GUARD_REHEARSAL", place("stream")).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(File::create(place("daemon.log")).expect("a log"));
        let child = command.spawn().expect("the daemon starts");
        let stream = File::options().read(true).write(true).open(place("stream")).expect("the pipe");
        let mut daemon = Self { child, stream, run: place("run"), sleepers: Sleepers::start() };
        let start = Instant::now();
        while daemon.try_call("GET", "/v1/status").is_none() {
            let log = || fs::read_to_string(place("daemon.log")).unwrap_or_default();
            assert!(daemon.child.try_wait().expect("is waited for").is_none(), "the daemon ended: {}", log());
            assert!(start.elapsed() < Duration::from_secs(30), "the daemon does not answer: {}", log());
            thread::sleep(Duration::from_millis(20));
        }
        daemon
    }

    /// Has so many threads ask, and waits until all of it can be answered.
    fn ask(&mut self, count: usize) {
        for number in 1..=count {
            self.tell(kind::QUESTION, number);
        }
        let start = Instant::now();
        let wanted = format!("\"pending\":{count}");
        while !self.call("GET", "/v1/status").contains(&wanted) {
            assert!(start.elapsed() < Duration::from_secs(60), "{}", self.call("GET", "/v1/status"));
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// What the kernel would tell of the thread of this number, and its question.
    fn tell(&self, kind: u32, number: usize) {
        let (tgid, tid) = self.sleepers.tasks[number - 1];
        let mut event = Event::ZERO;
        let name = format!("file-{number:06}\0data\0srv\0");
        event.path[..name.len()].copy_from_slice(name.as_bytes());
        event.head = Head {
            kind,
            operation: Operation::Delete as u32,
            session: (number % SESSIONS) as u32 + 1,
            serial: (number % SESSIONS) as u64 + 1,
            generation: 1,
            question: number as u64,
            object: number as u64,
            task: u64::from(tgid) << 32 | u64::from(tid),
            passes: 1,
            rule: 1,
            label: 1,
            path_bytes: name.len() as u32,
            ..Head::ZERO
        };
        let record = bytes_of(&event);
        let mut frame = (record.len() as u32).to_le_bytes().to_vec();
        frame.extend_from_slice(record);
        // Less than a pipe takes at once: two that write do not mix.
        (&self.stream).write_all(&frame).expect("is taken");
    }

    fn listed(&self) -> [Figure; 1] {
        let mut times: Vec<f64> = (0..20)
            .map(|_| {
                let start = Instant::now();
                let body = self.call("GET", "/v1/requests?state=pending");
                assert!(body.len() > REQUESTS * 100, "{} bytes", body.len());
                start.elapsed().as_secs_f64() * 1000.0
            })
            .collect();
        times.sort_by(f64::total_cmp);
        [Figure {
            what: "list of 10,000 pending, median of 20",
            found: times[10],
            unit: "ms",
            bound: 100.0,
            is_rate: false,
        }]
    }

    fn memory(&self) -> Figure {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("the daemon runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its memory");
        let kib: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        Figure { what: "daemon, most memory so far", found: kib / 1024.0, unit: "MiB", bound: 64.0, is_rate: false }
    }

    fn approved(&self) -> [Figure; 1] {
        let mut times: Vec<f64> = self.pending().iter().take(1000).map(|asked| self.approve(asked)).collect();
        times.sort_by(f64::total_cmp);
        let what = "approve one of 10,000, p99 of 1,000";
        [Figure { what, found: times[times.len() * 99 / 100], unit: "ms", bound: 20.0, is_rate: false }]
    }

    /// All that is left, by as many people at once as may call.
    fn decided(&self) -> Figure {
        let pending = self.pending();
        let (next, start) = (AtomicUsize::new(0), Instant::now());
        thread::scope(|scope| {
            for _ in 0..PEOPLE {
                scope.spawn(|| {
                    while let Some(asked) = pending.get(next.fetch_add(1, Ordering::SeqCst)) {
                        self.approve(asked);
                    }
                });
            }
        });
        let found = pending.len() as f64 / start.elapsed().as_secs_f64();
        Figure { what: "decided, kept and recorded, on disk", found, unit: "/s", bound: 2_000.0, is_rate: true }
    }

    /// The ids of what waits, and the numbers of the threads.
    fn pending(&self) -> Vec<(String, usize)> {
        let body = self.call("GET", "/v1/requests?state=pending");
        let list: Vec<serde_json::Value> = serde_json::from_str(&body).expect("a list");
        let asked = |request: &serde_json::Value| {
            let object = request["object"].as_str().expect("an object");
            let number = object.rsplit('-').next().and_then(|number| number.parse().ok());
            (request["id"].as_str().expect("an id").to_owned(), number.expect("a number"))
        };
        list.iter().map(asked).collect()
    }

    /// Approves a request, and tells that its thread has gone on; returns how long the approval took, in milliseconds.
    fn approve(&self, (id, number): &(String, usize)) -> f64 {
        let start = Instant::now();
        let body = self.call("POST", &format!("/v1/requests/{id}/approve"));
        assert!(body.contains("\"approved\""), "{body}");
        let took = start.elapsed().as_secs_f64() * 1000.0;
        self.tell(kind::USED, *number);
        took
    }

    fn call(&self, method: &str, path: &str) -> String {
        self.try_call(method, path).unwrap_or_else(|| panic!("{method} {path} is not answered"))
    }

    fn try_call(&self, method: &str, path: &str) -> Option<String> {
        let mut socket = UnixStream::connect(self.run.join("control.sock")).ok()?;
        let body = if method == "POST" { "{}" } else { "" };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: daemon\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        socket.write_all(head.as_bytes()).ok()?;
        let mut reader = BufReader::new(socket);
        let mut line = String::new();
        while reader.read_line(&mut line).ok()? > 2 {
            line.clear();
        }
        let mut body = String::new();
        reader.read_to_string(&mut body).ok()?;
        Some(body)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It is this program's own child; one that has ended already is what was wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Processes whose threads do nothing: each thread asks one question.
struct Sleepers {
    children: Vec<Child>,
    tasks: Vec<(u32, u32)>,
}

impl Sleepers {
    fn start() -> Self {
        let mut sleepers = Self { children: Vec::new(), tasks: Vec::new() };
        for _ in 0..PROCESSES {
            let mut command = Command::new(std::env::current_exe().expect("a program"));
            command.arg(SLEEP).stdin(Stdio::null()).stdout(Stdio::piped());
            let mut child = command.spawn().expect("a process");
            let output = BufReader::new(child.stdout.take().expect("a pipe"));
            let tids =
                output.lines().take(REQUESTS / PROCESSES).map(|line| line.expect("a line").parse().expect("an id"));
            sleepers.tasks.extend(tids.map(|tid| (child.id(), tid)));
            sleepers.children.push(child);
        }
        sleepers
    }
}

impl Drop for Sleepers {
    fn drop(&mut self) {
        for child in &mut self.children {
            // They are this program's own children.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// One of those processes: says its threads' ids, and sleeps until it is killed.
fn sleep() -> ! {
    for _ in 1..REQUESTS / PROCESSES {
        let sleeper = thread::Builder::new().stack_size(16 << 10).spawn(|| {
            println!("{}", nix::unistd::gettid());
            loop {
                thread::park();
            }
        });
        drop(sleeper.expect("a thread"));
    }
    println!("{}", nix::unistd::gettid());
    loop {
        thread::park();
    }
}
