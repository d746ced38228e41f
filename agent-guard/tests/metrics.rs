//! Metrics as a scraper meets them: read strictly, by the socket and by the port, and by nobody else's way.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod common;

use agent_guard::api::Standing;
use common::{Daemon, split};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;

const CONTROL: &str = "control.sock";
const AGENT: &str = "agent.sock";

/// The series of a text, by their names with their labels. Panics at whatever the format does not allow.
fn read(text: &str) -> BTreeMap<String, f64> {
    let (mut series, mut types) = (BTreeMap::new(), BTreeMap::new());
    let mut helped = BTreeSet::new();
    let mut current = String::new();
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').unwrap();
            assert!(!help.is_empty() && helped.insert(name.to_owned()), "{line}");
            continue;
        }
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram"].contains(&kind) && helped.contains(name), "{line}");
            // Each metric stands together, behind its own head.
            assert_eq!(types.insert(name.to_owned(), kind.to_owned()), None, "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            current = name.to_owned();
            continue;
        }
        let (id, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = id.strip_suffix('}').map_or((id, ""), |id| id.split_once('{').unwrap());
        let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        assert!(name.starts_with("agent_guard_") && is_name(name), "{line}");
        let part = name.strip_prefix(current.as_str()).unwrap_or_else(|| panic!("{line} is not of {current}"));
        let parts: &[&str] = if types[&current] == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
        assert!(parts.contains(&part), "{line}");
        for label in labels.split("\",").filter(|label| !label.is_empty()) {
            let (label, value) = label.split_once("=\"").unwrap();
            assert!(is_name(label) && !value.trim_end_matches('"').contains(['"', '\\']), "{line}");
        }
        let value: f64 = value.parse().unwrap();
        assert!(value.is_finite() && value >= 0.0, "{line}");
        assert_eq!(series.insert(id.to_owned(), value), None, "{id} is there twice");
    }
    assert_eq!(types.keys().cloned().collect::<BTreeSet<_>>(), helped);
    series
}

/// Asserts that the buckets of every histogram grow, and that the last has them all.
fn assert_buckets(text: &str) {
    let bucket = |line: &str| {
        let (id, value) = line.rsplit_once(' ')?;
        let (id, bound) = id.split_once("_bucket{")?;
        let (labels, bound) = bound.rsplit_once("le=\"")?;
        let bound = bound.trim_end_matches("\"}").replace("+Inf", "inf").parse::<f64>().ok()?;
        Some((format!("{id}{labels}"), bound, value.parse::<f64>().ok()?))
    };
    let buckets: Vec<_> = text.lines().filter_map(bucket).collect();
    assert!(!buckets.is_empty());
    for pair in buckets.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
        assert!(pair[0].1 < pair[1].1 && pair[0].2 <= pair[1].2, "{pair:?}");
    }
}

/// What a port answers to one request.
fn by_port(daemon: &Daemon, method: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(daemon.port).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let is_text = answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n");
    assert_eq!(is_text, answer.starts_with("HTTP/1.1 200 "), "{answer}");
    split(&answer)
}

#[test]
fn the_text_is_as_prometheus_reads_it_and_has_every_figure_once() {
    let daemon = Daemon::start();
    let (status, text) = daemon.call(CONTROL, "GET", "/v1/metrics", "");
    let series = read(&text);
    assert_buckets(&text);
    let expected = [
        ("agent_guard_build_info{version=\"0.1.0\"}", 1.0),
        ("agent_guard_uptime_seconds", 90.5),
        ("agent_guard_policy_generation", 2.0),
        ("agent_guard_requests_pending", 2.0),
        ("agent_guard_requests_oldest_pending_seconds", 12.0),
        ("agent_guard_requests_asked_total", 20.0),
        ("agent_guard_requests_ended_total{standing=\"denied\"}", 6.0),
        ("agent_guard_requests_duration_seconds_bucket{standing=\"denied\",le=\"60\"}", 5.0),
        ("agent_guard_requests_duration_seconds_count{standing=\"approved\"}", 6.0),
        ("agent_guard_approvals_withdrawn_total", 1.0),
        ("agent_guard_questions_crowded_out_total", 5.0),
        ("agent_guard_grants", 1.0),
        ("agent_guard_sessions{stage=\"active\"}", 3.0),
        ("agent_guard_kernel_judgements_total{kind=\"refused\"}", 7.0),
        ("agent_guard_kernel_failures_total{place=\"event lost\",errno=\"ENOSPC\"}", 4.0),
        ("agent_guard_audit_records_total", 40.0),
        ("agent_guard_audit_failures_total", 2.0),
        ("agent_guard_audit_sequence", 4040.0),
    ];
    assert_eq!(status, 200);
    for (id, value) in expected {
        assert_eq!(series.get(id), Some(&value), "{id} in:\n{text}");
    }
}

#[test]
fn metrics_are_for_the_control_socket_and_not_for_guarded_processes() {
    let daemon = Daemon::start();
    assert_eq!(daemon.call(AGENT, "GET", "/v1/metrics", "").0, 403);
    assert_eq!(daemon.call(CONTROL, "POST", "/v1/metrics", "").0, 405);
    daemon.script.lock().unwrap().standing = Standing::Guarded { session: Some("S1".into()) };
    assert_eq!(daemon.call(CONTROL, "GET", "/v1/metrics", "").0, 403);
}

#[test]
fn the_port_has_the_same_metrics_and_no_other_call() {
    let daemon = Daemon::start();
    let (status, text) = by_port(&daemon, "GET", "/metrics");
    assert_eq!((status, text), daemon.call(CONTROL, "GET", "/v1/metrics", ""));
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        assert_eq!(by_port(&daemon, method, "/metrics").0, 405, "{method}");
    }
    for path in ["/", "/v1/metrics", "/v1/status", "/v1/requests", "/v1/requests/7K2M", "/v1/openapi.json"] {
        assert_eq!(by_port(&daemon, "GET", path).0, 404, "{path}");
        assert_eq!(by_port(&daemon, "POST", path).0, 404, "{path}");
    }
    assert_eq!(by_port(&daemon, "POST", "/v1/requests/7K2M/approve").0, 404);
    assert!(daemon.script.lock().unwrap().answers.is_empty());
}

#[test]
fn whoever_crowds_the_port_keeps_nobody_off_the_sockets() {
    let daemon = Daemon::start();
    let crowd: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(daemon.port).unwrap()).collect();
    assert_eq!(daemon.call(CONTROL, "GET", "/v1/metrics", "").0, 200);
    drop(crowd);
}

#[test]
fn the_verb_prints_them_and_exits_like_any_other() {
    let mut daemon = Daemon::start();
    let verb = |dir: &std::path::Path| {
        Command::new(env!("CARGO_BIN_EXE_agent-guard")).arg("--run-dir").arg(dir).arg("metrics").output().unwrap()
    };
    let output = verb(&daemon.dir);
    assert!(output.status.success());
    assert_eq!(read(&String::from_utf8(output.stdout).unwrap())["agent_guard_requests_pending"], 2.0);
    daemon.stop();
    assert_eq!(verb(&daemon.dir).status.code(), Some(3));
}
