//! Lists of words in bodies: only so many are taken in. It must not know what they are for.

use super::types::{NAME_BYTES, NAMES};
use serde::de::{Deserializer, Error as _, IgnoredAny, SeqAccess, Visitor};
use std::fmt;

/// Words of an argument vector that are taken in. An empty one takes three bytes of a body and eight times as much in
/// memory; and what is kept of a vector is less than this.
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

/// Reads names: all of them, or none when they are too many or too long, since an answer about some would pass for one
/// about all.
pub(super) fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    deserializer.deserialize_seq(Names)
}

struct Names;

impl<'de> Visitor<'de> for Names {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {NAMES} names of at most {NAME_BYTES} bytes")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
        let mut names = Vec::new();
        while let Some(name) = list.next_element::<String>()? {
            if names.len() == NAMES {
                return Err(A::Error::invalid_length(NAMES + 1, &self));
            }
            if name.len() > NAME_BYTES {
                return Err(A::Error::custom(format!(
                    "a name has {} bytes, expected {NAME_BYTES} at most",
                    name.len()
                )));
            }
            names.push(name);
        }
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST, NAME_BYTES, NAMES};
    use crate::api::types::{StartSession, Variables};

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

    #[test]
    fn names_are_taken_in_as_a_whole_or_not_at_all() {
        let names = |list: &[String]| {
            let body = serde_json::json!({ "names": list }).to_string();
            serde_json::from_str::<Variables>(&body).map(|asked| asked.names.len()).map_err(|error| error.to_string())
        };
        assert_eq!(names(&vec![String::new(); NAMES]), Ok(NAMES));
        let refused = names(&vec![String::new(); NAMES + 1]).unwrap_err();
        assert!(refused.contains("a list of at most 4096 names of at most 255 bytes"), "{refused}");
        assert_eq!(names(&["é".repeat(NAME_BYTES / 2)]), Ok(1));
        assert!(names(&["x".repeat(NAME_BYTES + 1)]).unwrap_err().contains("has 256 bytes, expected 255 at most"));
    }
}
