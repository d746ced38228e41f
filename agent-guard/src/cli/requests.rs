//! `requests`: lists them, and follows their changes.

use super::Error;
use super::alike;
use super::args;
use super::output::{self, Style, Tone};
use crate::api::client::Client;
use crate::api::types::{Request, RequestFilter, RequestState};
use crate::text::escape;

/// Lists, or follows.
pub(super) async fn run(client: &Client, args: args::Requests) -> Result<(), Error> {
    let args::Requests { state, session, watch, json } = args;
    let filter = RequestFilter { state, session, watch };
    if watch { follow(client, &filter, json).await } else { list(client, &filter, json).await }
}

async fn list(client: &Client, filter: &RequestFilter, json: bool) -> Result<(), Error> {
    let requests = client.requests(filter).await?;
    if json {
        return Ok(output::print_json(&requests)?);
    }
    let rows: Vec<[String; 5]> =
        alike::grouped(requests).iter().map(|(another, request)| row(*another, request)).collect();
    Ok(output::print(&Style::of_stdout().table(["ID", "LEFT", "SESSION", "OPERATION", "OBJECT"], &rows))?)
}

/// A line; that of another request of the question above is set in.
fn row(another: bool, request: &Request) -> [String; 5] {
    let id = format!("{}{}", if another { "+ " } else { "" }, request.id);
    [id, left(request), request.session.name.clone(), request.operation.clone(), object(request)]
}

/// The time left for an answer, or what has become of it.
pub(super) fn left(request: &Request) -> String {
    match request.state {
        RequestState::Pending => output::duration(request.left_ms),
        _ => word(request).to_owned(),
    }
}

/// What the answer was; once it is known, what came of the act.
fn word(request: &Request) -> &'static str {
    match &request.outcome {
        None => request.state.word(),
        Some(outcome) if outcome.done => "done",
        Some(_) => "failed",
    }
}

/// The object, with both ends of what has two.
pub(super) fn object(request: &Request) -> String {
    match &request.other {
        Some(other) => format!("{} -> {other}", first_end(request)),
        None => first_end(request),
    }
}

/// The object, or the first end of what has two.
pub(super) fn first_end(request: &Request) -> String {
    let start = if request.cut { "[...]/" } else { "" };
    format!("{start}{}", request.object)
}

async fn follow(client: &Client, filter: &RequestFilter, json: bool) -> Result<(), Error> {
    let style = Style::of_stdout();
    let mut changes = client.watch_requests(filter).await?;
    while let Some(request) = changes.next().await? {
        if json {
            output::print_json_line(&request)?;
        } else {
            output::print(&change(style, &request))?;
        }
    }
    Err(Error::Client(crate::api::client::Error::StreamEnded))
}

/// One change on one line, whatever its length: a line that follows others is not cut.
fn change(style: Style, request: &Request) -> String {
    let tone = match request.state {
        RequestState::Pending => Tone::Urgent,
        RequestState::Approved => Tone::Good,
        RequestState::Denied | RequestState::Expired => Tone::Bad,
        RequestState::Cancelled | RequestState::Invalidated => Tone::Plain,
    };
    let state = style.tone(tone, &format!("{:11}", word(request)));
    let what = escape(&format!("{} {}", request.operation, object(request)));
    let session = escape(&request.session.name);
    format!("{}  {state}  {what} (session {session})\n", escape(&request.id))
}
