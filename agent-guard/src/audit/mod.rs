//! The audit log: what happened, to what, by whom, and who allowed it; and whether it is as it was written.
//!
//! Owns the form of records, the files that they are appended to, what proves that nobody changed them since, and the forms
//! that they leave in. It must not know how a decision comes about, nor the kernel.

mod chain;
mod checkpoint;
mod export;
mod log;
mod read;
mod record;
mod redact;
mod verify;

pub use chain::{Expected, Fault as ChainFault, Hash, Head};
pub use checkpoint::{Failure as KeyFailure, Key, NotAKey, PublicKey};
pub use export::{Bad, Failure as ExportFailure, Format, Selection, export};
pub use log::{Failure, Log, Written};
pub use read::Failure as ReadFailure;
pub use record::{Entry, Now, Person, What};
pub use redact::Redactor;
pub use verify::{Fault, Finding, Known, Report, verify};
