//! Each form of every kind of record, and what becomes of lines that are none.

use std::fs;
use std::path::Path;

use agent_guard_common::operation::Operation;
use serde_json::{Value, json};

use super::{Format, Selection, export};
use crate::audit::{Redactor, What};

/// Every kind of record.
const WHAT: [What; 26] = {
    use What::*;
    [
        Held,
        Consented,
        Decided,
        GrantEnded,
        Passed,
        Done,
        Failed,
        Refused,
        Audited,
        Credentialed,
        IntentDeclared,
        Tunnelling,
        Killed,
        SessionStarted,
        SessionEnded,
        SessionHalted,
        SessionResumed,
        SessionKilled,
        CredentialsForgotten,
        PolicyLoaded,
        PolicyRefused,
        StartCheck,
        DaemonStarted,
        DaemonStopped,
        Unreadable,
        Checkpoint,
    ]
};

fn record(sequence: usize, rest: Value) -> Value {
    let mut record = json!({
        "sequence": sequence, "previous": "0".repeat(64), "boot": "b0", "monotonic_ns": 7,
        "time": format!("2026-11-21T05:04:{:02}.5Z", sequence % 60),
    });
    record.as_object_mut().unwrap().append(&mut rest.as_object().unwrap().clone());
    record
}

fn act(operation: Operation, object: &str) -> Value {
    json!({
        "session": { "id": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "name": "demo", "profile": "autonomous", "uid": 1000 },
        "operation": operation.name(), "object": object, "cut": false, "label": "production",
        "rule": { "name": "ask", "message": "Ask first." }, "tier": "gated",
        "process": {
            "pid": 42, "tid": 43, "started": 9, "uid": 1000, "comm": "rm", "argv": ["rm", "--token", "hunter2"],
            "exe": "/usr/bin/rm", "cwd": "/srv", "tty": null, "ancestry": [{ "pid": 41, "comm": "sh", "argv": ["sh"] }],
        },
    })
}

/// What is written of some lines, and said of bad ones.
fn exported(lines: &[u8], format: Format, selection: Selection) -> (String, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("audit.jsonl");
    fs::write(&file, lines).unwrap();
    let (mut out, mut bad) = (Vec::new(), Vec::new());
    let redactor = Redactor::new().unwrap();
    export(&file, format, &selection, Some(&redactor), &mut out, |one| bad.push(one.to_string())).unwrap();
    let bad = bad.into_iter().map(|one| one.replace(&file.display().to_string(), "log")).collect();
    (String::from_utf8(out).unwrap(), bad)
}

fn lines(records: &[Value]) -> Vec<u8> {
    records.iter().map(|record| format!("{record}\n")).collect::<String>().into_bytes()
}

