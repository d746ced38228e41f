//! `judge()`: the only place where a verdict is computed. Pure integer logic, run by the kernel's hooks,
//! by `agent-guard policy explain` and by tests alike. It must not know maps, hooks or time sources.

use crate::answer::answered;
use crate::limits::{ASKS, HEARTBEAT_STALE_NS};
use crate::session::state;

/// What a rule says. The numbers order them by strictness.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Passes unseen.
    Allow = 1,
    /// Passes, and is logged.
    Audit = 2,
    /// Waits for a person.
    Hold = 3,
    /// Is refused.
    Deny = 4,
}

/// How closely an operation is watched.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Read-only, status, scratch work.
    Autonomous = 1,
    /// Reversible changes: logged, spot-checked.
    Supervised = 2,
    /// Destructive, irreversible, costly: always asks.
    Gated = 3,
}

impl Verdict {
    /// How strict a cell's verdict is; a cell without one is the strictest of all.
    #[inline(always)]
    #[must_use]
    pub const fn strictness(verdict: u8) -> u8 {
        if verdict == 0 { u8::MAX } else { verdict }
    }

    /// What a verdict comes to for an act that a coarse match only suspects: what would be denied is held, so that
    /// an exact match can decide.
    #[inline(always)]
    #[must_use]
    pub const fn suspected(verdict: u8) -> u8 {
        if verdict == Self::Deny as u8 { Self::Hold as u8 } else { verdict }
    }

    /// Whether a verdict lets an act pass without an answer.
    #[inline(always)]
    #[must_use]
    pub const fn passes(verdict: u8) -> bool {
        verdict == Self::Allow as u8 || verdict == Self::Audit as u8
    }
}

impl TryFrom<u8> for Verdict {
    type Error = u8;
    fn try_from(number: u8) -> Result<Self, u8> {
        match number {
            1 => Ok(Self::Allow),
            2 => Ok(Self::Audit),
            3 => Ok(Self::Hold),
            4 => Ok(Self::Deny),
            other => Err(other),
        }
    }
}

impl TryFrom<u8> for Tier {
    type Error = u8;
    fn try_from(number: u8) -> Result<Self, u8> {
        match number {
            1 => Ok(Self::Autonomous),
            2 => Ok(Self::Supervised),
            3 => Ok(Self::Gated),
            other => Err(other),
        }
    }
}

macro_rules! reasons {
    ($($(#[$meta:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        /// Why an act was refused.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason { $($(#[$meta])* $name = $number),* }

        impl Reason {
            /// Every reason, in the order of its number.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The reason in words, as a person reads it after "refused:".
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }
    };
}

reasons! {
    /// Not refused.
    None = 0, "not refused";
    /// A rule says deny.
    Policy = 1, "the policy denies it";
    /// An approver said no.
    Denied = 2, "an approver denied it";
    /// Nobody answered.
    Expired = 3, "nobody answered in time";
    /// Withdrawn, or the object changed.
    Cancelled = 4, "the request was withdrawn";
    /// The daemon is not there to ask anybody.
    DaemonGone = 5, "the daemon is not running, so nobody can be asked";
    /// The session is halted and the call cannot be parked.
    Halted = 6, "the session is halted";
    /// The tag names a session that is not there.
    NoSession = 7, "its session does not exist any more";
    /// No policy is loaded, or a record of it cannot be read.
    Undecided = 8, "the guard could not decide";
    /// io_uring operations are not restarted.
    IoUring = 9, "it came through io_uring and cannot be held";
    /// A kernel thread, or a call that is not a system call.
    NotRestartable = 10, "it is not a restartable system call and cannot be held";
    /// The task is exiting or dumping core.
    Dying = 11, "its process is exiting";
    /// A job-control shell would take the hold for a stop by the user.
    JobControl = 12, "a job-control shell is waiting for it, so it cannot be held; run it in a script";
    /// The question was put too often.
    AskedTooOften = 13, "its question was interrupted too often";
    /// The thread could not be stopped.
    NotStopped = 14, "its thread could not be stopped";
    /// The path lies deeper than the walk climbs.
    TooDeep = 15, "its path is too deep to decide";
    /// What was executed is not what was approved.
    ArgumentsChanged = 16, "its arguments changed after the approval";
}

impl TryFrom<u32> for Reason {
    type Error = u32;
    fn try_from(number: u32) -> Result<Self, u32> {
        Self::ALL.get(number as usize).copied().ok_or(number)
    }
}

/// What stands about the question of this act, as the hook found it. Numbers, since they cross maps.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// The cell's verdict, a [`Verdict`]; anything else is refused as undecided.
    pub verdict: u8,
    /// The session's [`state`].
    pub session: u32,
    /// Nanoseconds since the daemon's last heartbeat.
    pub heartbeat_age: u64,
    /// Why this call cannot be held; `Reason::None` when it can.
    pub obstacle: Reason,
    /// An [`answered`] kind for this very question and object, still valid; 0 for none.
    pub answer: u32,
    /// Times this very question was put before; 0 when the act is a new one.
    pub asks: u32,
}

/// What the hook is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Judgement {
    /// Let it pass.
    Pass,
    /// Let it pass, and say so.
    PassAudited,
    /// Let it pass, spend one use of the answer, and say so.
    PassApproved,
    /// Stop the thread with a question, and restart the call.
    Ask,
    /// Stop the thread without a question: it waits for `resume`.
    Park,
    /// Refuse it, and say so.
    Refuse(Reason),
}

