//! Names of the maps and of the pins, for both sides. A rename happens here or not at all.

/// Tags, in task storage.
pub const TAGS: &str = "TAGS";
/// Processes to be tagged at their next `execve`.
pub const ENROL: &str = "ENROL";
/// Unix sockets that a session made, in socket storage.
pub const SOCKETS: &str = "SOCKETS";
/// What is remembered of internet sockets, in socket storage.
pub const CONNECTIONS: &str = "CONNECTIONS";
/// Where each session's resolver listens, by slot: [`crate::egress::resolver`].
pub const RESOLVERS: &str = "RESOLVERS";
/// Addresses that sessions know by names.
pub const NAMED: &str = "NAMED";
/// The names that they have heard.
pub const HEARD: &str = "HEARD";
/// Sessions, by slot.
pub const SESSIONS: &str = "SESSIONS";
/// Living tasks of each session, by slot.
pub const TASKS: &str = "TASKS";
/// What came of each session's acts, by slot.
pub const OUTCOMES: &str = "OUTCOMES";
/// Environments that each session has touched credentials of, by slot: bits.
pub const TOUCHED: &str = "TOUCHED";
/// Words of [`crate::control`].
pub const CONTROL: &str = "CONTROL";
/// Rows of the matrix.
pub const MATRIX: &str = "MATRIX";
/// Alternatives of cells with a condition.
pub const CONDITIONS: &str = "CONDITIONS";
/// Of each label the environments that its objects are credentials of: bits.
pub const CREDENTIALS: &str = "CREDENTIALS";
/// Labelled inodes.
pub const INODES: &str = "INODES";
/// Labelled names.
pub const NAMES: &str = "NAMES";
/// Labelled endpoints.
pub const ENDPOINTS: &str = "ENDPOINTS";
/// Programs with command patterns.
pub const COMMANDS: &str = "COMMANDS";
/// Words of command patterns.
pub const WORDS: &str = "WORDS";
/// Answers.
pub const ANSWERS: &str = "ANSWERS";
/// The event ring.
pub const EVENTS: &str = "EVENTS";
/// Failures by place and errno.
pub const FAILURES: &str = "FAILURES";
/// Judgements.
pub const JUDGED: &str = "JUDGED";

/// All maps that are pinned, so that refusals outlive the daemon.
pub const PINNED: &[&str] = &[
    TAGS,
    SOCKETS,
    CONNECTIONS,
    RESOLVERS,
    NAMED,
    HEARD,
    ENROL,
    SESSIONS,
    TASKS,
    OUTCOMES,
    TOUCHED,
    CONTROL,
    MATRIX,
    CONDITIONS,
    CREDENTIALS,
    INODES,
    NAMES,
    ENDPOINTS,
    COMMANDS,
    WORDS,
    ANSWERS,
    EVENTS,
    FAILURES,
    JUDGED,
];
