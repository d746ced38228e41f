//! Ways around a path: whatever name leads to an object, the verdict is the object's.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use agent_guard_tests::guest::{Agent, approve, await_request_in, deny};

use crate::policy::{ALLOWED, DENIED, HELD, MISSING, NESTED, SINGLE};
use crate::{EPERM, agent, asked, directory, exists, id, passes_untagged};

#[test]
fn escape_by_another_path_to_the_same_file_gets_the_same_verdict() {
    let mut agent = agent("paths");
    let mut free = Agent::unguarded();
    let path = directory(DENIED, "paths");
    let other = directory(ALLOWED, "paths");
    symlink(&path, format!("{other}/directory")).unwrap();
    symlink(format!("{path}/f"), format!("{other}/file")).unwrap();
    fs::create_dir(format!("{other}/bound")).unwrap();
    fs::create_dir(format!("{other}/mine")).unwrap();
    let status = Command::new("mount").args(["--bind", &path, &format!("{other}/bound")]).status().unwrap();
    assert!(status.success());
    let acts = [
        format!("unlink {other}/../../denied/paths/f"),
        format!("unlink {other}/directory/f"),
        format!("unlink /proc/self/root{path}/f"),
        format!("unlink {other}/bound/f"),
        format!("unlinkat {path}/f"),
        format!("unlink-in {path} f"),
        format!("unlink-in {path} ./../paths/f"),
        format!("via chroot {path} unlink /f"),
        "via chroot /t unlink /denied/paths/f".to_owned(),
        format!("via mount-namespace unlink {path}/f"),
        format!("via mount-namespace bound {path} {other}/mine unlink {other}/mine/f"),
        format!("via user-namespace via mount-namespace bound {path} {other}/mine unlink {other}/mine/f"),
        format!("open {other}/file wt"),
        format!("truncate {other}/file"),
        format!("open-fd {path}/f wt"),
        format!("open2 {other}/bound/f w"),
    ];
    for act in acts {
        fs::write(format!("{path}/f"), "data").unwrap();
        let done = agent.act(&act);
        assert_eq!(done.errno, EPERM, "{act}: {done:?}");
        assert_eq!(fs::read_to_string(format!("{path}/f")).unwrap(), "data", "{act}");
        assert_eq!(free.errno(&act), 0, "untagged: {act}");
    }
    assert!(Command::new("umount").arg(format!("{other}/bound")).status().unwrap().success());
}

#[test]
fn escape_by_a_hard_link_gets_the_verdict_of_the_file() {
    let mut agent = agent("hard-link");
    let other = directory(ALLOWED, "hard-link");
    let link = format!("{other}/link");
    fs::hard_link(SINGLE, &link).unwrap();
    let mut free = Agent::unguarded();
    for act in ["open @ w", "truncate @", "open @ wt", "open @ r", "link @ @2", "rename @ @2"] {
        let act = act.replace('@', &link);
        assert_eq!(agent.errno(&act), EPERM, "{act}");
        assert_eq!(free.errno(&act), 0, "untagged: {act}");
    }
    // No new link leads out of a protected directory, nor into one.
    let path = directory(DENIED, "hard-link");
    fs::write(format!("{path}/f"), "data").unwrap();
    fs::write(format!("{other}/g"), "data").unwrap();
    assert_eq!(agent.errno(&format!("link {path}/f {other}/out")), EPERM);
    assert_eq!(agent.errno(&format!("link {other}/g {path}/in")), EPERM);
    assert!(!exists(&format!("{other}/out")) && !exists(&format!("{path}/in")));
    assert_eq!(free.errno(&format!("link {path}/f {other}/out")), 0);
    assert_eq!(free.errno(&format!("link {other}/g {path}/in")), 0);
}

#[test]
fn escape_by_moving_is_judged_at_both_ends() {
    let mut agent = agent("both-ends");
    let mut free = Agent::unguarded();
    for act in ["rename @/f #/new", "rename #/f @/new", "rename #/f @/f", "exchange @/f #/f", "exchange #/f @/f"] {
        let (path, other) = (directory(DENIED, "both-ends"), directory(ALLOWED, "both-ends"));
        fs::write(format!("{path}/f"), "data").unwrap();
        fs::write(format!("{other}/f"), "other").unwrap();
        let act = act.replace('@', &path).replace('#', &other);
        assert_eq!(agent.errno(&act), EPERM, "{act}");
        assert_eq!(fs::read_to_string(format!("{path}/f")).unwrap(), "data", "{act}");
        assert_eq!(fs::read_to_string(format!("{other}/f")).unwrap(), "other", "{act}");
        assert_eq!(free.errno(&act), 0, "untagged: {act}");
    }
    // And held at both.
    let (path, other) = (directory(HELD, "both-ends"), directory(ALLOWED, "both-ends"));
    for act in [format!("rename {other} {path}/moved"), format!("rename {path}/moved {other}")] {
        agent.begin(&act);
        let request = await_request_in("both-ends");
        assert!(request["other"].is_string(), "{request}");
        approve(&id(&request));
        assert_eq!(agent.finish().errno, 0, "{act}");
    }
    assert_eq!(asked("both-ends").len(), 2);
}

