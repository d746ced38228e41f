//! Events: the only reader of the kernel's bytes. What it cannot decode becomes [`KernelEvent::Unreadable`].

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd as _, OwnedFd};

use agent_guard_common::event::{Event, Head, NOT_CONNECTED, Names, flag, kind};
use agent_guard_common::limits::RING_BYTES;
use agent_guard_common::map;
use agent_guard_common::operation::{Operation, Target};
use agent_guard_common::read;
use agent_guard_common::verdict::{Reason, Tier};
use aya::maps::{Map, MapData, RingBuf};
use tokio::io::unix::AsyncFd;

use super::error::Error;
use crate::system;

/// A thread, and the process that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId {
    /// The process.
    pub tgid: u32,
    /// The thread.
    pub tid: u32,
}

impl TaskId {
    /// As the kernel packs it.
    #[must_use]
    pub fn packed(self) -> u64 {
        u64::from(self.tgid) << 32 | u64::from(self.tid)
    }

    fn unpack(packed: u64) -> Self {
        Self { tgid: (packed >> 32) as u32, tid: packed as u32 }
    }
}

/// A path as the kernel knows it: names from its file system's root down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelPath {
    /// The names, the root's first child first.
    pub names: Vec<Vec<u8>>,
    /// Whether the upper names found no room.
    pub cut: bool,
}

/// What an act was about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// A file or directory.
    File {
        /// Device, as `super_block.s_dev` holds it.
        dev: u32,
        /// Inode; of the directory, when the file does not exist yet.
        ino: u64,
        /// Where it is.
        path: KernelPath,
        /// Whether it is a directory.
        directory: bool,
    },
    /// Both ends of a rename or a link.
    Ends {
        /// Device of the source.
        dev: u32,
        /// Inode of the source.
        ino: u64,
        /// The source.
        from: KernelPath,
        /// The new name.
        to: KernelPath,
    },
    /// Where a connection or datagram goes.
    Endpoint {
        /// Address and port.
        address: SocketAddr,
        /// IP protocol.
        protocol: u16,
        /// Bytes that were sent there before, if it is a connection that counts them.
        sent: Option<u64>,
    },
    /// A unix socket.
    Socket(Socket),
    /// A process outside the session.
    Process {
        /// Its id.
        pid: u32,
        /// Its name.
        comm: String,
    },
    /// The call itself.
    Call {
        /// Its number.
        number: u64,
        /// Whether it is one of the 32-bit table.
        compat: bool,
    },
    /// A file to be executed.
    Program {
        /// Device of the file.
        dev: u32,
        /// Inode of the file.
        ino: u64,
        /// The file.
        path: KernelPath,
    },
}

/// Where a unix socket can be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Socket {
    /// Bound to a path.
    Bound {
        /// Device of its file.
        dev: u32,
        /// Where its file is.
        path: KernelPath,
    },
    /// By its abstract name, without the leading NUL.
    Abstract(Vec<u8>),
    /// Nowhere: it has no name.
    Unnamed,
}

/// One judged act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// What was done.
    pub operation: Operation,
    /// The session's slot.
    pub session: u32,
    /// The session's serial.
    pub serial: u64,
    /// Generation of the policy that judged.
    pub generation: u32,
    /// When, in nanoseconds of CLOCK_MONOTONIC.
    pub time_ns: u64,
    /// The question's id; 0 for none.
    pub question: u64,
    /// Hash of the object.
    pub object_hash: u64,
    /// Who.
    pub task: TaskId,
    /// As which user.
    pub uid: u32,
    /// The label that decided.
    pub label: u16,
    /// The rule that decided.
    pub rule: u16,
    /// The rule's tier; gated where no rule spoke.
    pub tier: Tier,
    /// Why it was refused.
    pub reason: Reason,
    /// Hook passes that an approval must let through.
    pub passes: u32,
    /// What it was about.
    pub object: Object,
    /// The thread's name.
    pub comm: String,
}

