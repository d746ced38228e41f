//! `sessions`, `adopt`, `halt`, `resume`, `kill` and `forget`.

use super::output::{self, Style};
use super::{Error, args};
use crate::api::call::Steer;
use crate::api::client::Client;
use crate::api::types::{self, Session};
use crate::text::{command_line, escape};

/// Lists the sessions.
pub(super) async fn list(client: &Client, json: bool) -> Result<(), Error> {
    let sessions = client.sessions().await?;
    if json {
        return Ok(output::print_json(&sessions)?);
    }
    let rows: Vec<[String; 7]> = sessions.iter().map(row).collect();
    let head = ["NAME", "STATE", "PROFILE", "USER", "TASKS", "PENDING", "COMMAND"];
    Ok(output::print(&Style::of_stdout().table(head, &rows))?)
}

fn row(session: &Session) -> [String; 7] {
    [
        session.name.clone(),
        session.state.word().to_owned(),
        session.profile.clone(),
        session.user.clone().unwrap_or_else(|| session.uid.to_string()),
        session.tasks.to_string(),
        session.pending.to_string(),
        command_line(&session.argv),
    ]
}

/// Adopts a process, and says where it is now.
pub(super) async fn adopt(client: &Client, adopt: args::Adopt) -> Result<(), Error> {
    let args::Adopt { pid, profile, name } = adopt;
    let session = client.adopt(&types::Adopt { pid, name, profile }).await?;
    let (name, profile) = (escape(&session.name), escape(&session.profile));
    Ok(output::print(&format!("adopted {pid} as {name}, under profile {profile} ({} tasks)\n", session.tasks))?)
}

/// Halts, resumes or kills, and says where the session stands.
pub(super) async fn steer(client: &Client, steer: Steer, name: &str) -> Result<(), Error> {
    let session = client.steer(name, steer).await?;
    let done = match steer {
        Steer::Halt => "halted",
        Steer::Resume => "resumed",
        Steer::Kill => "killed",
        Steer::Forget => "forgot the credentials of",
    };
    Ok(output::print(&format!("{done} {} ({} tasks)\n", escape(&session.name), session.tasks))?)
}
