//! What an agent says of an act before it does it: carried by the request, as its claim, and no more than that.

use std::process::Command;

use agent_guard_tests::guest::{Run, approve, await_request_in, cli, deny};

use crate::{daemon, file, id_of, said};

#[test]
fn approval_is_asked_for_with_what_the_agent_has_said_of_the_act_and_once() {
    daemon();
    let files = ["said-0", "said-1"].map(|name| file("held", name));
    let script = "agent-guard intent --why \"$(printf 'a copy\\033[2K')\" --rollback 'restore it' --covers /srv/held/said-0 \
                  && rm -f /srv/held/said-1; rm -f /srv/held/said-0; echo rm=$?; read end";
    let mut run = Run::shell("said", script);
    let other = await_request_in("said");
    assert_eq!((&other["object"], other["intent"].is_null()), (&"/srv/held/said-1".into(), true), "{other}");
    deny(&id_of(&other));
    run.await_stdout("declared: the next request that it covers carries it; an approver will miss: alternatives");
    let request = await_request_in("said");
    let id = id_of(&request);
    let intent = &request["intent"];
    assert_eq!((&intent["why"], &intent["rollback"]), (&"a copy\u{1b}[2K".into(), &"restore it".into()));
    assert_eq!(intent["lacks"], serde_json::json!(["alternatives"]));
    let (_, shown) = said(&cli(&["show", &id]));
    for line in ["the agent says: a copy\\x1b[2K", "to undo it: restore it", "it does not say: alternatives"] {
        assert!(shown.contains(line), "{line} in {shown}");
    }
    approve(&id);
    run.await_stdout("rm=0");
    assert!(files[1].exists() && !files[0].exists());
    run.wait();
    let records = daemon().audit();
    let declared =
        records.iter().find(|record| record["what"] == "intent-declared" && record["session"]["name"] == "said");
    assert_eq!(declared.unwrap()["intent"]["rollback"], "restore it");
    let decided = records.iter().find(|record| record["what"] == "decided" && record["request"] == *id);
    assert_eq!(decided.unwrap()["act"]["intent"]["rollback"], "restore it");
}

#[test]
fn approval_is_asked_for_with_what_stands_in_the_environment() {
    daemon();
    let file = file("held", "environment");
    let mut command = Command::new("agent-guard");
    command.args(["run", "--name", "environment", "--", "rm", "-f", "/srv/held/environment"]);
    command.env("AGENT_GUARD_INTENT", r#"{"why": "it is old", "alternatives": ["keep it"]}"#);
    let mut run = Run::spawn("environment", &mut command);
    let request = await_request_in("environment");
    assert_eq!(
        (&request["intent"]["why"], &request["intent"]["alternatives"][0]),
        (&"it is old".into(), &"keep it".into())
    );
    deny(&id_of(&request));
    run.wait();
    assert!(file.exists());
}

#[test]
fn approval_takes_no_intent_from_outside_nor_too_many_from_inside() {
    daemon();
    let (status, refused) = said(&cli(&["intent", "--why", "x"]));
    assert_eq!((status, refused.contains("nobody outside of a session")), (4, true), "{refused}");
    let mut run =
        Run::shell("talker", "for i in $(seq 20); do agent-guard intent --why x; echo said=$?; done; echo finished");
    run.await_stdout("finished");
    let printed = run.stdout();
    let of = |status: &str| printed.lines().filter(|line| *line == format!("said={status}")).count();
    assert_eq!((of("0"), of("7")), (16, 4), "{printed}");
    run.wait();
}
