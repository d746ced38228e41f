//! What the daemon counts, as text for Prometheus.

use super::Loop;
use crate::api::call::Call;
use crate::api::metrics;
use crate::api::peer::Peer;
use crate::api::refusal::Refusal;
use crate::api::refusals::Refused;
use axum::Extension;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};

/// What the daemon counts, in the text format of Prometheus, version 0.0.4.
#[utoipa::path(get, path = "/v1/metrics", tag = "daemon",
    responses((status = 200, body = String, content_type = "text/plain", description = "The metrics"), Refused))]
pub(crate) async fn metrics(State(daemon): State<Loop>, Extension(peer): Extension<Peer>) -> Result<Response, Refusal> {
    let metrics = daemon.call(peer, |reply| Call::Metrics { reply }).await?;
    Ok(([(CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics.text()).into_response())
}
