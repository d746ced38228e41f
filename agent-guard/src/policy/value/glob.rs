//! Wildcards within one word: `*`, `?` and `[a-z]`, over bytes, as arguments are.

use crate::policy::fault::quoted;

/// A word with wildcards in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::policy) struct Glob(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Piece {
    /// This byte.
    Byte(u8),
    /// `?`: any one byte.
    One,
    /// `*`: any number of bytes.
    Many,
    /// `[...]`: a byte within one of the ranges, or, with `!`, in none.
    Class { not: bool, ranges: Vec<(u8, u8)> },
}

impl Piece {
    fn fits(&self, byte: u8) -> bool {
        match self {
            Self::Byte(literal) => *literal == byte,
            Self::One | Self::Many => true,
            Self::Class { not, ranges } => ranges.iter().any(|(first, last)| (*first..=*last).contains(&byte)) != *not,
        }
    }
}

impl Glob {
    /// Parses a word.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(in crate::policy) fn parse(word: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = word.as_bytes();
        while let Some((byte, behind)) = rest.split_first() {
            rest = behind;
            pieces.push(match byte {
                b'?' => Piece::One,
                b'*' => Piece::Many,
                b'[' => {
                    let class = class(&mut rest);
                    class.ok_or_else(|| format!("{} has a `[` that no class such as [a-z] follows", quoted(word)))?
                }
                literal => Piece::Byte(*literal),
            });
        }
        Ok(Self(pieces))
    }

    /// Whether a whole word fits.
    pub(in crate::policy) fn matches(&self, word: &[u8]) -> bool {
        let (mut piece, mut byte) = (0, 0);
        // Where to go on when a `*` has to take one byte more.
        let mut retry = None;
        while byte < word.len() {
            match self.0.get(piece) {
                Some(Piece::Many) => {
                    retry = Some((piece, byte));
                    piece += 1;
                }
                Some(other) if other.fits(word[byte]) => {
                    piece += 1;
                    byte += 1;
                }
                _ => {
                    let Some((star, taken)) = retry else { return false };
                    retry = Some((star, taken + 1));
                    (piece, byte) = (star + 1, taken + 1);
                }
            }
        }
        self.0[piece..].iter().all(|piece| *piece == Piece::Many)
    }
}

/// Parses what follows a `[`, its `]` included.
fn class(rest: &mut &[u8]) -> Option<Piece> {
    let end = rest.iter().position(|byte| *byte == b']')?;
    let (inside, behind) = (&rest[..end], &rest[end + 1..]);
    *rest = behind;
    let (not, mut inside) = inside.strip_prefix(b"!").map_or((false, inside), |inside| (true, inside));
    let mut ranges = Vec::new();
    while let [first, behind @ ..] = inside {
        let (last, behind) = match behind {
            [b'-', last, behind @ ..] => (last, behind),
            _ => (first, behind),
        };
        // Bytes of a longer character are no characters; a class of them would not mean what it shows.
        if first > last || !first.is_ascii() || !last.is_ascii() {
            return None;
        }
        ranges.push((*first, *last));
        inside = behind;
    }
    (!ranges.is_empty()).then_some(Piece::Class { not, ranges })
}

#[cfg(test)]
mod tests {
    use super::Glob;

    #[test]
    fn wildcards_fit_as_in_a_shell() {
        let cases = [
            ("delete-*", "delete-bucket", true),
            ("delete-*", "delete-", true),
            ("delete-*", "undelete-x", false),
            ("*prod*", "x-prod-y", true),
            ("*prod*", "prod", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("r?", "rm", true),
            ("r?", "r", false),
            ("r?", "rmd", false),
            ("db[0-9]", "db7", true),
            ("db[0-9]", "dbx", false),
            ("db[!0-9]", "dbx", true),
            ("db[!0-9]", "db1", false),
            ("[a-cx]*", "x1", true),
            ("[a-]", "-", true),
            ("*", "", true),
            ("?*", "", false),
            ("ä*", "äb", true),
        ];
        for (glob, word, fits) in cases {
            assert_eq!(Glob::parse(glob).unwrap().matches(word.as_bytes()), fits, "{glob} on {word}");
        }
    }

    #[test]
    fn a_class_must_end_and_run_forwards() {
        for glob in ["[", "x[a", "[]", "[!]", "[z-a]", "[ä]"] {
            assert!(Glob::parse(glob).is_err(), "{glob}");
        }
    }

    #[test]
    fn many_stars_do_not_explode() {
        let glob = Glob::parse(&"*a".repeat(100)).unwrap();
        assert!(!glob.matches("a".repeat(99).as_bytes()));
        assert!(!glob.matches(format!("{}b", "a".repeat(5000)).as_bytes()));
    }
}
