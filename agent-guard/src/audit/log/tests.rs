//! Tests of the log, on real files.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use jiff::Timestamp;
use serde_json::Value;

use super::{Failure, Log, files};
use crate::audit::chain::{Chain, Hash};
use crate::audit::checkpoint::{Key, signer};
use crate::audit::{Entry, Head, Now, Person, What};

const NOW: Now = Now { monotonic_ns: 7, wall: Timestamp::UNIX_EPOCH };

fn open(directory: &Path) -> Log {
    Log::open(&directory.join("log"), "boot".to_owned(), Key::open(&directory.join("key")).unwrap()).unwrap()
}

fn lines(log: &Log) -> Vec<Value> {
    let text = fs::read_to_string(log.path()).unwrap();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// That all of a log's files are one chain, and how many records it has.
fn assert_whole(log: &Log) -> u64 {
    let mut chain = Chain::behind(Head::BEGINNING);
    for file in files(&log.directory).unwrap() {
        for line in fs::read(file).unwrap().split_inclusive(|byte| *byte == b'\n') {
            chain.take(line.strip_suffix(b"\n").unwrap()).unwrap();
        }
    }
    chain.finish().unwrap();
    chain.sequence()
}

#[test]
fn a_record_is_one_line_of_json_whatever_its_strings_hold() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = open(directory.path());
    let evil = "a\n{\"sequence\":99}\u{1b}[2J\0".to_owned();
    let person = Person { uid: 0, user: Some("root".to_owned()), pid: 4 };
    let entry = Entry { reason: Some(evil.clone()), approver: Some(person), ..Entry::new(NOW, What::Decided) };
    log.append(&entry, true).unwrap();
    let text = fs::read(log.path()).unwrap();
    assert_eq!(text.iter().filter(|byte| byte.is_ascii_control()).count(), 1, "only the newline at the end");
    let line = &lines(&log)[0];
    assert_eq!(line["reason"], evil);
    assert_eq!((&line["sequence"], &line["boot"], &line["what"]), (&1.into(), &"boot".into(), &"decided".into()));
    assert_eq!((&line["time"], &line["monotonic_ns"]), (&"1970-01-01T00:00:00Z".into(), &7.into()));
    assert_eq!(line["approver"]["user"], "root");
    assert_eq!(assert_whole(&log), 1);
}

#[test]
fn only_its_owner_can_read_it() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(log.path()), 0o600);
    assert_eq!(mode(log.path().parent().unwrap()), 0o700);
}

#[test]
fn it_goes_on_after_a_restart_and_behind_a_torn_line() {
    let directory = tempfile::tempdir().unwrap();
    let entry = Entry::new(NOW, What::DaemonStarted);
    let mut log = open(directory.path());
    log.append(&entry, false).unwrap();
    log.append(&entry, false).unwrap();
    for torn in ["{\"sequence\":3,\"bo", "{\"sequence\":3,\"bo\n", "\n", "\n{\"what"] {
        let whole = fs::read_to_string(log.path()).unwrap();
        fs::write(log.path(), format!("{whole}{torn}")).unwrap();
        log = open(directory.path());
        log.append(&entry, false).unwrap();
    }
    assert_eq!(assert_whole(&log), 6);
}

#[test]
fn a_record_that_has_lost_its_newline_is_a_record() {
    let directory = tempfile::tempdir().unwrap();
    let entry = Entry::new(NOW, What::DaemonStarted);
    for records in 1..4 {
        open(directory.path()).append(&entry, false).unwrap();
        let log = open(directory.path());
        let whole = fs::read_to_string(log.path()).unwrap();
        fs::write(log.path(), whole.trim_end()).unwrap();
        let mut log = open(directory.path());
        log.append(&entry, false).unwrap();
        assert_eq!(assert_whole(&log), 2 * records);
    }
}

#[test]
fn a_log_with_the_last_number_is_full() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path());
    fs::write(log.path(), format!("{{\"previous\":\"{}\",\"sequence\":{}}}\n", Hash::NONE, u64::MAX)).unwrap();
    let failure = open(directory.path()).append(&Entry::new(NOW, What::Held), true).unwrap_err();
    assert!(matches!(failure, Failure::Full { .. }), "{failure}");
}

