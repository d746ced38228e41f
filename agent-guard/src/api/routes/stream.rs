//! JSON that is put into words as it is sent: lists, and streams of lines, which have seats of their own.

use super::Loop;
use crate::api::call::Unwritten;
use crate::api::refusal::Refusal;
use crate::api::seats::{Owner, Place};
use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use std::convert::Infallible;
use tokio_stream::{Stream, StreamExt as _};

/// Moves the connection to the streams' seats.
pub(super) fn settle(daemon: &Loop, place: &Place, owner: Owner) -> Result<(), Refusal> {
    let seats = match owner {
        Owner::User(_) => &daemon.streams,
        Owner::Session(_) => &daemon.guarded_streams,
    };
    if place.is_stream() || place.become_stream(seats, owner) {
        Ok(())
    } else {
        Err(Refusal::Busy("too many streams: end one, or try again later".to_owned()))
    }
}

/// An item as a line.
pub(super) fn line<T: Serialize>(item: &T) -> Option<Vec<u8>> {
    let mut line = serde_json::to_vec(item).ok()?;
    line.push(b'\n');
    Some(line)
}

/// A response of lines, sent as they come; what was not put into words is left out.
pub(super) fn lines(lines: impl Stream<Item = Option<Vec<u8>>> + Send + 'static) -> Response {
    let lines = lines.filter_map(|line| Some(Ok::<_, Infallible>(line?)));
    ([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
}

/// A response of one list, of which only as much is in words as its client takes. Its length goes ahead of it, so that
/// a client knows a whole list from half of one; what is forgotten meanwhile becomes blanks of that length.
pub(super) async fn list(requests: Vec<Unwritten>) -> Result<Response, Refusal> {
    let mut found = Vec::new();
    for request in requests {
        if let Some(words) = request.words() {
            let length = serde_json::to_vec(&words).map_err(|error| Refusal::Failed(error.to_string()))?.len();
            found.push((request, length));
        }
        // A long list must not keep the loop from its turn.
        tokio::task::yield_now().await;
    }
    let whole = b"[]".len() + found.iter().map(|(_, length)| 1 + length).sum::<usize>();
    let mut before = b' ';
    let items = found.into_iter().map(move |(request, length)| {
        let words = request.words().and_then(|words| serde_json::to_vec(&words).ok());
        words.filter(|words| words.len() == length).map_or_else(
            || vec![b' '; 1 + length],
            |words| [&[std::mem::replace(&mut before, b',')], &words[..]].concat(),
        )
    });
    let text = [b"[".to_vec()].into_iter().chain(items).chain([b"]".to_vec()]);
    let body = Body::from_stream(tokio_stream::iter(text.map(Ok::<_, Infallible>)));
    let headers = [(CONTENT_TYPE, "application/json".to_owned()), (CONTENT_LENGTH, whole.to_string())];
    Ok((headers, body).into_response())
}

#[cfg(test)]
mod tests {
    use super::super::Loop;
    use super::{list, settle};
    use crate::api::call::Unwritten;
    use crate::api::seats::{Owner, Place, Seats};
    use crate::api::types::Request;
    use axum::http::header::CONTENT_LENGTH;
    use http_body_util::BodyExt as _;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    use tokio::sync::mpsc;

    #[test]
    fn streams_of_guarded_processes_have_seats_of_their_own() {
        let daemon = Loop::new(mpsc::channel(1).0, Seats::new((1, 1)), Seats::new((2, 1)));
        let brief = Seats::new((9, 9));
        let place = || Place::brief(brief.take(Owner::User(1)).unwrap());
        let (first, second, third) = (place(), place(), place());
        let session = || Owner::Session("A".to_owned());
        settle(&daemon, &first, session()).unwrap();
        assert!(settle(&daemon, &second, session()).unwrap_err().to_string().contains("too many streams"));
        settle(&daemon, &third, Owner::User(1)).unwrap();
        settle(&daemon, &first, session()).unwrap();
        drop(first);
        settle(&daemon, &second, session()).unwrap();
    }

    /// The length that is said of a list, and the list, if it is one.
    async fn listed(requests: Vec<Unwritten>) -> (usize, usize, Option<Vec<Request>>) {
        let response = list(requests).await.unwrap();
        let length = response.headers()[CONTENT_LENGTH].to_str().unwrap().parse().unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (length, body.len(), serde_json::from_slice(&body).ok())
    }

    fn request(id: &str) -> Request {
        let text = r#"{"id": "", "state": "pending", "session": {"id": "", "name": "", "profile": "", "uid": 0},
            "operation": "", "object": "", "other": null, "cut": false, "label": "", "rule": {"name": "", "message": null},
            "tier": "", "process": {"pid": 0, "tid": 0, "uid": 0, "user": null, "comm": "", "argv": [], "cwd": null,
            "ancestry": []}, "threads": 1, "impact": null, "sent": null, "credentials": [], "intent": null,
            "approval": {"approvers": 1, "group": null, "demands": [], "widest": "session", "consents": []},
            "asked_at": "2026-01-01T00:00:00Z", "expires_at": "2026-01-01T00:00:00Z",
            "left_ms": 0, "decision": null}"#;
        Request { id: id.to_owned(), ..serde_json::from_str(text).unwrap() }
    }

    /// A request that is forgotten once it has been put into words so often.
    fn unwritten(id: &str, times: u32) -> Unwritten {
        let (request, left) = (request(id), AtomicU32::new(times));
        let is_known = move || left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok();
        Unwritten::new(move || is_known().then(|| request.clone()))
    }

    #[tokio::test]
    async fn a_list_has_the_length_that_was_said_whatever_is_forgotten_meanwhile() {
        let cases: [&[(&str, u32)]; 5] =
            [&[], &[("A\"\u{1b}", 2)], &[("A", 1)], &[("A", 0), ("B", 2)], &[("A", 1), ("B", 2), ("C", 1), ("ä", 2)]];
        for case in cases {
            let requests = case.iter().map(|(id, times)| unwritten(id, *times)).collect();
            let (said, sent, found) = listed(requests).await;
            let expected = case.iter().filter(|(_, times)| *times == 2).map(|(id, _)| request(id)).collect();
            assert_eq!((said, found), (sent, Some(expected)), "{case:?}");
        }
    }
}
