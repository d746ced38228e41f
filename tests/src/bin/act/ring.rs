//! Acts by io_uring, down to its rings: what a guard must not overlook.

use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::libc;
use serde_json::json;

use crate::Done;
use crate::file::c;
use crate::net;

// include/uapi/linux/io_uring.h
const OP_SENDMSG: u8 = 9;
const OP_CONNECT: u8 = 16;
const OP_OPENAT: u8 = 18;
const OP_RENAMEAT: u8 = 35;
const OP_UNLINKAT: u8 = 36;
const OP_MKDIRAT: u8 = 37;
const OP_LINKAT: u8 = 39;
const SETUP_SQPOLL: u32 = 2;
const SQE_ASYNC: u8 = 1 << 4;
const ENTER_GETEVENTS: u32 = 1;
const ENTER_SQ_WAKEUP: u32 = 2;
const OFFSET_SQ: i64 = 0;
const OFFSET_CQ: i64 = 0x800_0000;
const OFFSET_SQES: i64 = 0x1000_0000;

#[repr(C)]
#[derive(Default)]
struct SubmissionOffsets {
    head: u32,
    tail: u32,
    mask: u32,
    entries: u32,
    flags: u32,
    dropped: u32,
    array: u32,
    reserved: u32,
    address: u64,
}

#[repr(C)]
#[derive(Default)]
struct CompletionOffsets {
    head: u32,
    tail: u32,
    mask: u32,
    entries: u32,
    overflow: u32,
    entry: u32,
    flags: u32,
    reserved: u32,
    address: u64,
}

#[repr(C)]
#[derive(Default)]
struct Parameters {
    submission_entries: u32,
    completion_entries: u32,
    flags: u32,
    cpu: u32,
    idle: u32,
    features: u32,
    wq_fd: u32,
    reserved: [u32; 3],
    submission: SubmissionOffsets,
    completion: CompletionOffsets,
}

#[repr(C)]
#[derive(Default)]
struct Submission {
    opcode: u8,
    flags: u8,
    priority: u16,
    fd: i32,
    offset: u64,
    address: u64,
    length: u32,
    op_flags: u32,
    user_data: u64,
    buffer: u16,
    personality: u16,
    splice_fd: i32,
    padding: [u64; 2],
}

const MAP_BYTES: usize = 4096;

/// Maps one of the ring's areas.
fn map(fd: i32, offset: i64) -> *mut u8 {
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_POPULATE);
    // SAFETY: a new mapping of the ring's own memory.
    let area = unsafe { libc::mmap(ptr::null_mut(), MAP_BYTES, access, kind, fd, offset) };
    assert!(area != libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
    area.cast()
}

/// Submits one operation and waits for its completion; the errno is the completion's.
fn run(submission: Submission, polls: bool) -> Done {
    let mut parameters =
        Parameters { flags: if polls { SETUP_SQPOLL } else { 0 }, idle: 1000, ..Parameters::default() };
    // SAFETY: the parameters are as the kernel defines them; the offsets that it returns lie inside the mappings.
    unsafe {
        let fd = libc::syscall(libc::SYS_io_uring_setup, 4, &raw mut parameters);
        if fd < 0 {
            return Done::of(fd);
        }
        let fd = i32::try_from(fd).unwrap();
        let (sq, cq, sqes) = (map(fd, OFFSET_SQ), map(fd, OFFSET_CQ), map(fd, OFFSET_SQES));
        sqes.cast::<Submission>().write(submission);
        sq.add(parameters.submission.array as usize).cast::<u32>().write(0);
        let word = |area: *mut u8, offset: u32| AtomicU32::from_ptr(area.add(offset as usize).cast());
        word(sq, parameters.submission.tail).store(1, Ordering::SeqCst);
        let tail = word(cq, parameters.completion.tail);
        let flags = ENTER_GETEVENTS | if polls { ENTER_SQ_WAKEUP } else { 0 };
        // A wait that is interrupted is begun again; what was submitted is not submitted twice.
        let mut to_submit = 1;
        while tail.load(Ordering::SeqCst) == 0 {
            let none = ptr::null::<libc::c_void>();
            let entered = libc::syscall(libc::SYS_io_uring_enter, fd, to_submit, 1, flags, none, 0);
            if entered > 0 {
                to_submit = 0;
            }
        }
        let result = cq.add(parameters.completion.entry as usize + 8).cast::<i32>().read();
        for area in [sq, cq, sqes] {
            libc::munmap(area.cast(), MAP_BYTES);
        }
        libc::close(fd);
        Done { errno: if result < 0 { -result } else { 0 }, value: json!(result) }
    }
}

/// Acts by io_uring: `ring MODE OPERATION ARGUMENTS`, where the mode is `inline`, `async` or `poll`.
pub(crate) fn act(words: &[&str]) -> Option<Done> {
    let ["ring", mode, operation, ref arguments @ ..] = *words else { return None };
    let paths: Vec<_> = arguments.iter().map(|word| c(word)).collect();
    let address = |index: usize| paths[index].as_ptr() as u64;
    let mut submission = Submission {
        flags: if mode == "async" { SQE_ASYNC } else { 0 },
        fd: libc::AT_FDCWD,
        address: address(0),
        ..Submission::default()
    };
    let here = libc::AT_FDCWD as u32;
    let (storage, length, socket, data, message);
    match operation {
        "unlink" => submission.opcode = OP_UNLINKAT,
        "mkdir" => (submission.opcode, submission.length) = (OP_MKDIRAT, 0o755),
        "rename" => (submission.opcode, submission.length, submission.offset) = (OP_RENAMEAT, here, address(1)),
        "link" => (submission.opcode, submission.length, submission.offset) = (OP_LINKAT, here, address(1)),
        "write-open" => {
            (submission.opcode, submission.op_flags) = (OP_OPENAT, libc::O_WRONLY as u32);
        }
        "connect" => {
            let to: SocketAddr = arguments.first()?.parse().ok()?;
            (storage, length) = net::raw(to);
            socket = net::socket(to, "tcp")?;
            submission.opcode = OP_CONNECT;
            submission.fd = socket.as_raw_fd();
            submission.address = (&raw const storage) as u64;
            submission.offset = u64::from(length);
        }
        "send" => {
            let to: SocketAddr = arguments.first()?.parse().ok()?;
            (storage, length) = net::raw(to);
            socket = net::socket(to, "udp")?;
            data = libc::iovec { iov_base: c"hello".as_ptr().cast_mut().cast(), iov_len: 5 };
            message = net::message(&storage, length, &data);
            submission.opcode = OP_SENDMSG;
            submission.fd = socket.as_raw_fd();
            submission.address = (&raw const message) as u64;
            submission.length = 1;
        }
        _ => return None,
    }
    Some(run(submission, mode == "poll"))
}
