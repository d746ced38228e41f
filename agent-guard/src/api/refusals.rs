//! How the description tells refusals: by what a call takes, the statuses that it may be refused with. It must not know
//! why: that is `refusal`.

use super::types::ErrorBody;
use utoipa::IntoResponses;

/// What every call may be refused with.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only described: a refusal is made where it happens")]
pub(super) enum Refused {
    /// This peer may not do this.
    #[response(status = 403)]
    Forbidden(ErrorBody),
    /// The daemon tried and could not.
    #[response(status = 500)]
    Failed(ErrorBody),
    /// A limit is reached, or the daemon is going.
    #[response(status = 503)]
    Busy(ErrorBody),
}

/// What a call may be refused with that names something in its path.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only described: a refusal is made where it happens")]
pub(super) enum NotFound {
    /// The path or the query is not what the call takes.
    #[response(status = 400)]
    Malformed(ErrorBody),
    /// There is none, or none that the peer may know of.
    #[response(status = 404)]
    Unknown(ErrorBody),
}

/// What a call with a query may be refused with.
#[derive(IntoResponses)]
#[response(status = 400)]
#[expect(dead_code, reason = "only described: a refusal is made where it happens")]
/// The query is not what the call takes.
pub(super) struct BadQuery(ErrorBody);

/// What a call with a body may be refused with.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only described: a refusal is made where it happens")]
pub(super) enum BadBody {
    /// The body, the path or the query is not what the call takes, or came too slowly.
    #[response(status = 400)]
    Malformed(ErrorBody),
    /// The body is longer than any call takes.
    #[response(status = 413)]
    TooLarge(ErrorBody),
}

/// Somebody was faster, or the session is not in a state for this.
#[derive(IntoResponses)]
#[response(status = 409)]
#[expect(dead_code, reason = "only described: a refusal is made where it happens")]
pub(super) struct Conflict(ErrorBody);

/// It names what the policy does not have or what is not the peer's; or the policy file has faults.
#[derive(IntoResponses)]
#[response(status = 422)]
#[expect(dead_code, reason = "only described: a refusal is made where it happens")]
pub(super) struct Unacceptable(ErrorBody);
