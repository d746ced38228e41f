//! Bodies and queries of the API: what is taken keeps the promises of its type, and says the same when it is sent on. It must
//! not know who may call what.

use agent_guard::api::read_body;
use agent_guard::api::types::{
    Adopt, AnswerBody, IntentBody, NAME_BYTES, NAMES, PolicyText, ReachQuery, RequestFilter, StartSession, Variables,
};
use agent_guard::session::{self, Act, Intent, NotAnIntent, Rule, Said};
use agent_guard_common::operation::Operation;
use agent_guard_common::verdict::Tier;
use axum::extract::Query;
use axum::http::Uri;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// Words of an argument vector that are taken in.
const WORDS: usize = 1024;
/// Bytes of an intent's texts that are kept, the mark of a cut included.
const KEPT: usize = 1005;

/// Judges the bytes as the body of each call, and as the query of each.
pub fn holds(bytes: &[u8]) -> bool {
    let read = [
        body::<StartSession>(bytes, |start| assert!(start.argv.len() <= WORDS)),
        body::<Adopt>(bytes, |_adopt| {}),
        body::<Variables>(bytes, |asked| {
            assert!(asked.names.len() <= NAMES && asked.names.iter().all(|name| name.len() <= NAME_BYTES));
        }),
        body::<AnswerBody>(bytes, |_said| {}),
        body::<PolicyText>(bytes, |_text| {}),
        body::<IntentBody>(bytes, judge_intent),
        query::<RequestFilter>(bytes),
        query::<ReachQuery>(bytes),
    ];
    read.contains(&true)
}

/// What is taken comes back as it was; what is not is the caller's fault, and told in words.
fn body<T: DeserializeOwned + Serialize + PartialEq + Debug>(bytes: &[u8], promises: impl Fn(&T)) -> bool {
    let value: T = match read_body(bytes) {
        Ok(value) => value,
        Err(refusal) => {
            assert_eq!(refusal.status(), 400);
            assert!(!refusal.to_string().is_empty());
            return false;
        }
    };
    promises(&value);
    let text = serde_json::to_vec(&value).expect("a body can be sent on");
    assert_eq!(read_body::<T>(&text).expect("what was sent on can be read"), value);
    true
}

fn query<T: DeserializeOwned + Serialize + PartialEq + Debug>(bytes: &[u8]) -> bool {
    let uri = std::str::from_utf8(bytes).ok().and_then(|text| format!("/v1/requests?{text}").parse::<Uri>().ok());
    let Some(Ok(Query(value))) = uri.map(|uri| Query::<T>::try_from_uri(&uri)) else { return false };
    let text = serde_json::to_vec(&value).expect("a query can be told");
    assert_eq!(read_body::<T>(&text).expect("what was told can be read"), value);
    true
}

/// What is kept of an intent has a reason and a limit, and is about what it says that it is.
fn judge_intent(body: &IntentBody) {
    let IntentBody { why, alternatives, rollback, covers, seconds: _ } = body.clone();
    let is_blank = |text: &str| text.trim().is_empty();
    let said = match (Said { why, alternatives, rollback, covers }).checked() {
        Ok(said) => said,
        Err(NotAnIntent::NoReason) => return assert!(is_blank(&body.why)),
        Err(NotAnIntent::Nothing) => return assert!(body.covers.as_deref().is_some_and(is_blank)),
    };
    let texts = [Some(&said.why), said.rollback.as_ref(), said.covers.as_ref()];
    assert!(texts.into_iter().flatten().chain(&said.alternatives).all(|text| text.len() <= KEPT && !is_blank(text)));
    let mut act = act("tcp 203.0.113.1:443 (a.example.com, db.prod.example.com)");
    // That a pattern is tried against anything at all must not take long.
    let about_another = said.is_about(&act);
    act.object = said.covers.clone().unwrap_or_default();
    assert!(said.is_about(&act), "{said:?}");
    assert!(said.covers.is_some() || about_another);
    assert!(serde_json::to_string(&Intent { said, at: Timestamp::UNIX_EPOCH }).is_ok());
}

fn act(object: &str) -> Act {
    Act {
        session: None,
        operation: Operation::Connect,
        object: object.to_owned(),
        other: None,
        cut: false,
        label: String::new(),
        rule: Rule::named("r"),
        tier: Tier::Gated,
        process: session::plain(1, 1, 0, String::new()),
        impact: None,
        sent: None,
        intent: None,
    }
}
