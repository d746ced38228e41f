//! Counters: of judgements, and of every kernel act that failed or was lost, by place and errno.

macro_rules! places {
    ($($(#[$meta:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        /// A place in the kernel programs where an act can fail.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Place { $($(#[$meta])* $name = $number),* }

        impl Place {
            /// Every place, in the order of its number.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// What failed, as `status` shows it.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }
    };
}

places! {
    /// No room in the ring for an event that only informs.
    EventLost = 0, "event lost";
    /// No room in the ring for a question.
    QuestionLost = 1, "question refused for want of ring space";
    /// The stop signal was not sent.
    StopFailed = 2, "thread not stopped";
    /// The tag of a new task was not stored.
    TagFailed = 3, "tag not stored";
    /// A kernel object could not be read.
    ReadFailed = 4, "kernel object not read";
    /// User memory could not be read.
    UserReadFailed = 5, "user memory not read";
    /// A path deeper than the walk.
    WalkTooDeep = 6, "path too deep";
    /// A record of the policy was missing.
    PolicyMissing = 7, "policy record missing";
    /// A spent answer was not deleted.
    AnswerNotDeleted = 8, "answer not deleted";
    /// A process that executed what was not approved was not killed.
    KillFailed = 9, "process not killed";
}

/// Errnos told apart at each place; larger ones share the last.
pub const ERRNOS: u32 = 134;
/// Places that there is room for.
pub const PLACES: u32 = 32;

/// The counter of a place and an errno (positive).
#[inline(always)]
#[must_use]
pub const fn index(place: Place, errno: u32) -> u32 {
    place as u32 * ERRNOS + if errno < ERRNOS { errno } else { ERRNOS - 1 }
}

/// Judgements counted in `JUDGED`.
pub mod judged {
    /// Passed unseen.
    pub const PASSED: u32 = 0;
    /// Passed and audited.
    pub const AUDITED: u32 = 1;
    /// Passed by an approval.
    pub const APPROVED: u32 = 2;
    /// Asked, repeats included.
    pub const ASKED: u32 = 3;
    /// Parked.
    pub const PARKED: u32 = 4;
    /// Refused.
    pub const REFUSED: u32 = 5;
    /// Number of counters.
    pub const COUNT: u32 = 8;
    /// Their names, in order.
    pub const NAMES: [&str; 6] = ["passed", "audited", "approved", "asked", "parked", "refused"];
}
