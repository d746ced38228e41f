//! Endpoint labels as a trie of prefixes: each holds all port ranges that apply below it, nearest first.

use std::collections::BTreeMap;

use agent_guard_common::limits::{ENDPOINTS, PORT_RANGES};
use agent_guard_common::rule::{ENDPOINT_SLOT_BITS, EndpointKey, EndpointLabels, PortRange};

use super::{CompileError, Facts, fits};
use crate::policy::check::Checked;
use crate::policy::objects::{Addresses, Endpoint, Objects};
use crate::policy::value::endpoint::{Cidr, MAPPED};

/// Compiles all endpoint labels.
pub(super) fn compile(
    policy: &Checked,
    facts: &Facts,
) -> Result<Vec<(u32, EndpointKey, EndpointLabels)>, CompileError> {
    let own = own_ranges(policy, facts)?;
    fits("endpoint prefixes", own.len(), ENDPOINTS)?;
    let slot = (facts.generation & 1).to_be();
    own.keys()
        .map(|cidr| {
            let key = EndpointKey { slot, address: cidr.address.to_be_bytes() };
            Ok((ENDPOINT_SLOT_BITS + u32::from(cidr.bits), key, labels(*cidr, &own)?))
        })
        .collect()
}

/// The port ranges that labels give each prefix itself, in the policy's order.
fn own_ranges(policy: &Checked, facts: &Facts) -> Result<BTreeMap<Cidr, Vec<PortRange>>, CompileError> {
    let mut own: BTreeMap<Cidr, Vec<PortRange>> = BTreeMap::new();
    for (label, number) in policy.labels.iter().zip(1_u16..) {
        let Objects::Endpoints(endpoints) = &label.objects else { continue };
        for endpoint in endpoints {
            for cidr in prefixes(&endpoint.addresses, facts)? {
                own.entry(cidr).or_default().extend(ranges(endpoint, number));
            }
        }
    }
    // IPv4 lies within the kernel's `::/0`; an entry of its own, empty if need be, keeps IPv6 ranges off it.
    if own.keys().any(|cidr| !cidr.is_ipv4() && cidr.holds(MAPPED.address)) {
        own.entry(MAPPED).or_default();
    }
    Ok(own)
}

/// The port ranges that a label gives an endpoint.
pub(super) fn ranges(endpoint: &Endpoint, label: u16) -> impl Iterator<Item = PortRange> + '_ {
    let protocol = endpoint.protocol;
    endpoint.ports.iter().map(move |ports| PortRange { first: ports.first, last: ports.last, protocol, label })
}

fn prefixes(addresses: &Addresses, facts: &Facts) -> Result<Vec<Cidr>, CompileError> {
    match addresses {
        Addresses::Range(cidr) => Ok(vec![*cidr]),
        // What a name stands for is only known when a session has looked it up.
        Addresses::Heard(_) => Ok(Vec::new()),
        Addresses::Host(host) => {
            let mut cidrs: Vec<Cidr> =
                facts.hosts.get(host).into_iter().flatten().map(|address| Cidr::from(*address)).collect();
            if cidrs.is_empty() {
                return Err(CompileError::HostUnresolved { host: host.clone() });
            }
            cidrs.sort_unstable();
            cidrs.dedup();
            Ok(cidrs)
        }
    }
}

/// All ranges that apply to a prefix: its own, then those of enclosing prefixes, without what never gets its turn.
fn labels(cidr: Cidr, own: &BTreeMap<Cidr, Vec<PortRange>>) -> Result<EndpointLabels, CompileError> {
    let mut ranges: Vec<PortRange> = Vec::new();
    let enclosing = (0..=cidr.bits).rev().map(|bits| cidr.shortened(bits)).filter(|outer| outer.encloses(cidr));
    for range in enclosing.filter_map(|outer| own.get(&outer)).flatten() {
        if !ranges.iter().any(|earlier| shadows(earlier, range)) {
            ranges.push(*range);
        }
    }
    if ranges.len() > PORT_RANGES {
        return Err(CompileError::TooManyPorts { prefix: cidr.to_string(), count: ranges.len(), limit: PORT_RANGES });
    }
    let mut labels = [PortRange::ZERO; PORT_RANGES];
    for (to, from) in labels.iter_mut().zip(ranges) {
        *to = from;
    }
    Ok(labels)
}

const fn shadows(earlier: &PortRange, later: &PortRange) -> bool {
    earlier.first <= later.first
        && later.last <= earlier.last
        && (earlier.protocol == 0 || earlier.protocol == later.protocol)
}

#[cfg(test)]
mod tests {
    use core::net::IpAddr;

    use agent_guard_common::rule::{UNLABELLED, endpoint_label};

    use crate::policy::compile::sample::{compiled, facts};
    use crate::policy::compile::{CompileError, Compiled};
    use crate::policy::value::endpoint::Cidr;

    fn policy(labels: &str) -> String {
        format!("version: 1\nlabels: {{ {labels} }}\nprofiles: {{ agent: {{ default: allow }} }}\n")
    }

