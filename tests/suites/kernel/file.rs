//! Files: every operation under every verdict, and the same for a process without a tag.

use std::fs;
use std::time::Duration;

use agent_guard_tests::guest::{
    Agent, approve, await_request_in, deny, eventually, judged, never_within, proc_state, request,
};

use crate::policy::{ALLOWED, AUDITED, DENIED, EXPIRING, HELD, KEPT};
use crate::{EPERM, agent, asked, daemon, directory, exists, id, passes_untagged};

/// One way to do an operation; `@` is the directory that it is done in.
struct Case {
    operation: &'static str,
    act: &'static str,
    /// The path that a request names.
    object: &'static str,
    /// Tells whether it has happened, if it leaves a trace.
    trace: Option<fn(&str) -> bool>,
}

fn is_gone(directory: &str) -> bool {
    !exists(&format!("{directory}/f"))
}

fn directory_is_gone(directory: &str) -> bool {
    !exists(&format!("{directory}/d"))
}

fn is_there(directory: &str) -> bool {
    exists(&format!("{directory}/new"))
}

fn is_moved(directory: &str) -> bool {
    is_gone(directory) && is_there(directory)
}

fn content(directory: &str, name: &str) -> String {
    fs::read_to_string(format!("{directory}/{name}")).unwrap_or_default()
}

fn is_replaced(directory: &str) -> bool {
    is_gone(directory) && content(directory, "g") == "data"
}

fn is_exchanged(directory: &str) -> bool {
    content(directory, "f") == "other" && content(directory, "g") == "data"
}

fn is_empty(directory: &str) -> bool {
    content(directory, "f").is_empty()
}

const fn case(
    operation: &'static str,
    act: &'static str,
    object: &'static str,
    trace: Option<fn(&str) -> bool>,
) -> Case {
    Case { operation, act, object, trace }
}

const CASES: &[Case] = &[
    case("read", "open @/f r", "@/f", None),
    case("read", "open-fd @/f r", "@/f", None),
    case("read", "list @", "@", None),
    case("write", "open @/f w", "@/f", None),
    case("write", "open @/f a", "@/f", None),
    case("write", "open @/f rw", "@/f", None),
    // A file without a name is known by the directory that it lies in.
    case("write", "open @ tmp", "@", None),
    case("create", "open @/new c", "@/new", Some(is_there)),
    case("create", "open @/new cx", "@/new", Some(is_there)),
    case("create", "open2 @/new c", "@/new", Some(is_there)),
    case("create", "mknod @/new", "@/new", Some(is_there)),
    case("create", "mkfifo @/new", "@/new", Some(is_there)),
    case("create", "mkdir @/new", "@/new", Some(is_there)),
    case("create", "symlink /nowhere @/new", "@/new", Some(is_there)),
    case("create", "bind @/new", "@/new", Some(is_there)),
    case("delete", "unlink @/f", "@/f", Some(is_gone)),
    case("delete", "unlinkat @/f", "@/f", Some(is_gone)),
    case("delete", "rmdir @/d", "@/d", Some(directory_is_gone)),
    case("rename", "rename @/f @/new", "@/f", Some(is_moved)),
    case("rename", "rename @/f @/g", "@/f", Some(is_replaced)),
    case("rename", "rename-new @/f @/new", "@/f", Some(is_moved)),
    case("rename", "exchange @/f @/g", "@/f", Some(is_exchanged)),
    case("link", "link @/f @/new", "@/f", Some(is_there)),
    case("link", "link-fd @/f @/new", "@/f", Some(is_there)),
    case("truncate", "truncate @/f", "@/f", Some(is_empty)),
    case("truncate", "open @/f wt", "@/f", Some(is_empty)),
    case("truncate", "open @/f rwt", "@/f", Some(is_empty)),
    case("truncate", "open @/f rt", "@/f", Some(is_empty)),
    case("truncate", "open @/f ct", "@/f", Some(is_empty)),
    case("write", "compat open @/f", "@/f", None),
    case("create", "compat mkdir @/new", "@/new", Some(is_there)),
    case("delete", "compat unlink @/f", "@/f", Some(is_gone)),
    case("rename", "compat rename @/f @/new", "@/f", Some(is_moved)),
    case("truncate", "compat truncate @/f", "@/f", Some(is_empty)),
];

