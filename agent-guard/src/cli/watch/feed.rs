//! What the dialog hears of the daemon: each change of a request, that the daemon is gone, and that it is back.
//!
//! It must not know what is made of it.

use super::dialog::Event;
use crate::api::client::{Client, Error, Lines};
use crate::api::types::{Request, RequestFilter};
use std::time::Duration;
use tokio::sync::mpsc;

/// Wait before a daemon is looked for that is gone.
const PAUSE: Duration = Duration::from_millis(500);

/// Begins to follow all requests: what is known first, then every change.
pub(super) async fn open(client: &Client) -> Result<Lines<Request>, Error> {
    client.watch_requests(&RequestFilter { watch: true, ..RequestFilter::default() }).await
}

/// Follows them, over every end of the daemon, until nobody listens.
pub(super) async fn follow(client: Client, mut changes: Lines<Request>, heard: mpsc::Sender<Event>) {
    loop {
        let why = loop {
            match changes.next().await {
                Ok(Some(request)) => {
                    if heard.send(Event::Changed(Box::new(request))).await.is_err() {
                        return;
                    }
                }
                Ok(None) => break Error::StreamEnded,
                Err(error) => break error,
            }
        };
        let mut lost = why.to_string();
        changes = loop {
            if heard.send(Event::Lost(lost)).await.is_err() {
                return;
            }
            tokio::time::sleep(PAUSE).await;
            match open(&client).await {
                Ok(changes) => break changes,
                Err(error) => lost = error.to_string(),
            }
        };
        if heard.send(Event::Heard).await.is_err() {
            return;
        }
    }
}
