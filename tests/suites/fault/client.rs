//! Owns bad clients: whatever bytes come in, each gets its error, nobody else notices, and nothing is granted.
//!
//! Must not test who may do what.

use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::thread;
use std::time::Duration;

use agent_guard_tests::guest::{
    AGENT_SOCKET, CONTROL_SOCKET, Run, approve, as_user, await_request_in, eventually, exchange, http, request,
    sessions,
};
use nix::libc;
use serde_json::json;

use crate::{daemon, file, id_of, is_well, run, said};

const APPROVER: u32 = 1001;
const MALLORY: u32 = 1002;
const GROUP: u32 = 900;

/// Longer than any of the daemon's own limits.
const LIMIT: Duration = Duration::from_secs(60);

/// What no client sends, about a request that waits.
fn garbage(id: &str) -> Vec<(&'static str, Vec<u8>)> {
    let post = |path: &str, headers: &str, body: &[u8]| {
        [format!("POST {path} HTTP/1.1\r\nhost: x\r\n{headers}\r\n").as_bytes(), body].concat()
    };
    let approve = format!("/v1/requests/{id}/approve");
    let body = |path: &str, body: &[u8]| post(path, &format!("content-length: {}\r\n", body.len()), body);
    let noise: Vec<u8> = (0..8192_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    vec![
        ("nothing", Vec::new()),
        ("one byte", b"P".to_vec()),
        ("half a request line", format!("POST {approve}").into_bytes()),
        ("half a header", format!("POST {approve} HTTP/1.1\r\nhost: x\r\ncontent-le").into_bytes()),
        ("no body", post(&approve, "content-length: 20\r\n", b"")),
        ("half a body", post(&approve, "content-length: 20\r\n", b"{\"reason\"")),
        ("a body of no chunk", post(&approve, "transfer-encoding: chunked\r\n", b"")),
        ("a chunk of no size", post(&approve, "transfer-encoding: chunked\r\n", b"nonsense\r\n{}\r\n0\r\n\r\n")),
        ("a chunk that is too long", post(&approve, "transfer-encoding: chunked\r\n", b"ffffffffffffffff\r\n{}\r\n")),
        ("a negative length", post(&approve, "content-length: -1\r\n", b"{}")),
        ("a length that is none", post(&approve, "content-length: two\r\n", b"{}")),
        ("a length beyond numbers", post(&approve, "content-length: 99999999999999999999999\r\n", b"{}")),
        ("two lengths", post(&approve, "content-length: 2\r\ncontent-length: 9\r\n", b"{}")),
        ("HTTP/0.9", format!("GET {approve}\r\n").into_bytes()),
        ("HTTP/9.9", format!("POST {approve} HTTP/9.9\r\n\r\n").into_bytes()),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12\x04\0\0\0\0\0".to_vec()),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec()),
        ("noise", noise),
        ("zeros", vec![0; 100_000]),
        ("newlines", b"\r\n".repeat(50_000)),
        ("10,000 headers", post(&approve, &"x: y\r\n".repeat(10_000), b"")),
        ("a header of 1 MiB", post(&approve, &format!("x: {}\r\n", "y".repeat(1 << 20)), b"")),
        ("a path of 1 MiB", post(&"/a".repeat(1 << 19), "", b"")),
        ("a body of 2 MiB", body(&approve, format!("{{\"reason\":\"{}\"}}", "x".repeat(2 << 20)).as_bytes())),
        ("a policy of 2 MiB", body("/v1/policy/check", format!("{{\"text\":\"{}\"}}", "x".repeat(2 << 20)).as_bytes())),
        ("half of JSON", body(&approve, b"{\"reason\":")),
        ("a word", body(&approve, b"yes")),
        ("a list", body(&approve, b"[]")),
        ("a list of fields", body(&approve, b"[\"why\"]")),
        ("nothing in JSON", body(&approve, b"null")),
        ("a wrong type", body(&approve, b"{\"reason\":1}")),
        ("an unknown field", body(&approve, b"{\"force\":true}")),
        ("a field twice", body(&approve, b"{\"reason\":\"a\",\"reason\":\"b\"}")),
        ("not UTF-8", body(&approve, b"{\"reason\":\"\xff\xfe\"}")),
        ("half a surrogate", body(&approve, b"{\"reason\":\"\\ud800\"}")),
        ("deep JSON", body(&approve, &[b"{\"reason\":".to_vec(), b"[".repeat(200_000)].concat())),
        ("a session without fields", body("/v1/sessions", b"{}")),
        ("a session of nobody", body("/v1/sessions", b"{\"child_pid\":-5,\"argv\":[],\"cwd\":\"\"}")),
        ("an unknown answer", body(&format!("/v1/requests/{id}/grant"), b"{}")),
        ("an unknown method", format!("FROB {approve} HTTP/1.1\r\nhost: x\r\n\r\n").into_bytes()),
        ("a tunnel", b"CONNECT x:1 HTTP/1.1\r\nhost: x\r\n\r\n".to_vec()),
        ("an approval that is read", format!("GET {approve} HTTP/1.1\r\nhost: x\r\n\r\n").into_bytes()),
        ("an id of bytes", body("/v1/requests/%ff%fe%00/approve", b"{}")),
        ("a way around", body("/v1/requests/../requests/%2e%2e/approve", b"{}")),
        ("an unknown filter", b"GET /v1/requests?state=open HTTP/1.1\r\nhost: x\r\n\r\n".to_vec()),
        ("an unknown question", b"GET /v1/requests?all=1 HTTP/1.1\r\nhost: x\r\n\r\n".to_vec()),
    ]
}

#[test]
fn fault_no_bytes_on_a_socket_grant_anything_or_keep_others_from_being_served() {
    let daemon = daemon();
    let held = file("held", "garbage");
    let mut tree = Run::shell("garbage", "rm /srv/held/garbage; echo rm=$?");
    let id = id_of(&await_request_in("garbage"));
    for socket in [CONTROL_SOCKET, AGENT_SOCKET] {
        let senders: Vec<_> = garbage(&id)
            .into_iter()
            .map(|(what, bytes)| (what, thread::spawn(move || exchange(socket, &bytes, LIMIT))))
            .collect();
        // Meanwhile, who has manners is served.
        assert_eq!(http(CONTROL_SOCKET, "GET", "/v1/status", None).unwrap().status, 200);
        for (what, sender) in senders {
            match sender.join().unwrap() {
                // No HTTP is due to who speaks none.
                Ok(reply) => {
                    assert!(reply.status == 0 || (400..506).contains(&reply.status), "{socket}, {what}: {reply:?}");
                    // What the daemon says itself, and not the parser before it, is its own kind of error.
                    if !reply.body.is_empty() {
                        assert!(!reply.json()["error"]["message"].as_str().unwrap().is_empty(), "{what}: {reply:?}");
                    }
                }
                Err(error) => {
                    let hung_up = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
                    assert!(hung_up.contains(&error.kind()), "{socket}, {what}: {error}");
                }
            }
        }
    }
    is_well(daemon);
    assert!(held.exists());
    assert_eq!(request(&id)["state"], "pending");
    assert!(sessions().iter().all(|session| session["name"] == "garbage" || session["pending"] == 0));
    // The other half: the same path with a body as it should be.
    let reply = http(CONTROL_SOCKET, "POST", &format!("/v1/requests/{id}/approve"), Some(&json!({"reason": "ok"})));
    assert_eq!(reply.unwrap().status, 200);
    assert_eq!(tree.wait(), 0);
    assert!(tree.stdout().contains("rm=0"));
}

#[test]
fn fault_errors_of_the_api_say_what_is_wrong() {
    daemon();
    let cases = [
        ("POST", "/v1/requests/ZZZZ/approve", json!({"reason": 1}), 400, "malformed", "invalid type"),
        ("POST", "/v1/requests/ZZZZ/approve", json!({"force": true}), 400, "malformed", "unknown field `force`"),
        ("POST", "/v1/requests/ZZZZ/approve", json!({}), 404, "unknown-request", "no request ZZZZ"),
        ("POST", "/v1/requests/ZZZZ/grant", json!({}), 404, "unknown-call", "/v1/openapi.json"),
        ("POST", "/v1/sessions/none/halt", json!({}), 404, "unknown-session", "no session none"),
        (
            "POST",
            "/v1/policy/check",
            json!({"text": "x".repeat(2 << 20)}),
            413,
            "too-large",
            "longer than 1048576 bytes",
        ),
        ("DELETE", "/v1/sessions", json!({}), 405, "wrong-method", "no such call with this method"),
    ];
    for (method, path, body, status, code, words) in cases {
        let reply = http(CONTROL_SOCKET, method, path, Some(&body)).unwrap();
        assert_eq!(reply.status, status, "{method} {path}: {reply:?}");
        let error = &reply.json()["error"];
        assert_eq!(error["code"], code);
        assert!(error["message"].as_str().unwrap().contains(words), "{error}");
    }
}

/// Connects so many times, as another user, and leaves it at that.
fn hang(socket: &'static str, uid: u32, gid: u32, count: usize) -> Vec<UnixStream> {
    let hang = move || {
        // SAFETY: raw calls change this thread's own credentials and no other's; it ends with this closure.
        let changed = unsafe {
            libc::syscall(libc::SYS_setresgid, gid, gid, gid) + libc::syscall(libc::SYS_setresuid, uid, uid, uid)
        };
        assert_eq!(changed, 0);
        (0..count).map(|_| UnixStream::connect(socket).unwrap()).collect()
    };
    thread::spawn(hang).join().unwrap()
}

#[test]
fn fault_clients_that_hang_keep_nobody_out() {
    let daemon = daemon();
    let held = file("held", "hanging");
    let mut tree = Run::shell("hanging", "rm /srv/held/hanging; echo rm=$?");
    let id = id_of(&await_request_in("hanging"));
    let status = |uid| {
        let mut command = Command::new("agent-guard");
        let args = if uid == MALLORY { ["requests", "--json"] } else { ["status", "--json"] };
        said(&as_user(command.args(args), uid).output().unwrap()).0
    };
    let hanging = [hang(AGENT_SOCKET, MALLORY, MALLORY, 200), hang(CONTROL_SOCKET, APPROVER, GROUP, 200)];
    // Others are served: sessions begin, questions are asked and answered.
    assert_eq!(run("agent-guard", &["run", "--name", "meanwhile", "--", "true"]), (0, String::new()));
    assert_eq!(status(0), 0);
    approve(&id);
    assert_eq!(tree.wait(), 0);
    assert!(!held.exists());
    // Who hangs has taken only places of his own, and they come back although he goes on hanging.
    eventually("the approver's place", || (status(APPROVER) == 0).then_some(()));
    eventually("mallory's place", || (status(MALLORY) == 0).then_some(()));
    drop(hanging);
    is_well(daemon);
}
