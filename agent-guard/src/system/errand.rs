//! A program that is run on the side: with somebody's rights alone, no environment but what is given, and a time to end in.
//!
//! It must not know what it is run for. Everything here may block: the caller has a thread for it.

use std::fs::File;
use std::io::{self, PipeReader, Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, geteuid, setgroups, setresgid, setresuid};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;
use rustix::process::{Pid, kill_process_group};

use super::process;
use super::user::Account;

/// Bytes that are kept of what it says. The rest is read and forgotten: a full pipe would stop it.
const KEPT: usize = 1024;
/// Reads of what it has said and nobody has read yet: as much as a pipe holds.
const LAST_READS: usize = 16;
/// Time for a killed process to be gone. One that the kernel does not let go is left behind.
const GONE: Duration = Duration::from_secs(2);

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Errand {
    /// The program, by its absolute path.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its environment.
    pub environment: Vec<(&'static str, String)>,
    /// Whose rights it has.
    pub account: Account,
    /// How long it may take.
    pub limit: Duration,
}

/// How it has ended.
#[derive(Debug)]
pub struct Ended {
    /// Its status.
    pub status: ExitStatus,
    /// The beginning of what it has said, on both its outputs.
    pub said: Vec<u8>,
}

/// Why it was not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Its input or output cannot be made.
    #[error("cannot make the input and output of {}: {source}", program.display())]
    Prepare {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot be started with these rights.
    #[error("cannot start {}: {source}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its end cannot be waited for.
    #[error("cannot wait for {}: {source}", program.display())]
    Wait {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It was killed, with its process group.
    #[error("{} was killed: it has not ended within {} s", program.display(), limit.as_secs())]
    Slow {
        /// The program.
        program: PathBuf,
        /// How long it had.
        limit: Duration,
    },
}

impl Errand {
    /// Runs it to its end, or kills it. What it leaves behind in its process group is killed in both cases.
    pub fn run(&self, input: &[u8]) -> Result<Ended, Failure> {
        let program = || self.program.clone();
        let prepare = |source| Failure::Prepare { program: program(), source };
        let (mut output, far_end) = io::pipe().map_err(prepare)?;
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (*name, value)))
            .current_dir("/")
            .process_group(0)
            .stdin(file_of(input).map_err(prepare)?)
            .stdout(far_end.try_clone().map_err(prepare)?)
            .stderr(far_end);
        self.give_up_rights(&mut command);
        let start = Instant::now();
        let mut child = command.spawn().map_err(|source| Failure::Start { program: program(), source })?;
        // With the command goes this side's copy of the pipe's far end.
        drop(command);
        let mut said = Vec::new();
        let ended = self.watch(&child, &mut output, &mut said, start + self.limit);
        // Until it is reaped, the group's number is nobody else's.
        kill_group(&child);
        let gone = ended.and_then(|(ended, pidfd)| Ok((ended, ended || wait(&pidfd, None, GONE)?.ended)));
        let lost = |source| Failure::Wait { program: program(), source };
        let (in_time, is_gone) = gone.map_err(lost)?;
        let status = if is_gone { Some(child.wait().map_err(lost)?) } else { None };
        match status {
            Some(status) if in_time => Ok(Ended { status, said }),
            _ => Err(Failure::Slow { program: program(), limit: self.limit }),
        }
    }

    /// Listens to it until it has ended or its time is over; tells whether it has ended.
    fn watch(
        &self,
        child: &Child,
        output: &mut PipeReader,
        said: &mut Vec<u8>,
        deadline: Instant,
    ) -> io::Result<(bool, OwnedFd)> {
        let pidfd = process::open(child.id())?;
        let mut is_open = true;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let ready = wait(&pidfd, is_open.then_some(&*output), left)?;
            if ready.speaks {
                is_open = listen(output, said)?;
            }
            if ready.ended {
                // What it has left behind must not speak for it.
                kill_group(child);
                for _ in 0..LAST_READS {
                    if !is_open || !wait(&pidfd, Some(output), Duration::ZERO)?.speaks {
                        break;
                    }
                    is_open = listen(output, said)?;
                }
                return Ok((true, pidfd));
            }
            if left.is_zero() {
                return Ok((false, pidfd));
            }
        }
    }

    /// Has the child give up, before it executes anything, all that the account does not have. A process that is not root has
    /// no rights but its own.
    fn give_up_rights(&self, command: &mut Command) {
        let groups: Vec<Gid> = self.account.groups.iter().copied().map(Gid::from_raw).collect();
        let (uid, gid) = (Uid::from_raw(self.account.uid), Gid::from_raw(self.account.gid));
        let (is_root, nothing) = (geteuid().is_root(), SigSet::empty());
        let give_up = move || {
            be_nobodys_favourite();
            if is_root {
                setgroups(&groups)?;
                setresgid(gid, gid, gid)?;
                setresuid(uid, uid, uid)?;
            }
            prctl::set_no_new_privs()?;
            // Nobody else would see to its time. It must come behind the change of user, which takes it back.
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            umask(Mode::from_bits_truncate(0o022));
            nothing.thread_set_mask()?;
            Ok(())
        };
        // SAFETY: between fork and exec the closure only calls open, write, close, setgroups, setresgid, setresuid, prctl, umask
        // and pthread_sigmask, on values that were made before; it allocates nothing and takes no lock.
        unsafe { command.pre_exec(give_up) };
    }
}

