//! Endpoints by the names that sessions hear: which port ranges an address gets from its names, for one profile.
//!
//! It must not know who has heard what.

use agent_guard_common::limits::PORT_RANGES;
use agent_guard_common::operation::Operation;
use agent_guard_common::rule::{Cell, EndpointLabels, PortRange, UNLABELLED};
use agent_guard_common::verdict::Verdict;

use super::{CompileError, Compiled, decision, endpoints};
use crate::policy::check::Checked;
use crate::policy::objects::{Addresses, Objects};
use crate::policy::value::host::Heard;

/// The labels that names give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    named: Vec<(Addresses, Vec<PortRange>)>,
    /// What addresses get that a session has no name for.
    pub unnamed: EndpointLabels,
}

/// Collects the names of all labels.
pub(super) fn compile(policy: &Checked) -> Result<Names, CompileError> {
    let mut names = Names { named: Vec::new(), unnamed: [PortRange::ZERO; PORT_RANGES] };
    let mut unnamed: Vec<PortRange> = Vec::new();
    for (label, number) in policy.labels.iter().zip(1_u16..) {
        let Objects::Endpoints(endpoints) = &label.objects else { continue };
        for endpoint in endpoints {
            let ranges = endpoints::ranges(endpoint, number);
            match &endpoint.addresses {
                Addresses::Range(_) => {}
                Addresses::Heard(Heard::Unnamed) => unnamed.extend(ranges),
                addresses => names.named.push((addresses.clone(), ranges.collect())),
            }
        }
    }
    names.unnamed = packed(&unnamed).ok_or_else(|| CompileError::TooManyPorts {
        prefix: "addresses without a name".to_owned(),
        count: unnamed.len(),
        limit: PORT_RANGES,
    })?;
    Ok(names)
}

/// The ranges as the kernel holds them, if they fit.
fn packed(ranges: &[PortRange]) -> Option<EndpointLabels> {
    let mut labels = [PortRange::ZERO; PORT_RANGES];
    labels.get_mut(..ranges.len())?.copy_from_slice(ranges);
    Some(labels)
}

impl Compiled {
    /// What a profile's sessions find at an address with these names: of labels that meet on a port the one that is judged
    /// most strictly, whatever has been touched.
    #[must_use]
    pub fn named(&self, profile: u32, names: &[&str]) -> EndpointLabels {
        let mut ranges: Vec<PortRange> = Vec::new();
        for (addresses, of_label) in &self.heard.named {
            if names.iter().any(|name| addresses.are_meant_by(name)) {
                ranges.extend(of_label);
            }
        }
        let strictness = |range: &PortRange| self.strictness(profile, Operation::Connect, range.label);
        ranges.sort_by_key(|range| core::cmp::Reverse(strictness(range)));
        packed(&ranges).unwrap_or_else(|| {
            // More than fit: what is strictest holds for every port. The list is not empty then.
            let strictest = ranges.first().map_or(UNLABELLED, |range| range.label);
            let mut labels = [PortRange::ZERO; PORT_RANGES];
            labels[0] = PortRange { first: 0, last: u16::MAX, protocol: 0, label: strictest };
            labels
        })
    }

    /// The label on which a profile's lookup of a name is judged: of several the strictest.
    #[must_use]
    pub fn label_of_name(&self, profile: u32, name: &str) -> u16 {
        let meant = self.heard.named.iter().filter(|(addresses, _)| addresses.are_meant_by(name));
        let labels = meant.filter_map(|(_, ranges)| ranges.first()).map(|range| range.label);
        labels.max_by_key(|label| self.strictness(profile, Operation::Resolve, *label)).unwrap_or(UNLABELLED)
    }

    /// How strictly an act may come to be judged.
    fn strictness(&self, profile: u32, operation: Operation, label: u16) -> (u8, u8, core::cmp::Reverse<u16>) {
        let Some(cell) = self.cell(profile, operation, label) else {
            return (Verdict::strictness(0), 0, core::cmp::Reverse(0));
        };
        let alternatives = self.alternatives(cell).into_iter().flatten();
        std::iter::once(cell)
            .chain(alternatives)
            .map(decision::strictness)
            .max()
            .unwrap_or_else(|| decision::strictness(&Cell::ZERO))
    }
}

#[cfg(test)]
mod tests {
    use agent_guard_common::rule::endpoint_label;

    use crate::policy::compile::Compiled;
    use crate::policy::compile::sample::{compiled, facts};

    const POLICY: &str = "version: 1
labels:
  docs: { endpoints: [{ name: docs.example, ports: [443] }, { name: '*.example' }] }
  database: { endpoints: [{ name: '*.rds.example', ports: [5432] }] }
  strangers: { endpoints: [{ name: unnamed, ports: [443, 8443] }] }
profiles: { agent: { default: allow } }
rules:
  - { name: one, profiles: agent, operations: connect, labels: database, when: { credentialed: all }, verdict: hold }
  - { name: two, profiles: agent, operations: resolve, labels: docs, verdict: deny }
";

    fn policy() -> Compiled {
        compiled(POLICY, &facts(POLICY, &[])).unwrap()
    }

    #[test]
    fn an_address_has_the_labels_of_its_names_and_the_strictest_speaks_first() {
        let policy = policy();
        let label = |names: &[&str], port| {
            let label = endpoint_label(&policy.named(policy.profiles["agent"], names), 6, port);
            policy.labels[usize::from(label)].name.clone()
        };
        assert_eq!(label(&["docs.example"], 443), "docs");
        assert_eq!(label(&["a.rds.example"], 5432), "database", "though another label means it as well");
        assert_eq!(label(&["a.rds.example"], 80), "docs");
        assert_eq!(label(&["docs.example", "b.rds.example"], 5432), "database");
        assert_eq!(label(&["elsewhere.test"], 443), "unlabelled");
        let unnamed = endpoint_label(&policy.heard.unnamed, 6, 8443);
        assert_eq!(policy.labels[usize::from(unnamed)].name, "strangers");
        assert!(policy.endpoints.is_empty());
    }

    #[test]
    fn a_lookup_is_judged_on_the_label_of_its_name() {
        let policy = policy();
        let label = |name| policy.labels[usize::from(policy.label_of_name(0, name))].name.clone();
        assert_eq!(label("docs.example"), "docs");
        assert_eq!(label("a.rds.example"), "docs", "the strictest for a lookup");
        assert_eq!(label("elsewhere.test"), "unlabelled");
    }

    #[test]
    fn more_ranges_than_fit_are_the_strictest_on_every_port() {
        let ports: Vec<String> = (1..=9).map(|port| (port * 2).to_string()).collect();
        let (some, more) = ports.split_at(5);
        let text = POLICY.replace(
            "docs: {",
            &format!(
                "many: {{ endpoints: [{{ name: '*.test', ports: [{}] }}, {{ name: x.test, ports: [{}] }}] }}\n  docs: {{",
                some.join(", "),
                more.join(", ")
            ),
        );
        let policy = compiled(&text, &facts(&text, &[])).unwrap();
        let labels = policy.named(0, &["x.test", "a.rds.example"]);
        let label = endpoint_label(&labels, 17, 1);
        assert_eq!(policy.labels[usize::from(label)].name, "database");
    }
}
