//! Records of the kernel's ring: whatever is read says what stands in the record, can be shown, and can be written down. It
//! must not know how names are laid out, nor what follows from an event.

use agent_guard::audit::{Entry, Now, What};
use agent_guard::daemon::named;
use agent_guard::kernel::events::{Act, KernelEvent, KernelPath, Object, Socket, decode};
use agent_guard::session::{self, Mounts, Rule};
use agent_guard::text;
use agent_guard_common::event::{Event, Head, Names};
use agent_guard_common::read;
use jiff::Timestamp;

/// A root, a file system that is mounted in two places, and one of which only a part is.
const MOUNTS: &[u8] = b"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n40 22 8:2 / /srv rw - ext4 /dev/sda2 rw\n\
    41 22 8:2 /prod /data/with\\040blank rw - ext4 /dev/sda2 rw\n43 22 0:50 /sub /volume rw - btrfs /dev/sda3 rw\n";

/// Judges the bytes as they are, and as the beginning of a record whose rest is zero.
pub fn holds(bytes: &[u8]) -> bool {
    let length = if bytes.len() <= size_of::<Head>() { size_of::<Head>() } else { size_of::<Event>() };
    let mut whole = bytes.to_vec();
    whole.resize(length, 0);
    let is_read = judge(bytes);
    judge(&whole) || is_read
}

fn judge(record: &[u8]) -> bool {
    let event = decode(record);
    assert_eq!(event, decode(record), "the same bytes, another event");
    if let KernelEvent::Unreadable { bytes, why } = &event {
        assert_eq!(*bytes, record.len());
        assert!(!why.is_empty() && !why.chars().any(char::is_control), "{why:?}");
        return false;
    }
    let head = record.get(..size_of::<Head>()).and_then(read::<Head>).expect("no event without a head");
    match event {
        KernelEvent::Question(act)
        | KernelEvent::Repeat(act)
        | KernelEvent::Refused(act)
        | KernelEvent::Audited(act)
        | KernelEvent::Touched(act)
        | KernelEvent::Used(act)
        | KernelEvent::Killed(act) => judge_act(&head, &act),
        KernelEvent::Ended { session, serial } => assert_eq!((session, serial), (head.session, head.serial)),
        KernelEvent::Done { task, question, errno } => {
            assert_eq!((task.packed(), question, errno), (head.task, head.question, head.reason));
        }
        KernelEvent::Unreadable { .. } => {}
    }
    true
}

/// Nothing is narrowed, and nothing is shown that deceives.
fn judge_act(head: &Head, act: &Act) {
    assert_eq!(act.operation as u32, head.operation);
    assert_eq!((act.session, act.serial, act.generation), (head.session, head.serial, head.generation));
    assert_eq!((act.question, act.object_hash, act.task.packed()), (head.question, head.object, head.task));
    assert_eq!((act.uid, act.passes, act.time_ns), (head.uid, head.passes, head.time_ns));
    assert_eq!((u32::from(act.label), u32::from(act.rule), act.reason as u32), (head.label, head.rule, head.reason));
    assert!(is_comm(&act.comm), "{:?}", act.comm);
    judge_object(&act.object);
    let told = named(&act.object, &[&Mounts::parse(MOUNTS)]);
    assert!(!told.object.is_empty());
    for text in [Some(&told.object), told.other.as_ref()].into_iter().flatten() {
        assert!(!text::escape(text).chars().any(char::is_control), "{text:?}");
    }
    record(act, told.object, told.other);
}

fn judge_object(object: &Object) {
    match object {
        Object::File { path, .. } | Object::Program { path, .. } | Object::Socket(Socket::Bound { path, .. }) => {
            judge_path(path);
        }
        Object::Ends { from, to, .. } => [from, to].into_iter().for_each(judge_path),
        Object::Socket(Socket::Abstract(name)) => assert!(name.len() < size_of::<Names>()),
        Object::Process { comm, .. } => assert!(is_comm(comm), "{comm:?}"),
        Object::Endpoint { .. } | Object::Socket(Socket::Unnamed) | Object::Call { .. } => {}
    }
}

/// Names are names, and no more of them than there is room for.
fn judge_path(path: &KernelPath) {
    assert!(path.names.iter().all(|name| !name.is_empty() && !name.contains(&0)), "{path:?}");
    assert!(path.names.iter().map(|name| name.len() + 1).sum::<usize>() <= size_of::<Names>() + 1);
}

fn is_comm(comm: &str) -> bool {
    comm.chars().count() <= 16 && !comm.contains('\0')
}

/// What the audit log says of an act is what was told of it.
fn record(act: &Act, object: String, other: Option<String>) {
    let told = session::Act {
        session: None,
        operation: act.operation,
        object,
        other,
        cut: false,
        label: act.label.to_string(),
        rule: Rule::named(act.rule.to_string()),
        tier: act.tier,
        process: session::plain(act.task.tgid, act.task.tid, act.uid, act.comm.clone()),
        impact: None,
        sent: None,
        intent: None,
    };
    let now = Now { monotonic_ns: act.time_ns, wall: Timestamp::UNIX_EPOCH };
    let entry = Entry { act: Some(told.clone().into()), ..Entry::new(now, What::Held) };
    let line = serde_json::to_string(&entry).expect("a record can be written");
    assert!(!line.contains('\n'));
    let read: serde_json::Value = serde_json::from_str(&line).expect("a record can be read");
    assert_eq!(read["act"]["object"], told.object);
    assert_eq!(read["act"]["process"]["comm"], told.process.comm);
    assert_eq!(read["act"]["operation"], act.operation.name());
}
