//! Users and groups by number and name, from the files of `/etc`. It must not know what anybody may do.
//!
//! The C library's look-ups may ask a directory server and wait for it: a daemon that answers while others are
//! held must not. Who is only known to such a server is shown by number.

use nix::unistd::Uid;
use std::collections::BTreeSet;
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

/// Whether a user is in a group: as one of its members, or since it is the user's own.
#[must_use]
pub fn is_in(user: &str, group: &str) -> bool {
    let read = |file: &str| String::from_utf8_lossy(&fs::read(file).unwrap_or_default()).into_owned();
    is_in_files(user, group, &read("/etc/passwd"), &read("/etc/group"))
}

fn is_in_files(user: &str, group: &str, users: &str, groups: &str) -> bool {
    let line = |text: &str, name: &str| {
        let found = text.lines().find(|line| line.split(':').next() == Some(name))?;
        Some(found.split(':').map(str::to_owned).collect::<Vec<_>>())
    };
    let Some(group) = line(groups, group) else { return false };
    let is_own = line(users, user).is_some_and(|user| user.get(3).is_some() && user.get(3) == group.get(2));
    is_own || group.get(3).is_some_and(|members| members.split(',').any(|member| member == user))
}

/// Whose rights a program can be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The user's number.
    pub uid: u32,
    /// The number of the user's own group.
    pub gid: u32,
    /// The numbers of the other groups that the user is in.
    pub groups: Vec<u32>,
}

/// The account of a user.
#[must_use]
pub fn account(name: &str) -> Option<Account> {
    let read = |file: &str| String::from_utf8_lossy(&fs::read(file).unwrap_or_default()).into_owned();
    account_in(name, &read("/etc/passwd"), &read("/etc/group"))
}

fn account_in(name: &str, users: &str, groups: &str) -> Option<Account> {
    let number = |text: &str| text.parse().ok();
    let user: Vec<&str> =
        users.lines().map(|line| line.split(':').collect()).find(|user: &Vec<&str>| user[0] == name)?;
    let (uid, gid) = (number(user.get(2)?)?, number(user.get(3)?)?);
    let has_it = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        fields.get(3)?.split(',').any(|member| member == name).then(|| number(fields[2]))?
    };
    let groups = groups.lines().filter_map(has_it).filter(|group| *group != gid).collect();
    Some(Account { uid, gid, groups })
}

/// The first number that people have and not services (login.defs(5), `UID_MIN`).
const PEOPLE: u32 = 1000;
/// The number of `nobody`, whose home is nobody's.
const NOBODY: u32 = 65534;

/// The home directories of root and of all people, in order, each once; absolute, and never the root.
#[must_use]
pub fn homes() -> Vec<String> {
    let text = fs::read("/etc/passwd").unwrap_or_default();
    homes_in(&String::from_utf8_lossy(&text))
}

fn homes_in(text: &str) -> Vec<String> {
    let home = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let number: u32 = fields.get(2)?.parse().ok()?;
        let home = fields.get(5)?.trim_end_matches('/');
        let is_one = (number == 0 || number >= PEOPLE && number != NOBODY) && home.starts_with('/');
        is_one.then(|| home.to_owned())
    };
    text.lines().filter_map(home).collect::<BTreeSet<String>>().into_iter().collect()
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
    use super::{Account, account_in, group_named, homes_in, is_in_files, name_of};

    #[test]
    fn root_is_known_by_number_and_an_unknown_one_is_not() {
        assert_eq!(name_of(0).as_deref(), Some("root"));
        assert_eq!(name_of(4_000_000_000), None);
        assert_eq!(group_named("root"), Some(0));
        assert_eq!(group_named("no such group"), None);
    }

    #[test]
    fn who_is_in_a_group_is_its_member_or_has_it_as_their_own() {
        let users = "ann:x:1000:1000::/home/ann:/bin/sh\nbob:x:1001:2000::/home/bob:/bin/sh\nodd:x\n";
        let groups = "ops:x:2000:ann,eve\nempty:x:2001:\nodd:x\n";
        let is_in = |user, group| is_in_files(user, group, users, groups);
        assert!(is_in("ann", "ops") && is_in("bob", "ops") && is_in("eve", "ops"));
        assert!(!is_in("an", "ops") && !is_in("ann", "empty") && !is_in("ann", "none"));
        assert!(!is_in("odd", "odd"));
    }

    #[test]
    fn an_account_is_a_user_with_the_groups_that_list_them() {
        let users = "ann:x:1000:1000::/home/ann:/bin/sh\nbob:x:1001:2000::/home/bob:/bin/sh\nodd:x\n";
        let groups = "ann:x:1000:\nops:x:2000:ann,bob\ntty:x:5:eve,ann\nodd:x:y:ann\nshort:x:7\n";
        let account = |name| account_in(name, users, groups);
        assert_eq!(account("ann"), Some(Account { uid: 1000, gid: 1000, groups: vec![2000, 5] }));
        assert_eq!(account("bob"), Some(Account { uid: 1001, gid: 2000, groups: vec![] }));
        assert_eq!((account("odd"), account("eve"), account("")), (None, None, None));
    }

    #[test]
    fn homes_are_those_of_root_and_of_people() {
        let text = "root:x:0:0:root:/root:/bin/sh
daemon:x:1:1::/usr/sbin:/usr/sbin/nologin
a:x:1000:1000:A:/home/a/:/bin/sh
b:x:1001:1001:B, of the same home:/home/a:/bin/sh
rootless:x:1002:1002::/:/bin/sh
nobody:x:65534:65534::/nonexistent:/bin/false
nonsense
";
        assert_eq!(homes_in(text), ["/home/a", "/root"]);
    }
}
