//! Owns the promise that ordinary tools live with a hold: each goes on after the approval and ends as it would have
//! without a guard.
//!
//! Must not test what is held and why: other suites do. Here the tools are Debian's own.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use agent_guard_tests::guest::{
    CONTROL_SOCKET, Daemon, PATIENCE, Run, approve, as_user, await_request_in, deny, eventually, pending, request,
};
use agent_guard_tests::terminal::{SIZE, Terminal};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

const HELD: &str = "/srv/held";
const POLICY: &str = "
version: 1
timeout: 2m
labels:
  held: { paths: [/srv/held] }
  pushes: { commands: ['git ** push ** --force'] }
profiles:
  autonomous: { default: allow }
rules:
  - { name: deletion, profiles: all, operations: [delete], labels: [held], verdict: hold }
  - { name: force-push, profiles: all, operations: [command], labels: [pushes], verdict: hold }
";

fn prepare() -> String {
    fs::create_dir_all(HELD).unwrap();
    POLICY.to_owned()
}

/// Makes a directory with files `f0`, `f1`, ... that everybody may delete.
fn files(name: &str, count: usize) -> String {
    let directory = format!("{HELD}/{name}");
    fs::create_dir_all(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
    for number in 0..count {
        fs::write(format!("{directory}/f{number}"), "held\n").unwrap();
    }
    directory
}

fn left(directory: &str) -> usize {
    fs::read_dir(directory).unwrap().filter(|entry| entry.as_ref().unwrap().file_name() != "Makefile").count()
}

fn id(request: &Value) -> &str {
    request["id"].as_str().unwrap()
}

/// Approves all that a run asks until it ends; returns its status, the most that it asked at once, and what in all.
///
/// What is to be deleted is there while it is asked for. Nothing is answered before `together` wait for it.
fn approve_all(run: &mut Run, together: usize) -> (i32, usize, usize) {
    let (start, mut at_once, mut in_all) = (Instant::now(), 0, 0);
    while !run.has_ended() {
        assert!(start.elapsed() < PATIENCE, "it does not end: {run:?}, pending {:?}", pending(&run.name));
        sleep(Duration::from_millis(100));
        let requests = pending(&run.name);
        at_once = at_once.max(requests.len());
        if at_once < together {
            continue;
        }
        in_all += requests.len();
        for request in &requests {
            let object = request["object"].as_str().unwrap();
            assert!(request["operation"] != "delete" || Path::new(object).exists(), "{request}");
            approve(id(request));
        }
    }
    (run.wait(), at_once, in_all)
}

/// What is expected of a script that is held.
struct Expected {
    /// Files that it finds, and deletes.
    files: usize,
    /// Questions that it asks.
    questions: usize,
    /// Questions that it asks at once, as many as it may.
    together: usize,
    /// Its exit status.
    status: i32,
}

/// Runs a script that deletes `count` files, one question each, one at a time or as it likes.
fn goes_on(name: &str, count: usize, status: i32, script: &str) {
    asks(name, script, &Expected { files: count, questions: count, together: 1, status });
}

/// Runs a script without guard and with it: both times it ends with the same status, prints the same and leaves no
/// file; under guard it asks as it should.
fn asks(name: &str, script: &str, expected: &Expected) {
    Daemon::shared(prepare);
    let directory = files(name, expected.files);
    let script = format!("cd {directory} && {script}");
    let argv = ["/bin/bash", "-c", &script];
    let mut free = Run::unguarded(&argv);
    assert_eq!(free.wait(), expected.status, "without guard: {free:?}");
    assert_eq!(left(&directory), 0, "without guard: {free:?}");
    files(name, expected.files);
    let mut held = Run::guarded(name, &argv);
    let (ended, at_once, in_all) = approve_all(&mut held, expected.together);
    assert_eq!((ended, in_all), (expected.status, expected.questions), "{held:?}");
    assert!(expected.together == 1 || at_once == expected.together, "{at_once} at once: {held:?}");
    assert_eq!(left(&directory), 0, "{held:?}");
    // What has a terminal of its own shows the guard's notices there.
    let of_its_own: String =
        held.stdout().split_inclusive('\n').filter(|line| !line.starts_with("agent-guard: held")).collect();
    assert_eq!(of_its_own, free.stdout(), "{held:?}");
}

#[test]
fn scenario_tools_su_goes_on() {
    goes_on("su", 1, 0, "su agent -c 'rm f0'; echo $?");
}

#[test]
fn scenario_tools_su_passes_the_status_of_its_child_on() {
    goes_on("su-status", 1, 7, "su agent -c 'rm f0; exit 7'");
}

#[test]
fn scenario_tools_runuser_goes_on() {
    goes_on("runuser", 1, 0, "runuser -u agent -- rm -v f0");
}

#[test]
fn scenario_tools_script_goes_on() {
    goes_on("script", 1, 5, "script -qec 'rm -v f0; exit 5' /dev/null");
}

#[test]
fn scenario_tools_strace_goes_on_and_sees_the_call_restarted() {
    goes_on("strace", 2, 0, "strace -f -o /tmp/strace.log sh -c 'rm f0; rm f1; echo done'");
    let trace = fs::read_to_string("/tmp/strace.log").unwrap();
    for number in 0..2 {
        let name = format!("\"f{number}\"");
        let calls: Vec<&str> = trace.lines().filter(|line| line.contains("unlinkat") && line.contains(&name)).collect();
        assert!(calls.len() >= 2 && trace.contains("ERESTARTNOINTR"), "{trace}");
    }
    // In the end each succeeds, be it on the line of the call or on that where it is resumed.
    let done = trace.lines().filter(|line| line.contains("unlinkat") && line.trim_end().ends_with("= 0")).count();
    assert_eq!(done, 2, "{trace}");
}

#[test]
fn scenario_tools_make_goes_on_with_four_jobs_at_once() {
    let name = "make";
    files(name, 0);
    let makefile =
        "all: f0 f1 f2 f3 f4 f5 f6 f7\n.PHONY: all f0 f1 f2 f3 f4 f5 f6 f7\nf0 f1 f2 f3 f4 f5 f6 f7:\n\t@rm $@\n";
    fs::write(format!("{HELD}/{name}/Makefile"), makefile).unwrap();
    let four = Expected { files: 8, questions: 8, together: 4, status: 0 };
    asks(name, "make -j4 --no-print-directory && echo made", &four);
}

#[test]
fn scenario_tools_xargs_goes_on_with_four_at_once() {
    let four = Expected { files: 8, questions: 8, together: 4, status: 0 };
    asks("xargs", "ls | xargs -P4 -n1 rm", &four);
}

#[test]
fn scenario_tools_python_goes_on_in_each_way_to_start_a_process() {
    let script = "python3 - <<'E'
import os, subprocess
print(subprocess.run(['rm', 'f0']).returncode)
print(os.system('rm f1; exit 3') >> 8)
child = os.posix_spawn('/bin/rm', ['rm', '-v', 'f2'], os.environ)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(subprocess.check_output(['rm', '-v', 'f3']))
os.unlink('f4')
E";
    goes_on("python", 5, 0, script);
}

#[test]
fn scenario_tools_a_command_that_python_spawns_by_vfork_goes_on() {
    // The parent sleeps in the kernel until its child has executed or exited. Here is no repository: git's own 128.
    let script = "python3 -c 'import subprocess, sys
sys.exit(subprocess.run([\"git\", \"push\", \"--force\"], close_fds=False).returncode)'";
    asks("vfork", script, &Expected { files: 0, questions: 1, together: 1, status: 128 });
}

#[test]
fn scenario_tools_a_denied_command_fails_as_a_program_that_may_not_be_executed() {
    Daemon::shared(prepare);
    // Not dash: it tries every directory of PATH, and /bin is /usr/bin.
    let mut run = Run::guarded("no-push", &["bash", "-c", "git push --force; echo rc=$?"]);
    deny(id(&await_request_in("no-push")));
    assert_eq!(run.wait(), 0);
    assert!(run.stdout().contains("rc=126"), "{run:?}");
}

#[test]
fn scenario_tools_pipelines_go_on() {
    goes_on("pipeline", 2, 4, "set -o pipefail; rm -v f0 | sed s/^/x/ | cat && (exit 4) | rm -v f1 | cat");
}

#[test]
fn scenario_tools_git_goes_on_over_its_work_tree() {
    // Its own directory lies elsewhere, so that only the work tree's files are asked about; `reset` replaces one of them.
    let script = "export GIT_WORK_TREE=$PWD GIT_DIR=$(mktemp -d)
git init --quiet && git add f0 f1 && git -c user.name=agent -c user.email=agent@guest commit --quiet -m begin
echo other >f0 && git reset --quiet --hard && cat f0
git rm --quiet f0 f1 && git clean -fdx";
    asks("git", script, &Expected { files: 4, questions: 5, together: 1, status: 0 });
}

#[test]
fn scenario_tools_timeout_waits_for_an_answer_that_comes_in_time() {
    goes_on("in-time", 1, 0, "timeout 50 rm -v f0");
}

#[test]
fn scenario_tools_timeout_ends_a_hold_that_nobody_answers_and_the_file_is_kept() {
    Daemon::shared(prepare);
    let directory = files("too-late", 1);
    let mut run = Run::shell("too-late", &format!("timeout 1 rm {directory}/f0"));
    let asked = await_request_in("too-late");
    assert_eq!(run.wait(), 124, "{run:?}");
    assert_eq!(left(&directory), 1);
    eventually("the request is void", || (request(id(&asked))["state"] == "invalidated").then_some(()));
}

#[test]
fn scenario_tools_a_denied_deletion_ends_with_the_tools_own_status() {
    Daemon::shared(prepare);
    let directory = files("denied", 1);
    let mut run = Run::shell("denied", &format!("rm {directory}/f0"));
    deny(id(&await_request_in("denied")));
    assert_eq!(run.wait(), 1);
    assert!(run.stderr().contains("Operation not permitted"), "{run:?}");
    assert_eq!(left(&directory), 1);
}

#[test]
fn scenario_tools_a_held_process_has_a_line_on_its_own_standard_error() {
    Daemon::shared(prepare);
    let directory = files("line", 1);
    let mut run = Run::shell("line", &format!("rm {directory}/f0 2>/tmp/line; echo rc=$?"));
    let request = await_request_in("line");
    let id = id(&request);
    let expected =
        format!("agent-guard: held: delete {directory}/f0 (request {id}): approve with `agent-guard approve {id}`\n");
    eventually("the line", || (fs::read_to_string("/tmp/line").ok()? == expected).then_some(()));
    approve(id);
    assert_eq!(run.wait(), 0);
    assert_eq!((run.stdout(), run.stderr()), ("rc=0\n".to_owned(), String::new()));
}

#[test]
fn scenario_tools_run_ends_as_its_command_does() {
    Daemon::shared(prepare);
    for (script, status) in [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143), ("kill -KILL $$", 137)] {
        let mut run = Run::shell("status", script);
        assert_eq!(run.wait(), status, "{script}: {run:?}");
    }
    assert_eq!(Run::guarded("absent", &["/nonexistent"]).wait(), 127);
    assert_eq!(Run::guarded("not-a-program", &["/etc/passwd"]).wait(), 126);
}

#[test]
fn scenario_tools_run_passes_signals_on() {
    Daemon::shared(prepare);
    let wait = "echo ready; while :; do sleep 0.1; done";
    for (signal, name) in [(Signal::SIGTERM, "TERM"), (Signal::SIGHUP, "HUP"), (Signal::SIGUSR1, "USR1")] {
        let mut run = Run::shell("signals", &format!("trap 'echo {name}; exit 5' {name}; {wait}"));
        run.await_stdout("ready");
        kill(Pid::from_raw(run.pid().cast_signed()), signal).unwrap();
        assert_eq!(run.wait(), 5, "{run:?}");
        assert_eq!(run.stdout(), format!("ready\n{name}\n"));
    }
    let mut run = Run::shell("signals", wait);
    run.await_stdout("ready");
    kill(Pid::from_raw(run.pid().cast_signed()), Signal::SIGTERM).unwrap();
    assert_eq!(run.wait(), 143, "{run:?}");
}

#[test]
fn scenario_tools_curl_reads_and_answers_as_the_approver_and_not_as_another() {
    Daemon::shared(prepare);
    let directory = files("curl", 1);
    let mut run = Run::shell("curl", &format!("rm {directory}/f0"));
    let asked = await_request_in("curl");
    let curl = |user: u32, words: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--fail-with-body", "--unix-socket", CONTROL_SOCKET]).args(words);
        let output = as_user(&mut command, user).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (agent, approver) = (1000, 1001);
    let url = format!("http://localhost/v1/requests/{}/approve", id(&asked));
    let answer = ["--json", r#"{"reason": "by curl"}"#, &url];
    assert_eq!(curl(agent, &answer).0, Some(7), "the socket is not for this user");
    assert_eq!(left(&directory), 1);
    let (status, text) = curl(approver, &["http://localhost/v1/requests?state=pending&session=curl"]);
    assert_eq!(status, Some(0), "{text}");
    let listed: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(listed[0]["object"], format!("{directory}/f0"));
    assert_eq!(curl(approver, &answer).0, Some(0));
    assert_eq!(run.wait(), 0);
    assert_eq!(left(&directory), 0);
    assert_eq!(request(id(&asked))["decision"]["reason"], "by curl");
    let (status, text) = curl(approver, &answer);
    assert_eq!(status, Some(22), "a second answer is refused");
    assert!(text.contains("already"), "{text}");
}

#[test]
fn scenario_tools_an_interactive_shells_own_child_is_refused_and_a_grandchild_is_held() {
    Daemon::shared(prepare);
    let directory = files("jobs", 2);
    let mut terminal = Terminal::open(&["agent-guard", "run", "--name", "jobs", "--", "bash", "--norc", "-i"]);
    terminal.types(&format!("cd {directory}\nrm f0; echo status=$?\n"));
    terminal.await_screen("status=1");
    // The keeper hears of the refusal when its daemon does, and the shell needs nobody to hear it from.
    terminal.await_screen("a job-control shell is waiting for it, so it cannot be held");
    assert_eq!(left(&directory), 2);
    assert!(pending("jobs").is_empty());
    // What the shell does not see stopped can be held, and the terminal is still its.
    terminal.types("sh -c 'rm f1; read word; echo read=$word'\n");
    let request = await_request_in("jobs");
    assert_eq!(left(&directory), 2);
    terminal.types("hello\n");
    approve(id(&request));
    terminal.await_screen("read=hello");
    assert_eq!(left(&directory), 1);
    assert!(!terminal.screen().contains("Stopped"), "{}", terminal.screen());
    terminal.types("exit 6\n");
    assert_eq!(terminal.wait(), 6);
}

#[test]
fn scenario_tools_a_shell_with_job_control_in_a_script_is_refused_as_well() {
    Daemon::shared(prepare);
    let directory = files("monitor", 1);
    let script = format!("rm {directory}/f0; echo status=$?");
    let mut terminal = Terminal::open(&["agent-guard", "run", "--name", "monitor", "--", "bash", "-m", "-c", &script]);
    terminal.await_screen("status=1");
    assert_eq!(terminal.wait(), 0);
    assert_eq!(left(&directory), 1);
}

#[test]
fn scenario_tools_a_shell_with_job_control_and_no_terminal_is_refused_as_well() {
    Daemon::shared(prepare);
    let directory = files("no-terminal", 1);
    // The job acts when its shell surely waits for it: by that a shell is known that has no terminal.
    let script = format!("set -m; sh -c 'sleep 0.5; exec rm {directory}/f0'; echo status=$?; read end");
    // In a session of its own, the kernel's kind: the guest's has a terminal.
    let mut command = Command::new("setsid");
    command.args(["agent-guard", "run", "--name", "no-terminal", "--", "bash", "-c", &script]);
    let mut run = Run::spawn("no-terminal", &mut command);
    run.await_stdout("status=1\n");
    run.await_stderr("a job-control shell is waiting for it, so it cannot be held");
    assert_eq!(left(&directory), 1);
    run.wait();
}

#[test]
fn scenario_tools_a_terminal_reaches_through_run() {
    Daemon::shared(prepare);
    let script =
        "trap 'echo interrupted; exit 3' INT; stty size; read word; echo read=$word; while :; do sleep 0.1; done";
    let mut terminal = Terminal::open(&["agent-guard", "run", "--name", "terminal", "--", "sh", "-c", script]);
    terminal.await_screen(&format!("{} {}", SIZE.0, SIZE.1));
    terminal.types("hello\n");
    terminal.await_screen("read=hello");
    terminal.types("\x03");
    terminal.await_screen("interrupted");
    assert_eq!(terminal.wait(), 3);
}

#[test]
fn scenario_tools_a_held_command_on_a_terminal_goes_on() {
    Daemon::shared(prepare);
    let directory = files("on-terminal", 1);
    let script = format!("rm {directory}/f0");
    let mut terminal = Terminal::open(&["agent-guard", "run", "--name", "on-terminal", "--", "sh", "-c", &script]);
    let request = await_request_in("on-terminal");
    terminal.await_screen("agent-guard: held: delete");
    approve(id(&request));
    assert_eq!(terminal.wait(), 0);
    assert_eq!(left(&directory), 0);
}

#[test]
fn scenario_tools_to_a_users_shell_run_and_its_command_are_one_job() {
    Daemon::shared(prepare);
    let mut terminal = Terminal::open(&["bash", "--norc", "-i"]);
    terminal.types("agent-guard run --name job -- sh -c 'echo u\"\"p; read word; echo read=$word'\n");
    terminal.await_screen("up\r\n");
    terminal.types("\x1a");
    terminal.await_screen("Stopped");
    terminal.types("fg\n");
    // Before the shell has said which job that is, it would take what is typed for itself.
    terminal.await_behind("fg\r\n", "agent-guard run");
    terminal.types("hello\n");
    terminal.await_screen("read=hello");
    terminal.types("exit 4\n");
    assert_eq!(terminal.wait(), 4);
}

#[test]
fn scenario_tools_requests_are_watched_on_a_terminal() {
    Daemon::shared(prepare);
    let directory = files("watch", 1);
    let mut terminal = Terminal::open(&["agent-guard", "requests", "--watch", "--session", "watch"]);
    let mut run = Run::shell("watch", &format!("rm {directory}/f0"));
    let request = await_request_in("watch");
    terminal.await_screen("pending");
    terminal.await_screen(&format!("delete {directory}/f0 (session watch)"));
    assert!(terminal.screen().contains(id(&request)));
    approve(id(&request));
    assert_eq!(run.wait(), 0);
    terminal.await_screen("approved");
    terminal.types("\x03");
    assert_eq!(terminal.wait(), 130);
}