    /// What the kernel finds: the longest prefix, then the first range.
    fn label(policy: &Compiled, address: &str, protocol: u16, port: u16) -> String {
        let address = Cidr::from(address.parse::<IpAddr>().unwrap()).address;
        let holds = |bits: u32, key: &[u8; 16]| {
            Cidr { address: u128::from_be_bytes(*key), bits: u8::try_from(bits - 32).unwrap() }.holds(address)
        };
        let longest =
            policy.endpoints.iter().filter(|(bits, key, _)| holds(*bits, &key.address)).max_by_key(|(bits, ..)| *bits);
        let label = longest.map_or(UNLABELLED, |(_, _, ranges)| endpoint_label(ranges, protocol, port));
        policy.labels[usize::from(label)].name.clone()
    }

    #[test]
    fn the_nearest_prefix_speaks_first_and_the_enclosing_ones_after_it() {
        let text = policy(
            "net: { endpoints: [{ cidr: 10.0.0.0/8, ports: [5000-5010] }] }, db: { endpoints: [{ cidr: 10.1.0.0/16, ports: [5005], protocol: tcp }] }",
        );
        let policy = compiled(&text, &facts(&text, &[])).unwrap();
        assert_eq!(label(&policy, "10.1.2.3", 6, 5005), "db");
        assert_eq!(label(&policy, "10.1.2.3", 17, 5005), "net");
        assert_eq!(label(&policy, "10.1.2.3", 6, 5000), "net");
        assert_eq!(label(&policy, "10.2.2.3", 6, 5005), "net");
        assert_eq!(label(&policy, "10.2.2.3", 6, 80), "unlabelled");
        assert_eq!(label(&policy, "11.0.0.1", 6, 5005), "unlabelled");
    }

    #[test]
    fn ranges_of_ipv6_are_not_ranges_of_ipv4() {
        let text = policy("six: { endpoints: [{ cidr: '::/0' }] }");
        let only_six = compiled(&text, &facts(&text, &[])).unwrap();
        assert_eq!(label(&only_six, "2001:db8::1", 6, 443), "six");
        assert_eq!(label(&only_six, "10.0.0.1", 6, 443), "unlabelled");
        let text =
            policy("six: { endpoints: [{ cidr: '::/0' }] }, four: { endpoints: [{ cidr: 0.0.0.0/0, ports: [443] }] }");
        let both = compiled(&text, &facts(&text, &[])).unwrap();
        assert_eq!(label(&both, "10.0.0.1", 6, 443), "four");
        assert_eq!(label(&both, "10.0.0.1", 6, 80), "unlabelled");
    }

    #[test]
    fn a_host_is_its_addresses() {
        let text = policy("db: { endpoints: [{ host: db.example, ports: [5432] }] }");
        let mut facts = facts(&text, &[]);
        assert_eq!(compiled(&text, &facts), Err(CompileError::HostUnresolved { host: "db.example".to_owned() }));
        let addresses = ["192.0.2.7", "2001:db8::7", "192.0.2.7"].map(|address| address.parse().unwrap());
        facts.hosts.insert("db.example".to_owned(), addresses.to_vec());
        let policy = compiled(&text, &facts).unwrap();
        assert_eq!(policy.endpoints.len(), 2);
        assert_eq!(label(&policy, "192.0.2.7", 6, 5432), "db");
        assert_eq!(label(&policy, "2001:db8::7", 6, 5432), "db");
        assert_eq!(label(&policy, "192.0.2.8", 6, 5432), "unlabelled");
    }

    #[test]
    fn more_ranges_than_fit_are_refused_unless_they_never_get_their_turn() {
        let eight = "a: { endpoints: [{ cidr: 10.0.0.0/8, ports: [1, 3, 5, 7, 9, 11, 13, 15] }] }";
        let text = policy(&format!("{eight}, b: {{ endpoints: [{{ cidr: 10.0.0.0/16, ports: [17] }}] }}"));
        let error = CompileError::TooManyPorts { prefix: "10.0.0.0/16".to_owned(), count: 9, limit: 8 };
        assert_eq!(compiled(&text, &facts(&text, &[])), Err(error));
        let text = policy(&format!("{eight}, b: {{ endpoints: [{{ cidr: 10.0.0.0/16 }}] }}"));
        let policy = compiled(&text, &facts(&text, &[])).unwrap();
        assert_eq!(label(&policy, "10.0.0.1", 6, 3), "b", "the nearer prefix takes every port");
    }

    #[test]
    fn the_slot_stands_in_network_order() {
        let text = policy("a: { endpoints: [{ cidr: 10.0.0.0/8 }] }");
        let policy = compiled(&text, &facts(&text, &[])).unwrap();
        let (bits, key, _) = policy.endpoints[0];
        assert_eq!((bits, key.slot), (32 + 96 + 8, 1_u32.to_be()));
        assert_eq!(key.address, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 0, 0, 0]);
    }
}
