//! Tells the incident in a guest, and says which of its facts do not hold.
//!
//! Must not know the story: `agent_guard_tests::incident` does. `cargo xtask demo` runs it.

use std::process::ExitCode;

use agent_guard_tests::incident;

fn main() -> ExitCode {
    let chapters = incident::tell();
    let facts: Vec<_> = chapters.iter().flat_map(|chapter| &chapter.facts).collect();
    let broken: Vec<_> = facts.iter().filter(|fact| !fact.holds).collect();
    println!("\n{} facts hold, {} do not", facts.len() - broken.len(), broken.len());
    if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
