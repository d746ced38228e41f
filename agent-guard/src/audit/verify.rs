//! Whether a log is whole: reads its files as anybody could who has a copy of them, and needs nothing else.
//!
//! It must not know the daemon, nor what a record tells of.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::chain::{self, Chain, Hash, Head};
use super::checkpoint::{self, PublicKey};
use super::read::{self, Failure};

/// What is known of a log besides what it says itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known {
    /// A record that it had.
    pub head: Option<Head>,
    /// The key that its checkpoints are signed with.
    pub key: Option<PublicKey>,
    /// The number of the first record that is looked at, if those before are elsewhere.
    pub from: Option<u64>,
}

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub file: PathBuf,
    /// The line.
    pub line: u64,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A line does not follow from those before.
    #[error(transparent)]
    Chain(#[from] chain::Fault),
    /// A checkpoint vouches for something else.
    #[error("the signature of checkpoint {sequence} is wrong: it was changed, or what came before it was")]
    Signature {
        /// The checkpoint.
        sequence: u64,
    },
    /// Somebody else has signed.
    #[error("checkpoint {sequence} is signed with the key {key}, which is another")]
    OtherKey {
        /// The checkpoint.
        sequence: u64,
        /// With which key.
        key: PublicKey,
    },
    /// A record that was there is not.
    #[error("the log ends with record {last}, and had record {head}: its end was cut")]
    Cut {
        /// The last record.
        last: u64,
        /// One that was behind it.
        head: u64,
    },
    /// A record that was there is another one.
    #[error("record {sequence} is not the one that was there: it was changed, or one before it was")]
    OtherHead {
        /// The record.
        sequence: u64,
    },
    /// A record that is known would have been looked at, had it been within the log's part that is.
    #[error("record {sequence}, which is known, is before those that were looked at")]
    Before {
        /// The record.
        sequence: u64,
    },
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Lines that were looked at.
    pub lines: u64,
    /// Number of the last record.
    pub last: u64,
    /// That record; none where something behind it is no record.
    pub head: Option<Head>,
    /// Number of the last record that a checkpoint vouches for, itself included; 0 for none.
    pub signed: u64,
    /// Who has signed.
    pub keys: BTreeSet<PublicKey>,
    /// What is wrong, in the order of the lines.
    pub findings: Vec<Finding>,
}

/// Looks at a log: at all files of a directory, or at one file.
///
/// # Errors
/// A file cannot be read.
pub fn verify(path: &Path, known: &Known) -> Result<Report, Failure> {
    let mut verifying = Verifying::new(known);
    for file in read::files(path)? {
        let last = read::lines(&file, |number, line| {
            verifying.read(&file, number, line);
            Ok::<(), Failure>(())
        })?;
        verifying.end(&file, last);
    }
    Ok(verifying.finish(path))
}

struct Verifying<'a> {
    known: &'a Known,
    chain: Chain,
    /// The hash of the record that is known, as it is.
    found: Option<Hash>,
    report: Report,
}

impl<'a> Verifying<'a> {
    fn new(known: &'a Known) -> Self {
        let chain = known.from.map_or_else(|| Chain::behind(Head::BEGINNING), Chain::before);
        let report = Report { lines: 0, last: 0, head: None, signed: 0, keys: BTreeSet::new(), findings: Vec::new() };
        Self { known, chain, found: None, report }
    }

    fn read(&mut self, file: &Path, number: u64, line: &[u8]) {
        let faults = self.take(line);
        let finding = |fault| Finding { file: file.to_owned(), line: number, fault };
        self.report.findings.extend(faults.into_iter().map(finding));
        self.report.lines += 1;
    }

    fn end(&mut self, file: &Path, line: u64) {
        let finding = |fault: chain::Fault| Finding { file: file.to_owned(), line, fault: fault.into() };
        self.report.findings.extend(self.chain.finish().err().map(finding));
    }

