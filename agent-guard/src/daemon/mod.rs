//! The daemon: owns all state, in one loop, and wires kernel, policy, decisions, audit log and API together.
//!
//! Everything that can make it act is a variant of `Event`. It must not compute a verdict, nor decide: what
//! happens to a question is `decision`'s to say, and the order of the effects is carried out as it stands.

mod adopt;
mod calls;
mod config;
mod effects;
mod folding;
mod gather;
mod gathering;
mod grants;
mod inforce;
mod intents;
mod looks;
mod lookups;
mod memory;
mod metrics;
mod names;
mod notices;
mod places;
mod resolve;
mod resume;
mod tree;
mod up;
mod upkeep;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use tokio::sync::{broadcast, mpsc, oneshot};

pub use self::config::{Config, Failure as ConfigFailure, Flags};
pub use self::inforce::Failure as PolicyFailure;
pub use self::names::{Named, object as named};

use self::effects::Waiting;
use self::folding::Folding;
use self::gathering::Gathering;
use self::inforce::{InForce, Kept, Prepared};
use self::intents::Intents;
use self::looks::Looks;
use self::lookups::Lookups;
use self::memory::Over;
use self::notices::Notices;
use self::places::Places;
use self::resume::Wakes;
use self::upkeep::Clockwork;
use crate::api::call::Incoming;
use crate::api::server::{self, Listeners};
use crate::api::{Reply, types};
use crate::audit::{self, Entry, What};
use crate::decision::{CallId, Effect, Question, State};
use crate::dns::Ask;
use crate::kernel::events::KernelEvent;
use crate::kernel::{self, EventReader, Kernel};
use crate::notify::{self, Notifier};
use crate::session::{Registry, SessionKey};
use crate::store::{self, Store};
use crate::system::inbox::{self, Inbox};
use crate::system::mounts::MountChanges;
use crate::system::signal::Signal;
use crate::system::{clock, limits, paths};

/// What outlives the daemon, in the state directory.
const STORE: &str = "state.db";
/// The key that vouches for the audit log, in the state directory.
const AUDIT_KEY: &str = "audit.key";
/// What waits to be posted, in the state directory.
const NOTIFY_QUEUE: &str = "notify.db";
/// Time for what is to be posted to be in there, when the daemon ends.
const LAST_NEWS: Duration = Duration::from_secs(1);
/// Calls that may wait for the loop.
const CALLS: usize = 256;
/// Results of work beside the loop that may wait for it.
const RESULTS: usize = 1024;
/// Changes of requests that a slow watcher may lag behind.
const CHANGES: usize = 1024;
/// Threads for work that blocks: enough for many sessions whose readers do not come back.
const WORKERS: usize = 512;

