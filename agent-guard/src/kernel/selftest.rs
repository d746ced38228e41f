//! The start check: one refusal of the guard's own. Programs load, attach and pin on kernels that never call them.

use std::io;

use agent_guard_common::limits;
use agent_guard_common::session::Enrolment;

use super::Kernel;
use super::error::Error;
use crate::system::child::{self, GatedChild};
use crate::system::inbox::Mask;
use crate::system::proc;

/// A serial that no session gets: a task tagged with it belongs to a session that is not there.
pub const NOBODY: u64 = u64::MAX;

/// Lets a child of the daemon try to execute something with a tag that allows nothing.
///
/// # Errors
/// [`Error::NotEnforced`] when the child was let through, [`Error::SelfTest`] when it could not try.
pub async fn run(kernel: &mut Kernel) -> Result<(), Error> {
    if !super::HAS_PROGRAMS {
        return Ok(());
    }
    let failed = |what| move |source: io::Error| Error::SelfTest { what, source };
    let mask = Mask::current().map_err(failed("read the signal mask"))?;
    let child = GatedChild::spawn(&"/proc/self/exe".into(), &["--version".into()], &[], mask);
    let child = child.map_err(failed("start a child"))?;
    let pid = child.pid();
    let before = kernel.refusals()?;
    let started = proc::stat(pid).map_err(failed("look at the child"))?.started;
    kernel.enrol(pid, Enrolment { serial: NOBODY, started, session: limits::SESSIONS - 1, reserved: 0 })?;
    let outcome = child.execute().await;
    kernel.withdraw(pid, NOBODY)?;
    match outcome {
        // Others refuse too (a mount without exec, another security module): only our own count proves ours.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && kernel.refusals()? > before => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(Error::NotEnforced),
        Err(error) => Err(failed("let the child execute")(error)),
        Ok(()) => {
            child::reap(pid).map_err(failed("wait for the child"))?;
            Err(Error::NotEnforced)
        }
    }
}
