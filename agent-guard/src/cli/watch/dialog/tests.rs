//! Which key does what, to which request, and when.

use std::time::Duration;

use super::{Act, Dialog, Event, LINGER, LOOK};
use crate::api::call::Choice;
use crate::api::types::{
    Ancestor, AnswerBody, Approval, ApprovalScope, Decision, Impact, Process, Request, RequestState, RuleRef,
    SessionRef,
};
use crate::system::screen::{Input, Key};

/// A request of this id, with so many seconds left.
pub(in crate::cli) fn request(id: &str, seconds: u64) -> Request {
    let argv = ["rm", "-rf", "/srv/prod"].map(str::to_owned).to_vec();
    let ancestry = vec![Ancestor { pid: 4200, comm: "bash".into(), argv: vec!["bash".into()] }];
    let (comm, cwd) = ("rm".into(), Some("/root".into()));
    let at = |seconds: u64| jiff::Timestamp::from_second(i64::try_from(seconds).unwrap()).unwrap();
    Request {
        id: id.to_owned(),
        state: RequestState::Pending,
        session: SessionRef { id: "S1".into(), name: "demo".into(), profile: "autonomous".into(), uid: 1 },
        operation: "delete".into(),
        object: format!("/srv/prod/{id}"),
        other: None,
        cut: false,
        label: "production-data".into(),
        rule: RuleRef { name: "prod".into(), message: Some("Ask first.".into()) },
        tier: "gated".into(),
        process: Process { pid: 4242, tid: 4242, uid: 1, user: None, comm, argv, cwd, ancestry },
        threads: 1,
        impact: Some(Impact { files: 12, bytes: 34_567, complete: true }),
        sent: None,
        credentials: Vec::new(),
        intent: None,
        approval: Approval {
            approvers: 1,
            group: None,
            demands: Vec::new(),
            widest: ApprovalScope::Session,
            consents: Vec::new(),
        },
        asked_at: at(0),
        expires_at: at(seconds),
        left_ms: seconds * 1000,
        decision: None,
        outcome: None,
    }
}

/// The same, and what its rule demands.
pub(super) fn demanding(id: &str, seconds: u64, demands: &[&str]) -> Request {
    let mut request = request(id, seconds);
    request.approval.demands = demands.iter().map(|demand| (*demand).to_owned()).collect();
    request
}

/// The same request, ended.
pub(super) fn ended(request: &Request, state: RequestState) -> Request {
    let user = (state == RequestState::Denied).then(|| "ann".to_owned());
    let decision = Decision { uid: None, user, at: request.expires_at, reason: None };
    Request { state, left_ms: 0, decision: Some(decision), ..request.clone() }
}

/// A dialog that is drawn after each event.
struct Game {
    dialog: Dialog,
    now: Duration,
}

impl Game {
    fn with(requests: &[Request]) -> Self {
        let mut game = Self { dialog: Dialog::new((80, 24)), now: Duration::from_secs(100) };
        for request in requests {
            game.hear(request);
        }
        game
    }

    fn play(&mut self, event: Event) -> Option<Act> {
        let act = self.dialog.step(event, self.now);
        let frame = self.dialog.frame(self.now);
        self.dialog.drawn(&frame, self.now);
        act
    }

    fn hear(&mut self, request: &Request) {
        assert_eq!(self.play(Event::Changed(Box::new(request.clone()))), None);
    }

    fn press(&mut self, key: Key) -> Option<Act> {
        self.play(Event::Input(Input::Key(key)))
    }

    fn types(&mut self, text: &str) -> Option<Act> {
        text.chars().map(|character| self.press(Key::Character(character))).last().flatten()
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        assert_eq!(self.play(Event::Tick), None);
    }

    /// A key after a good look.
    fn look_and_press(&mut self, key: char) -> Option<Act> {
        self.wait(LOOK);
        self.press(Key::Character(key))
    }

    fn screen(&self) -> String {
        let frame = self.dialog.frame(self.now);
        frame.rows.iter().map(|row| format!("{}\n", row.text)).collect()
    }

    #[track_caller]
    fn sees(&self, text: &str) {
        assert!(self.screen().contains(text), "{text} is not in:\n{}", self.screen());
    }
}

fn answer(id: &str, choice: Choice) -> Option<Act> {
    Some(Act::Answer { id: id.to_owned(), choice, said: AnswerBody::default() })
}

