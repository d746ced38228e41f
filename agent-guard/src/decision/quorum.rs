//! Whether a person's yes counts, and whether there are enough of them. A no needs nobody else.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::event::Answer;
use super::state::{Request, user};
use crate::audit::Person;
use crate::policy::{Demand, Scope};

/// A yes that counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    /// Who.
    pub by: Person,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: Option<String>,
    /// How far.
    pub scope: Scope,
    /// For how long, in nanoseconds.
    pub for_ns: u64,
}

/// Why a yes does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Shortfall {
    /// It is not for this person to say.
    #[error("user {0} cannot approve it: its session is the user's own, and the rule demands another user")]
    OwnSession(String),
    /// Nor for this one.
    #[error("user {user} cannot approve it: the rule demands somebody in group {group}")]
    NotInGroup {
        /// The person.
        user: String,
        /// The group.
        group: String,
    },
    /// This person has said so already.
    #[error("user {0} has approved it already: the rule demands others as well")]
    Again(String),
    /// The rule does not let an approval reach so far.
    #[error("its rule lets an approval reach no further than `{}`", .0.word())]
    TooWide(Scope),
    /// Nobody knows which process it would be of.
    #[error("its process cannot be told from a later one: approve it once")]
    NoProcess,
    /// People must say yes to the same.
    #[error("others have approved it for `{}`: all must approve the same, and for as long", .0.word())]
    OtherScope(Scope),
    /// The person has not said why.
    #[error("the rule demands a reason: approve it with `--reason`")]
    NoReason,
    /// The person has not typed what is to be done to.
    #[error("the rule demands a confirmation: approve it with `--confirm` and the object as it is shown")]
    NotConfirmed,
}

/// Why a yes to a request does not count, if it does not.
pub(super) fn shortfall(request: &Request, answer: &Answer) -> Option<Shortfall> {
    let terms = &request.act.rule.terms;
    let demands = |demand| terms.demands.contains(&demand);
    let name = || answer.by.user.clone().unwrap_or_else(|| answer.by.uid.to_string());
    let is_said = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.trim().is_empty());
    if demands(Demand::AnotherUser) && answer.by.uid == user(&request.act) {
        return Some(Shortfall::OwnSession(name()));
    }
    if let (Some(group), false) = (&terms.group, answer.in_group) {
        return Some(Shortfall::NotInGroup { user: name(), group: group.clone() });
    }
    if request.consents.iter().any(|consent| consent.by.uid == answer.by.uid) {
        return Some(Shortfall::Again(name()));
    }
    if answer.scope > terms.widest {
        return Some(Shortfall::TooWide(terms.widest));
    }
    if answer.scope == Scope::Process && request.act.process.started.is_none() {
        return Some(Shortfall::NoProcess);
    }
    let differs = |consent: &&Consent| (consent.scope, consent.for_ns) != (answer.scope, answer.for_ns);
    if let Some(other) = request.consents.iter().find(differs) {
        return Some(Shortfall::OtherScope(other.scope));
    }
    if demands(Demand::Reason) && !is_said(&answer.reason) {
        return Some(Shortfall::NoReason);
    }
    if demands(Demand::Confirmation) && answer.confirmed.as_ref() != Some(&request.act.object) {
        return Some(Shortfall::NotConfirmed);
    }
    None
}

/// Whether one more yes is enough.
pub(super) fn is_enough(request: &Request) -> bool {
    request.consents.len() + 1 >= usize::from(request.act.rule.terms.approvers)
}

#[cfg(test)]
mod tests {
    use super::Shortfall;
    use crate::audit::Person;
    use crate::decision::tests::{Game, Q, answer, key, person, question, under};
    use crate::decision::{Answer, Choice, Event, RequestId, Ruling, Standing};
    use crate::policy::{Demand, Scope, Terms};

    /// A game with one request, under a rule that demands more.
    fn asked(terms: Terms) -> (Game, RequestId) {
        let mut game = Game::new();
        game.play(Event::Asked(Box::new(under(terms, question(key(5, 5, Q), 1, Ruling::Ask)))));
        let id = game.pending()[0];
        (game, id)
    }

    fn by(uid: u32) -> Answer {
        answer(Choice::Approve, Person { uid, user: None, pid: 9 })
    }

    fn say(request: RequestId, answer: Answer) -> Event {
        Event::Replied { call: 1, request, answer }
    }

    fn short(why: &Shortfall) -> String {
        format!("reply short: {why}")
    }

