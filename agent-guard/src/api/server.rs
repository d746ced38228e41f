//! The two listening sockets and their connections: who gets a seat, for how long, and what ends it. `loopback` has the port.
//!
//! One connection carries one call. Nothing that a client does or fails to do holds up another: seats are
//! counted, headers, bodies and replies have their time, and a user can take only a part of the seats.

use super::authz::Door;
use super::call::Incoming;
use super::impatient::Impatient;
use super::loopback;
use super::peer::Peer;
use super::routes::{self, Loop};
use super::seats::{Owner, Place, Seat, Seats};
use crate::system::socket::{self, SocketDirectory};
use crate::system::user;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// The group whose members answer requests.
pub const GROUP: &str = "agent-guard";
/// The control socket's name in the run directory.
pub const CONTROL_SOCKET: &str = "control.sock";
/// The agent socket's name in the run directory.
pub const AGENT_SOCKET: &str = "agent.sock";

/// Time for a request's header.
const HEADER_TIME: Duration = Duration::from_secs(5);
/// Time for a whole connection that is not a stream: header, body, the loop's reply and taking it.
const BRIEF_TIME: Duration = Duration::from_secs(30);
/// Time in which a client must take something of what waits for it, else it is gone: also from a stream.
const TAKING_TIME: Duration = Duration::from_secs(30);
/// Time for what is still being answered when the daemon goes.
const FAREWELL_TIME: Duration = Duration::from_millis(500);
/// Time to go for a client that was turned away.
const TURNING_TIME: Duration = Duration::from_secs(1);
/// Wait after an `accept` that failed for want of something.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Seats for connections: all, and of one user.
const CONNECTIONS: (usize, usize) = (256, 64);
/// Seats for streams: all, and of one user. Each session's keeper has one.
const STREAMS: (usize, usize) = (1536, 1024);
/// Seats for streams of guarded processes: all, and of one session.
const GUARDED_STREAMS: (usize, usize) = (256, 4);
/// Bytes of a connection that wait for the other side: a client that does not read costs no more.
const BUFFER: usize = 64 << 10;

