//! The two questions to the daemon's loop. What it does not answer in time is a no. It must not know DNS messages.

use core::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::answer::Heard;
use super::message::Kind;

/// Time that the loop has for an answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the loop is asked.
#[derive(Debug)]
pub enum Ask {
    /// May a session ask for this name?
    May {
        /// The session.
        session: u32,
        /// The name, lower-case, without the dot at its end.
        name: String,
        /// The record type.
        kind: Kind,
        /// Where the ruling goes.
        reply: oneshot::Sender<Ruling>,
    },
    /// A session is about to hear this: whatever is to know it before the session does has to know it now.
    Learn {
        /// The session.
        session: u32,
        /// What it will hear.
        heard: Heard,
        /// Whether it may.
        reply: oneshot::Sender<bool>,
    },
}

/// What is to become of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// It goes to an upstream server.
    Forward,
    /// Its client hears that it was refused.
    Refused,
    /// Its client hears that there is no such name.
    NoSuchName,
}

/// Asks whether a session may ask for a name; none is a loop that is gone or does not answer.
pub(super) async fn may(asks: &mpsc::Sender<Ask>, session: u32, name: &str, kind: Kind) -> Option<Ruling> {
    answered(asks, |reply| Ask::May { session, name: name.to_owned(), kind, reply }).await
}

/// Tells what a session is about to hear; whether it may.
pub(super) async fn learn(asks: &mpsc::Sender<Ask>, session: u32, heard: Heard) -> bool {
    answered(asks, |reply| Ask::Learn { session, heard, reply }).await.unwrap_or(false)
}

async fn answered<T>(asks: &mpsc::Sender<Ask>, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Option<T> {
    let (reply, answer) = oneshot::channel();
    let conversation = async {
        asks.send(ask(reply)).await.ok()?;
        answer.await.ok()
    };
    timeout(PATIENCE, conversation).await.ok().flatten()
}
