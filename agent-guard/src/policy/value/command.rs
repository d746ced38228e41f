//! Command patterns: a program and its words, and the exact match of real arguments.
//!
//! The kernel finds candidates by a table made of the same words (`compile::commands`); what is decided
//! here is what a pattern means.

use schemars::{Schema, json_schema};

use super::glob::Glob;
use crate::policy::fault::quoted;
use crate::policy::read::Scalar;

/// Bytes of a pattern: more than any argument that could be meant.
const PATTERN: usize = 1024;

/// One word of a pattern.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::policy) enum Word {
    /// Exactly this one.
    Literal(String),
    /// One word that fits, such as `prod-*`.
    Glob(Glob),
    /// `*`: any one word.
    Any,
    /// `**`: any number of words, none included.
    Many,
}

impl Word {
    fn fits(&self, argument: &[u8]) -> bool {
        match self {
            Self::Literal(word) => word.as_bytes() == argument,
            Self::Glob(glob) => glob.matches(argument),
            Self::Any | Self::Many => true,
        }
    }
}

/// A command pattern: the words must come in this order, from the first argument on; more may follow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::policy) struct Command {
    /// The program's file name.
    pub(in crate::policy) program: String,
    /// The words; never two [`Word::Many`] in a row, and none at the end.
    pub(in crate::policy) words: Vec<Word>,
}

impl Command {
    /// Whether arguments (those behind the program's name) match.
    pub(in crate::policy) fn matches(&self, arguments: &[Vec<u8>]) -> bool {
        let mut rest = arguments;
        for (index, run) in self.words.split(|word| *word == Word::Many).enumerate() {
            // The first run stands at the beginning. Behind a `**`, the earliest fit leaves the most for what follows.
            let from = match index {
                0 => fits(run, rest).then_some(0),
                _ => (0..=rest.len()).find(|from| fits(run, &rest[*from..])),
            };
            match from {
                Some(from) => rest = &rest[from + run.len()..],
                None => return false,
            }
        }
        true
    }
}

fn fits(run: &[Word], arguments: &[Vec<u8>]) -> bool {
    run.len() <= arguments.len() && run.iter().zip(arguments).all(|(word, argument)| word.fits(argument))
}

impl Scalar for Command {
    const EXPECTED: &'static str = "a command pattern, such as `terraform ** destroy`";

    fn from_text(text: &str) -> Result<Self, String> {
        let shown = quoted(text);
        if text.len() > PATTERN {
            return Err(format!("{shown} has {} bytes; expected a command pattern of at most {PATTERN}", text.len()));
        }
        if text.chars().any(|character| character.is_control() || matches!(character, '"' | '\'' | '\\')) {
            return Err(format!(
                "{shown} has quotes, backslashes or control characters in it; expected words between spaces"
            ));
        }
        let mut words = text.split_whitespace();
        let Some(program) = words.next() else {
            return Err(format!("this pattern is empty; expected {}", Self::EXPECTED));
        };
        if program.contains(['*', '?', '[', '/']) || matches!(program, "." | "..") || program.len() > 255 {
            return Err(format!("{} is no program; expected a file name without `/` and wildcards", quoted(program)));
        }
        let mut words = words.map(word).collect::<Result<Vec<_>, _>>()?;
        if words.windows(2).any(|pair| *pair == [Word::Many, Word::Many]) {
            return Err(format!("{shown} has `**` twice in a row; expected it once"));
        }
        // More words may follow any pattern, so a final `**` says nothing.
        if words.last() == Some(&Word::Many) {
            words.pop();
        }
        Ok(Self { program: program.to_owned(), words })
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "maxLength": PATTERN })
    }
}

fn word(text: &str) -> Result<Word, String> {
    match text {
        "*" => Ok(Word::Any),
        "**" => Ok(Word::Many),
        glob if glob.contains(['*', '?', '[']) => Glob::parse(glob).map(Word::Glob),
        literal => Ok(Word::Literal(literal.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::{Command, Word};
    use crate::policy::read::Scalar as _;

    fn matches(pattern: &str, arguments: &str) -> bool {
        let arguments: Vec<Vec<u8>> = arguments.split_whitespace().map(|word| word.as_bytes().to_vec()).collect();
        Command::from_text(pattern).unwrap().matches(&arguments)
    }

    #[test]
    fn words_come_in_order_and_more_may_follow() {
        assert!(matches("terraform destroy", "destroy -auto-approve"));
        assert!(!matches("terraform destroy", "-chdir=x destroy"));
        assert!(matches("terraform ** destroy", "-chdir=x destroy"));
        assert!(matches("terraform ** destroy", "destroy"));
        assert!(!matches("terraform ** destroy", "plan"));
        assert!(matches("terraform", ""));
        assert!(matches("terraform **", "anything"));
    }

    #[test]
    fn one_star_is_one_word() {
        assert!(matches("aws * delete-*", "s3api delete-bucket"));
        assert!(!matches("aws * delete-*", "--region eu s3api delete-bucket"));
        assert!(!matches("aws *", ""));
        assert!(matches("aws ** delete-*", "--region eu s3api delete-bucket"));
    }

    #[test]
    fn a_run_behind_a_double_star_may_begin_anywhere() {
        assert!(matches("kubectl ** delete ns ** prod", "-v delete pod delete ns -x prod"));
        assert!(!matches("kubectl ** delete ns ** prod", "delete ns -x"));
        assert!(matches("git ** a b", "a a b"));
    }

    #[test]
    fn a_final_double_star_is_dropped() {
        assert_eq!(Command::from_text("git push **").unwrap().words, [Word::Literal("push".to_owned())]);
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in [
            "",
            " ",
            "/bin/rm x",
            "* x",
            "r? x",
            "..",
            "git ** ** x",
            "git 'x y'",
            "git \"x\"",
            "git a\\b",
            "git a\nb",
            "git [a",
            &"x".repeat(1025),
        ] {
            assert!(Command::from_text(text).is_err(), "{text:?}");
        }
    }
}
