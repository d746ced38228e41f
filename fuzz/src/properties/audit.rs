//! Files of audit logs: whatever stands there is looked at to its end; what is whole is whole no longer when one bit of it
//! differs; what is exported can be read and has lost its secrets for good. It must not know how records are tied.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::sync::LazyLock;

use agent_guard::audit::{
    ChainFault, Entry, Failure, Fault, Finding, Format, Hash, Head, Key, Known, Log, Now, Redactor, Report, Selection,
    What, export, verify,
};
use agent_guard::text;
use jiff::Timestamp;
use rustix::fs::{MemfdFlags, memfd_create};
use serde_json::{Map, Value};

static REDACTOR: LazyLock<Redactor> = LazyLock::new(|| Redactor::new().expect("the forms can be compiled"));
/// Places of each log that are changed, to see that it is found.
const FLIPS: usize = 4;
const NOW: Now = Now { monotonic_ns: 7, wall: Timestamp::UNIX_EPOCH };

/// Judges bytes as a log, and the log whose records say what the lines say.
pub fn holds(bytes: &[u8]) -> bool {
    let report = look(bytes, None);
    if report.findings.is_empty() {
        judge_whole(bytes, &report);
    }
    let tied = tied(bytes);
    let whole = look(&tied, None);
    assert_eq!(whole.findings, [], "a log that was written so is not whole");
    judge_whole(&tied, &whole);
    judge_reopened(bytes);
    judge_exports(&tied) | judge_exports(bytes)
}

/// A file that is nowhere but in memory.
struct Memory(File);

impl Memory {
    fn of(bytes: &[u8]) -> Self {
        let mut file = File::from(memfd_create("log", MemfdFlags::CLOEXEC).expect("a file in memory"));
        file.write_all(bytes).expect("memory");
        Self(file)
    }

    fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }
}

fn look(bytes: &[u8], head: Option<Head>) -> Report {
    let file = Memory::of(bytes);
    let report = verify(&file.path(), &Known { head, ..Known::default() }).expect("what is in memory can be read");
    assert_eq!(report.lines, lines(bytes).count() as u64);
    assert!(report.findings.iter().all(|finding| finding.line <= report.lines));
    assert!(report.findings.iter().all(|finding| !finding.fault.to_string().is_empty()));
    assert!(report.signed <= report.last || !report.findings.is_empty());
    report
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split_inclusive(|byte| *byte == b'\n')
}

/// Whoever knows the head of a whole log finds that a bit was changed, a line taken out, and the end cut.
fn judge_whole(bytes: &[u8], report: &Report) {
    let Some(head) = report.head.filter(|head| head.sequence > 0) else { return };
    assert_eq!(look(bytes, Some(head)).findings, [], "a log without its own head");
    for round in 0..FLIPS {
        // Places that depend on all of the log, and are the same in every run.
        let place = Hash::of(&[bytes, &[round as u8]].concat()).to_string();
        let place = usize::from_str_radix(&place[..8], 16).expect("a hash is hexadecimal");
        let (at, bit) = (place / 8 % bytes.len(), place % 8);
        let mut changed = bytes.to_vec();
        changed[at] ^= 1 << bit;
        // The newline at the very end is part of no record.
        let is_last = at + 1 == bytes.len() && bytes[at] == b'\n';
        assert!(is_last || !look(&changed, Some(head)).findings.is_empty(), "bit {bit} of byte {at} can be changed");
    }
    let last = lines(bytes).last().map_or(0, <[u8]>::len);
    assert_ne!(look(&bytes[..bytes.len() - last], Some(head)).findings, [], "the end can be cut");
    let first = lines(bytes).next().map_or(0, <[u8]>::len);
    assert_ne!(look(&bytes[first..], Some(head)).findings, [], "the beginning can be cut");
}

