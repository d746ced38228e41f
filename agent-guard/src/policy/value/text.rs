//! Names, durations, messages and the language's version.

use core::time::Duration;

use agent_guard_common::limits::NAME_BYTES;
use schemars::{Schema, json_schema};

use crate::policy::fault::quoted;
use crate::policy::read::Scalar;

/// The longest that a call may be held.
const LONGEST_HOLD: Duration = Duration::from_secs(24 * 60 * 60);
/// Characters of a rule's name.
const RULE_NAME: usize = 63;
/// Characters of a message.
const MESSAGE: usize = 500;
/// Words with a meaning of their own where names stand.
const RESERVED: [&str; 2] = ["all", "unlabelled"];

/// The version of the language; there is one.
#[derive(Clone, Copy, Debug)]
pub(in crate::policy) struct Version;

impl Scalar for Version {
    const EXPECTED: &'static str = "the version of the policy language, 1";

    fn from_text(text: &str) -> Result<Self, String> {
        Err(format!("expected {}, found {}", Self::EXPECTED, quoted(text)))
    }

    fn from_number(number: i128) -> Result<Self, String> {
        if number == 1 {
            return Ok(Self);
        }
        Err(format!("this program does not know version {number} of the policy language; expected 1"))
    }

    fn schema() -> Schema {
        json_schema!({ "const": 1 })
    }
}

/// A name: of a label or a profile.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::policy) struct Name(pub(in crate::policy) String);

impl Scalar for Name {
    const EXPECTED: &'static str = "a name of a-z, 0-9 and `-`";

    fn from_text(text: &str) -> Result<Self, String> {
        // The kernel's records keep room for a final NUL.
        name(text, NAME_BYTES - 1).map(Self)
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^[a-z0-9-]{1,31}$" })
    }
}

/// The name of a rule, which may be a phrase: it stands in no record of the kernel's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::policy) struct RuleName(pub(in crate::policy) String);

impl Scalar for RuleName {
    const EXPECTED: &'static str = Name::EXPECTED;

    fn from_text(text: &str) -> Result<Self, String> {
        name(text, RULE_NAME).map(Self)
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^[a-z0-9-]{1,63}$" })
    }
}

fn name(text: &str, longest: usize) -> Result<String, String> {
    if RESERVED.contains(&text) {
        return Err(format!("{} has a meaning of its own here; expected a name", quoted(text)));
    }
    let right = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if text.is_empty() || text.len() > longest || !text.bytes().all(right) {
        return Err(format!("{} is no name; expected 1 to {longest} characters of a-z, 0-9 and `-`", quoted(text)));
    }
    Ok(text.to_owned())
}

/// What a rule may name where labels stand.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::policy) enum LabelName {
    /// What no label names.
    Unlabelled,
    /// A label of the policy.
    Named(String),
}

impl Scalar for LabelName {
    const EXPECTED: &'static str = "the name of a label, or `unlabelled`";

    fn from_text(text: &str) -> Result<Self, String> {
        if text == "unlabelled" {
            return Ok(Self::Unlabelled);
        }
        Name::from_text(text).map(|name| Self::Named(name.0))
    }

    fn schema() -> Schema {
        Name::schema()
    }
}

/// How long a held call waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) struct Timeout(pub(in crate::policy) Duration);

impl Scalar for Timeout {
    const EXPECTED: &'static str = "a duration with its unit, such as 90s, 5m or 1h";

    fn from_text(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected {}, found {}", Self::EXPECTED, quoted(text));
        let (digits, seconds) = ["s", "m", "h"]
            .into_iter()
            .zip([1, 60, 3600])
            .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)))
            .ok_or_else(wrong)?;
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        let longest = LONGEST_HOLD.as_secs();
        match digits.parse::<u64>().ok().and_then(|number| number.checked_mul(seconds)) {
            Some(0) => Err(format!(
                "a hold of {text} would refuse everything unasked; write `verdict: deny` where that is meant"
            )),
            Some(seconds) if seconds <= longest => Ok(Self(Duration::from_secs(seconds))),
            _ => {
                Err(format!("{} is longer than a call may be held; expected at most {}h", quoted(text), longest / 3600))
            }
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]+[smh]$" })
    }
}

