//! Which operations can meet which kinds of labels. Said once, for `check`, `compile` and `explain`.

use agent_guard_common::operation::{Operation, Target};

/// A kind of object that labels name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Files and directories.
    Paths,
    /// Files by their names, wherever they lie.
    Names,
    /// Device nodes, by what they stand for.
    Devices,
    /// Network endpoints.
    Endpoints,
    /// Unix sockets.
    Sockets,
    /// Variables of programs' environments. No operation acts on them: they are what a session is told.
    Variables,
    /// Commands.
    Commands,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 7] =
        [Self::Paths, Self::Names, Self::Devices, Self::Endpoints, Self::Sockets, Self::Variables, Self::Commands];

    /// The kinds that an operation acts on; none for what no label names.
    #[must_use]
    pub const fn of(operation: Operation) -> &'static [Self] {
        match operation.target() {
            Target::Content => &[Self::Paths, Self::Names, Self::Devices],
            Target::Entry | Target::Entries | Target::Program => &[Self::Paths],
            Target::Command => &[Self::Commands],
            Target::Endpoint | Target::Name => &[Self::Endpoints],
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
            Self::Names => "names",
            Self::Devices => "devices",
            Self::Endpoints => "endpoints",
            Self::Sockets => "sockets",
            Self::Variables => "variables",
            Self::Commands => "commands",
        }
    }
}

#[cfg(test)]
mod tests {
    use agent_guard_common::operation::Operation;

    use super::Kind;

    #[test]
    fn every_kind_but_variables_is_met_by_some_operation() {
        for kind in Kind::ALL {
            assert_eq!(
                kind == Kind::Variables,
                !Operation::ALL.iter().any(|operation| kind.meets(*operation)),
                "{}",
                kind.name()
            );
        }
    }
}
