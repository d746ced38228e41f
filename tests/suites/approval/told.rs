//! Who is told of requests besides those who ask for them: hooks, by the daemon that all tests share.
//!
//! A guest has neither desktop nor terminals: what stands in for their programs writes down what it is given.

use std::collections::BTreeSet;
use std::fs::{self, DirEntry, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use agent_guard_tests::guest::{Run, approve, await_request_in, deny, eventually, failures};
use serde_json::Value;

use crate::{AGENT, daemon, file, id_of};

/// Each message becomes a file: several may be told at a time. The last two hooks are there to keep the others from being told.
const CONFIG: &str = "\
notify:
  - command: [/bin/sh, -c, 'cat >>/tmp/told/by-$$']
  - { desktop: agent, on: [expired] }
  - { wall: true, on: [expired] }
  - { command: [/bin/sleep, '100000'], timeout: 5m, on: [new] }
  - { command: [/bin/false], on: [expired] }
";
const TOLD: &str = "/tmp/told";
const NOBODY: u32 = 65534;

/// Configures the hooks, before the daemon is started.
pub(super) fn prepare() {
    fs::create_dir_all(TOLD).unwrap();
    fs::set_permissions(TOLD, Permissions::from_mode(0o777)).unwrap();
    for (program, script) in [
        ("/usr/bin/notify-send", "for word in \"$DBUS_SESSION_BUS_ADDRESS\" \"$@\"; do echo \"$word\"; done"),
        ("/usr/bin/wall", "cat"),
    ] {
        let name = Path::new(program).file_name().unwrap().display();
        fs::write(program, format!("#!/bin/sh\n{script} >>{TOLD}/{name}\n")).unwrap();
        fs::set_permissions(program, Permissions::from_mode(0o755)).unwrap();
    }
    fs::create_dir_all("/etc/agent-guard").unwrap();
    fs::write("/etc/agent-guard/config.yaml", CONFIG).unwrap();
}

/// What the first hook has written.
fn by_first() -> Vec<DirEntry> {
    let files = fs::read_dir(TOLD).unwrap().map(Result::unwrap);
    files.filter(|entry| entry.file_name().to_string_lossy().starts_with("by-")).collect()
}

/// What the first hook was told of a request: the events, with the request's state in each.
fn told(id: &str) -> BTreeSet<(String, String)> {
    let mut messages = Vec::new();
    for path in by_first().into_iter().map(|entry| entry.path()) {
        let text = fs::read_to_string(path).unwrap();
        // One that is being written is read again.
        messages.extend(serde_json::Deserializer::from_str(&text).into_iter::<Value>().map_while(Result::ok));
    }
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    let of_it = messages.iter().filter(|message| message["request"]["id"] == *id);
    of_it.map(|message| (word(&message["event"]), word(&message["request"]["state"]))).collect()
}

fn await_told(id: &str, events: [(&str, &str); 2]) {
    let expected = events.map(|(event, state)| (event.to_owned(), state.to_owned())).into();
    eventually(&format!("{events:?} of {id}, not {:?}", told(id)), || (told(id) == expected).then_some(()));
}

#[test]
fn approval_hooks_are_told_when_it_is_asked_for_and_how_it_ends() {
    daemon();
    let ask = |name: &str, label: &str| {
        let file = file(label, name);
        let run = Run::shell(name, &format!("rm -f {}; echo rm=$?; read end", file.display()));
        (id_of(&await_request_in(name)), run)
    };
    let (approved, mut first) = ask("told-approved", "held");
    approve(&approved);
    let (denied, mut second) = ask("told-denied", "held");
    deny(&denied);
    let (expired, mut third) = ask("told-expired", "brief");
    for (run, status) in [(&mut first, "rm=0"), (&mut second, "rm=1"), (&mut third, "rm=1")] {
        run.await_stdout(status);
    }
    await_told(&approved, [("new", "pending"), ("decided", "approved")]);
    await_told(&denied, [("new", "pending"), ("decided", "denied")]);
    await_told(&expired, [("new", "pending"), ("expired", "expired")]);
    let title = format!("agent-guard: nobody has answered request {expired} in time\n");
    let detail = "delete /srv/brief/told-expired (session told-expired, rule asked-briefly)\n";
    for (name, before, uid) in
        [("wall", "", NOBODY), ("notify-send", "unix:path=/run/user/1000/bus\n--app-name=agent-guard\n--\n", AGENT)]
    {
        let path = format!("{TOLD}/{name}");
        eventually(&format!("what {name} was given"), || {
            let text = fs::read_to_string(&path).unwrap_or_default();
            text.contains(&format!("{before}{title}{detail}")).then_some(())
        });
        assert_eq!(fs::metadata(&path).unwrap().uid(), uid);
    }
    assert!(by_first().iter().all(|entry| entry.metadata().unwrap().uid() == NOBODY));
    let failures =
        eventually("the count of a hook that fails", || Some(failures()).filter(|counts| !counts.is_empty()));
    assert!(failures.iter().any(|failure| failure["place"] == "notification by hook 5 (command)"), "{failures:?}");
    for run in [&mut first, &mut second, &mut third] {
        run.wait();
    }
}
