//! What ties a record to the one before it: its number, and the hash of that one's line. Pure: lines in, faults out.
//!
//! It must not know files, nor what a record tells of.

use core::fmt;
use core::str::FromStr;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// SHA-256 of a record's line, without its newline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hash([u8; 32]);

impl Hash {
    /// What the first record has in place of the hash of the one before it.
    pub const NONE: Self = Self([0; 32]);

    /// The hash of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

/// What was expected in place of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub struct Expected(&'static str);

impl FromStr for Hash {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(Expected("64 hexadecimal digits in lower case"))
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A record, by its number and its hash: whoever knows it knows of all records up to it whether they were changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its number; the first record's is 1.
    pub sequence: u64,
    /// Its hash.
    pub hash: Hash,
}

impl Head {
    /// Before the first record.
    pub const BEGINNING: Self = Self { sequence: 0, hash: Hash::NONE };
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.sequence, self.hash)
    }
}

impl FromStr for Head {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        let parts =
            text.split_once(':').and_then(|(sequence, hash)| Some((sequence.parse().ok()?, hash.parse().ok()?)));
        let (sequence, hash) = parts.ok_or(Expected("a record's number, a colon, and its hash"))?;
        Ok(Self { sequence, hash })
    }
}

/// What a record finds behind the one before it: a record that could not be written whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Torn {
    /// How much of it is there.
    bytes: u64,
    /// The hash of that.
    sha256: Hash,
}

impl Torn {
    /// These bytes.
    #[must_use]
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self { bytes: bytes.len() as u64, sha256: Hash::of(bytes) }
    }

    /// Whether some lines are it; the newline of the last one may have been put there to end it.
    fn is(&self, lines: &[u8]) -> bool {
        *self == Self::of(lines) || lines.strip_suffix(b"\n").is_some_and(|bytes| *self == Self::of(bytes))
    }
}

/// The part of a record that ties it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Link {
    /// Its number.
    pub(super) sequence: u64,
    /// The hash of the record before it.
    pub(super) previous: Hash,
    /// What lies between the two, if anything does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) torn: Option<Torn>,
}

/// A record in canonical form, as JSON: no blanks, and keys in the order of their bytes.
pub(super) fn record(link: &Link, body: &impl Serialize) -> Result<serde_json::Value, serde_json::Error> {
    #[derive(Serialize)]
    struct Record<'a, B> {
        #[serde(flatten)]
        link: &'a Link,
        #[serde(flatten)]
        body: &'a B,
    }
    serde_json::to_value(Record { link, body })
}

/// How a line does not follow from those before it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A record is not there.
    #[error("record {} is missing: behind record {after} stands record {found}", after + 1)]
    Missing {
        /// The last one that is.
        after: u64,
        /// The next one that is.
        found: u64,
    },
    /// A record is there that was before.
    #[error("record {found} stands behind record {after}: it was put there twice, or in another order")]
    Again {
        /// The last one in order.
        after: u64,
        /// The one that is not.
        found: u64,
    },
    /// A record has the hash of another one.
    #[error("record {sequence} was not written behind the record {} that stands there: one of the two was changed", sequence - 1)]
    Changed {
        /// The later one.
        sequence: u64,
    },
    /// A line is no record.
    #[error("behind record {after} stand {bytes} bytes that are no record, and the next record does not know of them")]
    NoRecord {
        /// The last record.
        after: u64,
        /// How much.
        bytes: usize,
    },
    /// A record that could not be written whole is gone.
    #[error("record {sequence} knows of bytes before it that are no record, and they are not there")]
    NotTorn {
        /// The record that knows.
        sequence: u64,
    },
    /// A record says the same in another form.
    #[error("record {sequence} is not in the form that records are written in")]
    Form {
        /// The record.
        sequence: u64,
    },
    /// The last line is no record.
    #[error(
        "behind record {after} stand {bytes} bytes that are no record, and nothing else: the end was cut, or could not be written"
    )]
    Unfinished {
        /// The last record.
        after: u64,
        /// How much.
        bytes: usize,
    },
}

/// The chain up to a record, to be gone on with line by line.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    sequence: u64,
    /// The last record's hash; `None` for one that is not known.
    hash: Option<Hash>,
    /// Lines behind it that are no records, with their newlines.
    loose: Vec<u8>,
}

impl Chain {
    /// The chain that ends with a record.
    #[must_use]
    pub(super) const fn behind(head: Head) -> Self {
        Self { sequence: head.sequence, hash: Some(head.hash), loose: Vec::new() }
    }

    /// A chain whose records before this one are elsewhere.
    #[must_use]
    pub(super) const fn before(sequence: u64) -> Self {
        Self { sequence: sequence.saturating_sub(1), hash: None, loose: Vec::new() }
    }

    /// Its last record, if nothing loose is behind it and its hash is known.
    #[must_use]
    pub(super) fn head(&self) -> Option<Head> {
        self.hash.filter(|_| self.loose.is_empty()).map(|hash| Head { sequence: self.sequence, hash })
    }

    /// The number of its last record.
    #[must_use]
    pub(super) const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Takes a line, without its newline. After a fault it goes on from what the line says.
    ///
    /// # Errors
    /// The line does not follow.
    pub(super) fn take(&mut self, line: &[u8]) -> Result<(), Fault> {
        let Ok(link) = serde_json::from_slice::<Link>(line) else {
            self.loose.extend_from_slice(line);
            self.loose.push(b'\n');
            return Ok(());
        };
        let loose = core::mem::take(&mut self.loose);
        let before = (core::mem::replace(&mut self.sequence, link.sequence), self.hash.replace(Hash::of(line)));
        self.judge(&link, before, &loose)?;
        let canonical = serde_json::from_slice::<serde_json::Value>(line).map(|record| record.to_string());
        if canonical.ok().is_none_or(|text| text.as_bytes() != line) {
            return Err(Fault::Form { sequence: link.sequence });
        }
        Ok(())
    }

