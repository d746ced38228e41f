//! What the configuration file says of hooks, and what it means: shape, then checks. Pure: text in, settings out.
//!
//! It must not know whether a file, a user or a program is there: that is looked at when the hooks are started.

use std::path::PathBuf;
use std::time::Duration;

use jiff::SignedDuration;
use serde::Deserialize;

use super::message::Event;

/// How long a hook may take, unless it says so itself.
pub(super) const USUAL_LIMIT: Duration = Duration::from_secs(10);
/// The longest that one may say.
const LONGEST_LIMIT: SignedDuration = SignedDuration::from_mins(5);
/// Whom a command runs as, unless it says so itself.
pub(super) const NOBODY: &str = "nobody";

/// One entry of the list `notify`, as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Entry {
    on: Option<Vec<Event>>,
    command: Option<Vec<String>>,
    webhook: Option<String>,
    secret_file: Option<PathBuf>,
    desktop: Option<String>,
    wall: Option<bool>,
    user: Option<String>,
    timeout: Option<String>,
}

/// One hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// What it is told of.
    pub on: Vec<Event>,
    /// How it is told.
    pub way: Way,
    /// How long one telling may take.
    pub limit: Duration,
}

/// How a hook is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// A program is run, with the message as its input.
    Command {
        /// The program, by its absolute path.
        program: PathBuf,
        /// Its arguments.
        arguments: Vec<String>,
        /// Whom it runs as.
        user: String,
    },
    /// The message is posted, signed.
    Webhook {
        /// Where to.
        url: String,
        /// The file of the key that it is signed with.
        secret_file: PathBuf,
    },
    /// A line is shown on a user's desktop.
    Desktop {
        /// The user.
        user: String,
    },
    /// A line is written to all terminals.
    Wall,
}

impl Way {
    /// The key that it has in the configuration file.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Command { .. } => "command",
            Self::Webhook { .. } => "webhook",
            Self::Desktop { .. } => "desktop",
            Self::Wall => "wall",
        }
    }
}

/// An entry that cannot be used, by its place in the list, from 1. It never shows a URL, which may be a secret.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("hook {place} of `notify` {fault}")]
pub struct Failure {
    /// Which entry.
    pub place: usize,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with an entry.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It says no way of telling, or several.
    #[error("has {0} of `command`, `webhook`, `desktop` and `wall`: exactly one is expected")]
    Ways(usize),
    /// It is told of nothing.
    #[error("has an empty `on`: name some of new, decided and expired, or leave it out for all")]
    NoEvents,
    /// A key that must say something says nothing.
    #[error("has an empty `{0}`: say what is meant")]
    Empty(&'static str),
    /// A path would mean another place wherever the daemon is started.
    #[error("has the {key} {}: an absolute path is expected", path.display())]
    Relative {
        /// The key.
        key: &'static str,
        /// Its value.
        path: PathBuf,
    },
    /// An argument that no program can be given.
    #[error("has a `command` with a zero byte in it: take it out")]
    Zero,
    /// It is no address that can be posted to.
    #[error("has a `webhook` that is no URL: expected http:// or https:// and a host, with other characters %-encoded")]
    Url,
    /// Its messages would not be signed.
    #[error("has a `webhook` and no `secret_file`: name a file with the key that signs what is sent")]
    NoSecret,
    /// A key that means nothing beside the others.
    #[error("has a `{key}`, which belongs to a `{to}`: leave it out")]
    Stray {
        /// The key.
        key: &'static str,
        /// The way of telling that it is for.
        to: &'static str,
    },
    /// `wall: false`.
    #[error("says `wall: false`: leave the hook out")]
    NoWall,
    /// No time that a hook may take.
    #[error("has the timeout {0:?}: expected a time of 1s to 5m")]
    Timeout(String),
    /// Two hooks that post to one place could not be told from each other in the queue.
    #[error("posts where hook {0} posts already: make one of them, with both their events")]
    Twice(usize),
}

/// Checks a list of hooks.
pub fn check(entries: Vec<Entry>) -> Result<Vec<Hook>, Failure> {
    let mut hooks: Vec<Hook> = Vec::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let failure = |fault| Failure { place: index + 1, fault };
        let hook = entry.check().map_err(failure)?;
        if let Some(first) = hooks.iter().position(|other| posts_to_same(other, &hook)) {
            return Err(failure(Fault::Twice(first + 1)));
        }
        hooks.push(hook);
    }
    Ok(hooks)
}

