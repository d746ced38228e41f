//! What the approver is shown: all of it, as it is, and nothing that a name could pass off as something else.

use std::fs;
use std::path::Path;

use agent_guard_tests::guest::{Run, approve, await_request_in, cli, eventually, request};
use serde_json::{Value, json};

use crate::{Held, daemon, file, id_of, said};

#[test]
fn approval_requests_are_listed_and_watched() {
    daemon();
    let mut watch = Run::unguarded(&["agent-guard", "requests", "--watch", "--json", "--session", "watched"]);
    let held = Held::simple("watched");
    let id = held.id.clone();
    watch.await_stdout("pending");
    let (status, listed) = said(&cli(&["requests", "--json", "--state", "pending"]));
    let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
    let listed = listed.iter().find(|request| request["id"] == *id).unwrap();
    assert_eq!(status, 0);
    for (field, value) in
        [("operation", "delete"), ("object", "/srv/held/watched"), ("label", "held"), ("tier", "gated")]
    {
        assert_eq!(listed[field], value);
    }
    assert_eq!((&listed["session"]["name"], &listed["rule"]["message"]), (&json!("watched"), &json!("Ask.")));
    assert_eq!((&listed["process"]["comm"], &listed["process"]["user"]), (&json!("rm"), &json!("root")));
    let left = listed["left_ms"].as_u64().unwrap();
    assert!(left > 200_000 && left <= 300_000, "{left}");
    let table = said(&cli(&["requests"])).1;
    assert!(table.lines().any(|line| line.starts_with(&id) && line.contains("/srv/held/watched")), "{table}");
    held.goes_on_when_approved();
    let lines = eventually("a third whole line", || {
        let lines = watch.stdout();
        (lines.ends_with('\n') && lines.lines().count() >= 3).then_some(lines)
    });
    let states: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(states.iter().all(|request| request["id"] == *id), "{states:?}");
    let told: Vec<_> = states.iter().map(|request| (&request["state"], &request["outcome"]["done"])).collect();
    let [pending, approved] = [json!("pending"), json!("approved")];
    assert_eq!(told, [(&pending, &Value::Null), (&approved, &Value::Null), (&approved, &json!(true))]);
    let table = said(&cli(&["requests"])).1;
    assert!(table.lines().any(|line| line.starts_with(&id) && line.contains(" done ")), "{table}");
}

#[test]
fn approval_is_not_deceived_by_what_a_name_holds() {
    daemon();
    // Short enough not to be cut in a table.
    let name = "\n\u{1b}[2J\u{202e}\u{9b}y";
    let directory = "/srv/held/d";
    fs::create_dir_all(directory).unwrap();
    let file = Path::new(directory).join(name);
    fs::write(&file, "x").unwrap();
    let mut run = Run::guarded("deceit", &["rm", "-r", "-f", file.to_str().unwrap()]);
    let id = id_of(&await_request_in("deceit"));
    run.await_stderr("held");
    let shown = [
        ("requests", said(&cli(&["requests"])).1),
        ("show", said(&cli(&["show", &id])).1),
        ("sessions", said(&cli(&["sessions"])).1),
        ("the held line", run.stderr()),
        ("deny", said(&cli(&["deny", &id])).1),
    ];
    for (what, text) in &shown {
        let deceives = |character: char| {
            (character.is_control() && character != '\n') || matches!(character, '\u{200b}' | '\u{202a}'..='\u{202e}')
        };
        // Where the client colours its own words there is a terminal; here is none.
        assert!(!text.contains(deceives), "{what}: {text:?}");
        assert!(text.contains("\\u{202e}") || *what == "sessions", "{what} leaves it out: {text:?}");
    }
    assert_eq!(shown[3].1.lines().filter(|line| line.contains("held")).count(), 1, "{:?}", shown[3].1);
    // Programs get what it is, not what is shown of it.
    assert_eq!(request(&id)["object"], file.to_str().unwrap());
    run.wait();
    assert!(file.exists());
}

#[test]
fn approval_shows_who_asks_where_and_started_by_whom() {
    daemon();
    let file = file("held", "whose");
    let act = ["/usr/local/bin/agent-guard-act", "once", "unlink", file.to_str().unwrap()];
    // Two shells that stay, and below them a program of its own: `rm` is a part of this guest's shell.
    let inner = format!("cd /srv; {}; :", act.join(" "));
    let script = format!("echo $$; /bin/sh -c '{inner}'; :");
    let mut run = Run::shell("whose", &script);
    let asked = await_request_in("whose");
    let id = id_of(&asked);
    run.await_stdout("\n");
    let outermost: u32 = run.stdout().trim().parse().unwrap();
    let process = &asked["process"];
    assert_eq!((&process["argv"], &process["cwd"]), (&json!(act), &json!("/srv")));
    assert_eq!(
        (&process["comm"], &process["uid"], &process["user"]),
        (&json!("agent-guard-act"), &json!(0), &json!("root"))
    );
    // What is shown is what is there, seen from outside.
    let pid = u32::try_from(process["pid"].as_u64().unwrap()).unwrap();
    assert_eq!(process["tid"], process["pid"]);
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).unwrap(), Path::new("/srv"));
    let parents = [pid, parent(pid)].map(parent);
    let expected = json!([
        { "pid": parents[0], "comm": "sh", "argv": ["/bin/sh", "-c", inner] },
        { "pid": parents[1], "comm": "sh", "argv": ["/bin/sh", "-c", script] },
    ]);
    assert_eq!(process["ancestry"], expected, "its ancestors in the session, and not the keeper");
    assert_eq!((parents[1], parent(outermost)), (outermost, run.pid()));
    let sheet = said(&cli(&["show", &id])).1;
    for line in [
        format!("process     agent-guard-act, pid {pid}, user root"),
        format!("command     {}", act.join(" ")),
        "directory   /srv".to_owned(),
        format!("started by  sh, pid {}: /bin/sh -c '{inner}'", parents[0]),
    ] {
        assert!(sheet.lines().any(|shown| shown == line), "{line} is not in:\n{sheet}");
    }
    assert!(sheet.contains(&format!("sh, pid {outermost}: /bin/sh -c ")), "{sheet}");
    approve(&id);
    assert_eq!(run.wait(), 0);
    assert!(!file.exists());
}

/// The parent of a process.
fn parent(pid: u32) -> u32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, behind_name) = stat.rsplit_once(')').unwrap();
    behind_name.split_whitespace().nth(1).unwrap().parse().unwrap()
}
