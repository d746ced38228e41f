//! Who acts: what an approver wants to know of a process. Nothing here decides anything, as a process can lie about
//! its arguments, its name and its directory.

use super::act::{Ancestor, Who};
use crate::system::proc;
use crate::text;

/// How much of an argument vector is kept, as it is shown. Words count as well: an empty one costs more than none.
#[derive(Clone, Copy)]
struct Limit {
    bytes: usize,
    words: usize,
}

/// Of a process that asks: there may be thousands of them.
const OWN: Limit = Limit { bytes: 4096, words: 256 };
/// Of each ancestor.
const ANCESTOR: Limit = Limit { bytes: 256, words: 16 };
/// Of what a session's keeper says that it starts.
const STARTED: Limit = Limit { bytes: 8192, words: 512 };
/// Ancestors that are listed.
const ANCESTORS: usize = 16;
/// Bytes of a program's and a directory's path that are kept of a process that asks.
const PATH_BYTES: usize = 1024;
/// Bytes of the directory that a session is started in.
const DIRECTORY_BYTES: usize = 4096;
/// Stands behind what was cut.
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
    let shown = |path: std::path::PathBuf| cut(text::from_bytes(path.as_os_str().as_encoded_bytes()), PATH_BYTES);
    Who {
        started: Some(stat.started),
        argv: cmdline(who.pid, OWN),
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
        ancestors.push(Ancestor { pid: next, comm: text::from_bytes(&stat.comm), argv: cmdline(next, ANCESTOR) });
        (last, next) = (next, stat.ppid);
    }
    ancestors
}

fn cmdline(pid: u32, limit: Limit) -> Vec<String> {
    // One byte more shows that there are more.
    shorten(&proc::cmdline(pid, limit.bytes as u64 + 1).unwrap_or_default(), limit).0
}

/// As much of an argument vector as is kept of the process that asks, and whether that is less than all.
#[must_use]
pub fn arguments(words: &[Vec<u8>]) -> (Vec<String>, bool) {
    shorten(words, OWN)
}

/// As much as is kept of what a keeper says that it starts, and where.
#[must_use]
pub fn started(argv: Vec<String>, cwd: String) -> (Vec<String>, String) {
    let words: Vec<Vec<u8>> = argv.into_iter().map(String::into_bytes).collect();
    (shorten(&words, STARTED).0, cut(cwd, DIRECTORY_BYTES))
}

fn shorten(words: &[Vec<u8>], limit: Limit) -> (Vec<String>, bool) {
    let mut room = limit.bytes;
    let mut kept = Vec::new();
    for word in words.iter().take(limit.words) {
        // Nothing gets shorter by being shown, so no more of the word than this can be kept.
        let mut shown = text::from_bytes(&word[..word.len().min(room)]);
        let Some(left) = room.checked_sub(shown.len() + 1) else {
            shown.truncate(shown.floor_char_boundary(room));
            kept.extend([shown, CUT.to_owned()]);
            return (kept, true);
        };
        kept.push(shown);
        room = left;
    }
    let more = words.len() > limit.words;
    kept.extend(more.then(|| CUT.to_owned()));
    (kept, more)
}

/// A text, or the beginning of one that is longer than so many bytes.
#[must_use]
pub fn cut(mut text: String, bytes: usize) -> String {
    if text.len() > bytes {
        text.truncate(text.floor_char_boundary(bytes));
        text.push_str(CUT);
    }
    text
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

    use super::{Limit, OWN, STARTED, arguments, cut, describe, plain, shorten, started, terminal};
    use crate::system::{process, signal};

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
        signal::send(&process::open(pid).expect("lives"), signal::Signal::SIGKILL).expect("is killed");
        shell.wait().expect("ends");
    }

    fn words(words: &[&[u8]]) -> Vec<Vec<u8>> {
        words.iter().map(|word| word.to_vec()).collect()
    }

    #[test]
    fn what_is_kept_of_arguments_has_a_limit() {
        let given = words(&[b"ab", b"", b"cdef"]);
        let expected = [
            (9, 3, vec!["ab", "", "cdef"]),
            (8, 3, vec!["ab", "", "cdef", "[...]"]),
            (6, 3, vec!["ab", "", "cd", "[...]"]),
            (9, 2, vec!["ab", "", "[...]"]),
            (0, 3, vec!["", "[...]"]),
        ];
        for (bytes, words, kept) in expected {
            let (found, is_cut) = shorten(&given, Limit { bytes, words });
            assert_eq!(
                (found, is_cut),
                (kept.iter().map(|word| (*word).to_owned()).collect(), kept.contains(&"[...]"))
            );
        }
    }

    #[test]
    fn neither_empty_words_nor_bytes_that_are_shown_longer_get_past_the_limit() {
        let (kept, cut) = arguments(&vec![Vec::new(); 200_000]);
        assert!(cut && kept.len() == OWN.words + 1);
        let (kept, cut) = arguments(&[vec![0xff; 200_000]]);
        assert!(cut && kept.concat().len() <= OWN.bytes + 5, "{}", kept.concat().len());
        assert!(kept[0].starts_with("\\xff\\xff"));
    }

    #[test]
    fn what_a_keeper_says_is_cut_with_a_mark() {
        let (argv, cwd) = started(vec!["x".repeat(1 << 20), String::new()], "/ä".repeat(1 << 19));
        assert_eq!((argv[0].len(), argv[1].as_str()), (STARTED.bytes, "[...]"));
        assert!(cwd.ends_with("[...]") && cwd.len() <= 4096 + 5, "{}", cwd.len());
        let whole = (vec!["claude".to_owned()], "/home".to_owned());
        assert_eq!(started(whole.0.clone(), whole.1.clone()), whole);
        assert_eq!(cut("äb".to_owned(), 1), "[...]");
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