#[test]
fn what_a_failed_write_has_left_is_known_to_the_next_record() {
    let directory = tempfile::tempdir().unwrap();
    let entry = Entry::new(NOW, What::Held);
    let mut log = open(directory.path());
    log.append(&entry, true).unwrap();
    let append = |log: &Log, text: &str| {
        let whole = fs::read_to_string(log.path()).unwrap();
        fs::write(log.path(), format!("{whole}{text}")).unwrap();
    };
    // A part of a record, and a part of the next one, which knows of the first.
    append(&log, "{\"boot\":\"bo");
    log.unsure = true;
    append(&log, "\n{\"boot");
    log.append(&entry, true).unwrap();
    assert_eq!(assert_whole(&log), 2);
    // A whole one, of which it was not known whether it is on disk.
    let (head, end) = (log.head, log.end);
    log.append(&entry, true).unwrap();
    (log.head, log.end, log.unsure) = (head, end, true);
    log.append(&entry, true).unwrap();
    assert_eq!(assert_whole(&log), 4);
}

#[test]
fn a_log_that_cannot_be_written_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = open(directory.path());
    log.file = fs::File::options().read(true).write(true).open("/dev/full").unwrap();
    log.unsure = false;
    let failure = log.append(&Entry::new(NOW, What::Held), true).unwrap_err();
    assert!(failure.to_string().starts_with("cannot append to the audit log "), "{failure}");
}

#[test]
fn a_large_file_is_turned_over_and_the_chain_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let entry = Entry::new(NOW, What::Held);
    let mut log = open(directory.path());
    for _ in 0..3 {
        log.largest = 400;
        for _ in 0..3 {
            log.append(&entry, false).unwrap();
        }
    }
    let names = files(&log.directory).unwrap();
    assert!(names.len() > 2 && names[0].ends_with("audit-00000000000000000001.jsonl"), "{names:?}");
    assert_eq!(assert_whole(&log), 9);
    let numbers = |sequence| {
        let number = |line: &String| serde_json::from_str::<Value>(line).unwrap()["sequence"].as_u64().unwrap();
        log.behind(sequence).unwrap().iter().map(number).collect::<Vec<_>>()
    };
    assert_eq!((numbers(0), numbers(7), numbers(9)), ((1..=9).collect(), vec![8, 9], vec![]));
    // Also when it has just been turned over.
    fs::rename(log.path(), log.directory.join(format!("audit-{:020}.jsonl", log.first))).unwrap();
    log = open(directory.path());
    log.append(&entry, false).unwrap();
    assert_eq!(assert_whole(&log), 10);
    fs::write(log.path(), vec![b'x'; 2 << 20]).unwrap();
    assert!(Log::open(&log.directory, String::new(), Key::open(&directory.path().join("key")).unwrap()).is_err());
}

#[test]
fn a_checkpoint_is_due_after_records_or_time_and_vouches_for_what_came_before() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = open(directory.path());
    let later = Now { monotonic_ns: 100_000_000_000, ..NOW };
    assert!(!log.checkpoint_is_due(later.monotonic_ns), "nothing is to be vouched for");
    log.append(&Entry::new(NOW, What::Held), false).unwrap();
    assert!(log.checkpoint_is_due(later.monotonic_ns));
    let head = log.checkpoint(later).unwrap();
    assert_eq!((head.sequence, log.checkpoint_is_due(u64::MAX)), (2, false));
    let text = fs::read_to_string(log.path()).unwrap();
    assert_eq!(signer(text.lines().last().unwrap().as_bytes()), Some(Ok(log.key.public())));
    for _ in 0..1000 {
        assert!(!log.checkpoint_is_due(later.monotonic_ns));
        log.append(&Entry::new(NOW, What::Held), false).unwrap();
    }
    assert!(log.checkpoint_is_due(later.monotonic_ns));
    assert_eq!(assert_whole(&log), 1002);
}
