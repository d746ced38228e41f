//! What a thread held in `execve` is about to execute, read out of its own memory.
//!
//! `/proc/PID/cmdline` still shows the old image while the call is held. The memory may change before the call is
//! restarted: whoever approves what is read here has the kernel compare it with what was really executed.

use std::ffi::c_ulong;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;

use agent_guard_common::limits::ARGV_BYTES;

/// Bytes of `argv[0]`, which is not verified, beyond those of the rest.
const NAME_BYTES: usize = 4096;
/// Words that are read: each takes at least its NUL.
const WORDS: usize = ARGV_BYTES + 1;
/// Variables that are looked at.
const VARIABLES: u64 = 4096;
/// Bytes that are read at one time: never across a page that may not be there.
const CHUNK: u64 = 256;

/// What a thread is about to execute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The path that it named; empty where it named a descriptor.
    pub path: Vec<u8>,
    /// The arguments, `argv[0]` first.
    pub argv: Vec<Vec<u8>>,
}

/// Why a command could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The thread's call or memory could not be read.
    #[error("cannot read {what} of the held thread: {source}")]
    Read {
        /// What.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The thread is not in a system call that executes anything.
    #[error("the thread is not held in execve")]
    NotHeld,
    /// The arguments are longer than what can be verified.
    #[error("its arguments are longer than {ARGV_BYTES} bytes and cannot be verified")]
    TooLong,
}

/// How a call passes its path and arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Call {
    path: u64,
    argv: u64,
    environment: u64,
    /// Bytes of a pointer in the vector.
    width: u64,
}

/// Reads the command of a thread that is held in `execve` or `execveat`.
pub fn command(tgid: u32, tid: u32) -> Result<Command, Failure> {
    let text = fs::read_to_string(format!("/proc/{tgid}/task/{tid}/syscall"))
        .map_err(|source| Failure::Read { what: "the system call", source })?;
    let call = parse_call(&text).ok_or(Failure::NotHeld)?;
    let memory =
        File::open(format!("/proc/{tgid}/mem")).map_err(|source| Failure::Read { what: "the memory", source })?;
    read_command(&memory, call)
}

/// A variable that a held thread passes to what it is about to execute, of at most `room` bytes; none where there is no
/// such one, or it cannot be read.
#[must_use]
pub fn variable(tgid: u32, tid: u32, name: &[u8], room: usize) -> Option<Vec<u8>> {
    let call = parse_call(&fs::read_to_string(format!("/proc/{tgid}/task/{tid}/syscall")).ok()?)?;
    let memory = File::open(format!("/proc/{tgid}/mem")).ok()?;
    find_variable(&memory, call, name, room)
}

fn find_variable(memory: &File, call: Call, name: &[u8], room: usize) -> Option<Vec<u8>> {
    if call.environment == 0 {
        return None;
    }
    for index in 0..VARIABLES {
        let pointer = read_pointer(memory, call.environment.wrapping_add(index * call.width), call.width).ok()?;
        if pointer == 0 {
            return None;
        }
        let mut head = vec![0; name.len() + 1];
        // One that is shorter than the name, at the end of what there is, is another one.
        if memory.read_exact_at(&mut head, pointer).is_ok() && head.strip_prefix(name) == Some(b"=") {
            return read_string(memory, pointer.wrapping_add(head.len() as u64), room).ok()?;
        }
    }
    None
}

/// A thread that runs shows no call: it has not stopped yet, or was woken by somebody else.
fn parse_call(text: &str) -> Option<Call> {
    let mut fields = text.split_ascii_whitespace();
    let number: u64 = fields.next()?.parse().ok()?;
    let arguments: Vec<u64> =
        fields.take(4).map_while(|field| u64::from_str_radix(field.strip_prefix("0x")?, 16).ok()).collect();
    let [first, second, third, fourth] = arguments[..] else { return None };
    // x86-64, 32-bit and x32 (bit 30) numbers: `execve` has its vector second, `execveat` third, and the environment
    // behind it.
    const X32: u64 = 1 << 30;
    const X32_EXECVE: u64 = X32 | 520;
    const X32_EXECVEAT: u64 = X32 | 545;
    let (path, argv, environment, width) = match number {
        59 => (first, second, third, 8),
        322 => (second, third, fourth, 8),
        11 | X32_EXECVE => (first, second, third, 4),
        358 | X32_EXECVEAT => (second, third, fourth, 4),
        _ => return None,
    };
    Some(Call { path, argv, environment, width })
}

fn read_command(memory: &File, call: Call) -> Result<Command, Failure> {
    let mut budget = ARGV_BYTES;
    let mut argv: Vec<Vec<u8>> = Vec::new();
    // A null vector is an empty one.
    for index in 0..if call.argv == 0 { 0 } else { WORDS as u64 } {
        let pointer = read_pointer(memory, call.argv.wrapping_add(index * call.width), call.width)?;
        if pointer == 0 {
            let path = read_string(memory, call.path, NAME_BYTES)?.ok_or(Failure::TooLong)?;
            return Ok(Command { path, argv });
        }
        let room = if argv.is_empty() { NAME_BYTES } else { budget };
        let word = read_string(memory, pointer, room)?.ok_or(Failure::TooLong)?;
        if !argv.is_empty() {
            budget -= word.len() + 1;
        }
        argv.push(word);
    }
    if call.argv == 0 {
        let path = read_string(memory, call.path, NAME_BYTES)?.ok_or(Failure::TooLong)?;
        return Ok(Command { path, argv });
    }
    Err(Failure::TooLong)
}

