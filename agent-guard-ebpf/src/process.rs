//! Processes as objects: those outside the caller's session, whom no label names.

use agent_guard_common::event::Head;
use agent_guard_common::hash::{Sip, SipKey};

use crate::hook::{Caller, Object};
use crate::kernel::{Pointer, copy, member};
use crate::task;

/// Another process, by any of its threads.
#[derive(Clone, Copy)]
pub struct Process(pub Pointer);

impl Process {
    /// Whether it is of the caller's own session.
    #[inline(always)]
    pub fn is_inside(self, caller: &Caller) -> bool {
        task::tag(self.0).is_some_and(|tag| tag.get().serial == caller.tag.get().serial)
    }
}

impl Object for Process {
    #[inline(always)]
    fn hash(&self, key: SipKey) -> u64 {
        let mut sip = Sip::new(key);
        sip.add(u64::from(self.0.load::<u32>(&member::TASK_PROCESS)));
        sip.add(self.0.load(&member::TASK_START));
        sip.finish()
    }

    #[inline(always)]
    fn describe(&self, head: &mut Head) {
        head.ino = u64::from(self.0.load::<u32>(&member::TASK_PROCESS));
        // A name that cannot be read is shown as none; that is counted.
        copy(&mut head.address, self.0.number() + u64::from(member::TASK_NAME.load()));
    }
}
