//! Records as events of the Open Cybersecurity Schema Framework, one record an event: an act is one of the class of its operation, a
//! question to people a finding that is closed by its decision, and what sessions and the daemon do a lifecycle.
//!
//! It must not know files. What the schema has no place for stands in `unmapped`.

use std::net::SocketAddr;

use agent_guard_common::operation::{Operation, Target};
use serde::Deserialize as _;
use serde_json::{Map, Value, json};

use super::classes::{About, Class, class, reading};
use super::{Fault, Record};
use crate::audit::record::What;
use crate::text::command_line;

/// The schema's version.
const VERSION: &str = "1.5.0";
/// What is said of a machine or file of which no more is known.
const UNKNOWN: u32 = 0;

/// The event of a record.
pub(super) fn event(record: &Record) -> Result<Value, Fault> {
    let value = &record.value;
    let what = What::deserialize(&value["what"]).map_err(|_unknown| Fault::Without("what"))?;
    let reading = reading(what, value["decision"].as_str());
    let act = value.get("act").map(Act::read).transpose()?;
    let (class, activity, mut event) = match (reading.about, &act) {
        (About::Act, Some(act)) => {
            let (class, activity) = class(act.operation);
            (class, activity, act.objects(value))
        }
        (About::Finding(activity), Some(act)) => (Class::FINDING, activity, finding(record, act)),
        (About::Lifecycle(activity), _) => (Class::LIFECYCLE, activity, lifecycle(value)),
        (About::Act | About::Finding(_), None) => return Err(Fault::Without("act")),
    };
    let actor = match &act {
        Some(act) if class != Class::FINDING || value.get("approver").is_none() => act.actor(),
        Some(_) | None => person(value),
    };
    let (action, disposition) = reading.control.unzip();
    let Class(class_uid, class_name) = class;
    event.extend(fields(json!({
        "category_uid": class_uid / 1000,
        "class_uid": class_uid,
        "class_name": class_name,
        "activity_id": activity.0,
        "activity_name": activity.1,
        "type_uid": class_uid * 100 + activity.0,
        "time": record.time.as_millisecond(),
        "severity_id": reading.severity.0,
        "severity": reading.severity.1,
        "status_id": reading.status.0,
        "status": reading.status.1,
        "status_detail": value["reason"],
        "action_id": action.map(|(id, _)| id),
        "action": action.map(|(_, caption)| caption),
        "disposition_id": disposition.map(|(id, _)| id),
        "disposition": disposition.map(|(_, caption)| caption),
        "count": value["times"],
        "message": message(value),
        "metadata": {
            "version": VERSION,
            "profiles": ["host", "security_control"],
            // Which version has written the record, the record does not say.
            "product": { "name": "agent-guard", "vendor_name": "agent-guard" },
            "log_name": "audit",
            "event_code": value["what"],
            "sequence": record.head.sequence,
            // By which `audit verify --head` finds the record that the event was made of.
            "uid": record.head.to_string(),
            "correlation_uid": correlation(value),
            "original_time": value["time"],
        },
        "device": machine(value),
        "actor": actor,
        "policy": { "name": value["act"]["rule"]["name"], "desc": value["act"]["rule"]["message"] },
        "unmapped": {
            "operation": value["act"]["operation"],
            "object": value["act"]["object"],
            "other": value["act"]["other"],
            "label": value["act"]["label"],
            "tier": value["act"]["tier"],
            "profile": session(value)["profile"],
            "terms": value["act"]["rule"]["terms"],
            "impact": value["act"]["impact"],
            "sent": value["act"]["sent"],
            "decision": value["decision"],
            "question": value["question"],
        },
    })));
    Ok(without_gaps(event.into()))
}

/// An act, with what has to be known of it here.
struct Act<'a> {
    operation: Operation,
    object: &'a str,
    value: &'a Value,
}

impl<'a> Act<'a> {
    fn read(value: &'a Value) -> Result<Self, Fault> {
        let operation = value["operation"].as_str().and_then(Operation::from_name);
        let operation = operation.ok_or(Fault::Without("operation"))?;
        let object = value["object"].as_str().ok_or(Fault::Without("object"))?;
        Ok(Self { operation, object, value })
    }

    /// Whoever acts.
    fn actor(&self) -> Value {
        let (value, process) = (&self.value, self.process());
        json!({
            "process": process,
            "user": process["user"],
            "session": { "uid": value["session"]["id"], "terminal": value["process"]["tty"] },
            "app_name": value["session"]["name"],
        })
    }

    fn process(&self) -> Value {
        let process = &self.value["process"];
        let ancestors = process["ancestry"].as_array().into_iter().flatten();
        let ancestry = ancestors
            .map(|one| json!({ "pid": one["pid"], "name": one["comm"], "cmd_line": command(&one["argv"]) }))
            .collect::<Vec<_>>();
        json!({
            "pid": process["pid"],
            "tid": process["tid"],
            "name": process["comm"],
            "cmd_line": command(&process["argv"]),
            "file": process["exe"].as_str().map(file),
            "working_directory": process["cwd"],
            "user": { "uid": process["uid"].as_u64().map(|uid| uid.to_string()) },
            "ancestry": ancestry,
        })
    }

