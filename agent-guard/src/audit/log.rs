//! The file that records are appended to: one JSON object a line. It must not know what a record means.
//!
//! [`Log::append`] is the only place where a line is made, numbered and written: what ties a record to the one
//! before it (a hash chain) belongs there, and nowhere else.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::record::Entry;
use crate::system::paths;

/// Name of the file in the log directory.
const NAME: &str = "audit.jsonl";
/// How far back from its end the file is searched for its last record.
const TAIL: u64 = 1 << 20;

/// Why the log could not be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The file could not be opened.
    #[error("cannot open the audit log: {source}")]
    Open {
        /// Why.
        #[from]
        source: paths::Failure,
    },
    /// The file's last record could not be read.
    #[error("cannot read the audit log {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A record could not be put into words.
    #[error("cannot write an audit record as JSON: {source}")]
    Encode {
        /// Why.
        source: serde_json::Error,
    },
    /// A record could not be appended.
    #[error("cannot append to the audit log {}: {source}; approvals are refused until it can be written", path.display())]
    Append {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The open audit log.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
    boot: String,
    /// Number of the next record.
    sequence: u64,
    /// The file does not end with a whole line: the next record begins a new one.
    torn: bool,
}

/// A record as it is written.
#[derive(Serialize)]
struct Record<'a> {
    sequence: u64,
    boot: &'a str,
    #[serde(flatten)]
    entry: &'a Entry,
}

/// The part of a record by which a restarted daemon goes on counting.
#[derive(Deserialize)]
struct Numbered {
    sequence: u64,
}

impl Log {
    /// Opens the log in a directory that only its owner may enter, creating both. Numbers go on where they stopped.
    pub fn open(directory: &Path, boot: String) -> Result<Self, Failure> {
        paths::private_directory(directory)?;
        let path = directory.join(NAME);
        let mut file = paths::open_append(&path)?;
        match last_record(&mut file) {
            Ok((last, torn)) => Ok(Self { path, file, boot, sequence: last.map_or(1, |last| last + 1), torn }),
            Err(source) => Err(Failure::Read { path, source }),
        }
    }

    /// Where the log lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a record. A durable one is on disk when this returns.
    pub fn append(&mut self, entry: &Entry, durable: bool) -> Result<(), Failure> {
        let record = Record { sequence: self.sequence, boot: &self.boot, entry };
        let mut line = if self.torn { b"\n".to_vec() } else { Vec::new() };
        serde_json::to_writer(&mut line, &record).map_err(|source| Failure::Encode { source })?;
        line.push(b'\n');
        // Until all is well, whatever was written counts as a torn line, and its number as used.
        self.torn = true;
        self.sequence += 1;
        let written = self.file.write_all(&line).and_then(|()| if durable { self.file.sync_data() } else { Ok(()) });
        written.map_err(|source| Failure::Append { path: self.path.clone(), source })?;
        self.torn = false;
        Ok(())
    }
}

/// The number of the last whole record, and whether something torn lies behind it.
fn last_record(file: &mut File) -> io::Result<(Option<u64>, bool)> {
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail)?;
    let torn = tail.last().is_some_and(|byte| *byte != b'\n');
    let numbered = |line: &[u8]| serde_json::from_slice::<Numbered>(line).ok().map(|record| record.sequence);
    Ok((tail.rsplit(|byte| *byte == b'\n').find_map(numbered), torn))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use jiff::Timestamp;
    use serde_json::Value;

    use super::Log;
    use crate::audit::{Entry, Now, Person, What};

    const NOW: Now = Now { monotonic_ns: 7, wall: Timestamp::UNIX_EPOCH };

    fn lines(log: &Log) -> Vec<Value> {
        let text = fs::read_to_string(log.path()).expect("the log is readable");
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    #[test]
    fn a_record_is_one_line_of_json_whatever_its_strings_hold() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut log = Log::open(&directory.path().join("log"), "boot".to_owned()).expect("opens");
        let evil = "a\n{\"sequence\":99}\u{1b}[2J\0".to_owned();
        let person = Person { uid: 0, user: Some("root".to_owned()), pid: 4 };
        let entry = Entry { reason: Some(evil.clone()), approver: Some(person), ..Entry::new(NOW, What::Decided) };
        log.append(&entry, true).expect("appends");
        let text = fs::read(log.path()).expect("the log is readable");
        assert_eq!(text.iter().filter(|byte| byte.is_ascii_control()).count(), 1, "only the newline at the end");
        let line = &lines(&log)[0];
        assert_eq!(line["reason"], evil);
        assert_eq!((&line["sequence"], &line["boot"], &line["what"]), (&1.into(), &"boot".into(), &"decided".into()));
        assert_eq!((&line["time"], &line["monotonic_ns"]), (&"1970-01-01T00:00:00Z".into(), &7.into()));
        assert_eq!(line["approver"]["user"], "root");
    }

    #[test]
    fn only_its_owner_can_read_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let log = Log::open(&directory.path().join("log"), String::new()).expect("opens");
        let mode = |path: &std::path::Path| fs::metadata(path).expect("exists").permissions().mode() & 0o7777;
        assert_eq!(mode(log.path()), 0o600);
        assert_eq!(mode(log.path().parent().expect("has a directory")), 0o700);
    }

    #[test]
    fn numbers_go_on_after_a_restart_and_behind_a_torn_line() {
        let directory = tempfile::tempdir().expect("a directory");
        let place = directory.path().join("log");
        let entry = Entry::new(NOW, What::DaemonStarted);
        let mut log = Log::open(&place, "1".to_owned()).expect("opens");
        log.append(&entry, false).expect("appends");
        log.append(&entry, false).expect("appends");
        let mut torn = fs::read(log.path()).expect("the log is readable");
        torn.extend(b"{\"sequence\":3,\"bo");
        fs::write(log.path(), torn).expect("can be torn");
        let mut log = Log::open(&place, "2".to_owned()).expect("opens");
        log.append(&entry, false).expect("appends");
        let numbers: Vec<u64> = lines(&log).iter().filter_map(|line| line["sequence"].as_u64()).collect();
        assert_eq!(numbers, [1, 2, 3]);
    }

    #[test]
    fn a_log_that_cannot_be_written_says_so() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut log = Log::open(&directory.path().join("log"), String::new()).expect("opens");
        log.file = fs::File::options().write(true).open("/dev/full").expect("a full device");
        let failure = log.append(&Entry::new(NOW, What::Held), true).expect_err("no space");
        assert!(failure.to_string().starts_with("cannot append to the audit log "), "{failure}");
    }
}
