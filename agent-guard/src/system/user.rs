//! Users and groups by number and name, from the files of `/etc`. It must not know what anybody may do.
//!
//! The C library's look-ups may ask a directory server and wait for it: a daemon that answers while others are
//! held must not. Who is only known to such a server is shown by number.

use nix::unistd::Uid;
use std::fs;

/// The name of a user.
#[must_use]
pub fn name_of(uid: u32) -> Option<String> {
    let (name, _) = entries("/etc/passwd").into_iter().find(|(_, number)| *number == uid)?;
    Some(name)
}

/// The number of a group.
#[must_use]
pub fn group_named(name: &str) -> Option<u32> {
    let (_, gid) = entries("/etc/group").into_iter().find(|(group, _)| group == name)?;
    Some(gid)
}

/// The user that this process acts as.
#[must_use]
pub fn current() -> u32 {
    Uid::effective().as_raw()
}

/// Name and number of each line: the first and third field in both files.
fn entries(file: &str) -> Vec<(String, u32)> {
    let text = fs::read(file).unwrap_or_default();
    String::from_utf8_lossy(&text)
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let number = fields.nth(1)?.parse().ok()?;
            Some((name.to_owned(), number))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{group_named, name_of};

    #[test]
    fn root_is_known_by_number_and_an_unknown_one_is_not() {
        assert_eq!(name_of(0).as_deref(), Some("root"));
        assert_eq!(name_of(4_000_000_000), None);
        assert_eq!(group_named("root"), Some(0));
        assert_eq!(group_named("no such group"), None);
    }
}
