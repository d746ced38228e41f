//! What the daemon is, what the machine can enforce, and what the API looks like.

use super::Loop;
use crate::api::authz::Verb;
use crate::api::call::Call;
use crate::api::peer::Peer;
use crate::api::refusal::Refusal;
use crate::api::refusals::Refused;
use crate::api::types::{Doctor, Status};
use crate::api::{doctor as examination, openapi as description};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};

/// The daemon's own state.
#[utoipa::path(get, path = "/v1/status", tag = "daemon",
    responses((status = 200, body = Status), Refused))]
pub(crate) async fn status(
    State(daemon): State<Loop>,
    Extension(peer): Extension<Peer>,
) -> Result<Json<Status>, Refusal> {
    daemon.call(peer, |reply| Call::Status { reply }).await.map(Json)
}

/// What this machine can enforce.
#[utoipa::path(get, path = "/v1/doctor", tag = "daemon",
    responses((status = 200, body = Doctor), Refused))]
pub(crate) async fn doctor(
    State(daemon): State<Loop>,
    Extension(peer): Extension<Peer>,
) -> Result<Json<Doctor>, Refusal> {
    daemon.permit(peer, Verb::Status).await?;
    // It looks at every process, and nobody is to wait for that.
    let examined = tokio::task::spawn_blocking(examination::examine).await;
    examined.map(Json).map_err(|_panicked| Refusal::Failed("the machine could not be examined".to_owned()))
}

/// This description.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "daemon", responses((status = 200, body = serde_json::Value, content_type = "application/json", description = "OpenAPI 3.1")))]
pub(crate) async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], description::text()).into_response()
}
