//! Names: their hashes, and what a name means by itself, wherever its file lies.
//!
//! Must not know who bears a name. All are global functions: the verifier looks at each once, and not wherever it is
//! called. Their pointers are plain numbers, and each read is a copy.

use agent_guard_common::hash::Sip;
use agent_guard_common::rule::{NameKey, UNLABELLED, part};

use crate::kernel::{copy, member};
use crate::maps::NAMES;
use crate::question;

/// The longest name of a Linux file system, in words of eight bytes.
const NAME_WORDS: u32 = 32;

/// Hash of an entry's name, as `SipKey::hash` computes it. `entry` is the entry's address.
///
/// A name that cannot be read hashes to 0, which no record has: it is then labelled by its directory.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn name_hash(entry: u64) -> u64 {
    let (mut name, mut length) = (0_u64, 0_u32);
    if !read(entry, &mut name, &mut length) {
        return 0;
    }
    hash(name, length)
}

/// Hash of so many bytes, of at most 256, as `SipKey::hash` computes it; 0 when they cannot be read.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn bytes_hash(bytes: u64, length: u32) -> u64 {
    hash(bytes, length)
}

/// Where an entry keeps its name, and how long it is.
#[inline(always)]
fn read(entry: u64, name: &mut u64, length: &mut u32) -> bool {
    copy(name, entry + u64::from(member::DENTRY_NAME.load()))
        && copy(length, entry + u64::from(member::DENTRY_NAME_LEN.load()))
}

/// It stands in both functions above: one that called the other would take stack that a walk does not have.
#[inline(always)]
fn hash(bytes: u64, length: u32) -> u64 {
    let mut sip = Sip::new(question::key());
    for index in 0..NAME_WORDS {
        let at = index * 8;
        if at >= length {
            break;
        }
        let mut word = 0_u64;
        if !copy(&mut word, bytes + u64::from(at)) {
            return 0;
        }
        let rest = length - at;
        if rest < 8 {
            word &= (1 << (rest * 8)) - 1;
        }
        sip.add(word);
    }
    sip.add(u64::from(length));
    sip.finish()
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
    if label_of(kind, slot, part::SOME, 0) == UNLABELLED || !read(entry, &mut name, &mut length) {
        return u64::from(UNLABELLED);
    }
    let whole = label_of(kind, slot, part::WHOLE, bytes_hash(name, length));
    let (first, last) = dots(name, length);
    if whole != UNLABELLED || last == 0 {
        return u64::from(whole);
    }
    let beginning = label_of(kind, slot, part::FIRST, bytes_hash(name, first));
    if beginning != UNLABELLED {
        return u64::from(beginning);
    }
    u64::from(label_of(kind, slot, part::LAST, bytes_hash(name + u64::from(last) + 1, length - last - 1)))
}

#[inline(always)]
fn label_of(kind: u32, slot: u32, part: u64, name: u64) -> u16 {
    // SAFETY: the value is copied at once; the map frees by RCU, whose reader this program is.
    unsafe { NAMES.get(NameKey { dev: kind, slot, ino: part, name }) }.map_or(UNLABELLED, |label| label.label)
}

/// Where the first dot of a name stands, and the last; one that begins the name does not count. 0 for none.
#[inline(always)]
fn dots(name: u64, length: u32) -> (u32, u32) {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    const DOTS: u64 = 0x2e2e_2e2e_2e2e_2e2e;
    let (mut first, mut last) = (0, 0);
    for index in 0..NAME_WORDS {
        let at = index * 8;
        if at >= length {
            break;
        }
        let mut word = 0_u64;
        if !copy(&mut word, name + u64::from(at)) {
            break;
        }
        let other = word ^ DOTS;
        // The highest bit of each byte that is a dot (Hacker's Delight, 6-1).
        let mut found = !((other & LOW).wrapping_add(LOW) | other | LOW);
        if at == 0 {
            found &= !0x80;
        }
        let rest = length - at;
        if rest < 8 {
            found &= (1 << (rest * 8)) - 1;
        }
        if found != 0 {
            if first == 0 {
                first = at + found.trailing_zeros() / 8;
            }
            last = at + (63 - found.leading_zeros()) / 8;
        }
    }
    (first, last)
}