#[test]
fn all_that_an_approver_needs_is_in_sight() {
    let mut asked = demanding("7K2M", 250, &["another-user", "reason"]);
    asked.approval = Approval { approvers: 2, group: Some("operators".into()), ..asked.approval };
    let game = Game::with(&[asked, request("9XYZ", 260)]);
    let expected = [
        "request 7K2M: 4m 10s left                                           1 more waits",
        "",
        "what        delete /srv/prod/7K2M",
        "impact      12 files, 33.7 KiB under its label",
        "intent      the agent has said nothing of it",
        "message     Ask first.",
        "rule        prod (label production-data, tier gated)",
        "approval    0 of 2 approvals; by members of group operators; not by the session'",
        "          > s own user; with a reason",
        "process     rm, pid 4242, user uid 1",
        "command     rm -rf /srv/prod",
        "directory   /root",
        "started by  bash, pid 4200: bash",
        "session     demo (S1), profile autonomous",
        "touched     no credential",
        "a approve   d deny   s skip   ? help   q quit",
    ];
    let screen = game.screen();
    let shown: Vec<&str> = screen.lines().collect();
    assert_eq!((&shown[..15], shown[23], shown.len()), (&expected[..15], expected[15], 24), "{screen}");
}

#[test]
fn who_has_least_time_left_is_asked_first_and_time_goes_by() {
    let mut game = Game::with(&[request("LATE", 200), request("SOON", 50)]);
    // The one in sight stays there.
    game.sees("request LATE: 3m 20s left");
    assert_eq!(game.look_and_press('d'), answer("LATE", Choice::Deny));
    game.play(Event::Answered(Ok(Box::new(ended(&request("LATE", 200), RequestState::Denied)))));
    game.sees("denied LATE: delete /srv/prod/LATE");
    game.sees("request SOON: 49s left");
    game.wait(Duration::from_secs(40));
    game.sees("request SOON: 9s left");
    game.wait(Duration::from_secs(10));
    assert_eq!(game.look_and_press('a'), None);
    game.sees("its time is up: nothing was sent");
}

#[test]
fn what_is_skipped_comes_back_after_the_others() {
    let mut game = Game::with(&[request("AAAA", 100), request("BBBB", 200)]);
    for id in ["AAAA", "BBBB", "AAAA", "BBBB"] {
        game.sees(&format!("request {id}"));
        assert_eq!(game.look_and_press('s'), None);
    }
    game.hear(&request("CCCC", 300));
    assert_eq!(game.look_and_press('s'), None);
    game.sees("request CCCC");
}

#[test]
fn a_key_counts_only_after_a_look_and_haste_begins_it_anew() {
    let mut game = Game::with(&[request("7K2M", 100)]);
    for _ in 0..10 {
        game.wait(LOOK / 2);
        assert_eq!(game.press(Key::Character('a')), None);
        game.sees("too soon");
    }
    assert_eq!(game.look_and_press('a'), answer("7K2M", Choice::Approve));
    assert_eq!(game.look_and_press('a'), None, "one answer at a time");
    game.sees("is being approved");
    let refused = "only the control socket lets one answer".to_owned();
    game.play(Event::Answered(Err(refused.clone())));
    game.sees(&refused);
    assert_eq!(game.press(Key::Character('d')), None, "what has happened wants a look");
    game.play(Event::Input(Input::Pasted("aaa".into())));
    assert_eq!(game.look_and_press('d'), answer("7K2M", Choice::Deny));
}

#[test]
fn a_key_for_a_request_that_has_ended_is_not_for_the_next_one() {
    let first = request("FRST", 100);
    let mut game = Game::with(&[first.clone(), request("NEXT", 200)]);
    game.wait(LOOK);
    game.hear(&ended(&first, RequestState::Denied));
    game.sees("request FRST: waits no longer: denied by ann");
    for key in ['a', 'd', 'a'] {
        game.wait(LINGER / 2);
        assert_eq!(game.press(Key::Character(key)), None);
        game.sees("request FRST");
    }
    game.wait(LINGER);
    game.sees("request NEXT");
    assert_eq!(game.press(Key::Character('a')), None);
    assert_eq!(game.look_and_press('a'), answer("NEXT", Choice::Approve));
}

#[test]
fn who_was_typing_when_the_request_ended_types_on_into_nothing() {
    let first = demanding("FRST", 100, &["reason"]);
    let mut game = Game::with(&[first.clone(), request("NEXT", 200)]);
    assert_eq!(game.look_and_press('a'), None);
    game.types("agre");
    game.hear(&ended(&first, RequestState::Expired));
    game.sees("it waits no longer: nothing was sent");
    for character in "ed and adad".chars() {
        game.wait(LINGER);
        assert_eq!(game.press(Key::Character(character)), None);
    }
    game.sees("request FRST");
    assert_eq!(game.press(Key::Enter), None);
    game.sees("request NEXT");
}

