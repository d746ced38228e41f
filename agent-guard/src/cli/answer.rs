//! `approve` and `deny`.

use super::output;
use super::requests::object;
use super::show::consents;
use super::{Error, args, grants};
use crate::api::call::Choice;
use crate::api::client::Client;
use crate::api::types::{AnswerBody, Request, RequestState};
use crate::text::escape;

/// Approves, as far as was said and meant.
pub(super) async fn approve(client: &Client, args: args::Approve) -> Result<(), Error> {
    let args::Approve { answer: args::Answer { id, reason }, confirm, reach } = args;
    grants::confirm(client, &reach, &id).await?;
    let seconds = reach.scope().is_timed().then(|| reach.seconds());
    answer(client, &id, Choice::Approve, &AnswerBody { reason, confirm, scope: reach.scope(), seconds }).await
}

/// Refuses.
pub(super) async fn deny(client: &Client, args: args::Answer) -> Result<(), Error> {
    let args::Answer { id, reason } = args;
    answer(client, &id, Choice::Deny, &AnswerBody { reason, ..AnswerBody::default() }).await
}

/// Answers, and says what was answered, or what is still missing.
async fn answer(client: &Client, id: &str, choice: Choice, said: &AnswerBody) -> Result<(), Error> {
    let request = client.answer(id, choice, said).await?;
    Ok(output::print(&(told(&request) + "\n"))?)
}

/// What was answered, or what is still missing, on one line.
pub(super) fn told(request: &Request) -> String {
    let what = escape(&format!("{} {}", request.operation, object(request)));
    let (word, id) = (request.state.word(), escape(&request.id));
    let missing = if request.state == RequestState::Pending {
        format!(" ({})", consents(&request.approval))
    } else {
        String::new()
    };
    format!("{word} {id}: {what}{missing}")
}
