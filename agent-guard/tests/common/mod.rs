//! What the tests of the socket and of `run` share: the real server with a loop that answers its calls from a short
//! list, in place of a daemon. The kernel is not imitated: nothing is ever held.

// Each test program uses its part of this.
#![allow(dead_code, unreachable_pub, reason = "shared by several test programs")]

use agent_guard::api::call::{Admitted, Call, Choice, Incoming, Unwritten, Watch};
use agent_guard::api::metrics::{Audit, Ended, Metrics};
use agent_guard::api::server::{Listeners, serve};
use agent_guard::api::types::{
    Adopt, Ancestor, AnswerBody, Approval, ApprovalScope, Decision, Failure, Grant, Impact, Intent, IntentBody, Notice,
    Outcomes, PolicyStatus, Process, Reach, Request, RequestState, RuleRef, Session, SessionRef, SessionState,
    StartSession, Status, Variable, Variables,
};
use agent_guard::api::{Refusal, Reply, Standing, authz::Scope};
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{env, fs, process, thread};
use tokio::sync::{broadcast, mpsc, oneshot};

/// What the loop is to say, and what it has heard.
#[derive(Debug)]
pub struct Script {
    /// Where every peer stands.
    pub standing: Standing,
    /// The requests there are.
    pub requests: Vec<Request>,
    /// Where changes of requests are told.
    pub changes: broadcast::Sender<Arc<Request>>,
    /// Answers that were given.
    pub answers: Vec<(String, Choice, AnswerBody)>,
    /// What agents have said.
    pub intents: Vec<IntentBody>,
    /// The approvals that hold on.
    pub grants: Vec<Grant>,
    /// What `run` has asked for, and by whom.
    pub started: Vec<(StartSession, u32)>,
    /// Sessions that were given up.
    pub released: Vec<String>,
    /// Notices for every session that asks for them.
    pub notices: Vec<Notice>,
    /// Keeps streams of notices open.
    pub streams: Vec<mpsc::Sender<Notice>>,
    /// Ends streams as soon as all is said.
    pub end_streams: bool,
    /// Tries to tell its status and cannot.
    pub fail_status: bool,
    /// Says no to sessions.
    pub refuse_start: bool,
    /// Says nothing to who wants a session, who waits here.
    pub hold_start: bool,
    pub waiting: Vec<Reply<Session>>,
    /// The credentials there are among variables.
    pub variables: Vec<Variable>,
    /// What was asked about them.
    pub asked: Vec<Variables>,
}

/// A server with its loop, in a directory of its own.
#[derive(Debug)]
pub struct Daemon {
    /// The run directory.
    pub dir: PathBuf,
    /// What it says and hears.
    pub script: Arc<Mutex<Script>>,
    /// Where its metrics are served besides.
    pub port: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A directory that no other test uses.
pub fn scratch() -> PathBuf {
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let dir = env::temp_dir().join(format!("agent-guard-test-{}-{number}", process::id()));
    drop(fs::remove_dir_all(&dir));
    fs::create_dir_all(&dir).unwrap();
    dir
}

impl Daemon {
    pub fn start() -> Self {
        Self::start_in(scratch())
    }

