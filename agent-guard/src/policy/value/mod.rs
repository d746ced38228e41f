//! The values of the language: what a path, an endpoint, a command or a duration may look like.
//!
//! Each is parsed into a type that cannot hold anything else. None knows where it stands in a policy.

pub(super) mod command;
pub(super) mod device;
pub(super) mod endpoint;
mod glob;
pub(super) mod host;
pub(super) mod name;
pub(super) mod path;
pub(super) mod socket;
pub(super) mod text;
pub(super) mod word;
