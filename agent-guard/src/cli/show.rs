//! `show`: one request, with everything that an approver should know, in a layout that stays the same.

use super::Error;
use super::alike;
use super::args;
use super::output::{self, Style, Tone};
use super::requests::{left, object};
use crate::api::client::Client;
use crate::api::types::{
    Approval, Consent, Credential, Decision, Impact, Intent, Process, Request, RequestFilter, RequestState,
};
use crate::text::{command_line, escape};

/// Shows it.
pub(super) async fn run(client: &Client, args: args::Show) -> Result<(), Error> {
    let request = client.request(&args.id).await?;
    if args.json {
        return Ok(output::print_json(&request)?);
    }
    let known = client.requests(&RequestFilter::default()).await?;
    Ok(output::print(&sheet(Style::of_stdout(), &request, &known))?)
}

/// The sheet; all requests that are known tell which of them are alike.
fn sheet(style: Style, request: &Request, known: &[Request]) -> String {
    let session = &request.session;
    let mut fields = vec![
        ("request", format!("{} ({})", escape(&request.id), standing(style, request))),
        ("what", escape(&format!("{} {}", request.operation, object(request)))),
        ("label", escape(&request.label)),
        ("impact", request.impact.as_ref().map_or_else(|| "not known".to_owned(), impact)),
        ("sent", request.sent.map(sent).unwrap_or_default()),
        ("intent", intent(request.intent.as_ref()).join("\n")),
        ("touched", credentials(&request.credentials).join("\n")),
        ("session", escape(&format!("{} ({}), profile {}", session.name, session.id, session.profile))),
        ("process", process(&request.process)),
        ("threads", if request.threads > 1 { format!("{} ask it", request.threads) } else { String::new() }),
        ("command", escape(&command_line(&request.process.argv))),
        ("directory", request.process.cwd.as_deref().map_or_else(|| "not known".to_owned(), escape)),
        ("started by", ancestry(&request.process).join("\n")),
        ("rule", escape(&request.rule.name)),
        ("message", request.rule.message.as_deref().map(escape).unwrap_or_default()),
        ("tier", escape(&request.tier)),
        ("approval", approval(&request.approval, true).join("\n")),
        ("alike", others(request, known)),
        ("before", alike::before(request, known).join("\n")),
        ("asked", format!("{:.0}", request.asked_at)),
        ("expires", format!("{:.0}", request.expires_at)),
    ];
    if let Some(decision) = &request.decision {
        fields.push(("decided", format!("{} at {:.0}", ending(request), decision.at)));
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

/// The others that wait and are the same question.
fn others(request: &Request, known: &[Request]) -> String {
    let ids: Vec<String> = alike::others(request, known).map(|other| escape(&other.id)).collect();
    if ids.is_empty() { String::new() } else { format!("{} (answered together with `--alike`)", ids.join(", ")) }
}

fn standing(style: Style, request: &Request) -> String {
    match request.state {
        RequestState::Pending => style.tone(Tone::Urgent, &format!("pending, {} left", left(request))),
        decided => decided.word().to_owned(),
    }
}

/// What the agent claims, a thing a line, so that nobody takes it for what the guard has found out.
pub(super) fn intent(intent: Option<&Intent>) -> Vec<String> {
    let Some(intent) = intent else { return vec!["the agent has said nothing of it".to_owned()] };
    let mut lines = vec![format!("the agent says: {}", escape(&intent.why))];
    lines.extend(intent.alternatives.iter().map(|alternative| format!("or instead: {}", escape(alternative))));
    lines.extend(intent.rollback.iter().map(|rollback| format!("to undo it: {}", escape(rollback))));
    if !intent.lacks.is_empty() {
        lines.push(format!("it does not say: {}", escape(&intent.lacks.join(", "))));
    }
    lines
}

/// How it stands, and who has said so.
pub(super) fn ending(request: &Request) -> String {
    let name = |decision: &Decision| {
        decision.user.as_deref().map(escape).or_else(|| decision.uid.map(|uid| format!("uid {uid}")))
    };
    let by = request.decision.as_ref().and_then(name).map(|by| format!(" by {by}")).unwrap_or_default();
    format!("{}{by}", request.state.word())
}

/// How much lies under the label.
pub(super) fn impact(impact: &Impact) -> String {
    let at_least = if impact.complete { "" } else { "at least " };
    let files = if impact.files == 1 { "file" } else { "files" };
    format!("{at_least}{} {files}, {} under its label", impact.files, output::bytes(impact.bytes))
}

/// How much has gone over a connection.
pub(super) fn sent(bytes: u64) -> String {
    format!("{} on this connection so far", output::bytes(bytes))
}

/// One environment a line, with the credential that led to it.
pub(super) fn credentials(credentials: &[Credential]) -> Vec<String> {
    let line = |credential: &Credential| {
        let environment = escape(&credential.environment);
        let Some((object, pid)) = credential.object.as_deref().zip(credential.pid) else { return environment };
        let comm = credential.comm.as_deref().unwrap_or_default();
        format!("{environment}: {}, by {}, pid {pid}", escape(object), escape(comm))
    };
    if credentials.is_empty() { vec!["no credential".to_owned()] } else { credentials.iter().map(line).collect() }
}

/// What an approval takes, with the flags for it where it is typed as a command; nothing where one answer is enough.
pub(super) fn approval(approval: &Approval, with_flags: bool) -> Vec<String> {
    let mut lines = Vec::new();
    if approval.approvers > 1 {
        lines.push(consents(approval));
    }
    if let Some(group) = &approval.group {
        lines.push(format!("by members of group {}", escape(group)));
    }
    for demand in &approval.demands {
        let (line, flag) = match demand.as_str() {
            "another-user" => ("not by the session's own user", ""),
            "reason" => ("with a reason", " (--reason)"),
            "confirmation" => ("with the object typed once more", " (--confirm)"),
            other => {
                lines.push(escape(other));
                continue;
            }
        };
        lines.push(format!("{line}{}", if with_flags { flag } else { "" }));
    }
    lines
}

/// How many people have said yes, and who.
pub(super) fn consents(approval: &Approval) -> String {
    let name = |consent: &Consent| consent.user.as_deref().map_or_else(|| consent.uid.to_string(), escape);
    let names: Vec<String> = approval.consents.iter().map(name).collect();
    let by = if names.is_empty() { String::new() } else { format!(": {}", names.join(", ")) };
    format!("{} of {} approvals{by}", names.len(), approval.approvers)
}

/// Which process, and whose.
pub(super) fn process(process: &Process) -> String {
    let user = process.user.as_deref().map_or_else(|| format!("uid {}", process.uid), escape);
    format!("{}, pid {}, user {user}", escape(&process.comm), process.pid)
}

/// One ancestor a line, the parent first.
pub(super) fn ancestry(process: &Process) -> Vec<String> {
    let lines: Vec<String> = process
        .ancestry
        .iter()
        .map(|ancestor| {
            format!("{}, pid {}: {}", escape(&ancestor.comm), ancestor.pid, escape(&command_line(&ancestor.argv)))
        })
        .collect();
    if lines.is_empty() { vec!["agent-guard run".to_owned()] } else { lines }
}
