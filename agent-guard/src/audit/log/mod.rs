//! The file that records are appended to, one a line; and the files that it was before it grew too large. It must not know
//! what a record means.
//!
//! [`Log::write`] is the only place where a line is tied to the one before it and written.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use super::chain::{self, Chain, Hash, Head, Link, Torn};
use super::checkpoint::Key;
use super::record::{Entry, Now, What};
use crate::system::paths;

/// Name of the file in the log directory.
const NAME: &str = "audit.jsonl";
/// Names of those before: the number of their first record stands between.
const OLD: (&str, &str) = ("audit-", ".jsonl");
/// How far back from its end a file is searched for its last record.
const TAIL: u64 = 1 << 20;
/// Bytes of a file; from then on there is another.
const LARGEST: u64 = 64 << 20;
/// Records, and nanoseconds, after which there is a checkpoint.
const CHECKPOINT: (u64, u64) = (1000, 60_000_000_000);

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
    /// A file's last record could not be read.
    #[error("cannot read the audit log {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file holds something else.
    #[error("the audit log {} has no record in its last {TAIL} bytes: move it away", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// No number is left for another record.
    #[error("the audit log {} has the last record that there can be: move it away", path.display())]
    Full {
        /// The file.
        path: PathBuf,
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

/// How much was written since the log was opened, and how far it goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Records that were appended, checkpoints included.
    pub records: u64,
    /// Records that could not be.
    pub failed: u64,
    /// Number of the last record.
    pub sequence: u64,
}

/// The open audit log.
#[derive(Debug)]
pub struct Log {
    directory: PathBuf,
    path: PathBuf,
    file: File,
    boot: Arc<str>,
    key: Key,
    /// The last record.
    head: Head,
    /// Where it ends.
    end: u64,
    /// Number of the file's first record.
    first: u64,
    /// Whether something may lie behind the last record.
    unsure: bool,
    /// Bytes of the file from which on there is to be another.
    largest: u64,
    /// Records since the last checkpoint, and when that was, in nanoseconds of CLOCK_MONOTONIC.
    unsigned: (u64, u64),
    /// Records that were appended, and that could not be.
    appended: (u64, u64),
}

/// What a record says besides what ties it.
#[derive(Serialize)]
struct Body<'a> {
    boot: &'a str,
    #[serde(flatten)]
    entry: &'a Entry,
}

impl Log {
    /// Opens the log in a directory that only its owner may enter, creating both. It goes on where it stopped.
    pub fn open(directory: &Path, boot: String, key: Key) -> Result<Self, Failure> {
        paths::private_directory(directory)?;
        let path = directory.join(NAME);
        let mut file = paths::open_append(&path)?;
        let read = |path: &Path, source| Failure::Read { path: path.to_owned(), source };
        let mut last = last_record(&mut file).map_err(|source| read(&path, source))?;
        if last.is_none() && file.metadata().map_err(|source| read(&path, source))?.len() > TAIL {
            return Err(Failure::Foreign { path });
        }
        let first = first_record(&file).map_err(|source| read(&path, source))?;
        if last.is_none()
            && let Some(old) = files(directory).map_err(|source| read(directory, source))?.into_iter().rev().nth(1)
        {
            let mut before = File::open(&old).map_err(|source| read(&old, source))?;
            let found = last_record(&mut before).map_err(|source| read(&old, source))?;
            let (head, _end) = found.ok_or(Failure::Foreign { path: old })?;
            last = Some((head, 0));
        }
        let (head, end) = last.unwrap_or((Head::BEGINNING, 0));
        Ok(Self {
            directory: directory.to_owned(),
            path,
            file,
            boot: boot.into(),
            key,
            head,
            end,
            first: first.unwrap_or(head.sequence.saturating_add(1)),
            unsure: true,
            largest: LARGEST,
            unsigned: (0, 0),
            appended: (0, 0),
        })
    }

    /// Where the log lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How much was written, and how far the log goes.
    #[must_use]
    pub const fn written(&self) -> Written {
        let (records, failed) = self.appended;
        Written { records, failed, sequence: self.head.sequence }
    }

