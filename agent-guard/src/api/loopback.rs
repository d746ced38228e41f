//! Metrics on a port of this host, for a scraper that speaks no unix sockets: `GET /metrics`, and nothing else.
//!
//! Whoever can connect may read them, guarded or not. It must not offer any other call, nor listen anywhere else.

use super::peer::Peer;
use super::routes::{self, Loop};
use super::seats::{Owner, Place, Seats};
use super::server::{ACCEPT_PAUSE, Error, converse};
use axum::Extension;
use std::net::{SocketAddr, TcpListener as StdListener};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Connections at one time; those beyond are closed. A scraper needs one.
const CONNECTIONS: usize = 16;

/// Listens at an address of this host.
pub(super) fn listen(address: SocketAddr) -> Result<StdListener, Error> {
    let refused = |source| Error::Port { address, source };
    if !address.ip().is_loopback() {
        return Err(refused(std::io::ErrorKind::AddrNotAvailable.into()));
    }
    let listener = StdListener::bind(address).map_err(refused)?;
    listener.set_nonblocking(true).map_err(refused)?;
    Ok(listener)
}

/// Serves it for as long as it is waited for.
pub(super) async fn serve(listener: StdListener, daemon: Loop) -> Result<(), Error> {
    let listener = TcpListener::from_std(listener).map_err(Error::Register)?;
    let peer = Peer::by_port().map_err(Error::Register)?;
    let (router, seats) = (routes::metrics_only(daemon).layer(Extension(peer)), Seats::new((CONNECTIONS, CONNECTIONS)));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            // Nobody knows whose it is: all are one owner's.
            Ok((stream, _)) => {
                if let Some(seat) = seats.take(Owner::User(0)) {
                    drop(connections.spawn(converse(stream, router.clone(), Place::brief(seat))));
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection for metrics");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
