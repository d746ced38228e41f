//! The doors: the sockets' modes, and what each lets whom do.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use agent_guard_tests::guest::{
    AGENT_SOCKET, CONTROL_SOCKET, Run, as_user, await_request_in, deny, http, request, sessions,
};
use serde_json::{Value, json};

use crate::{AGENT, APPROVER, Held, MALLORY, SEEN, daemon, id_of, look_at_sockets, said, text};

#[test]
fn approval_sockets_never_had_other_modes_than_theirs() {
    daemon();
    let mode = |socket: &str| fs::symlink_metadata(socket).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(CONTROL_SOCKET), mode(AGENT_SOCKET)), (0o660, 0o666));
    // Closed while it belongs to nobody in particular, then of its group, then open to it.
    let allowed = [
        (CONTROL_SOCKET, 0o600, 0, 0),
        (CONTROL_SOCKET, 0o600, 0, 900),
        (CONTROL_SOCKET, 0o660, 0, 900),
        (AGENT_SOCKET, 0o600, 0, 0),
        (AGENT_SOCKET, 0o666, 0, 0),
    ];
    look_at_sockets();
    let seen = SEEN.lock().unwrap();
    assert!(seen.contains(&allowed[2]) && seen.contains(&allowed[4]), "{seen:?}");
    assert!(seen.iter().all(|one| allowed.contains(one)), "{seen:?}");
}

#[test]
fn approval_by_a_user_takes_membership_in_the_group() {
    let held = Held::simple("group");
    for outsider in [AGENT, MALLORY] {
        let mut approve = Command::new("agent-guard");
        let (status, said) = said(&as_user(approve.args(["approve", &held.id]), outsider).output().unwrap());
        assert_eq!(status, 4, "{said}");
        assert!(said.contains("permission denied at /run/agent-guard/control.sock: add yourself to group"), "{said}");
        let mut raw = Command::new("agent-guard-knock");
        raw.args(["self", CONTROL_SOCKET, "POST", &format!("/v1/requests/{}/approve", held.id)]);
        assert!(!as_user(&mut raw, outsider).output().unwrap().status.success());
    }
    held.still_waits();
    let mut approve = Command::new("agent-guard");
    let (status, said) = said(&as_user(approve.args(["approve", &held.id]), APPROVER).output().unwrap());
    assert_eq!((status, said), (0, format!("approved {}: delete /srv/held/group\n", held.id)));
    let Held { mut run, file, id } = held;
    assert_eq!(run.wait(), 0);
    assert!(!file.exists());
    assert_eq!(request(&id)["decision"]["user"], "approver");
}

#[test]
fn approval_by_the_agent_socket_is_nobodys_right() {
    let held = Held::simple("agent-socket");
    let calls = [
        ("GET", "/v1/status".to_owned()),
        ("GET", "/v1/doctor".to_owned()),
        ("POST", format!("/v1/requests/{}/approve", held.id)),
        ("POST", format!("/v1/requests/{}/deny", held.id)),
        ("POST", format!("/v1/requests/{}/cancel", held.id)),
        ("POST", "/v1/sessions/agent-socket/halt".to_owned()),
        ("POST", "/v1/sessions/agent-socket/resume".to_owned()),
        ("POST", "/v1/sessions/agent-socket/kill".to_owned()),
        ("POST", "/v1/policy/check".to_owned()),
        ("POST", "/v1/policy/reload".to_owned()),
    ];
    for (method, path) in &calls {
        let body = if path.ends_with("check") { json!({"text": ""}) } else { json!({}) };
        let reply = http(AGENT_SOCKET, method, path, (*method == "POST").then_some(&body)).unwrap();
        assert_eq!(reply.status, 403, "{method} {path}: {reply:?}");
        assert_eq!(reply.json()["error"]["code"], "forbidden");
    }
    held.goes_on_when_approved();
}

#[test]
fn approval_by_the_agent_socket_sessions_are_started_only_around_ones_own_child() {
    daemon();
    let start = |pid: u32| {
        let mut knock = Command::new("agent-guard-knock");
        let body = json!({"child_pid": pid, "argv": ["x"], "cwd": "/"}).to_string();
        knock.args(["self", AGENT_SOCKET, "POST", "/v1/sessions", &body]);
        text(&as_user(&mut knock, MALLORY).output().unwrap().stdout)
    };
    for stranger in [1, std::process::id(), u32::MAX] {
        let said = start(stranger);
        assert!(said.starts_with("422 ") && said.contains("is not a child of the caller"), "{said}");
    }
    assert_eq!(sessions().iter().filter(|session| session["user"] == "mallory").count(), 0);
}

#[test]
fn approval_by_the_agent_socket_one_sees_only_what_is_ones_own() {
    let held = Held::simple("roots-own");
    fs::create_dir_all("/srv/held/open").unwrap();
    fs::set_permissions("/srv/held/open", fs::Permissions::from_mode(0o777)).unwrap();
    let mut command = Command::new("agent-guard");
    command.args(["run", "--name", "agents-own", "--", "touch", "/srv/held/open/x"]);
    let mut run = Run::spawn("agents-own", as_user(&mut command, AGENT));
    let own = id_of(&await_request_in("agents-own"));
    let ask = |uid: u32, args: &[&str]| said(&as_user(Command::new("agent-guard").args(args), uid).output().unwrap());
    let (status, listed) = ask(AGENT, &["requests", "--state", "pending", "--json"]);
    let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
    assert_eq!((status, listed.iter().map(id_of).collect::<Vec<_>>()), (0, vec![own.clone()]));
    assert_eq!(ask(AGENT, &["show", &own]).0, 0);
    assert_eq!(ask(AGENT, &["show", &held.id]).0, 5);
    assert_eq!(ask(MALLORY, &["show", &own]).0, 5);
    assert_eq!(ask(MALLORY, &["requests", "--json"]).1.trim(), "[]");
    assert!(!ask(MALLORY, &["sessions", "--json"]).1.contains("agents-own"));
    assert_eq!(ask(APPROVER, &["show", &own]).0, 0);
    deny(&own);
    assert_ne!(run.wait(), 0);
    assert!(!Path::new("/srv/held/open/x").exists());
    held.goes_on_when_approved();
}