impl Facts {
    /// Whether the verdict and the session alone decide, so that nothing else need be looked up.
    #[inline(always)]
    #[must_use]
    pub const fn decided(verdict: u8, session: u32) -> bool {
        verdict != Verdict::Hold as u8 && session != state::HALTED
    }
}

/// Judges one act of a tagged task.
#[inline(always)]
pub fn judge(facts: &Facts) -> Judgement {
    if facts.session != state::ACTIVE {
        return judge_inactive(facts);
    }
    match facts.verdict {
        1 => Judgement::Pass,
        2 => Judgement::PassAudited,
        3 => judge_hold(facts),
        4 => Judgement::Refuse(Reason::Policy),
        _ => Judgement::Refuse(Reason::Undecided),
    }
}

#[inline(always)]
fn judge_inactive(facts: &Facts) -> Judgement {
    if facts.session != state::HALTED {
        return Judgement::Refuse(Reason::NoSession);
    }
    // Nobody could resume a parked thread without a daemon.
    if facts.heartbeat_age > HEARTBEAT_STALE_NS || facts.obstacle as u32 != Reason::None as u32 {
        return Judgement::Refuse(Reason::Halted);
    }
    Judgement::Park
}

#[inline(always)]
fn judge_hold(facts: &Facts) -> Judgement {
    // First of all: an answer that nobody can account for any more is void.
    if facts.heartbeat_age > HEARTBEAT_STALE_NS {
        return Judgement::Refuse(Reason::DaemonGone);
    }
    match facts.answer {
        0 => {}
        answered::APPROVED => return Judgement::PassApproved,
        answered::DENIED => return Judgement::Refuse(Reason::Denied),
        answered::EXPIRED => return Judgement::Refuse(Reason::Expired),
        answered::CANCELLED => return Judgement::Refuse(Reason::Cancelled),
        _ => return Judgement::Refuse(Reason::Undecided),
    }
    if facts.obstacle as u32 != Reason::None as u32 {
        return Judgement::Refuse(facts.obstacle);
    }
    if facts.asks >= ASKS {
        return Judgement::Refuse(Reason::AskedTooOften);
    }
    Judgement::Ask
}

#[cfg(test)]
mod tests {
    use super::{Facts, Judgement, Reason, judge};
    use crate::answer::answered;
    use crate::limits::{ASKS, HEARTBEAT_STALE_NS};
    use crate::session::state;

    const HELD: Facts =
        Facts { verdict: 3, session: state::ACTIVE, heartbeat_age: 0, obstacle: Reason::None, answer: 0, asks: 0 };

    #[test]
    fn each_verdict_has_its_judgement() {
        let expected = [
            (0, Judgement::Refuse(Reason::Undecided)),
            (1, Judgement::Pass),
            (2, Judgement::PassAudited),
            (3, Judgement::Ask),
            (4, Judgement::Refuse(Reason::Policy)),
            (5, Judgement::Refuse(Reason::Undecided)),
            (255, Judgement::Refuse(Reason::Undecided)),
        ];
        for (verdict, judgement) in expected {
            assert_eq!(judge(&Facts { verdict, ..HELD }), judgement, "verdict {verdict}");
        }
    }

    #[test]
    fn an_answer_decides_a_hold() {
        let expected = [
            (answered::APPROVED, Judgement::PassApproved),
            (answered::DENIED, Judgement::Refuse(Reason::Denied)),
            (answered::EXPIRED, Judgement::Refuse(Reason::Expired)),
            (answered::CANCELLED, Judgement::Refuse(Reason::Cancelled)),
            (77, Judgement::Refuse(Reason::Undecided)),
        ];
        for (answer, judgement) in expected {
            assert_eq!(judge(&Facts { answer, ..HELD }), judgement, "answer {answer}");
        }
    }

    #[test]
    fn an_approval_never_lifts_a_deny() {
        let facts = Facts { verdict: 4, answer: answered::APPROVED, ..HELD };
        assert_eq!(judge(&facts), Judgement::Refuse(Reason::Policy));
    }

    #[test]
    fn without_a_daemon_nothing_is_held_and_no_answer_counts() {
        let gone = Facts { heartbeat_age: HEARTBEAT_STALE_NS + 1, ..HELD };
        assert_eq!(judge(&gone), Judgement::Refuse(Reason::DaemonGone));
        let granted = Facts { answer: answered::APPROVED, ..gone };
        assert_eq!(judge(&granted), Judgement::Refuse(Reason::DaemonGone));
        assert_eq!(judge(&Facts { verdict: 1, ..gone }), Judgement::Pass, "what is allowed needs no daemon");
    }

    #[test]
    fn what_cannot_be_held_is_refused_with_its_reason() {
        let facts = Facts { obstacle: Reason::IoUring, ..HELD };
        assert_eq!(judge(&facts), Judgement::Refuse(Reason::IoUring));
        assert_eq!(judge(&Facts { asks: ASKS, ..HELD }), Judgement::Refuse(Reason::AskedTooOften));
    }

    #[test]
    fn a_halted_session_parks_even_what_is_allowed() {
        let halted = Facts { session: state::HALTED, verdict: 1, ..HELD };
        assert_eq!(judge(&halted), Judgement::Park);
        assert_eq!(judge(&Facts { obstacle: Reason::Dying, ..halted }), Judgement::Refuse(Reason::Halted));
    }

    #[test]
    fn a_session_that_is_not_there_refuses_everything() {
        for session in [state::FREE, 3, u32::MAX] {
            assert_eq!(judge(&Facts { session, verdict: 1, ..HELD }), Judgement::Refuse(Reason::NoSession));
        }
    }
}