/// Takes back that a process is spared when memory runs out, as the daemon may be. Where it cannot be, it stays as it is.
fn be_nobodys_favourite() {
    let file = nix::fcntl::open(c"/proc/self/oom_score_adj", OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty());
    let _unchanged = file.and_then(|file| nix::unistd::write(&file, b"0"));
}

/// What there is to be seen of a child.
struct Ready {
    ended: bool,
    speaks: bool,
}

fn wait(pidfd: &OwnedFd, output: Option<&PipeReader>, time: Duration) -> io::Result<Ready> {
    let deadline = Instant::now() + time;
    loop {
        let mut fds = vec![PollFd::new(pidfd, PollFlags::IN)];
        fds.extend(output.map(|output| PollFd::from_borrowed_fd(output.as_fd(), PollFlags::IN)));
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut fds, Some(&left)) {
            Ok(_) => {
                let is_ready = |at: usize| fds.get(at).is_some_and(|fd| !fd.revents().is_empty());
                return Ok(Ready { ended: is_ready(0), speaks: is_ready(1) });
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Reads what is there; tells whether more may come.
fn listen(output: &mut PipeReader, said: &mut Vec<u8>) -> io::Result<bool> {
    let mut buffer = [0; 4096];
    let count = output.read(&mut buffer)?;
    said.extend_from_slice(&buffer[..count.min(KEPT - said.len())]);
    Ok(count > 0)
}

/// One that is gone needs no killing.
fn kill_group(child: &Child) {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let killed = group.map_or(Ok(()), |group| kill_process_group(group, rustix::process::Signal::KILL));
    if let Err(error) = killed {
        tracing::debug!(%error, pid = child.id(), "a process group cannot be killed");
    }
}

/// An input that is there as a whole: a child that does not read it stops nobody.
fn file_of(input: &[u8]) -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let made = match memfd_create("input", flags | MemfdFlags::NOEXEC_SEAL) {
        // Before Linux 6.3 there is no such flag.
        Err(Errno::INVAL) => memfd_create("input", flags),
        made => made,
    };
    let mut file = File::from(made?);
    file.write_all(input)?;
    file.rewind()?;
    // It is memory of ours: the child may read it, and no more.
    fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::time::{Duration, Instant};
    use std::{fs, thread};

    use super::{Errand, Failure};
    use crate::system::user::{self, Account};

    fn shell(script: &str) -> Errand {
        let arguments = vec!["-c".to_owned(), script.to_owned()];
        let uid = user::current();
        let account = Account { uid, gid: nix::unistd::getegid().as_raw(), groups: Vec::new() };
        let limit = Duration::from_secs(20);
        Errand { program: PathBuf::from("/bin/sh"), arguments, environment: Vec::new(), account, limit }
    }

    fn said(errand: &Errand, input: &[u8]) -> String {
        let ended = errand.run(input).unwrap();
        String::from_utf8(ended.said).unwrap()
    }

    #[test]
    fn it_hears_its_input_and_is_heard_on_both_outputs() {
        assert_eq!(said(&shell("cat; echo b >&2; pwd; exit 3"), b"a\n"), "a\nb\n/\n");
        assert_eq!(shell("exit 3").run(b"").unwrap().status.code(), Some(3));
        let large = vec![b'x'; 1 << 20];
        assert_eq!(said(&shell("wc -c"), &large).trim(), "1048576");
        shell("exit 0").run(&large).unwrap();
    }

    #[test]
    fn it_has_no_environment_but_its_own_and_no_signals_are_blocked() {
        let mut errand = shell("export -p; grep -E 'SigBlk|NoNewPrivs' /proc/self/status");
        errand.environment = vec![("A", "b".to_owned())];
        let said = said(&errand, b"");
        let exported: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("export ")).collect();
        assert_eq!(exported, ["A='b'", "PWD='/'"], "{said}");
        assert!(said.contains("NoNewPrivs:\t1") && said.contains("SigBlk:\t0000000000000000"), "{said}");
    }

    #[test]
    fn its_input_is_to_be_read_and_no_more() {
        assert!(said(&shell("echo more >/dev/stdin || echo refused"), b"").contains("refused"));
        assert_eq!(said(&shell("cat /dev/stdin /proc/self/oom_score_adj"), b"a\n"), "a\n0\n");
    }

    #[test]
    fn root_runs_it_with_the_rights_of_its_user_alone() {
        if user::current() != 0 {
            return eprintln!("skipped: only root can give rights up");
        }
        let errand = Errand {
            account: Account { uid: 65534, gid: 65533, groups: vec![7, 9] },
            ..shell("cat /proc/self/status")
        };
        let status = said(&errand, b"");
        for line in ["Uid:\t65534\t65534\t65534\t65534", "Gid:\t65533\t65533\t65533\t65533", "Groups:\t7 9"] {
            assert!(status.contains(line), "{status}");
        }
        let errand =
            Errand { account: Account { uid: 65534, gid: 65534, groups: Vec::new() }, ..shell("cat /etc/shadow") };
        assert!(!errand.run(b"").unwrap().status.success());
    }

    #[test]
    fn one_that_takes_too_long_is_killed_with_its_group() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let script = format!("sleep 600 & echo $! >{}; wait", file.path().display());
        let errand = Errand { limit: Duration::from_secs(2), ..shell(&script) };
        let start = Instant::now();
        let failure = errand.run(b"").unwrap_err();
        assert!(matches!(failure, Failure::Slow { .. }), "{failure}");
        assert!(start.elapsed() < Duration::from_secs(10));
        let pid = fs::read_to_string(file.path()).unwrap();
        await_end(pid.trim());
    }

    #[test]
    fn what_it_leaves_behind_is_killed_and_does_not_keep_it() {
        let start = Instant::now();
        let pid = said(&shell("sleep 600 & echo $!"), b"");
        assert!(start.elapsed() < Duration::from_secs(10));
        await_end(pid.trim());
    }

    #[test]
    fn one_that_never_stops_speaking_is_killed_too() {
        let errand = Errand { limit: Duration::from_secs(1), ..shell("while :; do echo y; done") };
        assert!(matches!(errand.run(b""), Err(Failure::Slow { .. })));
        let ended = shell("head -c 10000000 /dev/zero").run(b"").unwrap();
        assert_eq!((ended.status.success(), ended.said.len()), (true, 1024));
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let errand = Errand { program: PathBuf::from("/no/such"), ..shell("") };
        assert!(errand.run(b"").unwrap_err().to_string().starts_with("cannot start /no/such: "));
    }

    /// A process that was killed may be a zombie of somebody else's for a moment.
    fn await_end(pid: &str) {
        let runs = || {
            let stat = fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
            !stat.is_empty() && !stat.contains(") Z ")
        };
        for _ in 0..500 {
            if !runs() {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("{pid} still runs");
    }
}
