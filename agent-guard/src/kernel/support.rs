//! What this kernel can enforce, as `doctor` shows it. Needs no rights and loads nothing.

use std::path::Path;
use std::sync::OnceLock;

use agent_guard_common::operation::Operation;

use super::btf::Types;
use super::error::Error;
use super::hooks::{HOOKS, Hook, Kind};
use super::load::TYPES;

/// How far an operation is enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// Every hook is there.
    Full,
    /// A hook that another one does not replace is missing.
    No,
}

/// An operation, and how far this kernel lets it be enforced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationSupport {
    /// The operation.
    pub operation: Operation,
    /// How far.
    pub support: Support,
    /// The hooks that judge it here.
    pub hooks: Vec<&'static str>,
    /// Hooks that are missing here.
    pub missing: Vec<&'static str>,
}

/// Looks every operation's hooks up in the running kernel's types: once, as they are megabytes and do not change.
///
/// # Errors
/// The kernel's types cannot be read.
pub fn probe() -> Result<&'static [OperationSupport], Error> {
    static FOUND: OnceLock<Vec<OperationSupport>> = OnceLock::new();
    if let Some(found) = FOUND.get() {
        return Ok(found);
    }
    let types = Types::read(Path::new(TYPES))?;
    let found = Operation::ALL.iter().map(|operation| support(*operation, |hook| has(&types, hook))).collect();
    Ok(FOUND.get_or_init(|| found))
}

fn has(types: &Types, hook: &Hook) -> bool {
    // The tracepoint is older than BPF LSM.
    hook.kind == Kind::Tracepoint || types.has_hook(hook.name)
}

fn support(operation: Operation, has: impl Fn(&Hook) -> bool) -> OperationSupport {
    let judging = HOOKS.iter().filter(|hook| hook.operations.contains(&operation));
    let (there, missing): (Vec<&Hook>, Vec<&Hook>) = judging.partition(|hook| has(hook));
    let support = if missing.iter().all(|hook| hook.replaceable) { Support::Full } else { Support::No };
    let names = |hooks: Vec<&Hook>| hooks.iter().map(|hook| hook.name).collect();
    OperationSupport { operation, support, hooks: names(there), missing: names(missing) }
}

#[cfg(test)]
mod tests {
    use agent_guard_common::operation::Operation;

    use super::{Support, support};

    #[test]
    fn a_hook_that_another_replaces_may_be_missing() {
        let truncate = support(Operation::Truncate, |hook| hook.name != "file_truncate");
        assert_eq!(truncate.support, Support::Full);
        assert_eq!(truncate.missing, ["file_truncate"]);
    }

    #[test]
    fn a_hook_that_nothing_replaces_may_not() {
        assert_eq!(support(Operation::Delete, |hook| hook.name != "path_rmdir").support, Support::No);
    }
}
