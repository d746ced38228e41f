//! What the daemon was told: what was typed and what the configuration file says become what it means, once.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::notify::{self, Hook};
use crate::system::paths;

/// What was typed.
#[derive(Clone, Debug)]
pub struct Flags {
    /// The configuration file; without one the usual place is looked at, and need not exist.
    pub config: Option<PathBuf>,
    /// The policy file.
    pub policy: Option<PathBuf>,
    /// The state directory.
    pub state_dir: Option<PathBuf>,
    /// The directory of the sockets: typed or usual, since clients do not read the configuration file.
    pub run_dir: PathBuf,
    /// The directory of the audit log.
    pub log_dir: Option<PathBuf>,
}

/// What the configuration file says.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    policy: Option<PathBuf>,
    state_dir: Option<PathBuf>,
    log_dir: Option<PathBuf>,
    pin_dir: Option<PathBuf>,
    cgroup_dir: Option<PathBuf>,
    head_file: Option<PathBuf>,
    default_profile: Option<String>,
    notify: Vec<notify::Entry>,
    metrics_listen: Option<String>,
}

/// What it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The policy file.
    pub policy: PathBuf,
    /// The state directory.
    pub state_dir: PathBuf,
    /// The directory of the sockets.
    pub run_dir: PathBuf,
    /// The directory of the audit log.
    pub log_dir: PathBuf,
    /// The directory of pinned maps and links, on a bpffs.
    pub pin_dir: PathBuf,
    /// The parent of the sessions' cgroups.
    pub cgroup_dir: PathBuf,
    /// A file elsewhere that is told how far the audit log goes.
    pub head_file: Option<PathBuf>,
    /// The profile of sessions that name none.
    pub default_profile: String,
    /// Who is told of requests.
    pub hooks: Vec<Hook>,
    /// An address of this host alone, where metrics are served besides.
    pub metrics_listen: Option<SocketAddr>,
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The file could not be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not as expected.
    #[error("the configuration {} is not valid: {reason}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its place.
        reason: String,
    },
    /// A path would mean another place wherever the daemon is started.
    #[error("{name} is {}: an absolute path is expected", path.display())]
    Relative {
        /// The setting.
        name: &'static str,
        /// Its value.
        path: PathBuf,
    },
    /// A hook that is told of requests is not as expected.
    #[error("the configuration is not valid: {0}")]
    Notify(#[from] notify::SettingsFailure),
    /// Metrics would be served to other hosts, or nobody knows where.
    #[error("metrics_listen is {value}: a loopback address and a port are expected, as in 127.0.0.1:9477")]
    NotLoopback {
        /// Its value.
        value: String,
    },
}

