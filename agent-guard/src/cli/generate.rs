//! `man` and `completions`: made from the one definition of the command line, and from the table of exit codes.

use super::args::Cli;
use super::{Error, output};
use crate::exit::TABLE;
use clap::CommandFactory as _;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use std::io;

/// Writes the manual page: the program, then each verb, then the exit codes.
pub(super) fn man() -> Result<(), Error> {
    let mut command = Cli::command();
    command.build();
    let mut page = Vec::new();
    let man = Man::new(command.clone());
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    verbs(&command, "agent-guard", &mut page)?;
    exit_codes().to_writer(&mut page)?;
    Ok(output::print(&String::from_utf8_lossy(&page))?)
}

/// A section for each verb that is shown, and for those below it.
fn verbs(command: &clap::Command, before: &str, page: &mut Vec<u8>) -> io::Result<()> {
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        let typed = format!("{before} {}", verb.get_name());
        let mut head = Roff::new();
        head.control("SH", [typed.to_uppercase().as_str()]);
        head.to_writer(page)?;
        let man = Man::new(verb.clone());
        man.render_synopsis_section(page)?;
        man.render_description_section(page)?;
        man.render_options_section(page)?;
        man.render_extra_section(page)?;
        verbs(verb, &typed, page)?;
    }
    Ok(())
}

fn exit_codes() -> Roff {
    let mut section = Roff::new();
    section.control("SH", ["EXIT STATUS"]);
    for (exit, meaning) in TABLE {
        section.control("TP", []);
        section.text([bold(exit.to_string())]);
        section.text([roman(*meaning)]);
    }
    section.control("PP", []);
    section.text([roman(
        "Otherwise run exits with the status of its command, or with 128 and the number of the signal that ended it.",
    )]);
    section
}

/// Writes a shell's completions.
pub(super) fn completions(shell: clap_complete::Shell) -> Result<(), Error> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "agent-guard", &mut script);
    Ok(output::print(&String::from_utf8_lossy(&script))?)
}
