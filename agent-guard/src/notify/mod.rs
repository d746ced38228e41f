//! Hooks that are told of requests: a command, a webhook, a desktop, all terminals.
//!
//! They hear what has happened, and nothing else: no hook delays, changes or decides anything. The daemon's loop only puts
//! news into a bounded queue, and counts what finds no room; all else is done in threads of this module, by child
//! processes that have no rights but their user's. It must not know the kernel, nor how a decision comes about.

mod caller;
mod curl;
mod message;
mod post;
mod queue;
mod schedule;
mod settings;
mod signature;

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::mpsc::{self, Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;

pub use self::caller::{Failure, Tally};
pub use self::message::{Event, Message, News};
pub use self::queue::ROWS;
pub use self::schedule::Schedule;
pub use self::settings::{Entry, Failure as SettingsFailure, Fault, Hook, Way, check};
pub use self::signature::Secret;

use self::caller::{Caller, Task};
use self::post::{Office, Turn};
use self::queue::Queue;
use crate::api::types::{Request, RequestState};
use crate::audit::Redactor;
use crate::system::host;

/// News, and messages of each hook, that may wait.
const WAITING: usize = 512;
/// Runs of one command at a time. A desktop and terminals have one, so that their lines come in order.
const HANDS: usize = 4;
/// Pause between looks for room, when the daemon ends.
const PAUSE: Duration = Duration::from_millis(10);
/// Requests of which it is known what was told last, so that it is not told twice: one that waits changes with each thread
/// that waits for the same answer. More than can wait at once.
const REMEMBERED: usize = 8192;

/// What the daemon's loop says.
enum Word {
    /// Something that hooks may be told.
    News(News),
    /// What is dropped when all news before it is in the queue.
    Stop(mpsc::Sender<()>),
}

/// The loop's end of it.
#[derive(Debug)]
pub struct Notifier {
    callers: Vec<Arc<Caller>>,
    words: Option<SyncSender<Word>>,
}

impl std::fmt::Debug for Word {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::News(_) => "News",
            Self::Stop(_) => "Stop",
        })
    }
}

impl Notifier {
    /// Starts what hooks need; without any that is nothing. The queue of webhooks lies at a path, if there are some.
    ///
    /// # Errors
    /// Something that a hook needs is not there.
    pub fn start(hooks: &[Hook], queue: &Path, schedule: Schedule) -> Result<Self, Failure> {
        let callers = hooks.iter().enumerate().map(|(index, hook)| Caller::new(index + 1, hook).map(Arc::new));
        let callers: Vec<Arc<Caller>> = callers.collect::<Result<_, _>>()?;
        if callers.is_empty() {
            return Ok(Self { callers, words: None });
        }
        let mut front = Front {
            redactor: Redactor::new()?,
            host: host::name(),
            commands: Vec::new(),
            office: None,
            last: BTreeMap::new(),
            order: VecDeque::new(),
        };
        for caller in &callers {
            if !matches!(caller.task, Task::Post { .. }) {
                front.commands.push((Arc::clone(caller), hire(caller)?));
            }
        }
        if front.commands.len() < callers.len() {
            let queue = Queue::open(queue).map_err(|failure| Failure::Queue(failure.to_string()))?;
            let (turns, heard) = sync_channel(WAITING);
            let office = Office::open(queue, &callers, schedule, &turns)?;
            start("notify-queue", move || office.work(&heard))?;
            let posted = callers.iter().filter(|caller| matches!(caller.task, Task::Post { .. }));
            front.office = Some((posted.cloned().collect(), turns));
        }
        let (words, heard) = sync_channel(WAITING);
        start("notify", move || front.work(&heard))?;
        Ok(Self { callers, words: Some(words) })
    }

    /// Whether anybody is told of anything.
    #[must_use]
    pub const fn has_hooks(&self) -> bool {
        self.words.is_some()
    }

    /// Tells the hooks of a request that has changed. It never waits: where there is no room, they are not told.
    pub fn tell(&self, at: Timestamp, request: &Arc<Request>) {
        let (Some(words), Some(event)) = (&self.words, Event::of(request)) else { return };
        let mut wanted = self.callers.iter().filter(|caller| caller.on.contains(&event)).peekable();
        if wanted.peek().is_none() {
            return;
        }
        let news = News { event, at, request: Arc::clone(request) };
        if words.try_send(Word::News(news)).is_err() {
            wanted.for_each(|caller| caller.dropped(1, "there is too much news"));
        }
    }