/// Why the API is not served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A socket was not made.
    #[error(transparent)]
    Socket(#[from] socket::Error),
    /// An inherited socket is not one of the two.
    #[error("inherited socket {path} is neither {CONTROL_SOCKET} nor {AGENT_SOCKET}: correct the .socket unit")]
    Unexpected {
        /// Its path, or its number.
        path: String,
    },
    /// An inherited socket cannot be used.
    #[error("cannot use the inherited socket: {0}")]
    Inherited(io::Error),
    /// The inherited control socket is open to everybody.
    #[error("{path} is open to everybody: set SocketMode=0660 in the .socket unit")]
    TooOpen {
        /// The socket.
        path: PathBuf,
    },
    /// The port for metrics cannot be had.
    #[error("cannot listen at {address} for metrics: {source}; see `metrics_listen` in the configuration")]
    Port {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The runtime does not take a socket.
    #[error("cannot wait on a socket: {0}")]
    Register(io::Error),
}

/// Both sockets, and the port if there is one, listening.
#[derive(Debug)]
pub struct Listeners {
    control: StdListener,
    agent: StdListener,
    port: Option<TcpListener>,
    _directory: Option<SocketDirectory>,
}

impl Listeners {
    /// Takes the sockets that systemd passes, or makes them in the run directory.
    pub fn open(run_dir: &Path) -> Result<Self, Error> {
        match inherited()? {
            (Some(control), Some(agent)) => Ok(Self { control, agent, port: None, _directory: None }),
            (control, agent) => {
                let directory = SocketDirectory::claim(run_dir)?;
                let control = control.map_or_else(|| listen_control(&directory), Ok)?;
                let agent = agent.map_or_else(|| directory.listen(AGENT_SOCKET, 0o666, None), Ok)?;
                Ok(Self { control, agent, port: None, _directory: Some(directory) })
            }
        }
    }

    /// Has metrics served at an address of this host as well.
    ///
    /// # Errors
    /// It is none of this host's alone, or somebody else has it. The sockets are served all the same.
    pub fn add_port(&mut self, address: SocketAddr) -> Result<(), Error> {
        self.port = Some(loopback::listen(address)?);
        Ok(())
    }

    /// Where the metrics are served besides.
    #[must_use]
    pub fn port(&self) -> Option<SocketAddr> {
        self.port.as_ref().and_then(|port| port.local_addr().ok())
    }
}

fn listen_control(directory: &SocketDirectory) -> Result<StdListener, socket::Error> {
    let group = user::group_named(GROUP);
    if group.is_none() {
        tracing::warn!("group {GROUP} does not exist: only root can use {CONTROL_SOCKET}; `groupadd --system {GROUP}`");
    }
    directory.listen(CONTROL_SOCKET, if group.is_some() { 0o660 } else { 0o600 }, group)
}

/// The control and the agent socket, as far as systemd passes them: told apart by the name of their file.
fn inherited() -> Result<(Option<StdListener>, Option<StdListener>), Error> {
    let mut passed = listenfd::ListenFd::from_env();
    let (mut control, mut agent) = (None, None);
    for index in 0..passed.len() {
        let unexpected = || Error::Unexpected { path: format!("number {index}") };
        let Some(listener) = passed.take_unix_listener(index).map_err(Error::Inherited)? else { continue };
        let address = listener.local_addr().map_err(Error::Inherited)?;
        let path = address.as_pathname().ok_or_else(unexpected)?;
        match path.file_name().and_then(|name| name.to_str()) {
            Some(CONTROL_SOCKET) => {
                let mode = std::fs::symlink_metadata(path).map_err(Error::Inherited)?.permissions().mode();
                if mode & 0o007 != 0 {
                    return Err(Error::TooOpen { path: path.to_owned() });
                }
                control = Some(listener);
            }
            Some(AGENT_SOCKET) => agent = Some(listener),
            _ => return Err(Error::Unexpected { path: path.display().to_string() }),
        }
    }
    Ok((control, agent))
}

/// Serves both sockets until `stop` is ready; then what is being answered has half a second.
pub async fn serve(
    listeners: Listeners,
    calls: mpsc::Sender<Incoming>,
    stop: impl Future<Output = ()>,
) -> Result<(), Error> {
    let register = |listener: StdListener| {
        listener.set_nonblocking(true).map_err(Error::Register)?;
        UnixListener::from_std(listener).map_err(Error::Register)
    };
    let (control, agent) = (register(listeners.control)?, register(listeners.agent)?);
    let daemon = Loop::new(calls, Seats::new(STREAMS), Seats::new(GUARDED_STREAMS));
    // Ended with this function, whenever that ends.
    let mut port = JoinSet::new();
    if let Some(listener) = listeners.port {
        drop(port.spawn(loopback::serve(listener, daemon.clone())));
    }
    let router = routes::router(daemon);
    // Each door has its own seats: whoever crowds the one that is open to everybody keeps no approver out.
    let (control_seats, agent_seats) = (Seats::new(CONNECTIONS), Seats::new(CONNECTIONS));
    let farewells = Seats::new(CONNECTIONS);
    let mut connections = JoinSet::new();
    tokio::pin!(stop);
    loop {
        let (accepted, door, seats) = tokio::select! {
            () = &mut stop => break,
            accepted = control.accept() => (accepted, Door::Control, &control_seats),
            accepted = agent.accept() => (accepted, Door::Agent, &agent_seats),
            Some(_) = connections.join_next() => continue,
            Some(ended) = port.join_next() => {
                tracing::error!(?ended, "metrics are not served at their port any more");
                continue;
            }
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors or memory: waiting is all that helps, and ends when a client goes.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(peer) = Peer::of(&stream, door) else { continue };
        match seats.take(Owner::User(peer.uid)) {
            Some(seat) => {
                let place = Place::brief(seat);
                let router = router.clone().layer(Extension(peer)).layer(Extension(place.clone()));
                drop(connections.spawn(converse(stream, router, place)));
            }
            None => {
                turn_away(&stream);
                if let Some(seat) = farewells.take(Owner::User(peer.uid)) {
                    drop(connections.spawn(take_in(stream, seat)));
                }
            }
        }
    }
    drop(tokio::time::timeout(FAREWELL_TIME, async { while connections.join_next().await.is_some() {} }).await);
    connections.shutdown().await;
    Ok(())
}

/// One call on one connection.
pub(super) async fn converse<S>(stream: S, router: Router, place: Place)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let conversation = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .keep_alive(false)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(Impatient::new(stream, TAKING_TIME)), TowerToHyperService::new(router));
    tokio::pin!(conversation);
    let ended = match tokio::time::timeout(BRIEF_TIME, &mut conversation).await {
        Ok(ended) => ended,
        Err(_) if place.is_stream() => conversation.await,
        // The client has not taken its answer.
        Err(_) => return,
    };
    if let Err(error) = ended {
        // A client that hangs up or speaks no HTTP: its own affair.
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Says that there is no seat, as far as that goes without waiting. Nothing of the call is read as one, so that whoever
/// sees `retry-after` may make it again.
fn turn_away(stream: &UnixStream) {
    const FULL: &[u8] =
        b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\nconnection: close\r\n\r\n\
        {\"error\":{\"code\":\"busy\",\"message\":\"too many connections: try again in a few seconds\"}}\n";
    if stream.try_write(FULL).is_err() {
        tracing::debug!("a client was turned away without a word");
    }
}

/// Takes in what a client that was turned away writes: one that cannot write its call does not look for the answer.
async fn take_in(mut stream: UnixStream, _seat: Seat) {
    let farewell = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
    };
    if !matches!(tokio::time::timeout(TURNING_TIME, farewell).await, Ok(Ok(_))) {
        tracing::debug!("a client that was turned away did not go");
    }
}
