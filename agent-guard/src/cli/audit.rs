//! `audit verify`, `audit export` and `audit key`, which ask nobody: a copy of the log is enough, on whatever machine.

use super::{Error, args, output};
use crate::audit::{self, ExportFailure, Key, Known, Redactor, Report, Selection};
use crate::text::escape;
use serde_json::json;
use std::io::{self, BufWriter, Write as _};

/// Reports whatever in a log is not as it was written.
pub(super) fn verify(args: &args::Verify) -> Result<(), Error> {
    let known = Known { head: args.head, key: args.key, from: args.from };
    let report = audit::verify(&args.path, &known)?;
    if args.json {
        output::print_json(&as_json(&report))?;
    } else {
        output::print(&as_text(&args.path.display().to_string(), &report))?;
    }
    if report.findings.is_empty() { Ok(()) } else { Err(Error::Findings) }
}

fn as_json(report: &Report) -> serde_json::Value {
    let findings = report
        .findings
        .iter()
        .map(|finding| json!({ "file": finding.file, "line": finding.line, "message": finding.fault.to_string() }));
    json!({
        "lines": report.lines,
        "last": report.last,
        "head": report.head.map(|head| head.to_string()),
        "signed": report.signed,
        "keys": report.keys.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "findings": findings.collect::<Vec<_>>(),
    })
}

/// What is wrong, a line each, in the form that editors jump to; and what is left.
fn as_text(path: &str, report: &Report) -> String {
    let findings = report.findings.iter();
    let mut text: String = findings
        .map(|finding| format!("{}:{}: {}\n", escape(&finding.file.display().to_string()), finding.line, finding.fault))
        .collect();
    if report.findings.is_empty() {
        text.push_str(&format!("{}: whole, up to record {}\n", escape(path), report.last));
    }
    let mut fields = Vec::new();
    if let Some(head) = report.head {
        fields.push(("head", head.to_string()));
    }
    let signed = if report.signed == 0 { "no record".to_owned() } else { format!("up to record {}", report.signed) };
    fields.push(("signed", signed));
    fields.extend(report.keys.iter().map(|key| ("by", key.to_string())));
    text.push_str(&output::fields(&fields));
    text
}

/// Writes records to standard output, and says on standard error of each line that is none.
pub(super) fn export(args: &args::Export) -> Result<(), Error> {
    let selection = Selection { from: args.from, to: args.to, since: args.since, until: args.until };
    let redactor = if args.unredacted { None } else { Some(Redactor::new()?) };
    let mut is_whole = true;
    let out = BufWriter::new(io::stdout().lock());
    audit::export(&args.path, args.format, &selection, redactor.as_ref(), out, |bad| {
        is_whole = false;
        // Where even standard error is closed, the exit code has to do.
        drop(writeln!(io::stderr(), "agent-guard: {}", escape(&bad.to_string())));
    })?;
    if is_whole { Ok(()) } else { Err(Error::Findings) }
}

impl From<ExportFailure> for Error {
    fn from(failure: ExportFailure) -> Self {
        match failure {
            ExportFailure::Read(failure) => Self::ReadLog(failure),
            ExportFailure::Write(error) => Self::Output(error),
        }
    }
}

/// Prints the half of the key that anybody may have.
pub(super) fn key(args: &args::Key) -> Result<(), Error> {
    Ok(output::print(&format!("{}\n", Key::read(&args.file)?.public()))?)
}
