//! From an act's numbers to its names: what approver and audit log read, and whether a suspected command is one.
//!
//! Reads the held process, which may take time, so it runs beside the loop. It decides nothing: what it finds out
//! goes into `decision` as part of the question.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use agent_guard_common::command::ArgvHash;
use agent_guard_common::hash::SipKey;
use agent_guard_common::operation::Operation;
use agent_guard_common::session::state;
use agent_guard_common::verdict::{self, Judgement, Reason, Verdict};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::names;
use crate::decision::{Bound, Question, Ruling};
use crate::kernel::events::{self, Object};
use crate::policy::Compiled;
use crate::session::{self, Act, Impact, Intent, Mounts, Said};
use crate::system::clock;
use crate::system::held::{self, Command};
use crate::system::proc;
use crate::text;

/// Looks at a thread that has not stopped yet, and the pause between them: it stops on its way out of the call.
const LOOKS: u32 = 40;
const PAUSE: Duration = Duration::from_millis(5);
/// Time for reading the process: its memory may be a file that does not answer.
const EXAMINING: Duration = Duration::from_secs(2);
/// Time until a question's turn comes, behind others of its session.
const QUEUEING: Duration = Duration::from_secs(10);
/// Bytes of a process's mount table that are read.
const MOUNTINFO_BYTES: u64 = 1 << 20;
/// The variable in which a process says what it is going to do.
const INTENT: &[u8] = b"AGENT_GUARD_INTENT";
/// Bytes of it that are read.
const INTENT_BYTES: usize = 16 << 10;
/// Bytes of an environment that are looked through.
const ENVIRONMENT_BYTES: u64 = 256 << 10;
/// Time for a count of files, beyond its own bound: a file system may not answer.
const WEIGHING: Duration = Duration::from_millis(500);

/// What a question is completed with.
#[derive(Debug)]
pub(super) struct Context {
    /// The question, as far as it is known.
    pub(super) question: Question,
    /// The kernel's object.
    pub(super) object: Object,
    /// The session's first process.
    pub(super) root: u32,
    /// The host's mounts.
    pub(super) mounts: Arc<Mounts>,
    /// The places that the policy labels, as canonical paths.
    pub(super) labelled: Arc<BTreeSet<String>>,
    /// Whether somebody is going to read what the act would take with it.
    pub(super) weighs: bool,
    /// For a command: the policy that suspects it, the session's profile, and the key of hashes.
    pub(super) suspicion: Option<(Arc<Compiled>, u32, SipKey)>,
}

/// A seat of a session, which a reader takes along, so that one that does not come back keeps it.
type Seat = OwnedSemaphorePermit;

/// Completes a question, when one of its session's seats is free.
pub(super) async fn gather(context: Context, seats: Arc<Semaphore>) -> Question {
    gather_within(QUEUEING, context, seats).await
}

async fn gather_within(queueing: Duration, context: Context, seats: Arc<Semaphore>) -> Question {
    let spare = context.question.clone();
    // What is not known for sure is not asked: an approver must not answer for half of it.
    let refused = |why: &str| Question { ruling: Ruling::Refuse(why.to_owned()), ..spare };
    let Ok(Ok(seat)) = tokio::time::timeout(queueing, seats.acquire_owned()).await else {
        return refused("it could not be examined in time");
    };
    let examining = tokio::task::spawn_blocking(move || (complete(context), seat));
    match tokio::time::timeout(EXAMINING, examining).await {
        Ok(Ok(((question, Some(path)), seat))) if question.ruling == Ruling::Ask => {
            with_impact(question, path, seat).await
        }
        Ok(Ok(((question, _), _))) => question,
        Ok(Err(_panicked)) => refused("it could not be examined"),
        Err(_elapsed) => refused("it could not be examined in time"),
    }
}

