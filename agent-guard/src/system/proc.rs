//! What `/proc` says of a process. Every answer may be stale when it arrives, so nothing here is a safeguard.

use std::fs;
use std::io;
use std::path::PathBuf;

use nix::errno::Errno;

/// Fields of `/proc/PID/stat` behind the name that are needed: state (3) to start time (22).
const STAT_FIELDS: usize = 20;

/// Where a task stands, as `/proc/PID/stat` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    /// `T`: stopped by a signal.
    Stopped,
    /// `t`: stopped by its tracer.
    Traced,
    /// `Z` or `X`: exited.
    Dead,
    /// Anything else: it runs or sleeps, or is frozen.
    Other,
}

impl RunState {
    /// Whether it goes on only when it is woken, or when its tracer lets it.
    #[must_use]
    pub const fn is_stopped(self) -> bool {
        matches!(self, Self::Stopped | Self::Traced)
    }
}

/// What `/proc/PID/stat` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Its name.
    pub comm: Vec<u8>,
    /// Where it stands.
    pub state: RunState,
    /// Its parent.
    pub ppid: u32,
    /// Its terminal, as a device number; 0 for none.
    pub tty: i32,
    /// When it started, in clock ticks since boot.
    pub started: u64,
}

/// Whether an answer means that there is no such process, or none any more. Any other one says nothing about it.
#[must_use]
pub fn is_gone(error: &io::Error) -> bool {
    // A process that is reaped between opening and reading its file is ESRCH.
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::ESRCH as i32)
}

/// Whether a task may be what is looked for: who cannot be asked about may.
pub fn may_be(found: io::Result<Stat>, is_it: impl Fn(&Stat) -> bool) -> bool {
    found.map_or_else(|error| !is_gone(&error), |stat| is_it(&stat))
}

/// `/proc/PID/stat` of a process.
pub fn stat(pid: u32) -> io::Result<Stat> {
    read_stat(&format!("/proc/{pid}/stat"))
}

/// The same of one thread of it.
pub fn thread_stat(tgid: u32, tid: u32) -> io::Result<Stat> {
    read_stat(&format!("/proc/{tgid}/task/{tid}/stat"))
}

/// Whether any thread of a process is stopped; its first one may have exited long ago.
#[must_use]
pub fn is_stopped(pid: u32) -> bool {
    let Ok(threads) = numbers(&format!("/proc/{pid}/task")) else { return false };
    threads.into_iter().any(|tid| thread_stat(pid, tid).is_ok_and(|stat| stat.state.is_stopped()))
}

fn read_stat(path: &str) -> io::Result<Stat> {
    parse_stat(&fs::read(path)?).ok_or_else(|| malformed(path))
}

/// A name may hold blanks and parentheses, so the fields begin behind the *last* parenthesis.
fn parse_stat(text: &[u8]) -> Option<Stat> {
    let open = text.iter().position(|byte| *byte == b'(')?;
    let close = text.iter().rposition(|byte| *byte == b')')?;
    let comm = text.get(open + 1..close)?.to_vec();
    let rest = std::str::from_utf8(text.get(close + 1..)?).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().take(STAT_FIELDS).collect();
    let state = match *fields.first()? {
        "T" => RunState::Stopped,
        "t" => RunState::Traced,
        "Z" | "X" | "x" => RunState::Dead,
        _ => RunState::Other,
    };
    Some(Stat {
        comm,
        state,
        ppid: fields.get(1)?.parse().ok()?,
        tty: fields.get(4)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}

/// The effective user of a process.
pub fn uid(pid: u32) -> io::Result<u32> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read(&path)?;
    let line = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"Uid:"));
    line.and_then(|ids| std::str::from_utf8(ids).ok()?.split_ascii_whitespace().nth(1)?.parse().ok())
        .ok_or_else(|| malformed(&path))
}

/// The first `limit` bytes of a process' arguments, as it shows them: it can change them at will.
pub fn cmdline(pid: u32, limit: u64) -> io::Result<Vec<Vec<u8>>> {
    use io::Read as _;
    let mut bytes = Vec::new();
    fs::File::open(format!("/proc/{pid}/cmdline"))?.take(limit).read_to_end(&mut bytes)?;
    if bytes.last() == Some(&0) {
        bytes.pop();
    }
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    Ok(bytes.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect())
}

