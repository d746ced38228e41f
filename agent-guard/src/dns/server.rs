//! The sockets of the sessions: who is served, how many at a time, and what becomes of the rest.
//!
//! Nothing that one session does or fails to do takes another's room, but for what all of them have together. It must
//! not know what a query asks for.

use core::time::Duration;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener, UdpSocket as StdSocket};
use std::sync::{Arc, Mutex, PoisonError};

use hickory_proto::op::ResponseCode;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;

use super::answer::Answer;
use super::ask::Ask;
use super::cache::Cache;
use super::connection;
use super::message::{Packet, Query};
use super::tally::{Counts, Tally};
use super::turn;
use super::upstream::{Transport, Upstreams};
use crate::system::clock;

/// Queries under way: of one session, and of all together, as each has a socket of its own.
const QUERIES: (usize, usize) = (256, 4096);
/// Connections: of one session, and of all together.
const CONNECTIONS: (usize, usize) = (32, 1024);
/// Bytes of a query. With every option that is in use it has a few hundred.
pub(super) const LONGEST_QUERY: usize = 4096;
/// Wait after a socket that failed for want of something.
const PAUSE: Duration = Duration::from_millis(100);

/// Why a session has no resolver.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The runtime does not take a socket.
    #[error("cannot wait on the name server's {what} socket of session {session}: {source}; end some sessions")]
    Register {
        /// Which one.
        what: &'static str,
        /// Whose.
        session: u32,
        /// Why.
        source: io::Error,
    },
}

/// What all sessions share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) asks: mpsc::Sender<Ask>,
    pub(super) upstreams: Upstreams,
    queries: Arc<Semaphore>,
    connections: Arc<Semaphore>,
}

/// Where one session's queries are taken.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) shared: Arc<Shared>,
    pub(super) session: u32,
    pub(super) tally: Tally,
    /// Which servers have answered, and what.
    cache: Mutex<(u64, Cache)>,
    queries: Arc<Semaphore>,
    connections: Arc<Semaphore>,
}

/// Room for a query or a connection, until it is dropped.
pub(super) type Room = (OwnedSemaphorePermit, OwnedSemaphorePermit);

impl Desk {
    /// The answer that the same question has had from these servers, while it holds.
    pub(super) fn remembered(&self, query: &Query, servers: u64) -> Option<Answer> {
        let (of, cache) = &*self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if *of == servers { cache.find(query, clock::monotonic_ns()) } else { None }
    }

    /// Remembers an answer. Of other servers than the last that were asked nothing is kept.
    pub(super) fn remember(&self, query: &Query, answer: &Answer, servers: u64) {
        let (of, cache) = &mut *self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if *of < servers {
            (*of, *cache) = (servers, Cache::default());
        }
        if *of == servers {
            cache.keep(query, answer, clock::monotonic_ns());
        }
    }

    /// Room for one more query, if there is.
    pub(super) fn query_room(&self) -> Option<Room> {
        let room = room(&self.queries, &self.shared.queries);
        if room.is_none() {
            self.tally.crowded.add();
        }
        room
    }

    fn connection_room(&self) -> Option<Room> {
        let room = room(&self.connections, &self.shared.connections);
        if room.is_none() {
            self.tally.closed.add();
        }
        room
    }
}

fn room(own: &Arc<Semaphore>, shared: &Arc<Semaphore>) -> Option<Room> {
    Some((Arc::clone(own).try_acquire_owned().ok()?, Arc::clone(shared).try_acquire_owned().ok()?))
}

/// The resolver of all sessions.
#[derive(Clone, Debug)]
pub struct Resolver {
    shared: Arc<Shared>,
}

/// One session's resolver; dropping it ends it, with all that is under way.
#[derive(Debug)]
pub struct Serving {
    desk: Arc<Desk>,
    _tasks: JoinSet<()>,
}

impl Serving {
    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.desk.tally.counts()
    }
}

