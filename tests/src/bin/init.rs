//! Owns process 1 of a guest: makes a system of what the kernel gives, runs one command, powers off.
//!
//! Must not know what the command tests. `xtask/src/initramfs.rs` is the other side of what lies under `/guest`;
//! what differs from run to run comes as environment, which the kernel makes of its unknown parameters.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::termios::{self, SetArg};
use nix::sys::wait::{WaitStatus, wait};
use nix::unistd::{Pid, chdir, chroot, getpid, sethostname, setsid};

const BUSYBOX: &str = "/guest/busybox";
/// The serial port that carries the command's input and output, and nothing else.
const TERMINAL: &str = "/dev/ttyS1";
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The status of a guest whose command could not be started, as a shell would have it.
const NOT_STARTED: i32 = 127;

/// What a system has mounted: source and type, place, options.
const MOUNTS: &[(&str, &str, &str)] = &[
    ("proc", "/proc", ""),
    ("sysfs", "/sys", ""),
    ("devtmpfs", "/dev", ""),
    ("devpts", "/dev/pts", "gid=5,mode=620,ptmxmode=666"),
    ("tmpfs", "/dev/shm", "mode=1777"),
    ("tmpfs", "/tmp", "mode=1777"),
    ("tmpfs", "/run", "mode=755"),
    ("securityfs", "/sys/kernel/security", ""),
    ("tracefs", "/sys/kernel/tracing", ""),
    ("debugfs", "/sys/kernel/debug", ""),
    ("bpf", "/sys/fs/bpf", "mode=700"),
    ("cgroup2", "/sys/fs/cgroup", ""),
];

fn main() -> Result<()> {
    if getpid() != Pid::from_raw(1) {
        bail!("this is the init of a test guest: only the kernel may start it");
    }
    // The host waits for this line: a guest that does not come so far is booted again (`xtask/src/guest/qemu.rs`).
    eprintln!("guest: init");
    let status = match guest() {
        Ok(status) => status,
        Err(error) => {
            eprintln!("guest: {error:#}");
            NOT_STARTED
        }
    };
    power_off(status)
}

fn guest() -> Result<i32> {
    mount_all(&["/proc", "/sys", "/dev"])?;
    if let Ok(disk) = env::var("GUEST_DISK") {
        switch_root(Path::new(&disk)).with_context(|| format!("cannot make a root of `{disk}`"))?;
    }
    mount_all(&[])?;
    link_descriptors()?;
    sethostname("guest").context("cannot set the host name")?;
    busybox(&["ip", "link", "set", "lo", "up"])?;
    for directory in ["agent", "approver", "mallory"] {
        make_home(directory)?;
    }
    run()
}

/// Mounts what the system needs, or only the places that are named.
fn mount_all(only: &[&str]) -> Result<()> {
    for (kind, place, options) in MOUNTS {
        if !only.is_empty() && !only.contains(place) {
            continue;
        }
        fs::create_dir_all(place).with_context(|| format!("cannot create `{place}`"))?;
        match mount(Some(*kind), *place, Some(*kind), MsFlags::empty(), Some(*options)) {
            // The early mounts, made again for the whole table.
            Ok(()) | Err(Errno::EBUSY) => {}
            Err(error) => {
                return Err(error).with_context(|| format!("cannot mount {kind} on `{place}`"));
            }
        }
    }
    Ok(())
}

/// Makes what a system's device manager makes: a shell opens its own pipes by these names.
fn link_descriptors() -> Result<()> {
    for (name, target) in [("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")] {
        let link = format!("/dev/{name}");
        symlink(format!("/proc/self/fd{target}"), &link).with_context(|| format!("cannot make `{link}`"))?;
    }
    Ok(())
}