fn posts_to_same(one: &Hook, other: &Hook) -> bool {
    matches!((&one.way, &other.way), (Way::Webhook { url: one, .. }, Way::Webhook { url: other, .. }) if one == other)
}

impl Entry {
    fn check(self) -> Result<Hook, Fault> {
        let ways = [self.command.is_some(), self.webhook.is_some(), self.desktop.is_some(), self.wall.is_some()];
        let stray = |is_there: bool, key, to| if is_there { Err(Fault::Stray { key, to }) } else { Ok(()) };
        let on = self.on.unwrap_or_else(|| Event::ALL.to_vec());
        if on.is_empty() {
            return Err(Fault::NoEvents);
        }
        let limit = self.timeout.map_or(Ok(USUAL_LIMIT), |text| limit(&text).ok_or(Fault::Timeout(text)))?;
        let count = ways.iter().filter(|is_there| **is_there).count();
        let way = match (count, self.command, self.webhook, self.desktop, self.wall) {
            (1, Some(command), ..) => {
                stray(self.secret_file.is_some(), "secret_file", "webhook")?;
                return Ok(Hook { on, way: program(command, self.user)?, limit });
            }
            (1, _, Some(url), ..) => {
                let secret_file = self.secret_file.clone().ok_or(Fault::NoSecret)?;
                Way::Webhook { url: url_of(url)?, secret_file: absolute("secret_file", secret_file)? }
            }
            (1, _, _, Some(user), _) => Way::Desktop { user: said("desktop", user)? },
            (1, _, _, _, Some(true)) => Way::Wall,
            (1, ..) => return Err(Fault::NoWall),
            _ => return Err(Fault::Ways(count)),
        };
        stray(self.user.is_some(), "user", "command")?;
        stray(self.secret_file.is_some() && !matches!(way, Way::Webhook { .. }), "secret_file", "webhook")?;
        Ok(Hook { on, way, limit })
    }
}

fn program(command: Vec<String>, user: Option<String>) -> Result<Way, Fault> {
    if command.iter().any(|word| word.contains('\0')) {
        return Err(Fault::Zero);
    }
    let mut words = command.into_iter();
    let program = words.next().ok_or(Fault::Empty("command"))?;
    let program = absolute("command", PathBuf::from(program))?;
    let user = said("user", user.unwrap_or_else(|| NOBODY.to_owned()))?;
    Ok(Way::Command { program, arguments: words.collect(), user })
}

fn absolute(key: &'static str, path: PathBuf) -> Result<PathBuf, Fault> {
    if path.is_absolute() { Ok(path) } else { Err(Fault::Relative { key, path }) }
}

fn said(key: &'static str, text: String) -> Result<String, Fault> {
    if text.trim().is_empty() { Err(Fault::Empty(key)) } else { Ok(text) }
}

