//! Owns the promise about credentialed egress, with real tools and real servers: under the shipped policy production is
//! reached on the record until a session has read a credential, and only with a person's yes from then on.
//!
//! Must not know how a session's credentials are noted: `system` tests that. The servers are in a network namespace.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::chown;
use std::process::Command;

use agent_guard_tests::egress::{Outcome, nameless, run, tries, world};
use agent_guard_tests::guest::Daemon;
use serde_json::Value;

const POLICY: &str = include_str!("../../agent-guard/policies/default.yaml");
/// What is production under the shipped policy; its IPv6 range is the operator's to add.
const PRODUCTION: &str = "      - { cidr: 203.0.113.0/24 }\n";
const PRODUCTION_V6: &str = "      - { cidr: \"2001:db8::/32\" }\n";
/// A credential that no tool here is looking for.
const CREDENTIAL: &str = "read:/home/agent/.aws/credentials";
/// Where curl looks for a password when it is told to, and git whatever it is told.
const NETRC: &str = "/home/agent/.netrc";
/// TCP connections that `docs:46` makes: two for each version.
const OF_DOCUMENTATION: u64 = 4;

fn daemon() -> &'static Daemon {
    Daemon::shared(prepare)
}

/// The servers first, and then the daemon: beside their start its own would take longer than anybody waits for it.
fn prepare() -> String {
    world::make();
    assert_eq!(POLICY.matches(PRODUCTION).count(), 1, "the shipped policy names production otherwise");
    POLICY.replace(PRODUCTION, &format!("{PRODUCTION}{PRODUCTION_V6}"))
}

fn yes(_: &Value) -> &'static str {
    "approve"
}

fn no(_: &Value) -> &'static str {
    "deny"
}

/// Runs the agent's tools under guard.
fn guarded(session: &str, words: &[&str], choose: impl FnMut(&Value) -> &'static str) -> Outcome {
    daemon();
    run(session, true, words, choose)
}

/// Each of these words' attempts got through.
fn assert_reached(outcome: &Outcome, words: &[&str]) {
    let tries = tries(words);
    assert_eq!(outcome.attempts.len(), tries.len(), "{outcome:#?}");
    tries.iter().zip(&outcome.attempts).for_each(|(of, attempt)| of.assert_reached(attempt));
}

/// One question was asked for each of these words' attempts, in their order, and it says why.
fn assert_asked(outcome: &Outcome, words: &[&str]) {
    let objects: Vec<String> = tries(words).iter().map(|of| of.object()).collect();
    assert_eq!(outcome.objects(), objects, "{outcome:#?}");
    for request in &outcome.asked {
        assert_eq!(request["operation"], "connect", "{request}");
        assert_eq!(request["rule"]["name"], "agents-with-a-credential-ask-before-connecting", "{request}");
        assert_ne!(request["credentials"].as_array().unwrap().len(), 0, "{request}");
    }
}

/// The objects of a session's records of a kind.
fn recorded(what: &str, session: &str) -> Vec<String> {
    let mut records = daemon().audit();
    records.retain(|record| record["what"] == what && record["act"]["session"]["name"] == session);
    records.iter().map(|record| record["act"]["object"].as_str().unwrap().to_owned()).collect()
}

/// Every tool, over both versions of IP.
const TOOLS: &[&str] = &["psql:46", "curl:46", "ssh:46", "git:46", "python:46", "node:46"];
/// A start of the AWS CLI takes emulation five seconds: of two phases each has it over another version.
const AWS: [&str; 2] = ["aws:4", "aws:6"];

#[test]
fn scenario_egress_every_tool_reaches_production_on_the_record_until_a_credential_is_read() {
    let tools = [TOOLS, &[AWS[0]]].concat();
    let words = [&["docs:46"], tools.as_slice()].concat();
    let outcome = guarded("before", &words, no);
    assert_eq!(
        outcome.objects(),
        [""; 0],
        "nothing is asked, though it has read {:?}",
        recorded("credentialed", "before")
    );
    assert_reached(&outcome, &words);
    assert_eq!(recorded("credentialed", "before"), [""; 0], "no tool reads a credential by itself");
    for of in tries(&tools) {
        daemon().await_record(&of.object(), |record| {
            record["what"] == "audited"
                && record["act"]["session"]["name"] == "before"
                && record["act"]["object"].as_str().map(nameless) == Some(of.object().as_str())
        });
    }
    let others = recorded("audited", "before").into_iter().filter(|object| object.contains("198.51.100."));
    assert_eq!(others.count(), 0, "what is no production is on no record");
}

