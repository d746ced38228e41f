//! The approver's hands: what the daemon knows, and answers to it. By the API, since starting the client costs a
//! guest under emulation a tenth of a second each time; `cli` is the client itself.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use super::http::{CONTROL_SOCKET, Response, http};
use super::wait::eventually;

/// Runs the client, outside any session.
pub fn cli<S: AsRef<OsStr>>(args: &[S]) -> Output {
    Command::new("agent-guard").args(args).stdin(Stdio::null()).output().unwrap()
}

fn get(path: &str) -> Value {
    let response = http(CONTROL_SOCKET, "GET", path, None).unwrap_or_else(|error| panic!("GET {path}: {error}"));
    assert_eq!(response.status, 200, "GET {path}: {}", response.body);
    response.json()
}

fn list(path: &str) -> Vec<Value> {
    match get(path) {
        Value::Array(list) => list,
        other => panic!("GET {path} is no list: {other}"),
    }
}

/// Every request that the daemon knows.
#[must_use]
pub fn requests() -> Vec<Value> {
    list("/v1/requests")
}

/// Every approval that reaches further than one act.
#[must_use]
pub fn grants() -> Vec<Value> {
    list("/v1/grants")
}

/// One request.
#[must_use]
pub fn request(id: &str) -> Value {
    get(&format!("/v1/requests/{id}"))
}

/// Every session that the daemon knows.
#[must_use]
pub fn sessions() -> Vec<Value> {
    list("/v1/sessions")
}

/// The daemon's state.
#[must_use]
pub fn status() -> Value {
    get("/v1/status")
}

/// The kernel's counters of judgements, by kind.
#[must_use]
pub fn judged() -> BTreeMap<String, u64> {
    let status = status();
    let counts = status["judged"].as_array().unwrap().iter();
    counts.map(|count| (count["name"].as_str().unwrap().to_owned(), count["count"].as_u64().unwrap())).collect()
}

/// What the kernel programs failed at; empty on a healthy guest.
#[must_use]
pub fn failures() -> Vec<Value> {
    status()["failures"].as_array().unwrap().clone()
}

/// How often the kernel programs failed at one place.
#[must_use]
pub fn failures_at(place: &str) -> u64 {
    failures().iter().filter(|failure| failure["place"] == place).filter_map(|failure| failure["count"].as_u64()).sum()
}

/// Waits for a pending request of this kind.
pub fn await_request(is_it: impl Fn(&Value) -> bool) -> Value {
    eventually("the expected request", || list("/v1/requests?state=pending").into_iter().find(|request| is_it(request)))
}

/// Waits for the pending request of a session.
#[must_use]
pub fn await_request_in(session: &str) -> Value {
    eventually(&format!("a request of session {session}"), || pending(session).into_iter().next())
}

/// The pending requests of a session.
#[must_use]
pub fn pending(session: &str) -> Vec<Value> {
    list(&format!("/v1/requests?state=pending&session={session}"))
}

/// Answers a request: `approve`, `deny` or `cancel`.
#[must_use]
pub fn answer(id: &str, choice: &str) -> Response {
    http(CONTROL_SOCKET, "POST", &format!("/v1/requests/{id}/{choice}"), Some(&json!({}))).unwrap()
}

/// Says yes.
pub fn approve(id: &str) {
    let response = answer(id, "approve");
    assert!(response.status < 300, "approve {id}: {response:?}");
}

/// Says no.
pub fn deny(id: &str) {
    let response = answer(id, "deny");
    assert!(response.status < 300, "deny {id}: {response:?}");
}