    pub fn start_in(dir: PathBuf) -> Self {
        let script = Script {
            standing: Standing::Free,
            requests: vec![request("7K2M", 0), request("9XYZ", 4_000_000)],
            changes: broadcast::Sender::new(16),
            answers: Vec::new(),
            intents: Vec::new(),
            grants: Vec::new(),
            started: Vec::new(),
            released: Vec::new(),
            notices: Vec::new(),
            streams: Vec::new(),
            end_streams: false,
            fail_status: false,
            refuse_start: false,
            hold_start: false,
            waiting: Vec::new(),
            variables: Vec::new(),
            asked: Vec::new(),
        };
        let script = Arc::new(Mutex::new(script));
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let (own_script, own_dir) = (Arc::clone(&script), dir.clone());
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let mut listeners = Listeners::open(&own_dir).unwrap();
                listeners.add_port("127.0.0.1:0".parse().unwrap()).unwrap();
                ready.send(listeners.port().unwrap()).unwrap();
                let (calls, incoming) = mpsc::channel(16);
                let answering = tokio::spawn(answer_all(incoming, own_script));
                serve(listeners, calls, async { drop(stopped.await) }).await.unwrap();
                answering.abort();
            });
        });
        let port = is_ready.recv().unwrap();
        Self { dir, script, port, stop: Some(stop), thread: Some(thread) }
    }

    /// Has a request be asked, or changed.
    pub fn tell(&self, request: Request) {
        let mut script = self.script.lock().unwrap();
        script.requests.retain(|known| known.id != request.id);
        script.requests.push(request.clone());
        drop(script.changes.send(Arc::new(request)));
    }

    /// Stops the server, as a daemon that is gone.
    pub fn stop(&mut self) {
        self.script.lock().unwrap().streams.clear();
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    /// Sends bytes to a socket and reads until it closes.
    pub fn raw(&self, socket: &str, bytes: &[u8]) -> String {
        let mut stream = connect(&self.dir, socket);
        // A server that has seen enough closes early; what it said is what counts.
        drop(stream.write_all(bytes));
        let mut text = Vec::new();
        drop(stream.read_to_end(&mut text));
        String::from_utf8_lossy(&text).into_owned()
    }

    /// A call with a body; the status line's number and the body.
    pub fn call(&self, socket: &str, method: &str, path: &str, body: &str) -> (u16, String) {
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
        split(&self.raw(socket, (head + body).as_bytes()))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop();
        drop(fs::remove_dir_all(&self.dir));
    }
}

/// Status and body of an answer.
pub fn split(answer: &str) -> (u16, String) {
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    (status, body)
}

