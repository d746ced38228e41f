//! Faults: where a policy is wrong, and what was expected there, in words for the person who wrote it.
//!
//! Owns how foreign text is quoted and how near misses are suggested. It must not know the policy language.

use core::fmt;

use crate::text;

/// Faults reported at most; a longer list would help nobody, and its length is the author's to choose.
const REPORTED: usize = 1000;

/// Known words that a misspelt one is compared with: as many as a policy has labels.
const COMPARED: usize = 256;

/// Characters of the author's own text that a message repeats.
const QUOTED: usize = 60;

/// One fault of a policy's text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong, and what was expected.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}

/// A place in a policy's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    /// Line, from 1.
    pub(super) line: usize,
    /// Column in characters, from 1.
    pub(super) column: usize,
}

impl Position {
    /// Where a text begins.
    pub(super) const START: Self = Self { line: 1, column: 1 };
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// The faults found so far: those that will be reported, and how many more there are.
#[derive(Debug, Default)]
pub(super) struct Faults {
    kept: Vec<Fault>,
    more: usize,
}

impl Faults {
    /// Notes one.
    pub(super) fn add(&mut self, at: Position, message: impl Into<String>) {
        if self.is_full() {
            self.more += 1;
            return;
        }
        self.kept.push(Fault { line: at.line, column: at.column, message: message.into() });
    }

    /// Whether none was found.
    pub(super) const fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Whether more would only be counted, so that their messages are not worth any work.
    pub(super) const fn is_full(&self) -> bool {
        self.kept.len() >= REPORTED
    }

    /// Those that are reported, in the order of the text, each once.
    pub(super) fn into_sorted(mut self) -> Vec<Fault> {
        self.kept.sort();
        self.kept.dedup();
        if let (Some(last), 1..) = (self.kept.last_mut(), self.more) {
            last.message.push_str(&format!(" (and {} more faults)", self.more));
        }
        self.kept
    }
}

/// The author's text between backquotes: shortened, and without characters that could fool a terminal.
pub(super) fn quoted(text: &str) -> String {
    let cut = text.char_indices().nth(QUOTED).map(|(index, _)| index);
    let (shown, more) = cut.map_or((text, ""), |index| (&text[..index], "..."));
    format!("`{}{more}`", text::escape(shown))
}

/// The words of a closed list, as a sentence ends with them.
pub(super) fn one_of<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match words.as_slice() {
        [] => "nothing".to_owned(),
        [only] => only.clone(),
        [init @ .., last] => format!("{} or {last}", init.join(", ")),
    }
}

/// `; did you mean ...?` when a known word is near, or nothing.
pub(super) fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    if word.len() > QUOTED {
        return String::new();
    }
    let word = word.to_lowercase();
    let allowed = (word.len() / 3).clamp(1, 3);
    known
        .into_iter()
        .take(COMPARED)
        .map(|candidate| (strsim::damerau_levenshtein(&word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map_or_else(String::new, |(_, candidate)| format!("; did you mean `{candidate}`?"))
}

#[cfg(test)]
mod tests {
    use super::{Fault, Faults, Position, REPORTED, did_you_mean, one_of, quoted};

    #[test]
    fn a_fault_reads_as_compilers_write_it() {
        let fault = Fault { line: 12, column: 5, message: "no".to_owned() };
        assert_eq!(fault.to_string(), "12:5: no");
    }

    #[test]
    fn faults_come_in_the_order_of_the_text_and_once() {
        let mut faults = Faults::default();
        for (line, column) in [(3, 1), (2, 9), (2, 2), (3, 1)] {
            faults.add(Position { line, column }, "x");
        }
        let places: Vec<_> = faults.into_sorted().iter().map(|fault| (fault.line, fault.column)).collect();
        assert_eq!(places, [(2, 2), (2, 9), (3, 1)]);
    }

    #[test]
    fn an_endless_list_is_cut_and_says_so() {
        let mut faults = Faults::default();
        for line in 1..=REPORTED + 5 {
            faults.add(Position { line, column: 1 }, "x");
        }
        let sorted = faults.into_sorted();
        assert_eq!(sorted.len(), REPORTED);
        assert_eq!(sorted.last().unwrap().message, "x (and 5 more faults)");
    }

    #[test]
    fn foreign_text_cannot_fool_a_terminal() {
        assert_eq!(quoted("a\u{1b}[2J\u{202e}b"), "`a\\x1b[2J\\u{202e}b`");
        assert_eq!(quoted(&"x".repeat(70)), format!("`{}...`", "x".repeat(60)));
        assert_eq!(quoted("Größe"), "`Größe`");
    }

    #[test]
    fn lists_read_as_sentences() {
        assert_eq!(one_of(["a"]), "`a`");
        assert_eq!(one_of(["a", "b", "c"]), "`a`, `b` or `c`");
    }

    #[test]
    fn only_near_misses_are_suggested() {
        assert_eq!(did_you_mean("dney", ["allow", "deny"]), "; did you mean `deny`?");
        assert_eq!(did_you_mean("DENY", ["allow", "deny"]), "; did you mean `deny`?");
        assert_eq!(did_you_mean("refuse", ["allow", "deny"]), "");
    }
}