    fn take(&mut self, line: &[u8]) -> Vec<Fault> {
        let mut faults: Vec<Fault> = self.chain.take(line).err().map(Fault::from).into_iter().collect();
        let Some(head) = self.chain.head() else { return faults };
        let sequence = head.sequence;
        if self.known.head.is_some_and(|known| known.sequence == sequence) {
            self.found = Some(head.hash);
        }
        match checkpoint::signer(line) {
            None => {}
            Some(Err(())) => faults.push(Fault::Signature { sequence }),
            Some(Ok(key)) => {
                self.report.keys.insert(key);
                if self.known.key.is_some_and(|known| known != key) {
                    faults.push(Fault::OtherKey { sequence, key });
                } else {
                    self.report.signed = sequence;
                }
            }
        }
        faults
    }

    fn finish(self, path: &Path) -> Report {
        let Self { known, chain, found, mut report } = self;
        report.last = chain.sequence();
        report.head = chain.head();
        let fault = known.head.and_then(|head| match found {
            Some(hash) if hash == head.hash => None,
            Some(_) => Some(Fault::OtherHead { sequence: head.sequence }),
            None if head.sequence > report.last => Some(Fault::Cut { last: report.last, head: head.sequence }),
            None => Some(Fault::Before { sequence: head.sequence }),
        });
        let line = report.lines;
        report.findings.extend(fault.map(|fault| Finding { file: path.to_owned(), line, fault }));
        report
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use jiff::Timestamp;

    use super::{Fault, Known, Report, Verifying, verify};
    use crate::audit::chain::{Chain, Head};
    use crate::audit::checkpoint::{Key, PublicKey};
    use crate::audit::{Entry, Log, Now, What};

    /// A log of so many records with a checkpoint now and then, its lines with their newlines, its head and its key.
    fn log(directory: &Path, records: usize) -> (PathBuf, Vec<Vec<u8>>, Head, PublicKey) {
        let key = Key::open(&directory.join("key")).unwrap();
        let public = key.public();
        let mut log = Log::open(&directory.join("log"), "boot".to_owned(), key).unwrap();
        let now = Now { monotonic_ns: 7, wall: Timestamp::UNIX_EPOCH };
        for number in 1..=records {
            if number % 100 == 0 {
                log.checkpoint(now).unwrap();
            } else {
                let reason = Some(format!("number {number}"));
                log.append(&Entry { reason, ..Entry::new(now, What::Refused) }, false).unwrap();
            }
        }
        let text = fs::read(log.path()).unwrap();
        let lines: Vec<_> = text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        assert_eq!(lines.len(), records);
        let head = verify(log.path(), &Known::default()).unwrap().head.unwrap();
        (log.path().to_owned(), lines, head, public)
    }

    /// What is found in some lines that stand behind a chain.
    fn found(known: &Known, chain: Chain, lines: &[&[u8]]) -> Report {
        let mut verifying = Verifying { chain, ..Verifying::new(known) };
        for (number, line) in (1..).zip(lines.concat().split_inclusive(|byte| *byte == b'\n')) {
            verifying.read(Path::new("log"), number, line.strip_suffix(b"\n").unwrap_or(line));
        }
        verifying.end(Path::new("log"), lines.len() as u64);
        verifying.finish(Path::new("log"))
    }

    #[test]
    fn a_log_that_nobody_changed_is_whole_and_says_who_vouches_for_it() {
        let directory = tempfile::tempdir().unwrap();
        let (path, _, head, key) = log(directory.path(), 250);
        let report = verify(&path, &Known { head: Some(head), key: Some(key), from: None }).unwrap();
        assert_eq!((report.lines, report.last, report.signed, report.head), (250, 250, 200, Some(head)));
        assert_eq!(report.keys.into_iter().collect::<Vec<_>>(), [key]);
        assert_eq!(report.findings, []);
        // The directory is the same log, also somewhere else.
        let copy = directory.path().join("copy");
        fs::create_dir(&copy).unwrap();
        fs::copy(&path, copy.join("audit.jsonl")).unwrap();
        assert_eq!(verify(&copy, &Known::default()).unwrap().findings, []);
    }

    #[test]
    fn every_byte_that_was_changed_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let (_, lines, head, key) = log(directory.path(), 2000);
        let known = Known { head: Some(head), key: Some(key), from: None };
        let mut before = Chain::behind(Head::BEGINNING);
        for (number, line) in lines.iter().enumerate() {
            // What follows is not looked at where two more lines stand in between: the third would follow from them.
            let rest: Vec<&[u8]> = lines[number + 1..].iter().take(2).map(Vec::as_slice).collect();
            let is_end = number + 3 > lines.len();
            let known = Known { head: known.head.filter(|_| is_end), ..known };
            for at in 0..line.len() {
                let mut changed = line.clone();
                changed[at] ^= 1;
                let report = found(&known, before.clone(), &[&[&changed[..]], &rest[..]].concat());
                assert!(!report.findings.is_empty(), "{}", String::from_utf8_lossy(&changed));
            }
            before.take(&line[..line.len() - 1]).unwrap();
        }
    }