#[test]
fn scenario_egress_every_tool_is_held_once_a_credential_is_read_and_a_no_is_its_own_error_and_reaches_nobody() {
    daemon();
    let arrived = world::tcp_arrivals();
    let (documentation, tools) = (["docs:46"], [TOOLS, &[AWS[1]]].concat());
    let outcome = guarded("denied", &[&[CREDENTIAL], &documentation[..], &tools, &documentation].concat(), no);
    assert_asked(&outcome, &tools);
    let (refused, documented) = (tries(&tools), tries(&documentation));
    assert_eq!(outcome.attempts.len(), refused.len() + 2 * documented.len(), "{outcome:#?}");
    let (first, rest) = outcome.attempts.split_at(documented.len());
    let (middle, last) = rest.split_at(refused.len());
    refused.iter().zip(middle).for_each(|(of, attempt)| of.assert_refused(attempt));
    for attempts in [first, last] {
        documented.iter().zip(attempts).for_each(|(of, attempt)| of.assert_reached(attempt));
    }
    assert_eq!(world::tcp_arrivals(), arrived + 2 * OF_DOCUMENTATION, "nothing else has arrived");
    assert_eq!(world::lookups("denied.udp.prod.example"), 0);
}

#[test]
fn scenario_egress_a_yes_lets_through_what_it_was_asked_for_and_the_server_answers() {
    let tools = [TOOLS, &[AWS[0]]].concat();
    let outcome = guarded("approved", &[&[CREDENTIAL], tools.as_slice()].concat(), yes);
    assert_asked(&outcome, &tools);
    assert_reached(&outcome, &tools);
    assert_eq!(world::lookups("approved.udp.prod.example"), 2, "once over each version of IP");
}

#[test]
fn scenario_egress_a_yes_is_for_one_connection_and_the_same_again_is_asked_again() {
    let mut answers = ["approve", "deny", "approve"].into_iter();
    let words = ["curl:4", "curl:4", "curl:6"];
    let outcome = guarded("once", &[&[CREDENTIAL], &words[..]].concat(), |_| answers.next().unwrap());
    assert_asked(&outcome, &words);
    let tries = tries(&words);
    tries[0].assert_reached(&outcome.attempts[0]);
    tries[1].assert_refused(&outcome.attempts[1]);
    tries[2].assert_reached(&outcome.attempts[2]);
}

#[test]
fn long_scenario_egress_the_aws_cli_is_held_over_the_other_version_of_ip_as_well() {
    let mut answers = ["deny", "approve"].into_iter();
    let outcome = guarded("aws", &[AWS[1], CREDENTIAL, AWS[0], AWS[1]], |_| answers.next().unwrap());
    assert_asked(&outcome, &AWS);
    let tries = tries(&AWS);
    tries[1].assert_reached(&outcome.attempts[0]);
    tries[0].assert_refused(&outcome.attempts[1]);
    tries[1].assert_reached(&outcome.attempts[2]);
    let outcome = run("aws-free", false, &[CREDENTIAL, AWS[0]], no);
    assert_reached(&outcome, &AWS[..1]);
}

#[test]
fn scenario_egress_nobody_is_asked_about_an_agent_without_guard_that_has_read_the_same_credential() {
    daemon();
    let words = [&[CREDENTIAL, "docs:46"], TOOLS, &[AWS[1]]].concat();
    let outcome = run("free", false, &words, no);
    assert_eq!(outcome.objects(), [""; 0]);
    assert_reached(&outcome, &words);
}

