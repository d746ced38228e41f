//! Owns the suites' view of a guest. Everything here is for process trees inside a guest, run as root.

mod agent;
mod api;
mod daemon;
mod http;
mod maps;
mod names;
mod process;
mod run;
pub mod script;
mod wait;

pub use self::agent::{Agent, Done};
pub use self::api::{
    answer, approve, await_request, await_request_in, cli, deny, failures, failures_at, grants, judged, pending,
    request, requests, sessions, status,
};
pub use self::daemon::Daemon;
pub use self::http::{AGENT_SOCKET, CONTROL_SOCKET, Response, exchange, http};
pub use self::maps::{PinnedMap, unused_answers};
pub use self::names::{NameServer, Record};
pub use self::process::{as_user, pids_of, proc_state, processes, state_of_thread};
pub use self::run::Run;
pub use self::wait::{PATIENCE, eventually, never_within};
