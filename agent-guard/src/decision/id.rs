//! Ids of requests: short enough to be typed, and given once. It must not know what a request is.

use std::fmt;
use std::str::FromStr;

/// Crockford's base 32: no I, L, O or U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Characters of an id.
const LENGTH: u32 = 4;
/// Number of ids: over 80 for each request that can be known at one time.
pub(super) const IDS: u32 = 1 << (5 * LENGTH);

/// A request's id, like `7K2M`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(u32);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = (0..LENGTH).rev().map(|place| ALPHABET[(self.0 >> (5 * place) & 31) as usize]);
        digits.map(char::from).try_for_each(|digit| fmt::Write::write_char(f, digit))
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that cannot be a request's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a request id: four letters or digits are expected, like 7K2M")]
pub struct NotAnId;

impl FromStr for RequestId {
    type Err = NotAnId;

    /// Takes either case, and the letters that people confuse with digits.
    fn from_str(text: &str) -> Result<Self, NotAnId> {
        if text.len() != LENGTH as usize {
            return Err(NotAnId);
        }
        let digit = |byte: u8| {
            let byte = match byte.to_ascii_uppercase() {
                b'O' => b'0',
                b'I' | b'L' => b'1',
                other => other,
            };
            ALPHABET.iter().position(|known| *known == byte)
        };
        text.bytes()
            .try_fold(0, |number, byte| Some(number << 5 | u32::try_from(digit(byte)?).ok()?))
            .map(Self)
            .ok_or(NotAnId)
    }
}

/// Gives ids out: all of them once before any comes again, in an order that nobody takes for a count.
#[derive(Debug)]
pub(super) struct Ids {
    next: u32,
}

impl Ids {
    /// Begins anywhere, so that a restarted daemon does not give the same ids for other requests.
    pub(super) const fn new(seed: u32) -> Self {
        Self { next: seed % IDS }
    }

    pub(super) const fn next(&mut self) -> RequestId {
        self.next = (self.next + 1) % IDS;
        // Multiplying by an odd number permutes the ids.
        RequestId(self.next.wrapping_mul(0x9_e375) % IDS)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{IDS, Ids, NotAnId, RequestId};

    #[test]
    fn an_id_is_read_as_it_is_written() {
        for number in [0, 1, 31, 32, 0x7_4c54, IDS - 1] {
            let id = RequestId(number);
            assert_eq!(id.to_string().parse(), Ok(id));
            assert_eq!(id.to_string().len(), 4);
        }
    }

    #[test]
    fn case_and_look_alikes_do_not_matter() {
        assert_eq!("1o0i".parse::<RequestId>(), "1001".parse());
        assert_eq!("7k2m".parse::<RequestId>(), "7K2M".parse());
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in ["", "7K2", "7K2MM", "7K2U", "7K 2", "é7K"] {
            assert_eq!(text.parse::<RequestId>(), Err(NotAnId), "{text}");
        }
    }

    #[test]
    fn no_id_comes_twice() {
        let mut ids = Ids::new(u32::MAX);
        let seen: BTreeSet<RequestId> = (0..IDS).map(|_| ids.next()).collect();
        assert_eq!(seen.len(), IDS as usize);
    }
}
