//! Owns the static builds of what runs inside guests, and of the unit tests: one target, one set of flags.
//!
//! Must not know how they get into a guest. Features are always resolved for the whole workspace: asking for a part of
//! it would build the shared crates a second time.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::process::{Run as _, cargo};

/// The target is named even though it is the host's: then cargo keeps the flags away from build scripts.
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// An initramfs has no dynamic linker.
const FLAGS: &str = "-Ctarget-feature=+crt-static";

/// What a program is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// To be run as it is.
    Binary,
    /// The unit tests of a library or a binary.
    UnitTests,
    /// An integration test: of the crate `tests`, a suite for guests.
    IntegrationTest,
}

/// A program that cargo built.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    /// The name of its target: of a suite, the suite's.
    pub(crate) name: String,
    /// What it is for.
    pub(crate) kind: Kind,
    /// Where it lies.
    pub(crate) path: PathBuf,
    /// The directory of its package.
    pub(crate) package: PathBuf,
}

impl Program {
    /// Tells whether it belongs inside a guest: no suite may run on a host.
    pub(crate) fn is_for_guests(&self) -> bool {
        self.package.ends_with("tests")
    }
}

/// Returns a cargo that builds static programs.
pub(crate) fn static_cargo(verb: &str) -> Command {
    let mut command = cargo(verb);
    command
        .args(["--workspace", "--target", TARGET])
        .env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS", FLAGS)
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    command
}

/// Builds one binary.
pub(crate) fn binary(name: &str) -> Result<PathBuf> {
    one_binary(name, &[])
}

/// Builds one binary as people run it.
pub(crate) fn released(name: &str) -> Result<PathBuf> {
    one_binary(name, &["--release"])
}

fn one_binary(name: &str, options: &[&str]) -> Result<PathBuf> {
    let mut command = static_cargo("build");
    command.args(["--quiet", "--bin", name]).args(options);
    let mut programs = built(command)?.into_iter();
    Ok(programs.next().with_context(|| format!("the workspace has no program `{name}`"))?.path)
}

/// Builds what the command asks for and returns the programs that came out.
pub(crate) fn built(mut command: Command) -> Result<Vec<Program>> {
    Ok(executables(&command.arg("--message-format=json-render-diagnostics").read()?))
}

/// Finds the programs among cargo's messages.
pub(crate) fn executables(messages: &str) -> Vec<Program> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    messages.filter_map(|message| executable(&message)).collect()
}

fn executable(message: &Value) -> Option<Program> {
    let is_integration_test = message.pointer("/target/kind/0")? == "test";
    let is_test = message.pointer("/profile/test")?.as_bool()?;
    Some(Program {
        name: message.pointer("/target/name")?.as_str()?.to_owned(),
        kind: match (is_integration_test, is_test) {
            (true, _) => Kind::IntegrationTest,
            (false, true) => Kind::UnitTests,
            (false, false) => Kind::Binary,
        },
        path: message.get("executable")?.as_str()?.into(),
        package: Path::new(message.get("manifest_path")?.as_str()?).parent()?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::{Kind, executables};

    fn artifact(kind: &str, is_test: bool, executable: &str) -> String {
        format!(
            "{{\"reason\":\"compiler-artifact\",\"manifest_path\":\"/w/tests/Cargo.toml\",\"executable\":{executable},\
             \"target\":{{\"name\":\"hold\",\"kind\":[\"{kind}\"]}},\"profile\":{{\"test\":{is_test}}}}}\n"
        )
    }

    #[test]
    fn only_artifacts_that_can_be_run_are_programs() {
        let messages = [
            artifact("lib", false, "null"),
            "not json\n".to_owned(),
            artifact("lib", true, "\"/t/unit\""),
            artifact("test", true, "\"/t/hold\""),
            artifact("bin", false, "\"/t/init\""),
        ];
        let programs = executables(&messages.concat());
        let kinds: Vec<_> = programs.iter().map(|program| program.kind).collect();
        assert_eq!(kinds, [Kind::UnitTests, Kind::IntegrationTest, Kind::Binary]);
        assert!(programs[1].is_for_guests());
    }
}