impl Case {
    /// Makes a fresh directory for it.
    fn prepare(&self, parent: &str, test: &str) -> String {
        let path = directory(parent, test);
        fs::write(format!("{path}/f"), "data").unwrap();
        fs::write(format!("{path}/g"), "other").unwrap();
        fs::create_dir(format!("{path}/d")).unwrap();
        path
    }

    fn act(&self, directory: &str) -> String {
        self.act.replace('@', directory)
    }

    /// Whether nothing has happened.
    fn is_quiet(&self, directory: &str) -> bool {
        self.trace.is_none_or(|trace| !trace(directory))
    }

    /// Whether it has happened, as far as one can see.
    fn is_done(&self, directory: &str) -> bool {
        self.trace.is_none_or(|trace| trace(directory))
    }

    fn passes(&self, agent: &mut Agent, parent: &str, test: &str) {
        let path = self.prepare(parent, test);
        let errno = agent.errno(&self.act(&path));
        assert_eq!(errno, 0, "{} in {parent}", self.act);
        assert!(self.is_done(&path), "{}", self.act);
    }
}

/// Checks every case with one agent.
fn for_each(parent: &str, test: &str, agent: &mut Agent, check: impl Fn(&mut Agent, &Case, &str)) {
    for case in CASES {
        let path = case.prepare(parent, test);
        check(agent, case, &path);
    }
}

#[test]
fn hold_no_file_operation_of_an_untagged_process_is_seen() {
    daemon();
    let mut agent = Agent::unguarded();
    let before = judged();
    for parent in [ALLOWED, AUDITED, HELD, DENIED, EXPIRING] {
        CASES.iter().for_each(|case| case.passes(&mut agent, parent, "untagged"));
    }
    assert_eq!(judged(), before);
}

#[test]
fn hold_an_allowed_file_operation_passes_unasked() {
    let mut agent = agent("file-allow");
    CASES.iter().for_each(|case| case.passes(&mut agent, ALLOWED, "allow"));
    assert_eq!(asked("file-allow").len(), 0);
}

#[test]
fn audit_an_audited_file_operation_passes_and_is_recorded() {
    let mut agent = agent("file-audit");
    for case in CASES {
        case.passes(&mut agent, AUDITED, "audit");
        let object = case.object.replace('@', &format!("{AUDITED}/audit"));
        eventually(&format!("a record of {}", case.act), || {
            let audit = daemon().audit();
            let is_it = |record: &serde_json::Value| {
                record["what"] == "audited"
                    && record["act"]["session"]["name"] == "file-audit"
                    && record["act"]["operation"] == case.operation
                    && record["act"]["object"] == object.as_str()
            };
            audit.iter().any(is_it).then_some(())
        });
    }
    assert_eq!(asked("file-audit").len(), 0);
}

#[test]
fn hold_a_denied_file_operation_is_refused_without_a_trace() {
    let mut agent = agent("file-deny");
    for_each(DENIED, "deny", &mut agent, |agent, case, path| {
        assert_eq!(agent.errno(&case.act(path)), EPERM, "{}", case.act);
        assert!(case.is_quiet(path), "{}", case.act);
    });
    // A file without a name is written to as any other; a descriptor that may do neither is nobody's affair.
    let path = directory(DENIED, "deny");
    fs::write(format!("{path}/f"), "data").unwrap();
    assert_eq!(agent.errno(&format!("open {path} tmp")), EPERM);
    passes_untagged(&format!("open {path} tmp"));
    assert_eq!(agent.errno(&format!("open {path}/f path")), 0);
    assert_eq!(asked("file-deny").len(), 0);
}

