//! Every map of the object, and no other. Names and sizes come from the ABI.

use agent_guard_common::answer::{Answer, AnswerKey};
use agent_guard_common::egress::{Heard, HeardKey, Named, NamedKey, SocketState};
use agent_guard_common::event::Event;
use agent_guard_common::rule::{
    Alternatives, CommandKey, CommandTable, EndpointKey, EndpointLabels, InodeKey, InodeLabel, NameKey, ROWS, Row,
    WordKey,
};
use agent_guard_common::session::{Enrolment, Outcomes, SessionRecord, Tag};
use agent_guard_common::{control, counter, limits};
use aya_ebpf::bindings::bpf_map_type::{BPF_MAP_TYPE_SK_STORAGE, BPF_MAP_TYPE_TASK_STORAGE};
use aya_ebpf::bindings::{BPF_F_CLONE, BPF_F_NO_PREALLOC};
use aya_ebpf::btf_maps::{Array, HashMap, LpmTrie, PerCpuArray, RingBuf};
use aya_ebpf::macros::btf_map;

/// Storage with a kernel object. aya-ebpf 0.2 does not declare that of tasks yet (aya issue 203), and gives that of
/// sockets to programs of another kind only.
#[repr(C)]
pub struct Storage<T, const TYPE: usize, const FLAGS: usize = { BPF_F_NO_PREALLOC as usize }> {
    r#type: *const [i32; TYPE],
    key: *const i32,
    value: *const T,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; FLAGS],
}

// SAFETY: the fields only describe the map to the loader; nothing dereferences them.
unsafe impl<T, const TYPE: usize, const FLAGS: usize> Sync for Storage<T, TYPE, FLAGS> {}

impl<T, const TYPE: usize, const FLAGS: usize> Storage<T, TYPE, FLAGS> {
    const fn new() -> Self {
        Self {
            r#type: core::ptr::null(),
            key: core::ptr::null(),
            value: core::ptr::null(),
            max_entries: core::ptr::null(),
            map_flags: core::ptr::null(),
        }
    }
}

#[btf_map]
pub static TAGS: Storage<Tag, { BPF_MAP_TYPE_TASK_STORAGE as usize }> = Storage::new();
#[btf_map]
pub static SOCKETS: Storage<u64, { BPF_MAP_TYPE_SK_STORAGE as usize }> = Storage::new();
#[btf_map]
pub static CONNECTIONS: Storage<
    SocketState,
    { BPF_MAP_TYPE_SK_STORAGE as usize },
    { (BPF_F_NO_PREALLOC | BPF_F_CLONE) as usize },
> = Storage::new();
#[btf_map]
pub static RESOLVERS: Array<u64, { limits::SESSIONS as usize }> = Array::new();
#[btf_map]
pub static NAMED: HashMap<NamedKey, Named, { limits::NAMED as usize }, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();
/// No program reads it: it is here to be made and pinned with the others.
#[btf_map]
pub static HEARD: HashMap<HeardKey, Heard, { limits::HEARD as usize }, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();
#[btf_map]
pub static ENROL: HashMap<u32, Enrolment, { limits::ENROLMENTS as usize }, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();
#[btf_map]
pub static SESSIONS: Array<SessionRecord, { limits::SESSIONS as usize }> = Array::new();
#[btf_map]
pub static TASKS: Array<u64, { limits::SESSIONS as usize }> = Array::new();
#[btf_map]
pub static OUTCOMES: Array<Outcomes, { limits::SESSIONS as usize }> = Array::new();
#[btf_map]
pub static TOUCHED: Array<u64, { limits::SESSIONS as usize }> = Array::new();
#[btf_map]
pub static CONTROL: Array<u64, { control::WORDS as usize }> = Array::new();
#[btf_map]
pub static MATRIX: Array<Row, { ROWS as usize }> = Array::new();
#[btf_map]
pub static CONDITIONS: Array<Alternatives, { 2 * limits::CONDITIONS as usize }> = Array::new();
#[btf_map]
pub static CREDENTIALS: Array<u64, { 2 * limits::LABELS as usize }> = Array::new();
#[btf_map]
pub static INODES: HashMap<InodeKey, InodeLabel, { limits::INODES as usize }, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();
#[btf_map]
pub static NAMES: HashMap<NameKey, InodeLabel, { limits::NAMES as usize }, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();
#[btf_map]
pub static ENDPOINTS: LpmTrie<EndpointKey, EndpointLabels, { limits::ENDPOINTS as usize }> = LpmTrie::new();
#[btf_map]
pub static COMMANDS: HashMap<CommandKey, CommandTable, { limits::COMMANDS as usize }, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();
#[btf_map]
pub static WORDS: HashMap<WordKey, u64, { limits::WORDS as usize }, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();
#[btf_map]
pub static ANSWERS: HashMap<AnswerKey, Answer, { limits::ANSWERS as usize }, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();
#[btf_map]
pub static EVENTS: RingBuf<Event, { limits::RING_BYTES as usize }> = RingBuf::new();
#[btf_map]
pub static FAILURES: PerCpuArray<u64, { (counter::PLACES * counter::ERRNOS) as usize }> = PerCpuArray::new();
#[btf_map]
pub static JUDGED: PerCpuArray<u64, { counter::judged::COUNT as usize }> = PerCpuArray::new();
