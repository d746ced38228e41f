//! Every JSON type of the API, for server and client alike. It must not know sockets, HTTP or the daemon's loop.
//!
//! Strings that come from guarded processes (paths, arguments, names) are carried as they are, bytes that are
//! not UTF-8 replaced: whoever shows them to a person escapes them first (`crate::text`).

mod error;
mod grant;
mod intent;
mod request;
mod session;
mod state;
mod variable;

pub use self::error::{ErrorBody, ErrorDetail};
pub use self::grant::{ApprovalScope, Grant, Reach, ReachQuery, USUAL_SECONDS};
pub use self::intent::{Intent, IntentBody};
pub use self::request::{
    Ancestor, AnswerBody, Approval, Consent, Decision, Impact, Outcome, Process, Request, RequestFilter, RequestState,
    RuleRef,
};
pub use self::session::{
    Adopt, Credential, Notice, NoticeKind, Outcomes, Session, SessionRef, SessionState, StartSession,
};
pub use self::state::{
    Count, Doctor, Failure, Finding, FindingLevel, Forwarder, PolicyFault, PolicyFaults, PolicyStatus, PolicyText,
    Status,
};
pub use self::variable::{EnvPolicy, NAME_BYTES, NAMES, Variable, Variables};