fn read_pointer(memory: &File, at: u64, width: u64) -> Result<u64, Failure> {
    let mut bytes = [0; size_of::<c_ulong>()];
    let wanted = if width == 4 { &mut bytes[..4] } else { &mut bytes[..] };
    memory.read_exact_at(wanted, at).map_err(|source| Failure::Read { what: "the argument vector", source })?;
    Ok(u64::from_le_bytes(bytes))
}

/// A string that with its NUL fits into `room` bytes; none when it does not.
fn read_string(memory: &File, at: u64, room: usize) -> Result<Option<Vec<u8>>, Failure> {
    let mut string = Vec::new();
    let mut at = at;
    while string.len() < room {
        let mut chunk = [0; CHUNK as usize];
        // Up to the next multiple of the chunk, so that no read crosses into the next page.
        let wanted = usize::try_from(CHUNK - at % CHUNK).unwrap_or(1);
        memory
            .read_exact_at(&mut chunk[..wanted], at)
            .map_err(|source| Failure::Read { what: "an argument", source })?;
        if let Some(end) = chunk[..wanted].iter().position(|byte| *byte == 0) {
            string.extend_from_slice(&chunk[..end]);
            return Ok((string.len() < room).then_some(string));
        }
        string.extend_from_slice(&chunk[..wanted]);
        at = at.wrapping_add(wanted as u64);
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write as _;

    use agent_guard_common::limits::ARGV_BYTES;

    use super::{Call, Command, Failure, find_variable, parse_call, read_command};

    const BASE: usize = 0x100;

    /// A file in the place of a process' memory: the path at 8, the vector at [`BASE`], the words behind it.
    fn memory(words: &[Vec<u8>], width: usize) -> (File, Call) {
        let mut bytes = vec![0; BASE];
        bytes[8..16].copy_from_slice(b"/bin/rm\0");
        let mut at = BASE + (words.len() + 1) * width;
        for word in words {
            bytes.extend_from_slice(&at.to_le_bytes()[..width]);
            at += word.len() + 1;
        }
        bytes.extend(vec![0; width]);
        for word in words {
            bytes.extend_from_slice(word);
            bytes.push(0);
        }
        bytes.resize(bytes.len() + 512, 0);
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(&bytes).expect("is written");
        (file, Call { path: 8, argv: BASE as u64, environment: BASE as u64, width: width as u64 })
    }

    fn words(texts: &[&str]) -> Vec<Vec<u8>> {
        texts.iter().map(|text| text.as_bytes().to_vec()).collect()
    }

    #[test]
    fn each_way_to_execute_has_its_registers() {
        let call = |path, argv, width| Some(Call { path, argv, environment: argv + 1, width });
        let line = |number: u64| format!("{number} 0x1 0x2 0x3 0x4 0x5 0x6 0x7ffe 0x7f00\n");
        assert_eq!(parse_call(&line(59)), call(1, 2, 8));
        assert_eq!(parse_call(&line(322)), call(2, 3, 8));
        assert_eq!(parse_call(&line(11)), call(1, 2, 4));
        assert_eq!(parse_call(&line(358)), call(2, 3, 4));
        assert_eq!(parse_call(&line(0x4000_0000 + 520)), call(1, 2, 4));
    }

    #[test]
    fn a_thread_that_runs_or_is_elsewhere_is_not_held() {
        for text in
            ["running\n", "", "-1 0x7ffe 0x7f00\n", "87 0x1 0x2 0x3 0x4 0x5 0x6 0x7 0x8\n", "59 0x1\n", "59 1 2 3"]
        {
            assert_eq!(parse_call(text), None, "{text}");
        }
    }

    #[test]
    fn arguments_are_read_with_wide_and_narrow_pointers() {
        let argv = words(&["rm", "-rf", "", "a b"]);
        for width in [4, 8] {
            let (file, call) = memory(&argv, width);
            let expected = Command { path: b"/bin/rm".to_vec(), argv: argv.clone() };
            assert_eq!(read_command(&file, call).ok(), Some(expected), "width {width}");
        }
    }

    #[test]
    fn a_variable_is_found_by_its_whole_name() {
        for width in [4, 8] {
            let (file, call) = memory(&words(&["PATH=/bin", "WHY", "WHYNOT=x", "WHY=it is a copy", "Z="]), width);
            let found = |name: &[u8], room| find_variable(&file, call, name, room);
            assert_eq!(found(b"WHY", 64).as_deref(), Some(&b"it is a copy"[..]));
            assert_eq!((found(b"WHY", 5), found(b"HOW", 64)), (None, None), "too long, and not there");
            assert_eq!(found(b"Z", 64).as_deref(), Some(&b""[..]));
            assert_eq!(find_variable(&file, Call { environment: 0, ..call }, b"WHY", 64), None);
        }
    }

    #[test]
    fn a_null_vector_is_an_empty_one() {
        let (file, call) = memory(&[], 8);
        let command = read_command(&file, Call { argv: 0, ..call }).expect("is read");
        assert!(command.argv.is_empty());
    }

    #[test]
    fn arguments_up_to_the_limit_are_read_and_longer_ones_are_not() {
        let with = |length: usize| memory(&[b"sh".to_vec(), vec![b'x'; length - 1]], 8);
        let (file, call) = with(ARGV_BYTES);
        assert!(read_command(&file, call).is_ok());
        let (file, call) = with(ARGV_BYTES + 1);
        assert!(matches!(read_command(&file, call), Err(Failure::TooLong)));
        let (file, call) = memory(&vec![Vec::new(); ARGV_BYTES + 2], 8);
        assert!(matches!(read_command(&file, call), Err(Failure::TooLong)));
    }

    #[test]
    fn a_pointer_into_nothing_is_an_error() {
        let (file, call) = memory(&words(&["rm"]), 8);
        assert!(matches!(read_command(&file, Call { argv: 1 << 40, ..call }), Err(Failure::Read { .. })));
    }
}
