//! The approval socket: HTTP and JSON over two unix sockets, and the client of it; and metrics on a port of this host.
//!
//! Owns the wire types, who may do what, and the way of every call to the daemon's loop and back. It must not
//! know the kernel, the policy's meaning or how a decision comes about.

pub mod authz;
pub mod call;
mod check;
pub mod client;
pub mod doctor;
mod impatient;
mod loopback;
pub mod metrics;
mod numbers;
pub mod openapi;
pub mod peer;
pub mod refusal;
mod refusals;
mod routes;
mod seats;
pub mod server;
pub mod types;
mod words;

pub use authz::{Door, Scope, Standing, Verb};
pub use call::{Admitted, Call, Choice, Incoming, Reply, Steer, Unwritten, Watch};
pub use check::check_policy;
pub use metrics::Metrics;
pub use peer::Peer;
pub use refusal::Refusal;
pub use routes::read_body;