async fn with_impact(question: Question, path: PathBuf, seat: Seat) -> Question {
    let weighing = tokio::task::spawn_blocking(move || {
        let weighed = session::weigh(&path);
        drop(seat);
        weighed
    });
    let unknown = Some(Impact { files: 0, bytes: 0, complete: false });
    let impact = match tokio::time::timeout(WEIGHING, weighing).await {
        Ok(weighed) => weighed.unwrap_or(unknown),
        Err(_) => unknown,
    };
    Question { act: Arc::new(Act { impact, ..Act::clone(&question.act) }), ..question }
}

/// Reads the process; returns also the path that is worth weighing.
fn complete(context: Context) -> (Question, Option<PathBuf>) {
    let Context { question, object, root, mounts, labelled, weighs, suspicion } = context;
    let foreign = proc::mountinfo(question.act.process.pid, MOUNTINFO_BYTES);
    let foreign = foreign.map(|table| Mounts::parse(&table)).unwrap_or_default();
    let process = session::describe(question.act.process.clone(), root);
    let act = Act { process, ..Act::clone(&question.act) };
    // Only paths look different from another mount namespace.
    let act = if matches!(object, Object::Endpoint { .. }) {
        act
    } else {
        let shown = names::object(&object, &[&mounts, &foreign]);
        Act { object: shown.object, other: shown.other, cut: shown.cut, ..act }
    };
    let destroys = matches!(act.operation, Operation::Delete | Operation::Rename);
    let weighed = (weighs && destroys && !act.cut).then(|| heaviest(&act.object, &labelled));
    let question = Question { act: Arc::new(act), ..question };
    let (mut question, weighed) = match suspicion {
        Some((compiled, profile, key)) => (examine(question, &object, &compiled, profile, key), None),
        None => (question, weighed),
    };
    // Of most commands that the kernel suspects nobody hears.
    if question.ruling != Ruling::Pass {
        Arc::make_mut(&mut question.act).intent = said(&question);
    }
    (question, weighed)
}

/// What the process says of its act in its environment; of a command, in that which it passes on.
fn said(question: &Question) -> Option<Arc<Intent>> {
    let (act, task) = (&question.act, question.key.task);
    let text = if matches!(act.operation, Operation::Exec | Operation::Command) {
        held::variable(task.tgid, task.tid, INTENT, INTENT_BYTES)
    } else {
        proc::variable(task.tgid, INTENT, ENVIRONMENT_BYTES).ok().flatten()
    };
    let said = text::from_bytes(&text.filter(|text| text.len() < INTENT_BYTES)?).parse::<Said>().ok()?;
    Some(Arc::new(Intent { said, at: clock::now().wall }))
}

/// Where the label begins under which an object lies; the object itself when labels only lie below it.
fn heaviest(object: &str, labelled: &BTreeSet<String>) -> PathBuf {
    let lies_in = |place: &&String| {
        object
            .strip_prefix(place.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || *place == "/")
    };
    let nearest = labelled.iter().filter(lies_in).max_by_key(|place| place.len());
    PathBuf::from(nearest.map_or(object, String::as_str))
}