/// What the kernel tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KernelEvent {
    /// A thread has stopped with a new question.
    Question(Act),
    /// A thread has put its question again: a stray wake-up, a sibling's answer, or a daemon that was restarted.
    Repeat(Act),
    /// An act was refused.
    Refused(Act),
    /// An act passed under `audit`.
    Audited(Act),
    /// An act passed unseen, and has touched a credential of an environment that its session had none of.
    Touched(Act),
    /// An act passed by its approval.
    Used(Act),
    /// A session has lost its last task.
    Ended {
        /// Its slot.
        session: u32,
        /// Its serial.
        serial: u64,
    },
    /// A process was killed, since it executed what was not approved.
    Killed(Act),
    /// An act that passed by its approval has ended.
    Done {
        /// Who acted.
        task: TaskId,
        /// The question that was approved.
        question: u64,
        /// The act's error number; 0 when it was done.
        errno: u32,
    },
    /// A record that is none of these.
    Unreadable {
        /// Its length.
        bytes: usize,
        /// What is wrong with it.
        why: String,
    },
}

/// Reads the ring.
pub struct EventReader {
    source: Source,
}

enum Source {
    Ring {
        ring: RingBuf<MapData>,
        readable: AsyncFd<OwnedFd>,
    },
    #[cfg(feature = "rehearsal")]
    Recorded(super::rehearsal::Stream),
}

impl std::fmt::Debug for EventReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EventReader")
    }
}

/// Records taken at once, so that calls and ticks get their turn.
const BATCH: usize = 32;

impl EventReader {
    /// Takes the ring. Must be called inside a tokio runtime.
    pub(super) fn new(ring: Map) -> Result<Self, Error> {
        let ring = RingBuf::try_from(ring).map_err(Error::read(map::EVENTS))?;
        let readable = system::wait::readable(ring.as_fd()).map_err(Error::WaitForEvents)?;
        Ok(Self { source: Source::Ring { ring, readable } })
    }

    #[cfg(feature = "rehearsal")]
    pub(super) const fn recorded(stream: super::rehearsal::Stream) -> Self {
        Self { source: Source::Recorded(stream) }
    }

    /// What is in the ring at this moment, in its order.
    pub fn backlog(&mut self) -> Vec<KernelEvent> {
        match &mut self.source {
            Source::Ring { ring, .. } => {
                // No more than the ring can hold: whoever keeps filling it does not keep this from returning.
                let most = RING_BYTES as usize / size_of::<Head>();
                std::iter::from_fn(|| ring.next().map(|record| decode(&record))).take(most).collect()
            }
            #[cfg(feature = "rehearsal")]
            Source::Recorded(_) => Vec::new(),
        }
    }

    /// The next events, in their order; never none. Dropping the future loses nothing.
    ///
    /// # Errors
    /// The ring cannot be waited for.
    pub async fn next(&mut self) -> Result<Vec<KernelEvent>, Error> {
        let (ring, readable) = match &mut self.source {
            Source::Ring { ring, readable } => (ring, readable),
            #[cfg(feature = "rehearsal")]
            Source::Recorded(stream) => return stream.next().await.map_err(Error::WaitForEvents),
        };
        loop {
            let mut ready = readable.readable_mut().await.map_err(Error::WaitForEvents)?;
            let mut events = Vec::new();
            while events.len() < BATCH {
                let Some(record) = ring.next() else { break };
                events.push(decode(&record));
            }
            if events.len() < BATCH {
                ready.clear_ready();
            }
            if !events.is_empty() {
                return Ok(events);
            }
        }
    }
}

/// Decodes one record.
#[must_use]
pub fn decode(bytes: &[u8]) -> KernelEvent {
    let decoded = if let Some(event) = read::<Event>(bytes) {
        Record { head: event.head, path: &event.path, other: &event.other }.event()
    } else if let Some(head) = read::<Head>(bytes) {
        Record { head, path: &[0; size_of::<Names>()], other: &[0; size_of::<Names>()] }.event()
    } else {
        Err("its length is that of no record".to_owned())
    };
    decoded.unwrap_or_else(|why| KernelEvent::Unreadable { bytes: bytes.len(), why })
}

struct Record<'a> {
    head: Head,
    path: &'a Names,
    other: &'a Names,
}

