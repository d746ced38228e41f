//! `doctor`: what this machine can enforce, and what on it leads elsewhere. Needs no daemon.

use super::Error;
use super::output::{self, Style, Tone};
use crate::api::doctor::examine;
use crate::api::types::{Doctor, FindingLevel, Forwarder};
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
        let word = style.tone(Tone::Urgent, &format!("{:8}", "limited"));
        for detail in forwarders(&doctor) {
            text.push_str(&format!("{word}  {:10}  {detail}\n", "forwarder"));
        }
        output::print(&text)?;
    }
    if doctor.able { Ok(()) } else { Err(Error::Findings) }
}

/// What is said of local forwarders: what goes through one is judged by where it listens, and not by where it leads.
fn forwarders(doctor: &Doctor) -> Vec<String> {
    let line = |forwarder: &Forwarder| {
        let (program, listens) = (escape(&forwarder.program), escape(&forwarder.listens));
        let label = forwarder.label.as_deref().map(|label| format!(": label it by `{}`", escape(label)));
        let label = label.unwrap_or_else(|| ": no label can name it".to_owned());
        format!("{program}, pid {}, passes on what reaches {listens}{label}", forwarder.pid)
    };
    let mut lines: Vec<String> = doctor.forwarders.iter().map(line).collect();
    if doctor.unseen_forwarders > 0 {
        let count = doctor.unseen_forwarders;
        lines.push(format!("other users run {count} that may listen too: only root sees where"));
    }
    lines
}