/// Reads what the thread is about to execute, and matches it exactly.
fn examine(question: Question, object: &Object, compiled: &Compiled, profile: u32, key: SipKey) -> Question {
    let command = match read(question.key.task.tgid, question.key.task.tid) {
        Ok(command) => command,
        Err(failure) => return Question { ruling: Ruling::Refuse(failure.to_string()), ..question },
    };
    let behind = command.argv.get(1..).unwrap_or_default();
    let hash = |words: &[Vec<u8>]| {
        ArgvHash::of(key, &words.iter().flat_map(|word| word.iter().copied().chain([0])).collect::<Vec<u8>>())
    };
    // Without a vector the kernel gives the program an empty name.
    let (argv, name) = (hash(behind), hash(command.argv.get(..1).unwrap_or(&[Vec::new()])));
    let bound = Bound { argv, name, ..question.bound };
    let label = match_label(&command, object, compiled, profile);
    // All of it is hashed and matched; what is shown and kept has a limit.
    let (words, cut) = session::arguments(&command.argv);
    let cell = label.and_then(|label| compiled.cell(profile, Operation::Command, label));
    let rule = cell.and_then(|cell| compiled.rules.get(usize::from(cell.rule)));
    // What no pattern describes passes; a label without a cell is undecided.
    let ruling = rule_on(label.map_or(Verdict::Allow as u8, |_| cell.map_or(0, |cell| cell.verdict)));
    let act = &question.act;
    if act.operation == Operation::Exec {
        // The binary's own rule asks, and keeps asking; only a command rule that denies speaks before it.
        let ruling = if matches!(ruling, Ruling::Refuse(_)) { ruling } else { Ruling::Ask };
        let act = Act { process: session::Who { argv: words, ..act.process.clone() }, ..Act::clone(act) };
        return Question { bound, ruling, act: Arc::new(act), ..question };
    }
    let timeout = rule.and_then(|rule| u64::try_from(rule.timeout.as_nanos()).ok());
    // The kernel knows which file is executed; what the caller calls it is the caller's to choose.
    let shown: Vec<String> = [act.object.clone()].into_iter().chain(words.iter().skip(1).cloned()).collect();
    let act = Act {
        object: text::command_line(&shown),
        cut: cut || act.cut,
        label: label
            .and_then(|label| compiled.labels.get(usize::from(label)))
            .map_or(act.label.clone(), |label| label.name.clone()),
        rule: rule.map_or_else(|| act.rule.clone(), names::rule),
        tier: rule.map_or(act.tier, |rule| rule.tier),
        process: session::Who { argv: words, ..act.process.clone() },
        ..Act::clone(act)
    };
    Question { bound, ruling, timeout_ns: timeout.unwrap_or(question.timeout_ns), act: Arc::new(act), ..question }
}

/// What a cell's verdict means for a call that is held in an active session and has no answer.
fn rule_on(verdict: u8) -> Ruling {
    let facts = verdict::Facts {
        verdict,
        session: state::ACTIVE,
        heartbeat_age: 0,
        obstacle: Reason::None,
        answer: 0,
        asks: 0,
    };
    match verdict::judge(&facts) {
        Judgement::Pass => Ruling::Pass,
        Judgement::PassAudited => Ruling::PassAudited,
        Judgement::Ask => Ruling::Ask,
        Judgement::Refuse(reason) => Ruling::Refuse(reason.text().to_owned()),
        // Without an answer, in an active session, neither comes about.
        Judgement::PassApproved | Judgement::Park => Ruling::Refuse(Reason::Undecided.text().to_owned()),
    }
}

/// A program is known by the name of its file, and by the name that it was called by.
fn match_label(command: &Command, object: &Object, compiled: &Compiled, profile: u32) -> Option<u16> {
    let file = match object {
        Object::Program { path, .. } => path.names.last().map(Vec::as_slice),
        Object::File { .. }
        | Object::Ends { .. }
        | Object::Endpoint { .. }
        | Object::Socket(_)
        | Object::Process { .. }
        | Object::Call { .. } => None,
    };
    let called = command.path.rsplit(|byte| *byte == b'/').next().filter(|name| !name.is_empty());
    let names: Vec<&[u8]> = [file, called].into_iter().flatten().collect();
    compiled.match_command(profile, &names, command.argv.get(1..).unwrap_or_default())
}

/// The event is sent before the thread has stopped, so the first looks may find it running.
fn read(tgid: u32, tid: u32) -> Result<Command, held::Failure> {
    for _ in 1..LOOKS {
        match held::command(tgid, tid) {
            Err(held::Failure::NotHeld) => std::thread::sleep(PAUSE),
            other => return other,
        }
    }
    held::command(tgid, tid)
}

