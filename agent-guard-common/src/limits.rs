//! Every bound of the system, once: map sizes, name lengths, times. It must not know what they bound for whom.

/// Sessions at one time; also the slots of the session array.
pub const SESSIONS: u32 = 1024;
/// Profiles of one policy.
pub const PROFILES: u32 = 16;
/// Labels of one policy, the unlabelled 0 and the composed ones included. A power of two: it is a mask.
pub const LABELS: u32 = 256;
/// Rules of one policy, the built-in 0 included.
pub const RULES: u32 = 4096;
/// Acts whose verdict depends on the credentials that a session has touched, of one generation.
pub const CONDITIONS: u32 = 512;
/// Labelled inodes, of both generations together.
pub const INODES: u32 = 65_536;
/// Labelled names below labelled or watched directories, of both generations together.
pub const NAMES: u32 = 16_384;
/// Endpoint prefixes, of both generations together.
pub const ENDPOINTS: u32 = 16_384;
/// Addresses that sessions know by names, of both generations together.
pub const NAMED: u32 = 131_072;
/// Names that sessions have heard for addresses.
pub const HEARD: u32 = 131_072;
/// Bytes of the name of a domain (RFC 1035), less than which no name has.
pub const DOMAIN_BYTES: usize = 256;
/// Port ranges under one endpoint prefix, those of the enclosing prefixes included.
pub const PORT_RANGES: usize = 8;
/// Programs that command patterns name, of both generations together.
pub const COMMANDS: u32 = 1024;
/// Words in command patterns, of both generations together.
pub const WORDS: u32 = 8192;
/// Positions (words and wildcards) of all patterns of one program: one bit each.
pub const POSITIONS: usize = 64;
/// Processes that wait to be tagged at their next `execve`.
pub const ENROLMENTS: u32 = 1024;
/// Answers that wait for their thread to come back.
pub const ANSWERS: u32 = 16_384;
/// Bytes of the event ring: a power of two and a multiple of the page size.
pub const RING_BYTES: u32 = 4 << 20;
/// Bytes of the ring that only new questions may use, so that a flood of other events cannot silence them.
pub const RING_RESERVE: u64 = 2 << 20;

/// Levels of directories that the walk climbs; what lies deeper cannot be decided.
pub const DEPTH: usize = 64;
/// Bytes of a path in an event; a longer one loses its beginning, and says so.
pub const PATH_BYTES: usize = 1024;
/// Room for one more name behind the path, so that the verifier sees every copy stay inside.
pub const PATH_SLACK: usize = 256;
/// Bytes of a session's or a profile's name.
pub const NAME_BYTES: usize = 32;

/// Words of an argument vector that patterns are matched against in the kernel.
pub const WORDS_SEEN: u32 = 64;
/// Bytes of a word, its NUL included, that the kernel reads; a longer word matches only wildcards.
pub const WORD_BYTES: usize = 64;
/// Pieces of [`WORD_BYTES`] of a new image's arguments and environment that are looked at for credentials: all that
/// `execve` takes with the usual limit on the stack.
pub const ENVIRONMENT_PIECES: u32 = 128 << 10;
/// Bytes of an argument vector that can be compared after `execve`; a longer one that needs approval is refused.
pub const ARGV_BYTES: usize = 256 << 10;

/// Times one question may be put again (stray SIGCONTs, tracers, siblings' answers) before its call is refused.
pub const ASKS: u32 = 4096;
/// The daemon stamps its heartbeat this often, in nanoseconds.
pub const HEARTBEAT_NS: u64 = 250_000_000;
/// A heartbeat older than this means that nobody will answer, in nanoseconds.
pub const HEARTBEAT_STALE_NS: u64 = 3_000_000_000;
/// An approval that its thread has not used by then is void, in nanoseconds.
pub const GRANT_NS: u64 = 5_000_000_000;
