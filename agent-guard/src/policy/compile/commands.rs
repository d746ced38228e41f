//! Command labels as bit-parallel tables, one a program, and the patterns for the exact match.
//!
//! The kernel's automaton must find whatever the exact match finds; it may find more.

use std::collections::BTreeMap;

use agent_guard_common::hash;
use agent_guard_common::limits::{COMMANDS, POSITIONS, WORD_BYTES, WORDS};
use agent_guard_common::rule::{CommandKey, CommandTable, WordKey};

use super::{CompileError, fits, too_many};
use crate::policy::check::Checked;
use crate::policy::objects::Objects;
use crate::policy::value::command::{Command, Word};

/// A command pattern and its label, for the exact match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandPattern {
    /// The label that it gives.
    pub label: u16,
    command: Command,
}

impl CommandPattern {
    /// Whether a program with these file names and these arguments (behind the program's name) matches.
    #[must_use]
    pub fn matches(&self, names: &[&[u8]], arguments: &[Vec<u8>]) -> bool {
        names.contains(&self.command.program.as_bytes()) && self.command.matches(arguments)
    }
}

/// What all command labels amount to.
pub(super) struct Commands {
    pub(super) tables: Vec<(CommandKey, CommandTable)>,
    pub(super) words: Vec<(WordKey, u64)>,
    pub(super) patterns: Vec<CommandPattern>,
}

/// Compiles all command labels.
pub(super) fn compile(policy: &Checked, slot: u32) -> Result<Commands, CompileError> {
    let mut patterns = Vec::new();
    let mut programs: BTreeMap<&str, Program> = BTreeMap::new();
    for (label, number) in policy.labels.iter().zip(1_u16..) {
        let Objects::Commands(commands) = &label.objects else { continue };
        for command in commands {
            programs.entry(&command.program).or_default().add(command, number)?;
            patterns.push(CommandPattern { label: number, command: command.clone() });
        }
    }
    let mut tables = Vec::with_capacity(programs.len());
    let mut words = Vec::new();
    for (name, found) in programs {
        let program = hash::word(name.as_bytes());
        tables.push((CommandKey { program, slot, reserved: 0 }, found.table));
        let keyed = found.words.into_iter().map(|(word, at)| (WordKey { program, word, slot, reserved: 0 }, at));
        words.extend(keyed);
    }
    fits("programs in command patterns", tables.len(), COMMANDS)?;
    fits("words in command patterns", words.len(), WORDS)?;
    Ok(Commands { tables, words, patterns })
}

/// One program while patterns are added.
struct Program {
    table: CommandTable,
    /// For each word's hash, the positions that name it.
    words: BTreeMap<u64, u64>,
    /// The next free position.
    next: usize,
}

impl Default for Program {
    fn default() -> Self {
        Self { table: CommandTable::ZERO, words: BTreeMap::new(), next: 0 }
    }
}

impl Program {
    fn add(&mut self, command: &Command, label: u16) -> Result<(), CompileError> {
        // A program alone is matched before its first argument, as `**` is.
        let words = if command.words.is_empty() { &[Word::Many] } else { command.words.as_slice() };
        let (first, last) = (self.next, self.next + words.len() - 1);
        if last >= POSITIONS {
            return Err(too_many("words in the patterns of one program", last + 1, POSITIONS));
        }
        for (position, word) in (first..).zip(words) {
            let bit = 1 << position;
            match word {
                // Of a word that fills its buffer, NUL included, the kernel cannot tell whether more follows.
                Word::Literal(word) if word.len() + 1 >= WORD_BYTES => self.table.automaton.any |= bit,
                Word::Literal(word) => *self.words.entry(hash::word(word.as_bytes())).or_default() |= bit,
                Word::Glob(_) | Word::Any => self.table.automaton.any |= bit,
                Word::Many => self.table.automaton.stay |= bit,
            }
        }
        self.table.automaton.start |= 1 << first;
        self.table.automaton.accept |= 1 << last;
        self.table.labels[last] = label;
        self.next = last + 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use agent_guard_common::hash;
    use agent_guard_common::limits::WORD_BYTES;

    use crate::policy::compile::Compiled;
    use crate::policy::compile::sample::{compiled, facts};

    fn policy(patterns: &str) -> Compiled {
        let text = format!(
            "version: 1\nlabels: {{ x: {{ commands: [{patterns}] }} }}\nprofiles: {{ agent: {{ default: allow }} }}\n"
        );
        compiled(&text, &facts(&text, &[])).unwrap()
    }

    #[test]
    fn the_patterns_of_one_program_share_one_automaton() {
        let policy = policy("terraform ** destroy, terraform state rm *, git");
        assert_eq!(policy.commands.len(), 2);
        let terraform = hash::word(b"terraform");
        let (_, table) = policy.commands.iter().find(|(key, _)| key.program == terraform).unwrap();
        let automaton = table.automaton;
        assert_eq!(
            (automaton.start, automaton.stay, automaton.any, automaton.accept),
            (0b101, 0b1, 0b1_0000, 0b1_0010)
        );
        assert_eq!((table.labels[1], table.labels[4], table.labels[0]), (1, 1, 0));
        let destroy = policy.words.iter().find(|(key, _)| key.word == hash::word(b"destroy")).unwrap();
        assert_eq!((destroy.0.program, destroy.0.slot, destroy.1), (terraform, 1, 0b10));
    }

    #[test]
    fn a_word_that_the_kernel_cannot_read_whole_is_any_word_to_it() {
        let (short, long) = ("a".repeat(WORD_BYTES - 2), "a".repeat(WORD_BYTES - 1));
        let policy = policy(&format!("git {short}, git {long}"));
        assert_eq!(policy.words.len(), 1);
        assert_eq!(policy.commands[0].1.automaton.any, 0b10);
    }
}