    /// What has come of each hook.
    #[must_use]
    pub fn tallies(&self) -> Vec<Tally> {
        self.callers.iter().map(|caller| caller.tally()).collect()
    }

    /// Ends it. What is to be posted is in the queue then, if there was time for that; what runs is killed with the daemon.
    pub fn close(self, time: Duration) {
        let Some(words) = self.words else { return };
        let deadline = Instant::now() + time;
        let (done, stopped) = mpsc::channel();
        let mut word = Word::Stop(done);
        while let Err(mpsc::TrySendError::Full(back)) = words.try_send(word) {
            if Instant::now() >= deadline {
                return;
            }
            word = back;
            thread::sleep(PAUSE);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if stopped.recv_timeout(left) == Err(mpsc::RecvTimeoutError::Timeout) {
            tracing::warn!("the last notifications are not in the queue");
        }
    }
}

/// Makes messages of news, and passes them to those who want them.
struct Front {
    redactor: Redactor,
    host: String,
    commands: Vec<(Arc<Caller>, SyncSender<Arc<Message>>)>,
    office: Option<(Vec<Arc<Caller>>, SyncSender<Turn>)>,
    last: BTreeMap<String, RequestState>,
    order: VecDeque<String>,
}

impl Front {
    fn work(mut self, words: &Receiver<Word>) {
        for word in words {
            match word {
                Word::News(news) => {
                    if self.is_new(&news.request) {
                        self.pass_on(&news);
                    }
                }
                Word::Stop(done) => {
                    // An office that has ended has nothing left to do.
                    if let Some((_, turns)) = &self.office {
                        drop(turns.send(Turn::Stop(done)));
                    }
                    return;
                }
            }
        }
    }

    /// Notes how a request stands; tells whether that was not told before.
    fn is_new(&mut self, request: &Request) -> bool {
        let before = self.last.insert(request.id.clone(), request.state);
        if before.is_none() {
            self.order.push_back(request.id.clone());
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.last.remove(&oldest);
        }
        before != Some(request.state)
    }

    fn pass_on(&self, news: &News) {
        let message = match Message::new(news, &self.host, &self.redactor) {
            Ok(message) => Arc::new(message),
            Err(error) => return tracing::error!(%error, request = news.request.id, "a notification cannot be made"),
        };
        for (caller, messages) in self.commands.iter().filter(|(caller, _)| caller.on.contains(&news.event)) {
            if messages.try_send(Arc::clone(&message)).is_err() {
                caller.dropped(1, "it is too slow");
            }
        }
        if let Some((callers, turns)) = &self.office {
            let mut wanted = callers.iter().filter(|caller| caller.on.contains(&news.event)).peekable();
            if wanted.peek().is_some() && turns.try_send(Turn::Tell(message)).is_err() {
                wanted.for_each(|caller| caller.dropped(1, "the queue is too slow"));
            }
        }
    }
}

/// Starts the threads that run a hook's program.
fn hire(caller: &Arc<Caller>) -> Result<SyncSender<Arc<Message>>, Failure> {
    let (messages, heard) = sync_channel::<Arc<Message>>(WAITING);
    let heard = Arc::new(Mutex::new(heard));
    let hands = if matches!(caller.task, Task::Json) { HANDS } else { 1 };
    for _ in 0..hands {
        let (caller, heard) = (Arc::clone(caller), Arc::clone(&heard));
        start("notify-run", move || {
            loop {
                // Whoever waits for a message holds the lock; whoever has one does not.
                let message = heard.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok(message) = message else { return };
                match caller.tell(&message) {
                    Ok(()) => caller.succeeded(),
                    Err(why) => {
                        caller.lost();
                        caller.fails(&why);
                    }
                }
            }
        })?;
    }
    Ok(messages)
}

fn start(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    thread::Builder::new().name(name.to_owned()).spawn(work)?;
    Ok(())
}
