//! `run` as its user meets it: exit statuses, signals, the terminal, and what happens without a daemon.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod common;

use agent_guard::api::types::{EnvPolicy, Notice, NoticeKind, Variable};
use common::{Daemon, connect, scratch};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::os::unix::net::UnixListener;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{fs, os::fd::OwnedFd};

const PROGRAM: &str = env!("CARGO_BIN_EXE_agent-guard");

/// A run whose signals do what they do by default, whoever started this test: one in the background of a script has
/// those of the keyboard ignored, and no shell can trap what it finds ignored.
fn run(dir: &Path, command: &[&str]) -> Command {
    let mut run = Command::new("env");
    run.arg("--default-signal").arg(PROGRAM).arg("--run-dir").arg(dir).arg("run").arg("--").args(command);
    run
}

fn output(dir: &Path, command: &[&str]) -> Output {
    run(dir, command).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed()).unwrap()
}

/// Waits until a condition holds.
fn eventually(what: &str, condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < Duration::from_secs(15), "{what}");
        sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_status_is_the_commands_own() {
    let daemon = Daemon::start();
    for (script, status) in [("exit 0", 0), ("exit 1", 1), ("exit 77", 77), ("exit 255", 255), ("kill -9 $$", 137)] {
        let output = output(&daemon.dir, &["sh", "-c", script]);
        assert_eq!(output.status.code(), Some(status), "{script}: {}", stderr(&output));
    }
}

#[test]
fn a_command_that_cannot_be_executed_gives_its_session_back() {
    let daemon = Daemon::start();
    let missing = output(&daemon.dir, &["/no/such/command"]);
    assert_eq!(missing.status.code(), Some(127), "{}", stderr(&missing));
    let closed = output(&daemon.dir, &["/etc/passwd"]);
    assert_eq!(closed.status.code(), Some(126), "{}", stderr(&closed));
    assert!(stderr(&closed).contains("cannot execute /etc/passwd: "), "{}", stderr(&closed));
    assert_eq!(daemon.script.lock().unwrap().released.len(), 2);
}