/// The log of those lines that are JSON objects, tied as records are.
fn tied(bytes: &[u8]) -> Vec<u8> {
    let (mut log, mut head) = (Vec::new(), Head::BEGINNING);
    for line in lines(bytes) {
        let Ok(mut record) = serde_json::from_slice::<Map<String, Value>>(line) else { continue };
        // No record has a number with a fraction, and only the key's holder makes a checkpoint.
        if record.values().any(has_fraction) || record.get("what").is_some_and(|what| what == "checkpoint") {
            continue;
        }
        record.remove("torn");
        record.insert("sequence".to_owned(), (head.sequence + 1).into());
        record.insert("previous".to_owned(), head.hash.to_string().into());
        let record = Value::Object(record).to_string();
        head = Head { sequence: head.sequence + 1, hash: Hash::of(record.as_bytes()) };
        log.extend_from_slice(record.as_bytes());
        log.push(b'\n');
    }
    log
}

fn has_fraction(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(values) => values.iter().any(has_fraction),
        Value::Object(fields) => fields.values().any(has_fraction),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

/// A daemon that finds the log goes on with it, and what was whole but for its end is whole again.
fn judge_reopened(bytes: &[u8]) {
    let directory = tempfile::tempdir().expect("a directory");
    let key = Memory::of(format!("{}\n", "5".repeat(64)).as_bytes());
    let open = || Log::open(&directory.path().join("log"), "boot".to_owned(), Key::read(&key.path()).expect("a key"));
    let path = open().expect("a log").path().to_owned();
    std::fs::write(&path, bytes).expect("a file");
    // Only a log that nobody could go on with is left alone.
    let Ok(mut log) = open() else { return };
    if log.append(&Entry::new(NOW, What::DaemonStarted), false).is_err() {
        return;
    }
    // One whose numbers are at their end says so, and takes nothing more.
    match log.checkpoint(NOW) {
        Err(Failure::Full { .. }) => return,
        checkpoint => drop(checkpoint.expect("a checkpoint")),
    }
    let report = verify(&path, &Known::default()).expect("a log");
    assert!(report.head.is_some() && report.signed == report.last, "{report:?}");
    let is_end = |finding: &Finding| matches!(finding.fault, Fault::Chain(ChainFault::Unfinished { .. }));
    let was_whole = look(bytes, None).findings.iter().all(is_end);
    assert!(!was_whole || report.findings.is_empty(), "{:?}", report.findings);
}

/// What leaves the log can be read, says as much as there are records, and holds no secret on a second look.
fn judge_exports(bytes: &[u8]) -> bool {
    let (records, bad) = exported(bytes, Format::Jsonl, None);
    assert_eq!(lines(&records).count() + bad, lines(bytes).count());
    let (redacted, _) = exported(bytes, Format::Jsonl, Some(&REDACTOR));
    let is_whole = lines(&redacted).all(|line| serde_json::from_slice(line).is_ok_and(|value| !has_fraction(&value)));
    assert!(!is_whole || exported(&redacted, Format::Jsonl, Some(&REDACTOR)).0 == redacted, "a secret was left");
    let (events, bad) = exported(bytes, Format::Ocsf, Some(&REDACTOR));
    assert_eq!(lines(&events).count() + bad, lines(bytes).count());
    for event in lines(&events) {
        let event: Value = serde_json::from_slice(event).expect("an event");
        let number = |name: &str| event[name].as_u64().expect("a number");
        assert_eq!(number("type_uid"), number("class_uid") * 100 + number("activity_id"));
        assert_eq!(number("category_uid"), number("class_uid") / 1000);
    }
    let (table, _) = exported(bytes, Format::Csv, Some(&REDACTOR));
    let mut table = csv::Reader::from_reader(&table[..]);
    let rows: Vec<csv::StringRecord> = table.records().map(|row| row.expect("as many cells as columns")).collect();
    assert_eq!(rows.len(), lines(&records).count());
    for cell in rows.iter().flatten() {
        assert!(!cell.starts_with(['=', '+', '-', '@']), "{cell:?} runs");
        assert_eq!(text::escape_all(cell), cell, "a cell deceives");
    }
    !rows.is_empty()
}

/// What is written of a log, and how many of its lines are bad.
fn exported(bytes: &[u8], format: Format, redactor: Option<&Redactor>) -> (Vec<u8>, usize) {
    let (file, mut out, mut bad) = (Memory::of(bytes), Vec::new(), 0);
    let told = export(&file.path(), format, &Selection::default(), redactor, &mut out, |_bad| bad += 1);
    told.expect("what is in memory can be read");
    (out, bad)
}