    #[test]
    fn as_many_people_as_the_rule_demands_must_say_yes_and_each_counts_once() {
        let (mut game, id) = asked(Terms { approvers: 3, ..Terms::default() });
        for uid in [1, 2] {
            assert_eq!(game.play(say(id, by(uid))), ["record-first consented", "changed", "reply ok"]);
            assert_eq!(game.play(say(id, by(uid))), [short(&Shortfall::Again(uid.to_string()))]);
            assert_eq!(game.standing(id), Some(Standing::Pending));
        }
        let effects = game.play(say(id, by(3)));
        assert_eq!(effects[..3], ["record-first approved", "changed", "answer 70 approved"]);
    }

    #[test]
    fn all_must_say_yes_to_the_same_and_for_as_long() {
        let (mut game, id) = asked(Terms { approvers: 2, ..Terms::default() });
        let session = |uid, for_ns| Answer { scope: Scope::Session, for_ns, ..by(uid) };
        game.play(say(id, session(1, 5)));
        for other in [by(2), session(2, 6), Answer { scope: Scope::Process, ..by(2) }] {
            assert_eq!(game.play(say(id, other)), [short(&Shortfall::OtherScope(Scope::Session))]);
        }
        game.play(say(id, session(2, 5)));
        assert!(game.state.grant(id).is_some_and(|grant| grant.by.uid == 2));
    }

    #[test]
    fn one_no_is_enough_and_silence_is_one() {
        for is_said in [true, false] {
            let (mut game, id) = asked(Terms { approvers: 2, ..Terms::default() });
            game.play(say(id, by(1)));
            let effects =
                if is_said { game.play(say(id, answer(Choice::Deny, person()))) } else { game.later(u64::MAX / 2) };
            let kind = if is_said { "answer 70 denied" } else { "answer 70 expired" };
            assert!(effects.contains(&kind.to_owned()), "{effects:?}");
        }
    }

    #[test]
    fn a_yes_that_is_not_on_record_is_a_no() {
        let (mut game, id) = asked(Terms { approvers: 2, ..Terms::default() });
        game.play(say(id, by(1)));
        let about = crate::decision::About::Thread(key(5, 5, Q).task);
        let effects = game.play(Event::Failed { about, why: "no room" });
        assert!(effects.contains(&"answer 70 denied".to_owned()), "{effects:?}");
        assert_eq!(game.standing(id), Some(Standing::Denied));
    }

    #[test]
    fn a_yes_counts_only_with_all_that_the_rule_demands() {
        let demands = [Demand::AnotherUser, Demand::Reason, Demand::Confirmation].into();
        let (mut game, id) = asked(Terms { approvers: 1, group: Some("ops".to_owned()), demands, widest: Scope::Once });
        let all = Answer {
            reason: Some("agreed".to_owned()),
            confirmed: Some("/srv/prod/db".to_owned()),
            in_group: true,
            ..by(8)
        };
        let cases = [
            // The session is that of user 7.
            (
                Answer { by: Person { uid: 7, user: Some("owner".to_owned()), pid: 9 }, ..all.clone() },
                Shortfall::OwnSession("owner".to_owned()),
            ),
            (
                Answer { in_group: false, ..all.clone() },
                Shortfall::NotInGroup { user: "8".to_owned(), group: "ops".to_owned() },
            ),
            (Answer { reason: None, ..all.clone() }, Shortfall::NoReason),
            (Answer { reason: Some("  ".to_owned()), ..all.clone() }, Shortfall::NoReason),
            (Answer { scope: Scope::Process, ..all.clone() }, Shortfall::TooWide(Scope::Once)),
            (Answer { confirmed: None, ..all.clone() }, Shortfall::NotConfirmed),
            (Answer { confirmed: Some("/srv/prod".to_owned()), ..all.clone() }, Shortfall::NotConfirmed),
        ];
        for (answer, why) in cases {
            assert_eq!(game.play(say(id, answer)), [short(&why)]);
        }
        assert_eq!(game.standing(id), Some(Standing::Pending));
        assert!(game.play(say(id, all)).contains(&"answer 70 approved".to_owned()));
        // Whoever refuses owes nothing.
        let (mut game, id) = asked(Terms { demands: [Demand::Reason].into(), ..Terms::default() });
        assert!(game.play(say(id, answer(Choice::Deny, person()))).contains(&"answer 70 denied".to_owned()));
    }
}
