//! Owns the verb `tidy`: what of the project's style a tool can hold. Each rule is a pure function of text.
//!
//! Must not change a file. A rule that needs an exception is changed here, in the open, and not silenced in place.

mod code;
mod imports;
mod ledger;
mod manifests;
mod text;
mod unsafety;

use std::collections::BTreeSet;
use std::fmt;
use std::process::Command;

use anyhow::{Result, bail};

use crate::paths;
use crate::process::Run as _;

/// One file of the checkout.
#[derive(Debug)]
struct Source {
    path: String,
    text: String,
}

/// One place that breaks a rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Fault {
    path: String,
    line: usize,
    message: String,
}

impl Source {
    /// Names a line of this file as a fault; lines count from 1.
    fn fault(&self, line: usize, message: impl Into<String>) -> Fault {
        Fault { path: self.path.clone(), line, message: message.into() }
    }

    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// Checks every file; the error lists all faults.
pub(crate) fn check() -> Result<()> {
    let sources = sources()?;
    let private = text::private_names()?;
    let mut faults = BTreeSet::new();
    for source in &sources {
        faults.extend(text::private(source, &private));
        faults.extend(manifests::check(source));
        if source.is_rust() {
            let code = code::strip(&source.text);
            faults.extend(text::check(source, &code));
            faults.extend(imports::check(source, &code));
            faults.extend(unsafety::check(source, &code));
        }
    }
    faults.extend(ledger::check(&sources));
    if !faults.is_empty() {
        let lines: Vec<_> = faults.iter().map(Fault::to_string).collect();
        bail!("{} faults\n{}", faults.len(), lines.join("\n"));
    }
    Ok(())
}

/// Reads every file that is tracked, or would be.
fn sources() -> Result<Vec<Source>> {
    let list = Command::new("git").args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).read()?;
    let mut sources = Vec::new();
    for path in list.split_terminator('\0') {
        // A file that was deleted and not committed is listed all the same; one that is not text has no style.
        if let Ok(text) = paths::read(path).map(String::from_utf8).unwrap_or_else(|_| Ok(String::new())) {
            sources.push(Source { path: path.to_owned(), text });
        }
    }
    Ok(sources)
}
