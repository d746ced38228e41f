//! Owns one run of QEMU: its command line, its time limit, and what its console tells about how it ended.
//!
//! Must not know what is inside the guest, but for the one line that its init prints last.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

const PROGRAM: &str = "qemu-system-x86_64";
/// Init prints it last, with the command's status.
const EXIT_LINE: &str = "guest: exit ";
/// What the kernel says when a run is worth nothing any more.
const TROUBLE: &[&str] = &[
    "Kernel panic",
    "BUG:",
    "Oops:",
    "general protection fault",
    "detected stall",
    "self-detected stall",
    "soft lockup",
    "hard LOCKUP",
    "blocked for more than",
];
/// A guest whose host is busy may see no tick of its timer for so long that its kernel gives up at once.
const CLOCK: &str = "no_timer_check";
/// A kernel in trouble gets this long to print its trace.
const LAST_WORDS: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(50);
/// Init prints it first.
const INIT_LINE: &str = "guest: init";
/// By then a guest has booted, also on a busy machine: usually it takes two seconds. One that hangs before, as some do
/// whose host was busy while they measured their clock, has shown nothing, and may be booted again.
const BOOT_LIMIT: Duration = Duration::from_secs(120);

/// A machine to run.
#[derive(Debug)]
pub(crate) struct Machine {
    /// The kernel.
    pub(crate) vmlinuz: PathBuf,
    /// Its first file system.
    pub(crate) initrd: PathBuf,
    /// A disk that the guest may write to; nothing of it is kept.
    pub(crate) disk: Option<PathBuf>,
    /// Parameters for init, which the kernel passes on as environment.
    pub(crate) parameters: String,
    /// Where the console is written to.
    pub(crate) console: PathBuf,
    /// How long it may take; without it, as long as it likes.
    pub(crate) time_limit: Option<Duration>,
    /// What its clock counts.
    pub(crate) clock: Clock,
}

/// What a guest's clock counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Clock {
    /// Time.
    #[default]
    Time,
    /// Instructions: each takes its one processor a nanosecond, and waiting for nothing takes no time at all, so that the
    /// same work takes the same time whatever else the host does.
    Instructions,
}

/// Where the output of the guest's command goes.
pub(crate) enum Output<'a> {
    /// To our own terminal, which also becomes the guest's.
    Terminal,
    /// To our own standard output.
    Stdout,
    /// Line by line to the caller.
    Lines(Box<dyn FnMut(&str) + Send + 'a>),
}

/// How a guest ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Its command ended with this status.
    Exit(i32),
    /// It did not boot, and was killed, or ended by itself.
    NotBooted,
    /// It was killed at its time limit.
    TimedOut,
    /// Its kernel reported trouble, in these words.
    Trouble(String),
    /// QEMU ended and init had not said how.
    Vanished,
}

