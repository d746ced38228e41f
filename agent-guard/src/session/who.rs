//! Who acts: what an approver wants to know of a process. Nothing here decides anything, as a process can lie about
//! its arguments, its name and its directory.

use super::act::{Ancestor, Who};
use crate::system::proc;
use crate::text;

/// Ancestors that are listed.
const ANCESTORS: usize = 16;
/// Bytes of arguments that are kept: of the process that asks, and of each ancestor.
const OWN_BYTES: usize = 8192;
const ANCESTOR_BYTES: usize = 256;
/// Stands behind arguments that were cut.
const CUT: &str = "[...]";
/// First and last major number of pseudo terminals.
const PTS: std::ops::RangeInclusive<u32> = 136..=143;

/// Who acts, as far as the kernel's event says.
#[must_use]
pub const fn plain(pid: u32, tid: u32, uid: u32, comm: String) -> Who {
    Who { pid, tid, started: None, uid, comm, argv: Vec::new(), exe: None, cwd: None, tty: None, ancestry: Vec::new() }
}

/// Adds what `/proc` says; `root` is the session's first process. A process that is gone stays as it was.
#[must_use]
pub fn describe(who: Who, root: u32) -> Who {
    let Ok(stat) = proc::stat(who.pid) else { return who };
    let shown = |path: std::path::PathBuf| text::from_bytes(path.as_os_str().as_encoded_bytes());
    Who {
        started: Some(stat.started),
        argv: cmdline(who.pid, OWN_BYTES),
        exe: proc::exe(who.pid).ok().map(shown),
        cwd: proc::cwd(who.pid).ok().map(shown),
        tty: terminal(stat.tty),
        ancestry: ancestry(who.pid, stat.ppid, root),
        ..who
    }
}

/// From the parent up to the session's root; of an orphan, up to whoever took it in.
fn ancestry(pid: u32, parent: u32, root: u32) -> Vec<Ancestor> {
    let mut ancestors = Vec::new();
    let (mut last, mut next) = (pid, parent);
    while last != root && next > 1 && ancestors.len() < ANCESTORS {
        let Ok(stat) = proc::stat(next) else { break };
        ancestors.push(Ancestor { pid: next, comm: text::from_bytes(&stat.comm), argv: cmdline(next, ANCESTOR_BYTES) });
        (last, next) = (next, stat.ppid);
    }
    ancestors
}

fn cmdline(pid: u32, limit: usize) -> Vec<String> {
    // One byte more shows that there are more.
    shorten(&proc::cmdline(pid, limit as u64 + 1).unwrap_or_default(), limit).0
}

/// As much of an argument vector as is kept of the process that asks, and whether that is less than all.
#[must_use]
pub fn arguments(words: &[Vec<u8>]) -> (Vec<String>, bool) {
    shorten(words, OWN_BYTES)
}

fn shorten(words: &[Vec<u8>], limit: usize) -> (Vec<String>, bool) {
    let mut room = limit;
    let mut kept = Vec::new();
    for word in words {
        let Some(left) = room.checked_sub(word.len() + 1) else {
            kept.extend([text::from_bytes(&word[..word.len().min(room)]), CUT.to_owned()]);
            return (kept, true);
        };
        kept.push(text::from_bytes(word));
        room = left;
    }
    (kept, false)
}

/// The name of a terminal, from the number in `/proc/PID/stat`: minor in bits 0 to 7 and 20 to 31, major between.
fn terminal(number: i32) -> Option<String> {
    let number = number.cast_unsigned();
    let (major, minor) = (number >> 8 & 0xfff, number & 0xff | number >> 12 & 0xf_ff00);
    match (major, minor) {
        (0, 0) => None,
        (4, 0..64) => Some(format!("tty{minor}")),
        (4, _) => Some(format!("ttyS{}", minor - 64)),
        _ if PTS.contains(&major) => Some(format!("pts/{}", (major - PTS.start()) << 20 | minor)),
        _ => Some(format!("{major}:{minor}")),
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::{arguments, describe, plain, shorten, terminal};

    #[test]
    fn a_child_is_described_with_its_way_up_to_the_root() {
        let own = std::process::id();
        // The second command keeps the shell from replacing itself.
        let mut shell = Command::new("sh")
            .args(["-c", "sleep 30 & echo $!; wait; true"])
            .current_dir("/tmp")
            .stdout(Stdio::piped())
            .spawn()
            .expect("runs");
        let mut line = String::new();
        let output = shell.stdout.take().expect("is piped");
        std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line).expect("prints");
        let pid: u32 = line.trim().parse().expect("a pid");
        let argv = |who: &super::Who| who.argv.clone();
        let mut who = describe(plain(pid, pid, 0, "sleep".to_owned()), own);
        while argv(&who) != ["sleep", "30"] {
            std::thread::yield_now(); // until the fork has executed its command
            who = describe(plain(pid, pid, 0, "sleep".to_owned()), own);
        }
        let ancestors: Vec<u32> = who.ancestry.iter().map(|ancestor| ancestor.pid).collect();
        assert_eq!(ancestors, [shell.id(), own]);
        assert_eq!(who.ancestry[0].argv[..2], ["sh", "-c"]);
        assert_eq!(who.cwd.as_deref(), Some("/tmp"));
        assert!(who.exe.is_some_and(|exe| exe.starts_with('/')) && who.started.is_some());
        crate::system::signal::kill_process(pid).expect("is killed");
        shell.wait().expect("ends");
    }

    #[test]
    fn what_is_kept_of_arguments_has_a_limit() {
        let words: Vec<Vec<u8>> = [&b"ab"[..], b"", b"cdef"].map(<[u8]>::to_vec).into();
        let all = ["ab", "", "cdef"].map(str::to_owned).to_vec();
        assert_eq!(shorten(&words, 9), (all, false));
        assert_eq!(shorten(&words, 8), (["ab", "", "cdef", "[...]"].map(str::to_owned).to_vec(), true));
        assert_eq!(shorten(&words, 6), (["ab", "", "cd", "[...]"].map(str::to_owned).to_vec(), true));
        let many = vec![Vec::new(); 200_000];
        let (kept, cut) = arguments(&many);
        assert!(cut && kept.len() < 10_000);
    }

    #[test]
    fn the_root_has_no_ancestors() {
        let own = std::process::id();
        assert!(describe(plain(own, own, 0, String::new()), own).ancestry.is_empty());
    }

    #[test]
    fn a_process_that_is_gone_stays_plain() {
        let gone = plain(u32::MAX, u32::MAX, 7, "rm".to_owned());
        assert_eq!(describe(gone.clone(), 1), gone);
    }

    #[test]
    fn terminals_have_names() {
        let expected = [
            (0, None),
            (34816, Some("pts/0")),
            (0x0410, Some("tty16")),
            (0x0440, Some("ttyS0")),
            (0x0501, Some("5:1")),
        ];
        for (number, name) in expected {
            assert_eq!(terminal(number).as_deref(), name, "{number}");
        }
        assert_eq!(terminal(0x0010_8803).as_deref(), Some("pts/259"));
    }
}
