//! Which operations can meet which kinds of labels. Said once, for `check`, `compile` and `explain`.

use agent_guard_common::operation::{Operation, Target};

/// A kind of object that labels name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Files and directories.
    Paths,
    /// Device nodes, by what they stand for.
    Devices,
    /// Network endpoints.
    Endpoints,
    /// Unix sockets.
    Sockets,
    /// Commands.
    Commands,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Paths, Self::Devices, Self::Endpoints, Self::Sockets, Self::Commands];

    /// The kinds that an operation acts on; none for what no label names.
    #[must_use]
    pub const fn of(operation: Operation) -> &'static [Self] {
        match operation.target() {
            Target::Content => &[Self::Paths, Self::Devices],
            Target::Entry | Target::Entries | Target::Program => &[Self::Paths],
            Target::Command => &[Self::Commands],
            Target::Endpoint => &[Self::Endpoints],
            Target::Socket => &[Self::Sockets],
            Target::Process | Target::Call => &[],
        }
    }

    /// Whether an operation can meet a label of this kind.
    #[must_use]
    pub fn meets(self, operation: Operation) -> bool {
        Self::of(operation).contains(&self)
    }

    /// Its name, which is also its key in a label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Paths => "paths",
            Self::Devices => "devices",
            Self::Endpoints => "endpoints",
            Self::Sockets => "sockets",
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
        for kind in Kind::ALL {
            assert!(Operation::ALL.iter().any(|operation| kind.meets(*operation)), "{}", kind.name());
        }
    }
}