    fn judge(&self, link: &Link, (after, hash): (u64, Option<Hash>), loose: &[u8]) -> Result<(), Fault> {
        let sequence = link.sequence;
        match link.torn {
            Some(_) if loose.is_empty() => return Err(Fault::NotTorn { sequence }),
            Some(torn) if torn.is(loose) => {}
            None if loose.is_empty() => {}
            Some(_) | None => return Err(Fault::NoRecord { after, bytes: loose.len() }),
        }
        if sequence <= after {
            return Err(Fault::Again { after, found: sequence });
        }
        if sequence > after + 1 {
            return Err(Fault::Missing { after, found: sequence });
        }
        if hash.is_some_and(|hash| hash != link.previous) {
            return Err(Fault::Changed { sequence });
        }
        Ok(())
    }

    /// Takes the end.
    ///
    /// # Errors
    /// What stands last is no record.
    pub(super) fn finish(&self) -> Result<(), Fault> {
        if self.loose.is_empty() {
            return Ok(());
        }
        Err(Fault::Unfinished { after: self.sequence, bytes: self.loose.len() - 1 })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Chain, Fault, Hash, Head, Link, Torn, record};

    /// A log of records that tell of their numbers.
    fn log(records: u64) -> Vec<String> {
        let mut previous = Hash::NONE;
        let line = |sequence| {
            let link = Link { sequence, previous, torn: None };
            let line =
                record(&link, &json!({ "what": "held", "object": format!("/srv/{sequence}") })).unwrap().to_string();
            previous = Hash::of(line.as_bytes());
            line
        };
        (1..=records).map(line).collect()
    }

    fn faults(lines: &[impl AsRef<[u8]>]) -> Vec<Fault> {
        let mut chain = Chain::behind(Head::BEGINNING);
        let mut faults: Vec<Fault> = lines.iter().filter_map(|line| chain.take(line.as_ref()).err()).collect();
        faults.extend(chain.finish().err());
        faults
    }

    #[test]
    fn records_follow_from_each_other() {
        let lines = log(5);
        assert_eq!(faults(&lines), []);
        assert!(lines[0].starts_with(r#"{"object":"/srv/1","previous":"0000"#), "{}", lines[0]);
        let mut chain = Chain::behind(Head::BEGINNING);
        lines.iter().for_each(|line| chain.take(line.as_bytes()).unwrap());
        let head = chain.head().unwrap();
        assert_eq!(head, Head { sequence: 5, hash: Hash::of(lines[4].as_bytes()) });
        assert_eq!(head.to_string().parse(), Ok(head));
        assert!("5".parse::<Head>().is_err() && "5:abc".parse::<Head>().is_err());
    }

    #[test]
    fn what_is_missing_repeated_or_in_another_order_is_named() {
        let mut lines = log(5);
        let gone = lines.remove(2);
        assert_eq!(faults(&lines), [Fault::Missing { after: 2, found: 4 }]);
        lines.insert(2, gone.clone());
        lines.insert(2, gone);
        assert_eq!(faults(&lines), [Fault::Again { after: 3, found: 3 }]);
        lines.remove(2);
        lines.swap(1, 2);
        assert_eq!(faults(&lines)[0], Fault::Missing { after: 1, found: 3 });
        assert_eq!(faults(&log(5)[1..]), [Fault::Missing { after: 0, found: 2 }]);
        let mut rest = Chain::before(2);
        assert_eq!(rest.take(log(2)[1].as_bytes()), Ok(()));
    }

    #[test]
    fn what_was_changed_is_named() {
        let mut lines = log(5);
        lines[2] = lines[2].replace("/srv/3", "/srv/4");
        assert_eq!(faults(&lines), [Fault::Changed { sequence: 4 }]);
        lines = log(5);
        lines[4] = lines[4].replace("{\"object\"", "{ \"object\"");
        assert_eq!(faults(&lines), [Fault::Form { sequence: 5 }]);
        lines[4] = lines[4].replace('}', "");
        assert_eq!(faults(&lines), [Fault::Unfinished { after: 4, bytes: lines[4].len() }]);
        lines[1] = "what is this".to_owned();
        assert_eq!(faults(&lines)[0], Fault::NoRecord { after: 1, bytes: 13 });
    }

    #[test]
    fn a_record_that_was_not_written_whole_is_known_to_the_next() {
        for torn in ["{\"sequence\":2", "{\"sequence\":2\n{\"seq"] {
            let [first, ..] = &log(1)[..] else { panic!("no record") };
            let link = |torn| Link { sequence: 2, previous: Hash::of(first.as_bytes()), torn };
            let second = |torn| record(&link(torn), &json!({})).unwrap().to_string();
            let of = |next: String| {
                let text = [first.as_str(), torn, &next].join("\n");
                faults(&text.split('\n').map(str::to_owned).collect::<Vec<_>>())
            };
            assert_eq!(of(second(Some(Torn::of(torn.as_bytes())))), []);
            // One whose newline was written, and nothing behind it.
            assert_eq!(of(second(Some(Torn::of(format!("{torn}\n").as_bytes())))), []);
            assert!(matches!(of(second(None))[..], [Fault::NoRecord { after: 1, .. }]));
            assert!(matches!(of(second(Some(Torn::of(b"other"))))[..], [Fault::NoRecord { after: 1, .. }]));
            let without = [first.clone(), second(Some(Torn::of(torn.as_bytes())))];
            assert_eq!(faults(&without), [Fault::NotTorn { sequence: 2 }]);
        }
    }
}
