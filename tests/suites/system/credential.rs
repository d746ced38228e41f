//! Credentials: what reads one may not reach from then on what it leads to, and nobody else notices.

use std::fs;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::process::Command;

use agent_guard_tests::guest::{Agent, Run, approve, await_request_in, cli, deny, sessions};
use serde_json::Value;

use crate::policy::{FREE, PRODUCTION_KEYS, STAGING_KEYS};
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
    waits(agent, session, PRODUCTION)
}

/// That an act which connects to production does.
fn waits(agent: &mut Agent, session: &str, act: &str) -> Value {
    agent.begin(act);
    let request = await_request_in(session);
    assert!(agent.result().is_none(), "before its approval");
    approve(request["id"].as_str().unwrap());
    assert_eq!(agent.finish().errno, 0, "{act}");
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
    assert!(request["sent"].is_null(), "a new connection: {request}");
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

/// That a session which does an act is held from then on, and was not before.
fn taints(session: &str, act: &str) {
    let mut agent = Agent::under("careful", session);
    assert_eq!(agent.errno(PRODUCTION), 0, "before {act}");
    assert_eq!(agent.errno(act), 0, "{act}");
    is_held(&mut agent, session);
}

/// That a session which does an act goes on as before.
fn leaves_free(session: &str, acts: &[String]) {
    let mut agent = Agent::under("careful", session);
    for act in acts {
        assert_eq!(agent.errno(act), 0, "{act}");
        assert_eq!(agent.errno(PRODUCTION), 0, "after {act}");
    }
    assert_eq!(touched(session), Vec::<Value>::new());
}

#[test]
fn egress_is_held_once_a_file_is_read_whose_name_tells_a_credential_wherever_it_lies() {
    let (_, _, _listeners) = prepare("named");
    let checkout = format!("{FREE}/checkout/deep/er");
    fs::create_dir_all(&checkout).unwrap();
    let file = |name: &str| format!("{checkout}/{name}");
    let longest = format!("{}.pem", "a".repeat(251));
    let names = [".token", "server.pem", "two.dots.pem", ".env.local", ".env.a.b", longest.as_str()];
    let others = [".tokens", "pem", ".pem", "x.pem.txt", ".env", "env.local", "cacert.pem", ".env.example"];
    for name in names.iter().chain(&others) {
        fs::write(file(name), "key").unwrap();
    }
    for (number, name) in names.iter().enumerate() {
        taints(&format!("named-{number}"), &format!("open {} r", file(name)));
    }
    leaves_free("named-others", &others.map(|name| format!("open {} r", file(name))));
    leaves_free("named-list", &[format!("list {checkout}"), format!("open {} a", file("server.pem"))]);
    // Where all are public, and where they are taken from there.
    let public = format!("{FREE}/public");
    fs::create_dir_all(&public).unwrap();
    fs::write(format!("{public}/root.pem"), "known to all").unwrap();
    leaves_free("named-public", &[format!("open {public}/root.pem r")]);
    taints("named-into", &format!("rename {} {public}/server.pem", file("server.pem")));
    fs::rename(format!("{public}/server.pem"), file("server.pem")).unwrap();
    // Under another name nobody would know it.
    taints("named-move", &format!("rename {} {}", file("server.pem"), file("server")));
    fs::rename(file("server"), file("server.pem")).unwrap();
    taints("named-link", &format!("link {} {}", file("server.pem"), file("linked")));
    taints("named-exchange", &format!("exchange {} {}", file(".tokens"), file("two.dots.pem")));
    fs::rename(file(".tokens"), file("two.dots.pem")).unwrap();
    fs::write(file(".tokens"), "none").unwrap();
    leaves_free("named-onto", &[format!("rename {} {}", file(".tokens"), file("new.pem"))]);
    let mut denied = Agent::under("denying", "named-denied");
    assert_eq!(denied.errno(&format!("open {} r", file(".token"))), EPERM, "a rule may speak of it");
    assert_eq!(denied.errno(&format!("open {} r", file("cacert.pem"))), 0);
    let mut free = Agent::unguarded();
    assert_eq!(free.errno(&format!("open {} r", file(".token"))), 0);
}

#[test]
fn egress_is_held_once_a_program_is_told_a_credential_in_its_environment() {
    let (_, _, _listeners) = prepare("told");
    let with = |variables: &str| format!("exec-with {variables} /usr/local/bin/agent-guard-act once getpid");
    let long = format!("A={},B_TOKEN=x", "a".repeat(5000));
    let told = ["GUARD_SECRET=x", "PATH=/bin,NPM_TOKEN=x", "VAULT_ADDR_X=y", long.as_str(), "A_B_TOKEN="];
    for (number, variables) in told.iter().enumerate() {
        taints(&format!("told-{number}"), &with(variables));
    }
    await_record("credentialed", "told-0", "exec", "/usr/local/bin/agent-guard-act");
    let others = ["GUARD_SECRETS=x", "TOKEN=x", "_TOKEN=x", "A_TOKEN_B=x", "MODEL_TOKEN=x", "A=B_TOKEN=x", "VAULT=x"];
    leaves_free("told-others", &others.map(with));
}

/// Credentials of production and of staging in the environment of whoever starts a session.
const TOLD: [&str; 2] = ["GUARD_SECRET", "GUARD_STAGING"];

/// An agent whose session is started by somebody who has both, and the names of those that it is passed.
fn started(session: &str, profile: &str, flags: &[&str]) -> (Agent, Vec<&'static str>) {
    let mut command = Command::new("agent-guard");
    command.args(["run", "--profile", profile, "--name", session]).args(flags);
    command.args(["--", "/usr/local/bin/agent-guard-act", "serve"]).envs(TOLD.map(|name| (name, "x")));
    let mut agent = Agent::of(Run::spawn(session, &mut command));
    let environment = fs::read_to_string(format!("/proc/{}/environ", agent.pid())).unwrap();
    let passed = TOLD.into_iter().filter(|name| environment.split('\0').any(|line| line == format!("{name}=x")));
    (agent, passed.collect())
}

#[test]
fn egress_stays_free_where_a_command_is_not_passed_the_credential_that_its_starter_has() {
    let (_, _, _listeners) = prepare("passed");
    let [production, staging] = TOLD;
    let cases: [(&str, &[&str], &[&str]); 6] = [
        ("careful", &[], &[staging]),
        ("careful", &["--env-policy", "keep"], &[production, staging]),
        ("careful", &["--env-policy", "strip-production"], &[staging]),
        ("careful", &["--env-policy", "strip"], &[]),
        ("trusted", &[], &[production, staging]),
        ("trusted", &["--env-policy", "strip-production"], &[staging]),
    ];
    for (number, (profile, flags, expected)) in cases.into_iter().enumerate() {
        let session = format!("passed-{number}");
        let (mut agent, passed) = started(&session, profile, flags);
        assert_eq!(passed, expected, "{profile} {flags:?}");
        // What is passed is touched, and nothing else is.
        let environments = touched(&session).iter().map(|one| one["environment"].clone()).collect::<Vec<_>>();
        let is_passed = |name: &str| passed.contains(&name);
        let both = [(production, "production"), (staging, "staging")];
        let touched = both.iter().filter(|(name, _)| is_passed(name)).map(|(_, environment)| *environment);
        assert_eq!(environments, touched.collect::<Vec<_>>(), "{profile} {flags:?}");
        if profile == "careful" && is_passed(production) {
            await_record("credentialed", &session, "exec", "/usr/local/bin/agent-guard-act");
            is_held(&mut agent, &session);
        } else {
            assert_eq!(agent.errno(PRODUCTION), 0, "{profile} {flags:?}");
        }
        let told = agent.run.stderr();
        for (name, _) in both {
            assert_eq!(told.contains(name), !is_passed(name), "{profile} {flags:?}: {told}");
        }
        assert_eq!(told.contains("not passed on, as credentials of"), passed.len() < 2, "{told}");
    }
}

#[test]
fn egress_is_held_once_what_hands_out_credentials_is_reached() {
    let (_, _, _listeners) = prepare("handed");
    let directory = format!("{FREE}/ssh-x");
    fs::create_dir_all(&directory).unwrap();
    let sockets = ["agent.17", "other"].map(|name| UnixListener::bind(format!("{directory}/{name}")).unwrap());
    let _server = TcpListener::bind("127.0.0.1:7779").unwrap();
    taints("handed-socket", &format!("unix-connect {directory}/agent.17"));
    taints("handed-server", "connect tcp 127.0.0.1:7779");
    await_record("credentialed", "handed-server", "connect", "127.0.0.1:7779");
    leaves_free("handed-others", &[format!("unix-connect {directory}/other"), ELSEWHERE.to_owned()]);
    drop(sockets);
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

#[test]
fn egress_is_held_for_the_process_tree_that_has_a_credential_where_the_policy_says_so() {
    const ACT: &str = "/usr/local/bin/agent-guard-act";
    let (production, _, _listeners) = prepare("tree");
    let mut agent = Agent::under("careful-tree", "tree");
    let read = |by: &str, then: &str| format!("having-read {by} {production} {then} {PRODUCTION}");
    assert_eq!(agent.errno("dial p tcp 127.0.0.1:7777"), 0);
    assert_eq!(agent.errno(&format!("via fork open {production} r")), 0);
    assert_eq!(touched("tree")[0]["object"], production, "shown of the session");
    for act in [
        format!("via fork {}", read("itself", "")),
        format!("via fork {}", read("itself", "via fork")),
        format!("via fork {}", read("itself", "via thread")),
        format!("via fork {}", read("itself", "via vfork")),
        format!("via fork {}", read("itself", "via double-fork")),
        format!("via fork {}", read("itself", &format!("via program {ACT}"))),
        format!("via fork {}", read("thread", "")),
        format!("via fork {}", read("thread", "via fork")),
        format!("via fork {}", read("thread", "via thread")),
        format!("via program {ACT} {}", read("itself", "thread-exec")),
        format!("via program {ACT} {}", read("thread", "thread-exec")),
        format!("via program {ACT} thread-exec-having-read {production} {PRODUCTION}"),
        format!("exec-with GUARD_SECRET=x {ACT} once {PRODUCTION}"),
    ] {
        waits(&mut agent, "tree", &act);
        // Who did not come from the reader.
        assert_eq!(agent.errno(PRODUCTION), 0, "after {act}");
        assert_eq!(agent.errno(&format!("via fork {PRODUCTION}")), 0, "after {act}");
    }
    assert_eq!(agent.errno("say p write"), 0);
    assert_eq!(agent.errno(&format!("open {production} r")), 0);
    waits(&mut agent, "tree", "say p write");
    daemon().restart();
    is_held(&mut agent, "tree");
    waits(&mut agent, "tree", &format!("via fork {PRODUCTION}"));
    assert!(cli(&["policy", "reload"]).status.success());
    is_held(&mut agent, "tree");
    assert!(cli(&["forget", "tree"]).status.success());
    assert_eq!(agent.errno(PRODUCTION), 0, "an operator has said so");
    waits(&mut agent, "tree", &format!("via fork {}", read("itself", "")));
    assert_eq!(agent.errno(PRODUCTION), 0);
}
