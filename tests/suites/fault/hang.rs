//! Owns a daemon that hangs: alive, connected and silent. To whoever waits for it, it is as gone as a dead one.
//!
//! Must not test its death.

use std::thread::sleep;
use std::time::{Duration, Instant};

use agent_guard_tests::guest::{
    Agent, Daemon, Run, answer, approve, await_request_in, eventually, proc_state, request, status,
};
use nix::sys::signal::Signal;

use crate::{daemon, file, id_of, is_well};

/// A daemon that does nothing as long as this value lives.
struct Hung(&'static Daemon);

impl Hung {
    fn begin(daemon: &'static Daemon) -> Self {
        daemon.signal(Signal::SIGSTOP);
        eventually("a stopped daemon", || (proc_state(daemon.pid()) == Some('T')).then_some(()));
        Self(daemon)
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        self.0.signal(Signal::SIGCONT);
    }
}

#[test]
fn fault_a_daemon_that_hangs_is_as_one_that_is_gone_until_it_goes_on() {
    let daemon = daemon();
    let (held, denied) = (file("held", "hung"), file("denied", "hung"));
    let mut run = Run::shell("hung", "rm /srv/held/hung; echo rm=$?; read end");
    let mut agent = Agent::guarded("hung-too");
    agent.pid();
    let asked = id_of(&await_request_in("hung"));
    let hung = Hung::begin(daemon);
    let start = Instant::now();
    run.await_stdout("rm=1");
    assert!(start.elapsed() < Duration::from_secs(40), "{:?}", start.elapsed());
    run.await_stderr("agent-guard: the daemon is gone");
    // What is asked now is refused at once, and what is denied stays denied.
    let start = Instant::now();
    for path in [&held, &denied] {
        assert_eq!(agent.errno(&format!("unlink {}", path.display())), 1);
    }
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(held.exists() && denied.exists());
    drop(hung);
    // What was refused meanwhile cannot be approved any more.
    eventually("the end of the old request", || (request(&asked)["state"] != "pending").then_some(()));
    assert_eq!(answer(&asked, "approve").status, 409);
    run.wait();
    assert!(held.exists());
    // The other half: it stamps its heartbeat again, asks, and its answers are good.
    sleep(Duration::from_secs(1));
    agent.begin(&format!("unlink {}", held.display()));
    approve(&id_of(&await_request_in("hung-too")));
    assert_eq!(agent.finish().errno, 0);
    assert!(!held.exists());
    assert_eq!(status()["failures"], serde_json::json!([]));
    is_well(daemon);
}