#[test]
fn without_a_daemon_the_command_does_not_run() {
    let dir = scratch();
    let file = dir.join("ran");
    let output = output(&dir, &["touch", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(125));
    assert!(stderr(&output).contains("the command was not run: the daemon is not running (no "), "{}", stderr(&output));
    assert!(stderr(&output).contains("systemctl start agent-guard"), "{}", stderr(&output));
    sleep(Duration::from_millis(100));
    assert!(!file.exists());
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_session_that_is_refused_does_not_run_the_command() {
    let daemon = Daemon::start();
    daemon.script.lock().unwrap().refuse_start = true;
    let file = daemon.dir.join("ran");
    let output = output(&daemon.dir, &["touch", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(125));
    assert!(stderr(&output).contains("no profile nosuch"), "{}", stderr(&output));
    assert!(!file.exists());
}

#[test]
fn a_run_that_finds_no_seat_waits_for_one() {
    let daemon = Daemon::start();
    // As many as one user may have: see `CONNECTIONS` of the server.
    let crowd: Vec<_> = (0..64).map(|_| connect(&daemon.dir, "agent.sock")).collect();
    let child = run(&daemon.dir, &["true"]).stderr(Stdio::piped()).spawn().unwrap();
    sleep(Duration::from_millis(300));
    assert!(daemon.script.lock().unwrap().started.is_empty(), "there is no seat for it yet");
    drop(crowd);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(daemon.script.lock().unwrap().started.len(), 1, "and it has asked once");
}

#[test]
fn the_daemon_is_told_of_the_child_that_becomes_the_command() {
    let daemon = Daemon::start();
    let script = "echo $$ $PPID; grep -E '^Sig(Blk|Ign)' /proc/self/status; ps -o pgid= -p $$ -p $PPID";
    let child = run(&daemon.dir, &["sh", "-c", script]).stdout(Stdio::piped()).spawn().unwrap();
    let keeper = child.id();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (start, peer) = daemon.script.lock().unwrap().started[0].clone();
    let mut lines = text.lines();
    assert_eq!(lines.next().unwrap(), format!("{} {keeper}", start.child_pid), "{text}");
    assert_eq!((peer, start.argv[0].as_str()), (keeper, "sh"));
    for line in [lines.next().unwrap(), lines.next().unwrap()] {
        let signals = u64::from_str_radix(line.split_whitespace().last().unwrap(), 16).unwrap();
        // Below the real-time signals, which the C library of whoever runs this test may have ignored.
        assert_eq!(signals & 0x7fff_ffff, 0, "a signal is blocked or ignored in the command: {line}");
    }
    let groups: Vec<&str> = lines.map(str::trim).collect();
    assert_eq!(groups[0], groups[1], "the command shares its keeper's process group");
    assert_ne!(groups[0], start.child_pid.to_string(), "and does not lead it");
}

/// A run with an environment policy, in an environment with these variables.
fn with_variables(dir: &Path, policy: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut run = Command::new(PROGRAM);
    run.arg("--run-dir").arg(dir).arg("run").args(policy).args(["--", "sh", "-c", "env; exit 3"]);
    run.envs(variables.iter().copied()).output().unwrap()
}

#[test]
fn a_command_is_not_passed_the_credentials_that_the_daemon_strips_and_its_user_is_told() {
    let daemon = Daemon::start();
    let variable = |name: &str, environment: &str, strip| {
        let (name, environment) = (name.to_owned(), environment.to_owned());
        Variable { name, environment, label: "keys".to_owned(), strip }
    };
    daemon.script.lock().unwrap().variables =
        vec![variable("GUARD_SECRET", "production", true), variable("GUARD_OTHER", "staging", false)];
    let variables = [("GUARD_SECRET", "a secret\nof two lines"), ("GUARD_OTHER", "other"), ("GUARD_PLAIN", "plain")];
    let output = with_variables(&daemon.dir, &[], &variables);
    let shown = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(!shown.contains("GUARD_SECRET") && !shown.contains("two lines"), "{shown}");
    assert!(shown.contains("GUARD_OTHER=other\n") && shown.contains("GUARD_PLAIN=plain\n"), "{shown}");
    assert!(shown.contains("PATH="), "{shown}");
    let expected =
        "agent-guard: not passed on, as credentials of production: GUARD_SECRET; --env-policy keep passes them on\n";
    assert_eq!(stderr(&output), expected);
    let asked = daemon.script.lock().unwrap().asked.clone();
    assert!(asked.len() == 1 && asked[0].names.iter().any(|name| name == "GUARD_PLAIN"), "{asked:?}");
    assert!(!format!("{asked:?}").contains("two lines"), "what a variable holds is told to nobody: {asked:?}");
    assert_eq!((asked[0].policy, asked[0].profile.as_deref()), (None, None));
}

#[test]
fn what_the_flag_says_is_asked_for_and_keep_asks_for_nothing() {
    let daemon = Daemon::start();
    let stripped = Variable {
        name: "GUARD_SECRET".to_owned(),
        environment: "production".to_owned(),
        label: "keys".to_owned(),
        strip: true,
    };
    daemon.script.lock().unwrap().variables = vec![stripped];
    let variables = [("GUARD_SECRET", "secret")];
    let output = with_variables(&daemon.dir, &["--env-policy", "keep"], &variables);
    assert!(String::from_utf8_lossy(&output.stdout).contains("GUARD_SECRET=secret\n"));
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(3), ""));
    assert!(daemon.script.lock().unwrap().asked.is_empty());
    for (word, policy) in [("strip-production", EnvPolicy::StripProduction), ("strip", EnvPolicy::Strip)] {
        let output = with_variables(&daemon.dir, &["--env-policy", word, "--profile", "human"], &variables);
        assert!(!String::from_utf8_lossy(&output.stdout).contains("GUARD_SECRET"), "{word}");
        let asked = daemon.script.lock().unwrap().asked.pop().unwrap();
        assert_eq!((asked.policy, asked.profile.as_deref()), (Some(policy), Some("human")));
    }
    let output = with_variables(&daemon.dir, &["--env-policy", "drop"], &variables);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("[possible values: keep, strip-production, strip]"), "{}", stderr(&output));
}

#[test]
fn names_that_no_label_can_name_are_not_asked_about_and_are_kept() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    let daemon = Daemon::start();
    let long = "L".repeat(256);
    let mut run = run(&daemon.dir, &["env"]);
    let output = run.env(OsStr::from_bytes(b"GUARD_\xff_TOKEN"), "odd").env(&long, "long").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let holds = |line: &[u8]| output.stdout.split(|byte| *byte == b'\n').any(|found| found == line);
    assert!(holds(b"GUARD_\xff_TOKEN=odd") && holds(format!("{long}=long").as_bytes()));
    let asked = daemon.script.lock().unwrap().asked.pop().unwrap();
    assert!(asked.names.iter().all(|name| !name.contains("_TOKEN") && *name != long), "{asked:?}");
}