/// A whole number from 1 to a bound.
macro_rules! number {
    ($(#[$meta:meta])* $name:ident($kind:ty) up to $most:literal, $expected:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(in crate::policy) struct $name(pub(in crate::policy) $kind);

        impl Scalar for $name {
            const EXPECTED: &'static str = $expected;

            fn from_text(text: &str) -> Result<Self, String> {
                Err(format!("expected {}, found {}", Self::EXPECTED, quoted(text)))
            }

            fn from_number(number: i128) -> Result<Self, String> {
                let fits = <$kind>::try_from(number).ok().filter(|number| (1..=$most).contains(number));
                fits.map(Self).ok_or_else(|| format!("expected {}, found {number}", Self::EXPECTED))
            }

            fn schema() -> Schema {
                json_schema!({ "type": "integer", "minimum": 1, "maximum": $most })
            }
        }
    };
}

number! {
    /// How many users must approve. Whoever is held waits for all of them.
    Approvers(u8) up to 9, "how many people must approve, 1 to 9"
}

number! {
    /// How many questions a session may ask within a minute; the most is as good as no limit.
    Questions(u32) up to 1_000_000, "a number of questions, 1 to 1000000"
}

/// The name of a group of this machine's users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::policy) struct GroupName(pub(in crate::policy) String);

impl Scalar for GroupName {
    const EXPECTED: &'static str = "the name of a group";

    fn from_text(text: &str) -> Result<Self, String> {
        // What `groupadd` takes (shadow, lib/chkname.c), and dots, which directories have.
        let right = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
        if !begins || text.len() > 32 || !text.bytes().all(right) {
            let expected = "1 to 32 letters, digits, `_`, `-` and `.`, a letter or `_` first";
            return Err(format!("{} is no group's name; expected {expected}", quoted(text)));
        }
        Ok(Self(text.to_owned()))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_.-]{0,31}$" })
    }
}

/// A line for the approver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::policy) struct Message(pub(in crate::policy) String);

impl Scalar for Message {
    const EXPECTED: &'static str = "a line of text";

    fn from_text(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err("this message is empty; expected a line of text, or no message at all".to_owned());
        }
        if text.chars().any(char::is_control) {
            return Err(format!("{} has control characters in it; expected one line of text", quoted(text)));
        }
        let count = text.chars().count();
        if count > MESSAGE {
            return Err(format!("this message has {count} characters; expected at most {MESSAGE}"));
        }
        Ok(Self(text.to_owned()))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "maxLength": MESSAGE })
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::{LabelName, Message, Name, Timeout};
    use crate::policy::read::Scalar as _;

    #[test]
    fn a_name_is_short_and_plain() {
        for name in ["a", "production-data", "0", "-", &"a".repeat(31)] {
            assert_eq!(Name::from_text(name), Ok(Name(name.to_owned())));
        }
        for name in ["", "A", "a_b", "a b", "ä", "all", "unlabelled", &"a".repeat(32)] {
            assert!(Name::from_text(name).is_err(), "{name}");
        }
    }

    #[test]
    fn unlabelled_is_a_label_of_its_own() {
        assert_eq!(LabelName::from_text("unlabelled"), Ok(LabelName::Unlabelled));
        assert!(LabelName::from_text("all").is_err());
    }

    #[test]
    fn a_duration_has_a_unit_and_an_end() {
        let seconds = |text| Timeout::from_text(text).map(|timeout| timeout.0);
        assert_eq!(seconds("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(seconds("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(seconds("24h"), Ok(Duration::from_secs(86_400)));
        for text in [
            "",
            "5",
            "m",
            "0s",
            "0h",
            "25h",
            "86401s",
            "1d",
            "-1s",
            "1.5h",
            "5 m",
            "99999999999999999999s",
            "1h30m",
            "+1s",
        ] {
            assert!(Timeout::from_text(text).is_err(), "{text}");
        }
        assert!(Timeout::from_number(5).is_err());
    }

    #[test]
    fn a_message_is_one_line() {
        assert!(Message::from_text("Production data is deleted by people.").is_ok());
        for text in ["", "  ", "a\nb", "\u{1b}[2J", &"x".repeat(501)] {
            assert!(Message::from_text(text).is_err(), "{text:?}");
        }
    }
}
