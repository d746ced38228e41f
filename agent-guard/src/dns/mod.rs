//! Names: the resolver that the queries of guarded sessions are led to, and what it has told them.
//!
//! Whatever a session learns through it, the daemon's loop has heard of first. Bytes become meaning in `message` and
//! `answer`; `known` and `tunnel` remember; `server` and `upstream` do the talking. It must not know a policy: whether a
//! name may be asked for, and what follows from an address, is the loop's to say, by [`Ask`].

mod answer;
mod ask;
mod cache;
mod connection;
mod known;
#[cfg(test)]
mod laws;
mod message;
mod name;
mod record;
mod resolv;
mod server;
mod tally;
mod tunnel;
mod turn;
mod upstream;

pub use answer::{Answer, Heard, Unusable};
pub use ask::{Ask, Ruling};
pub use cache::Cache;
pub use known::{Entry, Known, Naming};
pub use message::{Kind, Packet, Query};
pub use resolv::{BadLine, upstreams};
pub use server::{Error, Resolver, Serving};
pub use tally::Counts;
pub use tunnel::{Alert, Sign, Watch};