impl Machine {
    /// Runs the machine to its end.
    pub(crate) fn run(&self, output: &mut Output<'_>) -> Result<Ending> {
        paths_exist(&[&self.vmlinuz, &self.initrd])?;
        fs::write(&self.console, "").with_context(|| format!("cannot write `{}`", self.console.display()))?;
        let mut command = self.command();
        match output {
            Output::Terminal => command.stdin(Stdio::inherit()).stdout(Stdio::inherit()),
            Output::Stdout => command.stdin(Stdio::null()).stdout(Stdio::inherit()),
            Output::Lines(_) => command.stdin(Stdio::null()).stdout(Stdio::piped()),
        };
        let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        let pipe = child.stdout.take();
        thread::scope(|scope| {
            if let (Some(pipe), Output::Lines(sink)) = (pipe, output) {
                scope.spawn(move || {
                    for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                        sink(String::from_utf8_lossy(&line).trim_end_matches('\r'));
                    }
                });
            }
            self.watch(&mut child)
        })
    }

    /// The end of the console, for a person who must find out what went wrong.
    pub(crate) fn last_console_lines(&self) -> String {
        let console = read_console(&self.console);
        let lines: Vec<_> = console.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }

    fn command(&self) -> Command {
        // The kernel kills QEMU when this process dies, however it dies: no guest is left behind.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", PROGRAM]);
        command.args(match self.clock {
            Clock::Time => "-accel tcg,thread=multi -smp 2".split(' '),
            Clock::Instructions => "-accel tcg,thread=single -icount shift=0,sleep=off -smp 1".split(' '),
        });
        command.args("-cpu max -m 2048M".split(' '));
        command.args("-nodefaults -no-user-config -no-reboot -display none -monitor none".split(' '));
        // The kernel's console and the command's output are two serial ports: neither can garble the other.
        command.arg("-serial").arg(format!("file:{}", self.console.display()));
        command.args(["-chardev", "stdio,id=command,signal=off", "-serial", "chardev:command"]);
        command.args(["-device", "virtio-rng-pci"]);
        if let Some(disk) = &self.disk {
            command.arg("-drive").arg(format!("file={},format=raw,if=virtio,snapshot=on", disk.display()));
        }
        command.arg("-kernel").arg(&self.vmlinuz).arg("-initrd").arg(&self.initrd);
        // A kernel that hit a bug must not go on and pass tests; a panic ends QEMU through -no-reboot.
        command.arg("-append").arg(format!(
            "console=ttyS0 quiet loglevel=5 panic=-1 oops=panic {CLOCK} rdinit=/guest/init {}",
            self.parameters
        ));
        command
    }

    fn watch(&self, child: &mut Child) -> Result<Ending> {
        let start = Instant::now();
        let mut trouble_since = None;
        loop {
            let has_ended = child.try_wait().context("cannot wait for QEMU")?.is_some();
            let is_late = self.time_limit.is_some_and(|limit| start.elapsed() > limit);
            let console = read_console(&self.console);
            if trouble(&console).is_some() {
                trouble_since.get_or_insert_with(Instant::now);
            }
            let has_spoken = trouble_since.is_some_and(|since: Instant| since.elapsed() > LAST_WORDS);
            let is_stuck = start.elapsed() > BOOT_LIMIT && !console.contains(INIT_LINE) && trouble_since.is_none();
            if has_ended || is_late || has_spoken || is_stuck {
                if !has_ended {
                    child.kill().context("cannot kill QEMU")?;
                    child.wait().context("cannot wait for QEMU")?;
                }
                let console = read_console(&self.console);
                // QEMU itself may end so early: one in some thousand boots fails an assertion of its own.
                let is_unborn = has_ended && !console.contains(INIT_LINE) && trouble(&console).is_none();
                if is_unborn || is_stuck && !has_ended {
                    return Ok(Ending::NotBooted);
                }
                return Ok(ending(&read_console(&self.console), is_late && !has_ended));
            }
            thread::sleep(POLL);
        }
    }
}

fn paths_exist(paths: &[&Path]) -> Result<()> {
    for path in paths {
        fs::metadata(path).with_context(|| format!("no `{}`", path.display()))?;
    }
    Ok(())
}

fn read_console(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// Finds the first line in which the kernel reports trouble.
fn trouble(console: &str) -> Option<&str> {
    console.lines().find(|line| TROUBLE.iter().any(|sign| line.contains(sign)))
}

/// Judges a run by its console. Trouble outweighs an exit status: what ran on a broken kernel shows nothing.
fn ending(console: &str, was_late: bool) -> Ending {
    if let Some(line) = trouble(console) {
        return Ending::Trouble(line.trim().to_owned());
    }
    if was_late {
        return Ending::TimedOut;
    }
    let status = console.lines().rev().find_map(|line| line.trim().strip_prefix(EXIT_LINE)?.parse().ok());
    status.map_or(Ending::Vanished, Ending::Exit)
}

#[cfg(test)]
mod tests {
    use super::{Ending, ending};

    #[test]
    fn the_last_line_of_init_is_the_status() {
        assert_eq!(ending("boot\r\nguest: exit 3\r\n", false), Ending::Exit(3));
        assert_eq!(ending("boot\n", false), Ending::Vanished);
        assert_eq!(ending("boot\n", true), Ending::TimedOut);
    }

    #[test]
    fn a_kernel_in_trouble_outweighs_a_good_status() {
        let console = "[    2.0] BUG: kernel NULL pointer dereference\r\nguest: exit 0\n";
        assert_eq!(
            ending(console, false),
            Ending::Trouble("[    2.0] BUG: kernel NULL pointer dereference".to_owned())
        );
    }
}
