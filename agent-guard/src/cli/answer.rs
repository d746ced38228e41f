//! `approve` and `deny`.

use super::Error;
use super::args;
use super::output;
use super::requests::object;
use crate::api::call::Choice;
use crate::api::client::Client;
use crate::text::escape;

/// Answers, and says what was answered.
pub(super) async fn run(client: &Client, choice: Choice, args: args::Answer) -> Result<(), Error> {
    let request = client.answer(&args.id, choice, args.reason).await?;
    let what = escape(&format!("{} {}", request.operation, object(&request)));
    Ok(output::print(&format!("{} {}: {what}\n", request.state.word(), escape(&request.id)))?)
}
