//! agent-guard: the daemon and its client, as a library.

pub mod api;
pub mod audit;
pub mod cli;
pub mod daemon;
pub mod decision;
pub mod dns;
pub mod exit;
pub mod kernel;
pub mod notify;
pub mod policy;
pub mod session;
pub mod store;
pub mod system;
pub mod text;