#[test]
fn scenario_egress_a_tool_that_reads_its_own_credential_is_held_at_its_first_connection_with_it() {
    daemon();
    // Only now: git would have found it in every other test.
    fs::write(NETRC, "machine www4.prod.example login agent password secret\n").unwrap();
    chown(NETRC, Some(1000), Some(1000)).unwrap();
    for tool in ["own-psql:4", "own-curl:4", "own-git:4"] {
        let session = tool.split(':').next().unwrap();
        let outcome = guarded(session, &[tool], yes);
        assert_asked(&outcome, &[tool]);
        assert_reached(&outcome, &[tool]);
    }
    fs::remove_file(NETRC).unwrap();
    // ssh reads its key when the server wants to know who it is: by then it is connected, and asked about what it sends.
    let outcome = guarded("own-ssh", &["own-ssh:46"], yes);
    assert_asked(&outcome, &["own-ssh:46"]);
    assert_reached(&outcome, &["own-ssh:46"]);
}

/// The agent's checkouts: with a token where nobody would look for one, and without.
const CHECKOUT: &str = "/home/agent/checkout";
const CLEAN: &str = "/home/agent/clean";

#[test]
fn scenario_egress_a_token_found_in_a_checkout_is_a_credential_and_the_next_call_is_held() {
    daemon();
    for checkout in [CHECKOUT, CLEAN] {
        let git = Command::new("git").args(["init", "-q", checkout]).output().unwrap();
        assert!(git.status.success(), "{git:?}");
        fs::create_dir_all(format!("{checkout}/infra/old")).unwrap();
        fs::write(format!("{checkout}/main.py"), "import os\nTOKEN = os.environ['TOKEN']\n").unwrap();
    }
    let found = format!("{CHECKOUT}/infra/old/deploy.env");
    fs::write(&found, "API_TOKEN=forgotten\n").unwrap();
    let chowned = Command::new("chown").args(["-R", "agent:agent", CHECKOUT, CLEAN]).output().unwrap();
    assert!(chowned.status.success(), "{chowned:?}");
    let arrived = world::web_arrivals();
    let find = format!("find:{CHECKOUT}");
    let words = ["curl:4", &find, "curl:4", "docs:46"];
    let outcome = guarded("found", &words, no);
    assert_asked(&outcome, &["curl:4"]);
    assert_eq!(outcome.asked[0]["credentials"][0]["object"], found.as_str(), "{outcome:#?}");
    let tries = tries(&words);
    tries[0].assert_reached(&outcome.attempts[0]);
    tries[1].assert_refused(&outcome.attempts[1]);
    tries[2..].iter().zip(&outcome.attempts[2..]).for_each(|(of, attempt)| of.assert_reached(attempt));
    assert_eq!(world::web_arrivals().len(), arrived.len() + 1, "only what was asked for before it was found");
    // A checkout without one, and an agent without guard.
    let clean = format!("find:{CLEAN}");
    let outcome = guarded("found-none", &[&clean, "curl:4"], no);
    assert_eq!(outcome.objects(), [""; 0]);
    assert_reached(&outcome, &["curl:4"]);
    assert_reached(&run("found-free", false, &[&find, "curl:4"], no), &["curl:4"]);
}

#[test]
fn scenario_egress_a_name_with_addresses_of_both_kinds_is_refused_over_both() {
    daemon();
    let (arrived, asked_for) = (world::tcp_arrivals(), world::web_arrivals());
    let outcome = guarded("both", &[CREDENTIAL, "both-curl:4"], no);
    // The C library sorts a name's addresses by connecting a datagram socket to each, which sends nothing.
    let mut objects = outcome.objects();
    objects.sort_unstable();
    let [v4, v6] = ["203.0.113.20:443", "[2001:db8::20]:443"];
    assert_eq!(objects, ["tcp", "udp"].map(|protocol| [v4, v6].map(|at| format!("{protocol} {at}"))).concat());
    assert_eq!(outcome.attempts[0].status, 7, "{outcome:#?}");
    assert_eq!((world::tcp_arrivals(), world::web_arrivals()), (arrived, asked_for));
}
