//! Mounts as objects: labelled by their root, and by the place that they lie on.

use agent_guard_common::event::{Event, Head};
use agent_guard_common::hash::SipKey;
use agent_guard_common::operation::Operation;
use agent_guard_common::verdict::Reason;

use crate::hook::Object;
use crate::kernel::{Pointer, copy, member};
use crate::object::{Entry, Seldom, label_of};

/// A place where something is mounted, or can be.
#[derive(Clone, Copy)]
pub struct Mounted {
    entry: Seldom,
    /// Address of the entry that the mount hides, where the entry is a mount's root; else of the entry itself.
    point: u64,
}

impl Mounted {
    /// Reads a `struct vfsmount`; `None` when the structure around it cannot be read.
    #[inline(always)]
    pub fn of(mount: Pointer) -> Option<Self> {
        let around = mount.number() - u64::from(member::MOUNT_PUBLIC.load());
        let mut point = 0;
        if !copy(&mut point, around + u64::from(member::MOUNT_POINT.load())) {
            return None;
        }
        Some(Self { entry: Seldom(Entry(mount.follow(&member::MOUNT_ROOT))), point })
    }

    /// Reads a `struct path`.
    #[inline(always)]
    pub fn at(path: Pointer) -> Option<Self> {
        let (mount, entry) = (path.follow(&member::PATH_MOUNT), path.follow(&member::PATH_DENTRY));
        if mount.follow(&member::MOUNT_ROOT).address() == entry.address() {
            return Self::of(mount);
        }
        Some(Self { entry: Seldom(Entry(entry)), point: entry.number() })
    }
}

impl Object for Mounted {
    const HAS_PATHS: bool = true;

    #[inline(always)]
    fn labels(&self, slot: u32, operation: Operation) -> Result<[u16; 2], Reason> {
        // A mount that was made just now has a root that nobody has labelled yet.
        Ok([label_of(self.entry.0.0.number(), slot, operation)?, label_of(self.point, slot, operation)?])
    }

    #[inline(always)]
    fn hash(&self, key: SipKey) -> u64 {
        self.entry.hash(key)
    }

    #[inline(always)]
    fn describe(&self, head: &mut Head) {
        self.entry.describe(head);
    }

    #[inline(always)]
    fn paths(&self, event: &mut Event) {
        self.entry.paths(event);
    }
}
