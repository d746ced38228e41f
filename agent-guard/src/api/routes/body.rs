//! What clients send, body, query and path: bounded in length and time, refused as JSON when it is not what is expected.

use crate::api::refusal::Refusal;
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use std::time::Duration;

/// Longest body of a call: a policy of the longest size that is accepted.
pub(super) const BODY_BYTES: usize = 1 << 20;
/// Time for a whole body.
const BODY_TIME: Duration = Duration::from_secs(5);

/// A JSON body. An empty one is read as `{}`, so that `curl -X POST` answers a request.
#[derive(Debug)]
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Refusal> {
        let collected = Limited::new(request.into_body(), BODY_BYTES).collect();
        let body = tokio::time::timeout(BODY_TIME, collected).await.map_err(|_elapsed| {
            Refusal::Malformed(format!("the body did not arrive within {} seconds", BODY_TIME.as_secs()))
        })?;
        let body = body.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
            Some(_) => Refusal::TooLarge { limit: BODY_BYTES },
            None => Refusal::Malformed(format!("the body is cut short: {error}")),
        })?;
        read(&body.to_bytes()).map(JsonBody)
    }
}

/// What every JSON body is read by, once it is there as a whole: no sockets are needed to see what it makes of bytes.
///
/// # Errors
/// The bytes are not what the call takes.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    let text: &[u8] = if bytes.is_empty() { b"{}" } else { bytes };
    // An array of the right length would be read as the fields in their order: `[]` is no answer to a request.
    if text.trim_ascii_start().first() != Some(&b'{') {
        return Err(Refusal::Malformed("expected a JSON object".to_owned()));
    }
    serde_json::from_slice(text).map_err(|error| Refusal::Malformed(error.to_string()))
}

/// A query string.
#[derive(Debug)]
pub(crate) struct Asked<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(asked)) => Ok(Self(asked)),
            Err(rejection @ QueryRejection::FailedToDeserializeQueryString(_)) => {
                Err(Refusal::Malformed(rejection.body_text()))
            }
            Err(rejection) => Err(Refusal::Malformed(rejection.to_string())),
        }
    }
}

/// What the path names.
#[derive(Debug)]
pub(crate) struct Named<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Named<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let named = Path::<T>::from_request_parts(parts, state).await;
        named.map(|Path(named)| Self(named)).map_err(|rejection| Refusal::Malformed(rejection.body_text()))
    }
}