impl Record<'_> {
    fn event(&self) -> Result<KernelEvent, String> {
        let head = &self.head;
        Ok(match head.kind {
            kind::QUESTION => KernelEvent::Question(self.act()?),
            kind::REPEAT => KernelEvent::Repeat(self.act()?),
            kind::REFUSED => KernelEvent::Refused(self.act()?),
            kind::AUDITED => KernelEvent::Audited(self.act()?),
            kind::TOUCHED => KernelEvent::Touched(self.act()?),
            kind::USED => KernelEvent::Used(self.act()?),
            kind::ENDED => KernelEvent::Ended { session: head.session, serial: head.serial },
            kind::KILLED => KernelEvent::Killed(self.act()?),
            kind::DONE => {
                KernelEvent::Done { task: TaskId::unpack(head.task), question: head.question, errno: head.reason }
            }
            other => return Err(format!("its kind is {other}")),
        })
    }

    fn act(&self) -> Result<Act, String> {
        let head = &self.head;
        let operation = Operation::try_from(head.operation).map_err(|number| format!("its operation is {number}"))?;
        Ok(Act {
            operation,
            session: head.session,
            serial: head.serial,
            generation: head.generation,
            time_ns: head.time_ns,
            question: head.question,
            object_hash: head.object,
            task: TaskId::unpack(head.task),
            uid: head.uid,
            label: narrow("label", head.label)?,
            rule: narrow("rule", head.rule)?,
            // An act that was refused for want of a verdict has no tier: it counts as the gravest.
            tier: u8::try_from(head.tier).ok().and_then(|tier| Tier::try_from(tier).ok()).unwrap_or(Tier::Gated),
            reason: Reason::try_from(head.reason).map_err(|number| format!("its reason is {number}"))?,
            passes: head.passes,
            object: self.object(operation)?,
            comm: text(&head.comm),
        })
    }

    fn object(&self, operation: Operation) -> Result<Object, String> {
        let head = &self.head;
        let (dev, ino) = (head.dev, head.ino);
        let path = || names(self.path, head.path_bytes, head.flags & flag::PATH_CUT != 0);
        Ok(match operation.target() {
            Target::Endpoint => Object::Endpoint {
                address: SocketAddr::new(
                    IpAddr::V6(Ipv6Addr::from(head.address)).to_canonical(),
                    narrow("port", head.port)?,
                ),
                protocol: narrow("protocol", head.protocol)?,
                sent: (ino != NOT_CONNECTED).then_some(ino),
            },
            Target::Entries => Object::Ends {
                dev,
                ino,
                from: path()?,
                to: names(self.other, head.other_bytes, head.flags & flag::OTHER_CUT != 0)?,
            },
            Target::Program | Target::Command => Object::Program { dev, ino, path: path()? },
            Target::Content | Target::Entry => {
                Object::File { dev, ino, path: path()?, directory: head.flags & flag::DIRECTORY != 0 }
            }
            Target::Socket => Object::Socket(self.socket(dev)?),
            Target::Name => return Err("the kernel judges no lookups".to_owned()),
            Target::Process => {
                let pid = u32::try_from(ino).ok().ok_or_else(|| format!("its process is {ino}"))?;
                Object::Process { pid, comm: text(&head.address) }
            }
            Target::Call => Object::Call { number: ino, compat: dev != 0 },
        })
    }

    fn socket(&self, dev: u32) -> Result<Socket, String> {
        let (used, flags) = (self.head.path_bytes, self.head.flags);
        if used == 0 {
            return Ok(Socket::Unnamed);
        }
        if flags & flag::ABSTRACT == 0 {
            return Ok(Socket::Bound { dev, path: names(self.path, used, flags & flag::PATH_CUT != 0)? });
        }
        let name = self.path.get(..used as usize).ok_or_else(|| format!("its name has {used} bytes"))?;
        // The first byte says that it is abstract: NUL.
        Ok(Socket::Abstract(name.get(1..).unwrap_or_default().to_vec()))
    }
}

