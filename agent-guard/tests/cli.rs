//! The verbs as their users meet them: what they print, and how they exit.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod common;

use agent_guard::audit::{Entry, Key, Log, Now, Person, What};
use agent_guard::cli::Cli;
use agent_guard::exit::TABLE;
use agent_guard::session::{Act, Rule, SessionKey, Stamp, Who, plain};
use agent_guard::text;
use agent_guard_common::operation::Operation;
use agent_guard_common::verdict::Tier;
use clap::CommandFactory as _;
use common::{Daemon, scratch};
use serde_json::Value;
use std::collections::HashMap;
use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

fn verb(dir: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_agent-guard")).arg("--run-dir").arg(dir).args(words).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn requests_are_a_table_without_surprises() {
    let daemon = Daemon::start();
    let output = verb(&daemon.dir, &["requests"]);
    let text = stdout(&output);
    let mut lines = text.lines();
    assert_eq!(lines.next().unwrap(), "ID    LEFT    SESSION  OPERATION  OBJECT");
    assert!(lines.next().unwrap().starts_with("7K2M  4m 10s  demo     delete     /srv/prod/db"), "{text}");
    assert!(!text.contains('\x1b'), "neither colour nor what a file's name wants");
}

#[test]
fn a_request_is_shown_with_all_that_an_approver_needs() {
    let daemon = Daemon::start();
    let text = stdout(&verb(&daemon.dir, &["show", "7K2M"]));
    let expected = [
        "request     7K2M (pending, 4m 10s left)",
        "label       production-data",
        "impact      12 files, 33.7 KiB under its label",
        "session     demo (S0), profile autonomous",
        "process     rm, pid 4242, user uid 0",
        "command     rm -rf /srv/prod",
        "directory   /root",
        "started by  bash, pid 4200: bash",
        "rule        prod",
        "message     Ask first.",
        "tier        gated",
        "Approve with `agent-guard approve 7K2M`, refuse with `agent-guard deny 7K2M`.",
    ];
    for line in expected {
        assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
    }
}

#[test]
fn answers_are_confirmed_and_the_second_one_is_a_conflict() {
    let daemon = Daemon::start();
    let first = verb(&daemon.dir, &["deny", "7K2M", "--reason", "no"]);
    assert_eq!(first.status.code(), Some(0), "{}", stderr(&first));
    assert!(stdout(&first).starts_with("denied 7K2M: delete /srv/prod/db"));
    let second = verb(&daemon.dir, &["approve", "7K2M"]);
    assert_eq!(second.status.code(), Some(6));
    assert!(stderr(&second).starts_with("agent-guard: request 7K2M is already denied by ann"), "{}", stderr(&second));
}

#[test]
fn each_kind_of_failure_has_its_exit_code() {
    let daemon = Daemon::start();
    daemon.script.lock().unwrap().fail_status = true;
    let absent = scratch();
    let expected: [(&Path, &[&str], i32); 8] = [
        (&daemon.dir, &["show", "ZZZZ"], 5),
        (&daemon.dir, &["status"], 7),
        (&daemon.dir, &["policy", "reload"], 1),
        (&daemon.dir, &["frobnicate"], 2),
        (&daemon.dir, &["approve"], 2),
        (&absent, &["requests"], 3),
        (&absent, &["approve", "7K2M"], 3),
        (&absent, &["--help"], 0),
    ];
    for (dir, words, code) in expected {
        let output = verb(dir, words);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {}", stderr(&output));
    }
    fs::remove_dir_all(absent).unwrap();
}

#[test]
fn json_is_what_the_api_says() {
    let daemon = Daemon::start();
    let text = stdout(&verb(&daemon.dir, &["requests", "--json"]));
    let requests: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(requests[0]["object"], "/srv/prod/db\u{1b}[2J", "the escape is JSON's own");
    assert!(!text.contains('\x1b'));
}

