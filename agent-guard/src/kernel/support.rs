//! What this kernel can enforce, as `doctor` shows it. Needs no rights and loads nothing.

use agent_guard_common::operation::{Attachment, HOOKS, Hook, Operation};

use super::error::Error;
use super::known::Known;

/// How far an operation is enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// Every hook is there, or another one does its work.
    Full,
    /// Some ways to do it meet a hook, and some do not. A policy that speaks of it is refused, as with `No`.
    Partly,
    /// No hook of it is there.
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

/// Looks every operation's hooks up in the running kernel's types.
///
/// # Errors
/// The kernel's types cannot be read.
pub fn probe() -> Result<Vec<OperationSupport>, Error> {
    let known = Known::running()?;
    let has = |hook: &Hook| !super::HAS_PROGRAMS || known.has(hook);
    Ok(Operation::ALL.iter().map(|operation| support(*operation, has)).collect())
}

fn support(operation: Operation, has: impl Fn(&Hook) -> bool) -> OperationSupport {
    let judging =
        HOOKS.iter().filter(|hook| hook.attachment != Attachment::Exit && hook.operations.contains(&operation));
    let (there, missing): (Vec<&Hook>, Vec<&Hook>) = judging.partition(|hook| has(hook));
    let support = if missing.iter().all(|hook| hook.replaceable) {
        Support::Full
    } else if there.is_empty() {
        Support::No
    } else {
        Support::Partly
    };
    let names = |hooks: Vec<&Hook>| hooks.iter().map(|hook| hook.name).collect();
    OperationSupport { operation, support, hooks: names(there), missing: names(missing) }
}

/// The functions whose ends are seen here, and those that are missing: of what they do nobody hears what came of it.
///
/// # Errors
/// The kernel's types cannot be read.
pub fn outcomes() -> Result<(Vec<&'static str>, Vec<&'static str>), Error> {
    let known = Known::running()?;
    let ends = HOOKS.iter().filter(|hook| hook.attachment == Attachment::Exit);
    let (there, missing): (Vec<&Hook>, Vec<&Hook>) = ends.partition(|hook| known.has(hook));
    let names = |hooks: Vec<&Hook>| hooks.iter().map(|hook| hook.name).collect();
    Ok((names(there), names(missing)))
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
        assert_eq!(support(Operation::Delete, |hook| hook.name != "path_rmdir").support, Support::Partly);
        assert_eq!(support(Operation::Chmod, |hook| hook.name != "path_chmod").support, Support::No);
    }
}
