//! Terminals: whether there is one, and how wide it is. It must not know what is shown.

use rustix::termios::{isatty, tcgetwinsize};
use std::io;

/// Whether a person can be asked: there is a terminal to read from and one to write to.
#[must_use]
pub fn is_interactive() -> bool {
    isatty(io::stdin()) && isatty(io::stdout())
}

/// Columns of the terminal that standard output is; none when it is something else.
#[must_use]
pub fn columns() -> Option<usize> {
    let stdout = io::stdout();
    if !isatty(&stdout) {
        return None;
    }
    tcgetwinsize(&stdout).ok().map(|size| usize::from(size.ws_col))
}