    /// Appends a record. A durable one is on disk when this returns.
    pub fn append(&mut self, entry: &Entry, durable: bool) -> Result<(), Failure> {
        let boot = Arc::clone(&self.boot);
        let body = Body { boot: &boot, entry };
        self.write(durable, |_key, link| Ok(chain::record(link, &body)?.to_string()))?;
        self.unsigned.0 += 1;
        Ok(())
    }

    /// The records behind one, a line each, in their order.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn behind(&self, sequence: u64) -> Result<Vec<String>, Failure> {
        let read = |path: &Path, source| Failure::Read { path: path.to_owned(), source };
        let mut records = Vec::new();
        // From the end on: a daemon that starts has little time, and what it looks for is the last of much.
        'files: for path in files(&self.directory).map_err(|source| read(&self.directory, source))?.iter().rev() {
            let bytes = fs::read(path).map_err(|source| read(path, source))?;
            for line in bytes.rsplit(|byte| *byte == b'\n') {
                // What is no record was torn, and is nobody's.
                let Ok(link) = serde_json::from_slice::<Link>(line) else { continue };
                if link.sequence <= sequence {
                    break 'files;
                }
                records.push(String::from_utf8_lossy(line).into_owned());
            }
        }
        records.reverse();
        Ok(records)
    }

    /// Waits until every record that was appended is on disk.
    ///
    /// # Errors
    /// Of none of them that is known.
    pub fn sync(&mut self) -> Result<(), Failure> {
        let synced = self.file.sync_data();
        synced.map_err(|source| {
            self.unsure = true;
            self.not_appended(source)
        })
    }

    /// Whether there should be a checkpoint.
    #[must_use]
    pub const fn checkpoint_is_due(&self, now_ns: u64) -> bool {
        let ((count, since), (records, time)) = (self.unsigned, CHECKPOINT);
        count >= records || count > 0 && now_ns.saturating_sub(since) >= time
    }

    /// Appends a checkpoint, and returns the record that it is.
    pub fn checkpoint(&mut self, now: Now) -> Result<Head, Failure> {
        // One that fails is tried again with the next that is due, and not at once.
        self.unsigned.1 = now.monotonic_ns;
        let boot = Arc::clone(&self.boot);
        let body = Body { boot: &boot, entry: &Entry::new(now, What::Checkpoint) };
        self.write(true, |key, link| key.sign(link, &body))?;
        self.unsigned.0 = 0;
        Ok(self.head)
    }

    fn write(
        &mut self,
        durable: bool,
        record: impl FnOnce(&Key, &Link) -> Result<String, serde_json::Error>,
    ) -> Result<(), Failure> {
        let written = self.write_line(durable, record);
        let (records, failed) = &mut self.appended;
        *(if written.is_ok() { records } else { failed }) += 1;
        written
    }

    fn write_line(
        &mut self,
        durable: bool,
        record: impl FnOnce(&Key, &Link) -> Result<String, serde_json::Error>,
    ) -> Result<(), Failure> {
        let looked = if self.unsure { self.look() } else { Ok(Vec::new()) };
        let loose = looked.map_err(|source| self.not_appended(source))?;
        if loose.is_empty() && self.end >= self.largest {
            self.turn_over();
        }
        let torn = (!loose.is_empty()).then(|| Torn::of(&loose));
        let next = self.head.sequence.checked_add(1);
        let sequence = next.ok_or_else(|| Failure::Full { path: self.path.clone() })?;
        let link = Link { sequence, previous: self.head.hash, torn };
        let record = record(&self.key, &link).map_err(|source| Failure::Encode { source })?;
        let is_open = loose.last().is_some_and(|byte| *byte != b'\n');
        let line = format!("{}{record}\n", if is_open { "\n" } else { "" });
        // Until all is well it may be there, or a part of it, or nothing.
        self.unsure = true;
        let written = self.file.write_all(line.as_bytes());
        let written = written.and_then(|()| if durable { self.file.sync_data() } else { Ok(()) });
        written.map_err(|source| self.not_appended(source))?;
        self.unsure = false;
        self.end += (loose.len() + line.len()) as u64;
        self.head = Head { sequence: link.sequence, hash: Hash::of(record.as_bytes()) };
        Ok(())
    }

    fn not_appended(&self, source: io::Error) -> Failure {
        Failure::Append { path: self.path.clone(), source }
    }

    /// Looks at what lies behind the last record, takes what follows from it, and returns the rest: a record that was
    /// written, and of which it is not known whether it is on disk, counts as written.
    fn look(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.file.seek(SeekFrom::Start(self.end))?;
        self.file.read_to_end(&mut rest)?;
        let (mut chain, mut at, mut taken) = (Chain::behind(self.head), 0, 0);
        while let Some(length) = rest[at..].iter().position(|byte| *byte == b'\n') {
            if chain.take(&rest[at..at + length]).is_err() {
                break;
            }
            at += length + 1;
            if let Some(head) = chain.head() {
                (self.head, taken) = (head, at);
            }
        }
        // A record that has lost no more than its newline counts as well: nobody could tell it from a whole one.
        let end = &rest[at..];
        let is_open = !end.is_empty() && !end.contains(&b'\n');
        if is_open
            && chain.take(end).is_ok()
            && let Some(head) = chain.head()
        {
            self.file.write_all(b"\n")?;
            rest.push(b'\n');
            (self.head, taken) = (head, rest.len());
        }
        self.end += taken as u64;
        Ok(rest.split_off(taken))
    }

    /// Begins another file. Where that fails, this one grows on.
    fn turn_over(&mut self) {
        let (before, behind) = OLD;
        let old = self.directory.join(format!("{before}{:020}{behind}", self.first));
        let turned = fs::rename(&self.path, &old).map_err(|source| paths::Failure::Open { path: old, source });
        let opened = turned.and_then(|()| {
            let file = paths::open_append(&self.path)?;
            let directory = File::open(&self.directory).and_then(|directory| directory.sync_all());
            directory.map_err(|source| paths::Failure::Open { path: self.directory.clone(), source })?;
            Ok(file)
        });
        match opened {
            Ok(file) => {
                self.file = file;
                (self.end, self.largest, self.first) = (0, LARGEST, self.head.sequence.saturating_add(1));
            }
            Err(failure) => {
                tracing::warn!(%failure, "the audit log goes on in a large file");
                self.largest += LARGEST;
            }
        }
    }
}

