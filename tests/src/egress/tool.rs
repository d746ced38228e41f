//! Owns what is known of each tool: where it connects to, and what it says then.
//!
//! Must not know when it should get through.

use std::net::SocketAddr;

use super::agent::Attempt;

/// A tool.
#[derive(Debug)]
struct Tool {
    /// Its name in `tests/egress/tools.sh`, or in what that runs.
    name: &'static str,
    /// What runs it there, where that is another.
    program: &'static str,
    protocol: &'static str,
    /// Where it connects to, over IPv4 and IPv6.
    at: [&'static str; 2],
    /// What it prints when it gets through; `@` is the address that its server sees itself at.
    answer: &'static str,
    /// What it ends with, and prints, when it may not connect.
    refusal: (i32, &'static str),
}

/// The words of the kernel for EPERM.
const NOT_PERMITTED: &str = "Operation not permitted";

const DATABASE: [&str; 2] = ["203.0.113.10:5432", "[2001:db8::10]:5432"];
const WEB: [&str; 2] = ["203.0.113.20:443", "[2001:db8::20]:443"];
const SHELL: [&str; 2] = ["203.0.113.30:22", "[2001:db8::30]:22"];
const DATAGRAMS: [&str; 2] = ["203.0.113.53:5300", "[2001:db8::53]:5300"];
const DOCUMENTATION: [&str; 2] = ["198.51.100.20:80", "[2001:db9::20]:80"];

const fn tool(name: &'static str, at: [&'static str; 2], answer: &'static str, refusal: (i32, &'static str)) -> Tool {
    Tool { name, program: name, protocol: "tcp", at, answer, refusal }
}

const TOOLS: &[Tool] = &[
    tool("psql", DATABASE, "production at @", (2, NOT_PERMITTED)),
    tool("own-psql", DATABASE, "production at @", (2, NOT_PERMITTED)),
    tool("curl", WEB, "production at @", (7, NOT_PERMITTED)),
    tool("own-curl", WEB, "production at @", (7, NOT_PERMITTED)),
    tool("ssh", SHELL, "production at @", (255, NOT_PERMITTED)),
    tool("own-ssh", SHELL, "production at @", (255, NOT_PERMITTED)),
    tool("git", WEB, "refs/heads/main", (128, NOT_PERMITTED)),
    tool("own-git", WEB, "refs/heads/main", (128, NOT_PERMITTED)),
    // It keeps the reason to itself.
    tool("aws", WEB, "123456789012", (255, "Could not connect to the endpoint URL")),
    tool("node", WEB, "production at @", (1, "connect EPERM")),
    Tool { program: "python", ..tool("requests", WEB, "production at @", (1, NOT_PERMITTED)) },
    Tool { program: "python", protocol: "udp", ..tool("udp", DATAGRAMS, "production at @", (1, NOT_PERMITTED)) },
    tool("docs", DOCUMENTATION, "documentation at @", (7, NOT_PERMITTED)),
];

/// One attempt that a tool is to make.
#[derive(Debug)]
pub struct Try {
    tool: &'static Tool,
    version: char,
    at: SocketAddr,
}

impl Try {
    /// What the guard calls the endpoint.
    #[must_use]
    pub fn object(&self) -> String {
        format!("{} {}", self.tool.protocol, self.at)
    }

    /// Asserts that an attempt is this one.
    fn assert_is(&self, attempt: &Attempt) {
        assert_eq!((attempt.tool.as_str(), attempt.version), (self.tool.name, self.version), "{attempt:#?}");
    }

    /// Asserts that an attempt got through, and had its answer from the server that was meant.
    pub fn assert_reached(&self, attempt: &Attempt) {
        self.assert_is(attempt);
        let answer = self.tool.answer.replace('@', &self.at.ip().to_string());
        let is_there = attempt.text.lines().any(|line| line == answer || line.ends_with(&format!("\t{answer}")));
        assert!(attempt.status == 0 && is_there, "not {answer:?}: {attempt:#?}");
    }

    /// Asserts that an attempt failed as the tool itself has it, and had no answer.
    pub fn assert_refused(&self, attempt: &Attempt) {
        self.assert_is(attempt);
        let (status, words) = self.tool.refusal;
        assert!(attempt.status == status && attempt.text.contains(words), "not {words:?}: {attempt:#?}");
        assert!(!attempt.text.contains("production at"), "{attempt:#?}");
    }
}

/// The attempts that the tools' script makes of these words, in their order.
#[must_use]
pub fn tries(words: &[&str]) -> Vec<Try> {
    words.iter().filter_map(|word| word.split_once(':')).flat_map(|(program, versions)| of(program, versions)).collect()
}

fn of(program: &str, versions: &str) -> Vec<Try> {
    let tools = TOOLS.iter().filter(|tool| tool.program == program);
    let with_versions = tools.flat_map(|tool| versions.chars().map(move |version| (tool, version)));
    let tries = with_versions.map(|(tool, version)| {
        let at = tool.at[usize::from(version == '6')].parse().unwrap();
        Try { tool, version, at }
    });
    tries.collect()
}