#[test]
fn a_policy_is_checked_without_a_daemon_and_all_faults_have_their_place() {
    let dir = scratch();
    let file = dir.join("policy.yaml");
    fs::write(&file, "nonsense").unwrap();
    let output = verb(&dir, &["policy", "check", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).starts_with(&format!("{}:1:1: ", file.display())), "{}", stdout(&output));
    let json = verb(&dir, &["policy", "check", "--json", file.to_str().unwrap()]);
    let faults: serde_json::Value = serde_json::from_str(&stdout(&json)).unwrap();
    assert_eq!((faults["faults"][0]["line"].as_u64(), json.status.code()), (Some(1), Some(1)));
    let missing = verb(&dir, &["policy", "check", "/no/such/file"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(stderr(&missing).contains("cannot read the policy /no/such/file"), "{}", stderr(&missing));
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn doctor_needs_no_daemon() {
    let dir = scratch();
    let output = verb(&dir, &["doctor", "--json"]);
    let doctor: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    let expected = if doctor["able"] == true { 0 } else { 1 };
    assert_eq!(output.status.code(), Some(expected));
    fs::remove_dir_all(dir).unwrap();
}

/// A program that is called like a forwarder and holds sockets that listen: its standard input and output.
struct Tunnel(Child);

impl Tunnel {
    fn start(name: &Path, tcp: TcpListener, unix: UnixListener) -> Self {
        symlink("/bin/sleep", name).unwrap();
        let mut command = Command::new(name);
        command.arg("60").stdin(OwnedFd::from(tcp)).stdout(OwnedFd::from(unix));
        Self(command.spawn().unwrap())
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn doctor_lists_who_passes_on_and_not_who_merely_listens() {
    let dir = scratch();
    let listen = || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    };
    let socket = |name: &str| UnixListener::bind(dir.join(name)).unwrap();
    let ((tunnelled, port), (served, other)) = (listen(), listen());
    let tunnel = Tunnel::start(&dir.join("cloudflared"), tunnelled, socket("tunnel.sock"));
    let _server = Tunnel::start(&dir.join("server"), served, socket("server.sock"));
    let doctor: serde_json::Value = serde_json::from_str(&stdout(&verb(&dir, &["doctor", "--json"]))).unwrap();
    let own = |one: &&serde_json::Value| one["pid"] == tunnel.0.id();
    let found: Vec<_> = doctor["forwarders"].as_array().unwrap().iter().filter(own).collect();
    let path = dir.join("tunnel.sock").display().to_string();
    let expected = [
        (format!("127.0.0.1:{port}"), format!("endpoints: [{{ cidr: 127.0.0.1/32, ports: [{port}] }}]")),
        (path.clone(), format!("sockets: [{path}]")),
    ];
    assert_eq!(found.len(), 2, "{doctor}");
    for (found, (listens, label)) in found.iter().zip(&expected) {
        assert_eq!((&found["program"], &found["listens"]), (&"cloudflared".into(), &listens.as_str().into()));
        assert_eq!(found["label"], label.as_str());
    }
    assert!(doctor["unseen_forwarders"].is_u64(), "{doctor}");
    let text = stdout(&verb(&dir, &["doctor"]));
    for (listens, label) in &expected {
        let line =
            format!("cloudflared, pid {}, passes on what reaches {listens}: label it by `{label}`", tunnel.0.id());
        assert!(text.lines().any(|found| found.starts_with("limited") && found.ends_with(&line)), "{line}: {text}");
    }
    assert!(!text.contains(&format!("127.0.0.1:{other}")) && !text.contains("server.sock"), "{text}");
    fs::remove_dir_all(dir).unwrap();
}

/// The manual page as it reads, without its typesetting.
fn manual() -> String {
    let dir = scratch();
    let page = stdout(&verb(&dir, &["man"]));
    fs::remove_dir_all(dir).unwrap();
    [("\\-", "-"), ("\\fB", ""), ("\\fI", ""), ("\\fR", ""), ("\\*(Aq", "'"), ("\\&", "")]
        .iter()
        .fold(page, |page, (mark, text)| page.replace(mark, text))
}

/// Every verb that is shown, as it is typed, and those below it.
fn verbs(command: &clap::Command, before: &str) -> Vec<(String, clap::Command)> {
    let shown = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    let mut verbs = Vec::new();
    for verb in shown {
        let typed = format!("{before} {}", verb.get_name());
        verbs.extend(self::verbs(verb, &typed));
        verbs.push((typed, verb.clone()));
    }
    verbs
}

#[test]
fn the_manual_page_has_every_verb_with_all_that_can_be_given_to_it() {
    let page = manual();
    let mut command = Cli::command();
    command.build();
    let sections: Vec<&str> = page.split(".SH \"").collect();
    for (typed, verb) in verbs(&command, "agent-guard") {
        let head = format!("{}\"", typed.to_uppercase());
        let section = sections.iter().find(|section| section.starts_with(&head));
        let section = section.unwrap_or_else(|| panic!("{typed} is not in the manual"));
        let about = verb.get_about().unwrap().to_string();
        assert!(section.contains(&about), "{typed}: {about}");
        // What the parser adds by itself has its own words in the manual.
        for argument in verb.get_arguments().filter(|argument| argument.get_id() != "help") {
            let name = match argument.get_long() {
                Some(long) => format!("--{long}"),
                None => argument.get_value_names().unwrap()[0].to_string(),
            };
            let help = argument.get_help().unwrap().to_string();
            assert!(section.contains(&name) && section.contains(&help), "{typed}: {name}: {help}");
        }
        let example = verb.get_after_long_help().map(ToString::to_string).unwrap_or_default();
        assert!(section.contains(&example), "{typed}: {example}");
    }
}

#[test]
fn the_manual_page_has_every_exit_code_and_the_readme_has_the_same() {
    let page = manual();
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
    let (_, rest) = readme.split_once("## Exit codes\n").unwrap();
    let table = rest.lines().skip_while(|line| !line.starts_with("| ---")).skip(1).take_while(|line| !line.is_empty());
    // There a row begins small and ends without a stop, and names of verbs stand in backquotes.
    let small = |meaning: &str| {
        let (first, rest) = meaning.split_at(1);
        first.to_lowercase() + rest.trim_end_matches('.')
    };
    let expected = TABLE.iter().map(|(exit, meaning)| format!("| {exit} | {} |", small(meaning)));
    assert_eq!(table.map(|line| line.replace('`', "")).collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    for (exit, meaning) in TABLE {
        assert!(page.contains(&format!(".TP\n{exit}\n{meaning}\n")), "{exit}: {meaning}");
    }
}

#[test]
fn completions_name_every_verb_and_flag() {
    let dir = scratch();
    let bash = stdout(&verb(&dir, &["completions", "bash"]));
    for (typed, verb) in verbs(&Cli::command(), "agent-guard") {
        assert!(bash.contains(verb.get_name()), "{typed}");
        for long in verb.get_arguments().filter_map(clap::Arg::get_long) {
            assert!(bash.contains(&format!("--{long}")), "{typed} --{long}");
        }
    }
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let daemon = Daemon::start();
    let file = daemon.dir.join("records.jsonl");
    let record = r#"{"sequence":1,"time":"2026-11-21T05:04:01Z","what":"daemon-started","boot":"b0"}"#;
    fs::write(&file, format!("{record}\n")).unwrap();
    let export = |format| ["audit", "export", file.to_str().unwrap(), "--format", format];
    for words in [&["requests"][..], &export("csv"), &export("jsonl"), &export("ocsf")] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_agent-guard"))
            .arg("--run-dir")
            .arg(&daemon.dir)
            .args(words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        assert_eq!(stderr(&child.wait_with_output().unwrap()), "", "{words:?}");
    }
}

/// A log of two files: who asked to destroy a stack, with a secret in the command, and who said yes; and a line that is none.
fn log_with_a_secret(dir: &Path) {
    let now = Now { monotonic_ns: 7, wall: "2026-11-21T05:04:01.5Z".parse().unwrap() };
    let key = SessionKey { slot: 1, serial: 1 };
    let (id, name, profile) = ("01ARZ3NDEKTSV4RRFFQ69G5FAV".to_owned(), "demo".to_owned(), "autonomous".to_owned());
    let argv = ["terraform", "destroy", "-var", "db_password=hunter2"].map(str::to_owned);
    let act = Arc::new(Act {
        session: Some(Arc::new(Stamp { id, name, profile, uid: 1000, key })),
        operation: Operation::Command,
        object: text::command_line(&argv),
        other: None,
        cut: false,
        label: "destroy".to_owned(),
        rule: Rule::named("ask"),
        tier: Tier::Gated,
        process: Who { argv: argv.to_vec(), ..plain(42, 42, 1000, "terraform".to_owned()) },
        impact: None,
        sent: None,
        intent: None,
    });
    let entry = |what| Entry { act: Some(Arc::clone(&act)), request: Some("J1RZ".to_owned()), ..Entry::new(now, what) };
    let open = || Log::open(&dir.join("log"), "b0".to_owned(), Key::open(&dir.join("key")).unwrap()).unwrap();
    let mut log = open();
    log.append(&entry(What::Held), true).unwrap();
    fs::rename(log.path(), dir.join("log/audit-00000000000000000001.jsonl")).unwrap();
    log = open();
    fs::write(log.path(), "{\"act\":{\"obj").unwrap();
    log = open();
    let approver = Some(Person { uid: 0, user: Some("root".to_owned()), pid: 176 });
    log.append(&Entry { decision: Some("approved"), approver, ..entry(What::Decided) }, true).unwrap();
    log.checkpoint(now).unwrap();
}

#[test]
fn a_log_is_exported_in_each_form_without_its_secrets_and_a_torn_line_is_named() {
    let dir = scratch();
    log_with_a_secret(&dir);
    let log = dir.join("log");
    let export = |format: &str, more: &[&str]| {
        let words = [&["audit", "export", log.to_str().unwrap(), "--format", format], more].concat();
        let output = verb(&dir, &words);
        let torn = format!("agent-guard: {}:1: the line is no record", log.join("audit.jsonl").display());
        assert!(stderr(&output).starts_with(&torn), "{}", stderr(&output));
        assert_eq!((stderr(&output).lines().count(), output.status.code()), (1, Some(1)));
        stdout(&output)
    };
    let json = |text: &str| text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>();
    let command = "terraform destroy -var 'db_password=[redacted: secret]'";

    let records = json(&export("jsonl", &[]));
    let numbers: Vec<_> = records.iter().map(|record| record["sequence"].as_u64().unwrap()).collect();
    assert_eq!((numbers, &records[0]["act"]["object"]), (vec![1, 2, 3], &command.into()));
    assert_eq!(records[0]["act"]["process"]["argv"][3], "db_password=[redacted: secret]");
    assert!(export("jsonl", &["--unredacted"]).contains("db_password=hunter2"));

    let table = export("csv", &["--to", "2"]);
    let mut table = csv::Reader::from_reader(table.as_bytes());
    let rows: Vec<HashMap<String, String>> = table.deserialize().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 2);
    let expected = [
        ("sequence", "2"),
        ("time", "2026-11-21T05:04:01.5Z"),
        ("what", "decided"),
        ("session", "demo"),
        ("profile", "autonomous"),
        ("operation", "command"),
        ("object", command),
        ("command", command),
        ("label", "destroy"),
        ("rule", "ask"),
        ("request", "J1RZ"),
        ("decision", "approved"),
        ("approver_uid", "0"),
        ("approver", "root"),
        ("pid", "42"),
        ("comm", "terraform"),
        ("exe", ""),
    ];
    for (column, cell) in expected {
        assert_eq!(rows[1][column], cell, "{column}");
    }

    let events = json(&export("ocsf", &["--since", "2026-11-21T05:04:01Z"]));
    let types: Vec<_> = events.iter().map(|event| event["type_uid"].as_u64().unwrap()).collect();
    assert_eq!(types, [200_401, 200_403, 600_299]);
    for event in &events {
        for required in ["activity_id", "category_uid", "class_uid", "metadata", "severity_id", "time", "type_uid"] {
            assert!(!event[required].is_null(), "{required}: {event}");
        }
        assert_eq!((&event["metadata"]["version"], &event["device"]["boot_uid"]), (&"1.5.0".into(), &"b0".into()));
        assert_eq!(event["time"], 1_795_237_441_500_u64);
    }
    assert_eq!(events[1]["evidences"][0]["process"]["cmd_line"], command);
    assert_eq!((&events[1]["actor"]["user"]["name"], &events[1]["disposition"]), (&"root".into(), &"Approved".into()));
    assert_eq!(export("ocsf", &["--until", "2026-11-21T05:04:01Z"]), "");
    fs::remove_dir_all(dir).unwrap();
}
