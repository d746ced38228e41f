//! The exit codes, in one table, and the one place where an error becomes one of them.

use crate::api::client;
use crate::cli;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit(u8);

impl Exit {
    /// Done.
    pub const OK: Self = Self(0);
    /// The answer is no.
    pub const NO: Self = Self(1);
    /// The command line is wrong.
    pub const USAGE: Self = Self(2);
    /// Nobody listens on the socket.
    pub const DAEMON_ABSENT: Self = Self(3);
    /// The caller may not do this.
    pub const NOT_PERMITTED: Self = Self(4);
    /// There is no such request or session.
    pub const UNKNOWN: Self = Self(5);
    /// Somebody was faster.
    pub const CONFLICT: Self = Self(6);
    /// The daemon, or the way to it, failed.
    pub const FAILED: Self = Self(7);
    /// `run`: nothing was executed.
    pub const RUN_FAILED: Self = Self(125);
    /// `run`: the command cannot be executed.
    pub const RUN_NOT_EXECUTABLE: Self = Self(126);
    /// `run`: there is no such command.
    pub const RUN_NOT_FOUND: Self = Self(127);

    /// The status of a command that `run` has executed.
    #[must_use]
    pub const fn of_command(status: u8) -> Self {
        Self(status)
    }
}

/// The table as people read it, in the manual page.
pub const TABLE: &[(Exit, &str)] = &[
    (Exit::OK, "Done."),
    (
        Exit::NO,
        "The answer is no: a policy has faults, an audit log was changed or has lines that are no records, the machine lacks something, output could not be written.",
    ),
    (Exit::USAGE, "The command line is wrong."),
    (Exit::DAEMON_ABSENT, "The daemon is not running."),
    (Exit::NOT_PERMITTED, "The caller may not do this."),
    (Exit::UNKNOWN, "There is no such request or session."),
    (Exit::CONFLICT, "The request is already answered, or the session is not in a state for this."),
    (Exit::FAILED, "The daemon failed, or could not start."),
    (Exit::RUN_FAILED, "run: the command was not executed, since it could not be guarded."),
    (Exit::RUN_NOT_EXECUTABLE, "run: the command cannot be executed."),
    (Exit::RUN_NOT_FOUND, "run: there is no such command."),
];

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(Exit(code): Exit) -> Self {
        Self::from(code)
    }
}

impl From<&cli::Error> for Exit {
    fn from(error: &cli::Error) -> Self {
        match error {
            cli::Error::Client(error) => of_client(error),
            cli::Error::Unconfirmed => Self::USAGE,
            cli::Error::Findings
            | cli::Error::NotConfirmed
            | cli::Error::ReadPolicy { .. }
            | cli::Error::ReadLog(_)
            | cli::Error::ReadKey(_)
            | cli::Error::NoTerminal
            | cli::Error::Terminal(_)
            | cli::Error::Output(_) => Self::NO,
            cli::Error::Runtime(_) | cli::Error::Redact(_) | cli::Error::Daemon(_) => Self::FAILED,
            cli::Error::Run(cli::run::Error::Execute { source, .. }) => match source.kind() {
                std::io::ErrorKind::NotFound => Self::RUN_NOT_FOUND,
                _ => Self::RUN_NOT_EXECUTABLE,
            },
            cli::Error::Run(_) => Self::RUN_FAILED,
        }
    }
}

fn of_client(error: &client::Error) -> Exit {
    match error {
        client::Error::DaemonAbsent { .. } => Exit::DAEMON_ABSENT,
        client::Error::NotPermitted { .. } | client::Error::Refused { status: 403, .. } => Exit::NOT_PERMITTED,
        client::Error::Refused { status: 404, .. } => Exit::UNKNOWN,
        client::Error::Refused { status: 409, .. } => Exit::CONFLICT,
        client::Error::Refused { status: 400 | 422, .. } => Exit::NO,
        client::Error::Connect { .. }
        | client::Error::Broken(_)
        | client::Error::StreamEnded
        | client::Error::Timeout(_)
        | client::Error::Unreadable { .. }
        | client::Error::Refused { .. } => Exit::FAILED,
    }
}

#[cfg(test)]
mod tests {
    use super::{Exit, TABLE, of_client};
    use crate::api::client;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_rows_of_the_table_share_a_code() {
        let codes: BTreeSet<u8> = TABLE.iter().map(|(Exit(code), _)| *code).collect();
        assert_eq!(codes.len(), TABLE.len());
    }

    #[test]
    fn a_refusal_exits_by_its_status() {
        let refused =
            |status| client::Error::Refused { status, code: String::new(), message: String::new(), unread: false };
        let expected = [
            (403, Exit::NOT_PERMITTED),
            (404, Exit::UNKNOWN),
            (409, Exit::CONFLICT),
            (422, Exit::NO),
            (500, Exit::FAILED),
            (503, Exit::FAILED),
        ];
        for (status, exit) in expected {
            assert_eq!(of_client(&refused(status)), exit, "{status}");
        }
    }
}
