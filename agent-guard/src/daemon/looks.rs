//! Looks at paths beside the loop, and what becomes of one that does not come back.
//!
//! A file system may not answer, for a while or for ever, and the call that asks it cannot be taken back. So a look
//! says where it is; one that gets no further there is given up, and the next one stays away from that place until the
//! first is back. It must not know what is looked for.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::{AbortHandle, JoinHandle, spawn_blocking};

use super::places::Places;
use super::resolve::{self, Failure};

/// Looks that may be stuck at one time: each keeps a thread.
const STUCK: usize = 8;

/// How long a look may take.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// For one step, from when it was begun.
    step: Duration,
    /// In all: a file system that answers slowly must not keep all others from being seen.
    whole: Duration,
}

const PATIENCE: Patience = Patience { step: Duration::from_secs(3), whole: Duration::from_secs(20) };

/// One look: where it is, and which places it stays away from.
#[derive(Debug, Default)]
pub(super) struct Look {
    avoided: Vec<PathBuf>,
    at: Mutex<(PathBuf, u64)>,
}

impl Look {
    /// One that stays away from these places.
    pub(super) fn avoiding(avoided: Vec<PathBuf>) -> Self {
        Self { avoided, ..Self::default() }
    }

    /// Says that a place is looked at next.
    ///
    /// # Errors
    /// Somebody is stuck there, or above.
    pub(super) fn step(&self, place: &Path) -> io::Result<()> {
        if self.avoided.iter().any(|stuck| place.starts_with(stuck)) {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "its file system does not answer: unmount it"));
        }
        let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        *at = (place.to_owned(), at.1 + 1);
        Ok(())
    }

    /// Where it is, and how many steps that took; none when it has not begun.
    fn at(&self) -> (PathBuf, u64) {
        self.at.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A look that was given up.
#[derive(Debug)]
struct Stuck {
    place: PathBuf,
    worker: AbortHandle,
}

/// All looks of the daemon, as far as they know of each other.
#[derive(Clone, Debug, Default)]
pub(super) struct Looks(Arc<Mutex<Vec<Stuck>>>);

impl Looks {
    /// Looks paths up. What does not answer counts as what cannot be looked at.
    pub(super) async fn places(&self, wanted: Vec<String>) -> Result<Places, Failure> {
        self.take(PATIENCE, move |look| resolve::places(&wanted, look)).await?
    }

    /// Takes a look, and another one around wherever it is stuck.
    async fn take<T: Send + 'static>(
        &self,
        patience: Patience,
        see: impl Fn(&Look) -> T + Send + Sync + 'static,
    ) -> Result<T, Failure> {
        let see = Arc::new(see);
        loop {
            let look = Arc::new(Look::avoiding(self.stuck()));
            let (own, see) = (Arc::clone(&look), Arc::clone(&see));
            let mut worker = spawn_blocking(move || see(&own));
            match wait(&look, patience, &mut worker).await {
                Some(seen) => return seen,
                None => match look.at() {
                    (_, 0) => return Err(Failure::Busy),
                    (place, _) => self.give_up(place, &worker)?,
                },
            }
        }
    }

    /// The places where somebody is still stuck.
    fn stuck(&self) -> Vec<PathBuf> {
        let mut stuck = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        stuck.retain(|stuck| !stuck.worker.is_finished());
        stuck.iter().map(|stuck| stuck.place.clone()).collect()
    }

    fn give_up<T>(&self, place: PathBuf, worker: &JoinHandle<T>) -> Result<(), Failure> {
        let mut stuck = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if stuck.len() >= STUCK {
            return Err(Failure::Silent { place });
        }
        stuck.push(Stuck { place, worker: worker.abort_handle() });
        Ok(())
    }
}

