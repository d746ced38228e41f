//! Names: their hashes, and what a name means by itself, wherever its file lies.
//!
//! Must not know who bears a name. All are global functions: the verifier looks at each once, and not wherever it is
//! called. Their pointers are plain numbers, and each read is a copy.

use agent_guard_common::hash::Sip;
use agent_guard_common::rule::{NameKey, UNLABELLED, part};
use aya_ebpf::helpers::generated::bpf_loop;

use crate::kernel::{copy, member, nothing};
use crate::maps::NAMES;
use crate::question;

/// The longest name of a Linux file system, in words of eight bytes.
const NAME_WORDS: u32 = 32;

/// The hash of so many bytes at an address: the loop of both functions below. Where one called the other, or both this as a
/// function, it would take stack that a walk does not have.
macro_rules! hashed {
    ($bytes:ident, $length:ident) => {{
        let mut sip = Sip::new(question::key());
        for index in 0..NAME_WORDS {
            let at = index * 8;
            if at >= $length {
                break;
            }
            let mut word = 0_u64;
            if !copy(&mut word, $bytes + u64::from(at)) {
                return 0;
            }
            let rest = $length - at;
            if rest < 8 {
                word &= (1 << (rest * 8)) - 1;
            }
            sip.add(word);
        }
        sip.add(u64::from($length));
        sip.finish()
    }};
}

/// Hash of an entry's name, as `SipKey::hash` computes it. `entry` is the entry's address.
///
/// A name that cannot be read hashes to 0, which no record has: it is then labelled by its directory.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn name_hash(entry: u64) -> u64 {
    let (mut name, mut length) = (0_u64, 0_u32);
    if !copy(&mut name, entry + u64::from(member::DENTRY_NAME.load()))
        || !copy(&mut length, entry + u64::from(member::DENTRY_NAME_LEN.load()))
    {
        return 0;
    }
    hashed!(name, length)
}

/// Hash of so many bytes, of at most 256, as `SipKey::hash` computes it; 0 when they cannot be read.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn bytes_hash(bytes: u64, length: u32) -> u64 {
    hashed!(bytes, length)
}

/// Hash of a kernel string, or of its first half kilobyte; 0 when it cannot be read.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn text_hash(text: u64) -> u64 {
    const TEXT_WORDS: u32 = 64;
    let mut sip = Sip::new(question::key());
    for index in 0..TEXT_WORDS {
        let mut word = 0_u64;
        if !copy(&mut word, text + u64::from(index * 8)) {
            return 0;
        }
        // The lowest byte that is zero, and all above it, are not the string's (Mycroft's test).
        let zeros = word.wrapping_sub(0x0101_0101_0101_0101) & !word & 0x8080_8080_8080_8080;
        if zeros != 0 {
            let end = (zeros & zeros.wrapping_neg()) >> 7;
            sip.add(word & (end - 1));
            break;
        }
        sip.add(word);
    }
    sip.finish()
}

/// The label that an entry's name has in every directory: by the whole name, by what stands before its first dot, or by
/// what stands behind its last; `UNLABELLED` for none. `entry` is the entry's address; `kind`: whose names they are, such as
/// `FILES_ANYWHERE`.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn label_anywhere(entry: u64, slot: u32, kind: u32) -> u64 {
    let (mut name, mut length) = (0_u64, 0_u32);
    if label_of(kind, slot, part::SOME, 0) == UNLABELLED
        || !copy(&mut name, entry + u64::from(member::DENTRY_NAME.load()))
        || !copy(&mut length, entry + u64::from(member::DENTRY_NAME_LEN.load()))
    {
        return u64::from(UNLABELLED);
    }
    let whole = label_of(kind, slot, part::WHOLE, bytes_hash(name, length));
    let mut dots = Dots { name, length, first: nothing() as u32, last: 0, reserved: 0 };
    // SAFETY: the callback has the helper's signature, and the context outlives the loop.
    unsafe { bpf_loop(NAME_WORDS, find_dots as *mut _, (&raw mut dots).cast(), 0) };
    if whole != UNLABELLED || dots.last == 0 {
        return u64::from(whole);
    }
    let beginning = label_of(kind, slot, part::FIRST, bytes_hash(name, dots.first));
    if beginning != UNLABELLED {
        return u64::from(beginning);
    }
    let behind = dots.last + 1;
    u64::from(label_of(kind, slot, part::LAST, bytes_hash(name + u64::from(behind), length.wrapping_sub(behind))))
}

#[inline(always)]
fn label_of(kind: u32, slot: u32, part: u64, name: u64) -> u16 {
    // SAFETY: the value is copied at once; the map frees by RCU, whose reader this program is.
    unsafe { NAMES.get(NameKey { dev: kind, slot, ino: part, name }) }.map_or(UNLABELLED, |label| label.label)
}

/// A search for the dots of a name. One that begins the name does not count.
#[repr(C)]
struct Dots {
    name: u64,
    length: u32,
    /// Where the first and the last stand; 0 for none.
    first: u32,
    last: u32,
    reserved: u32,
}

/// Looks for dots in a word of a name.
extern "C" fn find_dots(index: u64, context: *mut core::ffi::c_void) -> i64 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    const DOTS: u64 = 0x2e2e_2e2e_2e2e_2e2e;
    // SAFETY: `bpf_loop` passes on the context that it was given.
    let dots = unsafe { &mut *context.cast::<Dots>() };
    let at = index as u32 * 8;
    let mut word = 0_u64;
    if at >= dots.length || !copy(&mut word, dots.name + u64::from(at)) {
        return 1;
    }
    let other = word ^ DOTS;
    // The highest bit of each byte that is a dot (Hacker's Delight, 6-1).
    let mut found = !((other & LOW).wrapping_add(LOW) | other | LOW);
    if at == 0 {
        found &= !0x80;
    }
    let rest = dots.length - at;
    if rest < 8 {
        found &= (1 << (rest * 8)) - 1;
    }
    if found != 0 {
        if dots.first == 0 {
            dots.first = at + found.trailing_zeros() / 8;
        }
        dots.last = at + (63 - found.leading_zeros()) / 8;
    }
    0
}
