//! Owns the promise that the shipped policy is in nobody's way: real programs do in a guarded tree what they do outside.
//!
//! Must not test what is refused: other suites do. Each program runs twice, as a user, and says itself what it found.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use agent_guard_tests::guest::script::{self, Said};
use agent_guard_tests::guest::{Daemon, Run, status};

const POLICY: &str = include_str!("../../agent-guard/policies/default.yaml");

fn daemon() -> &'static Daemon {
    Daemon::shared(|| POLICY.to_owned())
}

/// Runs a script, about which the guard has nothing to say.
fn run(name: &str, is_guarded: bool, script: &str) -> (i32, String) {
    let Said { status, stdout, remarks } = script::run(daemon, name, is_guarded, script);
    assert_eq!(remarks, BTreeSet::new(), "the guard has something to say");
    (status, stdout)
}

/// Runs a script outside and inside: it ends well both times, and says the same.
fn says_the_same(name: &str, script: &str) {
    let (status, free) = run(name, false, script);
    assert_eq!(status, 0, "without guard: {free}");
    assert_eq!(run(name, true, script), (0, free));
    assert_eq!(self::status()["failures"], serde_json::json!([]), "nothing was lost in the kernel");
}

#[test]
fn scenario_programs_what_others_run_later_is_not_changed_under_the_shipped_policy() {
    daemon();
    // Each is tried in the real home, as root would: what a user may not change needs no guard.
    let files = "/home/agent/.bashrc /root/.profile /etc/cron.d/x /etc/crontab \
                 /etc/systemd/system/x.service /etc/profile.d/x.sh /etc/ld.so.preload /root/.ssh/authorized_keys";
    let script = format!(
        "for file in {files}; do mkdir -p ${{file%/*}} 2>/dev/null; (echo x >>$file) 2>/dev/null && echo $file; done; true"
    );
    let mut guarded = Run::under("autonomous", "later", &["bash", "-c", &script]);
    assert_eq!((guarded.wait(), guarded.stdout().as_str()), (0, ""), "{guarded:?}");
    let mut free = Run::unguarded(&["bash", "-c", &script]);
    assert_eq!(free.wait(), 0);
    assert_eq!(free.stdout().lines().count(), files.split_whitespace().count(), "untagged: {free:?}");
    for file in files.split_whitespace() {
        drop(fs::remove_file(file));
    }
}

const GIT: &str = "
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
export GIT_AUTHOR_DATE='2026-01-01T00:00:00Z' GIT_COMMITTER_DATE='2026-01-01T00:00:00Z'
git init -q -b main origin; cd origin
for n in 1 2 3 4 5 6; do echo $n > f$n; git add .; git commit -qm \"change $n\"; done
cd ..; git clone -q origin work; cd work
git switch -q -c topic HEAD~3; echo topic > t; git add t; git commit -qm topic
git rebase -q main; git worktree add -q ../tree main~1; git -C ../tree reset -q --hard main
git stash list; echo dirt > f1; git stash -q; git stash pop -q; git checkout -q f1
git push -q origin topic; git gc -q; git fsck --strict; git clean -qfdx
git worktree remove ../tree; git log --format='%h %s'; git status --short --branch; git count-objects
";

#[test]
fn scenario_programs_git_clones_rebases_packs_and_keeps_worktrees() {
    says_the_same("git", GIT);
}

const BUILD: &str = "
for n in 1 2 3 4 5 6 7 8; do printf '#include <stdio.h>\\nint f%d(void) { return printf(\"%d\\\\n\"); }\\n' $n $n > f$n.c; done
printf 'int f1(void), f5(void), f8(void);\\nint main(void) { f1(); f5(); f8(); return 0; }\\n' > main.c
printf 'prog: main.o f1.o f2.o f3.o f4.o f5.o f6.o f7.o f8.o libf.so\\n\\tcc -o $@ $(filter %%.o,$^)\\n' > Makefile
printf 'libf.so: f1.c\\n\\tcc -shared -fPIC -o $@ $<\\nclean:\\n\\trm -f prog *.o *.so\\n' >> Makefile
make -sj4; ./prog; LD_PRELOAD=./libf.so ./prog; cp prog other; ./other; make -s clean; ls
";

#[test]
fn scenario_programs_a_c_program_is_built_by_four_jobs_and_runs() {
    says_the_same("build", BUILD);
}

const NPM: &str = "
mkdir package app; cd package
echo '{\"name\":\"thing\",\"version\":\"1.0.0\",\"main\":\"i.js\",\"scripts\":{\"postinstall\":\"node i.js\"}}' > package.json
echo 'console.log(\"thing\")' > i.js; npm pack --silent; cd ../app
echo '{\"name\":\"app\",\"version\":\"1.0.0\"}' > package.json
npm install --offline --no-audit --no-fund --no-update-notifier --silent ../package/thing-1.0.0.tgz
node -e 'require(\"thing\")'; ls node_modules
";

#[test]
fn long_scenario_programs_npm_installs_from_a_tarball_and_runs_its_script() {
    says_the_same("npm", NPM);
}

