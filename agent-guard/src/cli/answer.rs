//! `approve` and `deny`.

use super::output;
use super::requests::object;
use super::show::consents;
use super::{Error, alike, args, grants};
use crate::api::call::Choice;
use crate::api::client::Client;
use crate::api::types::{AnswerBody, Request, RequestState};
use crate::text::escape;

/// Approves, as far as was said and meant.
pub(super) async fn approve(client: &Client, args: args::Approve) -> Result<(), Error> {
    let args::Approve { answer: args::Answer { id, reason, alike }, confirm, reach } = args;
    grants::confirm(client, &reach, &id).await?;
    let seconds = reach.scope().is_timed().then(|| reach.seconds());
    let said = AnswerBody { reason, confirm, scope: reach.scope(), seconds };
    if !alike {
        return answer(client, &id, Choice::Approve, &said).await;
    }
    let requests = alike::of(client, &id).await?;
    if !reach.yes {
        alike::confirm(&requests)?;
    }
    answer_all(client, &requests, Choice::Approve, &said).await
}

/// Refuses.
pub(super) async fn deny(client: &Client, args: args::Answer) -> Result<(), Error> {
    let args::Answer { id, reason, alike } = args;
    let said = AnswerBody { reason, ..AnswerBody::default() };
    if !alike {
        return answer(client, &id, Choice::Deny, &said).await;
    }
    answer_all(client, &alike::of(client, &id).await?, Choice::Deny, &said).await
}

/// Answers one after the other, each by itself; what ended meanwhile is said, and keeps nobody from the rest.
async fn answer_all(client: &Client, requests: &[Request], choice: Choice, said: &AnswerBody) -> Result<(), Error> {
    let mut failed = None;
    for request in requests {
        if let Err(error) = answer(client, &request.id, choice, said).await {
            eprintln!("agent-guard: {error}");
            failed = Some(error);
        }
    }
    failed.map_or(Ok(()), Err)
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
