//! The names behind an event's numbers, as far as they are known without reading any process.

use std::sync::Arc;

use super::inforce::InForce;
use super::lookups::Lookups;
use crate::decision::{Key, Task};
use crate::kernel::events::{self, KernelPath, Object, Socket, TaskId};
use crate::policy::RuleInfo;
use crate::session::{self, Act, Mounts, Registry, Rule, SessionKey, Shown};
use crate::text;

/// An object in words.
#[derive(Debug)]
pub struct Named {
    /// The object.
    pub object: String,
    /// The other end of a rename or link.
    pub other: Option<String>,
    /// Whether its beginning was too long to be told.
    pub cut: bool,
}

/// The key of a thread's question.
pub(super) const fn key(task: TaskId, question: u64) -> Key {
    Key { task: Task { tgid: task.tgid, tid: task.tid }, question }
}

/// An object in words; paths by the first mount table that shows them.
#[must_use]
pub fn object(object: &Object, tables: &[&Mounts]) -> Named {
    let path = |dev: u32, path: &KernelPath| Mounts::path(tables, Shown { dev, names: &path.names, cut: path.cut });
    match object {
        Object::File { dev, path: names, .. } | Object::Program { dev, path: names, .. } => {
            Named { object: path(*dev, names), other: None, cut: names.cut }
        }
        Object::Ends { dev, from, to, .. } => {
            Named { object: path(*dev, from), other: Some(path(*dev, to)), cut: from.cut || to.cut }
        }
        Object::Socket(Socket::Bound { dev, path: names }) => {
            Named { object: path(*dev, names), other: None, cut: names.cut }
        }
        Object::Socket(Socket::Abstract(name)) => plain(format!("@{}", text::from_bytes(name))),
        Object::Socket(Socket::Unnamed) => plain("a socket without a name".to_owned()),
        Object::Process { pid, comm } => plain(format!("process {pid} ({comm})")),
        Object::Call { number, compat } => plain(call(*number, *compat)),
        Object::Endpoint { address, protocol, .. } => {
            let protocol = match protocol {
                6 => "tcp ".to_owned(),
                17 => "udp ".to_owned(),
                other => format!("protocol {other} "),
            };
            plain(format!("{protocol}{address}"))
        }
    }
}

/// An object that is neither too long to be told nor has another end.
const fn plain(object: String) -> Named {
    Named { object, other: None, cut: false }
}

/// A system call by its name.
fn call(number: u64, compat: bool) -> String {
    let number = usize::try_from(number).unwrap_or(usize::MAX);
    let name = if compat {
        syscalls::x86::Sysno::new(number).map(|call| call.name())
    } else {
        syscalls::x86_64::Sysno::new(number).map(|call| call.name())
    };
    name.map_or_else(|| format!("system call {number}"), |name| format!("call {name}"))
}

/// A rule of the policy, as an act has it.
pub(super) fn rule(rule: &RuleInfo) -> Rule {
    Rule { name: rule.name.clone(), message: rule.message.clone(), terms: Arc::clone(&rule.terms) }
}

/// An act with its names.
pub(super) fn act(event: &events::Act, policy: &InForce, sessions: &Registry, lookups: &Lookups) -> Act {
    let key = SessionKey { slot: event.session, serial: event.serial };
    let mut named = object(&event.object, &[&policy.places.mounts]);
    let mut sent = None;
    if let Object::Endpoint { address, sent: before, .. } = &event.object {
        sent = *before;
        let known_as = lookups.names(event.session, address.ip());
        if !known_as.is_empty() {
            named.object.push_str(&format!(" ({})", known_as.join(", ")));
        }
    }
    Act {
        session: sessions.stamp(key),
        operation: event.operation,
        object: named.object,
        other: named.other,
        cut: named.cut,
        label: policy.label(event.generation, event.label),
        rule: policy
            .rule(event.generation, event.rule)
            .map_or_else(|| Rule::named(format!("rule {}", event.rule)), rule),
        tier: event.tier,
        process: session::plain(event.task.tgid, event.task.tid, event.uid, event.comm.clone()),
        impact: None,
        sent,
        intent: None,
    }
}

/// What an audit record or notice shares of an act.
pub(super) fn shared(event: &events::Act, policy: &InForce, sessions: &Registry, lookups: &Lookups) -> Arc<Act> {
    Arc::new(act(event, policy, sessions, lookups))
}
