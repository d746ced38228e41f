//! Lookups of names: each session's resolver, what the sessions have heard by it, and what that makes of addresses.
//!
//! What a session is about to hear is in the kernel before the session hears it. It must not know DNS messages, nor what a
//! name means: the policy labels names, and `policy` judges lookups.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::Arc;
use std::{fs, io};

use agent_guard_common::egress::resolver_port;
use agent_guard_common::operation::Operation;
use agent_guard_common::verdict::Reason;
use tokio::sync::mpsc;

use super::inforce::Kept;
use super::{Daemon, names};
use crate::api::Refusal;
use crate::audit::{Entry, What};
use crate::dns::{self, Ask, Heard, Known, Naming, Resolver, Serving, Watch};
use crate::kernel::{self, HeardName, Kernel, KnownAddress};
use crate::policy::{Compiled, NoAnswer, Ruling};
use crate::session::{self, Act, Registry, Rule, Session, SessionKey};
use crate::system::clock;
use crate::system::network::{self, Loopback};

/// Where the machine says which name servers it asks.
const SERVERS: &str = "/etc/resolv.conf";
/// Lookups that may wait for the loop.
pub(super) const ASKS: usize = 1024;

/// Why a session's lookups cannot be answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The machine's name servers cannot be read.
    #[error("cannot read the name servers from {SERVERS}: {0}; the policy speaks of names, and lookups go there")]
    Servers(io::Error),
    /// What stands there is wrong.
    #[error("{SERVERS}: {0}")]
    BadServer(dns::BadLine),
    /// No port is free.
    #[error("cannot listen for lookups on the loopback addresses: {0}")]
    Listen(io::Error),
    /// The runtime takes no more sockets.
    #[error(transparent)]
    Serve(#[from] dns::Error),
    /// The kernel was not told.
    #[error(transparent)]
    Kernel(#[from] kernel::Error),
}

/// A session's resolver, on each address family.
type Servings = Vec<Serving>;

/// Everything about names.
pub(super) struct Lookups {
    resolver: Resolver,
    serving: BTreeMap<u32, Servings>,
    known: Known,
    watch: Watch,
    /// What was read of the machine's name servers.
    servers: Option<String>,
}

/// An address that a session knows by names, and the index of its profile.
#[derive(Debug)]
pub(super) struct Hearing {
    entry: dns::Entry,
    profile: u32,
}

impl Lookups {
    /// Nothing is known yet; lookups are asked about here.
    pub(super) fn new(asks: mpsc::Sender<Ask>) -> Self {
        Self {
            resolver: Resolver::new(asks, Vec::new()),
            serving: BTreeMap::new(),
            known: Known::default(),
            watch: Watch::default(),
            servers: None,
        }
    }

    /// Knows again what the sessions that are still there have heard before this daemon started.
    pub(super) fn restore(&mut self, kernel: &Kernel, sessions: &Registry) -> Result<(), kernel::Error> {
        let kept = kernel.kept_names()?.into_iter().filter(|heard| sessions.at(heard.session).is_some());
        self.known.restore(kept.map(|heard| {
            let naming = Naming { name: Arc::from(heard.name.as_str()), until_ns: heard.until_ns };
            (heard.session, heard.address, naming)
        }));
        Ok(())
    }

    /// All that the sessions know, for a policy that is to be put in force.
    pub(super) fn hearings(&self, sessions: &Registry) -> Vec<Hearing> {
        let hearing = |entry: dns::Entry| Some(Hearing { profile: sessions.at(entry.session)?.profile_index, entry });
        self.known.all().filter_map(hearing).collect()
    }

    /// The names that a session knows an address by.
    pub(super) fn names(&self, session: u32, address: IpAddr) -> Vec<String> {
        self.known.names(session, address, clock::monotonic_ns()).map(str::to_owned).collect()
    }

    /// Reads the machine's name servers anew, if they have changed.
    pub(super) fn read_servers(&mut self) -> Result<(), Failure> {
        let text = match fs::read_to_string(Path::new(SERVERS)) {
            // A machine without it asks itself, as its own C library does (resolv.conf(5)).
            Err(error) if error.kind() == io::ErrorKind::NotFound => "nameserver 127.0.0.1\n".to_owned(),
            text => text.map_err(Failure::Servers)?,
        };
        if self.servers.as_ref() != Some(&text) {
            self.resolver.use_upstreams(dns::upstreams(&text, network::interface).map_err(Failure::BadServer)?);
            self.servers = Some(text);
        }
        Ok(())
    }

    /// Answers a session's lookups, if they are not answered already: at the port that they went to before, where that is
    /// free.
    pub(super) fn open(&mut self, kernel: &mut Kernel, session: u32) -> Result<(), Failure> {
        if self.serving.contains_key(&session) {
            return Ok(());
        }
        self.read_servers()?;
        let before = resolver_port(kernel.resolver(session)?);
        let Loopback { port, ipv4, ipv6 } = Loopback::bind(before).map_err(Failure::Listen)?;
        let has_ipv6 = ipv6.is_some();
        kernel.set_network(network::cookie(ipv4.udp.as_fd()).map_err(Failure::Listen)?)?;
        let pairs = std::iter::once(ipv4).chain(ipv6);
        let serving = pairs.map(|pair| self.resolver.serve(session, pair.udp, pair.tcp)).collect::<Result<_, _>>()?;
        kernel.set_resolver(session, port, has_ipv6)?;
        self.serving.insert(session, serving);
        Ok(())
    }

    /// Learns what a session is about to hear, for it and for whoever comes after this daemon.
    fn learn(
        &mut self,
        kernel: &mut Kernel,
        heard: &Heard,
        of: &Session,
        policy: &Compiled,
    ) -> Result<(), kernel::Error> {
        let slot = of.stamp.key.slot;
        let changed = self.known.learn(slot, heard, clock::monotonic_ns());
        let told = changed.iter().try_for_each(|entry| {
            write(kernel, entry, of.profile_index, policy)?;
            keep(kernel, entry)
        });
        if told.is_err() {
            self.known.not_told(slot, heard);
        }
        told
    }

    /// Forgets names whose time is over.
    pub(super) fn expire(
        &mut self,
        kernel: &mut Kernel,
        sessions: &Registry,
        policy: &Compiled,
    ) -> Result<(), kernel::Error> {
        let now_ns = clock::monotonic_ns();
        for entry in self.known.expire(now_ns) {
            write(kernel, &entry, sessions.at(entry.session).map_or(0, |session| session.profile_index), policy)?;
        }
        for heard in kernel.kept_names()?.into_iter().filter(|heard| heard.until_ns <= now_ns) {
            kernel.forget_heard(heard.session, heard.address, &heard.name)?;
        }
        Ok(())
    }

    /// Forgets a session that has ended.
    pub(super) fn close(&mut self, kernel: &mut Kernel, session: u32) -> Result<(), kernel::Error> {
        self.serving.remove(&session);
        self.known.forget(session);
        self.watch.forget(session);
        kernel.forget_names(session)
    }
}

/// Writes what an address is labelled with by its names; without any it is one without a name.
fn write(kernel: &mut Kernel, entry: &dns::Entry, profile: u32, policy: &Compiled) -> Result<(), kernel::Error> {
    match labelled(entry, profile, policy) {
        Some(known) => kernel.know(&known),
        None => kernel.forget_known(entry.session, entry.address),
    }
}

/// Keeps an address's names for the daemon that comes after this one.
fn keep(kernel: &mut Kernel, entry: &dns::Entry) -> Result<(), kernel::Error> {
    entry.names.iter().try_for_each(|naming| {
        kernel.keep_heard(&HeardName {
            session: entry.session,
            address: entry.address,
            name: naming.name.to_string(),
            until_ns: naming.until_ns,
        })
    })
}

fn labelled(entry: &dns::Entry, profile: u32, policy: &Compiled) -> Option<KnownAddress> {
    let names: Vec<&str> = entry.names.iter().map(|naming| &*naming.name).collect();
    // The labels of all names hold until the first of them goes; then what is left is written anew.
    let until_ns = entry.names.iter().map(|naming| naming.until_ns).max()?;
    let labels = policy.named(profile, &names);
    Some(KnownAddress { session: entry.session, address: entry.address, until_ns, labels })
}

/// What all sessions know, as a policy labels it.
pub(super) fn labels(hearings: &[Hearing], policy: &Compiled) -> Vec<KnownAddress> {
    hearings.iter().filter_map(|hearing| labelled(&hearing.entry, hearing.profile, policy)).collect()
}

impl Daemon {
    /// What a policy that is put in force now must keep.
    pub(super) fn kept(&self) -> Kept {
        Kept { profiles: self.sessions.profiles(), hearings: self.lookups.hearings(&self.sessions) }
    }

    /// Whether the policy in force speaks of names.
    pub(super) fn hears_names(&self) -> bool {
        self.policy.compiled.demands.contains(&Operation::Resolve)
    }

    /// Answers a session's lookups, where the policy speaks of names.
    pub(super) fn open_lookups(&mut self, key: SessionKey) -> Result<(), Refusal> {
        if !self.hears_names() {
            return Ok(());
        }
        self.lookups.open(&mut self.kernel, key.slot).map_err(|failure| Refusal::Failed(failure.to_string()))
    }

    /// The same for every session, for a policy that was put in force. Where that fails, the lookups of that session are
    /// refused.
    pub(super) fn open_all_lookups(&mut self) {
        let keys: Vec<SessionKey> = self.sessions.iter().map(|session| session.stamp.key).collect();
        for key in keys {
            if let Err(refusal) = self.open_lookups(key) {
                tracing::error!(%refusal, slot = key.slot, "the lookups of a session are refused");
            }
        }
    }

    /// Rules on a lookup, or takes note of its answer. Whoever asked may have gone.
    pub(super) fn lookup(&mut self, ask: Ask) {
        match ask {
            Ask::May { session, name, kind: _, reply } => drop(reply.send(self.may(session, &name))),
            Ask::Learn { session, heard, reply } => drop(reply.send(self.learn(session, &heard))),
        }
    }

    fn may(&mut self, slot: u32, name: &str) -> dns::Ruling {
        let now_ns = clock::monotonic_ns();
        let Some(session) = self.sessions.at(slot) else { return dns::Ruling::Refused };
        let (profile, stamp) = (session.profile_index, Arc::clone(&session.stamp));
        let touched = self.kernel.touched(slot).unwrap_or(u64::MAX);
        let policy = Arc::clone(&self.policy.compiled);
        let judged = policy.lookup(profile, touched, name);
        let rule = judged.rule.map(names::rule);
        let act = |label: u16| Act {
            session: Some(Arc::clone(&stamp)),
            operation: Operation::Resolve,
            object: name.to_owned(),
            other: None,
            cut: false,
            label: self.policy.label(policy.generation, label),
            rule: rule.clone().unwrap_or_else(|| Rule::named("none")),
            tier: judged.tier,
            // Which of its processes asks is not seen.
            process: session::plain(session.root, session.root, stamp.uid, String::new()),
            impact: None,
            sent: None,
            intent: None,
        };
        let entry =
            |what, reason| Entry { act: Some(Arc::new(act(judged.label))), reason, ..Entry::new(clock::now(), what) };
        let mut entries = Vec::new();
        if let Some(alert) = self.lookups.watch.saw(slot, name, now_ns) {
            let reason = format!("{} under {}", alert.sign, alert.domain);
            entries.push(entry(What::Tunnelling, Some(reason)));
        }
        let ruling = match judged.ruling {
            Ruling::Answer => dns::Ruling::Forward,
            Ruling::AnswerAudited => {
                entries.push(entry(What::Audited, None));
                dns::Ruling::Forward
            }
            Ruling::Refuse(answer) => {
                entries.push(entry(What::Refused, Some(Reason::Denied.text().to_owned())));
                match answer {
                    NoAnswer::Refused => dns::Ruling::Refused,
                    NoAnswer::NoSuchName => dns::Ruling::NoSuchName,
                }
            }
        };
        entries.iter().for_each(|entry| {
            self.record(entry);
        });
        ruling
    }

    fn learn(&mut self, slot: u32, heard: &Heard) -> bool {
        let Some(session) = self.sessions.at(slot) else { return false };
        let learnt = self.lookups.learn(&mut self.kernel, heard, session, &self.policy.compiled);
        if let Err(error) = &learnt {
            tracing::error!(%error, session = %session.stamp.id, "a lookup is refused, since its answer cannot be noted");
        }
        learnt.is_ok()
    }

    /// Forgets what is over, and follows the machine to other name servers.
    pub(super) fn look_after_lookups(&mut self) {
        if !self.hears_names() {
            return;
        }
        if let Err(error) = self.lookups.expire(&mut self.kernel, &self.sessions, &self.policy.compiled) {
            tracing::error!(%error, "names that are over cannot be forgotten");
        }
        if let Err(failure) = self.lookups.read_servers() {
            tracing::warn!(%failure, "lookups go on to the name servers before");
        }
    }
}
