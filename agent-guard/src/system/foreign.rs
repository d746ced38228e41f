//! Writing one line to another process's standard error, with no more rights than the caller's own.
//!
//! It must not know what the line says. It never waits for whoever reads: a line that cannot be taken at once is
//! not written.

use super::process;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, fstat};
use rustix::io::{Errno, write};
use rustix::process::{PidfdGetfdFlags, pidfd_getfd};
use rustix::termios::isatty;
use std::io;

/// Its number in every process.
const STDERR: i32 = 2;
/// Longest line that a pipe takes whole or not at all.
const ATOMIC: usize = 4096;

/// Writes a line to a process's standard error. `is_meant` is asked once the process is held: whether its pid is
/// still that of the process that is meant.
pub fn write_stderr(pid: u32, is_meant: impl FnOnce() -> bool, line: &[u8]) -> io::Result<()> {
    let process = process::open(pid)?;
    if !is_meant() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let stderr = pidfd_getfd(&process, STDERR, PidfdGetfdFlags::empty())?;
    let kind = FileType::from_raw_mode(fstat(&stderr)?.st_mode);
    let takes_lines = matches!(kind, FileType::Fifo | FileType::Socket | FileType::RegularFile) || isatty(&stderr);
    if !takes_lines || line.len() > ATOMIC {
        return Err(Errno::NOTTY.into());
    }
    let mut fds = [PollFd::new(&stderr, PollFlags::OUT)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
    let [ready] = fds;
    if !ready.revents().contains(PollFlags::OUT) {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    write(&stderr, line)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::write_stderr;
    use std::io::{self, Read as _};
    use std::process::{Command, Stdio};

    #[test]
    fn a_line_reaches_the_pipe_that_a_process_writes_its_errors_to() {
        let mut child = Command::new("sleep").arg("60").stderr(Stdio::piped()).spawn().unwrap();
        let written = write_stderr(child.id(), || true, b"a line\n");
        let other = write_stderr(child.id(), || false, b"not meant\n");
        child.kill().unwrap();
        child.wait().unwrap();
        let mut text = String::new();
        child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        written.unwrap();
        assert_eq!((text.as_str(), other.unwrap_err().kind()), ("a line\n", io::ErrorKind::NotFound));
    }

    #[test]
    fn a_full_pipe_and_a_device_are_left_alone() {
        let script = "dd if=/dev/zero bs=65536 count=1 status=none >&2; sleep 60";
        let mut full = Command::new("sh").args(["-c", script]).stderr(Stdio::piped()).spawn().unwrap();
        let mut null = Command::new("sleep").arg("60").stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(300));
        let into_full = write_stderr(full.id(), || true, b"a line\n");
        let into_null = write_stderr(null.id(), || true, b"a line\n");
        for child in [&mut full, &mut null] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert_eq!(into_full.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        into_null.unwrap_err();
    }
}
