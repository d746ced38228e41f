//! `show`: one request, with everything that an approver should know, in a layout that stays the same.

use super::Error;
use super::args;
use super::output::{self, Style, Tone};
use super::requests::{left, object};
use crate::api::client::Client;
use crate::api::types::{Approval, Consent, Credential, Impact, Intent, Process, Request, RequestState};
use crate::text::{command_line, escape};

/// Shows it.
pub(super) async fn run(client: &Client, args: args::Show) -> Result<(), Error> {
    let request = client.request(&args.id).await?;
    if args.json {
        return Ok(output::print_json(&request)?);
    }
    Ok(output::print(&sheet(Style::of_stdout(), &request))?)
}

/// The sheet.
fn sheet(style: Style, request: &Request) -> String {
    let session = &request.session;
    let mut fields = vec![
        ("request", format!("{} ({})", escape(&request.id), standing(style, request))),
        ("what", escape(&format!("{} {}", request.operation, object(request)))),
        ("label", escape(&request.label)),
        ("impact", request.impact.as_ref().map_or_else(|| "not known".to_owned(), impact)),
        (
            "sent",
            request.sent.map(|bytes| format!("{} on this connection so far", output::bytes(bytes))).unwrap_or_default(),
        ),
        ("intent", request.intent.as_ref().map_or_else(|| "the agent has said nothing of it".to_owned(), intent)),
        ("touched", credentials(&request.credentials)),
        ("session", escape(&format!("{} ({}), profile {}", session.name, session.id, session.profile))),
        ("process", process(&request.process)),
        ("command", escape(&command_line(&request.process.argv))),
        ("directory", request.process.cwd.as_deref().map_or_else(|| "not known".to_owned(), escape)),
        ("started by", ancestry(&request.process)),
        ("rule", escape(&request.rule.name)),
        ("message", request.rule.message.as_deref().map(escape).unwrap_or_default()),
        ("tier", escape(&request.tier)),
        ("approval", approval(&request.approval)),
        ("asked", format!("{:.0}", request.asked_at)),
        ("expires", format!("{:.0}", request.expires_at)),
    ];
    if let Some(decision) = &request.decision {
        let by = decision.user.as_deref().map(escape).or(decision.uid.map(|uid| format!("uid {uid}")));
        let by = by.map(|by| format!(" by {by}")).unwrap_or_default();
        fields.push(("decided", format!("{}{by} at {:.0}", request.state.word(), decision.at)));
        fields.push(("reason", decision.reason.as_deref().map(escape).unwrap_or_default()));
    }
    if let Some(outcome) = &request.outcome {
        let why = outcome.error.as_deref().map(escape);
        fields.push(("outcome", why.map_or_else(|| "done".to_owned(), |why| format!("failed: {why}"))));
    }
    let mut text = output::fields(&fields);
    if request.state == RequestState::Pending {
        let id = escape(&request.id);
        text.push_str(&format!("\nApprove with `agent-guard approve {id}`, refuse with `agent-guard deny {id}`.\n"));
    }
    text
}

fn standing(style: Style, request: &Request) -> String {
    match request.state {
        RequestState::Pending => style.tone(Tone::Urgent, &format!("pending, {} left", left(request))),
        decided => decided.word().to_owned(),
    }
}

/// What the agent claims, so that nobody takes it for what the guard has found out.
fn intent(intent: &Intent) -> String {
    let mut lines = vec![format!("the agent says: {}", escape(&intent.why))];
    lines.extend(intent.alternatives.iter().map(|alternative| format!("or instead: {}", escape(alternative))));
    lines.extend(intent.rollback.iter().map(|rollback| format!("to undo it: {}", escape(rollback))));
    if !intent.lacks.is_empty() {
        lines.push(format!("it does not say: {}", escape(&intent.lacks.join(", "))));
    }
    lines.join("\n")
}

fn impact(impact: &Impact) -> String {
    let at_least = if impact.complete { "" } else { "at least " };
    let files = if impact.files == 1 { "file" } else { "files" };
    format!("{at_least}{} {files}, {} under its label", impact.files, output::bytes(impact.bytes))
}

/// One environment a line, with the credential that led to it.
fn credentials(credentials: &[Credential]) -> String {
    let line = |credential: &Credential| {
        let environment = escape(&credential.environment);
        let Some((object, pid)) = credential.object.as_deref().zip(credential.pid) else { return environment };
        let comm = credential.comm.as_deref().unwrap_or_default();
        format!("{environment}: {}, by {}, pid {pid}", escape(object), escape(comm))
    };
    if credentials.is_empty() {
        "no credential".to_owned()
    } else {
        credentials.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// What an approval takes; nothing where one answer is enough.
fn approval(approval: &Approval) -> String {
    let mut text = String::new();
    if approval.approvers > 1 {
        text.push_str(&format!("{}\n", consents(approval)));
    }
    if let Some(group) = &approval.group {
        text.push_str(&format!("by members of group {}\n", escape(group)));
    }
    for demand in &approval.demands {
        text.push_str(match demand.as_str() {
            "another-user" => "not by the session's own user\n",
            "reason" => "with a reason (--reason)\n",
            "confirmation" => "with the object typed once more (--confirm)\n",
            other => return format!("{text}{}", escape(other)),
        });
    }
    text
}

/// How many people have said yes, and who.
pub(super) fn consents(approval: &Approval) -> String {
    let name = |consent: &Consent| consent.user.as_deref().map_or_else(|| consent.uid.to_string(), escape);
    let names: Vec<String> = approval.consents.iter().map(name).collect();
    let by = if names.is_empty() { String::new() } else { format!(": {}", names.join(", ")) };
    format!("{} of {} approvals{by}", names.len(), approval.approvers)
}

fn process(process: &Process) -> String {
    let user = process.user.as_deref().map_or_else(|| format!("uid {}", process.uid), escape);
    format!("{}, pid {}, user {user}", escape(&process.comm), process.pid)
}

/// One ancestor a line, the parent first.
fn ancestry(process: &Process) -> String {
    let lines: Vec<String> = process
        .ancestry
        .iter()
        .map(|ancestor| {
            format!("{}, pid {}: {}", escape(&ancestor.comm), ancestor.pid, escape(&command_line(&ancestor.argv)))
        })
        .collect();
    if lines.is_empty() { "agent-guard run".to_owned() } else { lines.join("\n") }
}
