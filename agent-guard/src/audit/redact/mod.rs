//! Leaves secrets out of records that go elsewhere, and says of each what kind stood there. Pure: text in, text out.
//!
//! It must not know who reads the records. The log itself is never redacted: its chain proves what was seen.

mod secrets;

use std::borrow::Cow;
use std::ops::Range;

use regex::{Regex, RegexSet};
use serde_json::Value;

use crate::text::command_line;
use secrets::{ASSIGNED, FORMS, NAMED, OPTION, RANDOM, USER, USER_OF};

/// What stands in place of a secret.
const MARK: &str = r"\[redacted: ([a-z-]+)\]";
/// What of a record the guard says itself: in other keys stands what others have chosen.
const OWN: [&str; 12] = [
    "boot",
    "decision",
    "id",
    "key",
    "operation",
    "previous",
    "request",
    "sha256",
    "signature",
    "tier",
    "time",
    "what",
];

/// Knows secrets by their looks and by their names.
#[derive(Debug)]
pub struct Redactor {
    /// Which forms are worth looking for.
    set: RegexSet,
    forms: Vec<(&'static str, Regex)>,
    mark: Regex,
    option: Regex,
    assigned: Regex,
    user: Regex,
}

/// A part of a text, and what kind of secret it is. Of two kinds, that of the lower rank is told.
#[derive(Debug)]
struct Span<'a> {
    range: Range<usize>,
    rank: usize,
    kind: &'a str,
}

impl Redactor {
    /// One that knows all forms.
    ///
    /// # Errors
    /// A form cannot be compiled.
    pub fn new() -> Result<Self, regex::Error> {
        let forms = FORMS.iter().map(|(kind, form)| Ok((*kind, Regex::new(form)?)));
        Ok(Self {
            set: RegexSet::new(FORMS.iter().map(|(_, form)| form))?,
            forms: forms.collect::<Result<_, _>>()?,
            mark: Regex::new(MARK)?,
            option: Regex::new(OPTION)?,
            assigned: Regex::new(ASSIGNED)?,
            user: Regex::new(USER_OF)?,
        })
    }

    /// A text without its secrets.
    #[must_use]
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(text);
        // What stands beside a secret may show itself as one when that is gone. Every turn leaves fewer characters that are not
        // of a mark, or fewer marks, so there is a last one.
        while let Some(redacted) = self.once(&text) {
            text = Cow::Owned(redacted);
        }
        text
    }

    /// The words of a command without their secrets: here it is known where each word ends, and which stands behind which.
    #[must_use]
    pub fn argv(&self, words: &[String]) -> Vec<String> {
        let before = std::iter::once("").chain(words.iter().map(String::as_str));
        words.iter().zip(before).map(|(word, before)| self.word(before, word)).collect()
    }

    fn word(&self, before: &str, word: &str) -> String {
        if self.option.is_match(before) {
            return self.whole(word);
        }
        // A shell's `-c` is followed by a text of which the secret is one word.
        let is_script = before.starts_with('-') && before.ends_with('c') && !word.starts_with('-');
        let assigned = || self.assigned.find(word).filter(|_| !is_script);
        let user = || self.user.find(word).filter(|_| USER.contains(&before));
        if let Some(name) = assigned().or_else(user) {
            let (name, value) = word.split_at(name.end());
            // A key's own id may stand where a user's name does.
            return self.text(name).into_owned() + &self.whole(value);
        }
        self.text(word).into_owned()
    }

    /// What is a secret as a whole, by the kind that it shows, or by its name.
    fn whole(&self, value: &str) -> String {
        let redacted = self.text(value);
        let is_mark = self.mark.find(&redacted).is_some_and(|mark| mark.len() == redacted.len());
        if value.is_empty() || is_mark { redacted.into_owned() } else { mark(NAMED) }
    }

    /// Leaves the secrets out of a record.
    pub fn record(&self, record: &mut Value) {
        let object = record.get("act").and_then(|act| self.command(act));
        self.value(record);
        if let Some(object) = object {
            record["act"]["object"] = object.into();
        }
    }

    /// Leaves the secrets out of an act that stands by itself, such as a request of the API.
    pub fn act(&self, act: &mut Value) {
        let object = self.command(act);
        self.value(act);
        if let Some(object) = object {
            act["object"] = object.into();
        }
    }

    /// The object of an act that is a command, which is made of the process's words: of those it is known where they end.
    fn command(&self, act: &Value) -> Option<String> {
        let words = words(act.pointer("/process/argv")?)?;
        let behind = words.get(1..).filter(|behind| !behind.is_empty())?;
        let program = act["object"].as_str()?.strip_suffix(&command_line(behind))?;
        Some(format!("{}{}", self.text(program), command_line(&self.argv(&words)[1..])))
    }

    fn value(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Cow::Owned(redacted) = self.text(text) {
                    *text = redacted;
                }
            }
            Value::Array(values) => values.iter_mut().for_each(|value| self.value(value)),
            Value::Object(fields) => {
                for (key, value) in fields.iter_mut().filter(|(key, _)| !OWN.contains(&key.as_str())) {
                    match words(value).filter(|_| key == "argv") {
                        Some(words) => *value = self.argv(&words).into(),
                        None => self.value(value),
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// A text without the secrets that it shows as it stands; none if that is the text itself.
    fn once(&self, text: &str) -> Option<String> {
        let (mut redacted, mut at) = (String::new(), 0);
        for span in self.spans(text) {
            redacted.push_str(&text[at..span.range.start]);
            redacted.push_str(&mark(span.kind));
            at = span.range.end;
        }
        redacted.push_str(&text[at..]);
        (redacted != text).then_some(redacted)
    }

    /// The secrets of a text and the marks of those that it had, in order; what overlaps is one.
    fn spans<'a>(&self, text: &'a str) -> Vec<Span<'a>> {
        let mut spans = Vec::new();
        for rank in self.set.matches(text) {
            let (kind, form) = &self.forms[rank];
            let found = form.captures_iter(text).filter_map(|found| found.iter().flatten().last());
            spans.extend(found.map(|found| Span { range: found.range(), rank: rank + 1, kind }));
        }
        let drawn = secrets::drawn(text);
        spans.extend(drawn.map(|(at, run)| Span { range: at..at + run.len(), rank: usize::MAX, kind: RANDOM }));
        if spans.is_empty() {
            return spans;
        }
        let marks = self.mark.captures_iter(text).filter_map(|mark| Some((mark.get(0)?, mark.get(1)?)));
        let marks = marks.map(|(mark, kind)| Span { range: mark.range(), rank: 0, kind: kind.as_str() });
        spans.extend(marks);
        spans.sort_by_key(|span| span.range.start);
        spans.dedup_by(|next, span| {
            let overlaps = next.range.start < span.range.end;
            if overlaps {
                span.range.end = span.range.end.max(next.range.end);
                (span.rank, span.kind) = (span.rank, span.kind).min((next.rank, next.kind));
            }
            overlaps
        });
        spans
    }
}

fn mark(kind: &str) -> String {
    format!("[redacted: {kind}]")
}

/// A list of words, if a value is one.
fn words(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|word| word.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests;
