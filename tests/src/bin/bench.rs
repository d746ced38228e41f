//! Owns the benchmarks: what is measured in a guest whose clock counts instructions, and the figures' names.
//!
//! Must not know how a guest gets such a clock. It prints a figure a line, in instructions, or as a ratio of
//! them. What is compared takes turns.

#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::fmt::Display;
use std::fs;
use std::net::Ipv4Addr;

use agent_guard_tests::guest::{Agent, Daemon, NameServer, Record, eventually};

const POLICY: &str = "version: 1
labels:
  production: { endpoints: [{ name: '*.prod.test' }] }
profiles:
  agent: { default: allow }
rules:
  - { name: ask, profiles: agent, operations: connect, labels: production, verdict: hold }
";
const ROUNDS: usize = 5;
/// Is there when a series is over.
const OVER: &str = "/tmp/over";
/// The machine's own name server; a session's lookups of it go to its resolver.
const LOOK_UP: &str = "look-up udp-connected 127.0.0.53:53 docs.test";
/// The same by somebody who is impatient: what a daemon that is killed has taken and not answered is lost.
const LOOK_UP_BRIEFLY: &str = "look-up udp-connected-briefly 127.0.0.53:53 docs.test";

fn main() {
    let server = NameServer::start();
    server.set("docs.test", Record::Address(Ipv4Addr::new(198, 18, 0, 10)));
    let daemon = Daemon::start(POLICY);
    lookups(&daemon, &server);
}

fn tell(name: &str, figure: impl Display) {
    println!("{name}\t{figure}");
}

/// A lookup, and for how long a restart of the daemon keeps lookups from being answered.
fn lookups(daemon: &Daemon, server: &NameServer) {
    let mut agents = [Agent::unguarded(), Agent::under("agent", "lookups")];
    let mut medians = [u32::MAX; 2];
    for _ in 0..ROUNDS {
        for (agent, median) in agents.iter_mut().zip(&mut medians) {
            let timed = agent.act(&format!("timed 200 {LOOK_UP}"));
            assert_eq!(timed.errno, 0, "{timed:?}");
            *median = u32::try_from(timed.value["median"].as_u64().unwrap()).unwrap().min(*median);
        }
    }
    let [direct, through] = medians;
    tell("lookup: of the machine's name server itself", direct);
    tell("lookup: through the session's resolver", through);
    tell("lookup: the second to the first", format!("{:.2}", f64::from(through) / f64::from(direct)));
    let [_, guarded] = &mut agents;
    guarded.begin(&format!("longest-gap {OVER} {LOOK_UP_BRIEFLY}"));
    daemon.restart();
    let asked = server.asked();
    // The daemon that was killed has kept the answer: the next one asks for it.
    eventually("lookups are answered again", || (server.asked() > asked).then_some(()));
    fs::write(OVER, "").unwrap();
    tell("lookup: none while the daemon is killed and starts again", guarded.finish().value);
}
