//! Records in the forms that others read: read from a log, without their secrets, one at a time. It needs neither the daemon nor
//! the machine.
//!
//! It must not know whether the log is whole: that is what `verify` tells.

mod classes;
mod ocsf;
mod table;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::Value;

use super::chain::{Hash, Head};
use super::read;
use super::redact::Redactor;

/// A form to export in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Events of the Open Cybersecurity Schema Framework, one a line.
    Ocsf,
    /// A table, under its head.
    Csv,
    /// The records as they are, one a line.
    Jsonl,
}

/// Which records are meant: what is not given is no limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Selection {
    /// Number of the first.
    pub from: Option<u64>,
    /// Number of the last.
    pub to: Option<u64>,
    /// None before this.
    pub since: Option<Timestamp>,
    /// None at this time or later.
    pub until: Option<Timestamp>,
}

impl Selection {
    fn has(&self, sequence: u64, time: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= sequence)
            && self.to.is_none_or(|to| sequence <= to)
            && self.since.is_none_or(|since| since <= time)
            && self.until.is_none_or(|until| time < until)
    }
}

/// A line that is not exported, since it cannot be read as a record.
#[derive(Debug, thiserror::Error)]
#[error("{}:{line}: {fault}", file.display())]
pub struct Bad {
    file: PathBuf,
    line: u64,
    fault: Fault,
}

/// Why a line cannot be exported.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("the line is no record, or a record that was not written whole: {0}")]
    NoRecord(#[from] serde_json::Error),
    #[error("the record has no `{0}` that can be read")]
    Without(&'static str),
}

/// Why an export ends before its time.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] read::Failure),
    /// What is to be written has nowhere to go.
    #[error(transparent)]
    Write(#[from] io::Error),
}

/// A record that was read, and what is needed of it whatever the form.
struct Record {
    value: Value,
    head: Head,
    time: Timestamp,
}

impl Record {
    fn read(line: &[u8]) -> Result<Self, Fault> {
        let value: Value = serde_json::from_slice(line)?;
        let sequence = value["sequence"].as_u64().ok_or(Fault::Without("sequence"))?;
        let time = value["time"].as_str().and_then(|time| time.parse().ok()).ok_or(Fault::Without("time"))?;
        Ok(Self { value, head: Head { sequence, hash: Hash::of(line) }, time })
    }
}

/// Where records go, in their form.
enum Out<W: Write> {
    Table(Box<csv::Writer<W>>),
    Lines(W),
}

impl<W: Write> Out<W> {
    fn begin(format: Format, out: W) -> Result<Self, io::Error> {
        match format {
            Format::Csv => Ok(Self::Table(Box::new(table::begin(out)?))),
            Format::Ocsf | Format::Jsonl => Ok(Self::Lines(out)),
        }
    }

    fn put(&mut self, value: &Value) -> Result<(), io::Error> {
        match self {
            Self::Table(table) => table::put(table, value),
            Self::Lines(out) => writeln!(out, "{value}"),
        }
    }

    fn end(self) -> Result<(), io::Error> {
        match self {
            Self::Table(mut table) => table.flush(),
            Self::Lines(mut out) => out.flush(),
        }
    }
}

/// Writes the selected records of a log, which is all files of a directory or one file; says of each bad line that it is.
///
/// # Errors
/// A file cannot be read, or nothing can be written any more. Bad lines are none.
pub fn export(
    path: &Path,
    format: Format,
    selection: &Selection,
    redactor: Option<&Redactor>,
    out: impl Write,
    mut bad: impl FnMut(&Bad),
) -> Result<(), Failure> {
    let mut out = Out::begin(format, out)?;
    for file in read::files(path)? {
        read::lines(&file, |number, line| {
            match told(line, format, selection, redactor) {
                Ok(told) => told.iter().try_for_each(|told| out.put(told))?,
                Err(fault) => bad(&Bad { file: file.clone(), line: number, fault }),
            }
            Ok::<(), Failure>(())
        })?;
    }
    Ok(out.end()?)
}

/// What is to be told of a line, if anything is.
fn told(
    line: &[u8],
    format: Format,
    selection: &Selection,
    redactor: Option<&Redactor>,
) -> Result<Option<Value>, Fault> {
    let mut record = Record::read(line)?;
    if !selection.has(record.head.sequence, record.time) {
        return Ok(None);
    }
    if let Some(redactor) = redactor {
        redactor.record(&mut record.value);
    }
    match format {
        Format::Ocsf => ocsf::event(&record).map(Some),
        Format::Csv | Format::Jsonl => Ok(Some(record.value)),
    }
}

#[cfg(test)]
mod tests;