fn narrow(name: &str, value: u32) -> Result<u16, String> {
    u16::try_from(value).ok().ok_or_else(|| format!("its {name} is {value}"))
}

/// Turns the kernel's list (the last name first, each with its NUL) into a path.
fn names(list: &Names, used: u32, cut: bool) -> Result<KernelPath, String> {
    let used = list.get(..used as usize).ok_or_else(|| format!("its path has {used} bytes"))?;
    let mut names: Vec<Vec<u8>> =
        used.split(|byte| *byte == 0).filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect();
    names.reverse();
    Ok(KernelPath { names, cut })
}

fn text(comm: &[u8; 16]) -> String {
    let end = comm.iter().position(|byte| *byte == 0).unwrap_or(comm.len());
    String::from_utf8_lossy(&comm[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use agent_guard_common::bytes_of;
    use agent_guard_common::event::{Event, Head, NOT_CONNECTED, flag, kind};

    use super::{KernelEvent, Object, decode};

    fn event(list: &[u8]) -> Event {
        let mut event = Event::ZERO;
        event.head.kind = kind::QUESTION;
        event.head.operation = 3;
        event.head.path_bytes = list.len() as u32;
        event.path[..list.len()].copy_from_slice(list);
        event
    }

    fn unreadable(bytes: &[u8]) -> String {
        match decode(bytes) {
            KernelEvent::Unreadable { why, .. } => why,
            other => panic!("readable: {other:?}"),
        }
    }

    #[test]
    fn a_path_is_read_from_its_end() {
        let mut event = event(b"db\0prod\0srv\0");
        event.head.flags = flag::PATH_CUT | flag::DIRECTORY;
        let KernelEvent::Question(act) = decode(bytes_of(&event)) else { panic!("no question") };
        let Object::File { path, directory, .. } = act.object else { panic!("no file") };
        assert_eq!(path.names, [b"srv".to_vec(), b"prod".to_vec(), b"db".to_vec()]);
        assert!(path.cut && directory);
    }

    #[test]
    fn a_v4_mapped_address_is_shown_as_ipv4() {
        let mut head = Head { kind: kind::REFUSED, operation: 7, port: 443, protocol: 6, ..Head::ZERO };
        head.address = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 203, 0, 113, 10];
        let KernelEvent::Refused(act) = decode(bytes_of(&head)) else { panic!("no refusal") };
        assert_eq!(
            act.object,
            Object::Endpoint { address: "203.0.113.10:443".parse().expect("valid"), protocol: 6, sent: Some(0) }
        );
        let KernelEvent::Refused(act) = decode(bytes_of(&Head { ino: NOT_CONNECTED, ..head })) else { panic!("none") };
        assert!(matches!(act.object, Object::Endpoint { sent: None, .. }), "{act:?}");
    }

    #[test]
    fn an_end_is_of_a_thread_and_its_question() {
        let head = Head { kind: kind::DONE, task: 5 << 32 | 6, question: 70, reason: 39, ..Head::ZERO };
        let task = super::TaskId { tgid: 5, tid: 6 };
        assert_eq!(decode(bytes_of(&head)), KernelEvent::Done { task, question: 70, errno: 39 });
    }

    #[test]
    fn no_bytes_are_taken_for_what_they_are_not() {
        assert!(unreadable(&[]).contains("length"));
        assert!(unreadable(&[0; 143]).contains("length"));
        assert!(unreadable(&[0; 144]).contains("kind is 0"));
        let mut wrong = event(b"x\0");
        wrong.head.operation = 77;
        assert!(unreadable(bytes_of(&wrong)).contains("operation is 77"));
        let mut wrong = event(b"x\0");
        wrong.head.path_bytes = 1281;
        assert!(unreadable(bytes_of(&wrong)).contains("1281 bytes"));
        let mut wrong = event(b"x\0");
        wrong.head.reason = 4711;
        assert!(unreadable(bytes_of(&wrong)).contains("reason is 4711"));
        let mut wrong = event(b"x\0");
        wrong.head.label = 1 << 16;
        assert!(unreadable(bytes_of(&wrong)).contains("label is 65536"));
    }
}
