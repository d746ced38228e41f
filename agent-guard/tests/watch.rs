//! `watch` in a real terminal: tmux shows what the program draws, and types what a person would.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod common;

use agent_guard::api::call::Choice;
use agent_guard::api::types::{AnswerBody, Decision, Request, RequestState};
use common::{Daemon, request, scratch};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Longer than a request must be looked at before a key counts.
const LOOK: Duration = Duration::from_millis(900);
/// More than any change on the screen takes, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(20);

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A shell in a terminal of 80 columns and 24 rows.
struct Terminal {
    socket: String,
    dir: PathBuf,
}

impl Terminal {
    fn open() -> Self {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let terminal = Self { socket: format!("agent-guard-{}-{number}", std::process::id()), dir: scratch() };
        terminal.tmux(&["new-session", "-d", "-x", "80", "-y", "24", "env PS1='ready> ' bash --norc --noprofile"]);
        terminal.sees("ready>");
        terminal
    }

    /// The program, started in it by the shell; requests of it are in sight.
    fn watching(daemon: &Daemon) -> Self {
        let terminal = Self::open();
        terminal.starts("", daemon);
        terminal
    }

    fn starts(&self, before: &str, daemon: &Daemon) {
        let (program, pid) = (env!("CARGO_BIN_EXE_agent-guard"), self.dir.join("pid"));
        // The shell's child is the program itself, once it has said its number.
        let watch = format!("echo $$ >{}; exec {program} --run-dir {} watch", pid.display(), daemon.dir.display());
        self.line(&format!("{before} sh -c '{watch}'; echo status=$?"));
        self.sees("? help   q quit");
    }

    fn command(&self) -> Command {
        let mut tmux = Command::new("tmux");
        tmux.args(["-L", &self.socket, "-f", "/dev/null", "-u"]).stdin(Stdio::null());
        tmux.env("TMUX_TMPDIR", &self.dir).env_remove("TMUX").env_remove("NO_COLOR");
        tmux
    }

