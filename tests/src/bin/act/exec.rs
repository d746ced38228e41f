//! Acts that execute programs: every way the kernel has, in a child whose end is told.

use std::ffi::CString;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

use nix::libc;
use serde_json::json;

use crate::attack::shared;
use crate::child::Acting;
use crate::file::c;
use crate::{Done, compat};

/// The arguments as `execve` takes them. A word `@` is the page that all children share.
struct Argv {
    _owned: Vec<CString>,
    pointers: Vec<*const libc::c_char>,
}

impl Argv {
    fn new(words: &[&str]) -> Self {
        let owned: Vec<CString> = words.iter().map(|word| c(word)).collect();
        let mut pointers: Vec<_> = owned
            .iter()
            .zip(words)
            .map(|(owned, word)| if *word == "@" { shared().cast_const() } else { owned.as_ptr() })
            .collect();
        pointers.push(std::ptr::null());
        Self { _owned: owned, pointers }
    }
}

/// Executes in this very process; returns only when that failed.
fn execute(how: &str, words: &[&str]) -> Option<Done> {
    match how {
        // By a thread that is not the first: the new image takes the process, and the thread the first one's number.
        "thread" => return thread::scope(|scope| scope.spawn(|| execute("execve", words)).join().unwrap()),
        "compat" => {
            redirect();
            return Some(compat::execute(words));
        }
        _ => {}
    }
    // Called by what stands on the shared page.
    let called = if how == "named" { "@" } else { words[0] };
    let argv = Argv::new(&[&[called], &words[1..]].concat());
    let (path, argv) = (c(words[0]), argv.pointers.as_ptr());
    // A guest's programs need nothing of the environment.
    let environment = [std::ptr::null::<libc::c_char>()];
    let environment = environment.as_ptr();
    let (directory, name) = words[0].rsplit_once('/')?;
    redirect();
    // SAFETY: all strings end in NUL, and both vectors in a null pointer.
    let result = unsafe {
        match how {
            "execve" | "named" => libc::execve(path.as_ptr(), argv, environment),
            // A script cannot be executed by a descriptor that `execve` closes, so these stay open.
            "execveat" => {
                let fd = libc::open(c(directory).as_ptr(), libc::O_PATH);
                let call = libc::SYS_execveat;
                i32::try_from(libc::syscall(call, fd, c(name).as_ptr(), argv, environment, 0)).unwrap()
            }
            "execveat-fd" => {
                let fd = libc::open(path.as_ptr(), libc::O_PATH);
                let (call, empty) = (libc::SYS_execveat, c(""));
                let result = libc::syscall(call, fd, empty.as_ptr(), argv, environment, libc::AT_EMPTY_PATH);
                i32::try_from(result).unwrap()
            }
            "fexecve" => {
                let fd = libc::open(path.as_ptr(), libc::O_RDONLY);
                libc::fexecve(fd, argv, environment)
            }
            _ => return None,
        }
    };
    Some(Done::of(result))
}

/// The program may write; the agent's own output is a protocol.
fn redirect() {
    // SAFETY: both descriptors are open.
    unsafe { libc::dup2(2, 1) };
}

/// Spawns by `posix_spawn`, which is a `vfork`, and waits.
fn spawn(words: &[&str]) -> Done {
    let argv = Argv::new(words);
    let environment = [std::ptr::null::<libc::c_char>()];
    let mut pid = 0;
    let mut status = 0;
    // SAFETY: all strings end in NUL, both vectors in a null pointer; the C library only reads them.
    unsafe {
        let (argv, environment) = (argv.pointers.as_ptr().cast(), environment.as_ptr().cast());
        let path = c(words[0]);
        let errno =
            libc::posix_spawn(&raw mut pid, path.as_ptr(), std::ptr::null(), std::ptr::null(), argv, environment);
        if errno != 0 {
            return Done { errno, value: json!(null) };
        }
        libc::waitpid(pid, &raw mut status, 0);
    }
    Done::found(json!({ "status": libc::WEXITSTATUS(status) }))
}

/// Acts that execute, by name.
pub(crate) fn act(words: &[&str]) -> Option<Done> {
    match *words {
        // In this process: what follows is for the new image.
        ["become", how, ref words @ ..] => execute(how, words),
        // This program again, by a thread that is not the first; what comes of the act is the new image's to tell.
        ["thread-exec", ref act @ ..] => {
            let execute = || Command::new("/proc/self/exe").arg("once").args(act).exec();
            let error = thread::scope(|scope| scope.spawn(execute).join().unwrap());
            Some(Done { errno: error.raw_os_error().unwrap_or(-1), value: json!("not executed") })
        }
        // The same, by a thread that was there before this process has read a file.
        ["thread-exec-having-read", path, ref act @ ..] => {
            let (read, is_read) = mpsc::channel();
            let execute = move || is_read.recv().map(|()| Command::new("/proc/self/exe").arg("once").args(act).exec());
            let error = thread::scope(|scope| {
                let executing = scope.spawn(execute);
                std::fs::read(path).unwrap();
                read.send(()).unwrap();
                executing.join().unwrap().unwrap()
            });
            Some(Done { errno: error.raw_os_error().unwrap_or(-1), value: json!("not executed") })
        }
        // With this environment and no other, and waits.
        ["exec-with", variables, program, ref words @ ..] => {
            let variables = variables.split(',').filter_map(|variable| variable.split_once('='));
            let status = Command::new(program).args(words).env_clear().envs(variables).stdout(Stdio::null()).status();
            Some(Done::std(status.map(|status| json!(status.code()))))
        }
        ["exec", "spawn", ref words @ ..] => Some(Acting::start(|| spawn(words)).finish()),
        ["exec", how, ref words @ ..] => {
            Some(Acting::start(|| execute(how, words).unwrap_or(Done { errno: -2, value: json!(how) })).finish())
        }
        _ => None,
    }
}
