//! A session's cgroup (v2): to freeze, thaw and kill a tree as a whole. Who is guarded is decided by tags, not here.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Why a cgroup could not be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {act} cgroup {}: {source}", path.display())]
pub struct Failure {
    act: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// A cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    path: PathBuf,
}

/// The root of all cgroups that this process sees.
///
/// # Errors
/// No cgroup2 file system is mounted, or it cannot be opened.
pub fn root() -> io::Result<File> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let mounted = |line: &str| {
        let mut fields = line.split(' ');
        let (_, place, kind) = (fields.next()?, fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(place))
    };
    let place = mounts.lines().find_map(mounted).ok_or(io::ErrorKind::NotFound)?;
    File::open(place)
}

impl Cgroup {
    /// Creates a cgroup below the parent of all sessions, which is created too.
    pub fn create(parent: &Path, name: &str) -> Result<Self, Failure> {
        Self::make(parent.join(name))
    }

    fn make(path: PathBuf) -> Result<Self, Failure> {
        fs::create_dir_all(&path).map_err(|source| Failure { act: "create", path: path.clone(), source })?;
        let cgroup = Self { path };
        // A directory on another file system would be created too, but has none of these files.
        match cgroup.path.join("cgroup.procs").exists() {
            true => Ok(cgroup),
            false => Err(cgroup.failure("find cgroup.procs in", io::ErrorKind::NotFound.into())),
        }
    }

    /// A cgroup that exists already.
    #[must_use]
    pub fn existing(path: PathBuf) -> Self {
        Self { path }
    }

    /// Its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Moves a process into it.
    pub fn add(&self, pid: u32) -> Result<(), Failure> {
        self.write("add a process to", "cgroup.procs", &pid.to_string())
    }

    /// Stops everything in it, whatever it is doing.
    pub fn freeze(&self) -> Result<(), Failure> {
        self.write("freeze", "cgroup.freeze", "1")
    }

    /// Whether everything in it has stopped.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        let events = fs::read_to_string(self.path.join("cgroup.events"));
        events.is_ok_and(|events| events.lines().any(|line| line == "frozen 1"))
    }

    /// Lets everything in it go on.
    pub fn thaw(&self) -> Result<(), Failure> {
        self.write("thaw", "cgroup.freeze", "0")
    }

    /// Kills everything in it, frozen or not.
    pub fn kill(&self) -> Result<(), Failure> {
        self.write("kill", "cgroup.kill", "1")
    }

    /// The processes in it and in the cgroups below: a session may have made some.
    pub fn pids(&self) -> Result<Vec<u32>, Failure> {
        let mut pids = Vec::new();
        collect(&self.path, &mut pids).map_err(|source| self.failure("read", source))?;
        Ok(pids)
    }

    /// The processes that being frozen stops: all in it, or none where it is not frozen.
    pub fn frozen_pids(&self) -> Result<Vec<u32>, Failure> {
        let frozen = fs::read_to_string(self.path.join("cgroup.freeze"));
        let frozen = frozen.map_err(|source| self.failure("read cgroup.freeze of", source))?;
        if frozen.trim() == "1" { self.pids() } else { Ok(Vec::new()) }
    }

    /// Removes it, with those below; it must be empty.
    pub fn remove(&self) -> Result<(), Failure> {
        remove_tree(&self.path).map_err(|source| self.failure("remove", source))
    }

    fn write(&self, act: &'static str, file: &str, text: &str) -> Result<(), Failure> {
        // Not created when it is not there: only the kernel makes such files.
        let written = fs::OpenOptions::new().write(true).open(self.path.join(file)).and_then(|mut file| {
            use io::Write as _;
            file.write_all(text.as_bytes())
        });
        written.map_err(|source| self.failure(act, source))
    }

    fn failure(&self, act: &'static str, source: io::Error) -> Failure {
        Failure { act, path: self.path.clone(), source }
    }
}

/// Creates the parent of all sessions, and names the cgroups that it has already.
pub fn prepare(parent: &Path) -> Result<Vec<String>, Failure> {
    let cgroup = Cgroup::make(parent.to_owned())?;
    let found = directories(parent).map_err(|source| cgroup.failure("list", source))?;
    Ok(found.iter().filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
}

fn collect(path: &Path, pids: &mut Vec<u32>) -> io::Result<()> {
    let text = fs::read_to_string(path.join("cgroup.procs"))?;
    pids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
    for below in directories(path)? {
        collect(&below, pids)?;
    }
    Ok(())
}

fn remove_tree(path: &Path) -> io::Result<()> {
    let below = match directories(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for directory in below {
        remove_tree(&directory)?;
    }
    fs::remove_dir(path)
}

fn directories(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::Cgroup;

    /// A directory with the files that the kernel would make.
    fn pretend(root: &std::path::Path) -> Cgroup {
        for (place, pids) in [("s", "10\n11\n"), ("s/inner", "12\n")] {
            fs::create_dir(root.join(place)).expect("creates");
            fs::write(root.join(place).join("cgroup.procs"), pids).expect("writes");
        }
        for file in ["cgroup.freeze", "cgroup.kill"] {
            fs::write(root.join("s").join(file), "").expect("writes");
        }
        Cgroup::create(root, "s").expect("finds it")
    }

    #[test]
    fn processes_of_inner_cgroups_are_found() {
        let root = tempfile::tempdir().expect("a directory");
        assert_eq!(pretend(root.path()).pids().ok(), Some(vec![10, 11, 12]));
    }

    #[test]
    fn each_act_writes_its_file() {
        let root = tempfile::tempdir().expect("a directory");
        let cgroup = pretend(root.path());
        let read = |file: &str| fs::read_to_string(cgroup.path().join(file)).expect("is there");
        cgroup.freeze().expect("freezes");
        assert_eq!(read("cgroup.freeze"), "1");
        assert_eq!(cgroup.frozen_pids().ok(), Some(vec![10, 11, 12]));
        cgroup.thaw().expect("thaws");
        assert_eq!(read("cgroup.freeze"), "0");
        assert_eq!(cgroup.frozen_pids().ok(), Some(Vec::new()));
        cgroup.kill().expect("kills");
        assert_eq!(read("cgroup.kill"), "1");
    }

    #[test]
    fn a_directory_that_is_no_cgroup_is_refused_by_name() {
        let root = tempfile::tempdir().expect("a directory");
        let failure = Cgroup::create(root.path(), "s").expect_err("is no cgroup");
        assert!(failure.to_string().starts_with("cannot find cgroup.procs in cgroup /"), "{failure}");
    }

    #[test]
    fn what_is_gone_is_removed_already() {
        let root = tempfile::tempdir().expect("a directory");
        assert!(Cgroup::existing(root.path().join("none")).remove().is_ok());
    }
}
