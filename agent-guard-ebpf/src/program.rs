//! Programs as objects: the file that is executed, and the arguments it is given.

use agent_guard_common::event::{Event, Head};
use agent_guard_common::hash::{Sip, SipKey};
use agent_guard_common::operation::Operation;
use agent_guard_common::verdict::Reason;

use crate::hook::Object;
use crate::kernel::{Pointer, member};
use crate::object::Entry;

/// A file about to be executed.
#[derive(Clone, Copy)]
pub struct Program {
    file: Entry,
    /// Arguments that the kernel counted, the program's name included.
    pub argc: u32,
    /// Hash of the arguments, as far as the hook read them.
    arguments: u64,
}

impl Program {
    /// Reads `struct linux_binprm`.
    #[inline(always)]
    pub fn new(bprm: Pointer, arguments: u64) -> Self {
        let file = bprm.follow(&member::BPRM_FILE);
        Self { file: Entry(file.follow(&member::FILE_DENTRY)), argc: bprm.load(&member::BPRM_ARGC), arguments }
    }
}

impl Object for Program {
    const HAS_PATHS: bool = true;

    #[inline(always)]
    fn labels(&self, slot: u32, operation: Operation) -> Result<[u16; 2], Reason> {
        self.file.labels(slot, operation)
    }

    #[inline(always)]
    fn hash(&self, key: SipKey) -> u64 {
        let mut sip = Sip::new(key);
        sip.add(self.file.hash(key));
        sip.add(u64::from(self.argc));
        sip.add(self.arguments);
        sip.finish()
    }

    #[inline(always)]
    fn describe(&self, head: &mut Head) {
        self.file.describe(head);
    }

    #[inline(always)]
    fn paths(&self, event: &mut Event) {
        self.file.paths(event);
    }
}
