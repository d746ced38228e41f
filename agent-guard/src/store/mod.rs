//! What outlives a daemon, in an SQLite file: requests as they stand, and what approvals allow of other acts.
//!
//! The audit log says what has happened, and is never read by a daemon; this says how things stand. It must not know what a
//! request means, nor which processes are still there. What is committed survives the daemon's end at any instant; what was
//! said to be `durable`, the machine's as well.

mod rows;

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, params};

use crate::decision::{Grant, Request, RequestId};

/// The file's layout. One of another layout is none of this daemon's.
const LAYOUT: u32 = 1;
/// Marks a file as this program's: "AGgd".
const APPLICATION: u32 = 0x4147_6764;
/// Pages of the file that are kept in memory, in KiB.
const CACHE_KIB: i32 = 512;
const TABLES: &str = "\
CREATE TABLE request (id TEXT PRIMARY KEY, boot TEXT NOT NULL, asked TEXT NOT NULL, course TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE reach (id TEXT PRIMARY KEY, boot TEXT NOT NULL, policy INTEGER NOT NULL, body TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE head (sequence INTEGER NOT NULL) STRICT;
INSERT INTO head VALUES (0);";
const REMEDY: &str = "move it away to begin without it: what it held is asked again";

/// Why what outlives the daemon cannot be kept or found.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The file cannot be opened as a database, or is damaged.
    #[error("cannot open {}: {source}; {REMEDY}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// The file is some other program's, or of another version of this one.
    #[error("{} is not a store of this daemon (layout {found}, expected {LAYOUT}); {REMEDY}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it says of itself.
        found: u32,
    },
    /// A row cannot be read.
    #[error("cannot read what {} says of {id}: {source}; {REMEDY}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// The request.
        id: String,
        /// Why.
        source: serde_json::Error,
    },
    /// A change could not be written.
    #[error("cannot write to {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
}

/// A change to what is kept.
#[derive(Debug)]
pub enum Change<'a> {
    /// How a request stands.
    Request(&'a Request),
    /// A request is not remembered any more.
    Forgotten(RequestId),
    /// What an approval allows of other acts, under the policy of this number.
    Grant(&'a Grant, u32),
    /// It allows nothing any more.
    GrantEnded(RequestId),
}

/// Something that was kept, and in which boot of the machine.
#[derive(Debug, PartialEq, Eq)]
pub struct Kept<T> {
    /// The boot; clocks and processes of another one mean nothing now.
    pub boot: String,
    /// What was kept.
    pub what: T,
}

/// All that was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Requests.
    pub requests: Vec<Kept<Request>>,
    /// What approvals allow, and under which policy's number.
    pub grants: Vec<Kept<(Grant, u32)>>,
    /// The last record of the audit log that was there when any of it was committed.
    pub sequence: u64,
}

/// The open file.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    boot: String,
    connection: Connection,
    is_durable: Option<bool>,
}

