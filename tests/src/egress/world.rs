//! Owns how the world is made, by `tests/egress/world.sh`, and what its servers have seen.
//!
//! Must not know who reaches them.

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::agent;

const SCRIPT: &str = include_str!("../../egress/world.sh");
const PROGRAM: &str = "/opt/egress/world.sh";
/// Where the servers keep what they need, and write what they see.
const PLACE: &str = "/srv/far";
const LOG: &str = "world.log";
/// The start of the cloud alone takes emulation some ten seconds; a busy host more.
const PATIENCE: Duration = Duration::from_secs(300);

/// Makes it, and installs the agent's programs. In the end every server answers.
pub fn make() {
    agent::install();
    fs::create_dir_all(PLACE).unwrap();
    fs::write(PROGRAM, SCRIPT).unwrap();
    // Servers keep what their maker had open: a pipe would never end.
    let log = File::create(format!("{PLACE}/{LOG}")).unwrap();
    let mut command = Command::new("sh");
    command.args([PROGRAM, PLACE]).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    let (start, mut maker) = (Instant::now(), command.spawn().unwrap());
    let status = loop {
        if let Some(status) = maker.try_wait().unwrap() {
            break status;
        }
        assert!(start.elapsed() < PATIENCE, "it is not made: {}", read(LOG));
        sleep(Duration::from_millis(50));
    };
    assert!(status.success(), "{status}: {}", read(LOG));
    eprintln!("the world was made in {:.1} s", start.elapsed().as_secs_f32());
}

fn read(name: &str) -> String {
    fs::read_to_string(format!("{PLACE}/{name}")).unwrap_or_default()
}

/// How many TCP connections the far side has accepted so far, to whichever address and from whomever: the kernel's count.
#[must_use]
pub fn tcp_arrivals() -> u64 {
    let mut command = Command::new("nsenter");
    let output = command.args(["--net=/run/netns/far", "cat", "/proc/net/snmp"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    // Two lines: names, and values in the same order.
    let mut rows = text.lines().filter(|line| line.starts_with("Tcp:")).map(str::split_whitespace);
    let (names, values) = (rows.next().unwrap(), rows.next().unwrap());
    let (_, value) = names.zip(values).find(|(name, _)| *name == "PassiveOpens").unwrap();
    value.parse().unwrap()
}

/// What production's web server was asked for, a line each.
#[must_use]
pub fn web_arrivals() -> Vec<String> {
    read("production.log").lines().map(str::to_owned).collect()
}

/// How often production's name server was asked for a name.
#[must_use]
pub fn lookups(name: &str) -> usize {
    let question = format!("] {name} from ");
    read("datagrams.log").lines().filter(|line| line.contains("query[") && line.contains(&question)).count()
}