/// Moves into the root file system on `disk`, taking along what the host gave for this run.
fn switch_root(disk: &Path) -> Result<()> {
    // One at a time: of these, a kernel may have any built in, and then `modprobe` knows no such module.
    for module in ["virtio_pci", "virtio_blk"] {
        Command::new(BUSYBOX).args(["modprobe", "-q", module]).status().context("cannot start modprobe")?;
    }
    let start = Instant::now();
    while !disk.exists() {
        if start.elapsed() > Duration::from_secs(20) {
            bail!("it does not appear");
        }
        thread::sleep(Duration::from_millis(10));
    }
    let root = "/guest/root";
    fs::create_dir_all(root)?;
    mount(Some(disk), root, Some("ext4"), MsFlags::empty(), None::<&str>).context("cannot mount it")?;
    busybox(&["cp", "-a", "/guest/files/.", root])?;
    busybox(&["mkdir", "-p", "/guest/root/guest", "/guest/root/usr/lib"])?;
    busybox(&["cp", "-a", "/guest/init", "/guest/busybox", "/guest/command", "/guest/root/guest/"])?;
    busybox(&["cp", "-a", "/usr/lib/modules", "/guest/root/usr/lib/"])?;
    busybox(&["ln", "-sf", BUSYBOX, "/guest/root/usr/sbin/modprobe"])?;
    // What was copied would otherwise stay in memory for ever.
    fs::remove_dir_all("/guest/files")?;
    for place in ["/dev", "/sys", "/proc"] {
        let target = format!("{root}{place}");
        mount(Some(place), target.as_str(), None::<&str>, MsFlags::MS_MOVE, None::<&str>)
            .with_context(|| format!("cannot move `{place}`"))?;
    }
    chdir(root)?;
    mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>).context("cannot move the root")?;
    chroot(".").context("cannot enter the root")?;
    chdir("/")?;
    Ok(())
}

fn make_home(user: &str) -> Result<()> {
    let home = format!("/home/{user}");
    fs::create_dir_all(&home)?;
    busybox(&["chown", &format!("{user}:{user}"), &home])?;
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700))?;
    Ok(())
}

fn busybox(arguments: &[&str]) -> Result<()> {
    let status = Command::new(BUSYBOX).args(arguments).status().context("cannot start busybox")?;
    if !status.success() {
        bail!("{status}: {}", arguments.join(" "));
    }
    Ok(())
}

/// Runs the command on the second serial port and waits for it, burying every orphan meanwhile.
fn run() -> Result<i32> {
    let command = fs::read("/guest/command").context("no command")?;
    let mut words = command.split(|byte| *byte == 0).map(OsStr::from_bytes);
    let program = words.next().context("the command is empty")?;
    let terminal = open_terminal()?;
    let mut command = Command::new(program);
    command
        .args(words)
        .env_clear()
        .env("PATH", PATH)
        .env("HOME", "/root")
        .env("USER", "root")
        .env("LANG", "C.UTF-8")
        .current_dir("/root")
        .stdin(terminal.try_clone()?)
        .stdout(terminal.try_clone()?)
        .stderr(terminal.try_clone()?);
    command.env("TERM", env::var("GUEST_TERMINAL").as_deref().unwrap_or("dumb"));
    let child = command.spawn().with_context(|| format!("cannot start `{}`", program.display()))?;
    let status = wait_for(Pid::from_raw(i32::try_from(child.id())?))?;
    termios::tcdrain(&terminal).context("cannot flush the terminal")?;
    Ok(status)
}

/// Opens the terminal: for a person, the controlling one; for a host that reads from a pipe, one that carries bytes.
///
/// The session's leader is this process: a controlling terminal is hung up, and loses its output, when its leader dies.
fn open_terminal() -> Result<File> {
    setsid().context("cannot lead a session")?;
    let mut options = File::options();
    options.read(true).write(true);
    if env::var("GUEST_TERMINAL").is_ok() {
        return options.open(TERMINAL).context("no terminal");
    }
    let terminal = options.custom_flags(nix::libc::O_NOCTTY).open(TERMINAL).context("no terminal")?;
    let mut attributes = termios::tcgetattr(&terminal)?;
    termios::cfmakeraw(&mut attributes);
    termios::tcsetattr(&terminal, SetArg::TCSANOW, &attributes)?;
    Ok(terminal)
}

fn wait_for(command: Pid) -> Result<i32> {
    loop {
        match wait() {
            Ok(WaitStatus::Exited(pid, status)) if pid == command => return Ok(status),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == command => {
                return Ok(128 + signal as i32);
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("cannot wait for the command"),
        }
    }
}

/// Tells the host how it ended and switches the machine off.
fn power_off(status: i32) -> Result<()> {
    // From here on the kernel keeps quiet, so that the last line stays one line.
    fs::write("/proc/sys/kernel/printk", "1").context("cannot silence the kernel")?;
    let mut console = File::options().write(true).open("/dev/console").context("no console")?;
    write!(console, "\nguest: exit {status}\n")?;
    termios::tcdrain(&console)?;
    nix::unistd::sync();
    reboot(RebootMode::RB_POWER_OFF).context("cannot power off")?;
    Ok(())
}
