//! Kernel objects: pointers that the verifier knows, and the offsets of the members that are read.
//!
//! Must not know what the members mean to a verdict.

use agent_guard_common::control::NOTHING;
use agent_guard_common::counter::{self, Place};
use agent_guard_common::{constants, members};
use aya_ebpf::Global;
use aya_ebpf::btf_maps::Array;
use aya_ebpf::helpers::generated::{bpf_ktime_get_ns, bpf_probe_read_kernel};

use crate::maps::{CONTROL, FAILURES};

/// Offsets, filled at load from the kernel's BTF; see `agent_guard_common::member`.
pub mod member {
    use super::{Global, members};

    macro_rules! globals {
        ($($global:ident, $structure:literal, $path:literal;)*) => {
            $(#[unsafe(no_mangle)] pub static $global: Global<u32> = Global::new(0);)*
        };
    }
    members!(globals);
}

/// Constants, filled at load as well; see `agent_guard_common::member`.
pub mod constant {
    use super::{Global, constants};

    macro_rules! globals {
        ($($global:ident, $enum:literal, $variant:literal, $before:expr;)*) => {
            $(#[unsafe(no_mangle)] pub static $global: Global<u32> = Global::new(0);)*
        };
    }
    constants!(globals);
}

/// A pointer to a kernel object. The verifier tracks its type; a load through it cannot fault, a null one gives 0.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Pointer(*const u8);

impl Pointer {
    /// Takes a hook's argument, or what a helper returned.
    #[inline(always)]
    pub fn new<T>(pointer: *const T) -> Self {
        Self(pointer.cast())
    }

    /// Whether it points to nothing.
    #[inline(always)]
    pub fn is_null(self) -> bool {
        self.0.is_null()
    }

    /// The address, for comparison and for arguments of helpers.
    #[inline(always)]
    pub fn address(self) -> u64 {
        self.0 as u64
    }

    /// The address as a plain number, which may be passed to a global function and kept in a loop's context. The
    /// verifier lets nothing but a helper's copy turn a pointer into a number.
    #[inline(always)]
    pub fn number(self) -> u64 {
        let (pointer, mut number) = (self.0, 0);
        copy(&mut number, (&raw const pointer) as u64);
        number
    }

    /// The raw pointer, for helpers that take a typed one.
    #[inline(always)]
    pub fn raw<T>(self) -> *mut T {
        self.0.cast_mut().cast()
    }

    /// Loads a member.
    #[inline(always)]
    pub fn load<T: Copy>(self, member: &Global<u32>) -> T {
        self.load_at(member, 0)
    }

    /// Loads an element of a member that is an array; `bytes` is a constant.
    #[inline(always)]
    pub fn load_at<T: Copy>(self, member: &Global<u32>, bytes: usize) -> T {
        // SAFETY: the offset comes from this kernel's BTF; the verifier refuses a load that leaves the object,
        // and the kernel makes one through a stale pointer return 0.
        unsafe { core::ptr::read_volatile(self.0.add(member.load() as usize + bytes).cast()) }
    }

    /// Reads a member that points to no structure. Since 7.x such a pointer has a type of its own, which cannot be
    /// passed on as a number; what a helper copies is one.
    #[inline(always)]
    pub fn scalar(self, member: &Global<u32>) -> u64 {
        let mut value = 0;
        copy(&mut value, self.address() + u64::from(member.load()));
        value
    }

    /// Follows a member that is a pointer.
    #[inline(always)]
    pub fn follow(self, member: &Global<u32>) -> Self {
        Self(self.load(member))
    }
}

/// Copies from an address that the verifier does not know. `false` counts the failure.
#[inline(always)]
pub fn copy<T>(to: &mut T, from: u64) -> bool {
    // SAFETY: `to` is `size_of::<T>()` writable bytes; the helper checks `from`.
    let result = unsafe {
        bpf_probe_read_kernel(core::ptr::from_mut(to).cast(), core::mem::size_of::<T>() as u32, from as *const _)
    };
    if result != 0 {
        count(Place::ReadFailed, result);
        return false;
    }
    true
}

/// Counts a failed act, with the errno that its helper returned (negative).
#[inline(always)]
pub fn count(place: Place, result: i64) {
    let errno = if (-4095..0).contains(&result) { (-result) as u32 } else { 0 };
    if let Some(counter) = FAILURES.get_ptr_mut(counter::index(place, errno)) {
        // SAFETY: the map's value is valid until the program ends; only this CPU writes it.
        unsafe { *counter += 1 };
    }
}

/// CLOCK_MONOTONIC in nanoseconds.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: the helper takes nothing and cannot fail.
    unsafe { bpf_ktime_get_ns() }
}

/// Zero, of which the verifier knows only that it is a number.
///
/// Until 6.6 it looks at a callback of `bpf_loop` as if that ran once (Linux commit ab5cfac139ab): what it knows of the
/// context then it takes for granted in every round, and a branch that the first round never takes is not there in the
/// others either. So whatever changes from round to round, and is asked about or points somewhere, must not begin as a
/// constant. A global function: inlined, it takes stack that the largest programs do not have.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn nothing() -> u64 {
    control(NOTHING)
}

/// A word by which the daemon steers the programs; see `agent_guard_common::control`.
#[inline(always)]
pub fn control(which: u32) -> u64 {
    word(&CONTROL, which).unwrap_or(0)
}

/// A word of an array that others write meanwhile; `None` for one out of range.
#[inline(always)]
pub fn word<const WORDS: usize>(array: &Array<u64, WORDS>, index: u32) -> Option<u64> {
    // SAFETY: the map's value is valid until the program ends, and an aligned u64 is read whole.
    array.get_ptr(index).map(|word| unsafe { core::ptr::read_volatile(word) })
}
