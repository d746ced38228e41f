//! What the guard needs to know of the running kernel's types, looked up once: they are megabytes, and do not change.

use std::path::Path;
use std::sync::OnceLock;

use agent_guard_common::member::{CONSTANTS, Constant, MEMBERS, Member};
use agent_guard_common::operation::{Attachment, HOOKS, Hook};

use super::btf::Types;
use super::error::Error;

/// Where the kernel exports its types.
pub(super) const TYPES: &str = "/sys/kernel/btf/vmlinux";
/// A helper of every kernel that finds a task's tag whatever else happens on its CPU (Linux commit 4279adb094a1).
const STEADY: &str = "bpf_task_storage_get_recur";

/// The running kernel, as far as its types tell.
#[derive(Debug)]
pub(super) struct Known {
    /// The offset of each of [`MEMBERS`], where there is such a member.
    offsets: Vec<Option<u32>>,
    /// The value of each of [`CONSTANTS`], where it can be told.
    values: Vec<Option<u32>>,
    /// The hooks that it has.
    pub(super) hooks: Vec<&'static Hook>,
    /// Whether tags are found whatever else happens.
    pub(super) has_steady_tags: bool,
}

impl Known {
    /// The running kernel.
    ///
    /// # Errors
    /// Its types cannot be read.
    pub(super) fn running() -> Result<&'static Self, Error> {
        static RUNNING: OnceLock<Known> = OnceLock::new();
        if let Some(known) = RUNNING.get() {
            return Ok(known);
        }
        let known = Self::of(&Types::read(Path::new(TYPES))?);
        Ok(RUNNING.get_or_init(|| known))
    }

    fn of(types: &Types) -> Self {
        let is_there = |hook: &&Hook| match hook.attachment {
            Attachment::Lsm => types.has_hook(hook.name),
            // Older than BPF LSM.
            Attachment::Tracepoint | Attachment::Address => true,
            Attachment::Exit => types.has_function(hook.name),
        };
        Self {
            offsets: MEMBERS.iter().map(|member| types.offset(member).ok()).collect(),
            values: CONSTANTS.iter().map(|constant| types.value(constant).ok()).collect(),
            hooks: HOOKS.iter().filter(is_there).collect(),
            has_steady_tags: types.has_function(STEADY),
        }
    }

    /// Whether it has a hook.
    pub(super) fn has(&self, hook: &Hook) -> bool {
        self.hooks.iter().any(|known| known.name == hook.name)
    }

    /// The offset of each member.
    ///
    /// # Errors
    /// One is not there.
    pub(super) fn offsets(&self) -> Result<Vec<(&'static Member, u32)>, Error> {
        let found = |(member, offset): (&'static Member, &Option<u32>)| {
            offset
                .map(|offset| (member, offset))
                .ok_or(Error::NoMember { structure: member.structure, path: member.path })
        };
        MEMBERS.iter().zip(&self.offsets).map(found).collect()
    }

    /// The value of each constant.
    ///
    /// # Errors
    /// One cannot be told.
    pub(super) fn values(&self) -> Result<Vec<(&'static Constant, u32)>, Error> {
        let found = |(constant, value): (&'static Constant, &Option<u32>)| {
            let missing = Error::NoMember { structure: constant.r#enum, path: constant.variant };
            value.map(|value| (constant, value)).ok_or(missing)
        };
        CONSTANTS.iter().zip(&self.values).map(found).collect()
    }
}

#[cfg(test)]
mod tests {
    use agent_guard_common::member::MEMBERS;

    use super::Known;

    #[test]
    fn what_is_missing_is_named_when_it_is_needed_and_not_before() {
        let offsets = MEMBERS.iter().enumerate().map(|(number, _)| (number != 1).then_some(8)).collect();
        let known = Known { offsets, values: Vec::new(), hooks: Vec::new(), has_steady_tags: false };
        let error = known.offsets().expect_err("one is missing").to_string();
        assert!(error.contains(MEMBERS[1].path), "{error}");
    }
}
