//! YAML as a tree of values that know their place in the text. The only file that knows the YAML library.
//!
//! Owns what of YAML a policy may use: no anchors, aliases, merges or foreign tags, so that a text means
//! what stands in it. It must not know the policy language.

use core::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::{DuplicateKeyPolicy, MergeKeyPolicy, NonFiniteFloatPolicy, Options};
use serde_saphyr::{Error, Location, Spanned};

use super::fault::{Faults, Position, quoted};
use crate::text;

/// Bytes of a policy's text.
pub(super) const TEXT_BYTES: usize = 1 << 20;
/// Levels of nesting; the language needs seven.
const NESTING: usize = 16;

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    /// Where it begins.
    pub(super) at: Position,
    /// What stands there.
    pub(super) value: Value,
}

/// What YAML can say.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// Nothing, `~` or `null`.
    Nothing,
    /// `true` or `false`; `yes`, `no`, `on` and `off` are text.
    Truth(bool),
    /// A whole number.
    Number(i128),
    /// A number with a fraction or an exponent.
    Fraction(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order of the text.
    Mapping(Vec<(Node, Node)>),
}

impl Value {
    /// What it is, as a message names it behind "found".
    pub(super) fn found(&self) -> String {
        match self {
            Self::Nothing => "nothing".to_owned(),
            Self::Truth(truth) => format!("`{truth}`"),
            Self::Number(number) => format!("the number {number}"),
            Self::Fraction(number) => format!("the number {number}"),
            Self::Text(text) => quoted(text),
            Self::List(_) => "a list".to_owned(),
            Self::Mapping(_) => "a mapping".to_owned(),
        }
    }
}

/// Parses a text. `None` when it has no tree at all; then the faults say why.
pub(super) fn parse(text: &str, faults: &mut Faults) -> Option<Node> {
    if text.len() > TEXT_BYTES {
        faults.add(Position::START, format!("the policy has {} bytes; at most {TEXT_BYTES} are read", text.len()));
        return None;
    }
    let parsed = match serde_saphyr::from_str_with_options::<Spanned<Value>>(text, options(DuplicateKeyPolicy::Error)) {
        // A repeated key is no reason to keep silent about the rest.
        Err(error @ Error::DuplicateMappingKey { .. }) => {
            report(&error, faults);
            serde_saphyr::from_str_with_options(text, options(DuplicateKeyPolicy::FirstWins))
        }
        other => other,
    };
    match parsed {
        Ok(spanned) => Some(Node::from(spanned)),
        Err(error) => {
            report(&error, faults);
            None
        }
    }
}

fn options(duplicate_keys: DuplicateKeyPolicy) -> Options {
    let budget = serde_saphyr::budget! {
        max_aliases: 0,
        max_anchors: 0,
        max_depth: NESTING,
        max_documents: 1,
    };
    serde_saphyr::options! {
        budget: budget,
        duplicate_keys: duplicate_keys,
        merge_keys: MergeKeyPolicy::AsOrdinary,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        reject_unsupported_tags: true,
        strict_booleans: true,
        with_snippet: false,
    }
}

fn report(error: &Error, faults: &mut Faults) {
    let at = error.location().map_or(Position::START, Position::from);
    faults.add(at, message(error));
}

fn message(error: &Error) -> String {
    use serde_saphyr::budget::BudgetBreach;
    match error {
        Error::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().map_or_else(|| "this key".to_owned(), quoted);
            format!("{key} stands here a second time; expected each key once")
        }
        Error::Budget { breach: BudgetBreach::Aliases { .. } | BudgetBreach::Anchors { .. }, .. }
        | Error::UnknownAnchor { .. } => {
            "anchors and aliases are not part of a policy; write the value out where it is meant".to_owned()
        }
        Error::Budget { breach: BudgetBreach::Depth { .. }, .. } => {
            format!("nested more than {NESTING} levels deep; a policy needs seven")
        }
        Error::Budget { breach: BudgetBreach::Documents { .. }, .. } | Error::MultipleDocuments { .. } => {
            "a second document begins here; expected one policy in one document".to_owned()
        }
        Error::Budget { .. } => "the policy has more values than any policy needs".to_owned(),
        Error::UnsupportedTag { tag, .. } => format!("tags such as {} are not part of a policy", quoted(tag)),
        other => {
            let text = text::escape(&other.render());
            // The place stands at the head of the fault already.
            let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
            format!("this is not YAML that can be read: {text}")
        }
    }
}

impl From<Location> for Position {
    fn from(location: Location) -> Self {
        let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX).max(1);
        Self { line: number(location.line()), column: number(location.column()) }
    }
}

impl From<Spanned<Value>> for Node {
    fn from(spanned: Spanned<Value>) -> Self {
        Self { at: spanned.referenced.into(), value: spanned.value }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Nothing)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Truth(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_i128<E>(self, number: i128) -> Result<Value, E> {
        Ok(Value::Number(number))
    }

    fn visit_u128<E: serde::de::Error>(self, number: u128) -> Result<Value, E> {
        i128::try_from(number).map(Value::Number).map_err(E::custom)
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Fraction(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element::<Spanned<Value>>()? {
            nodes.push(node.into());
        }
        Ok(Value::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut mapping: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = mapping.next_entry::<Spanned<Value>, Spanned<Value>>()? {
            entries.push((key.into(), value.into()));
        }
        Ok(Value::Mapping(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::{Node, Value, parse};
    use crate::policy::fault::Faults;

    /// The tree of a text, and its faults.
    fn tree(text: &str) -> (Option<Node>, Vec<String>) {
        let mut faults = Faults::default();
        let node = parse(text, &mut faults);
        (node, faults.into_sorted().iter().map(ToString::to_string).collect())
    }

    fn entry(text: &str) -> Value {
        let (node, faults) = tree(text);
        assert_eq!(faults, [""; 0], "{text}");
        let Some(Node { value: Value::Mapping(mut entries), .. }) = node else { panic!("{text} is no mapping") };
        entries.remove(0).1.value
    }

    #[test]
    fn every_value_knows_its_place_in_characters() {
        let (node, _) = tree("ä: [ü, 2]\n");
        let Value::Mapping(entries) = node.unwrap().value else { panic!("no mapping") };
        let Value::List(list) = &entries[0].1.value else { panic!("no list") };
        let columns: Vec<_> = list.iter().map(|node| (node.at.line, node.at.column)).collect();
        assert_eq!(columns, [(1, 5), (1, 8)]);
    }

    #[test]
    fn only_true_and_false_are_truths() {
        for text in ["yes", "no", "on", "off", "y", "NO"] {
            assert_eq!(entry(&format!("a: {text}\n")), Value::Text(text.to_owned()));
        }
        assert_eq!(entry("a: true\n"), Value::Truth(true));
    }

    #[test]
    fn aliases_are_refused_before_they_can_grow() {
        let mut bomb = "a0: &a0 [x]\n".to_owned();
        for level in 1..60 {
            bomb.push_str(&format!("a{level}: &a{level} [*a{0}, *a{0}]\n", level - 1));
        }
        let (node, faults) = tree(&bomb);
        assert!(node.is_none());
        assert!(faults[0].contains("anchors and aliases are not part of a policy"), "{faults:?}");
    }

    #[test]
    fn a_repeated_key_does_not_hide_the_rest() {
        let (node, faults) = tree("a: 1\na: 2\nb: 3\n");
        assert_eq!(faults, ["2:1: `a` stands here a second time; expected each key once"]);
        assert!(node.is_some());
    }
}
