//! The binary: parses, dispatches, maps errors to exit codes. Everything else is in the library.

use agent_guard::cli::{self, Cli};
use agent_guard::exit::Exit;
use clap::Parser as _;
use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let exit = match Cli::try_parse() {
        Ok(cli) => cli::execute(cli).unwrap_or_else(|error| {
            if let Some(message) = error.shown() {
                // Where even standard error is closed, the exit code has to do.
                drop(writeln!(std::io::stderr(), "agent-guard: {message}"));
            }
            Exit::from(&error)
        }),
        Err(error) => {
            drop(error.print());
            if error.use_stderr() { Exit::USAGE } else { Exit::OK }
        }
    };
    exit.into()
}
