//! Names that mean something by themselves: of files wherever they lie, and of variables.

use agent_guard_common::rule::part;
use schemars::{Schema, json_schema};

use crate::policy::fault::quoted;
use crate::policy::read::Scalar;

/// Bytes of a name: the kernel reads no more of a variable's.
const LONGEST: usize = 48;

/// What parts the words of a variable's name.
const VARIABLE_SEPARATOR: char = '_';

/// A name, or the part of it that all the names have which are meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::policy) struct Pattern {
    /// Which part: one of [`part`].
    pub(in crate::policy) part: u64,
    /// That part.
    pub(in crate::policy) text: String,
}

impl Pattern {
    /// Reads a pattern of names whose words a separator parts; `None` for what is none.
    fn read(text: &str, separator: char, is_right: impl Fn(char) -> bool) -> Option<Self> {
        let (part, name) = if let Some(rest) = text.strip_prefix('*') {
            (part::LAST, rest.strip_prefix(separator).filter(|rest| !rest.contains(separator))?)
        } else if let Some(rest) = text.strip_suffix('*') {
            // The separator that ends the first part is never the name's first character.
            let first = rest.strip_suffix(separator)?;
            (
                part::FIRST,
                Some(first).filter(|first| first.char_indices().all(|(at, one)| at == 0 || one != separator))?,
            )
        } else {
            (part::WHOLE, text)
        };
        let is_name = !name.is_empty() && name.len() <= LONGEST && name.chars().all(is_right);
        is_name.then(|| Self { part, text: name.to_owned() })
    }
}

/// The parts of a variable's name that it is known by, each with what [`Pattern::part`] calls it, in the order in which
/// they count: the whole, the first word, the last one. A separator that begins the name parts no words.
pub(in crate::policy) fn parts_of_variable(name: &str) -> impl Iterator<Item = (u64, &str)> {
    let is_separator = |(at, one): &(usize, char)| *at > 0 && *one == VARIABLE_SEPARATOR;
    let first = name.char_indices().find(is_separator).map(|(at, _)| (part::FIRST, name.split_at(at).0));
    let last = first.and_then(|_| name.rsplit(VARIABLE_SEPARATOR).next()).map(|last| (part::LAST, last));
    [Some((part::WHOLE, name)), first, last].into_iter().flatten()
}

/// The name of a file in whatever directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::policy) struct FileName(pub(in crate::policy) Pattern);

impl Scalar for FileName {
    const EXPECTED: &'static str = "a file's name, as `.netrc`, `*.pem` or `.env.*`";

    fn from_text(text: &str) -> Result<Self, String> {
        let is_right = |one: char| !one.is_control() && !matches!(one, '/' | '*' | '?' | '[');
        Pattern::read(text, '.', is_right)
            .filter(|name| !matches!(name.text.as_str(), "." | ".."))
            .map(Self)
            .ok_or_else(|| {
                format!(
                    "{} is no file's name; expected one of at most {LONGEST} bytes, as `.netrc`, `*.pem` or `.env.*`",
                    quoted(text)
                )
            })
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": r"^(\*\.[^./*?\[]+|[^/*?\[][^./*?\[]*\.\*|[^/*?\[]+)$" })
    }
}

/// The name of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::policy) struct Variable(pub(in crate::policy) Pattern);

impl Scalar for Variable {
    const EXPECTED: &'static str = "a variable's name, as `AWS_SECRET_ACCESS_KEY`, `*_TOKEN` or `VAULT_*`";

    fn from_text(text: &str) -> Result<Self, String> {
        let is_right = |one: char| one.is_ascii_alphanumeric() || one == '_';
        Pattern::read(text, VARIABLE_SEPARATOR, is_right).map(Self).ok_or_else(|| {
            format!(
                "{} is no variable's name; expected one of at most {LONGEST} bytes, as `AWS_SECRET_ACCESS_KEY`, `*_TOKEN` or `VAULT_*`",
                quoted(text)
            )
        })
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": r"^(\*_[A-Za-z0-9]+|[A-Za-z0-9_][A-Za-z0-9]*_\*|[A-Za-z0-9_]+)$" })
    }
}

#[cfg(test)]
mod tests {
    use agent_guard_common::rule::part;

    use super::{FileName, Variable, parts_of_variable};
    use crate::policy::read::Scalar as _;

    fn file(text: &str) -> Option<(u64, String)> {
        FileName::from_text(text).ok().map(|name| (name.0.part, name.0.text))
    }

    #[test]
    fn a_name_is_whole_or_begins_or_ends_at_a_separator() {
        assert_eq!(file(".netrc"), Some((part::WHOLE, ".netrc".to_owned())));
        assert_eq!(file("*.pem"), Some((part::LAST, "pem".to_owned())));
        assert_eq!(file(".env.*"), Some((part::FIRST, ".env".to_owned())));
        let variable = Variable::from_text("*_TOKEN").unwrap().0;
        assert_eq!((variable.part, variable.text.as_str()), (part::LAST, "TOKEN"));
        assert_eq!(Variable::from_text("VAULT_*").unwrap().0.part, part::FIRST);
    }

    #[test]
    fn a_variable_is_known_by_its_whole_name_and_then_by_its_words() {
        let parts = |name| parts_of_variable(name).collect::<Vec<_>>();
        assert_eq!(parts("A_B_C"), [(part::WHOLE, "A_B_C"), (part::FIRST, "A"), (part::LAST, "C")]);
        assert_eq!(parts("__C"), [(part::WHOLE, "__C"), (part::FIRST, "_"), (part::LAST, "C")]);
        assert_eq!(parts("_C"), [(part::WHOLE, "_C")]);
        assert_eq!(parts("HOME"), [(part::WHOLE, "HOME")]);
    }

    #[test]
    fn what_the_kernel_could_not_look_up_is_refused() {
        for text in
            ["", "*", "*pem", "*.tar.gz", ".env*", "a.b.*", "a/b", "a*b", ".", "..", "a\n", "[a]", &"a".repeat(49)]
        {
            assert!(FileName::from_text(text).is_err(), "{text}");
        }
        for text in ["", "*", "*TOKEN", "*_API_KEY", "AWS_S3_*", "A-B", "A B", "A=B"] {
            assert!(Variable::from_text(text).is_err(), "{text}");
        }
    }
}
