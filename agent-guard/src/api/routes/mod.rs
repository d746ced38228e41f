//! The calls as HTTP: thin handlers that turn a request into a [`Call`] and its reply into JSON.
//!
//! They judge nothing: whether a call may be made is decided where the kernel's tags are known.

mod body;
pub(crate) mod grants;
pub(crate) mod intents;
pub(crate) mod metrics;
pub(crate) mod policy;
pub(crate) mod requests;
pub(crate) mod sessions;
pub(crate) mod status;
mod stream;

pub use body::read as read_body;

use super::authz::Verb;
use super::call::{Call, Incoming, Reply};
use super::peer::Peer;
use super::refusal::Refusal;
use super::seats::Seats;
use super::types::{ErrorBody, ErrorDetail};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Time that the daemon's loop has for a reply.
const REPLY_TIME: Duration = Duration::from_secs(10);

/// All calls.
pub(crate) fn router(daemon: Loop) -> Router {
    Router::new()
        .route("/v1/status", get(status::status))
        .route("/v1/metrics", get(metrics::metrics))
        .route("/v1/doctor", get(status::doctor))
        .route("/v1/openapi.json", get(status::openapi))
        .route("/v1/requests", get(requests::list))
        .route("/v1/requests/{id}", get(requests::show))
        .route("/v1/requests/{id}/reach", get(requests::reach))
        .route("/v1/requests/{id}/{choice}", post(requests::answer))
        .route("/v1/grants", get(grants::list))
        .route("/v1/grants/{id}", get(grants::show))
        .route("/v1/grants/{id}/revoke", post(grants::revoke))
        .route("/v1/intents", post(intents::declare))
        .route("/v1/sessions", get(sessions::list).post(sessions::start))
        .route("/v1/sessions/adopt", post(sessions::adopt))
        .route("/v1/sessions/{id}", get(sessions::show))
        .route("/v1/sessions/{id}/notices", get(sessions::notices))
        .route("/v1/sessions/{id}/release", post(sessions::release))
        .route("/v1/sessions/{id}/{steer}", post(sessions::steer))
        .route("/v1/variables", post(sessions::variables))
        .route("/v1/policy/check", post(policy::check))
        .route("/v1/policy/reload", post(policy::reload))
        .fallback(fallback)
        .method_not_allowed_fallback(other_method)
        .with_state(daemon)
}

/// The one call of a port of this host.
pub(crate) fn metrics_only(daemon: Loop) -> Router {
    Router::new()
        .route("/metrics", get(metrics::metrics))
        .fallback(fallback)
        .method_not_allowed_fallback(other_method)
        .with_state(daemon)
}

async fn fallback(uri: Uri) -> Refusal {
    unknown(&uri)
}

async fn other_method(uri: Uri) -> Refusal {
    Refusal::WrongMethod { path: uri.path().to_owned() }
}

fn unknown(uri: &Uri) -> Refusal {
    Refusal::UnknownCall { path: uri.path().to_owned() }
}

/// The way to the daemon's loop.
#[derive(Clone, Debug)]
pub(crate) struct Loop {
    calls: mpsc::Sender<Incoming>,
    streams: Seats,
    guarded_streams: Seats,
}

impl Loop {
    /// Calls go to `calls`; streams take their seats from `streams`, those of guarded processes from `guarded_streams`.
    pub(crate) const fn new(calls: mpsc::Sender<Incoming>, streams: Seats, guarded_streams: Seats) -> Self {
        Self { calls, streams, guarded_streams }
    }

    /// Makes a call in a peer's name and waits for the reply.
    async fn call<T>(&self, peer: Peer, call: impl FnOnce(Reply<T>) -> Call) -> Result<T, Refusal> {
        self.call_within(REPLY_TIME, peer, call).await
    }

    async fn call_within<T>(
        &self,
        time: Duration,
        peer: Peer,
        call: impl FnOnce(Reply<T>) -> Call,
    ) -> Result<T, Refusal> {
        let (reply, answer) = oneshot::channel();
        let asked = async {
            self.calls.send(Incoming::new(peer, call(reply))).await.map_err(|_closed| Refusal::ShuttingDown)?;
            answer.await.map_err(|_closed| Refusal::ShuttingDown)?
        };
        tokio::time::timeout(time, asked).await.unwrap_or_else(|_| {
            Err(Refusal::Busy(format!("the daemon did not answer within {} seconds", time.as_secs())))
        })
    }

    /// Asks whether a peer may use a verb that needs nothing of the loop.
    async fn permit(&self, peer: Peer, verb: Verb) -> Result<(), Refusal> {
        self.call(peer, |reply| Call::Permission { verb, reply }).await
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let error = ErrorDetail { code: self.code().to_owned(), message: self.to_string() };
        (status, Json(ErrorBody { error })).into_response()
    }
}
