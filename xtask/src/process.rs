//! Owns how other programs are run: every failure shows the command that failed.
//!
//! Must not know what any command is for.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// What every caller wants of a command: success, or an error that can be pasted into a shell.
pub(crate) trait Run {
    /// Runs the command with our own standard streams.
    fn run(&mut self) -> Result<()>;
    /// Runs the command and returns what it wrote to standard output.
    fn read(&mut self) -> Result<String>;
    /// Runs the command in silence; what it had to say appears only when it fails.
    fn run_quietly(&mut self) -> Result<()>;
}

impl Run for Command {
    fn run(&mut self) -> Result<()> {
        let status = self.status().with_context(|| format!("cannot start {self:?}"))?;
        if !status.success() {
            bail!("{status}: {self:?}");
        }
        Ok(())
    }

    fn read(&mut self) -> Result<String> {
        let output = self
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("cannot start {self:?}"))?;
        if !output.status.success() {
            bail!("{}: {self:?}", output.status);
        }
        String::from_utf8(output.stdout).with_context(|| format!("{self:?} did not write UTF-8"))
    }

    fn run_quietly(&mut self) -> Result<()> {
        let output = self.stdin(Stdio::null()).output().with_context(|| format!("cannot start {self:?}"))?;
        if !output.status.success() {
            let said = [output.stdout, output.stderr].concat();
            bail!("{}: {self:?}\n{}", output.status, String::from_utf8_lossy(&said));
        }
        Ok(())
    }
}

/// Finds a program in `PATH`.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|candidate| candidate.is_file())
}

/// Starts a cargo of this workspace, with the toolchain that runs us and the workspace's own target directory.
pub(crate) fn cargo(verb: impl AsRef<OsStr>) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.arg(verb).env("CARGO_TARGET_DIR", Path::new("target"));
    command
}