/// Waits for a look while it gets further; none when it does not.
async fn wait<T>(look: &Look, patience: Patience, worker: &mut JoinHandle<T>) -> Option<Result<T, Failure>> {
    let begun = Instant::now();
    let mut seen = look.at().1;
    loop {
        if let Ok(done) = tokio::time::timeout(patience.step, &mut *worker).await {
            return Some(done.map_err(|_panicked| Failure::Interrupted));
        }
        let steps = look.at().1;
        // One that has not begun is stuck nowhere: the machine is busy.
        if (steps == seen && steps > 0) || begun.elapsed() > patience.whole {
            return None;
        }
        seen = steps;
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::sync::{Arc, Mutex, mpsc};
    use std::time::Duration;

    use super::{Failure, Look, Looks, Patience, STUCK};

    const BRIEF: Patience = Patience { step: Duration::from_millis(50), whole: Duration::from_secs(5) };

    /// Takes a look at some places, of which those below `hung` do not answer until the sender is dropped: the places
    /// that were seen.
    async fn seen(looks: &Looks, hung: &'static str, places: &'static [&str]) -> (Vec<PathBuf>, mpsc::Sender<()>) {
        let (answer, silence) = mpsc::channel::<()>();
        let silence = Arc::new(Mutex::new(silence));
        let see = move |look: &Look| {
            let is_seen = |place: &&&str| {
                let seen = look.step(Path::new(place)).is_ok();
                if seen && place.starts_with(hung) {
                    assert!(silence.lock().expect("is whole").recv().is_err());
                }
                seen
            };
            places.iter().filter(is_seen).map(PathBuf::from).collect::<Vec<_>>()
        };
        (looks.take(BRIEF, see).await.expect("comes back"), answer)
    }

    #[tokio::test]
    async fn what_does_not_answer_is_left_out_and_the_rest_is_seen() {
        let looks = Looks::default();
        let (found, answer) = seen(&looks, "/hung", &["/a", "/hung/1", "/hung/1/x", "/hungry"]).await;
        // Of a name that only begins alike the first look hears nothing either, and then it is known by itself.
        assert_eq!(found, [Path::new("/a")]);
        let (again, _) = seen(&looks, "/none", &["/hung/1/x", "/b"]).await;
        assert_eq!(again, [Path::new("/b")], "nobody is sent there again");
        drop(answer);
        while !looks.stuck().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (back, _) = seen(&looks, "/none", &["/hung/1/x", "/b"]).await;
        assert_eq!(back, [Path::new("/hung/1/x"), Path::new("/b")], "it answers again");
    }

    #[tokio::test]
    async fn a_look_that_gets_further_is_waited_for() {
        let slow = |look: &Look| {
            for step in 0..8 {
                look.step(Path::new(&format!("/{step}"))).expect("nobody is stuck");
                std::thread::sleep(BRIEF.step / 2);
            }
        };
        Looks::default().take(BRIEF, slow).await.expect("comes back");
    }

    #[tokio::test]
    async fn a_look_that_has_not_begun_is_stuck_nowhere() {
        let looks = Looks::default();
        let late = |look: &Look| {
            std::thread::sleep(BRIEF.step * 3);
            look.step(Path::new("/a")).expect("nobody is stuck");
        };
        looks.take(BRIEF, late).await.expect("comes back");
        let never = |_: &Look| std::thread::sleep(BRIEF.step * 8);
        let brief = Patience { whole: BRIEF.step * 2, ..BRIEF };
        let failure = looks.take(brief, never).await.expect_err("gives up");
        assert!(matches!(failure, Failure::Busy), "{failure}");
        assert!(looks.stuck().is_empty());
    }

    #[tokio::test]
    async fn there_is_an_end_to_threads_that_are_stuck() {
        let (answer, silence) = mpsc::channel::<()>();
        let silence = Arc::new(Mutex::new(silence));
        let stuck = move |look: &Look| {
            for place in 0..=STUCK {
                if look.step(Path::new(&format!("/{place}"))).is_ok() {
                    assert!(silence.lock().expect("is whole").recv().is_err());
                }
            }
        };
        let failure = Looks::default().take(BRIEF, stuck).await.expect_err("too many");
        assert!(matches!(&failure, Failure::Silent { place } if place == Path::new("/8")), "{failure}");
        drop(answer);
    }
}
