//! Acts on files.

use std::ffi::CString;
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::libc;
use serde_json::json;

use crate::Done;

/// A path as the kernel takes it.
pub(crate) fn c(path: &str) -> CString {
    CString::new(path).unwrap()
}

fn flags(word: &str) -> Option<i32> {
    Some(match word {
        "r" => libc::O_RDONLY,
        "w" => libc::O_WRONLY,
        "rw" => libc::O_RDWR,
        "a" => libc::O_WRONLY | libc::O_APPEND,
        "wt" => libc::O_WRONLY | libc::O_TRUNC,
        "rwt" => libc::O_RDWR | libc::O_TRUNC,
        "rt" => libc::O_RDONLY | libc::O_TRUNC,
        "c" => libc::O_WRONLY | libc::O_CREAT,
        "ca" => libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND,
        "ct" => libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC,
        "cx" => libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL,
        "path" => libc::O_PATH,
        "tmp" => libc::O_RDWR | libc::O_TMPFILE,
        _ => return None,
    })
}

/// Opens and closes at once.
fn open(path: &str, flags: i32) -> Done {
    // SAFETY: the path ends in NUL; the descriptor is closed once.
    unsafe {
        let done = Done::of(libc::open(c(path).as_ptr(), flags, 0o644));
        if done.errno == 0 {
            libc::close(i32::try_from(done.value.as_i64().unwrap()).unwrap());
        }
        done
    }
}

fn open2(path: &str, flags: i32) -> Done {
    let path = c(path);
    // SAFETY: an all-zero `open_how` is valid, the sizes are right, and the descriptor is closed once.
    unsafe {
        let mut how: libc::open_how = std::mem::zeroed();
        how.flags = u64::from(flags.unsigned_abs());
        how.mode = if flags & libc::O_CREAT != 0 { 0o644 } else { 0 };
        how.resolve = libc::RESOLVE_NO_MAGICLINKS;
        let result = libc::syscall(libc::SYS_openat2, libc::AT_FDCWD, path.as_ptr(), &raw const how, size_of_val(&how));
        let done = Done::of(result);
        if done.errno == 0 {
            libc::close(i32::try_from(result).unwrap());
        }
        done
    }
}

/// Opens without asking for anything, acts on the descriptor, and closes it.
pub(crate) fn with_fd(path: &str, flags: i32, act: impl FnOnce(i32) -> Done) -> Done {
    // SAFETY: the path ends in NUL; the descriptor is closed once.
    unsafe {
        let fd = libc::open(c(path).as_ptr(), flags);
        if fd < 0 {
            return Done::of(fd);
        }
        let done = act(fd);
        libc::close(fd);
        done
    }
}

fn parent(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap()
}

fn rename2(from: &str, to: &str, flags: u32) -> Done {
    // SAFETY: both paths end in NUL.
    Done::of(unsafe { libc::renameat2(libc::AT_FDCWD, c(from).as_ptr(), libc::AT_FDCWD, c(to).as_ptr(), flags) })
}

/// Acts on files, by name.
pub(crate) fn act(words: &[&str]) -> Option<Done> {
    // SAFETY: every path below ends in NUL, and no other memory is passed.
    let done = unsafe {
        match *words {
            ["open", path, how] => open(path, flags(how)?),
            ["open2", path, how] => open2(path, flags(how)?),
            ["list", path] => Done::std(std::fs::read_dir(path).map(|entries| json!(entries.count()))),
            ["unlink", path] => Done::of(libc::unlink(c(path).as_ptr())),
            ["unlinkat", path] => {
                let (directory, name) = parent(path);
                with_fd(directory, libc::O_PATH, |fd| Done::of(libc::unlinkat(fd, c(name).as_ptr(), 0)))
            }
            ["unlink-in", directory, name] => {
                let here = std::env::current_dir().unwrap();
                std::env::set_current_dir(directory).unwrap();
                let done = Done::of(libc::unlink(c(name).as_ptr()));
                std::env::set_current_dir(here).unwrap();
                done
            }
            ["rmdir", path] => Done::of(libc::rmdir(c(path).as_ptr())),
            ["mkdir", path] => Done::of(libc::mkdir(c(path).as_ptr(), 0o755)),
            ["mknod", path] => Done::of(libc::mknod(c(path).as_ptr(), libc::S_IFREG | 0o644, 0)),
            ["mkfifo", path] => Done::of(libc::mkfifo(c(path).as_ptr(), 0o644)),
            ["symlink", target, path] => Done::of(libc::symlink(c(target).as_ptr(), c(path).as_ptr())),
            ["bind", path] => Done::std(UnixListener::bind(Path::new(path)).map(|_| json!(null))),
            ["rename", from, to] => Done::of(libc::rename(c(from).as_ptr(), c(to).as_ptr())),
            ["rename-new", from, to] => rename2(from, to, libc::RENAME_NOREPLACE),
            ["exchange", from, to] => rename2(from, to, libc::RENAME_EXCHANGE),
            ["link", from, to] => Done::of(libc::link(c(from).as_ptr(), c(to).as_ptr())),
            ["link-fd", from, to] => with_fd(from, libc::O_PATH, |fd| {
                let (here, path) = (libc::AT_FDCWD, c(&format!("/proc/self/fd/{fd}")));
                Done::of(libc::linkat(here, path.as_ptr(), here, c(to).as_ptr(), libc::AT_SYMLINK_FOLLOW))
            }),
            ["truncate", path] => Done::of(libc::truncate(c(path).as_ptr(), 0)),
            ["ftruncate", path] => with_fd(path, libc::O_WRONLY, |fd| Done::of(libc::ftruncate(fd, 0))),
            // Through the descriptor of something that was opened without any right.
            ["open-fd", path, how] => {
                let how = flags(how)?;
                with_fd(path, libc::O_PATH, |fd| open(&format!("/proc/self/fd/{fd}"), how))
            }
            ["bind-mount", from, to] => {
                let none = std::ptr::null();
                Done::of(libc::mount(c(from).as_ptr(), c(to).as_ptr(), none, libc::MS_BIND, none.cast()))
            }
            _ => return None,
        }
    };
    Some(done)
}