/// Why the daemon does not start, or ends.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigFailure),
    /// The runtime or its signals cannot be set up.
    #[error("cannot start: {0}")]
    Start(io::Error),
    /// A directory cannot be used.
    #[error(transparent)]
    Paths(#[from] paths::Failure),
    /// The audit log cannot be used.
    #[error(transparent)]
    Audit(#[from] audit::Failure),
    /// The audit log's key.
    #[error(transparent)]
    AuditKey(#[from] audit::KeyFailure),
    /// What outlives the daemon.
    #[error(transparent)]
    Store(#[from] store::Failure),
    /// The kernel side cannot be used.
    #[error(transparent)]
    Kernel(#[from] kernel::Error),
    /// The policy cannot be put in force.
    #[error(transparent)]
    Policy(#[from] PolicyFailure),
    /// The sockets cannot be served.
    #[error(transparent)]
    Serve(#[from] server::Error),
    /// The parent of the sessions' cgroups cannot be used.
    #[error(transparent)]
    Cgroup(#[from] crate::system::cgroup::Failure),
    /// A hook that is told of requests lacks something.
    #[error(transparent)]
    Notify(#[from] notify::Failure),
    /// The mounts cannot be watched.
    #[error("cannot watch the mount table: {0}; mount procfs at /proc")]
    Mounts(io::Error),
    /// The API has ended without having been told to.
    #[error("the API has ended unexpectedly")]
    ApiGone,
}

/// Everything that can make the daemon act.
enum Event {
    /// The kernel tells something.
    Kernel(Vec<KernelEvent>),
    /// A client asks for something.
    Call(Incoming),
    /// A session looks a name up, or is about to hear what it stands for.
    Lookup(Ask),
    /// Work beside the loop is done.
    Done(Done),
    /// A signal.
    Signal(Signal),
    /// Something was mounted or unmounted.
    MountsChanged,
    /// Time has passed.
    Tick,
}

/// Work that was done beside the loop.
enum Done {
    /// A question was completed.
    Gathered(Box<Question>),
    /// A policy was read and looked up.
    Prepared(Box<Result<Prepared, PolicyFailure>>, Option<Reply<types::PolicyStatus>>),
    /// The paths of the policy in force were looked up again.
    Looked(Result<Places, resolve::Failure>),
    /// A tree was taken into its session, or not in whole.
    Adopted(SessionKey, Box<Result<(), adopt::Failure>>, Reply<types::Session>),
}

/// All of the daemon's state.
struct Daemon {
    config: Config,
    started: audit::Now,
    kernel: Kernel,
    log: audit::Log,
    folding: Folding,
    policy: InForce,
    state: State,
    sessions: Registry,
    wakes: Wakes,
    notices: Notices,
    clockwork: Clockwork,
    looks: Looks,
    intents: Intents,
    lookups: Lookups,
    /// Questions that are being completed.
    gathering: Gathering,
    /// What outlives the daemon.
    store: Store,
    /// What `decision` has ordered in this turn.
    orders: Vec<Effect>,
    /// Callers that wait for an effect.
    waiting: BTreeMap<CallId, Waiting>,
    next_call: CallId,
    /// Sessions whose processes are to be killed wherever they went.
    doomed: BTreeSet<SessionKey>,
    changes: broadcast::Sender<std::sync::Arc<types::Request>>,
    notifier: Notifier,
    results: mpsc::Sender<Done>,
}

/// Calls, and results of work beside the loop, that one turn takes beyond its event.
const MORE: usize = 64;
/// Turns of the runtime between two looks at its sockets.
const TURNS_PER_LOOK: u32 = 4;

/// Runs the daemon until it is told to stop. Refusals go on without it: programs and maps stay pinned.
pub fn run(flags: Flags) -> Result<(), Error> {
    let config = Config::read(flags)?;
    limits::raise_open_files();
    crate::system::memory::bound();
    // Before any thread starts: each inherits what is blocked.
    let signals = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];
    inbox::block(&signals).map_err(Error::Start)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Calls are looked for often: while the kernel has events without end, nothing else would make room for them.
        .event_interval(TURNS_PER_LOOK)
        .max_blocking_threads(WORKERS)
        .build()
        .map_err(Error::Start)?;
    let ended = runtime.block_on(async {
        let signals = Inbox::open(&signals).map_err(Error::Start)?;
        serve(config, signals).await
    });
    // A file system that does not answer must not keep the daemon from going.
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

/// Removes every program and map that a daemon has left in the kernel: nothing is enforced any more.
pub fn detach(flags: Flags) -> Result<(), Error> {
    Ok(kernel::detach(&Config::read(flags)?.pin_dir)?)
}

async fn serve(config: Config, signals: Inbox) -> Result<(), Error> {
    paths::private_directory(&config.state_dir)?;
    let key = audit::Key::open(&config.state_dir.join(AUDIT_KEY))?;
    let boot = clock::boot_id().map_err(Error::Start)?;
    let log = audit::Log::open(&config.log_dir, boot.clone(), key)?;
    let mut listeners = Listeners::open(&config.run_dir)?;
    // Behind the sockets, which tell whether another daemon runs.
    let store = Store::open(&config.state_dir.join(STORE), boot)?;
    let notifier = Notifier::start(&config.hooks, &config.state_dir.join(NOTIFY_QUEUE), notify::Schedule::default())?;
    if let Some(address) = config.metrics_listen
        && let Err(error) = listeners.add_port(address)
    {
        // Whoever takes the port first must not keep the guard from starting.
        tracing::error!(%error, "metrics are served on the control socket only");
    }
    // Before anything is looked up: what is mounted meanwhile is looked at again.
    let mounts = MountChanges::watch().map_err(Error::Mounts)?;
    let looks = Looks::default();
    // Before the kernel is touched: a policy with faults leaves everything as it was.
    let prepared = inforce::prepare(config.policy.clone(), looks.clone()).await?;
    let (kernel, mut events) = Kernel::start(&kernel::Options { pins: config.pin_dir.clone() })?;
    let (results, done) = mpsc::channel(RESULTS);
    let (ask, asks) = mpsc::channel(lookups::ASKS);
    let beside = Beside { looks, lookups: Lookups::new(ask), notifier, results };
    let (mut daemon, over) = Daemon::start(config, prepared, kernel, Books { log, store }, beside).await?;
    let (calls, incoming) = mpsc::channel(CALLS);
    let (stop, stopped) = oneshot::channel::<()>();
    let api = tokio::spawn(server::serve(listeners, calls, async move {
        // Dropping the sender stops the API as well.
        drop(stopped.await);
    }));
    daemon.record(&Entry::new(clock::now(), What::DaemonStarted));
    // Whoever is woken asks again: what was asked and told while no daemon ran must not keep the ring from taking it.
    events.backlog().into_iter().for_each(|event| daemon.kernel_event(event));
    daemon.let_go(over);
    daemon.carry_out();
    daemon.wake_all();
    tell_manager(&[sd_notify::NotifyState::Ready]);
    tracing::info!(policy = %daemon.policy.path.display(), "ready");
    let ended = daemon.turn(Sources { events, incoming, asks, done, signals, mounts }).await;
    tell_manager(&[sd_notify::NotifyState::Stopping]);
    daemon.record_folded(u64::MAX);
    daemon.record(&Entry::new(clock::now(), What::DaemonStopped));
    daemon.checkpoint();
    daemon.notifier.close(LAST_NEWS);
    drop(stop);
    match api.await {
        // What ended the API says more than that it ended.
        Ok(Err(error)) => Err(error.into()),
        Ok(Ok(())) | Err(_) => ended,
    }
}

/// Where events come from.
struct Sources {
    events: EventReader,
    incoming: mpsc::Receiver<Incoming>,
    asks: mpsc::Receiver<Ask>,
    done: mpsc::Receiver<Done>,
    signals: Inbox,
    mounts: MountChanges,
}

/// Where the daemon writes.
struct Books {
    log: audit::Log,
    store: Store,
}

/// What work beside the loop needs.
struct Beside {
    looks: Looks,
    lookups: Lookups,
    notifier: Notifier,
    results: mpsc::Sender<Done>,
}

impl Sources {
    /// The next event; waits no longer than it is told to.
    async fn next(&mut self, wait: Duration) -> Result<Event, Error> {
        // A tree that is refused things in a tight loop must not keep the API's own tasks from running.
        tokio::task::yield_now().await;
        // Every branch is safe to be dropped half-way: what was not returned is still queued.
        Ok(tokio::select! {
            signal = self.signals.next() => Event::Signal(signal.map_err(Error::Start)?.signal),
            () = tokio::time::sleep(wait) => Event::Tick,
            Some(done) = self.done.recv() => Event::Done(done),
            Some(ask) = self.asks.recv() => Event::Lookup(ask),
            changed = self.mounts.next() => changed.map(|()| Event::MountsChanged).map_err(Error::Mounts)?,
            events = self.events.next() => Event::Kernel(events?),
            incoming = self.incoming.recv() => Event::Call(incoming.ok_or(Error::ApiGone)?),
        })
    }
}

impl Daemon {
    /// Puts the policy in force and finds the sessions again that the kernel has kept.
    async fn start(
        config: Config,
        prepared: Prepared,
        mut kernel: Kernel,
        books: Books,
        beside: Beside,
    ) -> Result<(Self, Over), Error> {
        let records = kernel.sessions()?;
        let mut running = BTreeSet::new();
        for (slot, _) in &records {
            if kernel.session_tasks(*slot)? > 0 {
                running.insert(*slot);
            }
        }
        let sessions = tree::recover(&config.cgroup_dir, &records, &running)?;
        let now = clock::now();
        let mut lookups = beside.lookups;
        lookups.restore(&kernel, &sessions)?;
        let kept = Kept { profiles: sessions.profiles(), hearings: lookups.hearings(&sessions) };
        let policy = InForce::first(config.policy.clone(), prepared, &mut kernel, kept, now.wall)?;
        kernel.heartbeat()?;
        kernel::selftest::run(&mut kernel).await?;
        let (state, over) = memory::resume(&books, &kernel, &sessions, policy.number())?;
        let Books { log, store } = books;
        let mut daemon = Self {
            config,
            started: now,
            kernel,
            log,
            folding: Folding::default(),
            policy,
            state,
            sessions,
            wakes: Wakes::default(),
            notices: Notices::default(),
            clockwork: Clockwork::default(),
            looks: beside.looks,
            lookups,
            intents: Intents::default(),
            gathering: Gathering::default(),
            store,
            orders: Vec::new(),
            waiting: BTreeMap::new(),
            next_call: 0,
            doomed: BTreeSet::new(),
            changes: broadcast::Sender::new(CHANGES),
            notifier: beside.notifier,
            results: beside.results,
        };
        daemon.find_halted();
        // As soon as can be: meanwhile the lookups of running sessions fail.
        daemon.open_all_lookups();
        Ok((daemon, over))
    }

    /// Takes what has come meanwhile: all of a turn is put on disk at once.
    fn take_more(&mut self, sources: &mut Sources) {
        for _ in 0..MORE {
            let done = sources.done.try_recv().map(|done| self.done(done));
            let called = sources.incoming.try_recv().map(|incoming| self.call(incoming));
            if done.is_err() && called.is_err() {
                break;
            }
        }
    }

    /// The loop: what has happened, all that follows from it, and then one wake-up for each process that was answered.
    async fn turn(&mut self, mut sources: Sources) -> Result<(), Error> {
        loop {
            match sources.next(self.pause()).await? {
                Event::Kernel(events) => events.into_iter().for_each(|event| self.kernel_event(event)),
                Event::Call(incoming) => self.call(incoming),
                Event::Done(done) => self.done(done),
                Event::Lookup(ask) => self.lookup(ask),
                Event::Signal(Signal::SIGHUP) => self.reload(None),
                Event::Signal(_) => return Ok(()),
                Event::MountsChanged => self.clockwork.mounts_changed(),
                Event::Tick => {}
            }
            self.take_more(&mut sources);
            self.carry_out();
            self.upkeep();
            self.carry_out();
            self.wake();
        }
    }
}

/// Tells the service manager; without one nobody needs to know.
fn tell_manager(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(false, states) {
        tracing::warn!(%error, "cannot notify the service manager");
    }
}
