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
use agent_guard_common::verdict::Verdict;

use super::names;
use crate::decision::{Question, Ruling};
use crate::kernel::events::{self, Object};
use crate::policy::Compiled;
use crate::session::{self, Act, Impact, Mounts, Rule};
use crate::system::held::{self, Command};
use crate::system::proc;
use crate::text;

/// Looks at a thread that has not stopped yet, and the pause between them: it stops on its way out of the call.
const LOOKS: u32 = 40;
const PAUSE: Duration = Duration::from_millis(5);
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
    pub(super) mounts: Mounts,
    /// The places that the policy labels, as canonical paths.
    pub(super) labelled: BTreeSet<String>,
    /// For a command: the policy that suspects it, the session's profile, and the key of hashes.
    pub(super) suspicion: Option<(Arc<Compiled>, u32, SipKey)>,
}

/// Completes a question.
pub(super) async fn gather(context: Context) -> Question {
    let spare = context.question.clone();
    let Ok((question, weighed)) = tokio::task::spawn_blocking(move || complete(context)).await else {
        // The reader is gone, so nothing is known for sure: an approver must not be asked about half of it.
        return Question { ruling: Ruling::Refuse("it could not be examined".to_owned()), ..spare };
    };
    match weighed {
        Some(path) if question.ruling == Ruling::Ask => with_impact(question, path).await,
        _ => question,
    }
}

async fn with_impact(question: Question, path: PathBuf) -> Question {
    let weighing = tokio::task::spawn_blocking(move || session::weigh(&path));
    let unknown = Some(Impact { files: 0, bytes: 0, complete: false });
    let impact = match tokio::time::timeout(WEIGHING, weighing).await {
        Ok(weighed) => weighed.unwrap_or(unknown),
        Err(_) => unknown,
    };
    Question { act: Arc::new(Act { impact, ..Act::clone(&question.act) }), ..question }
}

/// Reads the process; returns also the path that is worth weighing.
fn complete(context: Context) -> (Question, Option<PathBuf>) {
    let Context { question, object, root, mounts, labelled, suspicion } = context;
    let foreign = proc::mountinfo(question.act.process.pid).map(|table| Mounts::parse(&table)).unwrap_or_default();
    let shown = names::object(&object, &[&mounts, &foreign]);
    let process = session::describe(question.act.process.clone(), root);
    let act = Act { object: shown.object, other: shown.other, cut: shown.cut, process, ..Act::clone(&question.act) };
    let destroys = matches!(act.operation, Operation::Delete | Operation::Rename);
    let weighed = (destroys && !act.cut).then(|| heaviest(&act.object, &labelled));
    let question = Question { act: Arc::new(act), ..question };
    match suspicion {
        Some((compiled, profile, key)) => (examine(question, &object, &compiled, profile, key), None),
        None => (question, weighed),
    }
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
    let argv = ArgvHash::of(key, &behind.iter().flat_map(|word| word.iter().copied().chain([0])).collect::<Vec<u8>>());
    let label = match_label(&command, object, compiled, profile);
    let words: Vec<String> = command.argv.iter().map(|word| text::from_bytes(word)).collect();
    let cell = label.and_then(|label| compiled.cell(profile, Operation::Command, label));
    let rule = cell.and_then(|cell| compiled.rules.get(usize::from(cell.rule)));
    let verdict = cell.map(|cell| Verdict::try_from(cell.verdict));
    let ruling = match (label, verdict) {
        (None, _) | (_, Some(Ok(Verdict::Allow))) => Ruling::Pass,
        (_, Some(Ok(Verdict::Audit))) => Ruling::PassAudited,
        (_, Some(Ok(Verdict::Hold))) => Ruling::Ask,
        (_, Some(Ok(Verdict::Deny))) => Ruling::Refuse("the policy denies it".to_owned()),
        (_, Some(Err(_)) | None) => Ruling::Refuse("the guard could not decide".to_owned()),
    };
    let act = &question.act;
    if act.operation == Operation::Exec {
        // The binary's own rule asks, and keeps asking; only a command rule that denies speaks before it.
        let ruling = if matches!(ruling, Ruling::Refuse(_)) { ruling } else { Ruling::Ask };
        let act = Act { process: session::Who { argv: words, ..act.process.clone() }, ..Act::clone(act) };
        return Question { argv, ruling, act: Arc::new(act), ..question };
    }
    let timeout = rule.and_then(|rule| u64::try_from(rule.timeout.as_nanos()).ok());
    let act = Act {
        object: text::command_line(&words),
        label: label
            .and_then(|label| compiled.labels.get(usize::from(label)))
            .map_or(act.label.clone(), |label| label.name.clone()),
        rule: rule.map_or(act.rule.clone(), |rule| Rule { name: rule.name.clone(), message: rule.message.clone() }),
        tier: rule.map_or(act.tier, |rule| rule.tier),
        process: session::Who { argv: words, ..act.process.clone() },
        ..Act::clone(act)
    };
    Question { argv, ruling, timeout_ns: timeout.unwrap_or(question.timeout_ns), act: Arc::new(act), ..question }
}

/// A program is known by the name of its file, and by the name that it was called by.
fn match_label(command: &Command, object: &Object, compiled: &Compiled, profile: u32) -> Option<u16> {
    let file = match object {
        Object::Program { path, .. } => path.names.last().map(Vec::as_slice),
        Object::File { .. } | Object::Ends { .. } | Object::Endpoint { .. } => None,
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
pub(super) fn question(event: &events::Act, act: Act, timeout_ns: u64) -> Question {
    Question {
        key: names::key(event.task, event.question),
        session: session::SessionKey { slot: event.session, serial: event.serial },
        object: event.object_hash,
        passes: event.passes,
        argv: 0,
        timeout_ns,
        ruling: Ruling::Ask,
        act: Arc::new(act),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::heaviest;

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
