//! Requests that are one question for a person: of one rule, label and operation, by processes that one parent has started. And
//! what was decided before about the like. None is hidden, and each is answered by itself.

use std::collections::HashMap;

use super::Error;
use super::grants::agreed;
use super::requests::object;
use super::show::ending;
use crate::api::client::Client;
use crate::api::types::{Request, RequestFilter, RequestState};
use crate::text::escape;

/// Decisions about the like that are shown.
const BEFORE: usize = 3;

/// What makes two requests one question.
fn question(request: &Request) -> (&str, &str, &str, &str, u32) {
    let Request { session, rule, label, operation, process, .. } = request;
    let parent = process.ancestry.first().map_or(process.pid, |parent| parent.pid);
    (&session.id, &rule.name, label, operation, parent)
}

/// Puts those side by side that wait and are one question, where the first of them stands; tells of each whether it is another
/// one of the question before it.
pub(super) fn grouped(requests: Vec<Request>) -> Vec<(bool, Request)> {
    let mut firsts = HashMap::new();
    let mut first = Vec::new();
    for (place, request) in requests.iter().enumerate() {
        let waits = request.state == RequestState::Pending;
        first.push(if waits { *firsts.entry(question(request)).or_insert(place) } else { place });
    }
    let mut placed: Vec<(usize, usize, Request)> =
        first.into_iter().enumerate().zip(requests).map(|((place, first), request)| (first, place, request)).collect();
    placed.sort_by_key(|(first, place, _)| (*first, *place));
    placed.into_iter().map(|(first, place, request)| (place != first, request)).collect()
}

/// The requests that wait and are the same question, the one that is asked about first.
pub(super) async fn of(client: &Client, id: &str) -> Result<Vec<Request>, Error> {
    let asked = client.request(id).await?;
    let filter =
        RequestFilter { state: Some(RequestState::Pending), session: Some(asked.session.id.clone()), watch: false };
    let waiting = client.requests(&filter).await?;
    let others: Vec<Request> = others(&asked, &waiting).cloned().collect();
    Ok(std::iter::once(asked).chain(others).collect())
}

/// Those among the known ones that wait and are the same question as one.
pub(super) fn others<'a>(asked: &Request, known: &'a [Request]) -> impl Iterator<Item = &'a Request> {
    known.iter().filter(move |other| {
        other.state == RequestState::Pending && other.id != asked.id && question(other) == question(asked)
    })
}

/// What was decided before about the like of a request, the last first, a line each.
pub(super) fn before(request: &Request, known: &[Request]) -> Vec<String> {
    let is_like = |other: &&Request| {
        let same = (&other.rule.name, &other.label, &other.operation);
        other.state != RequestState::Pending && same == (&request.rule.name, &request.label, &request.operation)
    };
    let line = |other: &Request| {
        let at = other.decision.as_ref().map_or_else(String::new, |decision| format!("{:.0}  ", decision.at));
        format!("{at}{}: {}", ending(other), escape(&object(other)))
    };
    let mut like: Vec<&Request> = known.iter().filter(is_like).collect();
    like.sort_by_key(|other| std::cmp::Reverse(other.decision.as_ref().map(|decision| decision.at)));
    like.into_iter().take(BEFORE).map(line).collect()
}

/// Has a person see all that is approved together, and say yes to that.
pub(super) fn confirm(requests: &[Request]) -> Result<(), Error> {
    let line = |request: &Request| format!("  {}  {}\n", escape(&request.id), escape(&object(request)));
    let operation = requests.first().map_or("", |first| &first.operation);
    let list: String = requests.iter().map(line).collect();
    agreed(
        &format!("This approves {} requests to {}:\n{list}", requests.len(), escape(operation)),
        "approve all of them? [y/N] ",
    )
}

#[cfg(test)]
mod tests {
    use super::grouped;
    use crate::api::types::{Process, Request, RequestState};
    use crate::cli::watch::dialog::tests::request;

    fn asked(id: &str, rule: &str, parent: u32) -> Request {
        let mut request = request(id, 60);
        request.rule.name = rule.to_owned();
        request.process = Process { pid: 100 + parent, ancestry: Vec::new(), ..request.process };
        request
    }

    #[test]
    fn those_of_one_question_stand_behind_its_first_and_none_is_left_out() {
        let mut ended = asked("E", "r", 1);
        ended.state = RequestState::Denied;
        let list = vec![asked("A", "r", 1), asked("B", "s", 1), asked("C", "r", 1), ended, asked("D", "r", 2)];
        let list = grouped(list);
        let shown: Vec<(bool, &str)> = list.iter().map(|(another, request)| (*another, request.id.as_str())).collect();
        assert_eq!(shown, [(false, "A"), (true, "C"), (false, "B"), (false, "E"), (false, "D")]);
    }
}