impl Resolver {
    /// A resolver that asks this loop, and these servers in this order.
    #[must_use]
    pub fn new(asks: mpsc::Sender<Ask>, upstreams: Vec<SocketAddr>) -> Self {
        let shared = Shared {
            asks,
            upstreams: Upstreams::new(upstreams),
            queries: Arc::new(Semaphore::new(QUERIES.1)),
            connections: Arc::new(Semaphore::new(CONNECTIONS.1)),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Asks other servers from now on: a machine changes its network.
    pub fn use_upstreams(&self, upstreams: Vec<SocketAddr>) {
        self.shared.upstreams.replace(upstreams);
    }

    /// Serves one session on sockets that are bound to its address. Needs the runtime to be entered.
    ///
    /// # Errors
    /// The runtime does not take the sockets.
    pub fn serve(&self, session: u32, udp: StdSocket, tcp: StdListener) -> Result<Serving, Error> {
        let failed = |what| move |source| Error::Register { what, session, source };
        udp.set_nonblocking(true).map_err(failed("UDP"))?;
        tcp.set_nonblocking(true).map_err(failed("TCP"))?;
        let udp = UdpSocket::from_std(udp).map_err(failed("UDP"))?;
        let tcp = TcpListener::from_std(tcp).map_err(failed("TCP"))?;
        let desk = Arc::new(Desk {
            shared: Arc::clone(&self.shared),
            session,
            tally: Tally::default(),
            cache: Mutex::default(),
            queries: Arc::new(Semaphore::new(QUERIES.0)),
            connections: Arc::new(Semaphore::new(CONNECTIONS.0)),
        });
        let mut tasks = JoinSet::new();
        drop(tasks.spawn(attend(Arc::clone(&desk), Arc::new(udp), tcp)));
        Ok(Serving { desk, _tasks: tasks })
    }
}

/// Takes what comes on both sockets. All that it has begun ends with it.
async fn attend(desk: Arc<Desk>, udp: Arc<UdpSocket>, tcp: TcpListener) {
    let mut tasks = JoinSet::new();
    loop {
        let taken = tokio::select! {
            ready = udp.readable() => ready.and_then(|()| take(&desk, &udp, &mut tasks)),
            accepted = tcp.accept() => accepted.map(|(stream, _)| {
                if let Some(room) = desk.connection_room() {
                    drop(tasks.spawn(connection::converse(Arc::clone(&desk), stream, room)));
                }
            }),
            Some(_) = tasks.join_next() => Ok(()),
        };
        match taken {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                tracing::warn!(session = desk.session, %error, "cannot take a query");
                tokio::time::sleep(PAUSE).await;
            }
            Ok(()) | Err(_) => {}
        }
        // Who floods the socket must not keep everything else on this thread, which is the daemon's, from its turn.
        tokio::task::coop::consume_budget().await;
    }
}

/// Takes one datagram.
fn take(desk: &Arc<Desk>, udp: &Arc<UdpSocket>, tasks: &mut JoinSet<()>) -> io::Result<()> {
    let mut packet = [0; LONGEST_QUERY];
    let (length, client) = udp.try_recv_from(&mut packet)?;
    match Packet::read(&packet[..length]) {
        Packet::Query(query) => match desk.query_room() {
            Some(room) => {
                let (desk, udp) = (Arc::clone(desk), Arc::clone(udp));
                drop(tasks.spawn(async move {
                    let reply = turn::take(&desk, &query, Transport::Datagram).await;
                    answer(&udp, &reply, client);
                    drop(room);
                }));
            }
            None => answer(udp, &query.reply(ResponseCode::ServFail), client),
        },
        Packet::Reply(reply) => answer(udp, &reply, client),
        Packet::Silence => {}
    }
    Ok(())
}

/// Sends a reply, as far as that goes without waiting: a client that does not take it asks again.
fn answer(udp: &UdpSocket, reply: &[u8], client: SocketAddr) {
    if let Err(error) = udp.try_send_to(reply, client) {
        tracing::debug!(%client, %error, "a reply is lost");
    }
}
