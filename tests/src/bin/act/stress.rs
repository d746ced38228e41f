//! Many acts at once, and how often each errno came.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use serde_json::json;

use crate::Done;
use crate::child::Acting;
use crate::file::c;

static HANDLED: AtomicU64 = AtomicU64::new(0);

extern "C" fn handled(_: i32) {
    HANDLED.fetch_add(1, Ordering::SeqCst);
}

fn unlink(path: &str) -> i32 {
    // SAFETY: the path ends in NUL.
    Done::of(unsafe { libc::unlink(c(path).as_ptr()) }).errno
}

/// Deletes `directory/THREAD-NUMBER`, each thread its own files one after the other.
fn threads(directory: &str, threads: u32, count: u32) -> Done {
    let action = SigAction::new(SigHandler::Handler(handled), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler adds to an atomic number.
    unsafe { sigaction(Signal::SIGUSR1, &action) }.unwrap();
    let errnos = Mutex::new(BTreeMap::<i32, u64>::new());
    thread::scope(|scope| {
        for thread in 0..threads {
            let errnos = &errnos;
            scope.spawn(move || {
                for number in 0..count {
                    let errno = unlink(&format!("{directory}/{thread}-{number}"));
                    *errnos.lock().unwrap().entry(errno).or_default() += 1;
                }
            });
        }
    });
    let errnos = errnos.into_inner().unwrap();
    Done::found(json!({ "errnos": errnos, "handled": HANDLED.load(Ordering::SeqCst) }))
}

/// Deletes `directory/0-NUMBER`, each in a process of its own, all at once.
fn flood(directory: &str, count: u32) -> Done {
    let start = |number| {
        let path = format!("{directory}/0-{number}");
        Acting::start(move || Done { errno: unlink(&path), value: json!(null) })
    };
    let children: Vec<_> = (0..count).map(start).collect();
    let mut errnos = BTreeMap::<i32, u64>::new();
    for child in children {
        *errnos.entry(child.finish().errno).or_default() += 1;
    }
    Done::found(json!({ "errnos": errnos }))
}

/// Many acts at once, by name.
pub(crate) fn act(words: &[&str]) -> Option<Done> {
    match *words {
        ["threads", directory, count, each] => Some(threads(directory, count.parse().ok()?, each.parse().ok()?)),
        ["flood", directory, count] => Some(flood(directory, count.parse().ok()?)),
        _ => None,
    }
}
