//! Command patterns as a bit-parallel automaton, and the hash that proves which arguments were approved.
//!
//! A pattern is a program and words: `terraform ** destroy`. Positions of all patterns of one program share
//! a `u64`: bit *i* is live when everything before position *i* has matched. The kernel works on hashes of
//! whole words, so a word with wildcards inside (`prod-*`) is "any word" to it: what it finds is a
//! *candidate*, and the daemon, which reads the real arguments, decides. A candidate is never missed.

use crate::hash::{Sip, SipKey};
use crate::rule::Automaton;

/// Where a match stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matcher {
    /// Positions that wait for the next word.
    pub live: u64,
    /// Accepting positions that were passed.
    pub accepted: u64,
}

impl Matcher {
    /// Begins before the first argument.
    #[inline(always)]
    #[must_use]
    pub const fn new(table: &Automaton) -> Self {
        Self { live: table.start, accepted: 0 }
    }

    /// Takes one word; `at` holds the positions that name it literally.
    #[inline(always)]
    pub const fn word(&mut self, table: &Automaton, at: u64) {
        let passed = self.live & (at | table.any);
        self.accepted |= passed & table.accept;
        // An accepting position is its pattern's last one: its successor belongs to another pattern.
        self.live = (self.live & table.stay) | ((passed & !table.accept) << 1);
        self.skip(table);
    }

    /// Lets `**` match nothing: a live `**` makes its successor live too. Patterns never have two in a row.
    #[inline(always)]
    pub const fn skip(&mut self, table: &Automaton) {
        let over = self.live & table.stay;
        self.accepted |= over & table.accept;
        self.live |= (over & !table.accept) << 1;
    }
}

/// The hash of an argument vector as it lies in memory: chunks of [`CHUNK`] bytes, zero-padded, then the length.
///
/// What is hashed is everything behind `argv[0]`, each word with its NUL: of a script, `execve` replaces
/// `argv[0]` by the interpreter and its path, and keeps the rest.
#[derive(Clone, Copy, Debug)]
pub struct ArgvHash(Sip);

/// Bytes of one chunk.
pub const CHUNK: usize = 64;

impl ArgvHash {
    /// Begins a hash.
    #[inline(always)]
    #[must_use]
    pub const fn new(key: SipKey) -> Self {
        Self(Sip::new(key))
    }

    /// Adds a chunk, the last one padded with zeros.
    #[inline(always)]
    pub fn chunk(&mut self, words: &[u64; CHUNK / 8]) {
        for word in words {
            self.0.add(*word);
        }
    }

    /// Ends the hash of `length` bytes.
    #[inline(always)]
    #[must_use]
    pub const fn finish(mut self, length: u64) -> u64 {
        self.0.add(length);
        self.0.finish()
    }

    /// The hash of a whole vector of `argv[1..]`.
    #[must_use]
    pub fn of(key: SipKey, bytes: &[u8]) -> u64 {
        let mut hash = Self::new(key);
        for chunk in bytes.chunks(CHUNK) {
            let mut words = [0_u64; CHUNK / 8];
            for (index, byte) in chunk.iter().enumerate() {
                words[index / 8] |= u64::from(*byte) << (8 * (index % 8));
            }
            hash.chunk(&words);
        }
        hash.finish(bytes.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::Matcher;
    use crate::rule::Automaton;

    /// `** destroy` at positions 0 and 1, `state rm *` at 2, 3 and 4.
    fn table() -> Automaton {
        Automaton { any: 1 << 4 | 1, stay: 1, start: 0b101, accept: 1 << 1 | 1 << 4 }
    }

    fn at(word: &str) -> u64 {
        match word {
            "destroy" => 1 << 1,
            "state" => 1 << 2,
            "rm" => 1 << 3,
            _ => 0,
        }
    }

    fn accepts(words: &str) -> u64 {
        let table = table();
        let mut matcher = Matcher::new(&table);
        matcher.skip(&table);
        for word in words.split_whitespace() {
            matcher.word(&table, at(word));
        }
        matcher.accepted
    }

    #[test]
    fn a_double_star_matches_no_word_and_many() {
        assert_eq!(accepts("destroy"), 1 << 1);
        assert_eq!(accepts("-chdir=x -no-color destroy -auto-approve"), 1 << 1);
        assert_eq!(accepts("plan -out x"), 0);
    }

    #[test]
    fn words_must_come_in_order_from_the_first() {
        assert_eq!(accepts("state rm aws_db.prod"), 1 << 4);
        assert_eq!(accepts("-x state rm aws_db.prod"), 0);
        assert_eq!(accepts("state list rm y"), 0);
        assert_eq!(accepts("state rm"), 0);
    }
}
