//! What an agent says of an act before it does it: why, what else it could do, how it would be undone. Plain data.
//!
//! It is a claim. It must not decide anything: whoever lies, or says nothing, is asked about in the same way.

use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use wildmatch::WildMatch;

use super::act::Act;
use super::who::cut;
use crate::text::command_line;

/// Bytes of each text that are kept.
const TEXT_BYTES: usize = 1000;
/// Alternatives that are kept.
const ALTERNATIVES: usize = 8;

/// What an agent says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Said {
    /// Why it is to be done.
    pub why: String,
    /// What could be done instead.
    #[serde(default)]
    pub alternatives: Vec<String>,
    /// How it would be undone.
    #[serde(default)]
    pub rollback: Option<String>,
    /// What it is about: a path and what lies below it, or a pattern with `*` and `?` for a command line, an endpoint or
    /// another object; whatever is asked next unless given.
    #[serde(default)]
    pub covers: Option<String>,
}

/// What was said, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// What.
    #[serde(flatten)]
    pub said: Said,
    /// When.
    pub at: Timestamp,
}

/// Why what was said is no intent.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnIntent {
    /// There is no reason.
    #[error("an intent says why: expected `why` to be a text")]
    NoReason,
    /// What it is about can be nothing.
    #[error("expected `covers` to be a path or a pattern, and found an empty text")]
    Nothing,
}

impl Said {
    /// What is kept of it.
    ///
    /// # Errors
    /// It says nothing.
    pub fn checked(self) -> Result<Self, NotAnIntent> {
        let is_blank = |text: &str| text.trim().is_empty();
        if is_blank(&self.why) {
            return Err(NotAnIntent::NoReason);
        }
        if self.covers.as_deref().is_some_and(is_blank) {
            return Err(NotAnIntent::Nothing);
        }
        let short = |text: String| cut(text, TEXT_BYTES);
        let alternatives = self.alternatives.into_iter().filter(|text| !is_blank(text)).take(ALTERNATIVES);
        Ok(Self {
            why: short(self.why),
            alternatives: alternatives.map(short).collect(),
            rollback: self.rollback.filter(|text| !is_blank(text)).map(short),
            // A pattern that lost its end would be about something else.
            covers: self.covers.filter(|text| text.len() <= TEXT_BYTES),
        })
    }

    /// Whether it is about an act.
    #[must_use]
    pub fn is_about(&self, act: &Act) -> bool {
        let Some(covers) = &self.covers else { return true };
        let below = format!("{}/", covers.trim_end_matches('/'));
        let pattern = WildMatch::new(covers);
        let is_meant = |text: &str| text == covers || text.starts_with(&below) || pattern.matches(text);
        let command = command_line(&act.process.argv);
        [Some(&act.object), act.other.as_ref(), Some(&command)].into_iter().flatten().any(|text| is_meant(text))
            // An endpoint is shown with its protocol before it and its names behind.
            || act.object.split([' ', '(', ')', ',']).any(is_meant)
    }
}

impl FromStr for Said {
    type Err = NotAnIntent;

    /// Reads a JSON object, or takes the whole text as the reason.
    fn from_str(text: &str) -> Result<Self, NotAnIntent> {
        let read = serde_json::from_str::<Self>(text);
        read.unwrap_or_else(|_| Self { why: text.to_owned(), ..Self::default() }).checked()
    }
}

#[cfg(test)]
mod tests {
    use super::{ALTERNATIVES, NotAnIntent, Said, TEXT_BYTES};
    use crate::session::{Act, example};

    fn about(covers: &str) -> Said {
        Said { why: "clean up".to_owned(), covers: Some(covers.to_owned()), ..Said::default() }
    }

    fn act(object: &str, argv: &[&str]) -> Act {
        let mut act = example(object);
        act.process.argv = argv.iter().map(|word| (*word).to_owned()).collect();
        act
    }

    #[test]
    fn it_is_about_what_it_covers() {
        let expected = [
            ("/srv/prod", "/srv/prod", true),
            ("/srv/prod/", "/srv/prod/db/table", true),
            ("/srv/prod", "/srv/production", false),
            ("/srv/*/db", "/srv/prod/db", true),
            ("203.0.113.1:443", "tcp 203.0.113.1:443 (db.prod.example.com)", true),
            ("*.prod.example.com", "tcp 203.0.113.1:443 (a.example.com, db.prod.example.com)", true),
            ("*.prod.example.org", "tcp 203.0.113.1:443 (db.prod.example.com)", false),
            ("terraform destroy*", "/usr/bin/terraform destroy -auto-approve", true),
            ("terraform destroy*", "/usr/bin/terraform apply", false),
        ];
        for (covers, object, is_about) in expected {
            let argv: Vec<&str> = match object.strip_prefix("/usr/bin/") {
                Some(line) => line.split(' ').collect(),
                None => vec!["x"],
            };
            assert_eq!(about(covers).is_about(&act(object, &argv)), is_about, "{covers} {object}");
        }
        assert!(Said { covers: None, ..about("x") }.is_about(&act("/anything", &[])));
        let mut renamed = act("/tmp/a", &[]);
        renamed.other = Some("/srv/prod/a".to_owned());
        assert!(about("/srv/prod").is_about(&renamed));
    }

    #[test]
    fn a_text_is_json_or_the_reason_itself() {
        let plain: Said = "the table is a copy".parse().unwrap();
        assert_eq!((plain.why.as_str(), plain.rollback), ("the table is a copy", None));
        let json: Said =
            r#"{"why": "w", "alternatives": ["a", " "], "rollback": "r", "covers": "/x"}"#.parse().unwrap();
        assert_eq!((json.alternatives, json.rollback.as_deref()), (vec!["a".to_owned()], Some("r")));
        for text in ["", "  ", r#"{"why": " "}"#] {
            assert_eq!(text.parse::<Said>(), Err(NotAnIntent::NoReason), "{text:?}");
        }
        assert_eq!(about(" ").checked(), Err(NotAnIntent::Nothing));
        // What is no object of this form is a text like any other.
        assert_eq!(r#"{"because": "x"}"#.parse::<Said>().unwrap().why, r#"{"because": "x"}"#);
    }

    #[test]
    fn what_is_kept_has_a_limit() {
        let long = "x".repeat(TEXT_BYTES * 2);
        let said = Said { why: long.clone(), alternatives: vec![long.clone(); 50], rollback: Some(long), covers: None };
        let kept = said.checked().unwrap();
        let least = TEXT_BYTES + "[...]".len();
        assert!(kept.why.len() <= least && kept.rollback.is_some_and(|text| text.len() <= least));
        assert_eq!(kept.alternatives.len(), ALTERNATIVES);
    }
}