#[test]
fn a_reason_and_the_object_are_asked_for_and_sent() {
    let mut game = Game::with(&[Request {
        object: "/srv/\u{1b}[2Jdb".into(),
        ..demanding("7K2M", 100, &["reason", "confirmation"])
    }]);
    assert_eq!(game.look_and_press('a'), None);
    game.sees("why do you approve it?");
    game.types(" ");
    assert_eq!(game.press(Key::Enter), None);
    game.sees("the rule demands a reason");
    game.types("agreedd");
    assert_eq!(game.press(Key::Backspace), None);
    game.sees("reason:  agreed_");
    assert_eq!(game.press(Key::Enter), None);
    game.types("/srv/db");
    assert_eq!(game.press(Key::Enter), None);
    game.sees("that is not the object as it is shown");
    game.press(Key::Control('u'));
    game.play(Event::Input(Input::Pasted("/srv/\\x1b[2Jd\n".into())));
    game.types("b");
    let said = AnswerBody {
        reason: Some(" agreed".into()),
        confirm: Some("/srv/\u{1b}[2Jdb".into()),
        ..AnswerBody::default()
    };
    let expected = Act::Answer { id: "7K2M".into(), choice: Choice::Approve, said };
    assert_eq!(game.press(Key::Enter), Some(expected));
}

#[test]
fn escape_gives_up_and_a_no_owes_nothing() {
    let mut game = Game::with(&[demanding("7K2M", 100, &["reason"])]);
    assert_eq!(game.look_and_press('a'), None);
    game.types("ad");
    assert_eq!(game.press(Key::Escape), None);
    game.sees("given up: nothing was approved");
    assert_eq!(game.look_and_press('d'), answer("7K2M", Choice::Deny));
}

#[test]
fn a_yes_that_is_not_enough_says_what_is_missing_and_makes_way() {
    let mut asked = request("7K2M", 100);
    asked.approval.approvers = 2;
    let mut game = Game::with(&[asked.clone(), request("9XYZ", 200)]);
    assert_eq!(game.look_and_press('a'), answer("7K2M", Choice::Approve));
    game.play(Event::Answered(Ok(Box::new(asked))));
    game.sees("pending 7K2M: delete /srv/prod/7K2M (0 of 2 approvals)");
    game.sees("request 9XYZ");
}

#[test]
fn a_daemon_that_is_gone_asks_nothing_and_one_that_is_back_asks_anew() {
    let asked = request("7K2M", 100);
    let mut game = Game::with(std::slice::from_ref(&asked));
    game.wait(LOOK);
    game.play(Event::Lost("the daemon is not running".into()));
    game.sees("Not connected, trying again: the daemon is not running");
    assert_eq!(game.press(Key::Character('a')), None);
    game.play(Event::Heard);
    game.sees("Nothing waits for an answer.");
    game.hear(&asked);
    assert_eq!(game.press(Key::Character('a')), None);
    assert_eq!(game.look_and_press('a'), answer("7K2M", Choice::Approve));
}

#[test]
fn what_is_not_in_sight_is_not_answered() {
    let mut game = Game::with(&[request("7K2M", 100)]);
    game.wait(LOOK);
    game.press(Key::Character('?'));
    assert_eq!(game.look_and_press('a'), None, "it closes the help");
    assert_eq!(game.press(Key::Character('a')), None);
    game.play(Event::Input(Input::Resized(30, 10)));
    game.sees("too small");
    assert_eq!(game.look_and_press('a'), None);
    game.play(Event::Input(Input::Resized(80, 24)));
    assert_eq!(game.press(Key::Character('a')), None);
    game.wait(LOOK);
    game.play(Event::Returned);
    assert_eq!(game.press(Key::Character('a')), None);
    assert_eq!(game.look_and_press('a'), answer("7K2M", Choice::Approve));
}

#[test]
fn a_request_that_changes_wants_another_look() {
    let mut asked = request("7K2M", 100);
    let mut game = Game::with(std::slice::from_ref(&asked));
    game.wait(LOOK);
    asked.object = "/srv/other".into();
    game.hear(&asked);
    assert_eq!(game.press(Key::Character('a')), None);
    asked.left_ms -= 500;
    game.wait(LOOK);
    game.hear(&asked);
    assert_eq!(game.press(Key::Character('a')), answer("7K2M", Choice::Approve), "time alone changes nothing");
}

#[test]
fn one_quits_and_pauses_from_wherever_one_is() {
    let mut game = Game::with(&[demanding("7K2M", 100, &["reason"])]);
    assert_eq!(game.press(Key::Character('q')), Some(Act::Quit));
    assert_eq!(game.look_and_press('a'), None);
    assert_eq!(game.press(Key::Character('q')), None, "it belongs to the text");
    assert_eq!(game.press(Key::Control('z')), Some(Act::Pause));
    assert_eq!(game.press(Key::Control('c')), Some(Act::Quit));
}
