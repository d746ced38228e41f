//! The deliveries that wait, in a database that outlives the daemon: the only file of this module that knows SQLite.
//!
//! A delivery leaves it when its receiver has taken it, or when it is given up. Whoever dies in between sends it again: at
//! least once. It must not know how deliveries are sent.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, params};

use crate::system::paths;

/// Deliveries that may wait. Beyond that the oldest is dropped.
pub const ROWS: i64 = 10_000;
/// Pages that the database may have, of 4 KiB each.
const PAGES: i64 = 32_768;
/// The shape of the table; a database of another is put aside.
const SHAPE: i64 = 1;
/// What is found beside a database that is written ahead.
const SIDES: [&str; 3] = ["", "-wal", "-shm"];

/// A delivery that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Delivery {
    /// Its place in the queue.
    pub(super) row: i64,
    /// Its id, the same at every attempt.
    pub(super) id: String,
    /// The message.
    pub(super) body: String,
    /// When it was made, in milliseconds.
    pub(super) made_ms: i64,
    /// How often it has failed.
    pub(super) failures: u32,
}

/// The queue.
#[derive(Debug)]
pub(super) struct Queue {
    connection: Connection,
    path: PathBuf,
}

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Its file is not one that the daemon would make.
    #[error(transparent)]
    File(#[from] paths::Failure),
    /// SQLite says so.
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
    /// It was made by another version, or damaged.
    #[error("it is damaged, or another version's: {0}")]
    Damaged(String),
    /// Its file cannot be given another name.
    #[error("it cannot be put aside: {0}")]
    Aside(io::Error),
}

impl Failure {
    /// Whether nothing will ever be read from this database again.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Database(error) => {
                matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
            }
            Self::File(failure) => matches!(failure, paths::Failure::Kind { .. } | paths::Failure::Access { .. }),
            Self::Damaged(_) => true,
            Self::Aside(_) => false,
        }
    }
}

impl Queue {
    /// Opens the queue. A database that cannot be used is put aside for a new one; where there can be none, deliveries wait in
    /// memory, and do not outlive the daemon.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let opened = open(path).or_else(|failure| {
            // One that is whole, and cannot be opened just now, keeps its name: a later start may find it again.
            if !failure.is_final() {
                return Err(failure);
            }
            tracing::warn!(%failure, path = %path.display(), "the queue of notifications is put aside: what waits in it is not sent");
            put_aside(path).map_err(Failure::Aside)?;
            open(path)
        });
        let connection = opened.or_else(|failure| {
            tracing::warn!(%failure, path = %path.display(), "notifications wait in memory: a restart of the daemon loses them");
            prepare(Connection::open_in_memory()?)
        })?;
        Ok(Self { connection, path: path.to_owned() })
    }

    /// Begins anew with what can be used.
    pub(super) fn reopen(&mut self) -> Result<(), Failure> {
        // The damaged file must not be written to when it has another name.
        self.connection = prepare(Connection::open_in_memory()?)?;
        *self = Self::open(&self.path)?;
        Ok(())
    }

    /// Adds a delivery for a receiver. Returns how many of the oldest were dropped for it.
    pub(super) fn add(&mut self, receiver: &str, id: &str, body: &str, now_ms: i64) -> Result<usize, Failure> {
        let turn = self.connection.transaction()?;
        turn.prepare("INSERT INTO delivery (receiver, id, body, made, due, failures) VALUES (?1, ?2, ?3, ?4, ?4, 0)")?
            .execute(params![receiver, id, body, now_ms])?;
        let dropped = turn
            .prepare(
                "DELETE FROM delivery WHERE row IN (SELECT row FROM delivery ORDER BY row LIMIT \
                 max(0, (SELECT count(*) FROM delivery) - ?1))",
            )?
            .execute([ROWS])?;
        turn.commit()?;
        Ok(dropped)
    }

    /// A receiver's next delivery, and when it is due.
    pub(super) fn next(&self, receiver: &str) -> Result<Option<(i64, Delivery)>, Failure> {
        let mut query = self.connection.prepare(
            "SELECT due, row, id, body, made, failures FROM delivery WHERE receiver = ?1 ORDER BY due, row LIMIT 1",
        )?;
        let next = query.query_row([receiver], |row| {
            let delivery = Delivery {
                row: row.get(1)?,
                id: row.get(2)?,
                body: row.get(3)?,
                made_ms: row.get(4)?,
                failures: row.get(5)?,
            };
            Ok((row.get(0)?, delivery))
        });
        Ok(next.optional()?)
    }

    /// Takes a delivery out.
    pub(super) fn remove(&self, row: i64) -> Result<(), Failure> {
        self.connection.prepare("DELETE FROM delivery WHERE row = ?1")?.execute([row])?;
        Ok(())
    }

    /// Has a delivery wait, one failure later.
    pub(super) fn put_off(&self, row: i64, due_ms: i64) -> Result<(), Failure> {
        let mut update =
            self.connection.prepare("UPDATE delivery SET due = ?2, failures = failures + 1 WHERE row = ?1")?;
        update.execute(params![row, due_ms])?;
        Ok(())
    }

    /// Takes out what is for none of these receivers. Returns how many that were.
    pub(super) fn keep_only(&mut self, receivers: &[&str]) -> Result<usize, Failure> {
        let turn = self.connection.transaction()?;
        let known: Vec<String> = turn
            .prepare("SELECT DISTINCT receiver FROM delivery")?
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        let mut removed = 0;
        for receiver in known.iter().filter(|known| !receivers.contains(&known.as_str())) {
            removed += turn.execute("DELETE FROM delivery WHERE receiver = ?1", [receiver])?;
        }
        turn.commit()?;
        Ok(removed)
    }
}

