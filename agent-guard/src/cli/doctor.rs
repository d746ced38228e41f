//! `doctor`: what this machine can enforce. Needs no daemon.

use super::Error;
use super::output::{self, Style, Tone};
use crate::api::doctor::examine;
use crate::api::types::FindingLevel;
use crate::text::escape;

/// Examines, and fails when the daemon could not start here.
pub(super) fn run(json: bool) -> Result<(), Error> {
    let doctor = examine();
    if json {
        output::print_json(&doctor)?;
    } else {
        let style = Style::of_stdout();
        let mut text = String::new();
        for finding in &doctor.findings {
            let (tone, word) = match finding.level {
                FindingLevel::Good => (Tone::Good, "good"),
                FindingLevel::Limited => (Tone::Urgent, "limited"),
                FindingLevel::Missing => (Tone::Bad, "missing"),
            };
            let word = style.tone(tone, &format!("{word:8}"));
            text.push_str(&format!("{word}  {:10}  {}\n", finding.name, escape(&finding.detail)));
        }
        output::print(&text)?;
    }
    if doctor.able { Ok(()) } else { Err(Error::Findings) }
}
