//! `grants` and `revoke`; and what a person is shown before an approval reaches further than its act.

use super::output::{self, Style};
use super::{Error, args};
use crate::api::client::Client;
use crate::api::types::{ApprovalScope, Grant, Reach, Request};
use crate::system::terminal;
use crate::text::escape;

/// Lists those that hold.
pub(super) async fn list(client: &Client, json: bool) -> Result<(), Error> {
    let grants = client.grants().await?;
    if json {
        return Ok(output::print_json(&grants)?);
    }
    let rows: Vec<[String; 6]> = grants.iter().map(row).collect();
    let head = ["ID", "LEFT", "SCOPE", "USED", "RULE", "SESSION"];
    Ok(output::print(&Style::of_stdout().table(head, &rows))?)
}

fn row(grant: &Grant) -> [String; 6] {
    [
        grant.id.clone(),
        grant.left_ms.map_or_else(|| "process".to_owned(), output::duration),
        scope(grant),
        grant.used.to_string(),
        grant.rule.name.clone(),
        grant.session.name.clone(),
    ]
}

fn scope(grant: &Grant) -> String {
    match grant.scope {
        ApprovalScope::Process => format!("pid {}", grant.pid),
        other => other.word().to_owned(),
    }
}

/// Takes one back, and says how it stood.
pub(super) async fn revoke(client: &Client, id: &str) -> Result<(), Error> {
    let grant = client.revoke(id).await?;
    let acts = if grant.used == 1 { "act" } else { "acts" };
    let (id, rule) = (escape(&grant.id), escape(&grant.rule.name));
    Ok(output::print(&format!("revoked {id}: {} of rule {rule}, after {} more {acts}\n", scope(&grant), grant.used))?)
}

/// Has a person see what an approval would take in, and say yes to that.
pub(super) async fn confirm(client: &Client, args: &args::Reach, id: &str) -> Result<(), Error> {
    let scope = args.scope();
    if scope == ApprovalScope::Once || args.yes {
        return Ok(());
    }
    let (request, reach) = (client.request(id).await?, client.reach(id, scope).await?);
    agreed(&preview(&request, &reach, scope, args.seconds()), "approve all of that? [y/N] ")
}

/// Shows a person what is about to be approved, and has it said that this is meant.
pub(super) fn agreed(what: &str, question: &str) -> Result<(), Error> {
    output::print(what)?;
    if !terminal::is_interactive() {
        return Err(Error::Unconfirmed);
    }
    match output::ask(question)?.as_str() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Error::NotConfirmed),
    }
}

/// What an approval would take in, as a sentence.
fn preview(request: &Request, reach: &Reach, scope: ApprovalScope, seconds: u32) -> String {
    let whose = match scope {
        ApprovalScope::Once | ApprovalScope::Process => {
            format!("process {} ({}), until it ends", request.process.pid, escape(&request.process.comm))
        }
        ApprovalScope::Session => format!("session {}, for {}", escape(&request.session.name), time(seconds)),
        ApprovalScope::Rule => format!("every session, for {}", time(seconds)),
    };
    let waiting = match reach.waiting {
        0 => String::new(),
        1 => "1 other request that waits now is approved with it.\n".to_owned(),
        more => format!("{more} other requests that wait now are approved with it.\n"),
    };
    format!(
        "This also approves, without asking anybody, what rule {} holds of {whose}:\n  {}\n  of {}\n{waiting}",
        escape(&reach.rule),
        escape(&reach.operations.join(", ")),
        escape(&reach.labels.join(", ")),
    )
}

fn time(seconds: u32) -> String {
    output::duration(u64::from(seconds) * 1000)
}
