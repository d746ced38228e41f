//! One query, from the ruling to the reply. Read from top to bottom it is what a session is promised: nothing leaves
//! before the loop said that it may, and nothing comes back before the loop has heard of it, from upstream or once more.

use hickory_proto::op::ResponseCode;

use super::answer::Answer;
use super::ask::{self, Ruling};
use super::message::Query;
use super::server::Desk;
use super::upstream::Transport;

/// Answers a query.
pub(super) async fn take(desk: &Desk, query: &Query, transport: Transport) -> Vec<u8> {
    desk.tally.queries.add();
    let ruling = ask::may(&desk.shared.asks, desk.session, query.name(), query.kind()).await;
    match ruling {
        Some(Ruling::Forward) => {}
        Some(Ruling::Refused) => return query.reply(ResponseCode::Refused),
        Some(Ruling::NoSuchName) => return query.reply(ResponseCode::NXDomain),
        None => return fail(desk, query),
    }
    let Some(mut answer) = answer(desk, query, transport).await else { return fail(desk, query) };
    if !is_learnt(desk, &mut answer).await {
        return fail(desk, query);
    }
    match transport {
        Transport::Datagram => answer.into_datagram(query),
        Transport::Stream => answer.message,
    }
}

/// The answer to a query: that of before, while it holds, or that of a server.
async fn answer(desk: &Desk, query: &Query, transport: Transport) -> Option<Answer> {
    let servers = desk.shared.upstreams.generation();
    if let Some(answer) = desk.remembered(query, servers) {
        return Some(answer);
    }
    let answer = desk.shared.upstreams.ask(query, transport).await?;
    desk.remember(query, &answer, servers);
    Some(answer)
}

/// Whether the client may have an answer.
async fn is_learnt(desk: &Desk, answer: &mut Answer) -> bool {
    if answer.heard.addresses.is_empty() {
        return true;
    }
    ask::learn(&desk.shared.asks, desk.session, core::mem::take(&mut answer.heard)).await
}

fn fail(desk: &Desk, query: &Query) -> Vec<u8> {
    desk.tally.failed.add();
    query.reply(ResponseCode::ServFail)
}
