//! From the tree to typed records: the rules by which any record, list or word of the language is read.
//!
//! A reader never stops at a fault: it notes it and reads on, so that a person sees all of them at once.
//! It must not know the language itself; that is declared in `syntax`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::fault::{Faults, Position, did_you_mean, one_of, quoted};
use super::tree::{Node, Value};

/// What can be read from a node.
pub(super) trait Read: Sized {
    /// Reads it; `None` after noting why not.
    fn read(node: Node, faults: &mut Faults) -> Option<Self>;
}

/// What stands behind a key of a record: an `Option` may be left out, a [`Given`] may not. Neither spoils
/// the record when it cannot be read, so that the rest of it is checked all the same.
pub(super) trait Field: Sized {
    /// Takes the key's value; `missing` says that there should be one.
    fn take(node: Option<Node>, missing: impl FnOnce(&mut Faults), faults: &mut Faults) -> Self;
}

impl<T: Read> Field for Option<T> {
    fn take(node: Option<Node>, _: impl FnOnce(&mut Faults), faults: &mut Faults) -> Self {
        T::read(node?, faults)
    }
}

/// A value that was given, or should have been; `None` only where a fault was noted.
#[derive(Clone, Debug)]
pub(super) struct Given<T>(pub(super) Option<T>);

impl<T: Read> Field for Given<T> {
    fn take(node: Option<Node>, missing: impl FnOnce(&mut Faults), faults: &mut Faults) -> Self {
        if node.is_none() {
            missing(faults);
        }
        Self(node.and_then(|node| T::read(node, faults)))
    }
}

impl<T: Read> Read for Given<T> {
    fn read(node: Node, faults: &mut Faults) -> Option<Self> {
        Some(Self(T::read(node, faults)))
    }
}

impl<T: JsonSchema> JsonSchema for Given<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A value that stands in one place: a word, a number, a path.
pub(super) trait Scalar: Sized {
    /// What it is, as a message names it behind "expected".
    const EXPECTED: &'static str;

    /// The same, where it takes more than a phrase.
    fn expected() -> Cow<'static, str> {
        Self::EXPECTED.into()
    }

    /// Makes it of text.
    ///
    /// # Errors
    /// What is wrong with the text, as a whole sentence.
    fn from_text(text: &str) -> Result<Self, String>;

    /// Makes it of a whole number.
    ///
    /// # Errors
    /// What is wrong with the number.
    fn from_number(number: i128) -> Result<Self, String> {
        Err(format!("expected {}, found the number {number}", Self::expected()))
    }

    /// Its JSON schema.
    fn schema() -> Schema {
        json_schema!({ "type": "string", "minLength": 1 })
    }
}

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    /// Where it stands.
    pub(super) at: Position,
    /// The value.
    pub(super) value: T,
}

impl<T: Scalar> Read for At<T> {
    fn read(node: Node, faults: &mut Faults) -> Option<Self> {
        let read = match &node.value {
            Value::Text(text) => T::from_text(text),
            Value::Number(number) => T::from_number(*number),
            other => Err(format!("expected {}, found {}", T::expected(), other.found())),
        };
        match read {
            Ok(value) => Some(Self { at: node.at, value }),
            Err(message) => {
                faults.add(node.at, message);
                None
            }
        }
    }
}

impl<T: Scalar> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::EXPECTED.into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        T::schema()
    }
}

/// A word of a closed list.
pub(super) trait Word: Copy + 'static {
    /// What it is, as a message names it.
    const WHAT: &'static str;

    /// All words and what they stand for.
    fn all() -> Vec<(&'static str, Self)>;
}

impl<T: Word> Scalar for T {
    const EXPECTED: &'static str = T::WHAT;

    fn expected() -> Cow<'static, str> {
        one_of(T::all().iter().map(|(name, _)| *name)).into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let words = T::all();
        words.iter().find(|(name, _)| *name == text).map(|(_, word)| *word).ok_or_else(|| {
            let hint = did_you_mean(text, words.iter().map(|(name, _)| *name));
            format!("{} is no {}; expected {}{hint}", quoted(text), T::WHAT, T::expected())
        })
    }

    fn schema() -> Schema {
        let names: Vec<_> = T::all().into_iter().map(|(name, _)| name).collect();
        json_schema!({ "type": "string", "enum": names })
    }
}

impl<T: Read> Read for Vec<T> {
    fn read(node: Node, faults: &mut Faults) -> Option<Self> {
        let Value::List(nodes) = node.value else {
            faults.add(node.at, format!("expected a list, found {}", node.value.found()));
            return None;
        };
        if nodes.is_empty() {
            faults.add(node.at, "this list is empty; expected at least one entry");
        }
        // What cannot be read is noted; the rest is worth checking all the same.
        Some(nodes.into_iter().filter_map(|node| T::read(node, faults)).collect())
    }
}

/// The word for whatever there is.
const ALL: &str = "all";

/// The word `all`, or one value or a list of them.
#[derive(Clone, Debug)]
pub(super) enum Several<T> {
    /// Whatever there is.
    All,
    /// What is listed.
    These(Vec<At<T>>),
}

impl<T: Scalar> Read for Several<T> {
    fn read(node: Node, faults: &mut Faults) -> Option<Self> {
        match &node.value {
            Value::Text(text) if text == ALL => Some(Self::All),
            Value::List(nodes) => {
                if let Some(all) = nodes.iter().find(|node| node.value == Value::Text(ALL.to_owned())) {
                    faults.add(all.at, "`all` stands for itself; expected it without a list around it");
                    return None;
                }
                Vec::read(node, faults).map(Self::These)
            }
            _ => At::read(node, faults).map(|one| Self::These(vec![one])),
        }
    }
}

