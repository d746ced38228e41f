//! Objects that are known by a number or a name of their own, wherever they lie: devices, abstract socket names, files by
//! their names, variables.

use std::collections::BTreeMap;

use agent_guard_common::hash::letters;
use agent_guard_common::rule::{
    ABSTRACT_NAMES, FILES_ANYWHERE, InodeKey, InodeLabel, NameKey, SOCKETS_ANYWHERE, VARIABLES, part,
};

use super::Facts;
use crate::policy::check::Checked;
use crate::policy::objects::Objects;

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

/// The records of all names that mean something by themselves, each once. Where a map has some of a kind it says so.
pub(super) fn names(policy: &Checked, facts: &Facts) -> Vec<(NameKey, InodeLabel)> {
    let slot = facts.generation & 1;
    let mut records = BTreeMap::new();
    for (label, number) in policy.labels.iter().zip(1_u16..) {
        let mut record = |dev: u32, part: u64, name: u64| {
            let key = NameKey { dev, slot, ino: part, name };
            records.insert((dev, part, name), (key, InodeLabel { label: number, ..InodeLabel::ZERO }));
        };
        match &label.objects {
            Objects::Sockets { files, names, .. } => {
                for file in files {
                    record(SOCKETS_ANYWHERE, file.part, facts.key.hash(file.text.as_bytes()));
                    record(SOCKETS_ANYWHERE, part::SOME, 0);
                }
                names.iter().for_each(|name| record(ABSTRACT_NAMES, part::WHOLE, facts.key.hash(name.as_bytes())));
            }
            Objects::Names(names) => {
                names.iter().for_each(|name| record(FILES_ANYWHERE, name.part, facts.key.hash(name.text.as_bytes())));
                record(FILES_ANYWHERE, part::SOME, 0);
            }
            Objects::Variables(names) => {
                names.iter().for_each(|name| record(VARIABLES, name.part, letters(name.text.as_bytes())));
                record(VARIABLES, part::SOME, 0);
            }
            _ => {}
        }
    }
    records.into_values().collect()
}

#[cfg(test)]
mod tests {
    use agent_guard_common::hash::{SipKey, letters};
    use agent_guard_common::rule::{
        ABSTRACT_NAMES, ANY_DEVICE, BLOCK_DEVICE, CHARACTER_DEVICE, FILES_ANYWHERE, NameKey, SOCKETS_ANYWHERE,
        VARIABLES, part,
    };

    use crate::policy::compile::sample::{compiled, facts};

    #[test]
    fn names_that_mean_something_by_themselves_stand_in_no_directory() {
        let text = "version: 1
labels:
  keys: { credential: production, names: ['.env', '*.pem', '.env.*'] }
  public: { names: [cacert.pem] }
  told: { credential: staging, variables: ['*_TOKEN'] }
  agents: { credential: unknown, sockets: ['*/agent.*'] }
profiles: { agent: { default: allow } }
";
        let policy = compiled(text, &facts(text, &[])).unwrap();
        let found = |dev: u32, part: u64, name: u64| {
            let is_it = |key: &NameKey| (key.dev, key.ino, key.name) == (dev, part, name);
            policy.names.iter().find(|(key, _)| is_it(key)).map(|(_, label)| label.label)
        };
        let hash = |name: &[u8]| SipKey { k0: 1, k1: 2 }.hash(name);
        assert_eq!(found(FILES_ANYWHERE, part::WHOLE, hash(b".env")), Some(1));
        assert_eq!(found(FILES_ANYWHERE, part::LAST, hash(b"pem")), Some(1));
        assert_eq!(found(FILES_ANYWHERE, part::FIRST, hash(b".env")), Some(1));
        assert_eq!(found(FILES_ANYWHERE, part::WHOLE, hash(b"cacert.pem")), Some(2));
        assert_eq!(found(VARIABLES, part::LAST, letters(b"TOKEN")), Some(3));
        assert_eq!(found(SOCKETS_ANYWHERE, part::FIRST, hash(b"agent")), Some(4));
        for kind in [FILES_ANYWHERE, SOCKETS_ANYWHERE, VARIABLES] {
            assert!(found(kind, part::SOME, 0).is_some());
        }
        assert_eq!(policy.credentials[..5], [0, 1, 0, 2, 8]);
    }

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
