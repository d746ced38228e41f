//! Devices and abstract socket names: objects that are known by a number or a name of their own, and lie nowhere.

use agent_guard_common::rule::{ABSTRACT_NAMES, InodeKey, InodeLabel, NameKey};

use super::Facts;
use crate::policy::check::{Checked, Objects};

/// The records of all device labels.
pub(super) fn devices(policy: &Checked, facts: &Facts) -> Vec<(InodeKey, InodeLabel)> {
    let slot = facts.generation & 1;
    let named = policy.labels.iter().zip(1_u16..).filter_map(|(label, number)| {
        let Objects::Devices(devices) = &label.objects else { return None };
        Some(devices.iter().map(move |device| (*device, number)))
    });
    named
        .flatten()
        .map(|(device, label)| {
            let key = InodeKey { dev: device.kind, slot, ino: device.number };
            (key, InodeLabel { label, ..InodeLabel::ZERO })
        })
        .collect()
}

/// The records of all abstract names.
pub(super) fn abstract_names(policy: &Checked, facts: &Facts) -> Vec<(NameKey, InodeLabel)> {
    let slot = facts.generation & 1;
    let named = policy.labels.iter().zip(1_u16..).filter_map(|(label, number)| {
        let Objects::Sockets { names, .. } = &label.objects else { return None };
        Some(names.iter().map(move |name| (name, number)))
    });
    named
        .flatten()
        .map(|(name, label)| {
            let key = NameKey { dev: ABSTRACT_NAMES, slot, ino: 0, name: facts.key.hash(name.as_bytes()) };
            (key, InodeLabel { label, ..InodeLabel::ZERO })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use agent_guard_common::hash::SipKey;
    use agent_guard_common::rule::{ABSTRACT_NAMES, ANY_DEVICE, BLOCK_DEVICE, CHARACTER_DEVICE};

    use crate::policy::compile::sample::{compiled, facts};

    #[test]
    fn devices_and_abstract_names_stand_where_no_file_does() {
        let text = "version: 1
labels:
  disks: { devices: [block, char 1:1] }
  display: { sockets: ['@/tmp/.X11-unix/X0'] }
profiles: { agent: { default: allow } }
";
        let policy = compiled(text, &facts(text, &[])).unwrap();
        let devices: Vec<_> = policy.inodes.iter().map(|(key, label)| (key.dev, key.ino, label.label)).collect();
        assert_eq!(devices, [(BLOCK_DEVICE, ANY_DEVICE, 1), (CHARACTER_DEVICE, 1 << 20 | 1, 1)]);
        let (key, label) = policy.names[0];
        let hash = SipKey { k0: 1, k1: 2 }.hash(b"/tmp/.X11-unix/X0");
        assert_eq!((key.dev, key.ino, key.name, label.label), (ABSTRACT_NAMES, 0, hash, 2));
    }
}
