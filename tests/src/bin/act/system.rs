//! Acts on the machine as a whole. Each is harmless where it succeeds: it sets what is set already, or names what is not.

use std::mem::zeroed;
use std::ptr;

use nix::libc::{self, c_long};

use crate::Done;
use crate::file::{c, with_fd};

// include/uapi/linux/keyctl.h: a process's own keyring.
const OWN_KEYRING: c_long = -2;
const KEYCTL_CLEAR: c_long = 7;
// include/uapi/linux/quota.h
const Q_QUOTAOFF: c_long = 0x0080_0003;

/// A system call with its arguments as they are.
fn call(number: c_long, arguments: [c_long; 5]) -> Done {
    let [one, two, three, four, five] = arguments;
    // SAFETY: each caller passes pointers to memory that outlives the call, of the size that the call takes.
    Done::of(unsafe { libc::syscall(number, one, two, three, four, five) })
}

/// As [`call`]; what it opens is closed again.
fn opened(number: c_long, arguments: [c_long; 5]) -> Done {
    let done = call(number, arguments);
    if let (0, Some(fd)) = (done.errno, done.value.as_i64()) {
        // SAFETY: the descriptor was just opened and is nobody else's.
        unsafe { libc::close(i32::try_from(fd).unwrap()) };
    }
    done
}

fn address<T>(value: *const T) -> c_long {
    value as c_long
}

fn set_clock() -> Done {
    // SAFETY: all-zero times are valid and filled at once.
    let mut now: libc::timespec = unsafe { zeroed() };
    // SAFETY: the time is writable.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut now) };
    call(libc::SYS_clock_settime, [c_long::from(libc::CLOCK_REALTIME), address(&raw const now), 0, 0, 0])
}

fn steer_clock() -> Done {
    // SAFETY: an all-zero record is valid.
    let mut change: libc::timex = unsafe { zeroed() };
    change.modes = libc::ADJ_SETOFFSET;
    call(libc::SYS_adjtimex, [address(&raw const change), 0, 0, 0, 0])
}

fn by_handle(path: &str) -> Done {
    const BYTES: usize = 128;
    let mut handle = [0_u32; 2 + BYTES / 4];
    handle[0] = BYTES as u32;
    let (path, mut mount) = (c(path), 0_i32);
    let here = c_long::from(libc::AT_FDCWD);
    let named = call(
        libc::SYS_name_to_handle_at,
        [here, address(path.as_ptr()), address(handle.as_ptr()), address(&raw mut mount), 0],
    );
    if named.errno != 0 {
        return named;
    }
    // SAFETY: the path ends in NUL; the descriptor is closed below.
    let root = unsafe { libc::open(path.as_ptr(), libc::O_RDONLY) };
    let flags = c_long::from(libc::O_RDONLY);
    let done = opened(libc::SYS_open_by_handle_at, [c_long::from(root), address(handle.as_ptr()), flags, 0, 0]);
    // SAFETY: the descriptor was opened above.
    unsafe { libc::close(root) };
    done
}

