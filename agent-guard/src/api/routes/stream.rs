//! Streams of JSON lines, each with a seat of its own among the streams.

use super::Loop;
use crate::api::refusal::Refusal;
use crate::api::seats::Place;
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use std::convert::Infallible;
use tokio_stream::{Stream, StreamExt as _};

/// Moves the connection to the streams' seats.
pub(super) fn settle(daemon: &Loop, place: &Place) -> Result<(), Refusal> {
    if place.is_stream() || place.become_stream(&daemon.streams) {
        Ok(())
    } else {
        Err(Refusal::Busy("too many streams: end one, or try again later".to_owned()))
    }
}

/// A response of one JSON line for each item, sent as it comes.
pub(super) fn lines<T: Serialize>(items: impl Stream<Item = T> + Send + 'static) -> Response {
    let lines = items.filter_map(|item| {
        let mut line = serde_json::to_vec(&item).ok()?;
        line.push(b'\n');
        Some(Ok::<_, Infallible>(line))
    });
    ([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
}