#[test]
fn escape_by_moving_what_is_above_a_protected_directory_is_held() {
    let mut agent = agent("above");
    let parent = NESTED.rsplit_once('/').unwrap().0;
    let elsewhere = directory(ALLOWED, "above");
    for act in [format!("rename {parent} {elsewhere}/away"), format!("exchange {parent} {elsewhere}")] {
        agent.begin(&act);
        let request = await_request_in("above");
        assert_eq!(request["operation"], "rename", "{request}");
        deny(&id(&request));
        assert_eq!(agent.finish().errno, EPERM, "{act}");
        assert!(exists(NESTED), "{act}");
    }
    // What lies beside it is nobody's affair.
    assert_eq!(agent.errno(&format!("mkdir {parent}/beside")), 0);
    assert_eq!(agent.errno(&format!("rename {parent}/beside {parent}/besides")), 0);
    assert_eq!(agent.errno(&format!("rmdir {parent}/besides")), 0);
    let mut free = Agent::unguarded();
    assert_eq!(free.errno(&format!("rename {parent} {elsewhere}/away")), 0);
    assert_eq!(free.errno(&format!("rename {elsewhere}/away {parent}")), 0);
}

#[test]
fn escape_by_a_path_that_was_removed_and_made_again_is_no_escape() {
    let mut agent = agent("again");
    // A file: by its name, at once.
    fs::remove_file(SINGLE).unwrap();
    assert_eq!(agent.errno(&format!("open {SINGLE} c")), EPERM, "made again by the agent");
    assert!(!exists(SINGLE));
    fs::write(SINGLE, "again").unwrap();
    for act in ["unlink @", "open @ w", "truncate @", "rename @ @2"] {
        assert_eq!(agent.errno(&act.replace('@', SINGLE)), EPERM, "{act}");
    }
    // A file moved over it keeps the verdict too.
    fs::write("/t/single/new", "moved").unwrap();
    fs::rename("/t/single/new", SINGLE).unwrap();
    assert_eq!(agent.errno(&format!("unlink {SINGLE}")), EPERM);
    passes_untagged(&format!("unlink {SINGLE}"));
    passes_untagged(&format!("open {SINGLE} c"));
    // A directory: what lies in the new one is asked about.
    fs::remove_dir_all(NESTED).unwrap();
    fs::create_dir(NESTED).unwrap();
    fs::write(format!("{NESTED}/f"), "data").unwrap();
    agent.begin(&format!("unlink {NESTED}/f"));
    deny(&id(&await_request_in("again")));
    assert_eq!(agent.finish().errno, EPERM);
    passes_untagged(&format!("unlink {NESTED}/f"));
}

#[test]
fn escape_by_making_what_the_policy_expects_is_held() {
    let mut agent = agent("missing");
    let top = "/t/missing";
    agent.begin(&format!("mkdir {top}"));
    let request = await_request_in("missing");
    assert_eq!(request["operation"], "create", "{request}");
    deny(&id(&request));
    assert_eq!(agent.finish().errno, EPERM);
    let other = directory(ALLOWED, "missing");
    let act = format!("rename {other} {top}");
    agent.begin(&act);
    deny(&id(&await_request_in("missing")));
    assert_eq!(agent.finish().errno, EPERM);
    passes_untagged(&act);
    fs::rename(top, &other).unwrap();
    // Made by somebody else, it is found; the last part is asked about wherever it is missing.
    fs::create_dir_all(MISSING.rsplit_once('/').unwrap().0).unwrap();
    sleep(Duration::from_secs(3));
    agent.begin(&format!("open {MISSING} c"));
    deny(&id(&await_request_in("missing")));
    assert_eq!(agent.finish().errno, EPERM);
    fs::write(MISSING, "now").unwrap();
    agent.begin(&format!("unlink {MISSING}"));
    deny(&id(&await_request_in("missing")));
    assert_eq!(agent.finish().errno, EPERM);
    assert!(exists(MISSING));
    passes_untagged(&format!("unlink {MISSING}"));
}
