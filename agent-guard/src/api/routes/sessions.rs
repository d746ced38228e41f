//! Sessions: reading, starting, keeping and steering them.

use super::body::{JsonBody, Named};
use super::{Loop, stream, unknown};
use crate::api::call::{Call, Steer};
use crate::api::peer::Peer;
use crate::api::refusal::Refusal;
use crate::api::refusals::{BadBody, Conflict, NotFound, Refused, Unacceptable};
use crate::api::seats::{Owner, Place};
use crate::api::types::{Adopt, Notice, NoticeKind, Session, StartSession, Variable, Variables};
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use axum::{Extension, Json};
use std::time::Duration;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

/// A keeper that hears nothing for longer than a few of these takes the daemon for gone.
const ALIVE_PERIOD: Duration = Duration::from_secs(1);

/// Time that an adoption has: a program is loaded for it, and the tree must come to rest.
const ADOPTION_TIME: Duration = Duration::from_secs(60);

/// The sessions that the caller may see and that have not ended.
#[utoipa::path(get, path = "/v1/sessions", tag = "sessions",
    responses((status = 200, body = Vec<Session>), Refused))]
pub(crate) async fn list(
    State(daemon): State<Loop>,
    Extension(peer): Extension<Peer>,
) -> Result<Json<Vec<Session>>, Refusal> {
    daemon.call(peer, |reply| Call::Sessions { reply }).await.map(Json)
}

/// One session, by id or name.
#[utoipa::path(get, path = "/v1/sessions/{id}", tag = "sessions", params(("id" = String, Path, description = "id or name")),
    responses((status = 200, body = Session), Refused, NotFound))]
pub(crate) async fn show(
    State(daemon): State<Loop>,
    Extension(peer): Extension<Peer>,
    Named(id): Named<String>,
) -> Result<Json<Session>, Refusal> {
    daemon.call(peer, |reply| Call::Session { id, reply }).await.map(Json)
}

/// Starts a session around the caller's own child, which waits before its `execve`.
#[utoipa::path(post, path = "/v1/sessions", tag = "sessions", request_body = StartSession,
    responses((status = 201, body = Session), Refused, BadBody, Conflict, Unacceptable))]
pub(crate) async fn start(
    State(daemon): State<Loop>,
    Extension(peer): Extension<Peer>,
    JsonBody(start): JsonBody<StartSession>,
) -> Result<(StatusCode, Json<Session>), Refusal> {
    let session = daemon.call(peer, |reply| Call::StartSession { start, reply }).await?;
    Ok((StatusCode::CREATED, Json(session)))
}

/// Those of a command's variables that labels call credentials, and which of them it is not passed. Their names are asked
/// about, and never what they hold.
#[utoipa::path(post, path = "/v1/variables", tag = "sessions", request_body = Variables,
    responses((status = 200, body = Vec<Variable>), Refused, BadBody, Unacceptable))]
pub(crate) async fn variables(
    State(daemon): State<Loop>,
    Extension(peer): Extension<Peer>,
    JsonBody(asked): JsonBody<Variables>,
) -> Result<Json<Vec<Variable>>, Refusal> {
    daemon.call(peer, |reply| Call::Variables { asked, reply }).await.map(Json)
}

/// Takes a process that runs already into a session, with all its descendants: one's own, or, for root, anybody's.
#[utoipa::path(post, path = "/v1/sessions/adopt", tag = "sessions", request_body = Adopt,
    responses((status = 201, body = Session), Refused, BadBody, Conflict, Unacceptable))]
pub(crate) async fn adopt(
    State(daemon): State<Loop>,
    Extension(peer): Extension<Peer>,
    JsonBody(adopt): JsonBody<Adopt>,
) -> Result<(StatusCode, Json<Session>), Refusal> {
    let session = daemon.call_within(ADOPTION_TIME, peer, |reply| Call::Adopt { adopt, reply }).await?;
    Ok((StatusCode::CREATED, Json(session)))
}

/// What happens in a session, one JSON line each, until it ends.
#[utoipa::path(get, path = "/v1/sessions/{id}/notices", tag = "sessions", params(("id" = String, Path, description = "the session's id")),
    responses((status = 200, body = Notice, content_type = "application/x-ndjson"), Refused, NotFound))]
pub(crate) async fn notices(
    State(daemon): State<Loop>,
    Extension(peer): Extension<Peer>,
    Extension(place): Extension<Place>,
    Named(id): Named<String>,
) -> Result<Response, Refusal> {
    // Whoever is guarded gets no notices: this is a keeper, or somebody of its user's.
    let owner = Owner::User(peer.uid);
    let notices = daemon.call(peer, |reply| Call::Notices { id, reply }).await?;
    stream::settle(&daemon, &place, owner)?;
    // Silence must mean something to the keeper, so a quiet daemon still speaks.
    let notices = ReceiverStream::new(notices)
        .timeout_repeating(tokio::time::interval(ALIVE_PERIOD))
        .map(|notice| stream::line(&notice.unwrap_or_else(|_| alive())));
    Ok(stream::lines(notices))
}

const fn alive() -> Notice {
    Notice { kind: NoticeKind::Alive, pid: None, request: None, operation: None, object: None, reason: None }
}

/// Gives up a session whose command could not be executed.
#[utoipa::path(post, path = "/v1/sessions/{id}/release", tag = "sessions", params(("id" = String, Path, description = "the session's id")),
    responses((status = 204), Refused, NotFound, Conflict))]
pub(crate) async fn release(
    State(daemon): State<Loop>,
    Extension(peer): Extension<Peer>,
    Named(id): Named<String>,
) -> Result<StatusCode, Refusal> {
    daemon.call(peer, |reply| Call::Release { id, reply }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Does something to a session as a whole: `halt` parks every process at its next gated act, `resume` lets them go
/// on, `kill` kills them.
#[utoipa::path(post, path = "/v1/sessions/{id}/{steer}", tag = "sessions",
    params(("id" = String, Path, description = "id or name"), ("steer" = Steer, Path, description = "what to do")),
    responses((status = 200, body = Session), Refused, NotFound, Conflict))]
pub(crate) async fn steer(
    State(daemon): State<Loop>,
    Extension(peer): Extension<Peer>,
    Named((id, steer)): Named<(String, String)>,
    uri: Uri,
) -> Result<Json<Session>, Refusal> {
    let steer = Steer::from_word(&steer).ok_or_else(|| unknown(&uri))?;
    daemon.call(peer, |reply| Call::Steer { id, steer, reply }).await.map(Json)
}
