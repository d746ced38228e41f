//! Paths of a policy: absolute or below every home, in normal form, taken literally. Whether anything is there, and
//! which homes there are, is not its concern.

use agent_guard_common::limits::DEPTH;
use schemars::{Schema, json_schema};

use crate::policy::fault::quoted;
use crate::policy::read::Scalar;

/// Bytes of one name, as Linux bounds them.
const NAME: usize = 255;
/// Bytes of a path, as Linux bounds them, without the NUL.
const PATH: usize = 4095;

/// What a path begins with that lies in every user's home.
const HOME: char = '~';

/// The places that a path of a policy names: one, or one in each of these homes.
#[must_use]
pub fn places(path: &str, homes: &[String]) -> Vec<String> {
    match path.strip_prefix(HOME) {
        Some(below) => homes.iter().map(|home| format!("{home}{below}")).collect(),
        None => vec![path.to_owned()],
    }
}

/// An absolute path in normal form, or one below `~`, every user's home.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::policy) struct AbsolutePath(pub(in crate::policy) String);

impl Scalar for AbsolutePath {
    const EXPECTED: &'static str = "an absolute path, or one below `~`";

    fn from_text(text: &str) -> Result<Self, String> {
        let shown = quoted(text);
        let (in_homes, rest) = text.strip_prefix(HOME).map_or((false, text), |rest| (true, rest));
        if rest == if in_homes { "" } else { "/" } {
            return Ok(Self(text.to_owned()));
        }
        let Some(below) = rest.strip_prefix('/') else {
            return Err(format!(
                "{shown} is no absolute path; expected one that begins with `/`, or with `~/` for every user's home \
                 (variables are not expanded)"
            ));
        };
        if let Some(without) = text.strip_suffix('/') {
            return Err(format!(
                "{shown} ends in `/`; expected {}: a path names the object and all below it",
                quoted(without)
            ));
        }
        if text.chars().any(char::is_control) {
            return Err(format!("{shown} has control characters in it; expected an absolute path"));
        }
        if text.contains(['*', '?', '[']) {
            return Err(format!(
                "{shown} has a wildcard in it; expected a literal path, which names the object and all below it"
            ));
        }
        if let Some(name) = below.split('/').find(|name| matches!(*name, "" | "." | "..")) {
            let part = if name.is_empty() { "//" } else { name };
            return Err(format!("{shown} is not in normal form; expected no `{part}` in it"));
        }
        if text.len() > PATH || below.split('/').any(|name| name.len() > NAME) {
            return Err(format!(
                "{shown} is longer than Linux allows; expected at most {NAME} bytes a name and {PATH} in all"
            ));
        }
        // The kernel's walk ends after so many levels, the root included.
        let levels = below.split('/').count();
        if levels >= DEPTH {
            return Err(format!("{shown} lies {levels} levels deep; the kernel can follow {}", DEPTH - 1));
        }
        Ok(Self(text.to_owned()))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^(~|~?/([^/*?\\[]+(/[^/*?\\[]+)*)?)$", "maxLength": PATH })
    }
}

#[cfg(test)]
mod tests {
    use super::{AbsolutePath, places};
    use crate::policy::read::Scalar as _;

    #[test]
    fn normal_paths_pass() {
        for path in ["/", "/srv", "/srv/prod data/ä", "/a/...", "/.hidden", "~", "~/.ssh", &"/a".repeat(63)] {
            assert!(AbsolutePath::from_text(path).is_ok(), "{path}");
        }
    }

    #[test]
    fn what_could_mean_two_things_is_refused() {
        let deep = "/a".repeat(64);
        let long = format!("/{}", "a".repeat(256));
        for path in [
            "", "srv", "~x", "~user/x", "~//x", "~/a/", "$HOME/x", "//", "/a//b", "/a/", "/a/./b", "/a/../b", "/..",
            "/a/*", "/a/[b]", "/a\n", &deep, &long,
        ] {
            assert!(AbsolutePath::from_text(path).is_err(), "{path:?}");
        }
    }
    #[test]
    fn a_path_below_every_home_names_one_place_in_each() {
        let homes = ["/root".to_owned(), "/home/a".to_owned()];
        assert_eq!(places("~/.ssh/rc", &homes), ["/root/.ssh/rc", "/home/a/.ssh/rc"]);
        assert_eq!(places("~", &homes), homes);
        assert_eq!(places("/srv", &homes), ["/srv"]);
        assert!(places("~/x", &[]).is_empty());
    }
}
