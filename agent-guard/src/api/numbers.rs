//! Numbers in bodies: to JSON, `600.0` is the integer 600, and some languages write it so. It must not know what they
//! are for.

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};
use std::fmt;

/// Reads a number that is whole, however it is written.
pub(super) fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    Whole::deserialize(deserializer).map(|Whole(number)| number)
}

/// The same, where there may be none.
pub(super) fn whole_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    Option::deserialize(deserializer).map(|number| number.map(|Whole(number)| number))
}

struct Whole(u32);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Number).map(Self)
    }
}

struct Number;

impl Visitor<'_> for Number {
    type Value = u32;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number from 0 to {}", u32::MAX)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<u32, E> {
        u32::try_from(number).map_err(|_too_large| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<u32, E> {
        // One that is whole is written without a point.
        number.to_string().parse().map_err(|_not_whole| E::invalid_value(Unexpected::Float(number), &self))
    }
}

#[cfg(test)]
mod tests {
    use crate::api::types::AnswerBody;

    #[test]
    fn a_whole_number_is_taken_however_it_is_written_and_nothing_else() {
        let seconds = |text: &str| {
            let body = format!(r#"{{"seconds": {text}}}"#);
            serde_json::from_str::<AnswerBody>(&body).ok().map(|said| said.seconds)
        };
        assert_eq!([seconds("600"), seconds("600.0"), seconds("6e2")], [Some(Some(600)); 3]);
        assert_eq!(seconds("null"), Some(None));
        for text in ["600.5", "-1", "-1.0", "4294967296", "4294967296.0", "1e300", "\"600\"", "true"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