    #[test]
    fn every_record_that_was_dropped_doubled_or_moved_is_found_and_every_cut() {
        let directory = tempfile::tempdir().unwrap();
        let (_, lines, head, key) = log(directory.path(), 2000);
        let known = Known { head: Some(head), key: Some(key), from: None };
        let lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
        let mut before = Chain::behind(Head::BEGINNING);
        for number in 0..lines.len() {
            let rest = &lines[number..lines.len().min(number + 4)];
            let is_end = number + 4 > lines.len();
            let near = Known { head: known.head.filter(|_| is_end), ..known };
            let check = |what: &str, lines: &[&[u8]]| {
                assert_ne!(found(&near, before.clone(), lines).findings, [], "{what} {}", number + 1);
            };
            check("dropped", &rest[1..]);
            check("doubled", &[&rest[..1], rest].concat());
            if let [one, other, more @ ..] = rest {
                check("swapped", &[&[*other, *one], more].concat());
            }
            // The end was cut in front of this record, and within it.
            let cut = found(&known, before.clone(), &[]);
            let (last, head) = (number as u64, head.sequence);
            assert_eq!(cut.findings.last().unwrap().fault, Fault::Cut { last, head });
            let half = found(&known, before.clone(), &[&rest[0][..rest[0].len() / 2]]);
            assert_eq!(half.findings.len(), 2, "{half:?}");
            before.take(&rest[0][..rest[0].len() - 1]).unwrap();
        }
    }

    #[test]
    fn a_log_that_was_written_anew_has_another_head_and_another_key() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (_, _, head, key) = log(one.path(), 150);
        let (path, _, _, _) = log(other.path(), 150);
        let faults =
            |known| verify(&path, &known).unwrap().findings.into_iter().map(|one| one.fault).collect::<Vec<_>>();
        assert_eq!(faults(Known::default()), [], "by itself it is whole");
        let of_head = faults(Known { head: Some(head), ..Known::default() });
        assert_eq!(of_head, [Fault::OtherHead { sequence: 150 }]);
        assert!(matches!(
            faults(Known { key: Some(key), ..Known::default() })[..],
            [Fault::OtherKey { sequence: 100, .. }]
        ));
    }

    #[test]
    fn a_part_of_a_log_is_looked_at_from_its_first_record_on() {
        let directory = tempfile::tempdir().unwrap();
        let (_, lines, head, _) = log(directory.path(), 10);
        let lines: Vec<&[u8]> = lines[4..].iter().map(Vec::as_slice).collect();
        let part = |from, head| {
            let known = Known { head, key: None, from };
            found(&known, Verifying::new(&known).chain, &lines).findings
        };
        assert_eq!(part(Some(5), Some(head)), []);
        assert_ne!(part(None, None), []);
        assert_ne!(part(Some(4), None), []);
        assert_eq!(part(Some(5), Some(Head::BEGINNING))[0].fault, Fault::Before { sequence: 0 });
    }
}
