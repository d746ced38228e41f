//! Owns the verb `weaken`: takes protections away, one after the other, and demands that the tests which prove them fail.
//!
//! Must not know what any protection is: `tests/weaknesses.toml` names them. What CI runs shows that tests pass with
//! every protection in its place; this shows that they would not without.

mod checkout;
pub(crate) mod table;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::guest::Kernel;
use crate::weaken::checkout::Checkout;
use crate::weaken::table::Weakness;

/// Options of `cargo xtask weaken`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The kernel to run, unless a weakness names its own
    #[arg(long, value_enum, default_value = "6.12")]
    kernel: Kernel,
    /// Only list the weaknesses
    #[arg(long)]
    list: bool,
    /// Go on with this weakness, and those after it
    #[arg(long, value_name = "NAME")]
    from: Option<String>,
    /// The weaknesses to try, by name or a part of it; all without any
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

/// Tries each weakness in a copy of what is committed; the exit status is 1 if a test passes all the same.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let mut table = table::read()?;
    if let Some(from) = &args.from {
        let Some(index) = table.iter().position(|weakness| weakness.name == *from) else {
            bail!("there is no weakness `{from}` in {}", table::FILE);
        };
        table.drain(..index);
    }
    table.retain(|weakness| args.names.is_empty() || args.names.iter().any(|name| weakness.name.contains(name)));
    if table.is_empty() {
        bail!("no weakness in {} has such a name", table::FILE);
    }
    if args.list {
        table.iter().for_each(|weakness| println!("{:<28} {}", weakness.name, weakness.what));
        return Ok(ExitCode::SUCCESS);
    }
    let checkout = Checkout::make()?;
    let mut unproven = 0;
    for (index, weakness) in table.iter().enumerate() {
        println!("\n{}/{} {}: {}", index + 1, table.len(), weakness.name, weakness.what);
        unproven += usize::from(!is_proven(&checkout, weakness, args.kernel));
    }
    println!("\n{} weaknesses seen, {unproven} not", table.len() - unproven);
    Ok(if unproven == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether every test that stands against a weakness fails with it; tells how each ended.
fn is_proven(checkout: &Checkout, weakness: &Weakness, kernel: Kernel) -> bool {
    let start = Instant::now();
    let kernel = weakness.kernel.clone().unwrap_or_else(|| kernel.to_string());
    let failed = match checkout.failures(weakness, &kernel) {
        Ok(failed) => failed,
        Err(error) => {
            println!("  NOT TRIED: {error:#}");
            return false;
        }
    };
    let mut is_proven = true;
    for test in &weakness.tests {
        let fails = failed.contains(test);
        is_proven &= fails;
        println!("  {test} ... {}", if fails { "fails" } else { "PASSES ALL THE SAME, OR DID NOT END" });
    }
    println!("  {} s on {kernel}", start.elapsed().as_secs());
    is_proven
}
