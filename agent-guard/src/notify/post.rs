//! Webhooks: what is to be posted goes into the queue first, and one delivery of each receiver is under way at a time.
//!
//! One thread owns the queue; each receiver has another that waits for curl. A receiver that fails is left alone for a while,
//! longer each time, with all that waits for it; a delivery that it does not take lets the others go before it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use ulid::Ulid;

use super::caller::{Caller, Failure, Task};
use super::curl::Post;
use super::message::Message;
use super::queue::{self, Delivery, Queue};
use super::schedule::Schedule;
use super::signature::Secret;
use crate::system::{clock, random};

/// The longest that the queue is not looked at: what it could not tell, it may tell then.
const LOOK: Duration = Duration::from_secs(60);

/// What the queue's thread hears.
pub(super) enum Turn {
    /// Something is to be posted.
    Tell(Arc<Message>),
    /// A delivery was tried.
    Tried {
        /// Which of the receivers.
        receiver: usize,
        /// What was tried.
        delivery: Delivery,
        /// What came of it.
        outcome: Result<(), String>,
    },
    /// What is dropped when all that was told before is in the queue. Nothing more is sent.
    Stop(Sender<()>),
}

/// One receiver.
struct Postbox {
    caller: Arc<Caller>,
    url: String,
    work: SyncSender<Delivery>,
    is_busy: bool,
    /// Failures in a row, and until when it is left alone for them, in milliseconds.
    failures: u32,
    rests_until_ms: i64,
}

/// All receivers, and what waits for them.
pub(super) struct Office {
    queue: Queue,
    boxes: Vec<Postbox>,
    schedule: Schedule,
}

impl Office {
    /// Starts a thread for each receiver. Those that are none are left out.
    pub(super) fn open(
        mut queue: Queue,
        callers: &[Arc<Caller>],
        schedule: Schedule,
        turns: &SyncSender<Turn>,
    ) -> Result<Self, Failure> {
        let mut boxes = Vec::new();
        for caller in callers {
            let Task::Post { url, secret } = &caller.task else { continue };
            let (work, jobs) = sync_channel(1);
            let carrier = Carrier {
                receiver: boxes.len(),
                caller: Arc::clone(caller),
                url: url.clone(),
                secret: secret.clone(),
                turns: turns.clone(),
            };
            thread::Builder::new().name("notify-post".to_owned()).spawn(move || carrier.work(&jobs))?;
            let (caller, url) = (Arc::clone(caller), url.clone());
            boxes.push(Postbox { caller, url, work, is_busy: false, failures: 0, rests_until_ms: 0 });
        }
        let urls: Vec<&str> = boxes.iter().map(|receiver| receiver.url.as_str()).collect();
        match queue.keep_only(&urls) {
            Ok(0) => {}
            Ok(count) => tracing::warn!(count, "notifications for webhooks that are configured no more are dropped"),
            Err(failure) => recover(&mut queue, &failure),
        }
        Ok(Self { queue, boxes, schedule })
    }

