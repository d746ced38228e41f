//! `status`: what the daemon enforces, and what it has failed at.

use super::Error;
use super::output::{self, Style, Tone};
use crate::api::client::Client;
use crate::api::types::Status;
use crate::text::escape;

/// Shows it.
pub(super) async fn run(client: &Client, json: bool) -> Result<(), Error> {
    let status = client.status().await?;
    if json {
        return Ok(output::print_json(&status)?);
    }
    Ok(output::print(&sheet(Style::of_stdout(), &status))?)
}

fn sheet(style: Style, status: &Status) -> String {
    let policy = &status.policy;
    let judged: Vec<String> = status.judged.iter().map(|judged| format!("{} {}", judged.count, judged.name)).collect();
    let failures = status.failures.iter().map(|failure| {
        style.tone(Tone::Bad, &escape(&format!("{} ({}): {} times", failure.place, failure.errno, failure.count)))
    });
    let failures: Vec<String> = failures.collect();
    output::fields(&[
        ("daemon", format!("{} since {:.0}, pid {}", escape(&status.version), status.started_at, status.pid)),
        ("kernel", escape(&status.kernel)),
        ("policy", format!("{}, generation {}", escape(&policy.path), policy.generation)),
        ("", format!("{} rules, {} labels, in force since {:.0}", policy.rules, policy.labels, policy.loaded_at)),
        ("profiles", escape(&policy.profiles.join(", "))),
        ("sessions", status.sessions.to_string()),
        ("pending", status.pending.to_string()),
        ("audit log", escape(&status.audit_log)),
        ("judged", escape(&judged.join(", "))),
        ("failures", if failures.is_empty() { style.tone(Tone::Good, "none") } else { failures.join("\n") }),
    ])
}