#[test]
fn signals_to_the_keeper_reach_the_command() {
    let daemon = Daemon::start();
    for (signal, name) in [(Signal::TERM, "TERM"), (Signal::INT, "INT"), (Signal::HUP, "HUP"), (Signal::USR1, "USR1")] {
        let ready = daemon.dir.join(name);
        let script = format!("trap 'echo got; exit 9' {name}; touch {}; while :; do sleep 0.05; done", ready.display());
        let child = run(&daemon.dir, &["bash", "-c", &script]).stdout(Stdio::piped()).spawn().unwrap();
        eventually("the command is ready", || ready.exists());
        kill_process(pid(&child), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.stdout.as_slice(), output.status.code()), (&b"got\n"[..], Some(9)), "{name}");
    }
}

#[test]
fn a_command_that_dies_of_a_forwarded_signal_gives_128_and_its_number() {
    let daemon = Daemon::start();
    let child = run(&daemon.dir, &["sleep", "60"]).spawn().unwrap();
    eventually("the session is there", || !daemon.script.lock().unwrap().started.is_empty());
    sleep(Duration::from_millis(200));
    kill_process(pid(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(143));
}

#[test]
fn a_keeper_that_is_killed_at_the_gate_leaves_no_command_behind() {
    let daemon = Daemon::start();
    let file = daemon.dir.join("ran");
    daemon.script.lock().unwrap().hold_start = true;
    let mut child = run(&daemon.dir, &["touch", file.to_str().unwrap()]).spawn().unwrap();
    eventually("the child waits for its session", || !daemon.script.lock().unwrap().waiting.is_empty());
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    sleep(Duration::from_millis(300));
    assert!(!file.exists());
}

#[test]
fn notices_stand_in_the_standard_error_of_the_process_that_they_are_about() {
    let daemon = Daemon::start();
    let file = daemon.dir.join("errors");
    let script = format!("exec sleep 1 2>{}", file.display());
    let child = run(&daemon.dir, &["sh", "-c", &script]).stderr(Stdio::piped()).spawn().unwrap();
    eventually("the keeper listens", || !daemon.script.lock().unwrap().streams.is_empty() && file.exists());
    let command = daemon.script.lock().unwrap().started[0].0.child_pid;
    let sender = daemon.script.lock().unwrap().streams[0].clone();
    sender.try_send(notice(NoticeKind::Held, Some(command))).unwrap();
    sender.try_send(notice(NoticeKind::Refused, Some(u32::MAX))).unwrap();
    drop(sender);
    let output = child.wait_with_output().unwrap();
    let held = "agent-guard: held: delete /srv/prod/db (request 7K2M): approve with `agent-guard approve 7K2M`\n";
    assert_eq!(fs::read_to_string(file).unwrap(), held);
    let refused = "agent-guard: refused: delete /srv/prod/db (request 7K2M): the policy denies it\n";
    assert_eq!(stderr(&output), refused, "who is not there is told by the keeper");
}

fn notice(kind: NoticeKind, pid: Option<u32>) -> Notice {
    let text = |text: &str| Some(text.to_owned());
    let (operation, object) = (text("delete"), text("/srv/prod/db"));
    Notice { kind, pid, request: text("7K2M"), operation, object, reason: text("the policy denies it") }
}

#[test]
fn a_held_process_is_woken_when_the_daemon_is_gone() {
    let mut daemon = Daemon::start();
    let child = run(&daemon.dir, &["sh", "-c", "kill -STOP $$; exit 5"]).stderr(Stdio::piped()).spawn().unwrap();
    eventually("the keeper listens", || !daemon.script.lock().unwrap().streams.is_empty());
    let command = daemon.script.lock().unwrap().started[0].0.child_pid;
    let command = Pid::from_raw(command.cast_signed()).unwrap();
    sleep(Duration::from_secs(1));
    test_kill_process(command).unwrap();
    let begin = Instant::now();
    daemon.stop();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(5));
    assert!(begin.elapsed() > Duration::from_secs(3), "not before the hooks know: {:?}", begin.elapsed());
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
}