    /// Works until it is told to stop.
    pub(super) fn work(mut self, turns: &Receiver<Turn>) {
        loop {
            let wait = self.hand_out(now_ms());
            match turns.recv_timeout(wait) {
                Ok(Turn::Tell(message)) => self.store(&message, now_ms()),
                Ok(Turn::Tried { receiver, delivery, outcome }) => self.tried(receiver, &delivery, outcome, now_ms()),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Turn::Stop(done)) => return drop(done),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn store(&mut self, message: &Message, now_ms: i64) {
        for receiver in self.boxes.iter().filter(|receiver| receiver.caller.on.contains(&message.event)) {
            let stored = match new_id(now_ms) {
                Ok(id) => self.queue.add(&receiver.url, &id, &message.body, now_ms).map_err(|failure| {
                    recover(&mut self.queue, &failure);
                    failure.to_string()
                }),
                Err(error) => Err(format!("cannot make an id: {error}")),
            };
            match stored {
                Ok(count) => receiver.caller.dropped(count as u64, "too many wait"),
                Err(why) => receiver.caller.dropped(1, &why),
            }
        }
    }

    /// Gives each idle receiver what is due. Returns how long there is nothing else to do.
    fn hand_out(&mut self, now_ms: i64) -> Duration {
        let mut wait = LOOK;
        for receiver in self.boxes.iter_mut().filter(|receiver| !receiver.is_busy) {
            let rest = self.schedule.until(receiver.rests_until_ms, now_ms);
            wait =
                wait.min(if rest.is_zero() { receiver.serve(&mut self.queue, &self.schedule, now_ms) } else { rest });
        }
        wait
    }

    fn tried(&mut self, receiver: usize, delivery: &Delivery, outcome: Result<(), String>, now_ms: i64) {
        let Some(receiver) = self.boxes.get_mut(receiver) else { return };
        receiver.is_busy = false;
        let written = match outcome {
            Ok(()) => {
                (receiver.failures, receiver.rests_until_ms) = (0, 0);
                receiver.caller.succeeded();
                self.queue.remove(delivery.row)
            }
            Err(why) => {
                receiver.caller.fails(&why);
                receiver.rest(&self.schedule, now_ms);
                match self.schedule.next(delivery.made_ms, delivery.failures + 1, now_ms) {
                    Some(due_ms) => self.queue.put_off(delivery.row, due_ms),
                    None => {
                        receiver.caller.lost();
                        self.queue.remove(delivery.row)
                    }
                }
            }
        };
        if let Err(failure) = written {
            // It is still due: without a rest it would be sent again and again.
            receiver.rest(&self.schedule, now_ms);
            recover(&mut self.queue, &failure);
        }
    }
}

impl Postbox {
    fn rest(&mut self, schedule: &Schedule, now_ms: i64) {
        self.failures = self.failures.saturating_add(1);
        let pause = i64::try_from(schedule.pause(self.failures).as_millis()).unwrap_or(i64::MAX);
        self.rests_until_ms = now_ms.saturating_add(pause);
    }

    /// Hands out the next delivery, if it is due. Returns how long there is none.
    fn serve(&mut self, queue: &mut Queue, schedule: &Schedule, now_ms: i64) -> Duration {
        loop {
            let (due_ms, delivery) = match queue.next(&self.url) {
                Ok(Some(next)) => next,
                Ok(None) => return LOOK,
                Err(failure) => {
                    recover(queue, &failure);
                    return LOOK;
                }
            };
            if schedule.is_over(delivery.made_ms, now_ms) {
                self.caller.lost();
                if let Err(failure) = queue.remove(delivery.row) {
                    recover(queue, &failure);
                    return LOOK;
                }
                continue;
            }
            let wait = schedule.until(due_ms, now_ms);
            if wait.is_zero() {
                self.is_busy = self.work.try_send(delivery).is_ok();
                return LOOK;
            }
            return wait;
        }
    }
}

/// Posts what it is given for one receiver.
struct Carrier {
    receiver: usize,
    caller: Arc<Caller>,
    url: String,
    secret: Secret,
    turns: SyncSender<Turn>,
}

impl Carrier {
    fn work(&self, jobs: &Receiver<Delivery>) {
        for delivery in jobs {
            let timestamp = clock::now().wall.as_second();
            let signature = self.secret.sign(timestamp, &delivery.body);
            let post =
                Post { url: &self.url, delivery: &delivery.id, timestamp, signature: &signature, body: &delivery.body };
            let outcome = self.caller.post(&post.configuration());
            if self.turns.send(Turn::Tried { receiver: self.receiver, delivery, outcome }).is_err() {
                return;
            }
        }
    }
}

fn recover(queue: &mut Queue, failure: &queue::Failure) {
    tracing::warn!(%failure, "the queue of notifications cannot be used");
    if failure.is_final()
        && let Err(failure) = queue.reopen()
    {
        tracing::error!(%failure, "there is no queue of notifications any more: restart the daemon");
    }
}

fn now_ms() -> i64 {
    clock::now().wall.as_millisecond()
}

fn new_id(now_ms: i64) -> std::io::Result<String> {
    let bytes = random::bytes()?;
    Ok(Ulid::from_parts(u64::try_from(now_ms).unwrap_or_default(), u128::from_le_bytes(bytes)).to_string())
}
