//! The machine as a whole: calls that need a privilege and have no hook of their own, and interfaces by which a
//! program could reach past the guard.

use agent_guard_common::operation::Operation;
use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use crate::call::Call;
use crate::hook::{self, Caller};
use crate::kernel::{Pointer, member};

/// kernel/capability.c, `ns_capable(credentials, namespace, capability, options)`: asked in every call that needs a
/// privilege, and only when the caller would have it. It is the call that is judged, not the capability.
#[lsm(hook = "capable")]
pub fn capable(context: LsmContext) -> i32 {
    let Some(caller) = Caller::current() else { return 0 };
    let call = Call::of(&caller);
    let Some(operation) = Operation::of_privileged(context.arg::<u32>(2), call.number, call.compat) else { return 0 };
    hook::decide(&caller, &call, operation)
}

#[inline(always)]
fn judge(operation: Operation) -> i32 {
    let Some(caller) = Caller::current() else { return 0 };
    hook::decide(&caller, &Call::of(&caller), operation)
}

/// security/keys/permission.c, `key_task_permission(key, credentials, need)`: once or more for each key that a call is
/// about. The kernel's own look-ups in other calls are not the caller's.
#[lsm(hook = "key_permission")]
pub fn key_permission(context: LsmContext) -> i32 {
    // include/linux/key.h, `enum key_need_perm`: to view tells what a key is called, and to link one needs to write as well.
    const READ: u32 = 2;
    const SETATTR: u32 = 6;
    const LINK: u32 = 5;
    let need = context.arg::<u32>(2);
    if !(READ..=SETATTR).contains(&need) || need == LINK {
        return 0;
    }
    let Some(caller) = Caller::current() else { return 0 };
    let call = Call::of(&caller);
    if call.is_about_keys() { hook::decide(&caller, &call, Operation::Keyring) } else { 0 }
}

/// kernel/bpf/syscall.c, `__sys_bpf`.
#[lsm(hook = "bpf")]
pub fn bpf(_: LsmContext) -> i32 {
    judge(Operation::Bpf)
}

/// kernel/events/core.c, `perf_event_open`.
#[lsm(hook = "perf_event_open")]
pub fn perf_event_open(_: LsmContext) -> i32 {
    judge(Operation::Perf)
}

/// fs/anon_inodes.c, `anon_inode_make_secure_inode(inode, name, context)`: io_uring and userfaultfd are such.
#[lsm(hook = "inode_init_security_anon")]
pub fn inode_init_security_anon(context: LsmContext) -> i32 {
    const IO_URING: [u8; 16] = *b"[io_uring]\0\0\0\0\0\0";
    const USER_FAULT: [u8; 16] = *b"[userfaultfd]\0\0\0";
    let name: u64 = Pointer::new(context.arg::<*const u8>(1)).scalar(&member::NAME_BYTES);
    let mut bytes = [0_u8; 16];
    // SAFETY: the buffer holds 16 bytes; the helper checks the address.
    let read = unsafe { bpf_probe_read_kernel_str(bytes.as_mut_ptr().cast(), 16, name as *const core::ffi::c_void) };
    match bytes {
        IO_URING => judge(Operation::IoUring),
        USER_FAULT => judge(Operation::UserFault),
        // Which of them it is cannot be told: the one that reaches further is assumed.
        _ if read < 0 => judge(Operation::IoUring),
        _ => 0,
    }
}