fn make_map() -> Done {
    // `union bpf_attr` of BPF_MAP_CREATE: an array of one u32.
    const ARRAY: u32 = 2;
    let attributes: [u32; 16] = [ARRAY, 4, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    opened(libc::SYS_bpf, [0, address(attributes.as_ptr()), 64, 0, 0])
}

fn count_events() -> Done {
    // `struct perf_event_attr`, first version: PERF_TYPE_SOFTWARE, its size, PERF_COUNT_SW_CPU_CLOCK.
    let attributes: [u32; 16] = [1, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    opened(libc::SYS_perf_event_open, [address(attributes.as_ptr()), 0, -1, -1, 0])
}

fn make_ring() -> Done {
    let parameters = [0_u32; 30];
    opened(libc::SYS_io_uring_setup, [1, address(parameters.as_ptr()), 0, 0, 0])
}

/// Maps a file, and makes the mapping executable if it is not.
fn map_code(path: &str, protection: i32) -> Done {
    const PAGE: usize = 4096;
    with_fd(path, libc::O_RDONLY, |fd| {
        // SAFETY: a new private mapping that nothing refers to, and that is given back.
        unsafe {
            let at = libc::mmap(ptr::null_mut(), PAGE, protection, libc::MAP_PRIVATE, fd, 0);
            if at == libc::MAP_FAILED {
                return Done::of(-1);
            }
            let done = match protection & libc::PROT_EXEC {
                0 => Done::of(libc::mprotect(at, PAGE, libc::PROT_READ | libc::PROT_EXEC)),
                _ => Done::of(0),
            };
            libc::munmap(at, PAGE);
            done
        }
    })
}

fn type_into_terminal() -> Done {
    // SAFETY: the path ends in NUL, the byte is readable, and the descriptor is closed once.
    unsafe {
        let terminal = libc::open(c"/dev/ptmx".as_ptr(), libc::O_RDWR | libc::O_NOCTTY);
        if terminal < 0 {
            return Done::of(terminal);
        }
        let done = Done::of(libc::ioctl(terminal, libc::TIOCSTI, ptr::from_ref(&b'x')));
        libc::close(terminal);
        done
    }
}

fn socket(family: i32, kind: i32, protocol: i32) -> Done {
    opened(libc::SYS_socket, [family.into(), kind.into(), protocol.into(), 0, 0])
}

/// Acts by name.
pub(crate) fn act(words: &[&str]) -> Option<Done> {
    const CAD_OFF: c_long = 0;
    Some(match *words {
        ["swapon", path] => {
            let path = c(path);
            call(libc::SYS_swapon, [address(path.as_ptr()), 0, 0, 0, 0])
        }
        ["reboot"] => call(libc::SYS_reboot, [0xfee1_dead, 672_274_793, CAD_OFF, 0, 0]),
        ["kexec"] => call(libc::SYS_kexec_load, [0, 0, 0, 0, 0]),
        ["load-module"] => {
            let image = [0_u8; 64];
            call(libc::SYS_init_module, [address(image.as_ptr()), 64, address(c"".as_ptr()), 0, 0])
        }
        ["remove-module"] => call(libc::SYS_delete_module, [address(c"no_such_module".as_ptr()), 0, 0, 0, 0]),
        ["set-clock"] => set_clock(),
        ["steer-clock"] => steer_clock(),
        ["ports"] => call(libc::SYS_ioperm, [0x80, 1, 1, 0, 0]),
        ["by-handle", path] => by_handle(path),
        ["add-key"] => {
            let (kind, name, key) = (address(c"user".as_ptr()), address(c"name".as_ptr()), address(b"k".as_ptr()));
            call(libc::SYS_add_key, [kind, name, key, 1, OWN_KEYRING])
        }
        ["clear-keys"] => call(libc::SYS_keyctl, [KEYCTL_CLEAR, OWN_KEYRING, 0, 0, 0]),
        ["quota", path] => {
            with_fd(path, libc::O_RDONLY, |fd| call(libc::SYS_quotactl_fd, [fd.into(), Q_QUOTAOFF << 8, 0, 0, 0]))
        }
        ["bpf"] => make_map(),
        ["perf"] => count_events(),
        // UFFD_USER_MODE_ONLY
        ["user-fault"] => opened(libc::SYS_userfaultfd, [1, 0, 0, 0, 0]),
        ["make-ring"] => make_ring(),
        // A loader's way to run a file: nobody executes it.
        ["map-code", path] => map_code(path, libc::PROT_READ | libc::PROT_EXEC),
        ["map-code-in-steps", path] => map_code(path, libc::PROT_READ),
        ["type"] => type_into_terminal(),
        ["socket", "raw"] => socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP),
        ["socket", "raw6"] => socket(libc::AF_INET6, libc::SOCK_RAW, libc::IPPROTO_ICMPV6),
        ["socket", "packet"] => socket(libc::AF_PACKET, libc::SOCK_DGRAM, 0),
        ["socket", "vsock"] => socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0),
        ["socket", "sctp"] => socket(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_SCTP),
        ["socket", "tcp"] => socket(libc::AF_INET, libc::SOCK_STREAM, 0),
        ["socket", "udp"] => socket(libc::AF_INET6, libc::SOCK_DGRAM, libc::IPPROTO_UDP),
        ["socket", "udplite"] => socket(libc::AF_INET, libc::SOCK_DGRAM, libc::IPPROTO_UDPLITE),
        ["socket", "netlink"] => socket(libc::AF_NETLINK, libc::SOCK_RAW, 0),
        _ => return None,
    })
}
