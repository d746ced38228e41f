//! A child that waits before its `execve` until it is let go, and is never executed otherwise.
//!
//! It must not know what it waits for. The child stays in its parent's process group: it shares the terminal, and
//! a job-control shell sees one job.

use super::inbox::Mask;
use nix::unistd::{close, getpid, pipe2};
use nix::{errno::Errno, fcntl::OFlag, unistd};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::thread;
use tokio::sync::oneshot;

/// Status of a child whose gate went away.
const NEVER_RAN: i32 = 125;

/// A child at its gate. Dropping it ends the child without its command having run.
#[derive(Debug)]
pub struct GatedChild {
    pid: u32,
    gate: OwnedFd,
    executed: oneshot::Receiver<io::Result<()>>,
}

impl GatedChild {
    /// Forks. The program is searched for in `PATH` when the gate is opened, and starts with the signals of `mask` blocked
    /// and without the variables that are named.
    pub fn spawn(program: &OsString, arguments: &[OsString], without: &[String], mask: Mask) -> io::Result<Self> {
        let (gate_end, gate) = pipe2(OFlag::O_CLOEXEC)?;
        let (pid_end, pid_source) = pipe2(OFlag::O_CLOEXEC)?;
        let far_gate = gate.as_raw_fd();
        let mut command = Command::new(program);
        command.args(arguments);
        for name in without {
            command.env_remove(name);
        }
        let wait_at_gate = move || {
            // The child's own copy of the far end would keep the gate from ever reading as closed.
            close(far_gate)?;
            mask.restore()?;
            unistd::write(&pid_source, &getpid().as_raw().to_ne_bytes())?;
            let mut go = [0];
            loop {
                match unistd::read(&gate_end, &mut go) {
                    Ok(1) => return Ok(()),
                    // SAFETY: `_exit` is async-signal-safe and never returns. An error instead would be reported to a
                    // parent that may be gone, and the standard library aborts, with a core, over that.
                    Ok(_) => unsafe { nix::libc::_exit(NEVER_RAN) },
                    Err(Errno::EINTR) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
        };
        // SAFETY: between fork and exec the closure only calls close, pthread_sigmask, getpid, read, write and _exit, which are
        // async-signal-safe, on descriptors that were opened before; it allocates nothing and takes no lock.
        unsafe { command.pre_exec(wait_at_gate) };
        let (report, mut executed) = oneshot::channel();
        // `Command::spawn` returns when the child has executed, so it waits at the gate too: in a thread of its own.
        let spawning = thread::Builder::new().name("spawn".to_owned()).spawn(move || {
            let outcome = command.spawn().map(drop);
            // With the command goes the pid pipe: a fork that failed shows as its end.
            drop(command);
            // Who dropped the child's handle does not want to know.
            drop(report.send(outcome));
        })?;
        let mut number = [0; 4];
        match File::from(pid_end).read_exact(&mut number) {
            Ok(()) => Ok(Self { pid: u32::from_ne_bytes(number), gate, executed }),
            Err(error) => {
                // No child ever wrote: the fork failed, and the thread says why before it ends.
                drop(spawning.join());
                Err(executed.try_recv().ok().and_then(Result::err).unwrap_or(error))
            }
        }
    }

    /// The child's process id. The caller reaps it, once [`GatedChild::execute`] has succeeded.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Opens the gate and waits for the `execve`. A child that failed in it has been reaped.
    pub async fn execute(self) -> io::Result<()> {
        unistd::write(&self.gate, &[1])?;
        self.executed.await.map_err(io::Error::other)?
    }
}

/// Waits until a child has ended, and takes its status away.
pub fn reap(pid: u32) -> io::Result<()> {
    let pid = i32::try_from(pid).ok().ok_or(io::ErrorKind::NotFound)?;
    nix::sys::wait::waitpid(unistd::Pid::from_raw(pid), None)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::GatedChild;
    use crate::system::inbox::Mask;
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::Pid;
    use std::ffi::OsString;
    use std::{env, fs, io, process};

    fn reap(pid: u32) -> WaitStatus {
        waitpid(Pid::from_raw(i32::try_from(pid).unwrap()), None).unwrap()
    }

    #[tokio::test]
    async fn a_child_executes_nothing_before_its_gate_is_opened() {
        let file = env::temp_dir().join(format!("agent-guard-gate-{}", process::id()));
        let child = GatedChild::spawn(&"touch".into(), &[file.clone().into()], &[], Mask::current().unwrap()).unwrap();
        let pid = child.pid();
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        assert!(!file.exists());
        child.execute().await.unwrap();
        assert!(matches!(reap(pid), WaitStatus::Exited(_, 0)));
        fs::remove_file(file).unwrap();
    }

    #[tokio::test]
    async fn a_child_whose_gate_goes_away_never_executes() {
        let file = env::temp_dir().join(format!("agent-guard-gone-{}", process::id()));
        let child = GatedChild::spawn(&"touch".into(), &[file.clone().into()], &[], Mask::current().unwrap()).unwrap();
        let pid = child.pid();
        drop(child);
        assert!(matches!(reap(pid), WaitStatus::Exited(_, 125)));
        assert!(!file.exists());
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_an_error_of_the_execute() {
        let child = GatedChild::spawn(&OsString::from("/no/such/program"), &[], &[], Mask::current().unwrap()).unwrap();
        assert_eq!(child.execute().await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
