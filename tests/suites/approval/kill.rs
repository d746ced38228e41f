//! Owns what a daemon leaves that is killed at any instant, while many ask and somebody answers: nothing that was asked or
//! answered is lost, nothing is granted twice, and nobody is held for ever.
//!
//! Must not test what happens without a daemon (`fault`): here the next one comes at once.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::Duration;

use agent_guard_tests::guest::{CONTROL_SOCKET, Run, cli, eventually, http};
use serde_json::{Value, json};

use crate::{daemon, id_of};

/// Makes one file after the other and deletes it, which is asked about; says which are gone.
const WORK: &str = "\
i=0
while [ ! -e /tmp/killing-over ]; do
  i=$((i+1)); file=/srv/anywhere/killing-TREE-$i
  : > $file
  if rm -f $file 2>/dev/null; then echo gone $file; else echo stays $file; fi
done";
const TREES: usize = 4;

/// What the approver has heard from any daemon.
#[derive(Default)]
struct Heard {
    /// Every request that was shown as waiting.
    asked: Vec<String>,
    /// The answers that were taken.
    taken: BTreeMap<String, &'static str>,
}

/// Tells the approver to stop, also where a test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Answers whatever waits, a yes and a no by turns, until told to stop. A daemon that is gone answers nothing.
fn answer_all(heard: &Mutex<Heard>, stop: &AtomicBool) {
    let mut turn = 0_usize;
    while !stop.load(Ordering::SeqCst) {
        let listed = http(CONTROL_SOCKET, "GET", "/v1/requests?state=pending", None);
        let pending = listed.ok().filter(|listed| listed.status == 200).map(|listed| listed.json());
        for request in pending.iter().flat_map(|pending| pending.as_array().unwrap()) {
            if !request["session"]["name"].as_str().unwrap().starts_with("killing-") {
                continue;
            }
            let id = id_of(request);
            heard.lock().unwrap().asked.push(id.clone());
            turn += 1;
            let choice = if turn.is_multiple_of(2) { "approve" } else { "deny" };
            let said = http(CONTROL_SOCKET, "POST", &format!("/v1/requests/{id}/{choice}"), Some(&json!({})));
            if said.is_ok_and(|said| said.status == 200) {
                heard.lock().unwrap().taken.insert(id, choice);
            }
        }
        sleep(Duration::from_millis(20));
    }
}

fn killed(rounds: u64) {
    let daemon = daemon();
    drop(std::fs::remove_file("/tmp/killing-over"));
    let (heard, stop) = (Mutex::new(Heard::default()), AtomicBool::new(false));
    let mut trees: Vec<Run> = (0..TREES)
        .map(|tree| Run::shell(&format!("killing-{tree}"), &WORK.replace("TREE", &tree.to_string())))
        .collect();
    thread::scope(|scope| {
        scope.spawn(|| answer_all(&heard, &stop));
        let _stop = Stop(&stop);
        // A daemon that is killed before a session has begun starts none.
        for tree in &mut trees {
            tree.await_stdout("/srv/anywhere/killing-");
        }
        for round in 0..rounds {
            // At any instant: what the daemon is doing then differs from round to round.
            sleep(Duration::from_millis(round * 137 % 1000));
            daemon.restart();
        }
        std::fs::write("/tmp/killing-over", "").unwrap();
        for tree in &mut trees {
            eventually("the end of a tree", || tree.has_ended().then_some(()));
        }
    });
    let verified = cli(&["audit", "verify"]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    let records: Vec<Value> = daemon.audit().into_iter().filter(is_ours).collect();
    let heard = heard.into_inner().unwrap();
    assert!(heard.taken.len() > TREES && heard.taken.values().any(|choice| *choice == "approve"), "too few answers");
    nothing_is_lost(&records, &heard);
    nothing_is_granted_twice(&records, &trees);
}

fn is_ours(record: &Value) -> bool {
    record["act"]["session"]["name"].as_str().is_some_and(|name| name.starts_with("killing-"))
}

fn nothing_is_lost(records: &[Value], heard: &Heard) {
    let mut decisions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for record in records.iter().filter(|record| record["what"] == "decided" && !record["request"].is_null()) {
        let id = record["request"].as_str().unwrap();
        decisions.entry(id).or_default().push(record["decision"].as_str().unwrap());
    }
    for id in &heard.asked {
        let known = decisions.get(id.as_str());
        assert!(known.is_some_and(|known| !known.is_empty()), "request {id} was asked, and came to no end");
    }
    for (id, choice) in &heard.taken {
        let decision = if *choice == "approve" { "approved" } else { "denied" };
        assert_eq!(decisions[id.as_str()], [decision], "request {id} was answered");
    }
    // None waits on without anybody who could hear the answer.
    let listed = http(CONTROL_SOCKET, "GET", "/v1/requests?state=pending", None).unwrap().json();
    let left = listed.as_array().unwrap().iter().filter(|request| is_ours(&json!({ "act": request }))).count();
    assert_eq!(left, 0, "{listed}");
}

fn nothing_is_granted_twice(records: &[Value], trees: &[Run]) {
    let about = |what: &str, object: &str| {
        let is_one = |record: &&Value| record["what"] == what && record["act"]["object"] == object;
        records.iter().filter(is_one).collect::<Vec<_>>()
    };
    let mut gone = 0;
    for line in trees.iter().flat_map(|tree| tree.stdout().lines().map(str::to_owned).collect::<Vec<_>>()) {
        let (outcome, file) = line.split_once(' ').unwrap();
        let passed = about("passed", file).len();
        if outcome == "gone" {
            gone += 1;
            let approved = about("decided", file).iter().any(|record| record["decision"] == "approved");
            assert!(approved, "{file} is gone, and nobody has said yes");
            assert!(passed <= 1, "{file}: one act passed {passed} times");
        } else {
            assert!(Path::new(file).exists() && passed == 0, "{file} was refused, and is gone");
            std::fs::remove_file(file).unwrap();
        }
    }
    assert!(gone > 0, "nothing was approved");
}

#[test]
fn approval_loses_and_doubles_nothing_when_the_daemon_is_killed_twenty_times() {
    killed(20);
}

/// With the other two kernels, five hundred times.
#[test]
fn long_approval_loses_and_doubles_nothing_however_often_the_daemon_is_killed() {
    killed(167);
}