/// The question that an event of the kernel puts, before the process is read.
pub(super) fn question(event: &events::Act, act: Act, timeout_ns: u64, most_a_minute: u32) -> Question {
    Question {
        key: names::key(event.task, event.question),
        session: session::SessionKey { slot: event.session, serial: event.serial },
        bound: Bound { object: event.object_hash, argv: 0, name: 0, passes: event.passes },
        timeout_ns,
        most_a_minute,
        ruling: Ruling::Ask,
        act: Arc::new(act),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use std::sync::Arc;
    use std::time::Duration;

    use agent_guard_common::operation::Operation;
    use agent_guard_common::verdict::Tier;
    use tokio::sync::Semaphore;

    use super::{Context, gather, gather_within, heaviest, rule_on};
    use crate::decision::{Bound, Key, Question, Ruling, Task};
    use crate::kernel::events::Object;
    use crate::session::{Act, Rule, SessionKey, plain};

    fn context() -> Context {
        let pid = std::process::id();
        let act = Act {
            session: None,
            operation: Operation::Connect,
            object: "tcp 127.0.0.1:80 (www.example)".to_owned(),
            other: None,
            cut: false,
            label: "data".to_owned(),
            rule: Rule::named("ask"),
            tier: Tier::Gated,
            process: plain(pid, pid, 0, "test".to_owned()),
            impact: None,
            sent: None,
            intent: None,
        };
        let question = Question {
            key: Key { task: Task { tgid: pid, tid: pid }, question: 1 },
            session: SessionKey { slot: 1, serial: 1 },
            bound: Bound { object: 1, argv: 0, name: 0, passes: 1 },
            timeout_ns: 1,
            most_a_minute: 1,
            ruling: Ruling::Ask,
            act: Arc::new(act),
        };
        Context {
            question,
            object: Object::Endpoint { address: ([127, 0, 0, 1], 80).into(), protocol: 6, sent: None },
            root: pid,
            mounts: Arc::default(),
            labelled: Arc::default(),
            weighs: true,
            suspicion: None,
        }
    }

    #[tokio::test]
    async fn a_question_whose_turn_does_not_come_is_refused() {
        let seats = Arc::new(Semaphore::new(0));
        let question = gather_within(Duration::from_millis(20), context(), seats).await;
        assert_eq!(question.ruling, Ruling::Refuse("it could not be examined in time".to_owned()));
    }

    #[tokio::test]
    async fn a_question_that_was_examined_leaves_its_seat() {
        let seats = Arc::new(Semaphore::new(1));
        let question = gather(context(), Arc::clone(&seats)).await;
        assert_eq!((question.ruling, question.act.object.as_str()), (Ruling::Ask, "tcp 127.0.0.1:80 (www.example)"));
        assert!(question.act.process.exe.is_some());
        let seat = tokio::time::timeout(Duration::from_secs(5), seats.acquire()).await;
        assert!(seat.expect("is free").is_ok());
    }

    #[test]
    fn a_cell_means_what_the_kernel_makes_of_it() {
        let refused = |why: &str| Ruling::Refuse(why.to_owned());
        let expected = [
            (0, refused("the guard could not decide")),
            (1, Ruling::Pass),
            (2, Ruling::PassAudited),
            (3, Ruling::Ask),
            (4, refused("the policy denies it")),
        ];
        for (verdict, ruling) in expected {
            assert_eq!(rule_on(verdict), ruling, "{verdict}");
        }
    }

    #[test]
    fn what_is_weighed_is_the_label_that_the_object_lies_under() {
        let labelled = BTreeSet::from(["/srv".to_owned(), "/srv/prod".to_owned(), "/data/x".to_owned()]);
        let expected = [
            ("/srv/prod/db/1", "/srv/prod"),
            ("/srv/prod", "/srv/prod"),
            ("/srv/production", "/srv"),
            ("/data", "/data"),
        ];
        for (object, path) in expected {
            assert_eq!(heaviest(object, &labelled), Path::new(path), "{object}");
        }
        assert_eq!(heaviest("/etc/x", &BTreeSet::from(["/".to_owned()])), Path::new("/"));
    }
}
