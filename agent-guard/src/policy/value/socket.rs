//! Unix sockets of a policy: by the path that they are bound to, by their file's name, or by their abstract name.

use schemars::{Schema, json_schema};

use super::name::{FileName, Pattern};
use super::path::AbsolutePath;
use crate::policy::fault::quoted;
use crate::policy::read::Scalar;

/// Bytes of an abstract name (include/uapi/linux/un.h, less the leading NUL).
const NAME: usize = 107;

/// A unix socket, or all that are bound below a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::policy) enum Socket {
    /// Bound to a path, or to one below it.
    Path(AbsolutePath),
    /// Bound to a file of such a name, wherever it lies.
    Anywhere(Pattern),
    /// With this abstract name, the leading NUL left out.
    Abstract(String),
}

impl Scalar for Socket {
    const EXPECTED: &'static str = "a socket: an absolute path, `*/` and a file's name, or `@` and its abstract name";

    fn from_text(text: &str) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix("*/") {
            return FileName::from_text(name).map(|name| Self::Anywhere(name.0));
        }
        let Some(name) = text.strip_prefix('@') else { return AbsolutePath::from_text(text).map(Self::Path) };
        if name.is_empty() || name.len() > NAME || name.chars().any(char::is_control) {
            return Err(format!("{} is no abstract name; expected `@` and 1 to {NAME} bytes of text", quoted(text)));
        }
        Ok(Self::Abstract(name.to_owned()))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": r"^(@.{1,107}|~?/.*|\*/[^/]+)$" })
    }
}

#[cfg(test)]
mod tests {
    use super::Socket;
    use crate::policy::read::Scalar as _;

    #[test]
    fn a_socket_has_a_path_or_a_name() {
        assert!(matches!(Socket::from_text("/run/docker.sock"), Ok(Socket::Path(_))));
        assert_eq!(Socket::from_text("@/tmp/.X11-unix/X0"), Ok(Socket::Abstract("/tmp/.X11-unix/X0".to_owned())));
        assert!(matches!(Socket::from_text("*/agent.*"), Ok(Socket::Anywhere(_))));
        for text in ["", "@", "docker.sock", "/run/*", "*/a/b", "*/*", &format!("@{}", "a".repeat(108))] {
            assert!(Socket::from_text(text).is_err(), "{text}");
        }
    }
}
