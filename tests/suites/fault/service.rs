//! Owns what the daemon tells its service manager: that it is ready when it is, and what it is doing after that.
//!
//! Must not need a service manager: its end of the conversation is a socket here.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use agent_guard_tests::guest::{CONTROL_SOCKET, PATIENCE, http};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{POLICY, POLICY_FILE, daemon, is_well, run, said, text};

const INBOX: &str = "/tmp/notify.sock";

/// A daemon whose service manager is this test.
struct Service(Child);

impl Service {
    fn start() -> Self {
        let mut command = command(&[]);
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id().cast_signed()), signal).unwrap();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // One that has ended already is as good.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new("agent-guard");
    command.arg("daemon").args(args).env("NOTIFY_SOCKET", INBOX);
    command
}

/// The next message.
fn heard(inbox: &UnixDatagram) -> String {
    let mut bytes = [0; 4096];
    let length = inbox.recv(&mut bytes).unwrap();
    text(&bytes[..length])
}

#[test]
fn fault_the_service_manager_hears_of_a_daemon_that_answers_reloads_and_ends() {
    daemon().terminate();
    drop(fs::remove_file(INBOX));
    let inbox = UnixDatagram::bind(INBOX).unwrap();
    // One that cannot start never says that it is ready.
    let (code, refused) = said(&command(&["--policy", "/nonexistent"]).output().unwrap());
    assert_eq!(code, 7, "{refused}");
    inbox.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert_eq!(inbox.recv(&mut [0; 64]).unwrap_err().kind(), ErrorKind::WouldBlock);
    inbox.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut service = Service::start();
    assert_eq!(heard(&inbox), "READY=1\n");
    // It is what it says: it answers, and starts a session.
    assert_eq!(http(CONTROL_SOCKET, "GET", "/v1/status", None).unwrap().json()["pid"], service.0.id());
    assert_eq!(run("agent-guard", &["run", "--", "true"]), (0, String::new()));
    // With a good policy and with a bad one: a reload is over either way.
    for policy in [POLICY, "nonsense"] {
        fs::write(POLICY_FILE, policy).unwrap();
        service.signal(Signal::SIGHUP);
        let reloading = heard(&inbox);
        assert!(reloading.contains("RELOADING=1\n") && reloading.contains("MONOTONIC_USEC="), "{reloading}");
        assert_eq!(heard(&inbox), "READY=1\n");
    }
    fs::write(POLICY_FILE, POLICY).unwrap();
    service.signal(Signal::SIGTERM);
    assert_eq!(heard(&inbox), "STOPPING=1\n");
    assert_eq!(service.0.wait().unwrap().code(), Some(0));
    drop(service);
    // The other half: without a service manager there is nobody to tell, and it starts all the same.
    is_well(daemon());
}