pub fn connect(dir: &Path, socket: &str) -> UnixStream {
    let stream = UnixStream::connect(dir.join(socket)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// An approval that reaches to more of a session of this user.
pub fn grant(id: &str, uid: u32) -> Grant {
    let Request { session, operation, object, rule, .. } = request(id, uid);
    Grant {
        id: id.to_owned(),
        scope: ApprovalScope::Process,
        session,
        pid: 4242,
        comm: "rm".into(),
        operation,
        object,
        rule,
        approved: Decision { uid: Some(0), user: None, at: "2026-01-01T00:00:00Z".parse().unwrap(), reason: None },
        until: None,
        left_ms: None,
        used: 3,
    }
}

/// A request of a session of this user.
pub fn request(id: &str, uid: u32) -> Request {
    Request {
        id: id.to_owned(),
        state: RequestState::Pending,
        session: SessionRef { id: format!("S{uid}"), name: "demo".into(), profile: "autonomous".into(), uid },
        operation: "delete".into(),
        object: "/srv/prod/db\x1b[2J".into(),
        other: None,
        cut: false,
        label: "production-data".into(),
        rule: RuleRef { name: "prod".into(), message: Some("Ask first.".into()) },
        tier: "gated".into(),
        process: Process {
            pid: 4242,
            tid: 4242,
            uid,
            user: None,
            comm: "rm".into(),
            argv: vec!["rm".into(), "-rf".into(), "/srv/prod".into()],
            cwd: Some("/root".into()),
            ancestry: vec![Ancestor { pid: 4200, comm: "bash".into(), argv: vec!["bash".into()] }],
        },
        threads: 1,
        impact: Some(Impact { files: 12, bytes: 34_567, complete: true }),
        sent: None,
        credentials: Vec::new(),
        intent: None,
        approval: Approval {
            approvers: 1,
            group: None,
            demands: Vec::new(),
            widest: ApprovalScope::Session,
            consents: Vec::new(),
        },
        asked_at: "2026-01-01T00:00:00Z".parse().unwrap(),
        expires_at: "2026-01-01T00:05:00Z".parse().unwrap(),
        left_ms: 250_000,
        decision: None,
        outcome: None,
    }
}

fn session(start: &StartSession, uid: u32) -> Session {
    Session {
        id: format!("S{uid}"),
        name: start.name.clone().unwrap_or_else(|| "demo".into()),
        profile: start.profile.clone().unwrap_or_else(|| "autonomous".into()),
        state: SessionState::Starting,
        halted: None,
        uid,
        user: None,
        root_pid: start.child_pid,
        argv: start.argv.clone(),
        cwd: start.cwd.clone(),
        started_at: "2026-01-01T00:00:00Z".parse().unwrap(),
        tasks: 1,
        pending: 0,
        outcomes: Outcomes::default(),
        credentials: Vec::new(),
        cgroup: None,
    }
}

fn status() -> Status {
    let at = "2026-01-01T00:00:00Z".parse().unwrap();
    Status {
        version: "0.1.0".into(),
        pid: process::id(),
        started_at: at,
        kernel: "6.12.0".into(),
        policy: PolicyStatus {
            path: "/etc/agent-guard/policy.yaml".into(),
            generation: 1,
            loaded_at: at,
            rules: 1,
            labels: 1,
            profiles: vec!["autonomous".into()],
        },
        sessions: 0,
        pending: 2,
        audit_log: "/var/log/agent-guard/audit.jsonl".into(),
        judged: Vec::new(),
        failures: Vec::new(),
    }
}

/// Figures of each kind.
fn metrics() -> Metrics {
    let took = vec![(1, 3), (60, 2)];
    let failure = Failure { place: "event lost".into(), errno: "ENOSPC".into(), count: 4 };
    Metrics {
        version: "0.1.0",
        uptime_ns: 90_500_000_000,
        generation: 2,
        pending: 2,
        oldest_ns: 12_000_000_000,
        asked: 20,
        ended: ["approved", "denied"]
            .map(|standing| Ended { standing, took: took.clone(), longer: 1, sum_ns: 99_000_000_000 })
            .into(),
        withdrawn: 1,
        crowded_out: 5,
        grants: 1,
        sessions: vec![("starting", 0), ("active", 3), ("halted", 1)],
        judged: vec![("passed", 1_000_000), ("refused", 7)],
        failures: vec![failure],
        audit: Audit { records: 40, failed: 2, sequence: 4_040 },
    }
}

async fn answer_all(mut incoming: mpsc::Receiver<Incoming>, script: Arc<Mutex<Script>>) {
    while let Some(call) = incoming.recv().await {
        let standing = match call.peer.is_alive() {
            true => script.lock().unwrap().standing.clone(),
            false => Standing::Guarded { session: None },
        };
        if let Some(admitted) = call.admit(&standing) {
            answer(admitted, &mut script.lock().unwrap());
        }
    }
}

/// A reply that nobody waits for any more is no failure of the test.
fn answer(Admitted { peer, scope, call }: Admitted, script: &mut Script) {
    let covered = |scope: &Scope, request: &&Request| scope.covers_ref(&request.session);
    let unwritten = |request: &Request| {
        let request = request.clone();
        Unwritten::new(move || Some(request.clone()))
    };
    match call {
        Call::Permission { reply, .. } => drop(reply.send(Ok(()))),
        Call::Requests { filter, reply } => {
            let all = script.requests.iter().filter(|request| covered(&scope, request) && filter.wants(request));
            drop(reply.send(Ok(all.map(unwritten).collect())));
        }
        Call::WatchRequests { reply, .. } => {
            let known = script.requests.iter().filter(|request| covered(&scope, request)).map(unwritten).collect();
            let changes = match script.end_streams {
                true => broadcast::Sender::new(1).subscribe(),
                false => script.changes.subscribe(),
            };
            drop(reply.send(Ok(Watch { known, changes, scope })));
        }
        Call::Request { id, reply } => {
            let found = script.requests.iter().find(|request| request.id == id && covered(&scope, request));
            drop(reply.send(found.cloned().ok_or(Refusal::UnknownRequest { id })));
        }
        Call::Answer { said, reply, .. } if said.seconds.is_some_and(|seconds| !(1..=86_400).contains(&seconds)) => {
            drop(reply.send(Err(Refusal::Unacceptable("an approval is for 1 to 86400 seconds".into()))));
        }
        Call::Answer { id, choice, said, reply } => {
            let found = script.requests.iter_mut().find(|request| request.id == id);
            drop(reply.send(decide(found, &id, choice, said.reason.clone(), peer.uid)));
            if let Some(request) = script.requests.iter().find(|request| request.id == id) {
                drop(script.changes.send(Arc::new(request.clone())));
            }
            script.answers.push((id, choice, said));
        }
        Call::Reach { id, reply, .. } if !script.requests.iter().any(|request| request.id == id) => {
            drop(reply.send(Err(Refusal::UnknownRequest { id })));
        }
        Call::Reach { reply, .. } => drop(reply.send(Ok(Reach {
            rule: "prod\x1b[2J".into(),
            operations: vec!["delete".into(), "rename".into()],
            labels: vec!["production-data".into()],
            waiting: 2,
            widest: ApprovalScope::Session,
        }))),
        Call::Declare { body, reply } if body.seconds.is_some_and(|seconds| !(1..=3600).contains(&seconds)) => {
            drop(reply.send(Err(Refusal::Unacceptable("an intent is for 1 to 3600 seconds".into()))));
        }
        Call::Declare { body, reply } => {
            let IntentBody { why, alternatives, rollback, covers, .. } = body.clone();
            let lacks = if rollback.is_none() { vec!["rollback".to_owned()] } else { Vec::new() };
            let at = "2026-01-01T00:00:00Z".parse().unwrap();
            drop(reply.send(Ok(Intent { why, alternatives, rollback, covers, at, lacks })));
            script.intents.push(body);
        }
        Call::Grants { reply } => {
            let covered = script.grants.iter().filter(|grant| scope.covers_ref(&grant.session));
            drop(reply.send(Ok(covered.cloned().collect())));
        }
        Call::Grant { id, reply } | Call::Revoke { id, reply } => {
            let found = script.grants.iter().find(|grant| grant.id == id && scope.covers_ref(&grant.session));
            drop(reply.send(found.cloned().ok_or(Refusal::UnknownGrant { id })));
        }
        Call::StartSession { reply, .. } if script.refuse_start => {
            drop(reply.send(Err(Refusal::Unacceptable("no profile nosuch; there are: autonomous".into()))));
        }
        Call::StartSession { reply, .. } if script.hold_start => script.waiting.push(reply),
        Call::Variables { asked, reply } => {
            let found = script.variables.iter().filter(|variable| asked.names.contains(&variable.name));
            drop(reply.send(Ok(found.cloned().collect())));
            script.asked.push(asked);
        }
        Call::StartSession { start, reply } => {
            drop(reply.send(Ok(session(&start, peer.uid))));
            script.started.push((start, peer.pid));
        }
        Call::Adopt { adopt: Adopt { pid, name, profile }, reply } => {
            let start = StartSession { name, profile, child_pid: pid, argv: vec![], cwd: "/".into() };
            drop(reply.send(Ok(session(&start, peer.uid))));
        }
        Call::Release { id, reply } => {
            script.released.push(id);
            drop(reply.send(Ok(())));
        }
        Call::Notices { reply, .. } => {
            let (sender, receiver) = mpsc::channel(64);
            for notice in script.notices.drain(..) {
                sender.try_send(notice).unwrap();
            }
            if !script.end_streams {
                script.streams.push(sender);
            }
            drop(reply.send(Ok(receiver)));
        }
        Call::Steer { id, reply, .. } | Call::Session { id, reply } if id != "demo" => {
            drop(reply.send(Err(Refusal::UnknownSession { id })));
        }
        Call::Steer { reply, .. } | Call::Session { reply, .. } => {
            let start = StartSession { name: None, profile: None, child_pid: 1, argv: vec![], cwd: "/".into() };
            drop(reply.send(Ok(session(&start, peer.uid))));
        }
        Call::Sessions { reply } => drop(reply.send(Ok(Vec::new()))),
        Call::Status { reply } if script.fail_status => {
            drop(reply.send(Err(Refusal::Failed("the counters cannot be read".into()))));
        }
        Call::Status { reply } => drop(reply.send(Ok(status()))),
        Call::Metrics { reply } => drop(reply.send(Ok(metrics()))),
        Call::PolicyReload { reply } => drop(reply.send(Err(Refusal::BadPolicy {
            path: "/etc/agent-guard/policy.yaml".into(),
            faults: vec!["1:1: expected version".into()],
        }))),
    }
}

fn decide(
    found: Option<&mut Request>,
    id: &str,
    choice: Choice,
    reason: Option<String>,
    uid: u32,
) -> Result<Request, Refusal> {
    let request = found.ok_or_else(|| Refusal::UnknownRequest { id: id.to_owned() })?;
    if let Some(decision) = &request.decision {
        let (id, state, decision) = (id.to_owned(), request.state, decision.clone());
        return Err(Refusal::AlreadyDecided { id, state, decision });
    }
    request.state = match choice {
        Choice::Approve => RequestState::Approved,
        Choice::Deny => RequestState::Denied,
        Choice::Cancel => RequestState::Cancelled,
    };
    let at = "2026-01-01T00:01:00Z".parse().unwrap();
    request.decision = Some(Decision { uid: Some(uid), user: Some("ann".into()), at, reason });
    Ok(request.clone())
}