#[test]
fn a_process_is_woken_that_a_daemon_held_which_came_and_went_unheard() {
    let mut daemon = Daemon::start();
    let dir = daemon.dir.clone();
    let file = dir.join("now");
    let script = format!("while [ ! -e {} ]; do sleep 0.1; done; kill -STOP $$; exit 5", file.display());
    let mut child = run(&dir, &["sh", "-c", &script]).stderr(Stdio::piped()).spawn().unwrap();
    eventually("the keeper listens", || !daemon.script.lock().unwrap().streams.is_empty());
    daemon.stop();
    // Long enough for the keeper to have given up looking for somebody who is stopped.
    sleep(Duration::from_secs(12));
    // It has no time to be heard.
    drop(UnixListener::bind(dir.join("agent.sock")).or_else(|_there| {
        fs::remove_file(dir.join("agent.sock"))?;
        UnixListener::bind(dir.join("agent.sock"))
    }));
    fs::write(file, "").unwrap();
    let begin = Instant::now();
    while child.try_wait().unwrap().is_none() && begin.elapsed() < Duration::from_secs(15) {
        sleep(Duration::from_millis(20));
    }
    // A command that is still stopped must not outlive the test.
    let command = daemon.script.lock().unwrap().started[0].0.child_pid.cast_signed();
    kill_process(Pid::from_raw(command).unwrap(), Signal::CONT).ok();
    assert!(begin.elapsed() < Duration::from_secs(15), "it is still stopped");
    assert_eq!(child.wait().unwrap().code(), Some(5));
}

#[test]
fn a_daemon_that_comes_back_in_time_wakes_nobody() {
    let mut daemon = Daemon::start();
    let mut child = run(&daemon.dir, &["sh", "-c", "kill -STOP $$; exit 5"]).spawn().unwrap();
    eventually("the keeper listens", || !daemon.script.lock().unwrap().streams.is_empty());
    let command = daemon.script.lock().unwrap().started[0].0.child_pid;
    daemon.stop();
    let again = Daemon::start_in(daemon.dir.clone());
    eventually("the keeper is back", || !again.script.lock().unwrap().streams.is_empty());
    sleep(Duration::from_secs(5));
    assert!(child.try_wait().unwrap().is_none(), "it is still held");
    kill_process(Pid::from_raw(command.cast_signed()).unwrap(), Signal::KILL).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(137));
}

/// A new terminal: its master, and a command that makes its other end the controlling terminal of what follows.
fn on_terminal(dir: &Path, shell_line: &str) -> (OwnedFd, Child) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    let open = || fs::File::options().read(true).write(true).open(&name).unwrap();
    // `setsid -c` gives the terminal to the shell, whose job control then does what a user's shell does.
    let line = shell_line.replace("RUN", &format!("env --default-signal {PROGRAM} --run-dir {} run --", dir.display()));
    let child = Command::new("setsid")
        .args(["-c", "-w", "bash", "--norc", "-c", &line])
        .stdin(open())
        .stdout(open())
        .stderr(open())
        .spawn()
        .unwrap();
    (master, child)
}

#[test]
fn an_interrupt_from_the_terminal_reaches_the_command_once() {
    let daemon = Daemon::start();
    let out = daemon.dir.join("out");
    let ready = daemon.dir.join("ready");
    let command = format!(
        "set -m; RUN bash -c 'trap \"echo int >>{0}\" INT; touch {1}; for i in 1 2 3 4 5 6 7 8; do sleep 0.2; done; exit 4'; \
         echo status $? >>{0}",
        out.display(),
        ready.display()
    );
    let (master, mut child) = on_terminal(&daemon.dir, &command);
    eventually("the command is ready", || ready.exists());
    rustix::io::write(&master, b"\x03").unwrap();
    child.wait().unwrap();
    assert_eq!(fs::read_to_string(out).unwrap(), "int\nstatus 4\n");
}

#[test]
fn a_stop_from_the_terminal_stops_the_job_and_fg_goes_on() {
    let daemon = Daemon::start();
    let out = daemon.dir.join("out");
    let ready = daemon.dir.join("ready");
    let command = format!(
        "set -m; RUN bash -c 'touch {1}; read line; echo got $line >>{0}; exit 4'; echo stopped $? >>{0}; \
         fg; echo status $? >>{0}",
        out.display(),
        ready.display()
    );
    let (master, mut child) = on_terminal(&daemon.dir, &command);
    eventually("the command is ready", || ready.exists());
    sleep(Duration::from_millis(200));
    rustix::io::write(&master, b"\x1a").unwrap();
    eventually("the shell has its prompt back", || fs::read_to_string(&out).is_ok_and(|text| text.contains("stopped")));
    sleep(Duration::from_millis(300));
    rustix::io::write(&master, b"hello\n").unwrap();
    child.wait().unwrap();
    let text = fs::read_to_string(out).unwrap();
    assert_eq!(text.lines().skip(1).collect::<Vec<_>>(), ["got hello", "status 4"], "{text}");
    drop(master);
}
