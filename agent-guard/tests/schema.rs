//! The served description against the server: schemathesis makes calls of it, fitting and unfitting ones, and judges
//! the answers by it. What the loop answers is the script's; that the daemon's own answers fit is for the guests.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod common;

use agent_guard::api::Standing;
use common::Daemon;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, thread};
use tokio::net::{TcpListener, UnixStream};

/// What schemathesis is told; each check that is bent has its reason there.
const CONFIGURATION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/schemathesis.toml");
/// Where `cargo xtask setup` puts it.
const PACKAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/schemathesis");

/// Schemathesis speaks TCP only: passes connections on to a socket for as long as the tests run.
fn bridge(socket: PathBuf) -> String {
    let (ready, is_ready) = std::sync::mpsc::channel();
    drop(thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            ready.send(listener.local_addr().unwrap()).unwrap();
            while let Ok((mut near, _)) = listener.accept().await {
                let socket = socket.clone();
                drop(tokio::spawn(async move {
                    let mut far = UnixStream::connect(socket).await?;
                    tokio::io::copy_bidirectional(&mut near, &mut far).await
                }));
            }
        });
    }));
    format!("http://{}", is_ready.recv().unwrap())
}

/// Has schemathesis call a daemon by its control socket. `AGENT_GUARD_SCHEMA_EXAMPLES=1000` makes it call more often.
fn examine(daemon: &Daemon, options: &[&str]) {
    assert!(Path::new(PACKAGES).exists(), "schemathesis is not there: run `cargo xtask setup`");
    // Streams would go on until its patience ends: they end when all that is known has been said.
    daemon.script.lock().unwrap().end_streams = true;
    let url = bridge(daemon.dir.join("control.sock"));
    let examples = env::var("AGENT_GUARD_SCHEMA_EXAMPLES").unwrap_or_else(|_| "20".to_owned());
    let output = Command::new("python3")
        .args(["-m", "schemathesis.cli", "--config-file", CONFIGURATION, "run", "--no-color"])
        .args(["--url", &url, "--max-examples", &examples])
        .args(options)
        .arg(format!("{url}/v1/openapi.json"))
        .env("PYTHONPATH", fs::canonicalize(PACKAGES).unwrap())
        // It leaves its notes where it runs.
        .current_dir(&daemon.dir)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");
    println!("{said}");
}

#[test]
fn every_answer_of_the_control_socket_is_as_the_description_says() {
    examine(&Daemon::start(), &[]);
}

#[test]
fn every_answer_to_a_guarded_process_is_as_the_description_says() {
    let daemon = Daemon::start();
    daemon.script.lock().unwrap().standing = Standing::Guarded { session: Some("S0".to_owned()) };
    examine(&daemon, &["--include-tag", "intents", "--include-tag", "requests"]);
}
