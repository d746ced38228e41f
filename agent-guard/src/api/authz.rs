//! Who may do what: verb x door x standing, in one table. It must not know HTTP, sockets or the kernel.

use super::types::SessionRef;

/// What a call does, as far as permission goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Reads the daemon's state, and what the machine can enforce.
    Status,
    /// Reads the daemon's metrics.
    Metrics,
    /// Reads requests.
    ReadRequests,
    /// Answers a request, or takes back what such an answer allows.
    Answer,
    /// Says what one's own session is going to do.
    Declare,
    /// Reads sessions.
    ReadSessions,
    /// Starts a session around one's own child.
    StartSession,
    /// Takes a process that runs already into a session.
    Adopt,
    /// Follows the notices of a session that one has started, or gives it up.
    KeepSession,
    /// Halts, resumes or kills a session.
    Steer,
    /// Checks a policy's text.
    CheckPolicy,
    /// Puts the policy file in force again.
    ReloadPolicy,
}

impl Verb {
    /// Every verb.
    pub const ALL: &'static [Self] = &[
        Self::Status,
        Self::Metrics,
        Self::ReadRequests,
        Self::Answer,
        Self::Declare,
        Self::ReadSessions,
        Self::StartSession,
        Self::Adopt,
        Self::KeepSession,
        Self::Steer,
        Self::CheckPolicy,
        Self::ReloadPolicy,
    ];

    /// What it does, as it reads after "may not".
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Status => "read the daemon's status",
            Self::Metrics => "read the daemon's metrics",
            Self::ReadRequests => "read requests",
            Self::Answer => "answer requests",
            Self::Declare => "declare intents: it is for guarded processes to say what they are going to do",
            Self::ReadSessions => "read sessions",
            Self::StartSession => "start sessions",
            Self::Adopt => "adopt processes",
            Self::KeepSession => "keep a session",
            Self::Steer => "halt, resume or kill sessions, or forget their credentials",
            Self::CheckPolicy => "check policies",
            Self::ReloadPolicy => "reload the policy",
        }
    }
}

/// The socket that a call came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Door {
    /// `control.sock`, which the file system keeps for root and the group.
    Control,
    /// `agent.sock`, open to everybody.
    Agent,
    /// A port of this host, open to whoever can connect to it: nobody knows who that is.
    Loopback,
}

/// Where a peer stands at the moment of its call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Outside of every guarded tree.
    Free,
    /// Inside one; also whoever cannot be told apart from such, like a peer that is gone.
    Guarded {
        /// The id of its session; none when it is not known (any more).
        session: Option<String>,
    },
}

/// What an admitted caller may see and touch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Everything.
    Everything,
    /// What a user has started.
    User(u32),
    /// One session.
    Session(String),
}

impl Scope {
    /// Whether a session, or what belongs to it, is in scope.
    #[must_use]
    pub fn covers(&self, id: &str, uid: u32) -> bool {
        match self {
            Self::Everything => true,
            Self::User(user) => *user == uid,
            Self::Session(session) => session == id,
        }
    }

    /// The same, for a request's session.
    #[must_use]
    pub fn covers_ref(&self, session: &SessionRef) -> bool {
        self.covers(&session.id, session.uid)
    }
}

/// What a cell of the table grants.
#[derive(Clone, Copy)]
enum Cell {
    /// Nothing.
    No,
    /// Everything.
    All,
    /// What the peer's user has started.
    Own,
    /// The session that the peer is in.
    Tree,
}

