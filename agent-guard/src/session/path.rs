//! From the kernel's idea of a path to a person's: names from a file system's root become a path that one can type.
//! It must not know how mount tables are read.

use std::sync::Arc;

use crate::text;

/// One line of a mount table.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mount {
    id: u32,
    dev: u32,
    /// What of the file system is mounted, as names.
    root: Vec<Vec<u8>>,
    /// Where.
    point: Vec<u8>,
}

/// A mount table: `/proc/PID/mountinfo`. Copies share it: each question that is being completed has one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mounts(Arc<[Mount]>);

/// A path to be shown.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// Device of its file system, major number in the upper 12 bits.
    pub dev: u32,
    /// Names from the file system's root.
    pub names: &'a [Vec<u8>],
    /// The first names are missing.
    pub cut: bool,
}

impl Mounts {
    /// Reads a table; lines that are not as expected are left out.
    #[must_use]
    pub fn parse(table: &[u8]) -> Self {
        Self(table.split(|byte| *byte == b'\n').filter_map(Mount::parse).collect())
    }

    /// The path of an object by the first of these tables that shows it; else with its device in front.
    #[must_use]
    pub fn path(tables: &[&Self], shown: Shown<'_>) -> String {
        let joined = |names: &[Vec<u8>]| names.iter().fold(Vec::new(), |path, name| [&path[..], b"/", name].concat());
        if shown.cut {
            return format!("[...]{}", text::from_bytes(&joined(shown.names)));
        }
        let found = tables.iter().find_map(|table| table.nearest(shown));
        let Some(mount) = found else {
            let (major, minor) = (shown.dev >> 20, shown.dev & 0xf_ffff);
            return format!("[device {major}:{minor}]{}", text::from_bytes(&joined(shown.names)));
        };
        let point = mount.point.strip_suffix(b"/").unwrap_or(&mount.point);
        let path = [point, &joined(&shown.names[mount.root.len()..])].concat();
        text::from_bytes(if path.is_empty() { b"/" } else { &path })
    }

    /// The mount that shows the object by the shortest way.
    fn nearest(&self, shown: Shown<'_>) -> Option<&Mount> {
        let shows = |mount: &&Mount| mount.dev == shown.dev && shown.names.starts_with(&mount.root);
        // Of equals, the first: bind mounts come after what they show.
        self.0.iter().filter(shows).rev().max_by_key(|mount| mount.root.len())
    }

    /// The device of a mount, as the kernel's super block has it.
    #[must_use]
    pub fn device(&self, id: u32) -> Option<u32> {
        self.0.iter().find(|mount| mount.id == id).map(|mount| mount.dev)
    }

    /// Places where something is mounted below a path, or on it, and its device.
    pub fn points_below(&self, path: &[u8]) -> impl Iterator<Item = (&[u8], u32)> {
        let below = move |mount: &&Mount| {
            let rest = mount.point.strip_prefix(path);
            rest.is_some_and(|rest| rest.is_empty() || path == b"/" || rest.starts_with(b"/"))
        };
        self.0.iter().filter(below).map(|mount| (&mount.point[..], mount.dev))
    }
}

impl Mount {
    /// `36 35 98:0 /root /point rw,noatime ...`; blanks inside stand as octal escapes.
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b' ');
        let number = |field: &[u8]| std::str::from_utf8(field).ok()?.parse::<u32>().ok();
        let id = number(fields.next()?)?;
        let device = fields.nth(1)?;
        let colon = device.iter().position(|byte| *byte == b':')?;
        let (major, minor) = (number(&device[..colon])?, number(&device[colon + 1..])?);
        let root = unescape(fields.next()?);
        let root = root.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect();
        let point = unescape(fields.next()?);
        Some(Self { id, dev: major << 20 | minor, root, point })
    }
}

/// Undoes the kernel's octal escapes, `\040` for a blank.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        let code = match rest {
            [b'\\', high @ b'0'..=b'3', middle @ b'0'..=b'7', low @ b'0'..=b'7', ..] => {
                Some((high - b'0') << 6 | (middle - b'0') << 3 | (low - b'0'))
            }
            _ => None,
        };
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &rest[4..] } else { tail };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::{Mounts, Shown, unescape};

    const TABLE: &[u8] = b"\
22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
23 22 0:21 / /proc rw - proc proc rw
40 22 8:2 / /srv rw shared:1 - ext4 /dev/sda2 rw
41 22 8:2 /prod /data/with\\040blank rw - ext4 /dev/sda2 rw
42 22 8:2 / /again rw - ext4 /dev/sda2 rw
43 22 0:50 /sub /volume rw - btrfs /dev/sda3 rw
not a line
";

    fn path(major: u32, minor: u32, path: &str) -> String {
        let names: Vec<Vec<u8>> = path.split('/').filter(|name| !name.is_empty()).map(|name| name.into()).collect();
        let shown = Shown { dev: major << 20 | minor, names: &names, cut: false };
        Mounts::path(&[&Mounts::parse(TABLE)], shown)
    }

    #[test]
    fn a_path_is_shown_where_its_file_system_is_mounted() {
        let expected = [
            ((8, 1, "/etc/passwd"), "/etc/passwd"),
            ((8, 1, "/"), "/"),
            ((8, 2, "/other/db"), "/srv/other/db"),
            ((8, 2, "/"), "/srv"),
            ((8, 2, "/prod/db"), "/data/with blank/db"),
            ((0, 50, "/sub/x"), "/volume/x"),
        ];
        for ((major, minor, inner), outer) in expected {
            assert_eq!(path(major, minor, inner), outer);
        }
    }

    #[test]
    fn what_is_mounted_nowhere_is_shown_with_its_device() {
        assert_eq!(path(9, 9, "/a"), "[device 9:9]/a");
        assert_eq!(path(0, 50, "/submarine"), "[device 0:50]/submarine");
    }

    #[test]
    fn a_path_without_its_beginning_says_so() {
        let names = [b"deep".to_vec(), b"er\xff".to_vec()];
        let shown = Shown { dev: 8 << 20 | 1, names: &names, cut: true };
        assert_eq!(Mounts::path(&[&Mounts::parse(TABLE)], shown), "[...]/deep/er\\xff");
    }

    #[test]
    fn the_first_table_that_shows_it_wins() {
        let own = Mounts::parse(b"1 0 8:1 / / rw - ext4 a rw");
        let other = Mounts::parse(b"1 0 8:1 / /elsewhere rw - ext4 a rw\n2 0 8:2 / /only rw - ext4 b rw");
        let names = [b"x".to_vec()];
        let show = |dev| Mounts::path(&[&own, &other], Shown { dev, names: &names, cut: false });
        assert_eq!(show(8 << 20 | 1), "/x");
        assert_eq!(show(8 << 20 | 2), "/only/x");
    }

    #[test]
    fn mounts_below_a_path_are_found_by_whole_names() {
        let table = Mounts::parse(TABLE);
        let below = |path: &str| table.points_below(path.as_bytes()).count();
        assert_eq!((below("/"), below("/srv"), below("/sr"), below("/data")), (6, 1, 0, 1));
        assert_eq!(table.points_below(b"/volume").next(), Some((&b"/volume"[..], 50)));
        assert_eq!(table.device(43), Some(50));
    }

    #[test]
    fn only_whole_octal_escapes_are_undone() {
        assert_eq!(unescape(b"a\\040b\\134\\011\\9\\04"), b"a b\\\t\\9\\04");
    }
}