impl Config {
    /// Merges flags, configuration file and defaults, in this order of weight.
    pub fn read(flags: Flags) -> Result<Self, Failure> {
        let (path, required) = match &flags.config {
            Some(path) => (path.clone(), true),
            None => (PathBuf::from(paths::CONFIG), false),
        };
        let file = match fs::read_to_string(&path) {
            Ok(text) => parse(&path, &text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !required => File::default(),
            Err(source) => return Err(Failure::Read { path, source }),
        };
        Self::merge(flags, file)
    }

    fn merge(flags: Flags, file: File) -> Result<Self, Failure> {
        let pick = |name, flag: Option<PathBuf>, file: Option<PathBuf>, default: &str| {
            let path = flag.or(file).unwrap_or_else(|| PathBuf::from(default));
            if path.is_absolute() { Ok(path) } else { Err(Failure::Relative { name, path }) }
        };
        Ok(Self {
            policy: pick("policy", flags.policy, file.policy, paths::POLICY)?,
            state_dir: pick("state_dir", flags.state_dir, file.state_dir, paths::STATE)?,
            run_dir: pick("run_dir", Some(flags.run_dir), None, paths::RUN)?,
            log_dir: pick("log_dir", flags.log_dir, file.log_dir, paths::LOG)?,
            pin_dir: pick("pin_dir", None, file.pin_dir, paths::BPFFS)?,
            cgroup_dir: pick("cgroup_dir", None, file.cgroup_dir, paths::CGROUPS)?,
            head_file: file.head_file.map(|path| pick("head_file", Some(path), None, "")).transpose()?,
            default_profile: file.default_profile.unwrap_or_else(|| "autonomous".to_owned()),
            hooks: notify::check(file.notify)?,
            metrics_listen: file.metrics_listen.map(loopback).transpose()?,
        })
    }
}

/// An address that no other host reaches.
fn loopback(value: String) -> Result<SocketAddr, Failure> {
    let address = value.parse::<SocketAddr>().ok();
    let own = address.filter(|address| address.ip().is_loopback() && address.port() != 0);
    own.ok_or(Failure::NotLoopback { value })
}

fn parse(path: &Path, text: &str) -> Result<File, Failure> {
    // A file of comments alone says nothing, and is no mistake.
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(File::default());
    }
    serde_saphyr::from_str(text).map_err(|error| Failure::Parse { path: path.to_owned(), reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::{Config, Failure, File, Flags, parse};

    fn flags() -> Flags {
        Flags { config: None, policy: None, state_dir: None, run_dir: PathBuf::from("/run/agent-guard"), log_dir: None }
    }

    #[test]
    fn flags_outweigh_the_file_and_the_file_the_defaults() {
        let file = parse(Path::new("x"), "policy: /file/policy.yaml\nlog_dir: /file/log\n").expect("parses");
        let flags = Flags { policy: Some(PathBuf::from("/flag/policy.yaml")), ..flags() };
        let config = Config::merge(flags, file).expect("merges");
        assert_eq!(config.policy, Path::new("/flag/policy.yaml"));
        assert_eq!(config.log_dir, Path::new("/file/log"));
        assert_eq!(config.run_dir, Path::new("/run/agent-guard"));
        assert_eq!(config.default_profile, "autonomous");
    }

    #[test]
    fn what_the_file_must_not_say_is_refused_with_its_place() {
        for text in ["polcy: /x", "policy: [", "- policy"] {
            let failure = parse(Path::new("/etc/x.yaml"), text).expect_err(text);
            assert!(failure.to_string().starts_with("the configuration /etc/x.yaml is not valid: "), "{failure}");
        }
        assert!(parse(Path::new("x"), "# nothing\n\n").is_ok());
    }

    #[test]
    fn relative_paths_are_refused() {
        let flags = Flags { log_dir: Some(PathBuf::from("log")), ..flags() };
        assert!(matches!(Config::merge(flags, File::default()), Err(Failure::Relative { name: "log_dir", .. })));
    }

    #[test]
    fn the_audit_logs_head_is_noted_elsewhere_only_where_that_is_said() {
        let read = |text| Config::merge(flags(), parse(Path::new("x"), text).expect("parses"));
        assert_eq!(read("policy: /p\n").expect("merges").head_file, None);
        assert_eq!(read("head_file: /mnt/heads\n").expect("merges").head_file, Some(PathBuf::from("/mnt/heads")));
        assert!(matches!(read("head_file: heads\n"), Err(Failure::Relative { name: "head_file", .. })));
    }

    #[test]
    fn hooks_are_read_and_a_faulty_one_is_refused_with_its_place() {
        let read = |text| Config::merge(flags(), parse(Path::new("x"), text).expect("parses"));
        assert_eq!(read("policy: /p\n").expect("merges").hooks, []);
        assert_eq!(
            read("notify:\n  - wall: true\n  - { desktop: alice, on: [new] }\n").expect("merges").hooks.len(),
            2
        );
        let failure = read("notify:\n  - wall: true\n  - command: [sh]\n").expect_err("relative");
        let said =
            "the configuration is not valid: hook 2 of `notify` has the command sh: an absolute path is expected";
        assert_eq!(failure.to_string(), said);
        for text in ["notify: [{ wal: true }]", "notify: [{ wall: true, on: [asked] }]", "notify: { wall: true }"] {
            let failure = parse(Path::new("/etc/x.yaml"), text).expect_err(text).to_string();
            assert!(failure.starts_with("the configuration /etc/x.yaml is not valid: "), "{failure}");
        }
    }

    #[test]
    fn metrics_are_served_to_this_host_alone_and_only_where_that_is_said() {
        let read = |value: &str| {
            let file = parse(Path::new("x"), &format!("metrics_listen: '{value}'\n")).expect("parses");
            Config::merge(flags(), file).map(|config| config.metrics_listen)
        };
        for value in ["127.0.0.1:9477", "127.1.2.3:1", "[::1]:9477"] {
            assert_eq!(read(value).expect(value), Some(value.parse().expect(value)));
        }
        for value in [
            "0.0.0.0:9477",
            "[::]:9477",
            "192.168.0.1:9477",
            "[::ffff:127.0.0.1]:1",
            "127.0.0.1",
            "127.0.0.1:0",
            "9477",
        ] {
            let failure = read(value).expect_err(value).to_string();
            assert!(failure.starts_with(&format!("metrics_listen is {value}: a loopback address")), "{failure}");
        }
        assert_eq!(Config::merge(flags(), File::default()).expect("merges").metrics_listen, None);
    }

    #[test]
    fn a_file_that_was_named_must_exist() {
        let flags = Flags { config: Some(PathBuf::from("/nonexistent/config.yaml")), ..flags() };
        assert!(matches!(Config::read(flags), Err(Failure::Read { .. })));
    }
}