/// What stands in it goes into the configuration of another program: only what a URL is made of may.
fn url_of(url: String) -> Result<String, Fault> {
    let is_plain = url.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\<>^`{|}".contains(&byte));
    let parsed = url.parse::<hyper::Uri>().ok().filter(|_| is_plain);
    let is_one = parsed.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    });
    if is_one { Ok(url) } else { Err(Fault::Url) }
}

fn limit(text: &str) -> Option<Duration> {
    let limit: SignedDuration = text.parse().ok()?;
    let fits = (SignedDuration::from_secs(1)..=LONGEST_LIMIT).contains(&limit);
    fits.then(|| limit.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::{Entry, Event, Failure, Fault, Hook, Way, check};
    use std::path::PathBuf;
    use std::time::Duration;

    fn read(text: &str) -> Result<Vec<Hook>, Failure> {
        check(serde_saphyr::from_str::<Vec<Entry>>(text).expect("parses"))
    }

    fn fault(text: &str) -> Fault {
        read(text).expect_err(text).fault
    }

    #[test]
    fn a_command_runs_as_nobody_for_ten_seconds_on_everything_unless_it_is_said_otherwise() {
        let command = |user: &str, arguments: &[&str]| Way::Command {
            program: PathBuf::from("/bin/x"),
            arguments: arguments.iter().map(|word| (*word).to_owned()).collect(),
            user: user.to_owned(),
        };
        let usual = Hook { on: Event::ALL.to_vec(), way: command("nobody", &[]), limit: Duration::from_secs(10) };
        assert_eq!(read("- command: [/bin/x]"), Ok(vec![usual]));
        let text = "- { command: [/bin/x, -a, b], user: root, on: [expired], timeout: 1m }";
        let said =
            Hook { on: vec![Event::Expired], way: command("root", &["-a", "b"]), limit: Duration::from_secs(60) };
        assert_eq!(read(text), Ok(vec![said]));
    }

    #[test]
    fn every_way_of_telling_is_read() {
        let text = "- { webhook: 'https://u:p@[::1]:8443/a?b=%20', secret_file: /etc/key }\n\
                    - desktop: alice\n- wall: true\n- command: [/bin/x]\n";
        let words: Vec<_> = read(text).expect("is good").iter().map(|hook| hook.way.word()).collect();
        assert_eq!(words, ["webhook", "desktop", "wall", "command"]);
    }

    #[test]
    fn one_way_of_telling_is_one_way() {
        assert_eq!(fault("- on: [new]"), Fault::Ways(0));
        assert_eq!(fault("- { wall: true, desktop: alice }"), Fault::Ways(2));
        assert_eq!(fault("- wall: false"), Fault::NoWall);
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        let webhook = |url: &str| fault(&format!("- {{ webhook: \"{url}\", secret_file: /k }}"));
        for url in [
            "",
            "x",
            "//h/",
            "ftp://h/",
            "http://",
            "http:///x",
            "http://h/a b",
            "http://h/\\n",
            "http://h/\\\"",
            "http://h/ä",
        ] {
            assert_eq!(webhook(url), Fault::Url, "{url}");
        }
        assert_eq!(fault("- webhook: http://h/"), Fault::NoSecret);
        assert!(matches!(
            fault("- { webhook: http://h/, secret_file: k }"),
            Fault::Relative { key: "secret_file", .. }
        ));
        assert!(matches!(fault("- command: [sh]"), Fault::Relative { key: "command", .. }));
        assert_eq!(fault("- command: []"), Fault::Empty("command"));
        assert_eq!(fault("- command: [/bin/x, \"a\\0b\"]"), Fault::Zero);
        assert_eq!(fault("- desktop: ''"), Fault::Empty("desktop"));
        assert_eq!(fault("- { wall: true, on: [] }"), Fault::NoEvents);
        for time in ["0s", "6m", "1", "x"] {
            assert_eq!(fault(&format!("- {{ wall: true, timeout: '{time}' }}")), Fault::Timeout(time.to_owned()));
        }
    }

    #[test]
    fn keys_that_belong_elsewhere_are_refused() {
        for text in ["- { wall: true, user: root }", "- { desktop: a, user: b }"] {
            assert_eq!(fault(text), Fault::Stray { key: "user", to: "command" });
        }
        for text in ["- { wall: true, secret_file: /k }", "- { command: [/bin/x], secret_file: /k }"] {
            assert_eq!(fault(text), Fault::Stray { key: "secret_file", to: "webhook" });
        }
    }

    #[test]
    fn a_fault_names_its_place_and_no_url() {
        let text = "- wall: true\n- { webhook: 'http://h/token', secret_file: /k }\n- { webhook: 'http://h/token', secret_file: /l }\n";
        let failure = read(text).expect_err("twice");
        let said = "hook 3 of `notify` posts where hook 2 posts already: make one of them, with both their events";
        assert_eq!(failure.to_string(), said);
    }
}
