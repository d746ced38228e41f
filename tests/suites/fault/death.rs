//! Owns the daemon's ends: whatever was refused stays refused, what was held is refused, and what comes back knows it all.
//!
//! Must not test other faults.

use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use agent_guard_tests::guest::{
    Run, answer, approve, await_request_in, cli, eventually, never_within, proc_state, processes, request, requests,
    sessions,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::{daemon, file, id_of, run, said, text};

/// A tree that tries, without end, what is held or denied, and says what it got away with.
const ATTEMPTS: &str = "\
i=0
while [ ! -e /tmp/attempts-over ]; do
  i=$((i+1))
  rm /srv/LABEL/keep && echo ESCAPED rm
  touch /srv/LABEL/new-$i && echo ESCAPED create
  mv /srv/LABEL/keep /srv/moved-$i && echo ESCAPED rename
  mv /srv/bait /srv/LABEL/bait-$i && echo ESCAPED rename into
  echo x >> /srv/LABEL/keep && echo ESCAPED write
  timeout 3 nc -w 1 127.9.0.1 7777 </dev/null
  echo round $i
  sleep 0.5
done 2>/dev/null";

/// How long one round of attempts may take beside other guests: a keeper alone has 20 seconds.
const LONG: Duration = Duration::from_secs(180);

/// Four trees at it while the daemon dies so many times.
fn nothing_escapes(rounds: u32) {
    let daemon = daemon();
    let forbidden = TcpListener::bind("127.9.0.1:7777").unwrap();
    forbidden.set_nonblocking(true).unwrap();
    fs::write("/srv/bait", "bait").unwrap();
    drop(fs::remove_file("/tmp/attempts-over"));
    let labels = ["held", "denied", "held", "denied"];
    for label in labels {
        // What an earlier test has left there is no sign of an escape.
        fs::remove_dir_all(format!("/srv/{label}")).unwrap();
        fs::create_dir(format!("/srv/{label}")).unwrap();
        drop(file(label, "keep"));
    }
    let mut trees: Vec<Run> = labels
        .iter()
        .enumerate()
        .map(|(number, label)| Run::shell(&format!("attempts-{number}"), &ATTEMPTS.replace("LABEL", label)))
        .collect();
    trees[1].await_stdout("round 2");
    for round in 0..rounds {
        let before: Vec<usize> = trees.iter().map(|tree| tree.stdout().len()).collect();
        // At any moment: what the daemon is doing then differs from round to round.
        sleep(Duration::from_millis(u64::from(round * 137 % 1000)));
        daemon.kill9();
        // While nobody is there, everybody gets on: held trees too, once their keepers have woken them.
        for (tree, before) in trees.iter().zip(before) {
            let begun = Instant::now();
            while tree.stdout().len() <= before {
                assert!(begun.elapsed() < LONG, "no attempt without a daemon: {tree:?}\n{}", processes());
                sleep(Duration::from_millis(50));
            }
        }
        daemon.launch();
    }
    fs::write("/tmp/attempts-over", "").unwrap();
    for (tree, label) in trees.iter_mut().zip(labels) {
        end_of(tree);
        assert!(!tree.stdout().contains("ESCAPED"), "{label}: {}", tree.stdout());
        let keep = format!("/srv/{label}/keep");
        assert_eq!(fs::read_to_string(&keep).unwrap(), "keep");
        let listed = fs::read_dir(format!("/srv/{label}")).unwrap().map(|entry| entry.unwrap().file_name());
        let strange = |name: &std::ffi::OsString| {
            let name = name.to_string_lossy();
            name.starts_with("new-") || name.starts_with("bait")
        };
        assert_eq!(listed.filter(strange).count(), 0);
    }
    assert_eq!(fs::read_to_string("/srv/bait").unwrap(), "bait");
    assert_eq!(forbidden.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    fs::remove_file("/tmp/attempts-over").unwrap();
    // The other half: nobody's tree may do all of it.
    let script = ATTEMPTS.replace("LABEL", "held").replace("while [ ! -e /tmp/attempts-over ]", "while [ $i -lt 1 ]");
    let (_, free) = run("/bin/sh", &["-c", &script]);
    assert_eq!(free.matches("ESCAPED").count(), 4, "all but to move what is deleted already: {free}");
    assert!(forbidden.accept().is_ok());
    drop(fs::remove_file("/srv/held/keep"));
}

/// Refuses whatever a tree still asks, so that it comes to its end and has said all that it has to say.
fn end_of(tree: &mut Run) {
    let name = tree.name.clone();
    eventually("the end of the attempts", || {
        let asks = |request: &Value| request["state"] == "pending" && request["session"]["name"] == *name;
        for request in requests().iter().filter(|request| asks(request)) {
            // One that is over by now is no mistake.
            drop(answer(&id_of(request), "deny"));
        }
        tree.has_ended().then_some(())
    });
    tree.wait();
}

#[test]
fn long_fault_killing_the_daemon_never_lets_a_forbidden_act_through() {
    nothing_escapes(2);
}

#[test]
fn long_fault_killing_the_daemon_twenty_times_never_lets_a_forbidden_act_through() {
    nothing_escapes(20);
}

#[test]
fn fault_a_held_act_is_refused_within_seconds_of_the_daemons_death() {
    let daemon = daemon();
    let held = file("held", "orphaned");
    let mut run = Run::shell("orphaned", "rm /srv/held/orphaned; echo rm=$?; read end");
    let id = id_of(&await_request_in("orphaned"));
    let death = Instant::now();
    daemon.kill9();
    run.await_stdout("rm=1");
    assert!(death.elapsed() < Duration::from_secs(20), "{:?}", death.elapsed());
    assert!(held.exists(), "{run:?}");
    run.await_stderr("agent-guard: the daemon is gone");
    run.wait();
    // Nothing new begins either: no session, and thus no command.
    let output = cli(&["run", "--", "touch", "/srv/began"]);
    assert_eq!(output.status.code(), Some(125), "{}", text(&output.stderr));
    assert!(!Path::new("/srv/began").exists());
    assert_eq!(said(&cli(&["requests"])).0, 3);
    // Untagged, nobody is asked for.
    fs::remove_file(&held).unwrap();
    crate::daemon();
    // What was asked is no secret of the daemon that died.
    let asked = request(&id);
    assert_eq!((&asked["state"], &asked["object"]), (&"expired".into(), &"/srv/held/orphaned".into()));
    assert!(asked["decision"]["reason"].as_str().is_some_and(|reason| reason.contains("daemon")), "{asked}");
}

#[test]
fn fault_a_restarted_daemon_goes_on_with_what_was_asked_and_can_be_answered() {
    let daemon = daemon();
    let held = file("held", "again");
    let mut run = Run::shell("again", "rm /srv/held/again; echo rm=$?");
    let first = await_request_in("again");
    let before = session("again");
    // A keeper that is stopped wakes nobody, so that the restarted daemon finds its process as it was.
    let keeper = Pid::from_raw(run.pid().cast_signed());
    kill(keeper, Signal::SIGSTOP).unwrap();
    daemon.restart();
    let after = session("again");
    for field in ["id", "name", "profile", "uid", "root_pid"] {
        assert_eq!(before[field], after[field], "{field}");
    }
    let again = await_request_in("again");
    for field in ["id", "object", "process", "asked_at", "expires_at", "state"] {
        assert_eq!(again[field], first[field], "{field}");
    }
    never_within(Duration::from_secs(2), "it passes unanswered", || !held.exists());
    kill(keeper, Signal::SIGCONT).unwrap();
    approve(&id_of(&again));
    assert_eq!(run.wait(), 0);
    assert!(run.stdout().contains("rm=0") && !held.exists(), "{run:?}");
}

fn session(name: &str) -> Value {
    sessions().into_iter().find(|session| session["name"] == name).unwrap_or_else(|| panic!("no session {name}"))
}

#[test]
fn fault_an_approval_dies_with_the_daemon_that_was_to_deliver_it() {
    let daemon = daemon();
    let held = file("held", "late-approval");
    let mut run = Run::shell("late-approval", "rm /srv/held/late-approval; echo rm=$?");
    let id = id_of(&await_request_in("late-approval"));
    // Frozen, its process cannot take the answer before the daemon is gone.
    let cgroup = session("late-approval")["cgroup"].as_str().unwrap().to_owned();
    fs::write(format!("{cgroup}/cgroup.freeze"), "1").unwrap();
    approve(&id);
    daemon.kill9();
    // Longer than a heartbeat counts, and than a grant lives.
    sleep(Duration::from_secs(7));
    fs::write(format!("{cgroup}/cgroup.freeze"), "0").unwrap();
    assert_eq!(run.wait(), 0);
    assert!(run.stdout().contains("rm=1") && held.exists(), "{run:?}");
    crate::daemon();
}

#[test]
fn fault_a_clean_end_says_so_goes_on_refusing_and_leaves_a_log_that_is_gone_on_with() {
    let daemon = daemon();
    let denied = file("denied", "clean");
    let mut tree = Run::shell("clean", "read x; rm /srv/denied/clean; echo rm=$?");
    eventually("its session", || sessions().iter().any(|session| session["name"] == "clean").then_some(()));
    assert_eq!(daemon.terminate(), 0, "{}", daemon.log());
    let audit = daemon.audit();
    let whats: Vec<&Value> = audit[audit.len() - 2..].iter().map(|record| &record["what"]).collect();
    assert_eq!(whats, ["daemon-stopped", "checkpoint"]);
    tree.send("go");
    assert_eq!(tree.wait(), 0);
    assert!(tree.stdout().contains("rm=1") && denied.exists(), "{tree:?}");
    // Meanwhile the log is torn, as a power cut may leave it.
    let log = "/var/log/agent-guard/audit.jsonl";
    let number = daemon.audit().last().unwrap()["sequence"].as_u64().unwrap();
    let torn = format!("{{\"sequence\":{},\"boot\":\"", number + 1);
    let before = fs::read_to_string(log).unwrap() + &torn;
    fs::write(log, &before).unwrap();
    crate::daemon();
    let after = fs::read_to_string(log).unwrap();
    let behind = after.strip_prefix(&before).unwrap().strip_prefix('\n').unwrap();
    let next: Value = serde_json::from_str(behind.lines().next().unwrap()).unwrap();
    assert!(next["sequence"].as_u64().unwrap() > number, "{next}");
    assert!(behind.contains("\"daemon-started\""), "{behind}");
    // For the tests after this one: the log without the torn line.
    fs::write(log, after.replacen(&format!("{torn}\n"), "", 1)).unwrap();
}

#[test]
fn fault_after_kill_the_same_act_passes_and_the_tree_is_gone() {
    daemon();
    let held = file("held", "killed");
    let mut run = Run::shell("killed", "(setsid sh -c 'rm /srv/held/killed' &) ; rm /srv/held/killed");
    drop(await_request_in("killed"));
    let root = session("killed")["root_pid"].as_u64().unwrap();
    assert_eq!(said(&cli(&["kill", "killed"])).0, 0);
    assert_eq!(run.wait(), 137);
    let root = u32::try_from(root).unwrap();
    eventually("its end", || matches!(proc_state(root), None | Some('Z')).then_some(()));
    eventually("the session's end", || sessions().iter().all(|session| session["name"] != "killed").then_some(()));
    never_within(Duration::from_secs(1), "the file goes", || !held.exists());
    fs::remove_file(held).unwrap();
}
