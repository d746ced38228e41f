//! Owns the private apt: package lists and downloads under `target/vm/apt`, so that the machine's own set-up stays as it is.
//!
//! Must not know what the packages are for. No mirror is named here: the machine's own configuration says where its archive is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::paths;
use crate::process::Run as _;

/// The release whose packages the guests are made of.
pub(crate) const RELEASE: &str = "bookworm";
/// Where QEMU 10 and kernel 6.12 are.
pub(crate) const BACKPORTS: &str = "bookworm-backports";
/// Where kernel 7.2 is.
pub(crate) const NEXT_BACKPORTS: &str = "trixie-backports";

/// What Debian signs its archive with.
pub(crate) const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Lists older than this may name files that the mirror no longer has.
const LISTS_ARE_FRESH: Duration = Duration::from_secs(3600);

/// The machine's own Debian mirrors.
#[derive(Debug, PartialEq, Eq)]
struct Mirrors {
    archive: String,
    security: Option<String>,
}

/// An apt that reads and writes only its own directories.
pub(crate) struct Apt {
    configuration: PathBuf,
}

impl Apt {
    /// Opens the private apt, with lists that are at most an hour old.
    pub(crate) fn open() -> Result<Self> {
        let base = paths::vm("apt")?;
        let base = base.canonicalize().context("cannot resolve `target/vm/apt`")?;
        for directory in ["lists/partial", "cache/archives/partial"] {
            paths::create(&base.join(directory))?;
        }
        let apt = Self { configuration: base.join("apt.conf") };
        let sources = sources(&Mirrors::of_this_machine()?);
        let stamp = base.join("updated");
        if is_fresh(&stamp) && fs::read(&stamp).is_ok_and(|of| of == sources.as_bytes()) {
            return Ok(apt);
        }
        paths::write(base.join("sources.list"), &sources)?;
        paths::write(&apt.configuration, configuration(&base))?;
        println!("setup: reading the package lists of {RELEASE}, {BACKPORTS} and {NEXT_BACKPORTS}");
        apt.command("apt-get").args(["-qq", "update"]).run()?;
        paths::write(stamp, sources)?;
        Ok(apt)
    }

    /// Returns an apt program that uses this configuration.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-c").arg(&self.configuration).env("DEBIAN_FRONTEND", "noninteractive");
        command
    }

    /// Returns the names of all packages that begin so.
    pub(crate) fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let names = self.command("apt-cache").args(["pkgnames", prefix]).read()?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// Returns the names of the packages that `package` depends on.
    pub(crate) fn depends(&self, package: &str) -> Result<Vec<String>> {
        let record = self.command("apt-cache").args(["show", "--no-all-versions", package]).read()?;
        Ok(dependencies(&record))
    }

    /// Returns the source lines of the stable release and its security updates.
    pub(crate) fn stable_sources(&self) -> Result<Vec<String>> {
        let list = fs::read_to_string(self.configuration.with_file_name("sources.list"))?;
        Ok(list.lines().filter(|line| !line.contains("backports")).map(str::to_owned).collect())
    }

    /// Downloads packages and unpacks them below `into`.
    pub(crate) fn unpack(&self, packages: &[String], into: &Path) -> Result<()> {
        let scratch = into.join("debs");
        paths::create(&scratch)?;
        self.command("apt-get").args(["-qq", "download"]).args(packages).current_dir(&scratch).run()?;
        for deb in fs::read_dir(&scratch)? {
            Command::new("dpkg-deb").arg("-x").arg(deb?.path()).arg(into).run()?;
        }
        fs::remove_dir_all(&scratch)?;
        Ok(())
    }
}

impl Mirrors {
    fn of_this_machine() -> Result<Self> {
        let targets = Command::new("apt-get").args(["indextargets", "--format", "$(REPO_URI) $(LABEL)"]).read()?;
        Self::parse(&targets)
            .context("this machine's apt knows no Debian archive: run `apt-get update` as root, on a Debian machine")
    }

    /// Reads lines of `URI LABEL`. The label, signed by the archive, tells Debian's own from a third party's.
    fn parse(targets: &str) -> Option<Self> {
        let labelled = |label: &str| {
            let mut pairs = targets.lines().filter_map(|line| line.trim().split_once(' '));
            pairs.find(|(_, of)| *of == label).map(|(uri, _)| uri.to_owned())
        };
        Some(Self { archive: labelled("Debian")?, security: labelled("Debian-Security") })
    }
}

fn sources(mirrors: &Mirrors) -> String {
    let source = |uri: &str, release: &str| format!("deb [signed-by={KEYRING}] {uri} {release} main\n");
    let mut list: String =
        [RELEASE, BACKPORTS, NEXT_BACKPORTS].iter().map(|release| source(&mirrors.archive, release)).collect();
    if let Some(uri) = &mirrors.security {
        list += &source(uri, &format!("{RELEASE}-security"));
    }
    list
}

/// Read after the machine's own configuration: keeps its proxies, replaces its places.
fn configuration(base: &Path) -> String {
    let base = base.display();
    // Debian's container images empty the *machine's* package cache after each apt run: that would break an
    // apt that runs beside this one. As root, apt would also drop to a user who may not enter the checkout.
    format!(
        "#clear APT::Update::Post-Invoke;\n\
         #clear APT::Update::Post-Invoke-Success;\n\
         #clear DPkg::Post-Invoke;\n\
         APT::Sandbox::User \"root\";\n\
         Acquire::Languages \"none\";\n\
         Dir::Etc::sourcelist \"{base}/sources.list\";\n\
         Dir::Etc::sourceparts \"/dev/null\";\n\
         Dir::State::lists \"{base}/lists\";\n\
         Dir::Cache \"{base}/cache\";\n"
    )
}

fn is_fresh(stamp: &Path) -> bool {
    let age = || fs::metadata(stamp).ok()?.modified().ok()?.elapsed().ok();
    age().is_some_and(|age| age < LISTS_ARE_FRESH)
}

/// Reads the package names out of a record's `Depends` line; of alternatives, the first.
fn dependencies(record: &str) -> Vec<String> {
    let depends = record.lines().find_map(|line| line.strip_prefix("Depends: ")).unwrap_or_default();
    depends
        .split(", ")
        .filter_map(|dependency| dependency.split([' ', ':']).next())
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Mirrors, dependencies, sources};

    #[test]
    fn mirrors_are_those_of_the_machine() {
        let targets = "http://third.test/apt Third\nhttp://s.test/sec/ Debian-Security\nhttp://a.test/d/ Debian\n";
        let mirrors = Mirrors::parse(targets).unwrap();
        assert_eq!(mirrors.archive, "http://a.test/d/");
        assert_eq!(mirrors.security.as_deref(), Some("http://s.test/sec/"));
        assert_eq!(sources(&mirrors).lines().count(), 4);
    }

    #[test]
    fn a_machine_without_debian_lists_has_no_mirror() {
        assert_eq!(Mirrors::parse(""), None);
        assert_eq!(Mirrors::parse("http://u.test/ubuntu Ubuntu\n"), None);
    }

    #[test]
    fn dependencies_lose_their_versions_and_alternatives() {
        let record = "Package: x\nDepends: a (= 1.2), b | c, d:any\nRecommends: e\n";
        assert_eq!(dependencies(record), ["a", "b", "d"]);
        assert!(dependencies("Package: x\n").is_empty());
    }
}
