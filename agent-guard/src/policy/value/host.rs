//! Names of hosts in a policy. It resolves nothing.

use core::net::IpAddr;

use ipnet::IpNet;
use schemars::{Schema, json_schema};

use crate::policy::fault::quoted;
use crate::policy::read::Scalar;

/// What stands for the addresses that a session has no name for.
const UNNAMED: &str = "unnamed";

fn is_name(text: &str) -> bool {
    let is_right = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(is_right)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // The last label of a name is never a number, or `1.2.3` would be one.
    let is_number = text.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    text.len() <= 253 && text.split('.').all(is_label) && !is_number
}

/// A host's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::policy) struct HostName(pub(in crate::policy) String);

impl Scalar for HostName {
    const EXPECTED: &'static str = "a host name, such as db.prod.example.com";

    fn from_text(text: &str) -> Result<Self, String> {
        if text.parse::<IpAddr>().is_ok() || text.parse::<IpNet>().is_ok() {
            return Err(format!("{} is an address; write `cidr: {text}`", quoted(text)));
        }
        if !is_name(text) {
            return Err(format!(
                "{} is no host name; expected lower-case letters, digits, `-` and dots, without wildcards, scheme or port",
                quoted(text)
            ));
        }
        Ok(Self(text.to_owned()))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^[a-z0-9.-]+$", "maxLength": 253 })
    }
}

/// Names as sessions look them up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::policy) enum Heard {
    /// This name.
    Name(String),
    /// Every name below this one.
    Below(String),
    /// None at all.
    Unnamed,
}

impl Heard {
    /// Whether a name, in lower case and without a final dot, is meant.
    pub(in crate::policy) fn means(&self, name: &str) -> bool {
        match self {
            Self::Name(meant) => name == meant,
            Self::Below(domain) => name.strip_suffix(domain.as_str()).is_some_and(|rest| rest.ends_with('.')),
            Self::Unnamed => false,
        }
    }
}

impl Scalar for Heard {
    const EXPECTED: &'static str = "a host name, `*.` and a domain, or `unnamed`";

    fn from_text(text: &str) -> Result<Self, String> {
        if text == UNNAMED {
            return Ok(Self::Unnamed);
        }
        let below = text.strip_prefix("*.");
        if !is_name(below.unwrap_or(text)) {
            return Err(format!(
                "{} is no name; expected one in lower case, as db.example.com, `*.` and a domain, or `unnamed`",
                quoted(text)
            ));
        }
        Ok(below.map_or_else(|| Self::Name(text.to_owned()), |domain| Self::Below(domain.to_owned())))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": r"^(\*\.)?[a-z0-9.-]+$", "maxLength": 255 })
    }
}

#[cfg(test)]
mod tests {
    use super::{Heard, HostName};
    use crate::policy::read::Scalar as _;

    #[test]
    fn host_names_are_names() {
        for name in ["localhost", "db.prod.example.com", "xn--bcher-kva.example", "a-1.b"] {
            assert!(HostName::from_text(name).is_ok(), "{name}");
        }
        for name in [
            "",
            ".",
            "a..b",
            "-a",
            "a-",
            "*.example.com",
            "10.0.0.1",
            "1.2.3",
            "https://x",
            "a:443",
            "A.b",
            &"a".repeat(64),
        ] {
            assert!(HostName::from_text(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_wildcard_is_of_what_lies_below_its_domain() {
        let heard = |text| Heard::from_text(text).unwrap();
        assert!(heard("*.example.com").means("a.example.com") && heard("*.example.com").means("a.b.example.com"));
        assert!(!heard("*.example.com").means("example.com") && !heard("*.example.com").means("anexample.com"));
        assert!(heard("example.com").means("example.com") && !heard("example.com").means("a.example.com"));
        assert!(!heard("unnamed").means("unnamed"));
        for text in ["", "*", "*.", "*example.com", "*.*.example.com", "a.*.com", "A.com", "*.10.0.0.1"] {
            assert!(Heard::from_text(text).is_err(), "{text}");
        }
    }
}
