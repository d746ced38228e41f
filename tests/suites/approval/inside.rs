//! Inside: no tree answers itself, root's neither, whichever way it comes to a socket, and whatever it does to others.

use std::io::{IoSliceMut, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::time::Duration;

use agent_guard_tests::guest::{AGENT_SOCKET, CONTROL_SOCKET, deny, eventually, http, never_within, proc_state};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use serde_json::{Value, json};

use crate::{Held, daemon, said};

/// A way to approve from inside, and what must come of it.
fn is_no_way(name: &str, way: &str, expected: &str) {
    let mut held = Held::with(name, way);
    let said = held.said();
    assert!(said.contains(expected), "{said}\n{}", held.run.stderr());
    held.goes_on_when_approved();
}

fn knock(way: &str, socket: &str) -> String {
    format!("agent-guard-knock {way} {socket} POST /v1/requests/$id/approve")
}

#[test]
fn approval_from_inside_is_refused_to_the_client() {
    is_no_way("by-client", "agent-guard approve $id 2>&1; echo rc=$?", "rc=4");
}

#[test]
fn approval_from_inside_is_refused_to_raw_http_on_the_control_socket() {
    is_no_way("by-control", &knock("self", CONTROL_SOCKET), "403 ");
}

#[test]
fn approval_from_inside_is_refused_to_raw_http_on_the_agent_socket() {
    is_no_way("by-agent", &knock("self", AGENT_SOCKET), "403 ");
}

#[test]
fn approval_from_inside_is_refused_to_a_double_forked_orphan() {
    is_no_way("by-orphan", &knock("orphan", CONTROL_SOCKET), "403 ");
}

#[test]
fn approval_from_inside_is_refused_to_a_thread_of_a_dead_leader() {
    is_no_way("by-thread", &knock("thread", CONTROL_SOCKET), "403 ");
}

#[test]
fn approval_from_inside_is_refused_to_a_process_that_is_gone_before_it_is_looked_at() {
    let mut held =
        Held::with("by-leaver", &format!("for i in 1 2 3 4 5; do {}; done", knock("leaver", CONTROL_SOCKET)));
    assert_eq!(held.said().matches("left").count(), 5);
    never_within(Duration::from_secs(1), "the file goes", || !held.file.exists());
    held.goes_on_when_approved();
}

#[test]
fn approval_from_inside_is_refused_over_a_connection_that_a_dead_child_has_made() {
    is_no_way("by-proxy", &knock("proxy", CONTROL_SOCKET), "403 ");
}

#[test]
fn approval_from_inside_is_refused_to_a_member_of_the_group() {
    is_no_way("by-su", "su approver -c \"agent-guard approve $id\" 2>&1; echo rc=$?", "rc=4");
}

#[test]
fn approval_over_a_connection_from_inside_is_refused_whoever_speaks() {
    let gift = "/tmp/gift.sock";
    let listener = UnixListener::bind(gift).unwrap();
    let way = format!("agent-guard-knock gift {CONTROL_SOCKET} x x {gift}");
    let held = Held::with("by-gift", &way);
    let (giver, _) = listener.accept().unwrap();
    let mut connection = UnixStream::from(descriptor(&giver));
    let call = format!("POST /v1/requests/{}/approve HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n", held.id);
    connection.write_all(call.as_bytes()).unwrap();
    let mut reply = String::new();
    connection.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 403 "), "{reply}");
    drop(giver);
    held.goes_on_when_approved();
}

/// A descriptor that a peer passes.
fn descriptor(from: &UnixStream) -> OwnedFd {
    let (mut byte, mut space) = ([0], nix::cmsg_space!(i32));
    let mut slices = [IoSliceMut::new(&mut byte)];
    let message = recvmsg::<()>(from.as_raw_fd(), &mut slices, Some(&mut space), MsgFlags::empty()).unwrap();
    let rights = message.cmsgs().unwrap().find_map(|message| match message {
        ControlMessageOwned::ScmRights(descriptors) => descriptors.first().copied(),
        _ => None,
    });
    // SAFETY: the kernel has just made this descriptor for this process; nobody else knows its number.
    unsafe { OwnedFd::from_raw_fd(rights.unwrap()) }
}

/// What a process in a tree may call, by either socket: it reads the description, and what is its own session's.
const READS: [&str; 7] = [
    "GET /v1/grants",
    "GET /v1/openapi.json",
    "GET /v1/requests",
    "GET /v1/requests/{id}",
    "GET /v1/requests/{id}/reach",
    "GET /v1/sessions",
    "GET /v1/sessions/{id}",
];

/// What only a guarded process may call.
const SPEAKS: &str = "POST /v1/intents";

/// A call of the API, with a body that fits it.
struct Call {
    method: String,
    /// Its path as the description has it.
    template: String,
    path: String,
    body: String,
}

/// Every call that the API's own description has, so that none can be forgotten here.
fn calls(request: &str, session: &str) -> Vec<Call> {
    let description = http(CONTROL_SOCKET, "GET", "/v1/openapi.json", None).unwrap().json();
    let mut calls = Vec::new();
    for (template, methods) in description["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let body = body(&description, operation);
            let id = if template.starts_with("/v1/requests/") { request } else { session };
            calls.extend(paths(&description, operation, template, id).into_iter().map(|path| Call {
                method: method.to_uppercase(),
                template: template.clone(),
                path,
                body: body.clone(),
            }));
        }
    }
    calls
}

/// A schema, wherever it stands.
fn schema<'a>(description: &'a Value, given: &'a Value) -> &'a Value {
    given["$ref"].as_str().map_or(given, |place| description.pointer(place.trim_start_matches('#')).unwrap())
}