/// A variable among the first `limit` bytes of the environment that a process was started with.
pub fn variable(pid: u32, name: &[u8], limit: u64) -> io::Result<Option<Vec<u8>>> {
    use io::Read as _;
    let mut bytes = Vec::new();
    fs::File::open(format!("/proc/{pid}/environ"))?.take(limit).read_to_end(&mut bytes)?;
    let value = |entry: &[u8]| entry.strip_prefix(name)?.strip_prefix(b"=").map(<[u8]>::to_vec);
    Ok(bytes.split(|byte| *byte == 0).find_map(value))
}

/// The program of a process.
pub fn exe(pid: u32) -> io::Result<PathBuf> {
    fs::read_link(format!("/proc/{pid}/exe"))
}

/// The working directory of a process, from its own root.
pub fn cwd(pid: u32) -> io::Result<PathBuf> {
    fs::read_link(format!("/proc/{pid}/cwd"))
}

/// The whole lines in the first `limit` bytes of `/proc/PID/mountinfo`: the mounts that a process sees.
pub fn mountinfo(pid: u32, limit: u64) -> io::Result<Vec<u8>> {
    use io::Read as _;
    let mut table = Vec::new();
    fs::File::open(format!("/proc/{pid}/mountinfo"))?.take(limit).read_to_end(&mut table)?;
    let end = table.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    table.truncate(end);
    Ok(table)
}

/// Every process id there is at this moment.
pub fn pids() -> io::Result<Vec<u32>> {
    numbers("/proc")
}

/// The entries of a directory that are numbers.
fn numbers(directory: &str) -> io::Result<Vec<u32>> {
    let entries = fs::read_dir(directory)?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
}

fn malformed(path: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{path} is not as expected"))
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::{
        RunState, Stat, cmdline, cwd, exe, is_gone, may_be, mountinfo, parse_stat, pids, stat, thread_stat, uid,
    };

    #[test]
    fn a_name_with_parentheses_and_newlines_does_not_shift_the_fields() {
        let text = b"42 (a) R 1 (\n) T 7 42 42 34816 42 4194304 1 2 3 4 5 6 7 8 20 0 1 0 9876 11 12";
        let expected =
            Stat { comm: b"a) R 1 (\n".to_vec(), state: RunState::Stopped, ppid: 7, tty: 34816, started: 9876 };
        assert_eq!(parse_stat(text), Some(expected));
    }

    #[test]
    fn half_a_line_is_malformed_and_no_panic() {
        for text in [&b""[..], b"42", b"42 (a", b")(", b"42 (a)", b"42 (a) S 1", b"42 (a) S x 1 1 0"] {
            assert_eq!(parse_stat(text), None, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn a_process_can_read_about_itself() {
        let pid = std::process::id();
        let own = stat(pid).expect("own stat");
        assert!(own.ppid > 0 && own.started > 0 && own.state == RunState::Other);
        assert_eq!(uid(pid).ok(), Some(nix::unistd::geteuid().as_raw()));
        assert!(!cmdline(pid, 4096).expect("own arguments").is_empty());
        assert_eq!(cmdline(pid, 3).ok(), Some(vec![cmdline(pid, 4096).expect("own arguments")[0][..3].to_vec()]));
        assert_eq!(cwd(pid).ok(), std::env::current_dir().ok());
        assert!(exe(pid).expect("own program").is_absolute());
        assert!(pids().expect("processes").contains(&pid));
        assert!(thread_stat(pid, pid).is_ok_and(|thread| thread.started == own.started));
    }

    #[test]
    fn a_mount_table_is_cut_at_a_line() {
        let pid = std::process::id();
        let whole = mountinfo(pid, u64::MAX).expect("own mounts");
        let first = whole.iter().position(|byte| *byte == b'\n').expect("a line") as u64 + 1;
        assert_eq!(mountinfo(pid, first + 1).expect("own mounts").len() as u64, first);
        assert!(mountinfo(pid, first - 1).is_ok_and(|table| table.is_empty()));
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error_of_its_own() {
        assert!(is_gone(&stat(u32::MAX).expect_err("is not there")) && cmdline(u32::MAX, 1).is_err());
        for errno in [Errno::EMFILE, Errno::ENOMEM, Errno::EACCES] {
            assert!(!is_gone(&errno.into()), "{errno}");
        }
        assert!(is_gone(&Errno::ESRCH.into()));
        assert!(may_be(Err(Errno::EMFILE.into()), |_| false) && !may_be(Err(Errno::ESRCH.into()), |_| true));
    }
}
