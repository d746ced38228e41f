//! How a request and a grant are written: what never changes of a request, and what does. JSON, so that a person with
//! `sqlite3` can read it. It must not know the file.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::audit::{Now, Person};
use crate::decision::{Bound, Consent, Ending, Grant, Key, Outcome, Request, RequestId, Standing, Task};
use crate::policy::Scope;
use crate::session::{Act, SessionKey, Stamp};

/// What is asked.
#[derive(Serialize, Deserialize)]
struct Asked {
    id: String,
    session: SessionKey,
    bound: Bound,
    asked: Now,
    deadline: Now,
    act: Act,
}

/// What came of it.
#[derive(Serialize, Deserialize)]
struct Course {
    key: Key,
    others: Vec<Key>,
    standing: Standing,
    consents: Vec<Consent>,
    ending: Option<Ending>,
    outcome: Option<Outcome>,
}

#[derive(Serialize, Deserialize)]
struct Reach {
    id: String,
    scope: Scope,
    session: SessionKey,
    task: Task,
    by: Person,
    reason: Option<String>,
    at: Now,
    until: Option<Now>,
    used: u64,
    act: Act,
}

/// What never changes of a request.
pub(super) fn asked(request: &Request) -> String {
    let Request { id, session, bound, asked, deadline, .. } = *request;
    text(&Asked { id: id.to_string(), session, bound, asked, deadline, act: Act::clone(&request.act) })
}

/// What changes of a request.
pub(super) fn course(request: &Request) -> String {
    let Request { key, others, standing, consents, ending, outcome, .. } = request;
    text(&Course {
        key: *key,
        others: others.clone(),
        standing: *standing,
        consents: consents.clone(),
        ending: ending.clone(),
        outcome: outcome.clone(),
    })
}

/// A request, of both its parts.
pub(super) fn request(asked: &str, course: &str) -> Result<Request, serde_json::Error> {
    let Asked { id, session, bound, asked, deadline, act } = serde_json::from_str(asked)?;
    let Course { key, others, standing, consents, ending, outcome } = serde_json::from_str(course)?;
    let act = known(act, session);
    Ok(Request {
        id: number(&id)?,
        key,
        others,
        session,
        bound,
        act,
        asked,
        deadline,
        standing,
        consents,
        ending,
        outcome,
    })
}

/// All of a grant.
pub(super) fn grant_body(grant: &Grant) -> String {
    let Grant { id, scope, session, task, at, until, used, .. } = *grant;
    text(&Reach {
        id: id.to_string(),
        scope,
        session,
        task,
        by: grant.by.clone(),
        reason: grant.reason.clone(),
        at,
        until,
        used,
        act: Act::clone(&grant.act),
    })
}

/// A grant.
pub(super) fn grant(body: &str) -> Result<Grant, serde_json::Error> {
    let Reach { id, scope, session, task, by, reason, at, until, used, act } = serde_json::from_str(body)?;
    Ok(Grant { id: number(&id)?, scope, session, task, act: known(act, session), by, reason, at, until, used })
}

/// How the kernel knows a session is not part of what is shown of an act.
fn known(act: Act, key: SessionKey) -> Arc<Act> {
    let session = act.session.map(|stamp| Arc::new(Stamp { key, ..Stamp::clone(&stamp) }));
    Arc::new(Act { session, ..act })
}

fn number(id: &str) -> Result<RequestId, serde_json::Error> {
    id.parse().map_err(|error| serde::de::Error::custom(format!("`{id}` is {error}")))
}

/// Plain data of ours always becomes JSON; what did not would not be read again.
fn text(what: &impl Serialize) -> String {
    serde_json::to_string(what).unwrap_or_default()
}
