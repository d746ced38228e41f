//! Tests of the store, on real files.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;

use super::{Change, Failure, Found, Kept, Store};
use crate::decision::tests::{Game, Q, SECOND, answer, key, person, question, under};
use crate::decision::{Answer, Choice, Event, Memory, Request, Ruling};
use crate::policy::{Demand, Scope, Terms};
use crate::session::{Act, Ancestor, Impact, Intent, Said};

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    (directory, path)
}

fn open(path: &std::path::Path) -> Store {
    Store::open(path, "boot".to_owned()).unwrap()
}

/// A memory in which all that can be said is said.
fn full() -> Memory {
    let mut game = Game::new();
    let terms =
        Terms { approvers: 2, group: Some("ops".to_owned()), demands: [Demand::Reason].into(), widest: Scope::Rule };
    let mut asked = under(terms, question(key(5, 6, Q), 1, Ruling::Ask));
    let mut act = Act::clone(&asked.act);
    act.other = Some("/srv/x \u{fffd} \"'; DROP TABLE request; --".to_owned());
    act.impact = Some(Impact { files: 3, bytes: u64::MAX, complete: false });
    act.sent = Some(9);
    act.process.argv = vec!["rm".to_owned(), "-rf".to_owned(), "\\xff".to_owned()];
    act.process.ancestry = vec![Ancestor { pid: 4, comm: "sh".to_owned(), argv: Vec::new() }];
    let said = Said { why: "it is old".to_owned(), alternatives: vec!["keep".to_owned()], ..Said::default() };
    act.intent = Some(Arc::new(Intent { said, at: jiff::Timestamp::UNIX_EPOCH }));
    asked.act = Arc::new(act);
    asked.bound.object = u64::MAX;
    game.play(Event::Asked(Box::new(asked)));
    let id = game.pending()[0];
    let yes = |uid| Answer {
        scope: Scope::Session,
        for_ns: 60 * SECOND,
        in_group: true,
        reason: Some("fine".to_owned()),
        ..answer(Choice::Approve, crate::audit::Person { uid, ..person() })
    };
    game.play(Event::Replied { call: 1, request: id, answer: yes(1) });
    game.play(Event::Asked(Box::new(question(key(9, 9, Q + 1), 1, Ruling::Ask))));
    game.play(Event::Asked(Box::new(question(key(8, 8, Q + 2), 1, Ruling::Ask))));
    game.play(Event::Replied { call: 1, request: id, answer: yes(2) });
    game.play(Event::Done { key: key(5, 6, Q), error: Some("no space".to_owned()) });
    game.state.memory()
}

fn changes(memory: &Memory) -> Vec<Change<'_>> {
    let grants = memory.grants.iter().map(|grant| Change::Grant(grant, 7));
    memory.requests.iter().map(Change::Request).chain(grants).collect()
}

fn sorted(found: Found) -> Memory {
    let mut requests: Vec<Request> = found.requests.into_iter().map(|kept| kept.what).collect();
    requests.sort_by_key(|request| request.id);
    Memory { requests, grants: found.grants.into_iter().map(|kept| kept.what.0).collect() }
}

#[test]
fn what_is_committed_is_found_again_as_it_was() {
    let (_directory, path) = place();
    let memory = full();
    assert_eq!((memory.requests.len(), memory.grants.len()), (3, 1));
    let mut store = open(&path);
    store.commit(&changes(&memory), true, 9).unwrap();
    drop(store);
    let found = Store::open(&path, "another".to_owned()).unwrap().find().unwrap();
    assert_eq!(found.sequence, 9);
    assert!(found.requests.iter().all(|kept| kept.boot == "boot"));
    assert!(matches!(&found.grants[..], [Kept { boot, what: (_, 7) }] if boot == "boot"));
    assert_eq!(sorted(found), memory);
}

#[test]
fn a_request_changes_its_course_and_is_forgotten() {
    let (_directory, path) = place();
    let (mut game, id) = Game::asked(key(5, 5, Q));
    let mut store = open(&path);
    store.commit(&changes(&game.state.memory()), false, 9).unwrap();
    game.play(Event::Replied { call: 1, request: id, answer: answer(Choice::Deny, person()) });
    store.commit(&changes(&game.state.memory()), true, 9).unwrap();
    assert_eq!(sorted(store.find().unwrap()), game.state.memory());
    store.commit(&[Change::Forgotten(id), Change::GrantEnded(id)], false, 9).unwrap();
    assert_eq!(store.find().unwrap(), Found { sequence: 9, ..Found::default() });
}

#[test]
fn a_file_that_is_damaged_or_foreign_is_refused_and_left_as_it_is() {
    let (_directory, path) = place();
    for junk in [&b"SQLite format 3\0 and then nothing"[..], &[0xff; 8192], b"{}"] {
        fs::write(&path, junk).unwrap();
        let failure = Store::open(&path, String::new()).unwrap_err();
        assert!(matches!(failure, Failure::Open { .. }), "{failure}");
        assert!(failure.to_string().contains("move it away"), "{failure}");
        assert_eq!(fs::read(&path).unwrap(), junk);
    }
    fs::remove_file(&path).unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE request (id)").unwrap();
    drop(other);
    assert!(matches!(Store::open(&path, String::new()).unwrap_err(), Failure::Foreign { found: 0, .. }));
}

#[test]
fn a_page_that_was_overwritten_is_found_at_the_start() {
    let (_directory, path) = place();
    let mut store = open(&path);
    store.commit(&changes(&full()), true, 9).unwrap();
    drop(store);
    let mut bytes = fs::read(&path).unwrap();
    let tables = 4096..bytes.len().min(12288);
    bytes[tables].fill(0x5a);
    fs::write(&path, bytes).unwrap();
    assert!(matches!(Store::open(&path, String::new()).unwrap_err(), Failure::Open { .. }));
}

#[test]
fn a_row_that_cannot_be_read_is_named() {
    let (_directory, path) = place();
    let mut store = open(&path);
    let memory = full();
    store.commit(&changes(&memory), true, 9).unwrap();
    let id = memory.requests[0].id.to_string();
    store.connection.execute("UPDATE request SET course = '{\"standing\":\"granted\"}' WHERE id = ?", [&id]).unwrap();
    let failure = store.find().unwrap_err();
    assert!(matches!(&failure, Failure::Row { id: named, .. } if *named == id), "{failure}");
    assert!(failure.to_string().contains("granted"), "{failure}");
}

#[test]
fn a_second_daemon_cannot_open_it() {
    let (_directory, path) = place();
    let mut store = open(&path);
    store.commit(&changes(&full()), false, 9).unwrap();
    let failure = Store::open(&path, String::new()).unwrap_err();
    assert!(failure.to_string().contains("locked"), "{failure}");
}

#[test]
fn what_cannot_be_written_changes_nothing_and_says_so() {
    let (_directory, path) = place();
    let mut store = open(&path);
    store.connection.pragma_update(None, "max_page_count", 3).unwrap();
    let memory = full();
    let large: Vec<Change<'_>> = (0..50).flat_map(|_| changes(&memory)).collect();
    let failure = store.commit(&large, true, 9);
    let failure = failure.err().map_or_else(String::new, |failure| failure.to_string());
    assert!(failure.contains("cannot write to"), "{failure}");
    assert_eq!(store.find().unwrap(), Found::default());
}
