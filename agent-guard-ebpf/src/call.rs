//! Calls as objects: acts that are about the machine, and that no label names.

use agent_guard_common::event::Head;
use agent_guard_common::hash::{Sip, SipKey};

use crate::hook::{Caller, Object};
use crate::kernel::member;
use crate::task;

/// The system call that the caller is in.
#[derive(Clone, Copy)]
pub struct Call {
    /// Its number, in its own table.
    pub number: u64,
    /// Whether that is the 32-bit table.
    pub compat: bool,
}

impl Call {
    /// The caller's call.
    #[inline(always)]
    pub fn of(caller: &Caller) -> Self {
        let number = task::registers(caller.task).load(&member::REGS_ORIG_AX);
        Self { number, compat: task::is_compat(caller.task) }
    }
}

impl Call {
    /// Whether it is one of those that keyrings are used by: add_key, request_key, keyctl.
    #[inline(always)]
    pub const fn is_about_keys(&self) -> bool {
        matches!((self.number, self.compat), (248..=250, false) | (286..=288, true))
    }
}

impl Object for Call {
    #[inline(always)]
    fn hash(&self, key: SipKey) -> u64 {
        let mut sip = Sip::new(key);
        sip.add(self.number);
        sip.finish()
    }

    #[inline(always)]
    fn describe(&self, head: &mut Head) {
        head.ino = self.number;
        head.dev = u32::from(self.compat);
    }
}
