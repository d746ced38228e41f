//! Argument vectors in bodies: only so many words are taken in. It must not know what they are for.

use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use std::fmt;

/// Words that are taken in. An empty one takes three bytes of a body and eight times as much in memory; and what is kept
/// of a vector is less than this.
const MOST: usize = 1024;

/// Reads a vector of words, without those beyond the first thousand.
pub(super) fn first<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    deserializer.deserialize_seq(First)
}

struct First;

impl<'de> Visitor<'de> for First {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of words")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut words: A) -> Result<Vec<String>, A::Error> {
        let mut first = Vec::new();
        while first.len() < MOST {
            let Some(word) = words.next_element()? else { return Ok(first) };
            first.push(word);
        }
        while words.next_element::<IgnoredAny>()?.is_some() {}
        Ok(first)
    }
}

#[cfg(test)]
mod tests {
    use super::MOST;
    use crate::api::types::StartSession;

    fn argv(words: &str) -> Result<Vec<String>, serde_json::Error> {
        let body = format!(r#"{{"child_pid": 1, "argv": [{words}], "cwd": "/"}}"#);
        serde_json::from_str::<StartSession>(&body).map(|start| start.argv)
    }

    #[test]
    fn the_first_words_are_taken_in_and_no_more() {
        assert_eq!(argv(r#""claude", "-p", """#).unwrap(), ["claude", "-p", ""]);
        assert_eq!(argv("").unwrap(), [""; 0]);
        let many = vec![r#""""#; 10 * MOST].join(",");
        assert_eq!(argv(&many).unwrap().len(), MOST);
        assert!(argv("7").is_err() && argv(&(many + ", [")).is_err());
    }
}
