//! Owns the last chapter: the audit log is carried off and verified where neither the daemon nor its files are.
//!
//! Must not know what the records tell, but that somebody has said no.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use super::story::Story;

const LOG: &str = "/var/log/agent-guard";
/// A root that has the system's programs and a copy of the log, and nothing else.
const ROOT: &str = "/srv/elsewhere";
const NO: &str = r#""decision":"denied""#;
const YES: &str = r#""decision":"approved""#;

pub(super) fn tell(story: &mut Story) {
    let root = Path::new(ROOT);
    make(root);
    let copy = root.join("log");
    copy_log(&copy);
    let key = Command::new("agent-guard").args(["audit", "key"]).output().unwrap().stdout;
    fs::write(root.join("guard.pub"), key).unwrap();
    story.says(&format!("# chroot {ROOT} agent-guard audit verify /log --key /guard.pub"));
    let (status, said) = verify();
    story.says(&said);
    story.fact("neither the daemon nor its files are there", !root.join("run").exists() && !root.join("var").exists());
    story.fact("the log is whole, by the key alone, on a root of its own", status == 0 && said.contains("whole"));
    let file = copy.join("audit.jsonl");
    let log = fs::read_to_string(&file).unwrap();
    let no = log.lines().position(|line| line.contains(NO)).unwrap();
    fs::write(&file, log.replacen(NO, YES, 1)).unwrap();
    let (status, said) = verify();
    story.says(&said);
    // A record says nothing of itself: the one behind it does not follow from it.
    let is_named = said.contains(&format!("audit.jsonl:{}:", no + 2));
    story.fact("a no that was made a yes is found, and named", status == 1 && is_named);
}

fn make(root: &Path) {
    fs::create_dir_all(root.join("usr")).unwrap();
    for name in ["bin", "lib", "lib64"] {
        symlink(format!("usr/{name}"), root.join(name)).unwrap();
    }
    let status = Command::new("mount").args(["--bind", "/usr"]).arg(root.join("usr")).status().unwrap();
    assert!(status.success(), "/usr is not bound to {}", root.display());
}

fn copy_log(to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(LOG).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn verify() -> (i32, String) {
    let arguments = [ROOT, "agent-guard", "audit", "verify", "/log", "--key", "/guard.pub"];
    let output = Command::new("chroot").args(arguments).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&said).into_owned())
}
