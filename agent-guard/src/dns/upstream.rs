//! The servers that queries go to: which one, how long, and what counts as its answer.
//!
//! Each query has a socket and a number of its own, so that whoever wants to answer in a server's place has to guess
//! both. It must not know sessions.

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use core::time::Duration;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::answer::Answer;
use super::message::Query;
use crate::system::random;

/// Time that one server has.
const EACH: Duration = Duration::from_secs(2);
/// Time that all have.
const ALL: Duration = Duration::from_secs(5);
/// Times that each is asked: a datagram may be lost.
const ROUNDS: usize = 2;
/// Bytes of the largest datagram, and of the largest message in a stream.
const LARGEST: usize = 65_535;

/// How a client came, and how its query goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    /// UDP.
    Datagram,
    /// TCP.
    Stream,
}

/// All servers, and which one answered last.
#[derive(Debug)]
pub(super) struct Upstreams {
    servers: RwLock<Arc<[SocketAddr]>>,
    last: AtomicUsize,
    generation: AtomicU64,
}

impl Upstreams {
    /// These servers, in this order.
    pub(super) fn new(servers: Vec<SocketAddr>) -> Self {
        Self { servers: RwLock::new(servers.into()), last: AtomicUsize::new(0), generation: AtomicU64::new(0) }
    }

    /// Takes other servers for what is asked from now on.
    pub(super) fn replace(&self, servers: Vec<SocketAddr>) {
        *self.servers.write().unwrap_or_else(PoisonError::into_inner) = servers.into();
        self.last.store(0, Ordering::Relaxed);
        self.generation.fetch_add(1, Ordering::Relaxed);
    }

    /// How often other servers were taken.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// Asks one server after the other; none has an answer within the time.
    pub(super) async fn ask(&self, query: &Query, transport: Transport) -> Option<Answer> {
        timeout(ALL, self.rounds(query, transport)).await.ok().flatten()
    }

    async fn rounds(&self, query: &Query, transport: Transport) -> Option<Answer> {
        let servers = Arc::clone(&self.servers.read().unwrap_or_else(PoisonError::into_inner));
        let first = self.last.load(Ordering::Relaxed);
        for _ in 0..ROUNDS {
            let mut unwilling = None;
            for number in first..first + servers.len() {
                let index = number % servers.len();
                match ask_one(servers[index], query, transport).await {
                    // Another server may know better, as a resolver in the client would find out.
                    Ok(answer) if answer.unwilling => unwilling = unwilling.or(Some(answer)),
                    Ok(answer) => {
                        self.last.store(index, Ordering::Relaxed);
                        return Some(answer);
                    }
                    Err(error) => tracing::debug!(server = %servers[index], %error, "a name server does not answer"),
                }
            }
            if unwilling.is_some() {
                return unwilling;
            }
        }
        None
    }
}

async fn ask_one(server: SocketAddr, query: &Query, transport: Transport) -> io::Result<Answer> {
    let exchange = async {
        match transport {
            Transport::Datagram => by_datagram(server, query).await,
            Transport::Stream => by_stream(server, query).await,
        }
    };
    timeout(EACH, exchange).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn by_datagram(server: SocketAddr, query: &Query) -> io::Result<Answer> {
    // The kernel chooses a free port at random.
    let own: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(own).await?;
    // Only a connected socket hears that there is nobody at the port.
    socket.connect(server).await?;
    let id = u16::from_be_bytes(random::bytes()?);
    socket.send(&query.numbered(id)).await?;
    loop {
        // That there is nobody at the port makes a socket not readable, but faulty.
        if socket.ready(Interest::READABLE | Interest::ERROR).await?.is_error() {
            return Err(socket.take_error()?.unwrap_or_else(|| io::ErrorKind::ConnectionRefused.into()));
        }
        match receive(&socket, query, id, server) {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        // Datagrams that are no answer may come without end.
        tokio::task::coop::consume_budget().await;
    }
}

/// Takes one datagram. Its room is on the stack for as long as that takes, so that waiting costs none.
fn receive(socket: &UdpSocket, query: &Query, id: u16, server: SocketAddr) -> io::Result<Option<Answer>> {
    let mut room = [0; LARGEST];
    let (length, from) = socket.try_recv_from(&mut room)?;
    // What had come before the socket was connected may be anybody's.
    let is_from_server = (from.ip(), from.port()) == (server.ip(), server.port());
    Ok(if is_from_server { accept(query, id, &room[..length]) } else { None })
}

async fn by_stream(server: SocketAddr, query: &Query) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(server).await?;
    let id = u16::from_be_bytes(random::bytes()?);
    stream.write_all(&framed(&query.numbered(id))).await?;
    loop {
        let length = stream.read_u16().await?;
        let mut message = vec![0; usize::from(length)];
        stream.read_exact(&mut message).await?;
        if let Some(answer) = accept(query, id, &message) {
            return Ok(answer);
        }
    }
}

/// An answer to the query; what is none is waited past.
fn accept(query: &Query, id: u16, message: &[u8]) -> Option<Answer> {
    Answer::read(query, id, message)
        .inspect_err(|error| tracing::debug!(name = query.name(), %error, "not passed on"))
        .ok()
}

/// A message with its length, as it goes over TCP; nothing where it has none.
pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    let Ok(length) = u16::try_from(message.len()) else { return Vec::new() };
    [&length.to_be_bytes(), message].concat()
}