#[test]
fn hold_a_file_operation_goes_on_after_approval_and_not_before_with_one_question() {
    let mut agent = agent("file-hold");
    let pid = agent.pid();
    for_each(HELD, "hold", &mut agent, |agent, case, path| {
        agent.begin(&case.act(path));
        let request = await_request_in("file-hold");
        assert_eq!(request["operation"], case.operation, "{}: {request}", case.act);
        assert_eq!(request["object"], case.object.replace('@', path).as_str(), "{}: {request}", case.act);
        assert_eq!(request["label"], "held", "{request}");
        eventually("its stop", || (proc_state(pid) == Some('T')).then_some(()));
        assert!(case.is_quiet(path), "{} before its approval", case.act);
        assert!(agent.result().is_none());
        approve(&id(&request));
        assert_eq!(agent.finish().errno, 0, "{}", case.act);
        assert!(case.is_done(path), "{}", case.act);
    });
    assert_eq!(asked("file-hold").len(), CASES.len(), "one question an operation");
}

#[test]
fn hold_a_file_operation_is_refused_without_a_trace_after_a_denial() {
    let mut agent = agent("file-refuse");
    for_each(HELD, "refuse", &mut agent, |agent, case, path| {
        agent.begin(&case.act(path));
        deny(&id(&await_request_in("file-refuse")));
        assert_eq!(agent.finish().errno, EPERM, "{}", case.act);
        assert!(case.is_quiet(path), "{}", case.act);
    });
    assert_eq!(asked("file-refuse").len(), CASES.len(), "one question an operation");
}

#[test]
fn hold_a_question_that_nobody_answers_is_a_refusal_told_apart_from_a_no() {
    let mut agent = agent("file-expire");
    let path = directory(EXPIRING, "expire");
    fs::write(format!("{path}/f"), "data").unwrap();
    agent.begin(&format!("unlink {path}/f"));
    let request = id(&await_request_in("file-expire"));
    assert_eq!(agent.finish().errno, EPERM);
    assert!(exists(&format!("{path}/f")));
    assert_eq!(agent_guard_tests::guest::request(&request)["state"], "expired");
    agent.run.await_stderr("expired");
}

#[test]
fn hold_a_truncation_by_descriptor_asks_once() {
    let mut agent = agent("ftruncate");
    let path = directory(KEPT, "ftruncate");
    for (count, act) in ["ftruncate", "truncate"].into_iter().enumerate() {
        let file = format!("{path}/{act}");
        fs::write(&file, "data").unwrap();
        agent.begin(&format!("{act} {file}"));
        let request = await_request_in("ftruncate");
        assert_eq!(request["operation"], "truncate");
        assert_eq!(fs::read_to_string(&file).unwrap(), "data");
        approve(&id(&request));
        assert_eq!(agent.finish().errno, 0);
        assert_eq!(fs::read_to_string(&file).unwrap(), "");
        assert_eq!(asked("ftruncate").len(), count + 1);
    }
}

#[test]
fn hold_an_approval_is_good_for_one_act() {
    let mut agent = agent("once");
    let path = directory(HELD, "once");
    let act = format!("open {path}/f w");
    fs::write(format!("{path}/f"), "data").unwrap();
    for count in 1..=3 {
        agent.begin(&act);
        let request = await_request_in("once");
        assert_eq!(asked("once").len(), count, "the same act is asked again");
        approve(&id(&request));
        assert_eq!(agent.finish().errno, 0);
    }
    // The answer to the last question was no, and says nothing of the next one.
    agent.begin(&act);
    deny(&id(&await_request_in("once")));
    assert_eq!(agent.finish().errno, EPERM);
    agent.begin(&act);
    let last = id(&await_request_in("once"));
    never_within(Duration::from_millis(300), "the act went on", || agent.result().is_some());
    approve(&last);
    assert_eq!(agent.finish().errno, 0);
    assert_eq!(request(&last)["state"], "approved");
}
