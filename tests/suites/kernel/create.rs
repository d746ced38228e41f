//! Creating, on a file system that forgets names: what is there already is not created, however little the kernel
//! remembers of it, and what is not there is asked about once.

use std::fs;

use agent_guard_tests::guest::{approve, await_request_in, deny, eventually, judged};

use crate::policy::{GROWN, SEALED};
use crate::{EPERM, agent, asked, daemon, directory, exists, id, passes_untagged};

const EEXIST: i64 = 17;

/// Makes the kernel forget which names there are; more than once, since what was used lately is spared at first.
fn forget_names() {
    for _ in 0..3 {
        fs::write("/proc/sys/vm/drop_caches", "2").unwrap();
    }
}

#[test]
fn hold_no_rule_about_creating_speaks_of_what_is_there_already() {
    let mut agent = agent("there");
    for parent in [GROWN, SEALED] {
        let path = directory(parent, "there");
        fs::write(format!("{path}/f"), "data").unwrap();
        let before = judged();
        // The second is what a shell's `>>` is.
        for how in ["open @/f c", "open @/f ca", "open @/f ct", "open2 @/f c"] {
            forget_names();
            assert_eq!(agent.errno(&how.replace('@', &path)), 0, "{how} in {parent}");
        }
        forget_names();
        assert_eq!(agent.errno(&format!("open {path}/f cx")), EEXIST, "{parent}");
        let after = judged();
        for kind in ["asked", "refused"] {
            assert_eq!(after[kind], before[kind], "{kind} in {parent}");
        }
    }
    assert_eq!(asked("there").len(), 0);
}

#[test]
fn hold_of_a_creation_is_one_question_where_names_are_forgotten() {
    let mut agent = agent("not-there");
    let (grown, sealed) = (directory(GROWN, "not-there"), directory(SEALED, "not-there"));
    let new = format!("{grown}/new");
    let acts = ["open @ c", "open @ cx", "open2 @ c", "mknod @", "mkdir @", "symlink /nowhere @"];
    for (count, act) in acts.into_iter().enumerate() {
        for parent in [&grown, &sealed] {
            drop(fs::remove_file(format!("{parent}/new")).or_else(|_| fs::remove_dir(format!("{parent}/new"))));
        }
        forget_names();
        agent.begin(&act.replace('@', &new));
        let request = await_request_in("not-there");
        assert_eq!(request["operation"], "create", "{request}");
        assert_eq!(request["object"], new.as_str(), "{request}");
        assert!(!exists(&new), "{act}");
        approve(&id(&request));
        assert_eq!(agent.finish().errno, 0, "{act}");
        assert!(exists(&new), "{act}");
        assert_eq!(asked("not-there").len(), count + 1, "{act}");
        // Where it is denied, the denial is one as well.
        forget_names();
        let refused = judged()["refused"];
        let act = act.replace('@', &format!("{sealed}/new"));
        assert_eq!(agent.errno(&act), EPERM, "{act}");
        assert!(!exists(&format!("{sealed}/new")), "{act}");
        assert_eq!(judged()["refused"], refused + 1, "{act}");
        forget_names();
        passes_untagged(&act);
    }
    fs::remove_file(&new).unwrap();
    forget_names();
    agent.begin(&format!("open {new} c"));
    deny(&id(&await_request_in("not-there")));
    assert_eq!(agent.finish().errno, EPERM);
    assert!(!exists(&new));
    let of_sealed = |record: &&serde_json::Value| {
        record["what"] == "refused" && record["act"]["object"] == format!("{sealed}/new").as_str()
    };
    eventually("a record of each refusal", || {
        (daemon().audit().iter().filter(of_sealed).count() >= acts.len()).then_some(())
    });
    assert_eq!(daemon().audit().iter().filter(of_sealed).count(), acts.len());
}
