//! What hooks are told: one message for each new, decided and expired request, as JSON and as lines. Pure.
//!
//! What agents have chosen stands in it: secrets are left out of both forms, and the lines have nothing in them that
//! deceives a reader. It must not know how they are sent.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::types::{Request, RequestState};
use crate::audit::Redactor;
use crate::text::escape;

/// What has happened to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// It was asked, and waits.
    New,
    /// It has ended otherwise than by time: somebody has answered, or it was withdrawn or overtaken. Its state says which.
    Decided,
    /// Nobody has answered in time.
    Expired,
}

impl Event {
    /// Every event.
    pub const ALL: [Self; 3] = [Self::New, Self::Decided, Self::Expired];

    /// What a changed request means. A yes that is not enough, and what came of an approved act, mean nothing here.
    #[must_use]
    pub fn of(request: &Request) -> Option<Self> {
        let is_first = request.approval.consents.is_empty() && request.outcome.is_none();
        match request.state {
            RequestState::Pending => is_first.then_some(Self::New),
            RequestState::Expired => Some(Self::Expired),
            RequestState::Approved | RequestState::Denied | RequestState::Cancelled | RequestState::Invalidated => {
                request.outcome.is_none().then_some(Self::Decided)
            }
        }
    }
}

/// Something that hooks are to be told of.
#[derive(Clone, Debug)]
pub struct News {
    /// What has happened.
    pub event: Event,
    /// When.
    pub at: Timestamp,
    /// The request, as the API shows it.
    pub request: Arc<Request>,
}

/// The JSON of a message.
#[derive(Serialize)]
struct Body<'a> {
    event: Event,
    at: Timestamp,
    host: &'a str,
    request: &'a Value,
}

/// A message, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What has happened.
    pub event: Event,
    /// All of it, as one line of JSON.
    pub body: String,
    /// What has happened to which request, for people, on one line.
    pub title: String,
    /// What was asked, for people, on one line.
    pub detail: String,
}

impl Message {
    /// Makes a message of news from a host.
    ///
    /// # Errors
    /// There is no JSON for it.
    pub fn new(news: &News, host: &str, redactor: &Redactor) -> Result<Self, serde_json::Error> {
        let mut request = serde_json::to_value(&*news.request)?;
        redactor.act(&mut request);
        let body = serde_json::to_string(&Body { event: news.event, at: news.at, host, request: &request })?;
        let text = |at: &str| escape(request.pointer(at).and_then(Value::as_str).unwrap_or_default());
        let detail = format!(
            "{} {} (session {}, rule {})",
            text("/operation"),
            text("/object"),
            text("/session/name"),
            text("/rule/name")
        );
        let id = &news.request.id;
        let title = match news.event {
            Event::New => format!("agent-guard: request {id} waits for an answer"),
            Event::Expired => format!("agent-guard: nobody has answered request {id} in time"),
            Event::Decided => {
                let by = news.request.decision.as_ref().and_then(|decision| decision.user.as_deref());
                let by = by.map(|user| format!(" by {}", escape(user))).unwrap_or_default();
                format!("agent-guard: request {id} is {}{by}", news.request.state.word())
            }
        };
        Ok(Self { event: news.event, body, title, detail })
    }

    /// The lines for a terminal.
    #[must_use]
    pub fn lines(&self) -> String {
        format!("{}\n{}\n", self.title, self.detail)
    }

