//! Owns the archive format that the kernel unpacks as its first file system: cpio, "newc".
//!
//! Must not know what a guest needs. The format: kernel, `Documentation/driver-api/early-userspace/buffer-format.rst`.

use std::collections::BTreeSet;

const MAGIC: &str = "070701";
const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

/// An archive that is being written. Paths have no leading slash.
#[derive(Debug, Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    directories: BTreeSet<String>,
    inode: u32,
}

impl Archive {
    /// Adds a directory, and its parents where they are missing.
    pub(crate) fn directory(&mut self, path: &str) {
        self.parents(path);
        if self.directories.insert(path.to_owned()) {
            self.entry(path, DIRECTORY | 0o755, (0, 0), &[]);
        }
    }

    /// Adds a regular file, and its parents where they are missing.
    pub(crate) fn file(&mut self, path: &str, mode: u32, contents: &[u8]) {
        self.parents(path);
        self.entry(path, FILE | mode, (0, 0), contents);
    }

    /// Adds a symbolic link, and its parents where they are missing.
    pub(crate) fn link(&mut self, path: &str, target: &str) {
        self.parents(path);
        self.entry(path, LINK | 0o777, (0, 0), target.as_bytes());
    }

    /// Adds a character device, and its parents where they are missing.
    pub(crate) fn device(&mut self, path: &str, mode: u32, number: (u32, u32)) {
        self.parents(path);
        self.entry(path, CHARACTER_DEVICE | mode, number, &[]);
    }

    /// Ends the archive.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn parents(&mut self, path: &str) {
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.directory(parent);
        }
    }

    fn entry(&mut self, path: &str, mode: u32, (major, minor): (u32, u32), contents: &[u8]) {
        self.inode += 1;
        let links = 1;
        let (owner, group, time, device, checksum) = (0, 0, 0, (0, 0), 0);
        let header = [
            self.inode,
            mode,
            owner,
            group,
            links,
            time,
            contents.len() as u32,
            device.0,
            device.1,
            major,
            minor,
            path.len() as u32 + 1,
            checksum,
        ];
        self.bytes.extend(MAGIC.bytes());
        for field in header {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(path.bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend(contents);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::Archive;

    /// Reads an archive back into (path, mode, contents).
    fn entries(mut bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut entries = Vec::new();
        loop {
            let field = |index: usize| {
                let digits = &bytes[6 + 8 * index..14 + 8 * index];
                usize::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap()
            };
            assert_eq!(&bytes[..6], b"070701");
            let (mode, size, name) = (field(1), field(6), field(11));
            let path = String::from_utf8(bytes[110..110 + name - 1].to_vec()).unwrap();
            let start = (110 + name).next_multiple_of(4);
            if path == "TRAILER!!!" {
                return entries;
            }
            entries.push((path, mode as u32, bytes[start..start + size].to_vec()));
            bytes = &bytes[(start + size).next_multiple_of(4)..];
        }
    }

    #[test]
    fn what_is_written_can_be_read_with_each_parent_once() {
        let mut archive = Archive::default();
        archive.file("usr/bin/a", 0o755, b"hello");
        archive.link("usr/bin/b", "a");
        archive.device("dev/console", 0o600, (5, 1));
        let entries = entries(&archive.finish());
        let paths: Vec<_> = entries.iter().map(|(path, ..)| path.as_str()).collect();
        assert_eq!(paths, ["usr", "usr/bin", "usr/bin/a", "usr/bin/b", "dev", "dev/console"]);
        assert_eq!(entries[2].1, 0o100_755);
        assert_eq!(entries[2].2, b"hello");
        assert_eq!(entries[3].2, b"a");
    }
}
