//! What the keeper tells the session's user: one line for each notice, beside the output of the process that it is
//! about. And what it does when the daemon falls silent.

use super::wake::Silence;
use crate::api::client::{Client, Error, Lines};
use crate::api::types::{Notice, NoticeKind, Session};
use crate::system::cgroup::Cgroup;
use crate::system::foreign::write_stderr;
use crate::text::escape;
use std::io::{self, Write as _};
use std::time::Duration;

/// A daemon that has said nothing for so long, though it speaks every second, is as good as gone.
const QUIET: Duration = Duration::from_secs(3);
/// First wait before the stream is taken up again; doubled each time.
const PAUSE: Duration = Duration::from_millis(100);
/// Longest such wait.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Follows a session until it ends.
pub(super) async fn follow(client: Client, session: Session) {
    let cgroup = session.cgroup.clone().map(|path| Cgroup::existing(path.into()));
    let mut silence = Silence::begin();
    let mut born = client.daemon_born();
    let mut pause = PAUSE;
    loop {
        // A daemon that hangs still takes connections: it has no more time to answer than to speak.
        let asked = tokio::time::timeout(QUIET, client.notices(&session.id)).await;
        match asked.unwrap_or(Err(Error::Timeout(QUIET))) {
            Ok(mut lines) => {
                if show_all(&mut lines, cgroup.as_ref()).await == Ending::Session {
                    return;
                }
                silence = Silence::begin();
                pause = PAUSE;
            }
            // The daemon is there, and the session is not (any more).
            Err(Error::Refused { status: 404, .. }) => return,
            Err(error) => {
                let last = std::mem::replace(&mut born, client.daemon_born());
                // One that has come and gone between two tries has left another socket.
                if last != born || !matches!(error, Error::DaemonAbsent { .. }) {
                    silence.is_doubtful();
                }
            }
        }
        tokio::time::sleep(pause).await;
        pause = LONGEST_PAUSE.min(pause * 2);
        if silence.wake_held(cgroup.as_ref(), session.root_pid) {
            tell("agent-guard: the daemon is gone: until it is back, what must be asked is refused\n");
        }
    }
}

/// Why a stream has ended.
#[derive(PartialEq)]
enum Ending {
    /// With its session.
    Session,
    /// With the daemon, or the way to it.
    Daemon,
}

async fn show_all(lines: &mut Lines<Notice>, cgroup: Option<&Cgroup>) -> Ending {
    while let Ok(Ok(Some(notice))) = tokio::time::timeout(QUIET, lines.next()).await {
        if notice.kind == NoticeKind::Ended {
            return Ending::Session;
        }
        if let Some(line) = line(&notice) {
            show(notice.pid, cgroup.cloned(), line).await;
        }
    }
    Ending::Daemon
}

/// Writes a line where the process writes its errors, or else where the keeper does.
async fn show(pid: Option<u32>, cgroup: Option<Cgroup>, line: String) {
    // Even after `poll` another writer may fill a pipe: that is waited for where it holds up nothing.
    let shown = tokio::task::spawn_blocking(move || {
        let is_meant = |pid| move || cgroup.is_none_or(|cgroup| cgroup.pids().is_ok_and(|pids| pids.contains(&pid)));
        let written = pid.map(|pid| write_stderr(pid, is_meant(pid), line.as_bytes()));
        if !matches!(written, Some(Ok(()))) {
            tell(&line);
        }
    });
    drop(tokio::time::timeout(Duration::from_secs(1), shown).await);
}

/// Writes to the keeper's own standard error. Where even that is closed, nobody wants to know.
pub(super) fn tell(line: &str) {
    drop(io::stderr().write_all(line.as_bytes()));
}

/// The line for a notice; none for what the user need not be told.
fn line(notice: &Notice) -> Option<String> {
    let act = [&notice.operation, &notice.object].into_iter().flatten().map(|word| escape(word));
    let mut what = act.collect::<Vec<_>>().join(" ");
    let request = notice.request.as_deref().map(escape);
    if let Some(id) = &request {
        what.push_str(&format!(" (request {id})"));
    }
    let reason = notice.reason.as_deref().map(|reason| format!(": {}", escape(reason))).unwrap_or_default();
    match notice.kind {
        NoticeKind::Held => {
            let id = request.unwrap_or_else(|| "ID".to_owned());
            Some(format!("agent-guard: held: {what}: approve with `agent-guard approve {id}`\n"))
        }
        NoticeKind::Refused => Some(format!("agent-guard: refused: {what}{reason}\n")),
        NoticeKind::Expired => Some(format!("agent-guard: expired: {what}: nobody answered in time\n")),
        NoticeKind::Halted => Some(format!("agent-guard: the session is halted{reason}\n")),
        NoticeKind::Resumed => Some("agent-guard: the session goes on\n".to_owned()),
        NoticeKind::Approved | NoticeKind::Ended | NoticeKind::Alive => None,
    }
}

#[cfg(test)]
mod tests {
    use super::line;
    use crate::api::types::{Notice, NoticeKind};

    fn notice(kind: NoticeKind) -> Notice {
        let text = |text: &str| Some(text.to_owned());
        let (operation, object) = (text("delete"), text("/srv/prod/db"));
        Notice { kind, pid: Some(1), request: text("7K2M"), operation, object, reason: text("the policy denies it") }
    }

    #[test]
    fn a_held_act_names_its_request_and_the_way_on() {
        let expected =
            "agent-guard: held: delete /srv/prod/db (request 7K2M): approve with `agent-guard approve 7K2M`\n";
        assert_eq!(line(&notice(NoticeKind::Held)).unwrap(), expected);
    }

    #[test]
    fn a_refusal_says_why() {
        let expected = "agent-guard: refused: delete /srv/prod/db (request 7K2M): the policy denies it\n";
        assert_eq!(line(&notice(NoticeKind::Refused)).unwrap(), expected);
    }

    #[test]
    fn no_name_breaks_out_of_its_line() {
        let object = Some("/srv/\n\x1b[2Jagent-guard: approved".to_owned());
        let line = line(&Notice { object, ..notice(NoticeKind::Held) }).unwrap();
        assert_eq!(line.matches('\n').count(), 1);
        assert!(!line.contains('\x1b'));
    }

    #[test]
    fn what_went_well_is_not_told() {
        assert!(line(&notice(NoticeKind::Approved)).is_none() && line(&notice(NoticeKind::Alive)).is_none());
    }
}
