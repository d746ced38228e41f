//! `approve` and `deny`.

use super::Error;
use super::args;
use super::output;
use super::requests::object;
use super::show::consents;
use crate::api::call::Choice;
use crate::api::client::Client;
use crate::api::types::{AnswerBody, RequestState};
use crate::text::escape;

/// Answers, and says what was answered, or what is still missing.
pub(super) async fn run(
    client: &Client,
    choice: Choice,
    args: args::Answer,
    confirm: Option<String>,
) -> Result<(), Error> {
    let said = AnswerBody { reason: args.reason, confirm };
    let request = client.answer(&args.id, choice, &said).await?;
    let what = escape(&format!("{} {}", request.operation, object(&request)));
    let (word, id) = (request.state.word(), escape(&request.id));
    let missing = if request.state == RequestState::Pending {
        format!(" ({})", consents(&request.approval))
    } else {
        String::new()
    };
    Ok(output::print(&format!("{word} {id}: {what}{missing}\n"))?)
}
