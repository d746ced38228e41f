//! Policies: from the text that people write to the plain records that the kernel reads.
//!
//! One way and pure: `tree` (YAML with places) -> `read` and `syntax` (shape) -> `check` and `rules` (meaning,
//! all faults at once) -> `compile` (records of one generation). It must not know files, the network, the
//! clock, aya or tokio: what the machine looks like comes in as [`Facts`].

mod check;
mod compile;
mod explain;
mod fault;
mod kind;
mod lookup;
mod objects;
mod read;
mod rules;
mod syntax;
mod terms;
mod tree;
mod value;
mod variables;

pub use check::Checked;
pub use compile::{
    CommandPattern, CompileError, Compiled, Facts, LabelInfo, LabelKind, Link, Names, Node, PathFacts, RuleInfo,
    compile,
};
pub use explain::{ExplainError, Explanation, explain};
pub use fault::Fault;
pub use kind::Kind;
pub use lookup::{Lookup, Ruling};
pub use syntax::schema;
pub use terms::{Demand, Scope, Terms};
pub use value::path::places;
pub use value::word::NoAnswer;
pub use variables::{Stripping, Variable};

/// Reads a policy: its shape, then its meaning.
///
/// # Errors
/// All faults of the text, in its order.
pub fn load(text: &str) -> Result<Checked, Vec<Fault>> {
    let mut faults = fault::Faults::default();
    let policy = tree::parse(text, &mut faults).and_then(|node| read::Read::read(node, &mut faults));
    match policy.map(|policy| check::check(policy, &mut faults)) {
        Some(checked) if faults.is_empty() => Ok(checked),
        _ => Err(faults.into_sorted()),
    }
}

/// The policy that ships with the program.
#[must_use]
pub const fn default_policy() -> &'static str {
    include_str!("../../policies/default.yaml")
}

#[cfg(test)]
mod tests {
    use super::{default_policy, load};

    #[test]
    fn the_default_policy_has_no_faults() {
        assert_eq!(
            load(default_policy()).map(|policy| policy.rules.len()).map_err(|faults| format!("{faults:?}")),
            Ok(20)
        );
    }
}