/// A database of its own, over a socket of its own, and what else is done with it. Debian does not package the
/// regression run, so that this is one.
fn postgresql(more: &str) -> String {
    format!(
        "
export PATH=/usr/lib/postgresql/15/bin:$PATH PGHOST=$HOME PGDATABASE=postgres PGDATA=$HOME/data
initdb -A trust -N > /dev/null; pg_ctl -w -l log -o \"-k $HOME -c listen_addresses= -c shared_buffers=16MB\" start > /dev/null
psql -qAt <<'SQL'
create table t (n int primary key, s text); insert into t select n, md5(n::text) from generate_series(1, 2000) n;
create index on t (s); update t set s = s || 'x' where n % 2 = 0; delete from t where n % 3 = 0; vacuum full t;
select count(*), max(s) from t; create database other template template0; drop database other;
begin; truncate t; rollback; select count(*) from t; checkpoint;
SQL
{more}
pg_dump -t t | grep -v restrict | sha256sum; pg_ctl -w -m fast stop > /dev/null; ls
"
    )
}

#[test]
fn scenario_programs_postgresql_makes_a_database_and_serves_it() {
    says_the_same("postgresql", &postgresql(""));
}

#[test]
fn long_scenario_programs_postgresql_serves_two_thousand_transactions() {
    says_the_same(
        "postgresql-long",
        &postgresql("pgbench -qi -s 1 2> /dev/null; pgbench -n -c 4 -j 2 -t 500 | grep processed"),
    );
}

/// Runs modules of CPython's own test suite, and says of each test what came of it.
const PYTHON: &str = "
import sys, unittest
from test import support
support.use_resources = []
class Result(unittest.TestResult):
    def say(self, test, what): print('RESULT', test.id(), what, flush=True)
    def addSuccess(self, test): self.say(test, 'ok')
    def addError(self, test, error): super().addError(test, error); self.say(test, 'error'); sys.stderr.write(self.errors[-1][1])
    def addFailure(self, test, error): super().addFailure(test, error); self.say(test, 'failure'); sys.stderr.write(self.failures[-1][1])
    def addSkip(self, test, why): self.say(test, 'skipped')
    def addExpectedFailure(self, test, error): self.say(test, 'expected failure')
    def addUnexpectedSuccess(self, test): self.say(test, 'unexpected success')
if __name__ == '__main__':
    unittest.defaultTestLoader.loadTestsFromNames(sys.argv[1:]).run(Result())
";

/// What came of each test of some modules, or of some tests.
fn outcomes(name: &str, is_guarded: bool, tests: &[&str]) -> BTreeMap<String, String> {
    fs::write("/tmp/outcomes.py", PYTHON).unwrap();
    let script = format!("python3 /tmp/outcomes.py {}", tests.join(" "));
    let Said { status, stdout, mut remarks } = script::run(daemon, name, is_guarded, &script);
    assert_eq!(status, 0, "{stdout}");
    // Which kinds of sockets a machine has is tried; those that let no hook see where they send are refused instead.
    remarks.retain(|remark| !remark.starts_with("refused: raw-socket call socket: "));
    assert_eq!(remarks, BTreeSet::new(), "the guard has something to say");
    let outcome = |line: &str| {
        let (test, what) = line.strip_prefix("RESULT ")?.split_once(' ')?;
        Some((test.to_owned(), what.to_owned()))
    };
    stdout.lines().filter_map(outcome).collect()
}

/// Runs tests of CPython outside and inside: each ends alike. What does not is run again, as some depend on time.
fn python_tests_end_alike(name: &str, modules: &[&str], at_least: usize) {
    let mut tests: Vec<String> = modules.iter().map(|module| format!("test.{module}")).collect();
    for round in 0..3 {
        let named: Vec<&str> = tests.iter().map(String::as_str).collect();
        let free = outcomes(&format!("{name}-{round}"), false, &named);
        let guarded = outcomes(&format!("{name}-{round}"), true, &named);
        if round == 0 {
            let well = free.values().filter(|what| *what == "ok").count();
            assert!(well >= at_least, "hardly a test: {well} of {}", free.len());
        }
        let differ = free.iter().chain(&guarded).filter(|(test, _)| free.get(*test) != guarded.get(*test));
        let mut differing: Vec<String> = differ.map(|(test, _)| test.clone()).collect();
        differing.sort_unstable();
        differing.dedup();
        if differing.is_empty() {
            return;
        }
        for test in &differing {
            eprintln!("round {round}: {test}: {:?} free, {:?} guarded", free.get(test), guarded.get(test));
        }
        tests = differing;
    }
    panic!("under guard these end otherwise, each time: {tests:?}");
}

#[test]
fn scenario_programs_tests_of_cpython_end_alike() {
    python_tests_end_alike("python", &["test_tempfile", "test_mmap"], 80);
}

#[test]
fn long_scenario_programs_tests_of_cpython_end_alike_for_files() {
    python_tests_end_alike("python-files", &["test_os", "test_posix", "test_shutil", "test_pathlib"], 500);
}

#[test]
fn long_scenario_programs_tests_of_cpython_end_alike_for_processes_and_sockets() {
    let modules = ["test_subprocess", "test_socket", "test_signal", "test_threading"];
    python_tests_end_alike("python-processes", &modules, 500);
}