/// The table: control socket, agent socket, inside a guarded tree by either, and a port of this host.
const fn row(verb: Verb) -> [Cell; 4] {
    use Cell::{All, No, Own, Tree};
    match verb {
        Verb::Status => [All, No, No, No],
        // Figures of the whole, without a name.
        Verb::Metrics => [All, No, No, All],
        Verb::ReadRequests => [All, Own, Tree, No],
        Verb::Answer => [All, No, No, No],
        // Whoever is not guarded is asked about nothing.
        Verb::Declare => [No, No, Tree, No],
        Verb::ReadSessions => [All, Own, Tree, No],
        // For oneself, whoever one is: a session only takes rights away.
        Verb::StartSession => [Own, Own, No, No],
        Verb::KeepSession => [Own, Own, No, No],
        Verb::Adopt => [All, No, No, No],
        Verb::Steer => [All, No, No, No],
        Verb::CheckPolicy => [All, No, No, No],
        Verb::ReloadPolicy => [All, No, No, No],
    }
}

/// Whether a call may be made, and what it may see and touch.
#[must_use]
pub fn judge(verb: Verb, door: Door, standing: &Standing, uid: u32) -> Option<Scope> {
    let [control, agent, guarded, loopback] = row(verb);
    let (cell, session) = match (standing, door) {
        (Standing::Free, Door::Control) => (control, None),
        (Standing::Free, Door::Agent) => (agent, None),
        (Standing::Free, Door::Loopback) => (loopback, None),
        (Standing::Guarded { session }, _) => (guarded, session.as_ref()),
    };
    match cell {
        Cell::No => None,
        Cell::All => Some(Scope::Everything),
        Cell::Own => Some(Scope::User(uid)),
        Cell::Tree => session.map(|id| Scope::Session(id.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::{Door, Scope, Standing, Verb, judge};

    fn guarded() -> Standing {
        Standing::Guarded { session: Some("S1".to_owned()) }
    }

    #[test]
    fn the_control_socket_allows_every_verb_to_a_free_peer_but_that_of_guarded_ones() {
        for verb in Verb::ALL {
            let expected = match verb {
                Verb::Declare => None,
                Verb::StartSession | Verb::KeepSession => Some(Scope::User(7)),
                _ => Some(Scope::Everything),
            };
            assert_eq!(judge(*verb, Door::Control, &Standing::Free, 7), expected, "{verb:?}");
        }
    }

    #[test]
    fn the_agent_socket_allows_what_concerns_oneself_and_nothing_else() {
        for verb in Verb::ALL {
            let own = [Verb::ReadRequests, Verb::ReadSessions, Verb::StartSession, Verb::KeepSession].contains(verb);
            assert_eq!(judge(*verb, Door::Agent, &Standing::Free, 7), own.then_some(Scope::User(7)), "{verb:?}");
        }
    }

    #[test]
    fn a_port_allows_metrics_and_nothing_else() {
        for verb in Verb::ALL {
            let metrics = (*verb == Verb::Metrics).then_some(Scope::Everything);
            assert_eq!(judge(*verb, Door::Loopback, &Standing::Free, 0), metrics, "{verb:?}");
        }
    }

    #[test]
    fn a_guarded_peer_only_reads_its_own_session_and_speaks_for_it_by_either_socket_even_as_root() {
        for verb in Verb::ALL {
            for door in [Door::Control, Door::Agent] {
                let own = [Verb::ReadRequests, Verb::ReadSessions, Verb::Declare].contains(verb);
                let expected = own.then(|| Scope::Session("S1".to_owned()));
                assert_eq!(judge(*verb, door, &guarded(), 0), expected, "{verb:?} {door:?}");
            }
        }
    }

    #[test]
    fn a_peer_whose_session_is_not_known_may_do_nothing() {
        for verb in Verb::ALL {
            assert_eq!(judge(*verb, Door::Control, &Standing::Guarded { session: None }, 0), None, "{verb:?}");
        }
    }

    #[test]
    fn a_scope_covers_no_other_session() {
        assert!(Scope::User(7).covers("S1", 7) && !Scope::User(7).covers("S1", 8));
        assert!(Scope::Session("S1".to_owned()).covers("S1", 8));
        assert!(!Scope::Session("S1".to_owned()).covers("S2", 8));
    }
}