    fn tmux(&self, words: &[&str]) -> String {
        let output = self.command().args(words).output();
        let output =
            output.unwrap_or_else(|error| panic!("cannot run tmux, which `cargo xtask setup` installs: {error}"));
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn line(&self, text: &str) {
        self.types(text);
        self.key("Enter");
    }

    fn types(&self, text: &str) {
        self.tmux(&["send-keys", "-l", "--", text]);
    }

    fn key(&self, name: &str) {
        self.tmux(&["send-keys", name]);
    }

    /// A key after a good look.
    fn look_and_type(&self, key: &str) {
        std::thread::sleep(LOOK);
        self.types(key);
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    #[track_caller]
    fn sees(&self, text: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.screen().contains(text) {
            assert!(Instant::now() < until, "{text} is not in:\n{}", self.screen());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The terminal's settings, as the shell's command tells them.
    fn settings(&self, name: &str) -> String {
        let file = self.dir.join(name);
        self.line(&format!("stty -g >{0}.new && mv {0}.new {0}", file.display()));
        await_file(&file)
    }

    /// Sends a signal to the program.
    fn signal(&self, name: &str) {
        let pid = fs::read_to_string(self.dir.join("pid")).unwrap();
        assert!(Command::new("kill").args(["-s", name, pid.trim()]).status().unwrap().success());
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(self.command().arg("kill-server").output());
        drop(fs::remove_dir_all(&self.dir));
    }
}

fn await_file(file: &Path) -> String {
    let until = Instant::now() + PATIENCE;
    loop {
        match fs::read_to_string(file) {
            Ok(text) => return text,
            Err(error) => assert!(Instant::now() < until, "{}: {error}", file.display()),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A daemon with these requests and no others.
fn daemon(requests: Vec<Request>) -> Daemon {
    let daemon = Daemon::start();
    daemon.script.lock().unwrap().requests = requests;
    daemon
}

/// A request with so many seconds left.
fn due(id: &str, seconds: u64) -> Request {
    let at = |seconds: u64| format!("2026-01-01T00:{:02}:{:02}Z", seconds / 60, seconds % 60).parse().unwrap();
    let object = format!("/srv/prod/{id}");
    Request { object, expires_at: at(seconds), left_ms: seconds * 1000, ..request(id, 0) }
}

fn answers(daemon: &Daemon) -> Vec<(String, Choice, AnswerBody)> {
    daemon.script.lock().unwrap().answers.clone()
}

fn plain(id: &str, choice: Choice) -> (String, Choice, AnswerBody) {
    (id.to_owned(), choice, AnswerBody::default())
}

#[test]
fn requests_are_shown_as_they_wait_and_answered_with_a_key() {
    let daemon = daemon(vec![due("LATE", 200)]);
    let terminal = Terminal::watching(&daemon);
    for text in ["request LATE: 3m", "0 more wait", "what        delete /srv/prod/LATE", "message     Ask first."] {
        terminal.sees(text);
    }
    daemon.tell(due("SOON", 100));
    terminal.sees("1 more waits");
    terminal.look_and_type("a");
    terminal.sees("approved LATE: delete /srv/prod/LATE");
    terminal.sees("request SOON: 1m");
    terminal.look_and_type("d");
    terminal.sees("denied SOON: delete /srv/prod/SOON");
    terminal.sees("Nothing waits for an answer.");
    assert_eq!(answers(&daemon), [plain("LATE", Choice::Approve), plain("SOON", Choice::Deny)]);
}

#[test]
fn keys_that_come_too_soon_or_for_what_has_ended_answer_nothing() {
    let daemon = daemon(vec![due("FRST", 100), due("NEXT", 200)]);
    let terminal = Terminal::watching(&daemon);
    terminal.sees("request FRST");
    terminal.look_and_type("sd");
    terminal.sees("request NEXT");
    terminal.sees("too soon");
    daemon.tell(Request { state: RequestState::Expired, left_ms: 0, ..due("NEXT", 200) });
    terminal.sees("request NEXT: waits no longer: expired");
    terminal.look_and_type("ad");
    terminal.tmux(&["send-keys", "Enter", "a"]);
    terminal.sees("request FRST");
    terminal.sees("too soon");
    assert_eq!(answers(&daemon), []);
    terminal.look_and_type("d");
    terminal.sees("denied FRST");
    assert_eq!(answers(&daemon), [plain("FRST", Choice::Deny)]);
}

#[test]
fn a_key_that_comes_after_the_deadline_is_told_so() {
    let daemon = daemon(vec![due("7K2M", 200)]);
    let terminal = Terminal::watching(&daemon);
    terminal.sees("request 7K2M");
    // The daemon has decided, and its word is still on the way.
    let decision = Decision { uid: None, user: None, at: due("7K2M", 200).expires_at, reason: None };
    let expired = Request { state: RequestState::Expired, decision: Some(decision), ..due("7K2M", 200) };
    daemon.script.lock().unwrap().requests = vec![expired];
    terminal.look_and_type("a");
    terminal.sees("request 7K2M is already expired at 2026");
    terminal.sees("request 7K2M: waits no longer: expired");
}

#[test]
fn a_reason_and_the_object_are_asked_for_in_the_terminal() {
    let mut asked = due("7K2M", 200);
    asked.approval.demands = ["reason", "confirmation"].map(str::to_owned).to_vec();
    let daemon = daemon(vec![asked]);
    let terminal = Terminal::watching(&daemon);
    terminal.sees("approval    with a reason; with the object typed once more");
    terminal.look_and_type("a");
    terminal.sees("reason: _");
    terminal.types("bad");
    terminal.sees("reason: bad_");
    terminal.key("Escape");
    terminal.sees("given up: nothing was approved");
    terminal.look_and_type("a");
    terminal.types("agreed: a quick add");
    terminal.key("Enter");
    terminal.sees("object: _");
    terminal.types("/srv/prod");
    terminal.key("Enter");
    terminal.sees("that is not the object");
    assert_eq!(answers(&daemon), []);
    terminal.types("/7K2M");
    terminal.key("Enter");
    terminal.sees("approved 7K2M");
    let said = AnswerBody {
        reason: Some("agreed: a quick add".into()),
        confirm: Some("/srv/prod/7K2M".into()),
        ..AnswerBody::default()
    };
    assert_eq!(answers(&daemon), [("7K2M".to_owned(), Choice::Approve, said)]);
}

#[test]
fn what_a_process_has_chosen_moves_no_cursor_and_forges_no_row() {
    let object = format!("/srv/\u{1b}[1;1H\u{1b}[2Jok\r\n\u{202e}{}rule        harmless", " ".repeat(64));
    let daemon = daemon(vec![Request { object, ..due("7K2M", 200) }]);
    let terminal = Terminal::watching(&daemon);
    terminal.sees("what        delete /srv/\\x1b[1;1H\\x1b[2Jok\\r\\n\\u{202e}");
    terminal.sees("          > ");
    let screen = terminal.screen();
    assert!(screen.starts_with("request 7K2M: "), "{screen}");
    assert!(!screen.lines().any(|line| line.starts_with("rule        harmless")), "{screen}");
    assert!(screen.lines().any(|line| line.starts_with("rule        prod")), "{screen}");
}

#[test]
fn the_terminal_is_left_as_it_was_by_a_key_an_interrupt_and_a_signal() {
    let daemon = daemon(vec![due("7K2M", 200)]);
    let terminal = Terminal::open();
    let before = terminal.settings("before");
    for (round, leave) in ["q", "C-c", "TERM", "HUP"].into_iter().enumerate() {
        terminal.line("clear");
        terminal.starts("", &daemon);
        match leave {
            "q" | "C-c" => terminal.key(leave),
            signal => terminal.signal(signal),
        }
        terminal.sees("status=0");
        assert!(!terminal.screen().contains("request 7K2M"), "{}", terminal.screen());
        assert_eq!(terminal.settings(&format!("after-{round}")), before, "{leave}");
        assert_eq!(terminal.tmux(&["display-message", "-p", "#{cursor_flag}#{wrap_flag}#{alternate_on}"]), "110\n");
    }
    assert_eq!(answers(&daemon), []);
}

#[test]
fn a_job_that_is_stopped_leaves_the_shell_its_terminal_and_comes_back() {
    let daemon = daemon(vec![due("7K2M", 200)]);
    let terminal = Terminal::open();
    let before = terminal.settings("before");
    terminal.starts("", &daemon);
    terminal.key("C-z");
    terminal.sees("Stopped");
    assert_eq!(terminal.settings("stopped"), before);
    terminal.line("fg");
    terminal.sees("request 7K2M");
    // Without being asked, so that the shell finds the terminal as it is.
    terminal.signal("STOP");
    terminal.sees("Stopped");
    terminal.line("fg; echo status=$?");
    terminal.sees("request 7K2M");
    terminal.look_and_type("d");
    terminal.sees("denied 7K2M");
    assert_eq!(answers(&daemon), [plain("7K2M", Choice::Deny)]);
    terminal.key("q");
    terminal.sees("status=0");
    assert_eq!(terminal.settings("after"), before);
}

#[test]
fn a_window_of_another_size_is_drawn_anew_and_colour_is_as_the_environment_wants_it() {
    let daemon = daemon(vec![due("7K2M", 200)]);
    let terminal = Terminal::watching(&daemon);
    assert!(terminal.tmux(&["capture-pane", "-p", "-e"]).contains("\x1b[33mrequest 7K2M"));
    terminal.tmux(&["resize-window", "-x", "50", "-y", "10"]);
    terminal.sees("The window is too small to judge a request in.");
    terminal.tmux(&["resize-window", "-x", "100", "-y", "30"]);
    terminal.sees("session     demo");
    terminal.key("q");
    terminal.sees("status=0");
    terminal.line("clear");
    terminal.starts("NO_COLOR=1", &daemon);
    terminal.sees("request 7K2M");
    assert!(!terminal.tmux(&["capture-pane", "-p", "-e"]).contains('\x1b'));
}

#[test]
fn a_daemon_that_goes_away_is_waited_for() {
    let mut daemon = daemon(vec![due("7K2M", 200)]);
    let terminal = Terminal::watching(&daemon);
    terminal.sees("request 7K2M");
    daemon.stop();
    terminal.sees("Not connected, trying again: the daemon is not running");
    let daemon = Daemon::start_in(daemon.dir.clone());
    terminal.sees("the daemon is back");
    // Those that the daemon of these tests begins with.
    terminal.sees("1 more waits");
    terminal.look_and_type("d");
    terminal.sees("denied 7K2M");
    assert_eq!(answers(&daemon), [plain("7K2M", Choice::Deny)]);
}

#[test]
fn without_a_terminal_or_a_daemon_it_says_what_to_do() {
    let daemon = daemon(Vec::new());
    let mut watch = Command::new(env!("CARGO_BIN_EXE_agent-guard"));
    let output = watch.arg("--run-dir").arg(&daemon.dir).arg("watch").stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("`agent-guard requests --json`") && said.contains("`agent-guard approve ID`"), "{said}");
    let terminal = Terminal::open();
    terminal.line(&format!("{} --run-dir /nowhere watch; echo status=$?", env!("CARGO_BIN_EXE_agent-guard")));
    terminal.sees("the daemon is not running");
    terminal.sees("status=3");
}
