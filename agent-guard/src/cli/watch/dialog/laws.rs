//! What holds in every order of events, tried with random ones; and whatever a guarded process has chosen.

use std::time::Duration;

use proptest::prelude::*;

use super::tests::{demanding, ended};
use super::{Act, Dialog, Event, LOOK};
use crate::api::call::Choice;
use crate::api::types::{Request, RequestState};
use crate::system::screen::{Input, Key};
use crate::text::escape;

/// A random event; requests are made sense of when it is played.
#[derive(Clone, Debug)]
enum Move {
    Ask(usize),
    End(usize, RequestState),
    Press(Key),
    /// Types what the request in sight demands.
    Confirm,
    Paste,
    Resize(usize, usize),
    Answered(bool),
    Lose,
    Hear,
    Return,
    Wait(u64),
}

const DEMANDS: [&[&str]; 4] = [&[], &["reason"], &["confirmation"], &["reason", "confirmation"]];

fn asked(nth: usize) -> Request {
    demanding(&format!("R00{nth}"), 20 + 10 * nth as u64, DEMANDS[nth])
}

fn moves() -> impl Strategy<Value = Move> {
    let key = prop_oneof![
        6 => prop::sample::select(vec!['a', 'd', 's', '?', 'x']).prop_map(Key::Character),
        3 => Just(Key::Enter),
        1 => Just(Key::Escape),
        1 => Just(Key::Other),
    ];
    let state = prop::sample::select(vec![RequestState::Denied, RequestState::Expired, RequestState::Invalidated]);
    prop_oneof![
        6 => (0..4_usize).prop_map(Move::Ask),
        3 => (0..4_usize, state).prop_map(|(nth, state)| Move::End(nth, state)),
        20 => key.prop_map(Move::Press),
        4 => Just(Move::Confirm),
        1 => Just(Move::Paste),
        1 => (20..120_usize, 4..40_usize).prop_map(|(columns, rows)| Move::Resize(columns, rows)),
        4 => any::<bool>().prop_map(Move::Answered),
        1 => Just(Move::Lose),
        1 => Just(Move::Hear),
        1 => Just(Move::Return),
        12 => prop::sample::select(vec![50_u64, 200, 400, 800, 3000]).prop_map(Move::Wait),
    ]
}

/// What an onlooker sees.
struct Onlooker {
    dialog: Dialog,
    now: Duration,
    /// The request that the first row names as one that waits, and since when it does without a break.
    sight: Option<(String, Duration)>,
    answering: Option<(String, Choice)>,
}

impl Onlooker {
    fn event(&self, played: &Move) -> Event {
        match played {
            Move::Ask(nth) => Event::Changed(Box::new(asked(*nth))),
            Move::End(nth, state) => Event::Changed(Box::new(ended(&asked(*nth), *state))),
            Move::Press(key) => Event::Input(Input::Key(*key)),
            Move::Confirm => {
                let object = self.sight.as_ref().map(|(id, _)| format!("/srv/prod/{id}")).unwrap_or_default();
                Event::Input(Input::Pasted(object))
            }
            Move::Paste => Event::Input(Input::Pasted("a\nd\n".into())),
            Move::Resize(columns, rows) => Event::Input(Input::Resized(*columns, *rows)),
            Move::Answered(is_good) => match &self.answering {
                Some((id, choice)) if *is_good => {
                    let nth = id.trim_start_matches('R').parse().unwrap();
                    let states = [RequestState::Denied, RequestState::Approved];
                    Event::Answered(Ok(Box::new(ended(&asked(nth), states[usize::from(*choice == Choice::Approve)]))))
                }
                Some(_) => Event::Answered(Err("no".into())),
                None => Event::Tick,
            },
            Move::Lose => Event::Lost("gone".into()),
            Move::Hear => Event::Heard,
            Move::Return => Event::Returned,
            Move::Wait(_) => Event::Tick,
        }
    }

