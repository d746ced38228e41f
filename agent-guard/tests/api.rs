//! The real server over real sockets: what clients get that err, hang, lie or come twice.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod common;

use agent_guard::api::Standing;
use agent_guard::api::openapi;
use agent_guard::api::types::{Request, Variable};
use common::{Daemon, connect, split};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};
use std::{fs, thread};

const CONTROL: &str = "control.sock";
const AGENT: &str = "agent.sock";

fn code(body: &str) -> String {
    let body: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    body["error"]["code"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn the_control_socket_is_closed_to_others_and_the_agent_socket_is_open() {
    let daemon = Daemon::start();
    let mode = |name| fs::symlink_metadata(daemon.dir.join(name)).unwrap().permissions().mode() & 0o777;
    assert!([0o660, 0o600].contains(&mode(CONTROL)));
    assert_eq!(mode(AGENT), 0o666);
}

#[test]
fn bodies_that_are_not_what_is_expected_are_refused_as_malformed() {
    let daemon = Daemon::start();
    let bodies = ["{", "[]", "null", "{\"reason\": 7}", "{\"reson\": \"x\"}", "\u{0}", "{} {}", &"[".repeat(100_000)];
    for body in bodies {
        let (status, answer) = daemon.call(CONTROL, "POST", "/v1/requests/7K2M/approve", body);
        assert_eq!((status, code(&answer).as_str()), (400, "malformed"), "{body:.20}: {answer}");
    }
    for body in ["{}", "{\"child_pid\": -1, \"argv\": [], \"cwd\": \"/\"}", "{\"child_pid\": 1}"] {
        assert_eq!(daemon.call(AGENT, "POST", "/v1/sessions", body).0, 400, "{body}");
    }
    for query in ["state=open", "watch=maybe", "colour=red", "state=pending&state=denied"] {
        assert_eq!(daemon.call(CONTROL, "GET", &format!("/v1/requests?{query}"), "").0, 400, "{query}");
    }
    let request = daemon.call(CONTROL, "GET", "/v1/requests/7K2M", "").1;
    assert!(request.contains("\"pending\""), "nothing of that was an answer: {request}");
}

#[test]
fn names_of_variables_are_asked_about_by_whoever_may_start_a_session() {
    let daemon = Daemon::start();
    let ask = |socket, body: &str| {
        let (status, answer) = daemon.call(socket, "POST", "/v1/variables", body);
        (status, code(&answer), answer)
    };
    let variable =
        Variable { name: "A_TOKEN".into(), environment: "production".into(), label: "told".into(), strip: true };
    daemon.script.lock().unwrap().variables = vec![variable.clone()];
    let body = r#"{"profile": "human", "policy": "strip-production", "names": ["HOME", "A_TOKEN"]}"#;
    for socket in [CONTROL, AGENT] {
        let (status, _, answer) = ask(socket, body);
        assert_eq!((status, serde_json::from_str::<Vec<Variable>>(&answer).unwrap()), (200, vec![variable.clone()]));
    }
    let many = format!(r#"{{"names": [{}""]}}"#, r#""","#.repeat(4096));
    let long = format!(r#"{{"names": ["{}"]}}"#, "x".repeat(256));
    let odd = [
        "{}",
        r#"{"names": "HOME"}"#,
        r#"{"names": [7]}"#,
        r#"{"names": [], "policy": "drop"}"#,
        r#"{"names": ["A"], "values": ["x"]}"#,
        &many,
        &long,
    ];
    for body in odd {
        let (status, code, answer) = ask(AGENT, body);
        assert_eq!((status, code.as_str()), (400, "malformed"), "{body:.40}: {answer}");
    }
    daemon.script.lock().unwrap().standing = Standing::Guarded { session: Some("S1".into()) };
    let (status, _, answer) = ask(AGENT, body);
    assert!(status == 403 && answer.contains("a guarded process may not start sessions"), "{answer}");
}

#[test]
fn what_is_no_http_gets_no_answer_that_grants_and_the_server_goes_on() {
    let daemon = Daemon::start();
    for bytes in [&b"\0\0\0\0"[..], b"GET\r\n\r\n", b"POST /v1/requests/7K2M/approve HTTP/9.9\r\n\r\n", &[0xff; 70_000]]
    {
        let answer = daemon.raw(CONTROL, bytes);
        assert!(answer.is_empty() || split(&answer).0 >= 400, "{answer}");
    }
    assert_eq!(daemon.call(CONTROL, "GET", "/v1/requests", "").0, 200);
}

#[test]
fn a_body_over_the_limit_is_too_large_with_and_without_its_length() {
    let daemon = Daemon::start();
    let body = format!("{{\"reason\": \"{}\"}}", "x".repeat(1 << 20));
    let (status, answer) = daemon.call(CONTROL, "POST", "/v1/requests/7K2M/deny", &body);
    assert_eq!((status, code(&answer).as_str()), (413, "too-large"), "{answer}");
    let head = "POST /v1/requests/7K2M/deny HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunked = format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    assert_eq!(split(&daemon.raw(CONTROL, chunked.as_bytes())).0, 413);
}

#[test]
fn a_body_that_is_cut_short_answers_nothing() {
    let daemon = Daemon::start();
    let mut stream = connect(&daemon.dir, CONTROL);
    stream.write_all(b"POST /v1/requests/7K2M/approve HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{\"rea").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    drop(stream.read_to_string(&mut answer));
    assert!(answer.is_empty() || split(&answer).0 == 400, "{answer}");
    assert!(daemon.call(CONTROL, "GET", "/v1/requests/7K2M", "").1.contains("\"pending\""));
}

#[test]
fn unknown_ids_and_calls_are_not_found() {
    let daemon = Daemon::start();
    let expected = [
        ("GET", "/v1/requests/ZZZZ", "unknown-request"),
        ("POST", "/v1/requests/ZZZZ/approve", "unknown-request"),
        ("GET", "/v1/requests/..%2F7K2M", "unknown-request"),
        ("POST", "/v1/requests/7K2M/grant", "unknown-call"),
        ("POST", "/v1/sessions/demo/delete", "unknown-call"),
        ("GET", "/", "unknown-call"),
        ("GET", "/v2/requests", "unknown-call"),
    ];
    for (method, path, expected) in expected {
        let (status, answer) = daemon.call(CONTROL, method, path, "");
        assert_eq!((status, code(&answer).as_str()), (404, expected), "{method} {path}: {answer}");
    }
}

#[test]
fn a_call_with_another_method_says_which_there_are() {
    let daemon = Daemon::start();
    for (method, path, expected) in
        [("GET", "/v1/requests/7K2M/approve", "allow: POST"), ("DELETE", "/v1/requests/7K2M", "allow: GET,HEAD")]
    {
        let answer = daemon.raw(CONTROL, format!("{method} {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes());
        let (status, body) = split(&answer);
        assert_eq!((status, code(&body).as_str()), (405, "wrong-method"), "{answer}");
        assert!(answer.contains(expected), "{answer}");
    }
}

#[test]
fn the_second_answer_is_a_conflict_that_says_who_was_first() {
    let daemon = Daemon::start();
    let (status, answer) = daemon.call(CONTROL, "POST", "/v1/requests/7K2M/deny", "{\"reason\": \"no\"}");
    assert_eq!(status, 200, "{answer}");
    assert_eq!(serde_json::from_str::<Request>(&answer).unwrap().decision.unwrap().reason.unwrap(), "no");
    let (status, answer) = daemon.call(CONTROL, "POST", "/v1/requests/7K2M/approve", "");
    assert_eq!((status, code(&answer).as_str()), (409, "already-decided"));
    assert!(answer.contains("already denied by ann at 2026-01-01T00:01:00Z"), "{answer}");
}

#[test]
fn the_agent_socket_shows_ones_own_and_answers_nothing() {
    let daemon = Daemon::start();
    let mut other = common::request("OTHR", 4_000_000);
    other.session.uid = nobody();
    daemon.script.lock().unwrap().requests.push(other);
    let all: Vec<Request> = serde_json::from_str(&daemon.call(CONTROL, "GET", "/v1/requests", "").1).unwrap();
    let own: Vec<Request> = serde_json::from_str(&daemon.call(AGENT, "GET", "/v1/requests", "").1).unwrap();
    assert_eq!(all.len(), 3);
    assert!(own.iter().all(|request| request.session.uid != nobody()), "{own:?}");
    let (status, answer) = daemon.call(AGENT, "POST", "/v1/requests/7K2M/approve", "");
    assert_eq!((status, code(&answer).as_str()), (403, "forbidden"));
    assert!(answer.contains("add yourself to group agent-guard"), "{answer}");
    for path in ["/v1/sessions/demo/kill", "/v1/sessions/demo/halt", "/v1/grants/7K2M/revoke", "/v1/policy/reload"] {
        assert_eq!(daemon.call(AGENT, "POST", path, "").0, 403, "{path}");
    }
    for path in ["/v1/status", "/v1/doctor"] {
        assert_eq!(daemon.call(AGENT, "GET", path, "").0, 403, "{path}");
    }
    assert_eq!(daemon.call(AGENT, "POST", "/v1/policy/check", "{\"text\": \"\"}").0, 403);
}

/// A user that this test does not run as.
const fn nobody() -> u32 {
    4_000_000
}

#[test]
fn a_guarded_peer_reads_its_own_session_and_nothing_else_even_by_the_control_socket() {
    let daemon = Daemon::start();
    daemon.script.lock().unwrap().standing = Standing::Guarded { session: Some("S4000000".into()) };
    let own: Vec<Request> = serde_json::from_str(&daemon.call(CONTROL, "GET", "/v1/requests", "").1).unwrap();
    assert_eq!(own.iter().map(|request| request.id.as_str()).collect::<Vec<_>>(), ["9XYZ"]);
    let forbidden = [
        ("POST", "/v1/requests/9XYZ/approve"),
        ("POST", "/v1/grants/9XYZ/revoke"),
        ("POST", "/v1/sessions/demo/kill"),
        ("POST", "/v1/policy/reload"),
        ("GET", "/v1/status"),
        ("GET", "/v1/sessions/S4000000/notices"),
    ];
    for (method, path) in forbidden {
        for socket in [CONTROL, AGENT] {
            let (status, answer) = daemon.call(socket, method, path, "");
            assert_eq!(status, 403, "{path}: {answer}");
            assert!(answer.contains("a guarded process may not"), "{answer}");
        }
    }
    daemon.script.lock().unwrap().standing = Standing::Guarded { session: None };
    assert_eq!(daemon.call(CONTROL, "GET", "/v1/requests", "").0, 403);
}

#[test]
fn clients_that_hang_hold_up_nobody_and_are_put_out() {
    let daemon = Daemon::start();
    // Nothing at all, half a header, half a body: more of them than one user has seats.
    let beginnings =
        ["", "GET /v1/req", "POST /v1/requests/7K2M/deny HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n{"];
    let hanging: Vec<_> = (0..200)
        .map(|number| {
            let mut stream = connect(&daemon.dir, AGENT);
            drop(stream.write_all(beginnings[number % 3].as_bytes()));
            stream
        })
        .collect();
    let begin = Instant::now();
    assert_eq!(daemon.call(CONTROL, "GET", "/v1/requests", "").0, 200, "the other door is open");
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    let (status, answer) = daemon.call(AGENT, "GET", "/v1/requests", "");
    assert!(status == 503 && code(&answer) == "busy", "{status} {answer}");
    thread::sleep(Duration::from_millis(5500));
    assert_eq!(daemon.call(AGENT, "GET", "/v1/requests", "").0, 200, "the seats are free again");
    for mut stream in hanging {
        let mut rest = Vec::new();
        drop(stream.read_to_end(&mut rest));
    }
    assert!(begin.elapsed() < Duration::from_secs(10), "all were put out: {:?}", begin.elapsed());
}

#[test]
fn a_header_that_trickles_is_cut_off_in_time() {
    let daemon = Daemon::start();
    let mut stream = connect(&daemon.dir, CONTROL);
    let begin = Instant::now();
    let sent = b"GET /v1/requests HTTP/1.1\r\nx: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy".iter().take_while(|byte| {
        thread::sleep(Duration::from_millis(200));
        stream.write_all(&[**byte]).is_ok()
    });
    assert!(sent.count() < 40, "it was cut off");
    assert!(begin.elapsed() < Duration::from_secs(8));
}

#[test]
fn a_watcher_hears_what_is_known_and_what_changes() {
    let daemon = Daemon::start();
    let mut stream = connect(&daemon.dir, CONTROL);
    stream.write_all(b"GET /v1/requests?watch=true&state=pending HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap).filter(|line| line.starts_with('{'));
    let mut next = || serde_json::from_str::<Request>(&lines.next().unwrap()).unwrap();
    assert_eq!([next().id, next().id], ["7K2M", "9XYZ"]);
    assert_eq!(daemon.call(CONTROL, "POST", "/v1/requests/7K2M/approve", "").0, 200);
    assert_eq!(next().state.word(), "approved");
}

/// Everything that a description refers to.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| match (name.as_str(), value) {
            ("$ref", Value::String(place)) => drop(found.insert(place.clone())),
            _ => references(value, found),
        }),
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn the_description_refers_to_nothing_that_it_does_not_have() {
    let description: Value = serde_json::from_str(&openapi::text()).unwrap();
    let mut found = BTreeSet::new();
    references(&description, &mut found);
    let is_missing = |place: &&String| description.pointer(place.trim_start_matches('#')).is_none();
    assert_eq!(found.iter().filter(is_missing).collect::<Vec<_>>(), Vec::<&String>::new());
    assert!(found.len() > 5, "{found:?}");
}

#[test]
fn the_description_is_served_and_names_every_call() {
    let daemon = Daemon::start();
    let (status, text) = daemon.call(AGENT, "GET", "/v1/openapi.json", "");
    assert_eq!((status, text.as_str()), (200, openapi::text().as_str()));
    for path in ["/v1/requests/{id}/{choice}", "/v1/sessions/{id}/notices", "/v1/policy/check"] {
        assert!(text.contains(path), "{path}");
    }
}

#[test]
fn a_policy_that_is_not_loaded_says_all_that_is_wrong() {
    let daemon = Daemon::start();
    let (status, answer) = daemon.call(CONTROL, "POST", "/v1/policy/reload", "");
    assert_eq!((status, code(&answer).as_str()), (422, "bad-policy"));
    let (status, answer) = daemon.call(CONTROL, "POST", "/v1/policy/check", "{\"text\": \"nonsense\"}");
    assert_eq!(status, 200);
    assert!(answer.contains("\"faults\":[{\"line\":"), "{answer}");
}
