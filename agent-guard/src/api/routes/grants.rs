//! Grants: reading and revoking them.

use super::Loop;
use super::body::Named;
use crate::api::call::Call;
use crate::api::peer::Peer;
use crate::api::refusal::Refusal;
use crate::api::refusals::{NotFound, Refused};
use crate::api::types::Grant;
use axum::extract::State;
use axum::{Extension, Json};

/// The approvals that reach further than one act and hold now, of the sessions that the caller may see.
#[utoipa::path(get, path = "/v1/grants", tag = "grants",
    responses((status = 200, body = Vec<Grant>), Refused))]
pub(crate) async fn list(
    State(daemon): State<Loop>,
    Extension(peer): Extension<Peer>,
) -> Result<Json<Vec<Grant>>, Refusal> {
    daemon.call(peer, |reply| Call::Grants { reply }).await.map(Json)
}

/// One of them, by the id of the request that was approved so.
#[utoipa::path(get, path = "/v1/grants/{id}", tag = "grants", params(("id" = String, Path, description = "the request")),
    responses((status = 200, body = Grant), Refused, NotFound))]
pub(crate) async fn show(
    State(daemon): State<Loop>,
    Extension(peer): Extension<Peer>,
    Named(id): Named<String>,
) -> Result<Json<Grant>, Refusal> {
    daemon.call(peer, |reply| Call::Grant { id, reply }).await.map(Json)
}

/// Revokes one: what it let pass and has not passed yet is refused. The answer is how it stood.
#[utoipa::path(post, path = "/v1/grants/{id}/revoke", tag = "grants",
    params(("id" = String, Path, description = "the request")),
    responses((status = 200, body = Grant), Refused, NotFound))]
pub(crate) async fn revoke(
    State(daemon): State<Loop>,
    Extension(peer): Extension<Peer>,
    Named(id): Named<String>,
) -> Result<Json<Grant>, Refusal> {
    daemon.call(peer, |reply| Call::Revoke { id, reply }).await.map(Json)
}
