//! Signals as a queue that tells who sent each one, which a handler in Rust cannot.
//!
//! It must not know what a signal is answered with.

use super::wait;
use nix::sys::signal::SigSet;
pub use nix::sys::signal::Signal;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use tokio::io::unix::AsyncFd;

/// A signal that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Which.
    pub signal: Signal,
    /// Whether the kernel sent it, as a terminal does to its whole foreground group; otherwise a process did.
    pub from_kernel: bool,
}

/// The queue. Its signals are blocked in the thread that opened it, and in those that this thread starts.
#[derive(Debug)]
pub struct Inbox {
    signals: SignalFd,
    ready: AsyncFd<OwnedFd>,
}

impl Inbox {
    /// Blocks the signals and begins to queue them. Call it before any other thread runs.
    pub fn open(queued: &[Signal]) -> io::Result<Self> {
        let set: SigSet = queued.iter().copied().collect();
        set.thread_block()?;
        let signals = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        let ready = wait::readable(signals.as_fd())?;
        Ok(Self { signals, ready })
    }

    /// The next signal.
    pub async fn next(&mut self) -> io::Result<Arrival> {
        loop {
            let mut ready = self.ready.readable().await?;
            match self.signals.read_signal()? {
                None => ready.clear_ready(),
                Some(info) => {
                    let signal = i32::try_from(info.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok());
                    if let Some(signal) = signal {
                        // Codes above 0 are the kernel's own.
                        return Ok(Arrival { signal, from_kernel: info.ssi_code > 0 });
                    }
                }
            }
        }
    }
}

/// The signals that are blocked in a thread.
#[derive(Clone, Copy, Debug)]
pub struct Mask(SigSet);

impl Mask {
    /// Those of this thread.
    pub fn current() -> io::Result<Self> {
        Ok(Self(SigSet::thread_get_mask()?))
    }

    /// Blocks them in this thread, and no others. Async-signal-safe.
    pub fn restore(&self) -> io::Result<()> {
        Ok(self.0.thread_set_mask()?)
    }
}

/// Blocks signals without queueing them, in this thread and in those that it starts.
pub fn block(signals: &[Signal]) -> io::Result<()> {
    let set: SigSet = signals.iter().copied().collect();
    Ok(set.thread_block()?)
}