impl<T: Scalar> JsonSchema for Several<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::EXPECTED.into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let one = T::schema();
        json_schema!({ "anyOf": [{ "const": ALL }, one, { "type": "array", "items": one, "minItems": 1 }] })
    }
}

/// Named entries, in the order of the text. An entry that could not be read keeps its name, so that what
/// refers to it is not called undefined as well.
#[derive(Clone, Debug)]
pub(super) struct Table<K, T>(pub(super) Vec<(At<K>, Option<T>)>);

impl<K: Scalar, T: Read> Read for Table<K, T> {
    fn read(node: Node, faults: &mut Faults) -> Option<Self> {
        let Value::Mapping(entries) = node.value else {
            faults.add(node.at, format!("expected a mapping of names, found {}", node.value.found()));
            return None;
        };
        if entries.is_empty() {
            faults.add(node.at, "this mapping is empty; expected at least one name");
        }
        let mut table = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let name = At::read(key, faults);
            let value = T::read(value, faults);
            table.extend(name.map(|name| (name, value)));
        }
        Some(Self(table))
    }
}

impl<K, T: JsonSchema> JsonSchema for Table<K, T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        BTreeMap::<String, T>::json_schema(generator)
    }
}

/// The keys of one mapping while a record takes them.
#[derive(Debug)]
pub(super) struct Fields {
    at: Position,
    record: &'static str,
    entries: Vec<(String, Node)>,
}

impl Fields {
    /// Opens a mapping and notes the keys that the record does not know.
    pub(super) fn open(node: Node, record: &'static str, known: &[&str], faults: &mut Faults) -> Option<Self> {
        let Value::Mapping(mapping) = node.value else {
            faults.add(
                node.at,
                format!(
                    "expected {record}: a mapping with {}, found {}",
                    one_of(known.iter().copied()),
                    node.value.found()
                ),
            );
            return None;
        };
        let mut entries = Vec::with_capacity(mapping.len());
        for (key, value) in mapping {
            match key.value {
                Value::Text(name) if known.contains(&name.as_str()) => entries.push((name, value)),
                Value::Text(name) => {
                    let keys = one_of(known.iter().copied());
                    let hint = did_you_mean(&name, known.iter().copied());
                    faults.add(key.at, format!("{record} has no key {}; expected {keys}{hint}", quoted(&name)));
                }
                other => faults.add(key.at, format!("expected a key of {record}, found {}", other.found())),
            }
        }
        Some(Self { at: node.at, record, entries })
    }

    /// Takes one key.
    pub(super) fn take<T: Field>(&mut self, name: &str, faults: &mut Faults) -> T {
        let index = self.entries.iter().position(|(key, _)| key == name);
        let node = index.map(|index| self.entries.swap_remove(index).1);
        let missing = |faults: &mut Faults| faults.add(self.at, format!("{} needs the key `{name}`", self.record));
        T::take(node, missing, faults)
    }
}

/// Declares a record of the language: its keys are its fields, and unknown keys are refused. With `at`, it
/// knows its place.
macro_rules! record {
    ($(#[$meta:meta])* $name:ident = $what:literal $(, $at:ident)? { $($(#[$field_meta:meta])* $field:ident : $type:ty),* $(,)? }) => {
        #[derive(Clone, Debug, schemars::JsonSchema)]
        $(#[$meta])*
        #[schemars(deny_unknown_fields)]
        pub(super) struct $name {
            $(
                /// Where it begins.
                #[schemars(skip)]
                pub(super) $at: $crate::policy::fault::Position,
            )?
            $($(#[$field_meta])* pub(super) $field: $type),*
        }

        impl $crate::policy::read::Read for $name {
            fn read(node: $crate::policy::tree::Node, faults: &mut $crate::policy::fault::Faults) -> Option<Self> {
                $(let $at = node.at;)?
                let mut fields = $crate::policy::read::Fields::open(node, $what, &[$(stringify!($field)),*], faults)?;
                Some(Self { $($at,)? $($field: fields.take(stringify!($field), faults)),* })
            }
        }
    };
}
pub(super) use record;

#[cfg(test)]
mod tests {
    use super::{At, Given, Read as _, Several};
    use crate::policy::fault::Faults;
    use crate::policy::tree::parse;
    use crate::policy::value::text::Name;

    record! {
        /// A record to read.
        Sample = "a sample" {
            /// Needed.
            name: Given<At<Name>>,
            /// Not needed.
            other: Option<At<Name>>,
            /// Several.
            several: Option<Several<Name>>,
        }
    }

    fn sample(text: &str) -> (Sample, Vec<String>) {
        let mut faults = Faults::default();
        let sample = Sample::read(parse(text, &mut faults).unwrap(), &mut faults).unwrap();
        (sample, faults.into_sorted().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_may_be_left_out_may_be_left_out() {
        let (sample, faults) = sample("name: a\n");
        assert_eq!(sample.name.0.unwrap().value.0, "a");
        assert!(sample.other.is_none() && sample.several.is_none());
        assert_eq!(faults, [""; 0]);
    }

    #[test]
    fn one_fault_does_not_hide_another() {
        let (sample, faults) = sample("nme: a\nother: B\nseveral: [a, C, 5]\n");
        assert!(sample.name.0.is_none());
        assert_eq!(faults.len(), 5, "{faults:?}");
    }

    #[test]
    fn several_are_all_or_one_or_a_list() {
        let several = |text: &str| sample(&format!("name: a\nseveral: {text}\n")).0.several;
        assert!(matches!(several("all"), Some(Several::All)));
        assert!(matches!(several("b"), Some(Several::These(these)) if these.len() == 1));
        assert!(matches!(several("[b, c]"), Some(Several::These(these)) if these.len() == 2));
        assert!(several("[b, all]").is_none());
    }
}