    /// What is acted on, as the operation's class has it.
    fn objects(&self, record: &Value) -> Map<String, Value> {
        let object = self.object;
        fields(match self.operation.target() {
            Target::Content | Target::Entry | Target::Entries => {
                json!({ "file": file(object), "file_result": self.value["other"].as_str().map(file) })
            }
            // It is the process that acts, and what it is about to become.
            Target::Program => json!({ "process": { "pid": self.value["process"]["pid"], "file": file(object) } }),
            Target::Command => json!({ "process": { "pid": self.value["process"]["pid"], "cmd_line": object } }),
            Target::Process => json!({ "process": target(object) }),
            Target::Endpoint => endpoint(object),
            Target::Name => json!({
                "query": { "hostname": object },
                // Who was asked is not known: the guard has asked in its own name.
                "src_endpoint": { "uid": record["boot"] },
            }),
            Target::Socket => json!({
                "dst_endpoint": { "name": object },
                "connection_info": { "protocol_name": "unix", "direction_id": OUTBOUND },
            }),
            Target::Call => {
                let call = object.strip_prefix("call ");
                json!({ "kernel": { "name": call.unwrap_or(object), "type_id": SYSTEM_CALL, "system_call": call } })
            }
        })
    }
}

/// From the machine to elsewhere.
const OUTBOUND: u32 = 2;
/// The kind of a kernel's resource.
const SYSTEM_CALL: u32 = 2;

fn finding(record: &Record, act: &Act<'_>) -> Map<String, Value> {
    let mut evidence = act.objects(&record.value);
    // What evidence has no place for stands in `unmapped`.
    evidence.retain(|name, _| name != "kernel" && name != "file_result");
    evidence.insert("actor".to_owned(), act.actor());
    fields(json!({
        "finding_info": {
            "uid": correlation(&record.value).unwrap_or_else(|| record.head.to_string()),
            "title": message(&record.value),
            "types": [record.value["what"]],
        },
        "evidences": [evidence],
    }))
}

fn lifecycle(record: &Value) -> Map<String, Value> {
    let session = session(record);
    let name = session["name"].as_str().unwrap_or("agent-guard");
    fields(json!({ "app": { "name": name, "uid": session["id"], "vendor_name": "agent-guard" } }))
}

/// Who answered or steered; or else the user whose session it is.
fn person(record: &Value) -> Value {
    let (approver, session) = (&record["approver"], session(record));
    let uid = approver["uid"].as_u64().or_else(|| session["uid"].as_u64());
    json!({
        "user": { "uid": uid.map(|uid| uid.to_string()), "name": approver["user"] },
        "process": { "pid": approver["pid"] },
    })
}

/// The session that a record is about, or the act's.
fn session(record: &Value) -> &Value {
    let of_act = &record["act"]["session"];
    if of_act.is_null() { &record["session"] } else { of_act }
}

/// What ties the records of one act together: a request's id, or a question's, which is unique in its boot. The end of an
/// approval belongs to the request that it was of.
fn correlation(record: &Value) -> Option<String> {
    let question = || Some(format!("{}:{}", record["boot"].as_str()?, record["question"].as_u64()?));
    let grant = || record["grant"].as_str().map(str::to_owned);
    record["request"].as_str().map(str::to_owned).or_else(question).or_else(grant)
}

/// A log knows its machine by nothing but the boot.
fn machine(record: &Value) -> Value {
    json!({ "type_id": UNKNOWN, "type": "Unknown", "uid": record["boot"], "boot_uid": record["boot"] })
}

fn message(record: &Value) -> String {
    let act = &record["act"];
    let parts = [&record["what"], &record["decision"], &act["operation"], &act["object"]];
    parts.into_iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
}

fn command(argv: &Value) -> Option<String> {
    let words: Vec<String> = argv.as_array()?.iter().filter_map(|word| word.as_str().map(str::to_owned)).collect();
    (!words.is_empty()).then(|| command_line(&words))
}

fn file(path: &str) -> Value {
    let name = path.rsplit('/').find(|name| !name.is_empty()).unwrap_or("/");
    json!({ "path": path, "name": name, "type_id": UNKNOWN, "type": "Unknown" })
}

/// A process by how the guard calls it: `process PID (NAME)`.
fn target(object: &str) -> Value {
    let told = object.strip_prefix("process ").and_then(|rest| rest.split_once(' '));
    let parts = told.and_then(|(pid, name)| Some((pid.parse::<u32>().ok()?, name)));
    parts.map_or_else(
        || json!({ "uid": object }),
        |(pid, name)| json!({ "pid": pid, "name": name.trim_start_matches('(').trim_end_matches(')') }),
    )
}

/// An endpoint by how the guard calls it: `PROTOCOL ADDRESS:PORT (NAME, NAME)`.
fn endpoint(object: &str) -> Value {
    let (told, names) = object.split_once(" (").unwrap_or((object, ""));
    let (protocol, address) = told.rsplit_once(' ').unwrap_or(("", told));
    let name = names.trim_end_matches(')').split(", ").find(|name| !name.is_empty());
    let endpoint = address.parse::<SocketAddr>().map_or_else(
        |_other| json!({ "name": object }),
        |address| json!({ "ip": address.ip(), "port": address.port(), "hostname": name }),
    );
    json!({
        "dst_endpoint": endpoint,
        "connection_info": { "protocol_name": protocol, "direction_id": OUTBOUND },
    })
}

/// The fields of an object.
fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    }
}

/// A value without what says nothing: consumers take a null for a value of another type.
fn without_gaps(value: Value) -> Value {
    let says = |value: &Value| match value {
        Value::Null => false,
        Value::Array(values) => !values.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    };
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| (name, without_gaps(value)))
            .filter(|(_, value)| says(value))
            .collect(),
        Value::Array(values) => values.into_iter().map(without_gaps).filter(says).collect(),
        other => other,
    }
}
