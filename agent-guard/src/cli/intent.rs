//! `intent`: what an agent says, from inside of its session, of an act before it does it.

use super::{Error, args, output};
use crate::api::client::Client;
use crate::api::types::{Intent, IntentBody};

/// Declares it, and says what an approver will miss.
pub(super) async fn run(client: &Client, args: args::Intent) -> Result<(), Error> {
    let args::Intent { why, alternatives, rollback, covers, time, json } = args;
    let body = IntentBody { why, alternatives, rollback, covers, seconds: time };
    let intent = client.declare(&body).await?;
    if json {
        return Ok(output::print_json(&intent)?);
    }
    Ok(output::print(&said(&intent, time))?)
}

fn said(intent: &Intent, time: Option<u32>) -> String {
    let carried = match (time, &intent.covers) {
        (None, None) => "the next request of this session carries it".to_owned(),
        (None, Some(_)) => "the next request that it covers carries it".to_owned(),
        (Some(seconds), _) => {
            format!("each request that it covers carries it for {}", output::duration(u64::from(seconds) * 1000))
        }
    };
    let missing = if intent.lacks.is_empty() {
        String::new()
    } else {
        format!("; an approver will miss: {}", intent.lacks.join(", "))
    };
    format!("declared: {carried}{missing}\n")
}