fn open(path: &Path) -> Result<Connection, Failure> {
    // It is made with its mode, or found to have it, before SQLite knows of it.
    drop(paths::open_append(path)?);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    prepare(Connection::open_with_flags(path, flags)?)
}

fn prepare(connection: Connection) -> Result<Connection, Failure> {
    let shape: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // What was committed outlives the daemon; of what the last seconds before a loss of power held, some may be gone.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "max_page_count", PAGES)?;
    let found: String = connection.pragma_query_value(None, "quick_check", |row| row.get(0))?;
    if found != "ok" {
        return Err(Failure::Damaged(found));
    }
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    match (shape, tables) {
        (0, 0) => connection.execute_batch(&format!(
            "BEGIN;
             CREATE TABLE delivery (
                 row INTEGER PRIMARY KEY AUTOINCREMENT, receiver TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL,
                 made INTEGER NOT NULL, due INTEGER NOT NULL, failures INTEGER NOT NULL
             ) STRICT;
             CREATE INDEX delivery_due ON delivery (receiver, due, row);
             PRAGMA user_version = {SHAPE};
             COMMIT;"
        ))?,
        (SHAPE, 1..) => {}
        _ => return Err(Failure::Damaged(format!("shape {shape} with {tables} tables and indices"))),
    }
    Ok(connection)
}

/// Gives a database and what belongs to it names that nothing is opened by. An older one of these names is replaced.
fn put_aside(path: &Path) -> io::Result<()> {
    for side in SIDES {
        let named = |end: &str| {
            let mut name = path.as_os_str().to_owned();
            name.push(end);
            PathBuf::from(name)
        };
        match fs::rename(named(side), named(&format!(".damaged{side}"))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::{Queue, ROWS};

    fn ids(queue: &Queue, receiver: &str) -> Vec<String> {
        let mut ids = Vec::new();
        while let Some((_, next)) = queue.next(receiver).expect("reads") {
            queue.remove(next.row).expect("removes");
            ids.push(next.id);
        }
        ids
    }

    #[test]
    fn deliveries_come_out_in_the_order_in_which_they_are_due_and_outlive_the_queue() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("notify.db");
        let mut queue = Queue::open(&path).expect("opens");
        for (id, now) in [("a", 1), ("b", 2), ("c", 3)] {
            assert_eq!(queue.add("one", id, "{}", now).expect("adds"), 0);
        }
        queue.add("two", "d", "{}", 0).expect("adds");
        let (due, first) = queue.next("one").expect("reads").expect("is there");
        assert_eq!((due, first.id.as_str(), first.made_ms, first.failures), (1, "a", 1, 0));
        queue.put_off(first.row, 9).expect("writes");
        assert_eq!(fs::metadata(&path).expect("exists").permissions().mode() & 0o7777, 0o600);
        // As a daemon that is killed: nothing is closed.
        std::mem::forget(queue);
        let mut queue = Queue::open(&path).expect("opens again");
        assert_eq!(queue.keep_only(&["one"]).expect("writes"), 1);
        assert_eq!(ids(&queue, "one"), ["b", "c", "a"]);
        assert!(queue.next("two").expect("reads").is_none());
    }

    #[test]
    fn beyond_its_bound_the_oldest_is_dropped() {
        let root = tempfile::tempdir().expect("a directory");
        let mut queue = Queue::open(&root.path().join("notify.db")).expect("opens");
        let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1) \
                    INSERT INTO delivery (receiver, id, body, made, due, failures) SELECT 'one', i, '{}', i, i, 0 FROM n";
        queue.connection.execute(fill, [ROWS]).expect("fills");
        assert_eq!(queue.add("one", "last", "{}", 99_999).expect("adds"), 1);
        let (_, first) = queue.next("one").expect("reads").expect("is there");
        assert_eq!(first.id, "2");
    }

    #[test]
    fn a_database_that_cannot_be_used_is_put_aside_and_begun_anew() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("notify.db");
        let other = "SQLite format 3\0 and then nothing that is one";
        for damage in ["no database at all, and long enough to be taken for one".repeat(99), other.repeat(99)] {
            drop(fs::remove_file(&path));
            fs::write(&path, &damage).expect("writes");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("sets it");
            let mut queue = Queue::open(&path).expect("opens a new one");
            queue.add("one", "a", "{}", 1).expect("adds");
            assert_eq!(fs::read_to_string(root.path().join("notify.db.damaged")).expect("is kept"), damage);
            drop(queue);
            assert_eq!(ids(&Queue::open(&path).expect("opens"), "one"), ["a"]);
        }
    }

    #[test]
    fn a_database_of_another_shape_or_open_to_others_is_put_aside() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("notify.db");
        let connection = rusqlite::Connection::open(&path).expect("makes one");
        connection.execute_batch("CREATE TABLE other (x); PRAGMA user_version = 7;").expect("writes");
        drop(connection);
        for mode in [0o600, 0o666] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("sets it");
            Queue::open(&path).expect("opens").add("one", "a", "{}", 1).expect("adds");
            assert!(root.path().join("notify.db.damaged").exists());
            fs::remove_file(root.path().join("notify.db.damaged")).expect("was there");
        }
    }

    #[test]
    fn without_a_place_for_it_the_queue_is_in_memory() {
        let mut queue = Queue::open(std::path::Path::new("/proc/no/notify.db")).expect("opens");
        queue.add("one", "a", "{}", 1).expect("adds");
        assert_eq!(ids(&queue, "one"), ["a"]);
    }

    #[test]
    fn what_is_damaged_while_it_is_open_is_begun_anew() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("notify.db");
        let mut queue = Queue::open(&path).expect("opens");
        queue.add("one", "a", "{}", 1).expect("adds");
        queue.reopen().expect("opens again");
        assert_eq!(ids(&queue, "one"), ["a"]);
    }
}
