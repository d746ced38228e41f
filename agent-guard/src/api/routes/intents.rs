//! Intents: a guarded process says what it is going to do, and why.

use super::Loop;
use super::body::JsonBody;
use crate::api::call::Call;
use crate::api::peer::Peer;
use crate::api::refusal::Refusal;
use crate::api::refusals::{BadBody, Conflict, Refused, Unacceptable};
use crate::api::types::{Intent, IntentBody};
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};

/// Declares an intent, for the session that the caller is in: the next request that it is about carries it, marked as the
/// agent's claim.
#[utoipa::path(post, path = "/v1/intents", tag = "intents", request_body = IntentBody,
    responses((status = 201, body = Intent), Refused, BadBody, Conflict, Unacceptable))]
pub(crate) async fn declare(
    State(daemon): State<Loop>,
    Extension(peer): Extension<Peer>,
    JsonBody(body): JsonBody<IntentBody>,
) -> Result<(StatusCode, Json<Intent>), Refusal> {
    let intent = daemon.call(peer, |reply| Call::Declare { body, reply }).await?;
    Ok((StatusCode::CREATED, Json(intent)))
}