fn events(records: &[Value]) -> Vec<Value> {
    let (text, bad) = exported(&lines(records), Format::Ocsf, Selection::default());
    assert_eq!(bad, Vec::<String>::new());
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Panics unless an event has what its class requires.
fn assert_valid(event: &Value) {
    let number = |name: &str| event[name].as_u64().unwrap_or_else(|| panic!("no {name} in {event}"));
    let class = number("class_uid");
    assert_eq!((number("category_uid"), number("type_uid")), (class / 1000, class * 100 + number("activity_id")));
    assert!(number("time") > 1_790_000_000_000 && number("severity_id") < 7);
    let required: &[&str] = match class {
        1001 => &["/actor/process/pid", "/device/type_id", "/file/name", "/file/type_id"],
        1003 => &["/actor/process/pid", "/device/type_id", "/kernel/name", "/kernel/type_id"],
        1007 => &["/actor/process/pid", "/device/type_id", "/process/pid"],
        2004 => &["/finding_info/uid", "/evidences/0/actor/process/pid", "/status_id"],
        4001 => &["/actor/process/pid", "/dst_endpoint", "/connection_info/direction_id"],
        4003 => &["/actor/process/pid", "/query/hostname", "/src_endpoint/uid"],
        6002 => &["/app/name"],
        other => panic!("class {other}: {event}"),
    };
    let always = ["/metadata/version", "/metadata/product/name", "/device/uid", "/message"];
    for place in required.iter().chain(&always) {
        assert!(event.pointer(place).is_some(), "no {place} in {event}");
    }
    assert!(!event.to_string().contains("null") && !event.to_string().contains("hunter2"), "{event}");
}

#[test]
fn every_kind_of_record_is_a_valid_event() {
    let of = |what: &What| {
        let about =
            json!({ "what": what, "reason": "so", "request": "J1RZ", "act": act(Operation::Delete, "/srv/prod/db") });
        record(1, about)
    };
    let events = events(&WHAT.iter().map(of).collect::<Vec<_>>());
    assert_eq!(events.len(), WHAT.len());
    events.iter().for_each(assert_valid);
    let without = |what: &What| record(1, json!({ "what": what, "session": { "id": "S0", "name": "demo", "uid": 0 } }));
    let (text, bad) =
        exported(&lines(&WHAT.iter().map(without).collect::<Vec<_>>()), Format::Ocsf, Selection::default());
    text.lines().for_each(|line| assert_valid(&serde_json::from_str(line).unwrap()));
    assert_eq!((text.lines().count(), bad.len()), (13, 13));
    assert_eq!(bad[0], "log:1: the record has no `act` that can be read");
}

#[test]
fn every_operation_is_a_valid_event_of_its_class() {
    let object = |operation: &Operation| match operation.name() {
        "connect" => "tcp [2001:db8::1]:443 (a.example, b.example)",
        "ptrace" | "kill" | "schedule" => "process 77 (sh)",
        "unix-connect" => "/run/docker.sock",
        "resolve" => "a.example",
        "reboot" => "call reboot",
        "command" => "/usr/bin/rm --token hunter2",
        _ => "/srv/prod/db",
    };
    let of = |operation: &Operation| record(1, json!({ "what": "refused", "act": act(*operation, object(operation)) }));
    let events = events(&Operation::ALL.iter().map(of).collect::<Vec<_>>());
    events.iter().for_each(assert_valid);
    let of = |operation: Operation| &events[operation as usize];
    assert_eq!(of(Operation::Delete)["type_uid"], 100_104);
    assert_eq!(of(Operation::Delete)["file"]["path"], "/srv/prod/db");
    assert_eq!(
        of(Operation::Connect)["dst_endpoint"],
        json!({ "ip": "2001:db8::1", "port": 443, "hostname": "a.example" })
    );
    assert_eq!(of(Operation::Connect)["connection_info"]["protocol_name"], "tcp");
    assert_eq!(of(Operation::Kill)["process"], json!({ "pid": 77, "name": "sh" }));
    assert_eq!(of(Operation::Reboot)["kernel"]["system_call"], "reboot");
    assert_eq!(of(Operation::Command)["process"]["cmd_line"], "/usr/bin/rm --token '[redacted: secret]'");
    assert_eq!(of(Operation::Delete)["disposition"], "Blocked");
}

#[test]
fn a_decision_closes_its_finding_and_names_who_decided() {
    let held =
        json!({ "what": "held", "question": 5, "request": "J1RZ", "act": act(Operation::Delete, "/srv/prod/db") });
    let mut decided = held.clone();
    decided["what"] = "decided".into();
    decided["decision"] = "approved".into();
    decided["approver"] = json!({ "uid": 0, "user": "root", "pid": 176 });
    decided["reason"] = "ok".into();
    let events = events(&[record(1, held), record(2, decided)]);
    assert_eq!((&events[0]["type_uid"], &events[1]["type_uid"]), (&200_401.into(), &200_403.into()));
    assert_eq!(events[0]["finding_info"]["uid"], events[1]["finding_info"]["uid"]);
    assert_eq!(events[0]["actor"]["process"]["pid"], 42);
    assert_eq!(events[1]["actor"], json!({ "user": { "uid": "0", "name": "root" }, "process": { "pid": 176 } }));
    assert_eq!((&events[1]["disposition"], &events[1]["status_detail"]), (&"Approved".into(), &"ok".into()));
}

#[test]
fn bad_lines_are_named_and_the_rest_is_not_lost() {
    let good = |sequence| record(sequence, json!({ "what": "daemon-started" })).to_string();
    let text =
        [&good(1), "{\"sequence\":2,\"bo", &good(2), "{}", "{\"sequence\":4,\"time\":\"x\"}", "", &good(3), "{\"a"];
    let unknown = record(9, json!({ "what": "danced" })).to_string();
    for format in [Format::Ocsf, Format::Csv, Format::Jsonl] {
        let (written, bad) = exported(text.join("\n").as_bytes(), format, Selection::default());
        assert_eq!(written.lines().count() - usize::from(format == Format::Csv), 3, "{written}");
        let places: Vec<&str> = bad.iter().map(|bad| &bad[..6]).collect();
        assert_eq!(places, ["log:2:", "log:4:", "log:5:", "log:6:", "log:8:"], "{bad:?}");
        assert!(bad[0].contains("the line is no record, or a record that was not written whole: EOF"), "{bad:?}");
        assert!(bad[1].ends_with("the record has no `sequence` that can be read"), "{bad:?}");
        // What is new to this version can still be read where nothing is made of it.
        let (_, bad) = exported(unknown.as_bytes(), format, Selection::default());
        assert_eq!(bad.len(), usize::from(format == Format::Ocsf), "{bad:?}");
    }
}

#[test]
fn no_more_is_written_than_is_asked_for() {
    let records: Vec<Value> = (1..=9).map(|number| record(number, json!({ "what": "daemon-started" }))).collect();
    let numbers = |selection| {
        let (text, _) = exported(&lines(&records), Format::Jsonl, selection);
        let number = |line: &str| serde_json::from_str::<Value>(line).unwrap()["sequence"].as_u64().unwrap();
        text.lines().map(number).collect::<Vec<_>>()
    };
    let time = |second: u64| format!("2026-11-21T05:04:{second:02}.5Z").parse().ok();
    assert_eq!(numbers(Selection { from: Some(3), to: Some(5), ..Selection::default() }), [3, 4, 5]);
    assert_eq!(numbers(Selection { since: time(7), until: time(9), ..Selection::default() }), [7, 8]);
}

#[test]
fn records_are_as_they_were_written_where_nothing_is_secret() {
    let records = [record(1, json!({ "what": "refused", "act": act(Operation::Delete, "/srv/é\n") }))];
    let (text, _) = exported(&lines(&records), Format::Jsonl, Selection::default());
    assert_eq!(text, records[0].to_string().replace("hunter2", "[redacted: secret]") + "\n");
    let failure =
        export(Path::new("/no/such"), Format::Csv, &Selection::default(), None, Vec::new(), |_| {}).unwrap_err();
    assert!(failure.to_string().starts_with("cannot read the audit log /no/such: "), "{failure}");
}
