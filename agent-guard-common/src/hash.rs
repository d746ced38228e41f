//! Hashes that both sides compute: keyed SipHash-1-3 for identities, a plain multiplicative one for words.
//!
//! Identities (objects, names, approved arguments) must not be forgeable by whoever chooses the bytes, so
//! they are keyed with a secret of the boot. A word's hash only selects candidates, so it needs no secret.

use crate::limits::WORD_BYTES;

/// Key of SipHash-1-3 (Aumasson and Bernstein, 2012; the reduced-round variant of Linux' `hsiphash`).
#[derive(Clone, Copy)]
pub struct SipKey {
    /// First half.
    pub k0: u64,
    /// Second half.
    pub k1: u64,
}

impl core::fmt::Debug for SipKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SipKey(secret)")
    }
}

/// A SipHash in progress over 64-bit words.
#[derive(Clone, Copy, Debug)]
pub struct Sip {
    v0: u64,
    v1: u64,
    v2: u64,
    v3: u64,
}

impl Sip {
    /// Begins a hash.
    #[inline(always)]
    #[must_use]
    pub const fn new(key: SipKey) -> Self {
        Self {
            v0: key.k0 ^ 0x736f_6d65_7073_6575,
            v1: key.k1 ^ 0x646f_7261_6e64_6f6d,
            v2: key.k0 ^ 0x6c79_6765_6e65_7261,
            v3: key.k1 ^ 0x7465_6462_7974_6573,
        }
    }

    #[inline(always)]
    const fn round(&mut self) {
        self.v0 = self.v0.wrapping_add(self.v1);
        self.v1 = self.v1.rotate_left(13) ^ self.v0;
        self.v0 = self.v0.rotate_left(32);
        self.v2 = self.v2.wrapping_add(self.v3);
        self.v3 = self.v3.rotate_left(16) ^ self.v2;
        self.v0 = self.v0.wrapping_add(self.v3);
        self.v3 = self.v3.rotate_left(21) ^ self.v0;
        self.v2 = self.v2.wrapping_add(self.v1);
        self.v1 = self.v1.rotate_left(17) ^ self.v2;
        self.v2 = self.v2.rotate_left(32);
    }

    /// Adds a word.
    #[inline(always)]
    pub const fn add(&mut self, word: u64) {
        self.v3 ^= word;
        self.round();
        self.v0 ^= word;
    }

    /// Ends the hash. Never 0, which records use for "none".
    #[inline(always)]
    #[must_use]
    pub const fn finish(mut self) -> u64 {
        self.v2 ^= 0xff;
        self.round();
        self.round();
        self.round();
        let hash = self.v0 ^ self.v1 ^ self.v2 ^ self.v3;
        if hash == 0 { 1 } else { hash }
    }
}

impl SipKey {
    /// Hash of a name: its bytes in words of eight, little-endian, zero-padded, and then its length.
    ///
    /// The kernel computes the same over a zeroed buffer; see `agent-guard-ebpf/src/object.rs`.
    #[must_use]
    pub fn hash(self, bytes: &[u8]) -> u64 {
        let mut sip = Sip::new(self);
        for chunk in bytes.chunks(8) {
            let mut word = 0;
            for (index, byte) in chunk.iter().enumerate() {
                word |= u64::from(*byte) << (8 * index);
            }
            sip.add(word);
        }
        sip.add(bytes.len() as u64);
        sip.finish()
    }
}

/// A word as the kernel reads it: zero-padded, in words of eight bytes, little-endian.
pub type WordBytes = [u64; WORD_BYTES / 8];

/// Hash of a word, without a branch: a loop that ends at the NUL has as many paths as places to end.
#[inline(always)]
#[must_use]
pub const fn word_of(bytes: &WordBytes) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    let mut index = 0;
    while index < bytes.len() {
        hash = mix(hash, bytes[index]);
        index += 1;
    }
    hash
}

/// Hash of no letters, with which [`letter`] begins.
pub const LETTERS: u64 = 0xcbf2_9ce4_8422_2325;

/// Adds a letter to a hash of letters (FNV-1a). Whoever finds another name with the same hash is only taken for more.
#[inline(always)]
#[must_use]
pub const fn letter(hash: u64, byte: u8) -> u64 {
    (hash ^ byte as u64).wrapping_mul(0x0000_0100_0000_01b3)
}

/// Hash of letters.
#[must_use]
pub fn letters(bytes: &[u8]) -> u64 {
    bytes.iter().fold(LETTERS, |hash, byte| letter(hash, *byte))
}

/// Mixes one more value into a hash (the step of FNV-1a on whole words, with a rotation).
#[inline(always)]
#[must_use]
pub const fn mix(hash: u64, value: u64) -> u64 {
    (hash.rotate_left(29) ^ value).wrapping_mul(0x0000_0100_0000_01b3)
}

/// Hash of a word of fewer than [`WORD_BYTES`] bytes; of a longer one only the beginning counts.
#[must_use]
pub fn word(bytes: &[u8]) -> u64 {
    let mut padded: WordBytes = [0; WORD_BYTES / 8];
    for (index, byte) in bytes.iter().take(WORD_BYTES - 1).enumerate() {
        padded[index / 8] |= u64::from(*byte) << (8 * (index % 8));
    }
    word_of(&padded)
}

#[cfg(test)]
mod tests {
    use std::hash::{DefaultHasher, Hasher as _};

    use super::{Sip, SipKey, word};

    #[test]
    fn names_of_different_length_differ_even_when_padding_makes_them_alike() {
        let key = SipKey { k0: 1, k1: 2 };
        assert_ne!(key.hash(b"a"), key.hash(b"a\0"));
    }

    #[test]
    fn the_key_matters() {
        assert_ne!(SipKey { k0: 1, k1: 2 }.hash(b"prod"), SipKey { k0: 1, k1: 3 }.hash(b"prod"));
    }

    #[test]
    fn siphash_1_3_agrees_with_the_standard_librarys() {
        // `DefaultHasher::new()` is SipHash-1-3 with a zero key; the reference puts the message's length
        // into the upper byte of its last word.
        let mut oracle = DefaultHasher::new();
        oracle.write(&0x0706_0504_0302_0100_u64.to_le_bytes());
        let mut sip = Sip::new(SipKey { k0: 0, k1: 0 });
        sip.add(0x0706_0504_0302_0100);
        sip.add(8 << 56);
        assert_eq!(sip.finish(), oracle.finish());
    }

    #[test]
    fn words_differ_where_any_byte_does() {
        let mut seen = std::collections::BTreeSet::new();
        for length in 1..64 {
            for last in [b'a', b'b', b'-'] {
                let mut bytes = vec![b'x'; length];
                bytes[length - 1] = last;
                assert!(seen.insert(word(&bytes)), "{length} {last}");
            }
        }
    }

    #[test]
    fn a_word_is_cut_where_the_kernel_cuts_it() {
        assert_eq!(word(&[b'x'; 63]), word(&[b'x'; 64]));
        assert_ne!(word(&[b'x'; 62]), word(&[b'x'; 63]));
    }
}