    /// Whether an act fits what was to be seen before the key.
    fn check(&mut self, act: &Act, played: &Move) {
        let Act::Answer { id, choice, said } = act else { return };
        assert!(matches!(played, Move::Press(_)), "only a key answers");
        let (seen, since) = self.sight.as_ref().expect("nothing is in sight");
        assert!(seen == id && self.now - *since >= LOOK, "{id} is answered, {seen} was seen since {since:?}");
        assert!(self.answering.is_none(), "two answers at once");
        let request = asked(id.trim_start_matches('R').parse().unwrap());
        let demands = |word: &str| *choice == Choice::Approve && request.approval.demands.iter().any(|it| it == word);
        assert_eq!(demands("reason"), said.reason.as_ref().is_some_and(|reason| !reason.trim().is_empty()));
        assert_eq!(demands("confirmation"), said.confirm.as_ref() == Some(&request.object));
        self.answering = Some((id.clone(), *choice));
    }

    fn look(&mut self) {
        let frame = self.dialog.frame(self.now);
        self.dialog.drawn(&frame, self.now);
        assert_eq!(frame.rows.len(), self.dialog.size.1);
        let head = &frame.rows[0].text;
        let named = head.strip_prefix("request ").and_then(|rest| rest.split_once(':')).map(|(id, _)| id.to_owned());
        let waits = frame.shows_request && head.contains(" left");
        let last = self.sight.take();
        self.sight = named.filter(|_| waits).map(|id| match last {
            Some((seen, since)) if seen == id => (seen, since),
            _ => (id, self.now),
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_answer_is_for_what_was_in_sight_long_enough_and_owes_nothing(moves in prop::collection::vec(moves(), 1..150)) {
        let now = Duration::from_secs(1000);
        let mut seen = Onlooker { dialog: Dialog::new((80, 24)), now, sight: None, answering: None };
        seen.look();
        for played in moves {
            if let Move::Wait(milliseconds) = played {
                seen.now += Duration::from_millis(milliseconds);
            }
            let event = seen.event(&played);
            if matches!(event, Event::Answered(_)) {
                seen.answering = None;
            }
            if let Some(act) = seen.dialog.step(event, seen.now) {
                seen.check(&act, &played);
            }
            seen.look();
        }
    }

    #[test]
    fn no_text_leaves_its_place(
        texts in prop::collection::vec(prop_oneof!["\\PC*", any::<String>(), "[ \n\r\t\u{1b}デe\u{301}>]{0,900}"], 9),
        columns in 1..140_usize,
        rows in 1..50_usize,
    ) {
        let mut request = asked(3);
        let fields = [&mut request.object, &mut request.operation, &mut request.label, &mut request.session.name,
            &mut request.process.comm, &mut request.process.argv[0], &mut request.rule.name];
        for (field, text) in fields.into_iter().zip(&texts) {
            field.clone_from(text);
        }
        (request.other, request.process.cwd) = (Some(texts[7].clone()), Some(texts[8].clone()));
        let mut dialog = Dialog::new((columns, rows));
        dialog.step(Event::Changed(Box::new(request)), Duration::ZERO);
        let frame = dialog.frame(Duration::ZERO);
        prop_assert_eq!(frame.rows.len(), rows);
        const NAMES: [&str; 14] = ["what", "to", "impact", "sent", "intent", "message", "rule", "approval", "process", "command",
            "directory", "started by", "session", "touched"];
        let mut names = NAMES.iter();
        for (index, row) in frame.rows.iter().enumerate() {
            prop_assert!(super::layout::columns(&row.text) <= columns, "{:?}", row);
            prop_assert_eq!(&escape(&row.text), &row.text);
            if frame.shows_request && (2..rows - 3).contains(&index) && !row.text.is_empty() {
                let name = row.text[..10].trim_end();
                // Each name stands once and in its order: what has none goes on.
                prop_assert!(name.is_empty() || names.any(|known| *known == name), "{:?}", row);
            }
        }
    }
}
