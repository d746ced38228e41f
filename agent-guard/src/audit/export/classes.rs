//! Which class of the Open Cybersecurity Schema Framework an event is of, and what is done by it there; all numbers are the
//! schema's, in the version that `ocsf` names. It must not know records.

use agent_guard_common::operation::{Operation, Target};

use crate::audit::record::What;

/// A class, by its number and its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Class(pub(super) u32, pub(super) &'static str);

impl Class {
    pub(super) const FILE: Self = Self(1001, "File System Activity");
    pub(super) const KERNEL: Self = Self(1003, "Kernel Activity");
    pub(super) const PROCESS: Self = Self(1007, "Process Activity");
    pub(super) const FINDING: Self = Self(2004, "Detection Finding");
    pub(super) const NETWORK: Self = Self(4001, "Network Activity");
    pub(super) const DNS: Self = Self(4003, "DNS Activity");
    pub(super) const LIFECYCLE: Self = Self(6002, "Application Lifecycle");
}

/// A number of the schema, and its caption.
pub(super) type Captioned = (u32, &'static str);

/// What the schema has no number for.
const OTHER: u32 = 99;

const SUCCESS: Captioned = (1, "Success");
const FAILURE: Captioned = (2, "Failure");
const NEW: Captioned = (1, "New");

const UNKNOWN: Captioned = (0, "Unknown");
const ALLOWED: Captioned = (1, "Allowed");
const DENIED: Captioned = (2, "Denied");
const OBSERVED: Captioned = (3, "Observed");

const BLOCKED: Captioned = (2, "Blocked");
const APPROVED: Captioned = (8, "Approved");
const DELAYED: Captioned = (14, "Delayed");
const DETECTED: Captioned = (15, "Detected");
const LOGGED: Captioned = (17, "Logged");
const REJECTED: Captioned = (25, "Rejected");

const INFORMATIONAL: Captioned = (1, "Informational");
const LOW: Captioned = (2, "Low");
const MEDIUM: Captioned = (3, "Medium");
const HIGH: Captioned = (4, "High");

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// An act, in the class of its operation.
    Act,
    /// A question to people, or something that they should look at.
    Finding(Captioned),
    /// A session or the daemon as a whole.
    Lifecycle(Captioned),
}

/// How a kind of record reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pub(super) about: About,
    pub(super) severity: Captioned,
    pub(super) status: Captioned,
    /// What the guard did about it, and what came of it.
    pub(super) control: Option<(Captioned, Captioned)>,
}

/// How a record reads, by what it tells of and how its request ended.
pub(super) fn reading(what: What, decision: Option<&str>) -> Reading {
    let act = |severity, status, action, disposition| Reading {
        about: About::Act,
        severity,
        status,
        control: Some((action, disposition)),
    };
    let finding = |activity, severity, status, action, disposition| Reading {
        about: About::Finding(activity),
        ..act(severity, status, action, disposition)
    };
    let lifecycle =
        |activity, severity, status| Reading { about: About::Lifecycle(activity), severity, status, control: None };
    let (create, close) = ((1, "Create"), (3, "Close"));
    let resolved = (4, "Resolved");
    match what {
        What::Held => finding(create, LOW, NEW, UNKNOWN, DELAYED),
        What::Consented => finding((2, "Update"), INFORMATIONAL, (2, "In Progress"), UNKNOWN, DELAYED),
        What::Decided => match decision {
            Some("approved") => finding(close, INFORMATIONAL, resolved, ALLOWED, APPROVED),
            Some("denied") => finding(close, MEDIUM, resolved, DENIED, REJECTED),
            _ => finding(close, LOW, resolved, DENIED, BLOCKED),
        },
        What::GrantEnded => finding((2, "Update"), INFORMATIONAL, resolved, OBSERVED, LOGGED),
        What::Tunnelling => finding(create, MEDIUM, NEW, OBSERVED, DETECTED),
        What::Killed => finding(create, HIGH, NEW, DENIED, BLOCKED),
        What::Passed | What::Done => act(INFORMATIONAL, SUCCESS, ALLOWED, APPROVED),
        What::Failed => act(INFORMATIONAL, FAILURE, ALLOWED, APPROVED),
        What::Audited => act(INFORMATIONAL, SUCCESS, ALLOWED, LOGGED),
        What::Credentialed => act(LOW, SUCCESS, ALLOWED, LOGGED),
        What::Refused => act(MEDIUM, FAILURE, DENIED, BLOCKED),
        What::StartCheck => act(INFORMATIONAL, FAILURE, DENIED, BLOCKED),
        What::SessionStarted | What::DaemonStarted => lifecycle((3, "Start"), INFORMATIONAL, SUCCESS),
        What::SessionEnded | What::DaemonStopped => lifecycle((4, "Stop"), INFORMATIONAL, SUCCESS),
        What::SessionKilled => lifecycle((4, "Stop"), LOW, SUCCESS),
        What::SessionHalted => lifecycle((7, "Disable"), LOW, SUCCESS),
        What::SessionResumed => lifecycle((6, "Enable"), INFORMATIONAL, SUCCESS),
        What::PolicyLoaded => lifecycle((8, "Update"), INFORMATIONAL, SUCCESS),
        What::PolicyRefused => lifecycle((8, "Update"), MEDIUM, FAILURE),
        What::CredentialsForgotten => lifecycle((OTHER, "Forget Credentials"), LOW, SUCCESS),
        What::IntentDeclared => lifecycle((OTHER, "Declare Intent"), INFORMATIONAL, SUCCESS),
        What::Unreadable => lifecycle((OTHER, "Read Event"), MEDIUM, FAILURE),
        What::Checkpoint => lifecycle((OTHER, "Checkpoint"), INFORMATIONAL, SUCCESS),
    }
}

/// The class of an operation, and what it does there.
pub(super) fn class(operation: Operation) -> (Class, Captioned) {
    let other = (OTHER, operation.name());
    match operation.target() {
        Target::Content | Target::Entry | Target::Entries => (Class::FILE, file(operation).unwrap_or(other)),
        Target::Program | Target::Command => (Class::PROCESS, (1, "Launch")),
        Target::Process => (Class::PROCESS, other),
        Target::Endpoint | Target::Socket => (Class::NETWORK, (1, "Open")),
        Target::Name => (Class::DNS, (1, "Query")),
        Target::Call => (Class::KERNEL, (4, "Invoke")),
    }
}

/// What an operation on files does, where the schema has a number for it.
fn file(operation: Operation) -> Option<Captioned> {
    let numbered = [
        (Operation::Create, (1, "Create")),
        (Operation::Link, (1, "Create")),
        (Operation::Read, (2, "Read")),
        (Operation::Write, (3, "Update")),
        (Operation::Modify, (3, "Update")),
        (Operation::Truncate, (3, "Update")),
        (Operation::Delete, (4, "Delete")),
        (Operation::Rename, (5, "Rename")),
        (Operation::Attribute, (6, "Set Attributes")),
        (Operation::Chmod, (7, "Set Security")),
        (Operation::Chown, (7, "Set Security")),
        (Operation::Mount, (12, "Mount")),
    ];
    numbered.into_iter().find(|(one, _)| *one == operation).map(|(_, activity)| activity)
}
