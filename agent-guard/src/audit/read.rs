//! The lines of a log, file by file and never more than one at a time: the one way to read a log, or a copy of it, on whatever
//! machine. It must not know what a line says.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use super::log;

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the audit log {}: {source}", path.display())]
pub struct Failure {
    path: PathBuf,
    source: io::Error,
}

impl Failure {
    fn of(path: &Path) -> impl FnOnce(io::Error) -> Self {
        |source| Self { path: path.to_owned(), source }
    }
}

/// The files of a log: all of a directory, in the order of their records, or the one that is named.
pub(super) fn files(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if path.is_dir() { log::files(path).map_err(Failure::of(path)) } else { Ok(vec![path.to_owned()]) }
}

/// Hands each line of a file over, with its number and without its newline, until one is answered by an error;
/// tells how many there were.
pub(super) fn lines<E: From<Failure>>(
    file: &Path,
    mut take: impl FnMut(u64, &[u8]) -> Result<(), E>,
) -> Result<u64, E> {
    let mut opened = BufReader::new(File::open(file).map_err(Failure::of(file))?);
    let (mut number, mut line) = (0, Vec::new());
    while opened.read_until(b'\n', &mut line).map_err(Failure::of(file))? > 0 {
        number += 1;
        take(number, line.strip_suffix(b"\n").unwrap_or(&line))?;
        line.clear();
    }
    Ok(number)
}