/// The paths that a template stands for: one with each word that may stand in it.
fn paths(description: &Value, operation: &Value, template: &str, id: &str) -> Vec<String> {
    let Some((before, rest)) = template.split_once('{') else { return vec![template.to_owned()] };
    let (name, after) = rest.split_once('}').unwrap();
    let parameter = operation["parameters"].as_array().unwrap().iter().find(|parameter| parameter["name"] == *name);
    let words = match schema(description, &parameter.unwrap()["schema"])["enum"].as_array() {
        Some(words) => words.iter().map(|word| word.as_str().unwrap()).collect(),
        None => vec![id],
    };
    words.into_iter().flat_map(|word| paths(description, operation, &format!("{before}{word}{after}"), id)).collect()
}

/// The smallest body that a call takes; empty for one that takes none.
fn body(description: &Value, operation: &Value) -> String {
    let Some(given) = operation.pointer("/requestBody/content/application~1json/schema") else {
        return String::new();
    };
    let schema = schema(description, given);
    let required = schema["required"].as_array().into_iter().flatten();
    let fields = required.map(|name| {
        let name = name.as_str().unwrap();
        let value = match schema["properties"][name]["type"].as_str() {
            Some("string") => json!("x"),
            Some("integer") => json!(1),
            Some("array") => json!([]),
            other => unreachable!("{given}: {name} is of an unknown type, {other:?}"),
        };
        (name.to_owned(), value)
    });
    Value::Object(fields.collect()).to_string()
}

#[test]
fn approval_is_not_the_only_thing_that_is_refused_inside() {
    daemon();
    let name = "all-calls";
    let calls = calls("$id", name);
    let tries = calls.iter().flat_map(|Call { method, template, path, body }| {
        [CONTROL_SOCKET, AGENT_SOCKET].map(|socket| {
            format!(
                "printf '%s ' {method} '{template}' {socket}; \
                 agent-guard-knock self {socket} {method} \"{path}\" '{body}' | head -n 1 | cut -c 1-3\n"
            )
        })
    });
    let mut held = Held::with(name, &tries.collect::<String>());
    let said = held.said();
    let answers: Vec<Vec<&str>> =
        said.lines().filter(|line| *line != "over").map(|line| line.split(' ').collect()).collect();
    assert_eq!(answers.len(), 2 * calls.len(), "{said}");
    assert!(calls.len() > 17, "hardly all there are");
    for answer in answers {
        let [method, template, socket, status] = answer[..] else { unreachable!("{answer:?} in {said}") };
        let expected = match format!("{method} {template}").as_str() {
            // It may read those of its session, and there is none.
            "GET /v1/grants/{id}" => "404",
            // What it says of its acts decides nothing.
            SPEAKS => "201",
            call if READS.contains(&call) => "200",
            _ => "403",
        };
        assert_eq!(status, expected, "{method} {template} by {socket}");
    }
    held.goes_on_when_approved();
    // The other half: whoever may make the calls finds nothing wrong with their form.
    for Call { method, template, path, body } in self::calls("ZZZZ", "no-such-session") {
        let body = serde_json::from_str(&body).ok();
        let reply = http(CONTROL_SOCKET, &method, &path, body.as_ref()).unwrap();
        if format!("{method} {template}") == SPEAKS {
            assert_eq!(reply.status, 403, "{reply:?}");
            continue;
        }
        assert!(![400, 403].contains(&reply.status), "{method} {path}: {reply:?}");
    }
}

#[test]
fn approval_requests_of_others_are_not_there_for_a_guarded_process() {
    let other = Held::simple("other");
    let script = format!(
        "agent-guard requests --json; agent-guard sessions --json; agent-guard show $id >/dev/null; echo own=$?; \
         agent-guard show {0} 2>&1; echo other=$?; agent-guard-knock self {CONTROL_SOCKET} GET /v1/requests/{0}",
        other.id
    );
    let mut held = Held::with("reader", &script);
    let said = held.said();
    assert!(said.contains("own=0") && said.contains("other=5") && said.contains("404 "), "{said}");
    assert!(said.contains("/srv/held/reader") && !said.contains("/srv/held/other"), "{said}");
    held.goes_on_when_approved();
    other.goes_on_when_approved();
}

#[test]
fn approval_is_not_got_by_stopping_the_keeper() {
    let mut held = Held::with("keeper-stopped", "kill -STOP $PPID; echo stopped=$?");
    assert!(held.said().contains("stopped=0"));
    eventually("a stopped keeper", || (proc_state(held.run.pid()) == Some('T')).then_some(()));
    never_within(Duration::from_secs(5), "the file goes", || !held.file.exists());
    held.still_waits();
    let (status, said) = said(&Command::new("kill").args(["-CONT", &held.run.pid().to_string()]).output().unwrap());
    assert_eq!(status, 0, "{said}");
    held.goes_on_when_approved();
}

#[test]
fn approval_is_not_got_by_killing_the_keeper() {
    let mut held = Held::with("keeper-killed", "kill -KILL $PPID");
    // Not `said`: what has been started has ended by then.
    eventually("the shell goes on", || held.run.stdout().contains("over\n").then_some(()));
    eventually("the keeper's end", || held.run.has_ended().then_some(()));
    never_within(Duration::from_secs(5), "the file goes", || !held.file.exists());
    held.still_waits();
    deny(&held.id);
    eventually("the refusal", || held.run.stdout().contains("rm=1").then_some(()));
    assert!(held.file.exists());
}

#[test]
fn approval_is_not_got_by_waking_a_held_sibling() {
    let wake = "i=0; while [ $i -lt 200 ]; do kill -CONT $held; kill -USR1 $$ ; i=$((i+1)); done";
    let mut held = Held::with("woken", &format!("trap : USR1\n{wake}"));
    held.said();
    held.goes_on_when_approved();
}
