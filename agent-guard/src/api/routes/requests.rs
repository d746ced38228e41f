//! Requests: reading, following and answering them.

use super::body::{Asked, JsonBody, Named};
use super::{Loop, stream, unknown};
use crate::api::authz::Scope;
use crate::api::call::{Call, Choice, Watch};
use crate::api::peer::Peer;
use crate::api::refusal::Refusal;
use crate::api::refusals::{BadBody, BadQuery, Conflict, NotFound, Refused, Unacceptable};
use crate::api::seats::{Owner, Place};
use crate::api::types::{AnswerBody, Reach, ReachQuery, Request, RequestFilter};
use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use axum::{Extension, Json};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::BroadcastStream;

/// The requests that the caller may see. With `watch`, one JSON line for each of them and for every change after.
#[utoipa::path(get, path = "/v1/requests", tag = "requests", params(RequestFilter),
    responses((status = 200, content((Vec<Request> = "application/json"), (Request = "application/x-ndjson"))), Refused, BadQuery))]
pub(crate) async fn list(
    State(daemon): State<Loop>,
    Extension(peer): Extension<Peer>,
    Extension(place): Extension<Place>,
    Asked(filter): Asked<RequestFilter>,
) -> Result<Response, Refusal> {
    if filter.watch {
        watch(&daemon, peer, &place, filter).await
    } else {
        let requests = daemon.call(peer, |reply| Call::Requests { filter, reply }).await?;
        stream::list(requests).await
    }
}

async fn watch(daemon: &Loop, peer: Peer, place: &Place, filter: RequestFilter) -> Result<Response, Refusal> {
    let (wanted, uid) = (filter.clone(), peer.uid);
    let watch = daemon.call(peer, |reply| Call::WatchRequests { filter, reply }).await?;
    let Watch { known, changes, scope } = watch;
    let owner = match &scope {
        Scope::Session(id) => Owner::Session(id.clone()),
        Scope::Everything | Scope::User(_) => Owner::User(uid),
    };
    stream::settle(daemon, place, owner)?;
    // A watcher that lags behind has missed a change: its stream ends, and it begins anew with what is known then.
    let changes = BroadcastStream::new(changes)
        .map_while(Result::ok)
        .filter(move |request| scope.covers_ref(&request.session) && seen(&wanted, request))
        .map(|request| stream::line(&request));
    let known = tokio_stream::iter(known).map(|request| stream::line(&request.words()?));
    Ok(stream::lines(known.chain(changes)))
}

/// Whether a watcher hears of a change. One who asked for pending requests also hears how they end.
fn seen(filter: &RequestFilter, request: &Request) -> bool {
    RequestFilter { state: None, ..filter.clone() }.wants(request)
}

/// One request.
#[utoipa::path(get, path = "/v1/requests/{id}", tag = "requests", params(("id" = String, Path, description = "the request")),
    responses((status = 200, body = Request), Refused, NotFound))]
pub(crate) async fn show(
    State(daemon): State<Loop>,
    Extension(peer): Extension<Peer>,
    Named(id): Named<String>,
) -> Result<Json<Request>, Refusal> {
    daemon.call(peer, |reply| Call::Request { id, reply }).await.map(Json)
}

/// What an approval of a request would take in, if it reached further than its act.
#[utoipa::path(get, path = "/v1/requests/{id}/reach", tag = "requests",
    params(("id" = String, Path, description = "the request"), ReachQuery),
    responses((status = 200, body = Reach), Refused, NotFound))]
pub(crate) async fn reach(
    State(daemon): State<Loop>,
    Extension(peer): Extension<Peer>,
    Named(id): Named<String>,
    Asked(query): Asked<ReachQuery>,
) -> Result<Json<Reach>, Refusal> {
    daemon.call(peer, |reply| Call::Reach { id, scope: query.scope, reply }).await.map(Json)
}

/// Answers a request: `approve` lets the held act happen, and others as far as `scope` says, when as many have said so as its rule demands; `deny`
/// refuses it; `cancel` withdraws it, which refuses it.
#[utoipa::path(post, path = "/v1/requests/{id}/{choice}", tag = "requests",
    params(("id" = String, Path, description = "the request"), ("choice" = Choice, Path, description = "the answer")),
    request_body = AnswerBody, responses((status = 200, body = Request), Refused, NotFound, BadBody, Conflict, Unacceptable))]
pub(crate) async fn answer(
    State(daemon): State<Loop>,
    Extension(peer): Extension<Peer>,
    Named((id, choice)): Named<(String, String)>,
    uri: Uri,
    JsonBody(said): JsonBody<AnswerBody>,
) -> Result<Json<Request>, Refusal> {
    let choice = Choice::from_word(&choice).ok_or_else(|| unknown(&uri))?;
    daemon.call(peer, |reply| Call::Answer { id, choice, said, reply }).await.map(Json)
}
