//! Which operations can meet which kinds of objects. Said once, for `check`, `compile` and `explain`.

use agent_guard_common::operation::Operation;

/// A kind of object that labels name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Files and directories.
    Paths,
    /// Network endpoints.
    Endpoints,
    /// Commands.
    Commands,
}

impl Kind {
    /// The kind that an operation acts on.
    #[must_use]
    pub const fn of(operation: Operation) -> Self {
        match operation {
            Operation::Read
            | Operation::Write
            | Operation::Create
            | Operation::Delete
            | Operation::Rename
            | Operation::Truncate
            | Operation::Link
            | Operation::Exec => Self::Paths,
            Operation::Connect => Self::Endpoints,
            Operation::Command => Self::Commands,
        }
    }

    /// Its name, which is also its key in a label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Paths => "paths",
            Self::Endpoints => "endpoints",
            Self::Commands => "commands",
        }
    }
}

#[cfg(test)]
mod tests {
    use agent_guard_common::operation::Operation;

    use super::Kind;

    #[test]
    fn every_kind_is_met_by_some_operation() {
        for kind in [Kind::Paths, Kind::Endpoints, Kind::Commands] {
            assert!(Operation::ALL.iter().any(|operation| Kind::of(*operation) == kind), "{}", kind.name());
        }
    }
}
