//! Terminals: whether there is one, and how wide it is. It must not know what is shown.

use rustix::termios::{isatty, tcgetwinsize};
use std::io;

/// Columns of the terminal that standard output is; none when it is something else.
#[must_use]
pub fn columns() -> Option<usize> {
    let stdout = io::stdout();
    if !isatty(&stdout) {
        return None;
    }
    tcgetwinsize(&stdout).ok().map(|size| usize::from(size.ws_col))
}