/// The files of a log, in the order of their records.
///
/// # Errors
/// The directory cannot be read.
pub(super) fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut old = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let is_old = |name: &str| name.starts_with(OLD.0) && name.ends_with(OLD.1);
        if name.to_str().is_some_and(is_old) {
            old.push(directory.join(name));
        }
    }
    // Their numbers have equally many digits.
    old.sort();
    old.push(directory.join(NAME));
    Ok(old)
}

/// The last record that a file holds whole, and where it ends.
fn last_record(file: &mut File) -> io::Result<Option<(Head, u64)>> {
    let length = file.seek(SeekFrom::End(0))?;
    let begin = file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail)?;
    let (mut at, mut last) = (0, None);
    for line in tail.split_inclusive(|byte| *byte == b'\n') {
        at += line.len() as u64;
        let line = line.strip_suffix(b"\n");
        if let Some((line, link)) = line.and_then(|line| Some((line, serde_json::from_slice::<Link>(line).ok()?))) {
            last = Some((Head { sequence: link.sequence, hash: Hash::of(line) }, begin + at));
        }
    }
    Ok(last)
}

/// The number of a file's first line, if it is a record.
fn first_record(file: &File) -> io::Result<Option<u64>> {
    let mut line = Vec::new();
    let mut file = file;
    file.seek(SeekFrom::Start(0))?;
    BufReader::new(file.take(TAIL)).read_until(b'\n', &mut line)?;
    Ok(serde_json::from_slice::<Link>(&line).ok().map(|link| link.sequence))
}

#[cfg(test)]
mod tests;
