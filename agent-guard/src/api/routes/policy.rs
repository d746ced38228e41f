//! Policies: checking a text, and putting the file in force again.

use super::Loop;
use super::body::JsonBody;
use crate::api::authz::Verb;
use crate::api::call::Call;
use crate::api::check::check_policy;
use crate::api::peer::Peer;
use crate::api::refusal::Refusal;
use crate::api::refusals::{BadBody, Refused, Unacceptable};
use crate::api::types::{PolicyFaults, PolicyStatus, PolicyText};
use axum::extract::State;
use axum::{Extension, Json};

/// Checks a policy's text. Faults are the answer, not an error.
#[utoipa::path(post, path = "/v1/policy/check", tag = "policy", request_body = PolicyText,
    responses((status = 200, body = PolicyFaults), Refused, BadBody))]
pub(crate) async fn check(
    State(daemon): State<Loop>,
    Extension(peer): Extension<Peer>,
    JsonBody(PolicyText { text }): JsonBody<PolicyText>,
) -> Result<Json<PolicyFaults>, Refusal> {
    daemon.permit(peer, Verb::CheckPolicy).await?;
    Ok(Json(check_policy(text.as_bytes())))
}

/// Reads the policy file again and puts it in force; a bad one leaves the old one in force.
#[utoipa::path(post, path = "/v1/policy/reload", tag = "policy",
    responses((status = 200, body = PolicyStatus), Refused, Unacceptable))]
pub(crate) async fn reload(
    State(daemon): State<Loop>,
    Extension(peer): Extension<Peer>,
) -> Result<Json<PolicyStatus>, Refusal> {
    daemon.call(peer, |reply| Call::PolicyReload { reply }).await.map(Json)
}
