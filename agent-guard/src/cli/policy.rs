//! `policy check`, which asks nobody, and `policy reload`.

use super::args;
use super::{Error, output};
use crate::api::client::Client;
use crate::api::types::PolicyFaults;
use crate::text::escape;
use std::fs;

/// Reports all faults of a policy file.
pub(super) fn check(args: &args::Check) -> Result<(), Error> {
    let bytes = fs::read(&args.file).map_err(|source| Error::ReadPolicy { path: args.file.clone(), source })?;
    let found = crate::api::check_policy(&bytes);
    if args.json {
        output::print_json(&found)?;
    } else {
        output::print(&report(&args.file.display().to_string(), &found))?;
    }
    if found.faults.is_empty() { Ok(()) } else { Err(Error::Findings) }
}

/// One line for each fault, in the form that editors jump to.
fn report(file: &str, found: &PolicyFaults) -> String {
    let file = escape(file);
    let faults = found.faults.iter();
    let lines = faults.map(|fault| format!("{file}:{}:{}: {}\n", fault.line, fault.column, escape(&fault.message)));
    let text: String = lines.collect();
    if text.is_empty() { format!("{file}: no faults\n") } else { text }
}

/// Has the daemon read its policy file again.
pub(super) async fn reload(client: &Client) -> Result<(), Error> {
    let policy = client.reload_policy().await?;
    let path = escape(&policy.path);
    Ok(output::print(&format!("{path}: generation {} is in force, {} rules\n", policy.generation, policy.rules))?)
}
