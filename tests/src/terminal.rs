//! Owns a pseudo-terminal with a program on it, and the hands and eyes of whoever sits before it.
//!
//! Must not know what the program is.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::pty::{Winsize, openpty};

use crate::guest::{PATIENCE, eventually};

/// The terminal's height and width: none that a program would make up.
pub const SIZE: (u16, u16) = (41, 133);

/// A terminal.
#[derive(Debug)]
pub struct Terminal {
    keyboard: File,
    screen: Arc<Mutex<String>>,
    child: Child,
}

impl Terminal {
    /// Starts a program in a session of its own (the kernel's kind) that this terminal controls.
    #[must_use]
    pub fn open(argv: &[&str]) -> Self {
        let size = Winsize { ws_row: SIZE.0, ws_col: SIZE.1, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None).unwrap();
        let stdio = || Stdio::from(pty.slave.try_clone().unwrap());
        let mut command = Command::new("setsid");
        command.arg("--ctty").args(argv).stdin(stdio()).stdout(stdio()).stderr(stdio()).env("TERM", "xterm");
        let child = command.spawn().unwrap();
        let keyboard = File::from(pty.master);
        let screen = Arc::<Mutex<String>>::default();
        let (mut output, seen) = (keyboard.try_clone().unwrap(), Arc::clone(&screen));
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The last program that closes its end makes this an error.
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                seen.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        });
        Self { keyboard, screen, child }
    }

    /// Types.
    pub fn types(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).unwrap();
    }

    /// What has been shown so far.
    #[must_use]
    pub fn screen(&self) -> String {
        self.screen.lock().unwrap().clone()
    }

    /// Waits until a text has been shown.
    pub fn await_screen(&self, text: &str) {
        self.await_behind("", text);
    }

    /// Waits until a text has been shown, and another one behind it.
    pub fn await_behind(&self, first: &str, text: &str) {
        let mut screen = String::new();
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            screen = self.screen();
            if screen.split_once(first).is_some_and(|(_, behind)| behind.contains(text)) {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("not shown: {text:?}, behind {first:?}\n{screen}");
    }

    /// Waits for the program's end and returns its status: its own, or 128 and its signal.
    pub fn wait(&mut self) -> i32 {
        let status = eventually("the end of what runs on the terminal", || self.child.try_wait().unwrap());
        status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Its own child; that it has ended already is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
