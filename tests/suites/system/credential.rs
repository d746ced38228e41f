//! Credentials: what reads one may not reach from then on what it leads to, and nobody else notices.

use std::fs;
use std::net::TcpListener;

use agent_guard_tests::guest::{Agent, approve, await_request_in, cli, deny, sessions};
use serde_json::Value;

use crate::policy::{PRODUCTION_KEYS, STAGING_KEYS};
use crate::{EPERM, await_record, daemon};

/// Production, as the policy has it, and another port of the same host.
const PRODUCTION: &str = "connect tcp 127.0.0.1:7777";
const ELSEWHERE: &str = "connect tcp 127.0.0.1:7778";

/// A credential of each environment, under a name of the test's own, and whoever listens where they lead.
fn prepare(test: &str) -> (String, String, [TcpListener; 2]) {
    daemon();
    let path = |directory: &str| format!("{directory}/{test}");
    for directory in [PRODUCTION_KEYS, STAGING_KEYS] {
        fs::write(path(directory), "key").unwrap();
    }
    let listeners = ["127.0.0.1:7777", "127.0.0.1:7778"].map(|at| TcpListener::bind(at).unwrap());
    (path(PRODUCTION_KEYS), path(STAGING_KEYS), listeners)
}

/// What a session is shown to have touched.
fn touched(session: &str) -> Vec<Value> {
    let session = sessions().into_iter().find(|known| known["name"] == session).unwrap();
    session["credentials"].as_array().unwrap().clone()
}

/// That the next connection to production waits for a person, and goes on.
fn is_held(agent: &mut Agent, session: &str) -> Value {
    agent.begin(PRODUCTION);
    let request = await_request_in(session);
    assert!(agent.result().is_none(), "before its approval");
    approve(request["id"].as_str().unwrap());
    assert_eq!(agent.finish().errno, 0);
    request
}

#[test]
fn egress_to_production_is_free_until_a_credential_is_read_and_held_from_then_on() {
    let (production, staging, _listeners) = prepare("taint");
    let mut agent = Agent::under("careful", "taint");
    let mut other = Agent::under("careful", "taint-other");
    let mut free = Agent::unguarded();
    assert_eq!(agent.errno(PRODUCTION), 0, "nothing is touched");
    // What reads no credential of production touches none.
    for act in [
        format!("open {staging} r"),
        format!("open {production} a"),
        format!("list {PRODUCTION_KEYS}"),
        format!("open {production} path"),
    ] {
        assert_eq!(agent.errno(&act), 0, "{act}");
        assert_eq!(agent.errno(PRODUCTION), 0, "after {act}");
    }
    assert_eq!(agent.errno(&format!("open {production} r")), 0);
    await_record("credentialed", "taint", "read", &production);
    let request = is_held(&mut agent, "taint");
    let credentials = request["credentials"].as_array().unwrap();
    assert_eq!(credentials.len(), 2, "{request}");
    assert_eq!(credentials[0]["environment"], "production");
    assert_eq!(credentials[0]["object"], production);
    assert_eq!(credentials[1]["environment"], "staging");
    // A no is a no, and another process of the session has it as well.
    agent.begin(&format!("via fork {PRODUCTION}"));
    deny(await_request_in("taint")["id"].as_str().unwrap());
    assert_eq!(agent.finish().errno, EPERM);
    assert_eq!(agent.errno(ELSEWHERE), 0, "what is no production");
    // Other sessions, and who is in none.
    assert_eq!(other.errno(PRODUCTION), 0);
    assert_eq!(free.errno(&format!("open {production} r")), 0);
    assert_eq!(free.errno(PRODUCTION), 0);
    assert_eq!(touched("taint-other"), Vec::<Value>::new());
}

#[test]
fn egress_is_held_whichever_way_a_credential_was_read() {
    let (production, _, _listeners) = prepare("ways");
    for (number, how) in ["rw", "rwt"].iter().enumerate() {
        let session = format!("ways-{number}");
        let mut agent = Agent::under("careful", &session);
        assert_eq!(agent.errno(&format!("via fork open {production} {how}")), 0, "in a child that is gone");
        assert_eq!(is_held(&mut agent, &session)["credentials"][0]["object"], production, "{how}");
    }
}

#[test]
fn egress_stays_held_through_a_restart_and_a_reload_until_an_operator_forgets() {
    let (production, _, _listeners) = prepare("stays");
    let mut agent = Agent::under("careful", "stays");
    assert_eq!(agent.errno(&format!("open {production} r")), 0);
    is_held(&mut agent, "stays");
    daemon().restart();
    assert_eq!(touched("stays")[0]["environment"], "production");
    is_held(&mut agent, "stays");
    assert!(cli(&["policy", "reload"]).status.success());
    is_held(&mut agent, "stays");
    agent.act("exec execve /usr/bin/agent-guard forget stays");
    assert_eq!(touched("stays").len(), 1, "not from inside");
    assert!(cli(&["forget", "stays"]).status.success());
    assert_eq!(touched("stays"), Vec::<Value>::new());
    assert_eq!(agent.errno(PRODUCTION), 0, "an operator has said so");
    assert_eq!(agent.errno(&format!("open {production} r")), 0);
    is_held(&mut agent, "stays");
}
