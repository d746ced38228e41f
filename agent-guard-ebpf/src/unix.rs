//! Unix sockets as objects: labelled by the inode that they are bound to, or by their abstract name.
//!
//! A socket that the caller's own session made is no way out of it: who made it stands in its storage.

use agent_guard_common::counter::Place as Failure;
use agent_guard_common::event::{Event, Head, flag};
use agent_guard_common::hash::{Sip, SipKey};
use agent_guard_common::operation::Operation;
use agent_guard_common::rule::{ABSTRACT_NAMES, NameKey, UNLABELLED};
use agent_guard_common::verdict::Reason;
use aya_ebpf::bindings::BPF_SK_STORAGE_GET_F_CREATE;
use aya_ebpf::helpers::generated::{bpf_probe_read_kernel, bpf_sk_storage_get, bpf_skc_to_unix_sock};

use crate::hook::{Caller, Object};
use crate::kernel::{Pointer, count, member};
use crate::maps::{NAMES, SOCKETS};
use crate::name::bytes_hash;
use crate::object::{Entry, Seldom};

/// `struct sockaddr_un`: the family, and more than the longest name, which has 108 bytes: a power of two.
const FAMILY_BYTES: u32 = 2;
const NAME_BYTES: usize = 128;

/// Where the socket at the other end can be found.
pub enum Place {
    /// Bound to a file: it is that file that bears the label.
    Bound(Seldom),
    /// By its abstract name, or nowhere.
    Named(Name),
}

impl Place {
    /// Reads a `struct sock` of the unix family.
    #[inline(always)]
    pub fn of(sock: Pointer) -> Self {
        if sock.is_null() {
            return Self::Named(Name::UNKNOWN);
        }
        // SAFETY: the helper takes a socket that the verifier knows, and gives null for one of another family.
        let socket = Pointer::new(unsafe { bpf_skc_to_unix_sock(sock.raw()) });
        if socket.is_null() {
            return Self::Named(Name::UNKNOWN);
        }
        let entry = socket.follow(&member::UNIX_DENTRY);
        if !entry.is_null() {
            return Self::Bound(Seldom(Entry(entry)));
        }
        let address = socket.follow(&member::UNIX_ADDRESS);
        if address.is_null() {
            return Self::Named(Name { bytes: 0, length: 0 });
        }
        let bytes = address.number() + u64::from(member::ADDRESS_NAME.load() + FAMILY_BYTES);
        let length: u32 = address.load(&member::ADDRESS_LENGTH);
        Self::Named(Name { bytes, length: length.saturating_sub(FAMILY_BYTES) })
    }
}

/// An abstract name.
#[derive(Clone, Copy)]
pub struct Name {
    /// Address of its bytes, the leading NUL first, and how many there are; 0 for a socket without a name.
    bytes: u64,
    length: u32,
}

impl Name {
    /// That of a socket of which nothing can be told: it hashes to what no name does.
    const UNKNOWN: Self = Self { bytes: 0, length: u32::MAX };

    /// Hash of the bytes behind the leading NUL; 0 when they cannot be read.
    #[inline(always)]
    fn key(&self) -> u64 {
        bytes_hash(self.bytes + 1, self.length.saturating_sub(1))
    }

    /// Copies the name; what lies behind it stays zero.
    #[inline(always)]
    fn copy(&self, to: &mut [u8; NAME_BYTES]) -> bool {
        // A comparison gets lost on the way through the compiler; the mask stays. No name is as long as the buffer.
        let length = self.length & (NAME_BYTES as u32 - 1);
        // SAFETY: the buffer holds as many bytes; the helper checks the address.
        let result =
            unsafe { bpf_probe_read_kernel(to.as_mut_ptr().cast(), length, self.bytes as *const core::ffi::c_void) };
        if result != 0 {
            count(Failure::ReadFailed, result);
        }
        result == 0
    }
}

/// The label of an abstract name, by its hash. A global function: inlined, the compiler merges pointers in it that the
/// verifier tells apart.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn abstract_label(name: u64, slot: u32) -> u64 {
    let key = NameKey { dev: ABSTRACT_NAMES, slot, ino: 0, name };
    // SAFETY: the value is copied at once; the map frees by RCU, whose reader this program is.
    match unsafe { NAMES.get(key) } {
        Some(label) => u64::from(label.label),
        None => u64::from(UNLABELLED),
    }
}

/// Notes who made a socket. `sock`: a `struct sock`.
#[inline(always)]
pub fn mark(sock: Pointer, caller: &Caller) {
    let mut serial = caller.tag.get().serial;
    let map = (&raw const SOCKETS).cast_mut().cast();
    let value = core::ptr::from_mut(&mut serial).cast();
    // SAFETY: the map is socket storage of `u64`, the socket is one that the verifier knows, and the value lives on.
    let stored = unsafe { bpf_sk_storage_get(map, sock.raw(), value, u64::from(BPF_SK_STORAGE_GET_F_CREATE)) };
    if stored.is_null() {
        // It then counts as made outside, which only refuses more.
        count(Failure::TagFailed, 0);
    }
}

/// Whether a socket was made in the caller's own session.
#[inline(always)]
pub fn is_inside(sock: Pointer, caller: &Caller) -> bool {
    let map = (&raw const SOCKETS).cast_mut().cast();
    // SAFETY: the map is socket storage of `u64`, and the socket is one that the verifier knows.
    let serial: *const u64 =
        unsafe { bpf_sk_storage_get(map, sock.raw(), core::ptr::null_mut(), 0) }.cast_const().cast();
    // SAFETY: a value of the storage lives as long as the socket, which the hook holds.
    !serial.is_null() && unsafe { *serial } == caller.tag.get().serial
}

impl Object for Name {
    const HAS_PATHS: bool = true;

    #[inline(always)]
    fn labels(&self, slot: u32, _: Operation) -> Result<[u16; 2], Reason> {
        if self.length == 0 {
            return Ok([UNLABELLED; 2]);
        }
        let name = self.key();
        if name == 0 {
            return Err(Reason::Undecided);
        }
        Ok([abstract_label(name, slot) as u16; 2])
    }

    #[inline(always)]
    fn hash(&self, key: SipKey) -> u64 {
        let mut sip = Sip::new(key);
        sip.add(if self.length == 0 { 0 } else { self.key() });
        sip.finish()
    }

    #[inline(always)]
    fn describe(&self, head: &mut Head) {
        head.flags |= flag::ABSTRACT;
    }

    #[inline(always)]
    fn paths(&self, event: &mut Event) {
        let mut name = [0; NAME_BYTES];
        if self.length != 0 && self.copy(&mut name) {
            event.path[..NAME_BYTES].copy_from_slice(&name);
            event.head.path_bytes = self.length & (NAME_BYTES as u32 - 1);
        }
    }
}