impl Store {
    /// Opens the file, or makes it, in a directory that only its owner may enter.
    ///
    /// # Errors
    /// It is damaged, or not this program's.
    pub fn open(path: &Path, boot: String) -> Result<Self, Failure> {
        let failed = |source| Failure::Open { path: path.to_owned(), source };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(failed)?;
        let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, u32>(0));
        let (application, layout) =
            (number("application_id").map_err(failed)?, number("user_version").map_err(failed)?);
        let is_new = application == 0 && layout == 0 && tables(&connection).map_err(failed)? == 0;
        if !is_new && (application, layout) != (APPLICATION, LAYOUT) {
            return Err(Failure::Foreign { path: path.to_owned(), found: layout });
        }
        let set = |name: &str, value: &dyn rusqlite::ToSql| connection.pragma_update(None, name, value);
        set("locking_mode", &"EXCLUSIVE").map_err(failed)?;
        set("journal_mode", &"WAL").map_err(failed)?;
        set("cache_size", &-CACHE_KIB).map_err(failed)?;
        if is_new {
            set("application_id", &APPLICATION).map_err(failed)?;
            connection
                .execute_batch(&format!("BEGIN; {TABLES} PRAGMA user_version = {LAYOUT}; COMMIT;"))
                .map_err(failed)?;
        }
        let store = Self { path: path.to_owned(), boot, connection, is_durable: None };
        store.check()?;
        Ok(store)
    }

    /// A damaged file must not look like one that holds little.
    fn check(&self) -> Result<(), Failure> {
        let failed = |source| Failure::Open { path: self.path.clone(), source };
        let said: String = self.connection.pragma_query_value(None, "quick_check", |row| row.get(0)).map_err(failed)?;
        if said == "ok" {
            return Ok(());
        }
        let corrupt = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
        Err(failed(rusqlite::Error::SqliteFailure(corrupt, Some(said))))
    }

    /// The boot of the machine that it is open in.
    #[must_use]
    pub fn boot(&self) -> &str {
        &self.boot
    }

    /// All that was kept.
    ///
    /// # Errors
    /// Something cannot be read: then nothing is taken up.
    pub fn find(&self) -> Result<Found, Failure> {
        let mut found = Found::default();
        let texts =
            |row: &rusqlite::Row<'_>| Ok::<[String; 4], _>([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?]);
        for [id, boot, asked, course] in self.rows("SELECT id, boot, asked, course FROM request", texts)? {
            let what = rows::request(&asked, &course).map_err(|source| self.bad_row(id, source))?;
            found.requests.push(Kept { boot, what });
        }
        let reach = |row: &rusqlite::Row<'_>| {
            Ok::<([String; 3], u32), _>(([row.get(0)?, row.get(1)?, row.get(2)?], row.get(3)?))
        };
        for ([id, boot, body], policy) in self.rows("SELECT id, boot, body, policy FROM reach", reach)? {
            let grant = rows::grant(&body).map_err(|source| self.bad_row(id, source))?;
            found.grants.push(Kept { boot, what: (grant, policy) });
        }
        let sequence = self.rows("SELECT sequence FROM head", |row| row.get::<_, i64>(0))?;
        found.sequence = sequence.first().map_or(0, |sequence| sequence.cast_unsigned());
        Ok(found)
    }

    fn rows<T>(
        &self,
        query: &str,
        read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, Failure> {
        let rows = self.connection.prepare(query).and_then(|mut query| query.query_map([], read)?.collect());
        rows.map_err(|source| Failure::Open { path: self.path.clone(), source })
    }

    fn bad_row(&self, id: String, source: serde_json::Error) -> Failure {
        Failure::Row { path: self.path.clone(), id, source }
    }

    /// Makes all changes, or none of them. When it returns, they survive this process; durable ones, the machine. What they
    /// follow from is in the audit log, up to the record of this number.
    ///
    /// # Errors
    /// The file cannot be written: nothing was changed.
    pub fn commit(&mut self, changes: &[Change<'_>], durable: bool, sequence: u64) -> Result<(), Failure> {
        self.try_commit(changes, durable, sequence).map_err(|source| Failure::Write { path: self.path.clone(), source })
    }

    fn try_commit(&mut self, changes: &[Change<'_>], durable: bool, sequence: u64) -> rusqlite::Result<()> {
        if self.is_durable != Some(durable) {
            self.connection.pragma_update(None, "synchronous", if durable { "FULL" } else { "NORMAL" })?;
            self.is_durable = Some(durable);
        }
        let transaction = self.connection.transaction()?;
        for change in changes {
            match change {
                Change::Request(request) => keep_request(&transaction, &self.boot, request)?,
                Change::Forgotten(id) => {
                    transaction.prepare_cached("DELETE FROM request WHERE id = ?")?.execute([id.to_string()])?;
                }
                Change::Grant(grant, policy) => {
                    let mut put = transaction
                        .prepare_cached("INSERT OR REPLACE INTO reach (id, boot, policy, body) VALUES (?, ?, ?, ?)")?;
                    put.execute(params![grant.id.to_string(), self.boot, policy, rows::grant_body(grant)])?;
                }
                Change::GrantEnded(id) => {
                    transaction.prepare_cached("DELETE FROM reach WHERE id = ?")?.execute([id.to_string()])?;
                }
            }
        }
        transaction.prepare_cached("UPDATE head SET sequence = ?")?.execute([sequence.cast_signed()])?;
        transaction.commit()
    }
}

fn tables(connection: &Connection) -> rusqlite::Result<u32> {
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
}

/// What is asked never changes, and is written once.
fn keep_request(transaction: &rusqlite::Transaction<'_>, boot: &str, request: &Request) -> rusqlite::Result<()> {
    let (id, course) = (request.id.to_string(), rows::course(request));
    let changed =
        transaction.prepare_cached("UPDATE request SET course = ? WHERE id = ?")?.execute(params![course, id])?;
    if changed == 0 {
        let mut put =
            transaction.prepare_cached("INSERT INTO request (id, boot, asked, course) VALUES (?, ?, ?, ?)")?;
        put.execute(params![id, boot, rows::asked(request), course])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
