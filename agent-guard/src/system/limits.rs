//! The daemon's own resource limits.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the limit of open files as far as it goes: every keeper holds a connection.
pub fn raise_open_files() {
    let raised =
        getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        // Clients are counted, so a low limit turns some away and breaks nothing.
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::resource::{Resource, getrlimit};

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        super::raise_open_files();
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("is readable");
        assert_eq!(soft, hard);
    }
}