    /// The detail for `notify-send`, which takes `\` for an escape, and for desktops, which take `<` and `&` for markup.
    #[must_use]
    pub fn markup(&self) -> String {
        let detail = self.detail.replace('\\', "\\\\");
        detail.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use super::{Event, Message, News};
    use crate::api::types::{Decision, Outcome, Request, RequestState};
    use crate::audit::Redactor;

    pub(in crate::notify) fn request(object: &str) -> Request {
        let text = serde_json::json!({
            "id": "J1RZ", "state": "pending",
            "session": { "id": "01J", "name": "nightly", "profile": "autonomous", "uid": 1000 },
            "operation": "delete", "object": object, "other": null, "cut": false, "label": "production",
            "rule": { "name": "hold-production", "message": null }, "tier": "autonomous",
            "process": { "pid": 2, "tid": 2, "uid": 1000, "user": "alice", "comm": "rm", "argv": ["rm", object],
                         "cwd": "/", "ancestry": [] },
            "threads": 1, "impact": null, "sent": null, "credentials": [], "intent": null,
            "approval": { "approvers": 1, "group": null, "demands": [], "widest": "session", "consents": [] },
            "asked_at": "2026-01-01T00:00:00Z", "expires_at": "2026-01-01T00:05:00Z", "left_ms": 300_000,
            "decision": null, "outcome": null
        });
        serde_json::from_value(text).expect("is a request")
    }

    pub(in crate::notify) fn message(request: Request) -> Message {
        let event = Event::of(&request).expect("is news");
        let news = News { event, at: jiff::Timestamp::UNIX_EPOCH, request: Arc::new(request) };
        Message::new(&news, "here", &Redactor::new().expect("compiles")).expect("is JSON")
    }

    #[test]
    fn a_request_is_news_when_it_is_new_and_when_it_ends() {
        let of = |state: RequestState| Event::of(&Request { state, ..request("/x") });
        assert_eq!(of(RequestState::Pending), Some(Event::New));
        assert_eq!(of(RequestState::Expired), Some(Event::Expired));
        for state in [RequestState::Approved, RequestState::Denied, RequestState::Cancelled, RequestState::Invalidated]
        {
            assert_eq!(of(state), Some(Event::Decided));
        }
    }

    #[test]
    fn half_an_approval_and_what_came_of_one_are_no_news() {
        let mut half = request("/x");
        half.approval.consents = serde_json::from_str(
            r#"[{ "uid": 0, "user": "root", "at": "2026-01-01T00:00:00Z", "reason": null, "scope": "once" }]"#,
        )
        .expect("is one");
        assert_eq!(Event::of(&half), None);
        let outcome = Some(Outcome { done: true, error: None });
        assert_eq!(Event::of(&Request { state: RequestState::Approved, outcome, ..request("/x") }), None);
    }

    #[test]
    fn the_body_is_the_apis_own_request_with_what_has_happened() {
        let body: serde_json::Value = serde_json::from_str(&message(request("/srv/x")).body).expect("is JSON");
        assert_eq!(
            (&body["event"], &body["host"], &body["at"]),
            (&"new".into(), &"here".into(), &"1970-01-01T00:00:00Z".into())
        );
        let read: Request = serde_json::from_value(body["request"].clone()).expect("is a request");
        assert_eq!(read, request("/srv/x"));
    }

    #[test]
    fn secrets_are_left_out_of_every_form() {
        let mut asked = request("mysql --password hunter2");
        asked.process.argv = ["mysql", "--password", "hunter2"].map(str::to_owned).to_vec();
        let message = message(asked);
        for text in [&message.body, &message.detail] {
            assert!(text.contains("[redacted: ") && !text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn lines_have_nothing_in_them_that_deceives() {
        let message = message(request("/x\n\u{1b}[2J<b>&\\n"));
        assert_eq!(message.lines().lines().count(), 2);
        assert!(!message.lines().contains('\u{1b}') && !message.body.contains('\n'));
        let shown = "delete /x\\\\n\\\\x1b[2J&lt;b&gt;&amp;\\\\n (session nightly, rule hold-production)";
        assert_eq!(message.markup(), shown);
    }

    #[test]
    fn a_title_says_who_has_decided() {
        let decision =
            Decision { uid: Some(0), user: Some("root".to_owned()), at: jiff::Timestamp::UNIX_EPOCH, reason: None };
        let denied = Request { state: RequestState::Denied, decision: Some(decision), ..request("/x") };
        assert_eq!(message(denied).title, "agent-guard: request J1RZ is denied by root");
        let expired = Request { state: RequestState::Expired, ..request("/x") };
        assert_eq!(message(expired).title, "agent-guard: nobody has answered request J1RZ in time");
    }
}
